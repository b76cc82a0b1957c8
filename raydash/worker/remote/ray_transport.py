"""The part that both ways of stepping over Ray share: collecting answers in batches."""

import pickle
from collections.abc import Sequence
from typing import Any

import ray
from typing_extensions import override

from raydash.worker.remote.moves import Answer, Lost, Transport, WorkerKey

PATIENCE_S = 0.003
"""A batch waits this long for its last answer. Then the answer is late: no batch waits for it."""
CALM_S = 0.02
"""How long to wait while all moves that are out are late."""
GET_TIMEOUT_S = 5.0


class RayTransport(Transport):
    """A `Transport` whose answers are Ray objects: pickled values, or exceptions of Ray.

    Answers are collected in batches, which costs a third less than one by one. A slow environment
    is waited for only once per step, for `PATIENCE_S`, and so does not hold up the others.
    """

    def __init__(self) -> None:
        self._out: dict[Any, WorkerKey] = {}
        self._late: set[Any] = set()

    def _unpacked(self, key: WorkerKey, value: bytes) -> Answer:
        """Unpack an answer."""
        answer: Answer = pickle.loads(value)
        return answer

    @override
    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        refs = list(self._out)
        if not refs:
            return ()
        num_prompt = len(refs) - len(self._late)
        patience_s = PATIENCE_S if num_prompt else CALM_S
        ready, missing = ray.wait(
            refs, num_returns=max(1, num_prompt), timeout=max(0.0, min(timeout_s, patience_s))
        )
        if timeout_s >= patience_s:
            self._late.update(missing)
        if not ready:
            return ()
        found: list[tuple[WorkerKey, Answer]] = []
        for ref, value in zip(ready, values_of(ready), strict=True):
            self._late.discard(ref)
            key = self._out.pop(ref)
            is_lost = isinstance(value, Exception)
            found.append((key, Lost(value) if is_lost else self._unpacked(key, value)))
        return found

    @override
    def costs(self) -> Sequence[str]:
        return ()

    def _send(self, key: WorkerKey, ref: Any) -> None:
        self._out[ref] = key

    def _drop(self, key: WorkerKey) -> list[Any]:
        """Stop waiting for a worker's answers; return the references that were out."""
        dropped = [ref for ref, whose in self._out.items() if whose == key]
        for ref in dropped:
            del self._out[ref]
            self._late.discard(ref)
        return dropped


def values_of(refs: Sequence[Any]) -> list[Any]:
    """Return results or exceptions of ready refs, fetching all at once if none is an exception."""
    if not refs:
        return []
    try:
        return list(ray.get(list(refs), timeout=GET_TIMEOUT_S))
    except Exception:
        return [_value_of(ref) for ref in refs]


def _value_of(ref: Any) -> Any:
    try:
        return ray.get(ref, timeout=GET_TIMEOUT_S)
    except Exception as error:
        return error
