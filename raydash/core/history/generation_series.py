"""The reader's side of a run's learning: its generations, collected from updates."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from raydash.core.records import Float64
from raydash.core.updates import Generations

MAX_GENERATIONS = 4096
_NAMES = tuple(field.name for field in fields(Generations))


class GenerationSeries:
    """All generations of a run, ascending by number; of long runs, neighbours are joined.

    Arrays are replaced and never written to, so a shallow copy never changes.

    Attributes:
        columns: A row is one generation, or several consecutive ones joined: then it holds the mean
            of their means, the best of their bests, the worst of their worsts, their newest
            evaluation, and the number, time and steps of the last.
        version: Counts changes, so that a view knows whether to draw.
    """

    def __init__(self, capacity: int = MAX_GENERATIONS) -> None:
        self.columns = Generations()
        self.version = 0
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self.columns)

    def replace(self, generations: Generations) -> None:
        """Replace all generations by those of a snapshot."""
        self.columns = Generations()
        self.version += 1
        self.apply(generations)

    def apply(self, generations: Generations) -> None:
        """Append new generations; one that is already here, by its number, is replaced."""
        if not len(generations):
            return
        self.version += 1
        old = self.columns
        kept = ~np.isin(old.number, generations.number)
        joined = [
            np.concatenate([getattr(old, name)[kept], getattr(generations, name)])
            for name in _NAMES
        ]
        order = np.argsort(joined[0], kind="stable")
        self.columns = Generations(*(column[order] for column in joined))
        while len(self.columns) > self._capacity:
            self.columns = _halved(self.columns)

    def rows_between(self, low_s: float, high_s: float) -> slice:
        """Rows that ended in this range of the run's clock, plus one beyond it on either side."""
        begin = int(np.searchsorted(self.columns.end_s, low_s))
        end = int(np.searchsorted(self.columns.end_s, high_s, side="right"))
        return slice(max(0, begin - 1), min(len(self), end + 1))

    def nearest(self, t_s: float) -> int | None:
        """Find the row that ended nearest to `t_s`; None: there are no rows."""
        if not len(self):
            return None
        return int(np.argmin(np.abs(self.columns.end_s - t_s)))


def _halved(columns: Generations) -> Generations:
    """Join every two neighbours; if the number of rows is odd, the last one stays as it is."""
    starts = np.arange(0, len(columns), 2)
    lasts = np.minimum(starts + 1, len(columns) - 1)
    evaluated = np.isfinite(columns.evaluation_mean)
    newest = np.where(evaluated[lasts], lasts, starts)
    return Generations(
        number=columns.number[lasts],
        end_s=columns.end_s[lasts],
        num_env_steps=columns.num_env_steps[lasts],
        return_mean=(columns.return_mean[starts] + columns.return_mean[lasts]) / 2,
        return_best=np.fmax(columns.return_best[starts], columns.return_best[lasts]),
        return_worst=np.fmin(columns.return_worst[starts], columns.return_worst[lasts]),
        evaluation_mean=columns.evaluation_mean[newest],
        evaluation_n=columns.evaluation_n[newest],
        sigma=columns.sigma[lasts],
    )


def grouped(columns: Generations, starts: NDArray[np.intp]) -> tuple[Float64, ...]:
    """Summarise groups of consecutive generations for a plot.

    `columns` must have at least one row; `starts` holds the first row of each group, ascending from
    0.

    Returns:
        When each group ended, its mean, its best and its worst.
    """
    lasts = np.append(starts[1:], len(columns)) - 1
    counts = np.diff(np.append(starts, len(columns)))
    return (
        columns.end_s[lasts],
        np.asarray(np.add.reduceat(columns.return_mean, starts) / counts),
        np.maximum.reduceat(columns.return_best, starts),
        np.minimum.reduceat(columns.return_worst, starts),
    )
