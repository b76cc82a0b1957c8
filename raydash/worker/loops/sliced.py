"""What the stepping loops share: time slices, their clocks and counters, and chunks made of them.

A loop steps for a while and hands back what happened, in columns; half-finished episodes go on in
the next slice. What user code raises ends episodes, never the loop.
"""

import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from raydash.core.clock import Clock
from raydash.core.records import (
    AgentEpisodes,
    EnvError,
    Float64,
    Int32,
    RolloutChunk,
    UInt8,
    WorkerTotals,
)
from raydash.core.states import Ending
from raydash.worker.envs.info_scalars import InfoScalars
from raydash.worker.node.progress import (
    COUNTER,
    EPISODE_LEN,
    HURRY,
    NUM_ENV_STEPS,
    PHASE,
    Phase,
    ProgressWriter,
)
from raydash.worker.words import one_line

BATCH_S = 0.002
"""How long a batch of steps between two looks at the clock should take."""
MAX_BATCH = 4096
MAX_FAILURES_IN_A_ROW = 5
MAX_EPISODES = 20_000
"""A chunk ends early at so many (580 KB). Only workers that finish over 12 000 a second get there:
above 100 KiB a result goes through Ray's object store, which costs 2 ms in place of 0.5, but with
smaller chunks such workers would spend a quarter of their time waiting for the next request."""
_EPISODE_BYTES, _SCALAR_BYTES, _PARTIAL_BYTES = 29, 8, 12
MAX_STEP_SAMPLES = 512
MAX_RESET_SAMPLES = 64
MAX_ERRORS = 16
MAX_TRACEBACK = 4000

RESETTING, STEPPING = int(Phase.RESETTING), int(Phase.STEPPING)
"""Plain numbers: looking an enum's member up costs more than the store."""
TERMINATED, TRUNCATED, BOTH, ERROR = map(int, Ending)

AnyEnv = TypeVar("AnyEnv")
Finished: TypeAlias = tuple[Int32, Float64, Int32, UInt8, Float64, Float64]
"""Columns of finished episodes: env_index, return, length, ending, end and duration in s."""


def episodes_that_fit(num_scalars: int, num_envs: int = 1) -> int:
    """How many episodes with so many scalars each are as long as `MAX_EPISODES` without.

    Args:
        num_scalars: Numbers that each episode brings besides.
        num_envs: All of them may end an episode in one last call, and each has an unfinished one.
    """
    if not num_scalars and num_envs == 1:
        return MAX_EPISODES
    each = _EPISODE_BYTES + _SCALAR_BYTES * num_scalars
    room = MAX_EPISODES * _EPISODE_BYTES - num_envs * (each + _PARTIAL_BYTES)
    return max(1, room // each)


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one worker, and what its loop needs to count in it.

    Attributes:
        worker_index: 1..N.
        incarnation: 0 for the worker's first life.
        clock: Monotonic seconds.
        progress: Told what is being done.
        info_keys: Scalars of the last step's info to keep of every episode.
    """

    worker_index: int
    incarnation: int
    clock: Clock
    progress: ProgressWriter
    info_keys: Sequence[str] = ()


class ChunkBuilder:
    """What one chunk has gathered so far. Times are on the loop's clock.

    Each loop puts what it likes into `finished`: one append per episode, or per batch of them.
    """

    def __init__(self, started_s: float, deadline_s: float, *, drain: bool) -> None:
        self.started_s = started_s
        self.deadline_s = deadline_s
        self.drain = drain
        self.first_step_s = math.nan
        self.finished: list[Any] = []
        self.num_episodes = 0
        self.step_samples_s: list[float] = []
        self.reset_samples_s: list[float] = []
        self.errors: list[EnvError] = []


class SliceBook(ABC):
    """The account of one worker, whoever steps it: counters, clocks, and chunks made of them.

    Attributes:
        failures_in_a_row: Error episodes since the last good step.
        max_episodes: A chunk ends early at so many.
        weights_seq_no: Of the policy: how often it was changed before.
    """

    def __init__(self, incarnation: Incarnation, num_envs: int = 1) -> None:
        """Nothing has happened yet.

        Args:
            incarnation: Whose account it is.
            num_envs: How many are stepped together.
        """
        self._life = incarnation
        self._clock = incarnation.clock
        self._progress = incarnation.progress
        self._infos = InfoScalars(incarnation.info_keys)

        self.failures_in_a_row = 0
        self.weights_seq_no = 0
        self._num_envs = num_envs
        self._num_scalars = 0
        self.max_episodes = episodes_that_fit(0, num_envs)
        self._num_remakes = 0
        self._between_episodes = True
        self._observation: Any = None

        self._prepared_reset_s: float | None = None
        self._ended_s: float | None = None
        self._num_by_ending = [0] * len(Ending)
        self._step_time_s = 0.0
        self._reset_time_s = 0.0
        self._policy_time_s = 0.0
        self._idle_time_s = 0.0
        self._busy_time_s = 0.0

    # --- what others add

    @abstractmethod
    def _is_drained(self) -> bool:
        """No episode has begun that is not finished."""

    @abstractmethod
    def _num_env_steps(self) -> int:
        """Steps of this life."""

    @abstractmethod
    def _unfinished(self) -> tuple[Int32, Float64]:
        """Length and return so far of each environment's episode."""

    @abstractmethod
    def _columns(self, builder: ChunkBuilder) -> Finished:
        """The finished episodes of a slice."""

    def _agents(self) -> AgentEpisodes:
        """What each agent did in the finished episodes of a slice, in multi-agent environments."""
        return AgentEpisodes()

    # --- what they share

    def _was_prepared(self, reset_time_s: float) -> None:
        """The first reset was done ahead of the first slice, which reports how long it took."""
        self._ended_s = self._clock()
        self._prepared_reset_s = self._reset_time_s = self._busy_time_s = reset_time_s
        self._between_episodes = False
        self._progress.cells[PHASE] = Phase.IDLE

    def _begin_slice(self, budget_s: float, *, drain: bool) -> ChunkBuilder:
        started_s = self._clock()
        if self._ended_s is not None:
            self._idle_time_s += started_s - self._ended_s
        builder = ChunkBuilder(started_s, started_s + budget_s, drain=drain)
        if self._prepared_reset_s is not None:
            builder.reset_samples_s.append(self._prepared_reset_s)
            self._prepared_reset_s = None
        self._progress.cells[PHASE] = STEPPING
        return builder

    def totals(self) -> WorkerTotals:
        """Everything counted in this life of the worker."""
        return WorkerTotals(
            num_env_steps=self._num_env_steps(),
            num_episodes=sum(self._num_by_ending),
            num_terminated=self._num_by_ending[TERMINATED] + self._num_by_ending[BOTH],
            num_truncated=self._num_by_ending[TRUNCATED] + self._num_by_ending[BOTH],
            num_error=self._num_by_ending[ERROR],
            step_time_s=self._step_time_s,
            reset_time_s=self._reset_time_s,
            policy_time_s=self._policy_time_s,
            idle_time_s=self._idle_time_s,
            busy_time_s=self._busy_time_s,
        )

    def _note_error(
        self, builder: ChunkBuilder, now_s: float, where: str, error: BaseException, who: str = ""
    ) -> None:
        """Keep the words of an exception, unless there are plenty."""
        if len(builder.errors) < MAX_ERRORS:
            message = f"{who}{type(error).__name__}: {one_line(error)}"
            words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
            self._keep_error(builder, now_s, where, message, words)

    def _keep_error(
        self, builder: ChunkBuilder, now_s: float, where: str, message: str, words: str
    ) -> None:
        if len(builder.errors) < MAX_ERRORS:
            builder.errors.append(EnvError(now_s - builder.started_s, where, message, words))

    def _tell_progress(self, num_env_steps: int, episode_len: int) -> None:
        cells = self._progress.cells
        cells[NUM_ENV_STEPS] = num_env_steps
        cells[EPISODE_LEN] = episode_len
        cells[COUNTER] += 1

    def _chunk(self, builder: ChunkBuilder) -> RolloutChunk:
        ended_s = self._clock()
        self._ended_s = ended_s
        self._busy_time_s += ended_s - builder.started_s
        self._progress.cells[PHASE] = Phase.IDLE
        env_index, returns, lens, endings, ends_s, durations_s = self._columns(builder)
        partial_len, partial_return = self._unfinished()
        scalars, agents = self._infos.columns(len(endings)), self._agents()
        num_scalars = len(scalars.names) + 2 * len(agents.names)
        if num_scalars > self._num_scalars:
            self._num_scalars = num_scalars
            self.max_episodes = episodes_that_fit(self._num_scalars, self._num_envs)
        return RolloutChunk(
            worker_index=self._life.worker_index,
            incarnation=self._life.incarnation,
            duration_s=ended_s - builder.started_s,
            first_step_offset_s=builder.first_step_s - builder.started_s,
            totals=self.totals(),
            env_index=env_index,
            episode_return=returns,
            episode_len=lens,
            ending=endings,
            end_offset_s=ends_s - builder.started_s,
            episode_duration_s=durations_s.astype(np.float32),
            step_time_s=np.array(builder.step_samples_s, np.float32),
            reset_time_s=np.array(builder.reset_samples_s, np.float32),
            partial_len=partial_len,
            partial_return=partial_return,
            errors=tuple(builder.errors),
            failures_in_a_row=self.failures_in_a_row,
            drained=builder.drain and self._is_drained(),
            scalars=scalars,
            ignored_info=self._infos.ignored(),
            agents=agents,
            weights_seq_no=self.weights_seq_no,
        )


class SlicedLoop(SliceBook, Generic[AnyEnv]):
    """Steps what one worker has, slice by slice."""

    def __init__(
        self,
        incarnation: Incarnation,
        env: AnyEnv,
        policy: Callable[[Any], Any],
        *,
        make_env: Callable[[], AnyEnv],
        num_envs: int = 1,
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: Of which worker.
            env: The environment.
            policy: Chooses the actions.
            make_env: Makes the environment anew after an error; may raise anything.
            num_envs: How many are stepped together.
        """
        super().__init__(incarnation, num_envs)
        self._env: AnyEnv | None = env
        self._policy = policy
        self._make_env = make_env
        self._batch_size = 1
        self._policy_share = 0.0

    # --- what a loop adds

    @abstractmethod
    def _first_reset(self, first_reset: Callable[[AnyEnv, Any], Any], started_s: float) -> Any:
        """Reset with the seed (or seeds); gives the observation."""

    @abstractmethod
    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        """Reset the environment, which is made anew first if it failed before."""

    @abstractmethod
    def _step_batch(self, builder: ChunkBuilder) -> bool:
        """Step for about `BATCH_S`; False when the slice is over or the environment failed."""

    @abstractmethod
    def _close_env(self, env: AnyEnv) -> None:
        """Close an environment."""

    def _open(self, builder: ChunkBuilder) -> bool:
        """A slice begins; False: there is nothing to do in it."""
        return True

    # --- what they share

    def prepare(self, first_reset: Callable[[AnyEnv, Any], Any]) -> None:
        """Do the first reset ahead of the first slice, which reports its duration.

        Args:
            first_reset: Resets the environment with the seed (a list of them for vector
                environments that take one) and gives the observation; what it
                raises passes on to the caller, and no episode has failed.
        """
        assert self._env is not None
        self._progress.cells[PHASE] = RESETTING
        started_s = self._clock()
        self._observation = self._first_reset(first_reset, started_s)
        self._was_prepared(self._clock() - started_s)

    def set_policy(self, policy: Callable[[Any], Any]) -> None:
        """Let another policy choose from the next slice on, in the middle of episodes."""
        self._policy = policy

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` and hand back what happened.

        At least one batch is stepped, unless the supervisor is in a hurry (`progress.set_hurry`).
        A slice lasts longer than its budget only by what the last step or reset (or, when an
        environment suddenly slows down, the last batch) takes.

        Args:
            budget_s: Wall time to fill.
            drain: Finish the episode that is under way and begin no other.
        """
        builder = self._begin_slice(budget_s, drain=drain)
        go_on = self._open(builder)
        go_on = go_on and not (self._is_drained() if drain else self._progress.cells[HURRY])
        while go_on:
            go_on = (
                not self._between_episodes or self._begin_episode(builder, self._clock())
            ) and (self._step_batch(builder))
            # A failure is no reason to stop by itself: the next turn makes the environment anew.
            go_on = go_on or self._may_retry(builder)
        return self._chunk(builder)

    def close(self) -> None:
        """Close the environment.

        Raises:
            Exception: whatever its `close` raises.
        """
        self._progress.cells[PHASE] = Phase.CLOSING
        env, self._env = self._env, None
        self._between_episodes = True
        if env is not None:
            self._close_env(env)

    def _may_retry(self, builder: ChunkBuilder) -> bool:
        return (
            self._env is None
            and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < self.max_episodes
            and not builder.drain
            and not self._progress.cells[HURRY]
            and self._clock() < builder.deadline_s
        )

    def _note_timed_step(
        self, builder: ChunkBuilder, started_s: float, acted_s: float, stepped_s: float
    ) -> None:
        if builder.first_step_s != builder.first_step_s:
            builder.first_step_s = stepped_s
        if len(builder.step_samples_s) < MAX_STEP_SAMPLES:
            builder.step_samples_s.append(stepped_s - acted_s)
        if stepped_s > started_s:
            self._policy_share = (acted_s - started_s) / (stepped_s - started_s)

    def _adapt_batch(self, num_steps: int, stepping_s: float) -> None:
        """Aim at `BATCH_S`; grow slowly, shrink at once, so that one fast step proves nothing."""
        if num_steps < 1:
            return
        fitting = BATCH_S * num_steps / stepping_s if stepping_s > 0 else MAX_BATCH
        self._batch_size = int(max(1, min(fitting, self._batch_size * 2, MAX_BATCH)))

    def _give_up(self) -> None:
        """Close an environment that failed; the next turn makes it anew."""
        env, self._env = self._env, None
        self._observation = None
        self._between_episodes = True
        if env is not None:
            try:
                self._close_env(env)
            except Exception:
                # It is broken already, and what broke it has just been recorded.
                self._env = None
