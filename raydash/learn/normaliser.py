"""Running moments of observations, merged over all workers."""

import numpy as np

from raydash.core.records import Float64, ObservationSums

MIN_STD = 1e-6
"""A number that hardly ever changes is not scaled: dividing by almost 0 would blow it up."""
FILE_WEIGHT = 10_000
"""The moments in a policy file weigh as much as this many observations."""


class Normaliser:
    """Holds the mean and the standard deviation of all observations so far.

    Attributes:
        sums: The running sums that both are computed from.
    """

    def __init__(self, size: int, sums: ObservationSums | None = None) -> None:
        """Normalise observations of `size` numbers, continuing from `sums` if there are any."""
        self.sums = sums or ObservationSums(0, np.zeros(size), np.zeros(size))

    @staticmethod
    def from_moments(mean: Float64, std: Float64) -> "Normaliser":
        """Make a normaliser that starts with the moments of a policy file."""
        sums = ObservationSums(FILE_WEIGHT, mean, std**2 * FILE_WEIGHT)
        return Normaliser(len(mean), sums)

    def add(self, sums: ObservationSums) -> None:
        """Merge the sums of further observations."""
        merged = ObservationSums.merged([self.sums, sums])
        # Observations that are not finite (or huge) would spoil every later one.
        if merged is not None and np.isfinite(merged.m2).all() and np.isfinite(merged.mean).all():
            self.sums = merged

    @property
    def mean(self) -> Float64:
        """The vector to subtract from an observation."""
        return self.sums.mean

    @property
    def std(self) -> Float64:
        """The vector to divide an observation by; it is 1 where nothing varies."""
        std = np.sqrt(self.sums.m2 / max(1, self.sums.count))
        return np.where(std > MIN_STD, std, 1.0)
