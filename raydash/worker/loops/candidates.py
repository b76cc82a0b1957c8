"""The stepping loop of a worker that plays a learner's candidates: each episode has its own policy.

The work that comes with a request is played until it is done or the slice is over; the chunk says
how many episodes were not begun, and these are dropped. An unfinished episode goes on in the next
slice, whatever its work is. All episodes of a chunk belong to one generation, and they are either
candidates' or an evaluation's.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import length_hint
from typing import Any

import numpy as np
from typing_extensions import override

from raydash.core.records import (
    Float64,
    ObservationSums,
    Parameters,
    RolloutChunk,
    Work,
)
from raydash.worker.envs.environments import Env
from raydash.worker.envs.seeds import candidate_seed, evaluation_seed
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.chunk_builder import ChunkBuilder
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.policies.network import Space, as_policy, flattener, forward_of
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import Policy

OBSERVATIONS_AT_ONCE = 4096
"""This many observations are stored before they are reduced to sums."""
_NO_WORK = Work(0, (), ())


class ObservationBuffer:
    """Collects the moments of the observations that a policy is given."""

    def __init__(self, size: int) -> None:
        """Make an empty buffer for flattened observations of `size` numbers."""
        self._rows = np.empty((OBSERVATIONS_AT_ONCE, size))
        self._views = list(self._rows)
        self._free: Iterator[Float64] = iter(self._views)
        self._reduced: list[ObservationSums] = []

    def __call__(self, observation: Any) -> Float64:
        """Store an observation; return it as a row of numbers, valid until the next call."""
        row = next(self._free, None)
        if row is None:
            self._reduce(OBSERVATIONS_AT_ONCE)
            row = next(self._free)
        row[:] = observation
        return row

    def take_sums(self) -> ObservationSums | None:
        """Return the moments of the observations since the last call, or None without any."""
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
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            env: The environment.
            reset_seed: Seeds the first reset, which only shows that the environment works.
            make_env: Makes a new environment after an error.
            run_seed: The seeds of all episodes are derived from it.
            gathers_observations: Chunks hold the moments of what the candidates observed.
        """
        super().__init__(incarnation, env, _no_policy, reset_seed=reset_seed, make_env=make_env)
        self._action_space: Space = env.action_space
        self._run_seed = run_seed
        self._gathers_observations = gathers_observations
        self._flatten = flattener(env.observation_space)
        self._observation_buffer: ObservationBuffer | None = None
        self._parameters: Parameters | None = None
        self._work = _NO_WORK
        self._to_begin: deque[tuple[int, int]] = deque()
        self._begun: list[int] = []  # the candidate of each episode since the last chunk was made
        self._weights_seq_no, self._evaluation = 0, False  # what the chunk's episodes belong to

    def has_parameters(self, weights_seq_no: int) -> bool:
        """Whether the parameters of a generation are here already."""
        known = self._parameters
        return known is not None and known.weights_seq_no == weights_seq_no

    def assign(self, work: Work | None, parameters: Parameters | None) -> None:
        """Set what the next slice plays after the episode that is under way.

        Args:
            work: The episodes to play; None: none.
            parameters: Those of the work's generation; None: they are here already.
        """
        self._work = work or _NO_WORK
        self._to_begin = deque(zip(self._work.candidates, self._work.episodes, strict=True))
        if parameters is not None:
            self._parameters = parameters

    @override
    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Finish the episode under way and play the assigned ones, for `budget_s` at most."""
        if not self._begun:
            # The episode that `prepare` began belongs to no candidate.
            self.account.between_episodes = True
            if self._to_begin:
                work = self._work
                self._weights_seq_no, self._evaluation = work.weights_seq_no, work.evaluation
        chunk = super().run(budget_s, drain=drain)
        num_finished = len(chunk.ending)
        played, self._begun = self._begun[:num_finished], self._begun[num_finished:]
        return replace(
            chunk,
            weights_seq_no=self._weights_seq_no,
            candidate=np.array(played, np.int32),
            evaluation=self._evaluation,
            work_left=len(self._to_begin),
            observations=self._observation_buffer.take_sums()
            if self._observation_buffer is not None
            else None,
        )

    @override
    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        work = self._work
        belongs = (work.weights_seq_no, work.evaluation) == (self._weights_seq_no, self._evaluation)
        if not self._to_begin or not belongs:
            builder.is_over = True
            return False
        self._set_up_episode(work)
        return super()._begin_episode(builder, now_s)

    def _set_up_episode(self, work: Work) -> None:
        """Take the next candidate from the work and set its policy and its seed."""
        parameters = self._parameters
        assert parameters is not None
        candidate, episode = self._to_begin.popleft()
        self._begun.append(candidate)
        self.account.is_evaluating = work.evaluation
        self._keeper.next_seed = (
            evaluation_seed(self._run_seed, candidate, episode)
            if work.evaluation
            else candidate_seed(self._run_seed, work.weights_seq_no, episode)
        )
        vector = parameters.best_guess if work.evaluation else parameters.candidates[candidate]
        self.set_policy(self._policy_of(vector, parameters, gathers=not work.evaluation))

    def _policy_of(self, vector: Float64, parameters: Parameters, *, gathers: bool) -> Policy:
        weights = Layout(parameters.sizes).weights(vector, parameters.mean, parameters.std)
        flatten = self._flatten
        if gathers and self._gathers_observations:
            if self._observation_buffer is None:
                self._observation_buffer = ObservationBuffer(weights.num_inputs)
            seen, plain = self._observation_buffer, flatten
            flatten = seen if plain is np.asarray else lambda observation: seen(plain(observation))
        return as_policy(forward_of(weights, flatten), self._action_space)


def _no_policy(_observation: Any) -> Any:
    raise RuntimeError("no candidate plays: raydash stepped an environment that it should not")
