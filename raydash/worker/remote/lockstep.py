"""The mode `lockstep`: moves are calls of environment actors, one at a time each."""

from typing import Any

from raydash.worker.remote.moves import WorkerKey, pack
from raydash.worker.remote.ray_transport import RayTransport


class ActorTransport(RayTransport):
    """A `Transport` to `EnvActor`s, which others create and end."""

    def __init__(self) -> None:
        super().__init__()
        self._actors: dict[WorkerKey, Any] = {}

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        """See `Transport`. The actor has reset its environment already, with the same seed."""
        self._actors[key] = handle
        self._send(key, handle.opening.remote())

    def reset(self, key: WorkerKey) -> None:
        """See `Transport`."""
        self._send(key, self._actors[key].reset.remote())

    def renew(self, key: WorkerKey, seed: int) -> None:
        """See `Transport`."""
        self._send(key, self._actors[key].renew.remote(seed))

    def step(self, key: WorkerKey, action: Any) -> None:
        """See `Transport`."""
        self._send(key, self._actors[key].step.remote(pack(action)))

    def forget(self, key: WorkerKey) -> None:
        """See `Transport`. Whoever made the actor ends it."""
        self._drop(key)
        self._actors.pop(key, None)
