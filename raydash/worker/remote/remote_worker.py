"""A worker of a stepping loop, whose environment is elsewhere, and its account."""

import math
import traceback
from collections.abc import Sequence
from typing import Any

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import RolloutChunk
from raydash.worker.envs.seeds import EnvSeeds, remade_seed
from raydash.worker.loops.episode_book import EpisodeBook
from raydash.worker.loops.sliced import (
    BOTH,
    ERROR,
    MAX_FAILURES_IN_A_ROW,
    MAX_RESET_SAMPLES,
    MAX_STEP_SAMPLES,
    RESETTING,
    STEPPING,
    TERMINATED,
    TRUNCATED,
    ChunkBuilder,
    Incarnation,
)
from raydash.worker.node.progress import HURRY, PHASE, Phase, ProgressWriter
from raydash.worker.policies.policy import Policy
from raydash.worker.remote.moves import (
    MAX_TRACEBACK,
    Opened,
    Raised,
    Stepped,
    Transport,
    WasReset,
    WorkerKey,
)
from raydash.worker.words import one_line


class RemoteWorker(EpisodeBook):
    """Sends one move after the other, and counts what comes back.

    A slice of a row begins with the first call of the loop that orders it, and ends with the chunk
    that answers; a row whose move is out for long gives none and goes on with the same slice.

    Attributes:
        key: Its worker and life.
        out: A move is out.
        is_open: Its environment stands.
        is_requested: The present call of the loop is to step it.
        leaves: Nothing more is to begin.
        version: The policy to begin with.
        spaces: Of its environment, once that stands: observations and actions.
    """

    def __init__(
        self,
        key: WorkerKey,
        seeds: EnvSeeds,
        *,
        transport: Transport,
        clock: Clock,
        progress: ProgressWriter,
        info_keys: Sequence[str],
        version: PolicyVersion,
    ) -> None:
        """A row whose environment is still to be opened.

        Args:
            key: Its worker and life.
            seeds: Of its environment and policy.
            transport: Takes its moves.
            clock: Monotonic seconds.
            progress: Told what the row is doing.
            info_keys: Scalars of the last step's info to keep of every episode.
            version: The policy to begin with.
        """
        super().__init__(Incarnation(*key, clock, progress, info_keys))
        self.key = key
        self.out = False
        self.is_open = False
        self.is_requested = False
        self.leaves = False
        self.version = version
        self.spaces: tuple[Any, Any] = (None, None)
        self.weights_seq_no = version.weights_seq_no
        self._seeds = seeds
        self._transport = transport
        self._policy: Policy | None = None
        self._slice: ChunkBuilder | None = None
        self._has_failed = False
        self._has_news = False
        self._sent_s = 0.0
        self._kept: tuple[WasReset | Stepped | Raised, float] | None = None

    @property
    def seeds(self) -> EnvSeeds:
        """Of its environment and policy."""
        return self._seeds

    @property
    def progress_path(self) -> str:
        """Where its progress can be read; empty: nowhere."""
        return self._progress.path

    # --- its life -----------------------------------------------------------------------------

    def open(self, handle: Any) -> None:
        """Ask for the environment."""
        self.out = True
        self._progress.cells[PHASE] = Phase.STARTING
        self._transport.open(self.key, handle, self._seeds.reset)

    def opened(self, opened: Opened, policy: Policy) -> None:
        """The environment stands and is reset."""
        self.out = False
        self.is_open = True
        self._policy = policy
        self.spaces = opened.observation_space, opened.action_space
        self._observation = opened.observation
        self._episode_started_s = self._clock() - opened.reset_time_s
        self._was_prepared(opened.reset_time_s)

    def set_policy(self, policy: Policy, weights_seq_no: int) -> None:
        """Let another policy choose from the next step on."""
        self._policy = policy
        self.weights_seq_no = weights_seq_no

    def leave(self) -> None:
        """Wait for nothing any more."""
        self._transport.forget(self.key)
        self._progress.close()

    # --- slices -------------------------------------------------------------------------------

    def request(self, budget_s: float, *, drain: bool, leave: bool) -> None:
        """A call of the loop begins in which this row is to be stepped, or to come to rest.

        Args:
            budget_s: How long.
            drain: Finish the episode that is under way and begin no other.
            leave: Begin nothing: only an answer that is out is waited for.
        """
        self.is_requested = True
        self.leaves = leave
        if self._slice is None:
            unseen_s = self._clock() - (self._ended_s or 0.0)
            self._slice = self._begin_slice(budget_s, drain=drain)
            self._has_news = False
            if self.out and self._kept is None:
                self._sent_s += unseen_s  # in which nobody looked for its answer
        self._slice.drain = drain
        if self.out and self._between_episodes:
            self._progress.cells[PHASE] = RESETTING
        kept, self._kept = self._kept, None
        if kept is not None:
            answer, came_s = kept
            now_s = self._clock()
            self._sent_s += now_s - came_s
            self._take(answer, now_s)

    @property
    def is_at_rest(self) -> bool:
        """Somebody waits for it, or nothing is left to do, and no move is out."""
        return not self.out and not self._may_move()

    def _may_move(self) -> bool:
        builder = self._slice
        if not self.is_requested or self.leaves or builder is None:
            return False
        if builder.drain:
            return not self._is_drained()
        return (
            not self._progress.cells[HURRY]
            and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < self.max_episodes
        )

    def advance(self) -> None:
        """Send the next move, if one may be made."""
        while not self.out and self._may_move():
            if self._between_episodes:
                self._send_reset()
            else:
                self._send_step()

    def chunk(self) -> RolloutChunk | None:
        """The slice's end: what happened in it; None: nothing yet, and the slice goes on."""
        if self._slice is None or not (self._has_news or self.is_at_rest):
            return None
        builder, self._slice = self._slice, None
        self.is_requested = False
        return self._chunk(builder)

    # --- moves --------------------------------------------------------------------------------

    def _send_step(self) -> None:
        assert self._policy is not None
        assert self._slice is not None
        started_s = self._clock()
        try:
            action = self._policy(self._observation)
            self._sent_s = self._clock()
            self._policy_time_s += self._sent_s - started_s
            self._transport.step(self.key, action)
            self.out = True
        except Exception as error:
            # The policy's, or of an action that can't be sent.
            words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
            message = f"{type(error).__name__}: {one_line(error)}"
            self._fail(Raised("policy", message, words))

    def _send_reset(self) -> None:
        self._progress.cells[PHASE] = RESETTING
        self._tell_progress(self._num_finished_steps, 0)
        self._episode_started_s = self._sent_s = self._clock()
        self.out = True
        if self._has_failed:
            self._num_remakes += 1
            self._transport.renew(self.key, remade_seed(self._seeds.reset, self._num_remakes))
        else:
            self._transport.reset(self.key)

    def take(self, answer: WasReset | Stepped | Raised, now_s: float) -> None:
        """The answer to its move is in. Between two slices it is kept for the next one."""
        if self.is_requested:
            self._take(answer, now_s)
        else:
            self._kept = (answer, now_s)

    def _take(self, answer: WasReset | Stepped | Raised, now_s: float) -> None:
        self.out = False
        match answer:
            case Stepped():
                self._took_step(answer, now_s)
            case WasReset(observation=observation):
                self._took_reset(observation, now_s)
            case Raised():
                self._took_error(answer, now_s)

    def _took_reset(self, observation: Any, now_s: float) -> None:
        self._has_failed = self._between_episodes = False
        self._observation = observation
        reset_s = now_s - self._sent_s
        self._reset_time_s += reset_s
        self._has_news = True
        builder = self._slice
        if builder is not None and len(builder.reset_samples_s) < MAX_RESET_SAMPLES:
            builder.reset_samples_s.append(reset_s)
        self._progress.cells[PHASE] = STEPPING

    def _took_step(self, stepped: Stepped, now_s: float) -> None:
        builder = self._slice
        assert builder is not None
        step_s = now_s - self._sent_s
        self._step_time_s += step_s
        if builder.first_step_s != builder.first_step_s:
            builder.first_step_s = now_s
        if len(builder.step_samples_s) < MAX_STEP_SAMPLES:
            builder.step_samples_s.append(step_s)
        self._has_news = True
        self.failures_in_a_row = 0
        self._observation, reward, terminated, truncated, info = stepped
        self._episode_return += reward
        self._episode_len += 1
        self._tell_progress(self._num_env_steps(), self._episode_len)
        if terminated or truncated:
            ending = TRUNCATED if not terminated else BOTH if truncated else TERMINATED
            if info:
                self._infos.take(builder.num_episodes, info)
            self._record(builder, now_s, self._episode_return, self._episode_len, ending)

    def _took_error(self, raised: Raised, now_s: float) -> None:
        if raised.where == "step":
            self._step_time_s += now_s - self._sent_s
        else:
            self._reset_time_s += now_s - self._sent_s
        self._fail(raised)

    def _fail(self, raised: Raised) -> None:
        """Record an episode that ended in an exception; the next one has a new environment."""
        assert self._slice is not None
        now_s = self._clock()
        self.failures_in_a_row += 1
        self._has_failed = self._has_news = True
        self._record(self._slice, now_s, math.nan, self._episode_len, ERROR)
        self._keep_error(self._slice, now_s, raised.where, raised.message, raised.traceback)
        self._tell_progress(self._num_env_steps(), 0)
