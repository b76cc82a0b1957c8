"""The mode `lockstep`: moves are calls of environment actors, one at a time each."""

from typing import Any

from raydash.worker.remote.moves import WorkerKey, pack
from raydash.worker.remote.ray_transport import RayTransport


class ActorTransport(RayTransport):
    """A `Transport` to `EnvActor`s, which others create and end."""

    def __init__(self) -> None:
        super().__init__()
        self._actors: dict[WorkerKey, Any] = {}

    def open(self, seat: WorkerKey, handle: Any, seed: int) -> None:
        """See `Transport`. The actor has reset its environment already, with the same seed."""
        self._actors[seat] = handle
        self._send(seat, handle.opening.remote())

    def reset(self, seat: WorkerKey) -> None:
        """See `Transport`."""
        self._send(seat, self._actors[seat].reset.remote())

    def renew(self, seat: WorkerKey, seed: int) -> None:
        """See `Transport`."""
        self._send(seat, self._actors[seat].renew.remote(seed))

    def step(self, seat: WorkerKey, action: Any) -> None:
        """See `Transport`."""
        self._send(seat, self._actors[seat].step.remote(pack(action)))

    def forget(self, seat: WorkerKey) -> None:
        """See `Transport`. Whoever made the actor ends it."""
        self._drop(seat)
        self._actors.pop(seat, None)
