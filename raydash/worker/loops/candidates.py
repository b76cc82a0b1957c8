"""The stepping loop of a worker that plays a learner's candidates: a policy of its own per episode.

What comes with a request is played until it is done or the slice is over; what was not begun is
named in the chunk, and forgotten. An episode that is under way goes on in the next slice, whatever
comes with it; a chunk holds either episodes of candidates or of an evaluation, of one generation.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import length_hint
from typing import Any

import numpy as np

from raydash.core.records import (
    Float64,
    Int32,
    ObservationSums,
    Parameters,
    RolloutChunk,
    Work,
)
from raydash.worker.envs.environments import Env
from raydash.worker.envs.seeds import candidate_seed, evaluation_seed
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.loops.sliced import ChunkBuilder, Incarnation
from raydash.worker.policies.network import Space, answering, flattener, forward_of
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import Policy

OBSERVATIONS_AT_ONCE = 4096
"""So many are kept before they are reduced to their sums."""
_NO_WORK = Work(0, (), ())


@dataclass(frozen=True, slots=True)
class _Playing:
    """Whose episode it is."""

    weights_seq_no: int
    evaluation: bool
    candidate: int


class ObservationBuffer:
    """Gathers the moments of the observations that a policy is asked about."""

    def __init__(self, size: int) -> None:
        """Nothing seen yet; `size` is that of a flattened observation."""
        self._rows = np.empty((OBSERVATIONS_AT_ONCE, size))
        self._views = list(self._rows)
        self._free: Iterator[Float64] = iter(self._views)
        self._reduced: list[ObservationSums] = []

    def __call__(self, observation: Any) -> Float64:
        """Keep an observation; gives it as a row of numbers that is good until the next one."""
        row = next(self._free, None)
        if row is None:
            self._reduce(OBSERVATIONS_AT_ONCE)
            row = next(self._free)
        row[:] = observation
        return row

    def take(self) -> ObservationSums | None:
        """The moments of everything since the last time; None: there was nothing."""
        self._reduce(OBSERVATIONS_AT_ONCE - length_hint(self._free))
        sums = ObservationSums.merged(self._reduced)
        self._reduced = []
        return sums

    def _reduce(self, count: int) -> None:
        if count:
            self._reduced.append(ObservationSums.of(self._rows[:count]))
        self._free = iter(self._views)


class CandidateLoop(RolloutLoop):
    """Plays candidates in one environment of one worker, slice by slice."""

    def __init__(
        self,
        incarnation: Incarnation,
        env: Env,
        *,
        reset_seed: int,
        make_env: Callable[[], Env],
        run_seed: int,
        gathers_observations: bool,
    ) -> None:
        """As `RolloutLoop`, without a policy: each episode brings its own.

        Args:
            incarnation: Of which worker.
            env: The environment, not reset yet.
            reset_seed: Of the first reset, which only shows that there is an environment.
            make_env: Makes the environment anew after an error.
            run_seed: Of which the seeds of all episodes are made.
            gathers_observations: Chunks say what candidates saw.
        """
        super().__init__(incarnation, env, _nobody, reset_seed=reset_seed, make_env=make_env)
        self._action_space: Space = env.action_space
        self._run_seed = run_seed
        self._gathers_observations = gathers_observations
        self._flatten = flattener(env.observation_space)
        self._seen: ObservationBuffer | None = None
        self._parameters: Parameters | None = None
        self._work = _NO_WORK
        self._to_begin: deque[tuple[int, int]] = deque()
        self._playing: _Playing | None = None
        self._played: list[int] = []
        self._kind: tuple[int, bool] = (0, False)
        self._num_evaluation_steps = 0

    def knows(self, weights_seq_no: int) -> bool:
        """The parameters of a generation are here already."""
        known = self._parameters
        return known is not None and known.weights_seq_no == weights_seq_no

    def assign(self, work: Work | None, parameters: Parameters | None) -> None:
        """What the next slice is to play, after the episode that is under way.

        Args:
            work: Episodes; None: no others.
            parameters: Of its generation; may be left out if it has not changed.
        """
        self._work = work or _NO_WORK
        self._to_begin = deque(zip(self._work.candidates, self._work.episodes, strict=True))
        if parameters is not None:
            self._parameters = parameters

    # --- what differs from a plain loop

    def _open(self, builder: ChunkBuilder) -> bool:
        self._played = []
        if self._playing is None and not self._to_begin:
            return False
        if self._playing is not None:
            self._kind = (self._playing.weights_seq_no, self._playing.evaluation)
        else:
            self._kind = (self._work.weights_seq_no, self._work.evaluation)
            self._between_episodes = True  # what `prepare` began is nobody's
        return True

    def _has_next(self) -> bool:
        work = self._work
        return bool(self._to_begin) and self._kind == (work.weights_seq_no, work.evaluation)

    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        if self._playing is None:
            if not self._has_next():
                return False
            self._choose()
        return super()._begin_episode(builder, now_s)

    def _may_retry(self, builder: ChunkBuilder) -> bool:
        return self._has_next() and super()._may_retry(builder)

    def _choose(self) -> None:
        """The next episode's candidate, its policy, and its seed."""
        parameters, work = self._parameters, self._work
        assert parameters is not None
        candidate, episode = self._to_begin.popleft()
        self._next_seed = (
            evaluation_seed(self._run_seed, candidate, episode)
            if work.evaluation
            else candidate_seed(self._run_seed, work.weights_seq_no, episode)
        )
        self._playing = _Playing(work.weights_seq_no, work.evaluation, candidate)
        vector = parameters.best_guess if work.evaluation else parameters.candidates[candidate]
        self._policy = self._policy_of(vector, parameters, gathers=not work.evaluation)

    def _policy_of(self, vector: Float64, parameters: Parameters, *, gathers: bool) -> Policy:
        weights = Layout(parameters.sizes).weights(vector, parameters.mean, parameters.std)
        flatten = self._flatten
        if gathers and self._gathers_observations:
            if self._seen is None:
                self._seen = ObservationBuffer(weights.num_inputs)
            seen, plain = self._seen, flatten
            flatten = seen if plain is np.asarray else lambda observation: seen(plain(observation))
        return answering(forward_of(weights, flatten), self._action_space)

    def _seed_of_remade(self) -> int | None:
        return self._next_seed

    def _record(
        self,
        builder: ChunkBuilder,
        now_s: float,
        episode_return: float,
        episode_len: int,
        ending: int,
    ) -> None:
        super()._record(builder, now_s, episode_return, episode_len, ending)
        assert self._playing is not None
        self._played.append(self._playing.candidate)
        if self._playing.evaluation:
            self._num_by_ending[ending] -= 1
            self._num_evaluation_steps += episode_len
        self._playing = None

    def _is_evaluating(self) -> bool:
        return self._playing is not None and self._playing.evaluation

    def _num_env_steps(self) -> int:
        uncounted = self._episode_len if self._is_evaluating() else 0
        return super()._num_env_steps() - self._num_evaluation_steps - uncounted

    def _unfinished(self) -> tuple[Int32, Float64]:
        if self._is_evaluating():
            return np.zeros(1, np.int32), np.zeros(1)
        return super()._unfinished()

    def _chunk(self, builder: ChunkBuilder) -> RolloutChunk:
        chunk = super()._chunk(builder)
        weights_seq_no, evaluation = self._kind
        return replace(
            chunk,
            weights_seq_no=weights_seq_no,
            candidate=np.array(self._played, np.int32),
            evaluation=evaluation,
            work_left=len(self._to_begin),
            observations=self._seen.take() if self._seen is not None else None,
        )


def _nobody(_observation: Any) -> Any:
    raise RuntimeError("no candidate plays: raydash stepped an environment that it should not")
