"""Generations of a learner that readers may have missed, by version."""

import numpy as np

from raydash.core.updates import Generations


class GenerationLog:
    """All of them while they are few; then every second one of the older ones is let go."""

    def __init__(self, generations: Generations, *, seq: int) -> None:
        """A log that begins at version `seq`, with what the recording holds."""
        self._rows = Generations()
        self._seqs = np.empty(0, np.int64)
        self.add(generations, seq)

    def add(self, generations: Generations, seq: int) -> None:
        """These belong to the version `seq`."""
        if not len(generations):
            return
        rows = Generations.joined([self._rows, generations])
        seqs = np.concatenate([self._seqs, np.full(len(generations), seq, np.int64)])
        kept = Generations.kept_of(len(rows))
        self._rows, self._seqs = rows.rows(kept), seqs[kept]

    def since(self, seq: int) -> Generations:
        """Those of later versions; 0: all that are left."""
        first = int(np.searchsorted(self._seqs, seq, side="right"))
        return self._rows.rows(np.arange(first, len(self._rows)))
