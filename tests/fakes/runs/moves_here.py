"""Transports to the real code of `lockstep` and `tasks`, called in this process without Ray.

Values are packed and unpacked as they are on the way through Ray.
"""

import pickle
from collections.abc import Sequence
from typing import Any

from raydash.core.messages import StartRun
from raydash.core.spec import RunSpec
from raydash.protocol.codec import encode
from raydash.worker.remote import tasks
from raydash.worker.remote.env_actor import EnvActor
from raydash.worker.remote.moves import Answer, WorkerKey, pack
from tests.fakes.user_code.envs import FakeClock

MOVE_S = 0.001


class _InProcessTransport:
    """Makes every move at once; on the fake clock it takes `MOVE_S`."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._came: list[tuple[WorkerKey, Answer]] = []

    def forget(self, key: WorkerKey) -> None:
        self._came = [each for each in self._came if each[0] != key]

    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        self._clock.now_s += MOVE_S
        came, self._came = self._came, []
        return came

    def costs(self) -> Sequence[str]:
        return ()


class InProcessActors(_InProcessTransport):
    """A `Transport` to `EnvActor`s."""

    def __init__(self, spec: RunSpec, clock: FakeClock) -> None:
        super().__init__(clock)
        self._start_run = encode(StartRun(0, spec))
        self._actors: dict[WorkerKey, EnvActor] = {}

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        self._actors[key] = EnvActor(self._start_run, *key)
        self._actors[key].prepare()
        self._take(key, self._actors[key].opening())

    def reset(self, key: WorkerKey) -> None:
        self._take(key, self._actors[key].reset())

    def remake(self, key: WorkerKey, seed: int) -> None:
        self._take(key, self._actors[key].remake(seed))

    def step(self, key: WorkerKey, action: Any) -> None:
        self._take(key, self._actors[key].step(pack(action)))

    def _take(self, key: WorkerKey, answer: bytes) -> None:
        self._came.append((key, pickle.loads(answer)))


class InProcessTasks(_InProcessTransport):
    """A `Transport` to the functions that run as tasks."""

    def __init__(self, spec: RunSpec, clock: FakeClock) -> None:
        super().__init__(clock)
        self._start_run = pack((spec.env, (), spec.rollout.info_keys, ""))
        self._dynamics: dict[WorkerKey, bytes] = {}
        self._states: dict[WorkerKey, bytes] = {}

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        self._begin(key, seed, is_first=True)

    def remake(self, key: WorkerKey, seed: int) -> None:
        self._begin(key, seed, is_first=False)

    def reset(self, key: WorkerKey) -> None:
        self._take(key, *tasks.reset_env(self._dynamics[key], self._states[key]))

    def step(self, key: WorkerKey, action: Any) -> None:
        self._take(key, *tasks.step_env(self._dynamics[key], self._states[key], pack(action)))

    def _begin(self, key: WorkerKey, seed: int, *, is_first: bool) -> None:
        self._dynamics[key], *moved = tasks.open_env(self._start_run, "", seed, is_first)
        self._take(key, *moved)

    def _take(self, key: WorkerKey, state: bytes, answer: bytes) -> None:
        self._states[key] = state
        self._came.append((key, pickle.loads(answer)[0]))
