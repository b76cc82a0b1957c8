"""A transport whose moves take some time on a fake clock.

It stands in for environment actors and for tasks. A move is made when its answer is due, so the
steps that were really taken are known at any time.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from raydash.core.faults import Fault
from raydash.worker.remote.moves import (
    Answer,
    Lost,
    Opened,
    Raised,
    Refused,
    Stepped,
    WasReset,
    WorkerKey,
)
from tests.fakes.user_code.envs import FakeClock, ScriptedEnv, Step

NEVER_S = float("inf")


class FakeTransport:
    """A `Transport` to scripted environments.

    Attributes:
        envs: Environments by worker; a remade one continues where the one before failed.
        taken: By worker, all answers to steps, resets and remakes that were returned, in order.
        remade: By worker, the seeds of remakes.
        lag_s: Gives how long a worker's move takes; a test may replace it.
        forgotten: Workers that were dropped, in order.
        lost: Workers whose moves are lost, with the exceptions that say so.
        most_out: The greatest number of moves of one worker that were out at once.
    """

    def __init__(
        self,
        clock: FakeClock,
        scripts: Sequence[Sequence[Step]] = (),
        *,
        lag_s: Callable[[WorkerKey], float] = lambda _key: 0.001,
        failing_resets: Sequence[int] = (),
    ) -> None:
        self.clock = clock
        self.scripts = scripts
        self.lag_s = lag_s
        self.failing_resets = failing_resets
        self.envs: dict[WorkerKey, ScriptedEnv] = {}
        self.taken: dict[WorkerKey, list[Answer]] = {}
        self.remade: dict[WorkerKey, list[int]] = {}
        self.forgotten: list[WorkerKey] = []
        self.lost: dict[WorkerKey, Exception] = {}
        self.refused: dict[WorkerKey, Fault] = {}
        self.costs_to_report: list[str] = []
        self.most_out = 0
        self._due: list[tuple[float, WorkerKey, Callable[[], Answer]]] = []

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        script = self.scripts[(key[0] - 1) % len(self.scripts)] if self.scripts else None
        arguments = () if script is None else (script,)
        env = self.envs[key] = ScriptedEnv(
            *arguments, clock=FakeClock(), failing_resets=self.failing_resets
        )
        self.taken[key], self.remade[key] = [], []

        def opened() -> Answer:
            if key in self.refused:
                return Refused(self.refused[key])
            observation, _ = env.reset(seed=seed)
            # Copies, as if they had been sent: the loop must not share them with the environment.
            spaces = deepcopy((env.observation_space, env.action_space))
            return Opened(*spaces, observation, 0.01)

        self._send(key, opened)

    def reset(self, key: WorkerKey) -> None:
        self._send(key, lambda: self._reset(key, None))

    def remake(self, key: WorkerKey, seed: int) -> None:
        self.remade[key].append(seed)
        self._send(key, lambda: self._reset(key, seed))

    def step(self, key: WorkerKey, action: Any) -> None:
        self._send(key, lambda: self._step(key, action))

    def forget(self, key: WorkerKey) -> None:
        self.forgotten.append(key)
        self._due = [each for each in self._due if each[1] != key]

    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        """Let time pass until the first answer is due, but at most 0.02 s."""
        now_s = self.clock()
        due_s = min((due_s for due_s, _, _ in self._due), default=NEVER_S)
        self.clock.now_s = max(now_s, min(due_s, now_s + min(timeout_s, 0.02)))
        came = [each for each in self._due if each[0] <= self.clock.now_s]
        self._due = [each for each in self._due if each[0] > self.clock.now_s]
        return [(key, move()) for _, key, move in came]

    def costs(self) -> Sequence[str]:
        costs, self.costs_to_report = self.costs_to_report, []
        return costs

    def num_out(self, key: WorkerKey) -> int:
        """Return how many moves of a worker are out."""
        return sum(whose == key for _, whose, _ in self._due)

    def _send(self, key: WorkerKey, move: Callable[[], Answer]) -> None:
        def made() -> Answer:
            return Lost(self.lost[key]) if key in self.lost else move()

        self._due.append((self.clock.now_s + self.lag_s(key), key, made))
        self.most_out = max(self.most_out, self.num_out(key))

    def _reset(self, key: WorkerKey, seed: int | None) -> Answer:
        answer: Answer
        try:
            answer = WasReset(self.envs[key].reset(seed=seed)[0])
        except Exception as error:
            answer = Raised.of("reset", error)
        self.taken[key].append(answer)
        return answer

    def _step(self, key: WorkerKey, action: Any) -> Answer:
        answer: Answer
        try:
            observation, reward, terminated, truncated, info = self.envs[key].step(action)
            answer = Stepped(observation, float(reward), terminated, truncated, info)
        except Exception as error:
            answer = Raised.of("step", error)
        self.taken[key].append(answer)
        return answer
