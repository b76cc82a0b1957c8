"""A worker of a stepping loop, whose environment is in another process, and its counters."""

import math
import traceback
from collections.abc import Sequence
from typing import Any

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import RolloutChunk
from raydash.worker.envs.seeds import EnvSeeds, remade_seed
from raydash.worker.loops.episode_counter import EpisodeCounter
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


class RemoteWorker(EpisodeCounter):
    """Sends one move after the other and counts the answers.

    A slice begins with the first call of the loop that requests this worker and ends with the chunk
    that answers it. If the move is out during a whole call, that call gives no chunk, and the slice
    goes on in the next one.

    Attributes:
        key: The worker and its incarnation.
        out: A move is out.
        is_open: Its environment is made.
        is_requested: The current call of the loop is to step it.
        is_leaving: It is to begin nothing more.
        version: The policy that it starts with.
        spaces: The observation and action space of its environment, once that is made.
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
        """Make a worker whose environment is still to be opened.

        Args:
            key: The worker and its incarnation.
            seeds: The seeds of its environment and policy.
            transport: Sends its moves.
            clock: Gives monotonic seconds.
            progress: Receives what the worker is doing.
            info_keys: Keys of the scalars to keep from each episode's last info.
            version: The policy that it starts with.
        """
        super().__init__(Incarnation(*key, clock, progress, info_keys))
        self.key = key
        self.out = False
        self.is_open = False
        self.is_requested = False
        self.is_leaving = False
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
        self._held_answer: tuple[WasReset | Stepped | Raised, float] | None = None

    @property
    def seeds(self) -> EnvSeeds:
        """The seeds of its environment and policy."""
        return self._seeds

    @property
    def progress_path(self) -> str:
        """The file from which its progress can be read; empty: there is none."""
        return self._progress.path

    # --- from opening to closing --------------------------------------------------------------

    def open(self, handle: Any) -> None:
        """Ask for the environment to be made."""
        self.out = True
        self._progress.cells[PHASE] = Phase.STARTING
        self._transport.open(self.key, handle, self._seeds.reset)

    def on_opened(self, opened: Opened, policy: Policy) -> None:
        """Take over the environment, which is made and reset, and its policy."""
        self.out = False
        self.is_open = True
        self._policy = policy
        self.spaces = opened.observation_space, opened.action_space
        self._observation = opened.observation
        self._episode_started_s = self._clock() - opened.reset_time_s
        self._note_prepared(opened.reset_time_s)

    def set_policy(self, policy: Policy, weights_seq_no: int) -> None:
        """Use another policy from the next step on."""
        self._policy = policy
        self.weights_seq_no = weights_seq_no

    def close(self) -> None:
        """Drop the environment and stop waiting for its answer."""
        self._transport.forget(self.key)
        self._progress.close()

    # --- slices -------------------------------------------------------------------------------

    def request(self, budget_s: float, *, drain: bool, leave: bool) -> None:
        """Take part in a call of the loop that is about to begin.

        Args:
            budget_s: How long the call is to last.
            drain: Finish the episode that is under way and begin no other.
            leave: Begin nothing, and only wait for an answer that is out.
        """
        self.is_requested = True
        self.is_leaving = leave
        if self._slice is None:
            unseen_s = self._clock() - (self._ended_s or 0.0)
            self._slice = self._begin_slice(budget_s, drain=drain)
            self._has_news = False
            if self.out and self._held_answer is None:
                self._sent_s += unseen_s  # between calls nothing looked for its answer
        self._slice.drain = drain
        if self.out and self._between_episodes:
            self._progress.cells[PHASE] = RESETTING
        held, self._held_answer = self._held_answer, None
        if held is not None:
            answer, came_s = held
            now_s = self._clock()
            self._sent_s += now_s - came_s
            self._count_answer(answer, now_s)

    @property
    def is_at_rest(self) -> bool:
        """Whether no move is out and none may be sent: it is to pause or has nothing to do."""
        return not self.out and not self._may_move()

    def _may_move(self) -> bool:
        builder = self._slice
        if not self.is_requested or self.is_leaving or builder is None:
            return False
        if builder.drain:
            return not self._is_drained()
        return (
            not self._progress.cells[HURRY]
            and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < self.max_episodes
        )

    def advance(self) -> None:
        """Send the next move if one may be made."""
        while not self.out and self._may_move():
            if self._between_episodes:
                self._send_reset()
            else:
                self._send_step()

    def chunk(self) -> RolloutChunk | None:
        """End the slice and return its chunk; None: nothing happened yet, and the slice goes on."""
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
            # The policy raised, or its action can't be sent.
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
            self._transport.remake(self.key, remade_seed(self._seeds.reset, self._num_remakes))
        else:
            self._transport.reset(self.key)

    def on_answer(self, answer: WasReset | Stepped | Raised, now_s: float) -> None:
        """Count the answer to its move, or hold it for the next slice if it comes between two."""
        if self.is_requested:
            self._count_answer(answer, now_s)
        else:
            self._held_answer = (answer, now_s)

    def _count_answer(self, answer: WasReset | Stepped | Raised, now_s: float) -> None:
        self.out = False
        match answer:
            case Stepped():
                self._count_step(answer, now_s)
            case WasReset(observation=observation):
                self._count_reset(observation, now_s)
            case Raised():
                self._count_error(answer, now_s)

    def _count_reset(self, observation: Any, now_s: float) -> None:
        self._has_failed = self._between_episodes = False
        self._observation = observation
        reset_s = now_s - self._sent_s
        self._reset_time_s += reset_s
        self._has_news = True
        builder = self._slice
        if builder is not None and len(builder.reset_samples_s) < MAX_RESET_SAMPLES:
            builder.reset_samples_s.append(reset_s)
        self._progress.cells[PHASE] = STEPPING

    def _count_step(self, stepped: Stepped, now_s: float) -> None:
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
                self._infos.add(builder.num_episodes, info)
            self._record(builder, now_s, self._episode_return, self._episode_len, ending)

    def _count_error(self, raised: Raised, now_s: float) -> None:
        if raised.where == "step":
            self._step_time_s += now_s - self._sent_s
        else:
            self._reset_time_s += now_s - self._sent_s
        self._fail(raised)

    def _fail(self, raised: Raised) -> None:
        """Record an episode that ended in an exception; the next one gets a new environment."""
        assert self._slice is not None
        now_s = self._clock()
        self.failures_in_a_row += 1
        self._has_failed = self._has_news = True
        self._record(self._slice, now_s, math.nan, self._episode_len, ERROR)
        self._keep_error(self._slice, now_s, raised.where, raised.message, raised.traceback)
        self._tell_progress(self._num_env_steps(), 0)
