"""Running moments of observations, merged over all workers."""

import numpy as np

from raydash.core.records import Float64, ObservationSums

MIN_STD = 1e-6
"""What hardly ever changes is left as it is: dividing by nearly nothing would blow it up."""
FILE_WEIGHT = 10_000
"""Observations that the moments of a policy file count as."""


class Normaliser:
    """Mean and deviation of all observations so far.

    Attributes:
        sums: What they are made of.
    """

    def __init__(self, size: int, sums: ObservationSums | None = None) -> None:
        """Of observations of `size` numbers, going on from `sums`."""
        self.sums = sums or ObservationSums(0, np.zeros(size), np.zeros(size))

    @staticmethod
    def from_moments(mean: Float64, std: Float64) -> "Normaliser":
        """One that begins with the moments of a policy file."""
        sums = ObservationSums(FILE_WEIGHT, mean, std**2 * FILE_WEIGHT)
        return Normaliser(len(mean), sums)

    def add(self, sums: ObservationSums) -> None:
        """Take further observations in."""
        merged = ObservationSums.merged([self.sums, sums])
        # Observations that are not finite (or huge) would spoil every later one.
        if merged is not None and np.isfinite(merged.m2).all() and np.isfinite(merged.mean).all():
            self.sums = merged

    @property
    def mean(self) -> Float64:
        """To be subtracted."""
        return self.sums.mean

    @property
    def std(self) -> Float64:
        """To be divided by; 1 where nothing varies."""
        std = np.sqrt(self.sums.m2 / max(1, self.sums.count))
        return np.where(std > MIN_STD, std, 1.0)
