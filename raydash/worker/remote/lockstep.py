"""The mode `lockstep`: a move is a call of an environment actor, one at a time per actor."""

from typing import Any

from typing_extensions import override

from raydash.worker.remote.moves import WorkerKey, pack
from raydash.worker.remote.ray_transport import RayTransport


class ActorTransport(RayTransport):
    """A `Transport` to `EnvActor`s, which the supervisor creates and ends."""

    def __init__(self) -> None:
        super().__init__()
        self._actors: dict[WorkerKey, Any] = {}

    @override
    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        # The actor has already reset its environment, with the same seed.
        self._actors[key] = handle
        self._send(key, handle.opening.remote())

    @override
    def reset(self, key: WorkerKey) -> None:
        self._send(key, self._actors[key].reset.remote())

    @override
    def remake(self, key: WorkerKey, seed: int) -> None:
        self._send(key, self._actors[key].remake.remote(seed))

    @override
    def step(self, key: WorkerKey, action: Any) -> None:
        self._send(key, self._actors[key].step.remote(pack(action)))

    @override
    def forget(self, key: WorkerKey) -> None:
        # The actor itself goes on: the supervisor ends it.
        self._drop(key)
        self._actors.pop(key, None)
