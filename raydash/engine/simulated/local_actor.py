"""Calls methods of an object in this process as if it were a Ray actor."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


class LocalActorDiedError(Exception):
    """The actor has ended, and does not come back."""


@dataclass(frozen=True, slots=True)
class LocalReference:
    """Stands in for the reference that a remote call returns."""

    _future: Future[Any]

    def future(self) -> Future[Any]:
        """Return the future of the call's value."""
        return self._future


@dataclass(frozen=True, slots=True)
class LocalMethod:
    """Stands in for a method of an actor's handle: `handle.method.remote(...)`."""

    _call: Callable[..., Any]
    _threads: "_Threads"

    def remote(self, *values: Any) -> LocalReference:
        """Call the method on a thread of the actor, and return a reference at once."""
        return LocalReference(self._threads.submit(lambda: self._call(*values)))


class LocalActor:
    """Stands in for an actor's handle.

    Methods that may wait have threads of their own. The others are called in the order of the
    calls, on one thread. All threads are daemons: a debugger that holds one of them does not keep
    the process from ending.

    Example:
        >>> actor = LocalActor([3, 1, 2], "list", waiting=())
        >>> actor.index.remote(2).future().result()
        2
        >>> actor.close()
    """

    def __init__(
        self, target: object, name: str, *, waiting: Sequence[str], num_waiting_threads: int = 4
    ) -> None:
        """Call methods of `target`; `waiting` names those that may wait."""
        self._target = target
        self._waiting = frozenset(waiting)
        self._in_order = _Threads(f"{name}-calls", 1)
        self._waiters = _Threads(f"{name}-readers", num_waiting_threads if waiting else 0)

    def __getattr__(self, name: str) -> LocalMethod:
        threads = self._waiters if name in self._waiting else self._in_order
        return LocalMethod(getattr(self._target, name), threads)

    def close(self) -> None:
        """End the threads, and wait until they have made the calls so far. Later calls fail."""
        self._in_order.close()
        self._waiters.close()


class _Threads:
    """Threads that make calls in turn, the oldest first."""

    def __init__(self, name: str, count: int) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._calls.put((call, future))
        if is_closed:
            future.set_exception(LocalActorDiedError("the actor has ended"))
        return future

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            try:
                value = call()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(value)
