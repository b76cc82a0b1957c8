"""Folds errors of environments into few events: one may fail thousands of times a second."""

from dataclasses import dataclass

from raydash.core.records import RolloutChunk

ERROR_FOLD_S = 1.0


@dataclass(frozen=True, slots=True)
class FoldedErrors:
    """A worker's errors that one event stands for.

    Attributes:
        worker_index: 1..N.
        count: How many errors there were, by the worker's own totals.
        text: One line for people.
        detail: The traceback of the first error.
    """

    worker_index: int
    count: int
    text: str
    detail: str


@dataclass(slots=True)
class _Fold:
    open_until_s: float
    count: int = 0
    text: str = ""
    detail: str = ""


class ErrorFold:
    """Allows one event per worker and second; the first after a quiet time comes at once."""

    def __init__(self) -> None:
        self._folds: dict[int, _Fold] = {}
        self._counted: dict[tuple[int, int], int] = {}

    def add_chunk(self, chunk: RolloutChunk, t_s: float) -> None:
        """Count the errors of a chunk."""
        key = (chunk.worker_index, chunk.incarnation)
        new = chunk.totals.num_error - self._counted.get(key, 0)
        if new <= 0:
            return
        self._counted[key] = chunk.totals.num_error
        fold = self._folds.setdefault(chunk.worker_index, _Fold(open_until_s=t_s))
        fold.count += new
        if chunk.errors and not fold.text:
            fold.text = f"{chunk.errors[0].where} raised {chunk.errors[0].message}"
            fold.detail = chunk.errors[0].traceback

    def due(self, t_s: float, *, everything: bool = False) -> list[FoldedErrors]:
        """Return the errors that are due for an event; `everything` if no other call follows."""
        due: list[FoldedErrors] = []
        for index, fold in list(self._folds.items()):
            if t_s < fold.open_until_s and not everything:
                continue
            if fold.count:
                times = f" ({fold.count} times)" if fold.count > 1 else ""
                text = f"worker {index}: {fold.text or 'an episode ended in an error'}{times}"
                due.append(FoldedErrors(index, fold.count, text, fold.detail))
                self._folds[index] = _Fold(open_until_s=t_s + ERROR_FOLD_S)
            else:
                del self._folds[index]
        return due
