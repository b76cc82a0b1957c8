"""A worker of a stepping loop, whose environment is in another process, and its counters."""

import math
import traceback
from collections.abc import Sequence
from typing import Any

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import RolloutChunk
from raydash.core.words.texts import one_line
from raydash.worker.envs.seeds import EnvSeeds, remade_seed
from raydash.worker.loops.account import (
    BOTH,
    ERROR,
    MAX_FAILURES_IN_A_ROW,
    RESETTING,
    STEPPING,
    TERMINATED,
    TRUNCATED,
    EpisodeAccount,
    Incarnation,
)
from raydash.worker.loops.chunk_builder import ChunkBuilder
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


class RemoteWorker:
    """Sends one move after the other and counts the answers.

    A slice begins with the first call of the loop that requests this worker and ends with the chunk
    that answers it. If the move is out during a whole call, that call gives no chunk, and the slice
    goes on in the next one.

    Attributes:
        account: Counts the steps and episodes, and makes the chunks.
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
        self.account = EpisodeAccount(Incarnation(*key, clock, progress, info_keys))
        self.account.weights_seq_no = version.weights_seq_no
        self.key = key
        self.out = False
        self.is_open = False
        self.is_requested = False
        self.is_leaving = False
        self.version = version
        self.spaces: tuple[Any, Any] = (None, None)
        self._seeds = seeds
        self._transport = transport
        self._policy: Policy | None = None
        self._observation: Any = None
        self._num_remakes = 0
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
        return self.account.progress.path

    # --- from opening to closing --------------------------------------------------------------

    def open(self, handle: Any) -> None:
        """Ask for the environment to be made."""
        self.out = True
        self.account.progress.cells[PHASE] = Phase.STARTING
        self._transport.open(self.key, handle, self._seeds.reset)

    def on_opened(self, opened: Opened, policy: Policy) -> None:
        """Take over the environment, which is made and reset, and its policy."""
        self.out = False
        self.is_open = True
        self._policy = policy
        self.spaces = opened.observation_space, opened.action_space
        self._observation = opened.observation
        self.account.episode_started_s = self.account.clock() - opened.reset_time_s
        self.account.note_prepared(opened.reset_time_s)

    def set_policy(self, policy: Policy, weights_seq_no: int) -> None:
        """Use another policy from the next step on."""
        self._policy = policy
        self.account.weights_seq_no = weights_seq_no

    def close(self) -> None:
        """Drop the environment and stop waiting for its answer."""
        self._transport.forget(self.key)
        self.account.progress.close()

    # --- slices -------------------------------------------------------------------------------

    def request(self, budget_s: float, *, drain: bool, leave: bool) -> None:
        """Take part in a call of the loop that is about to begin.

        Args:
            budget_s: How long the call is to last.
            drain: Finish the episode that is under way and begin no other.
            leave: Begin nothing, and only wait for an answer that is out.
        """
        account = self.account
        self.is_requested = True
        self.is_leaving = leave
        if self._slice is None:
            unseen_s = account.seconds_since_slice()
            self._slice = account.begin_slice(budget_s, drain=drain)
            self._has_news = False
            if self.out and self._held_answer is None:
                self._sent_s += unseen_s  # between calls nothing looked for its answer
        self._slice.drain = drain
        if self.out and account.between_episodes:
            account.progress.cells[PHASE] = RESETTING
        held, self._held_answer = self._held_answer, None
        if held is not None:
            answer, came_s = held
            now_s = account.clock()
            self._sent_s += now_s - came_s
            self._count_answer(answer, now_s)

    @property
    def is_at_rest(self) -> bool:
        """Whether no move is out and none may be sent: it is to pause or has nothing to do."""
        return not self.out and not self._may_move()

    def _may_move(self) -> bool:
        account, builder = self.account, self._slice
        if not self.is_requested or self.is_leaving or builder is None:
            return False
        if builder.drain:
            return not account.is_drained
        return (
            not account.progress.cells[HURRY]
            and account.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < account.max_episodes
        )

    def advance(self) -> None:
        """Send the next move if one may be made."""
        while not self.out and self._may_move():
            if self.account.between_episodes:
                self._send_reset()
            else:
                self._send_step()

    def chunk(self) -> RolloutChunk | None:
        """End the slice and return its chunk; None: nothing happened yet, and the slice goes on."""
        if self._slice is None or not (self._has_news or self.is_at_rest):
            return None
        builder, self._slice = self._slice, None
        self.is_requested = False
        return self.account.chunk(builder)

    # --- moves --------------------------------------------------------------------------------

    def _send_step(self) -> None:
        assert self._policy is not None
        assert self._slice is not None
        started_s = self.account.clock()
        try:
            action = self._policy(self._observation)
            self._sent_s = self.account.clock()
            self.account.policy_time_s += self._sent_s - started_s
            self._transport.step(self.key, action)
            self.out = True
        except Exception as error:
            # The policy raised, or its action can't be sent.
            words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
            message = f"{type(error).__name__}: {one_line(error)}"
            self._fail(Raised("policy", message, words))

    def _send_reset(self) -> None:
        account = self.account
        account.progress.cells[PHASE] = RESETTING
        account.tell_progress(account.num_finished_steps, 0)
        account.episode_started_s = self._sent_s = account.clock()
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
        account, builder = self.account, self._slice
        assert builder is not None
        self._has_failed = account.between_episodes = False
        self._has_news = True
        self._observation = observation
        reset_s = now_s - self._sent_s
        account.reset_time_s += reset_s
        builder.add_reset(reset_s)
        account.progress.cells[PHASE] = STEPPING

    def _count_step(self, stepped: Stepped, now_s: float) -> None:
        account, builder = self.account, self._slice
        assert builder is not None
        step_s = now_s - self._sent_s
        account.step_time_s += step_s
        builder.add_step(now_s, step_s)
        self._has_news = True
        account.failures_in_a_row = 0
        self._observation, reward, terminated, truncated, info = stepped
        account.episode_return += reward
        account.episode_len += 1
        account.tell_progress(account.num_env_steps, account.episode_len)
        if terminated or truncated:
            ending = TRUNCATED if not terminated else BOTH if truncated else TERMINATED
            if info:
                account.infos.add(builder.num_episodes, info)
            account.record(builder, now_s, account.episode_return, account.episode_len, ending)

    def _count_error(self, raised: Raised, now_s: float) -> None:
        if raised.where == "step":
            self.account.step_time_s += now_s - self._sent_s
        else:
            self.account.reset_time_s += now_s - self._sent_s
        self._fail(raised)

    def _fail(self, raised: Raised) -> None:
        """Record an episode that ended in an exception; the next one gets a new environment."""
        account, builder = self.account, self._slice
        assert builder is not None
        now_s = account.clock()
        account.failures_in_a_row += 1
        self._has_failed = self._has_news = True
        account.record(builder, now_s, math.nan, account.episode_len, ERROR)
        builder.add_error(now_s, raised.where, raised.message, raised.traceback)
        account.tell_progress(account.num_env_steps, 0)
