"""Transports to the real ends of `lockstep` and `tasks`, called in this process: no Ray.

What travels is packed and unpacked as it is on the way through Ray.
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


class _Here:
    """Every move is made at once; it seems to have taken `MOVE_S`."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._came: list[tuple[WorkerKey, Answer]] = []

    def forget(self, seat: WorkerKey) -> None:
        self._came = [each for each in self._came if each[0] != seat]

    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        self._clock.now_s += MOVE_S
        came, self._came = self._came, []
        return came

    def costs(self) -> Sequence[str]:
        return ()


class ActorsHere(_Here):
    """A `Transport` to `EnvActor`s."""

    def __init__(self, spec: RunSpec, clock: FakeClock) -> None:
        super().__init__(clock)
        self._order = encode(StartRun(0, spec))
        self._actors: dict[WorkerKey, EnvActor] = {}

    def open(self, seat: WorkerKey, handle: Any, seed: int) -> None:
        self._actors[seat] = EnvActor(self._order, *seat)
        self._actors[seat].prepare()
        self._take(seat, self._actors[seat].opening())

    def reset(self, seat: WorkerKey) -> None:
        self._take(seat, self._actors[seat].reset())

    def renew(self, seat: WorkerKey, seed: int) -> None:
        self._take(seat, self._actors[seat].renew(seed))

    def step(self, seat: WorkerKey, action: Any) -> None:
        self._take(seat, self._actors[seat].step(pack(action)))

    def _take(self, seat: WorkerKey, answer: bytes) -> None:
        self._came.append((seat, pickle.loads(answer)))


class TasksHere(_Here):
    """A `Transport` to the functions that run as tasks."""

    def __init__(self, spec: RunSpec, clock: FakeClock) -> None:
        super().__init__(clock)
        self._order = pack((spec.env, (), spec.rollout.info_keys, ""))
        self._laws: dict[WorkerKey, bytes] = {}
        self._states: dict[WorkerKey, bytes] = {}

    def open(self, seat: WorkerKey, handle: Any, seed: int) -> None:
        self._begin(seat, seed, is_first=True)

    def renew(self, seat: WorkerKey, seed: int) -> None:
        self._begin(seat, seed, is_first=False)

    def reset(self, seat: WorkerKey) -> None:
        self._take(seat, *tasks.reset_env(self._laws[seat], self._states[seat]))

    def step(self, seat: WorkerKey, action: Any) -> None:
        self._take(seat, *tasks.step_env(self._laws[seat], self._states[seat], pack(action)))

    def _begin(self, seat: WorkerKey, seed: int, *, is_first: bool) -> None:
        self._laws[seat], *moved = tasks.open_env(self._order, "", seed, is_first)
        self._take(seat, *moved)

    def _take(self, seat: WorkerKey, state: bytes, answer: bytes) -> None:
        self._states[seat] = state
        self._came.append((seat, pickle.loads(answer)[0]))
