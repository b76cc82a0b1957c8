"""CMA-ES, by the library `cmaes`: adapts the covariance of a normal distribution to the landscape.

A search that converged, diverged, or has not got on for long begins anew elsewhere with twice the
population (IPOP), which finds what a small population overlooks.
"""

import math
from typing import Any, Protocol

import numpy as np
from cmaes import CMA, SepCMA

from raydash.core.records import Float64
from raydash.learn.learner import State

MAX_FULL = 400
"""Parameters up to which the whole covariance is adapted; beyond, its diagonal: time grows with the
cube."""
MAX_GROWTH = 8
"""How much larger than at first a population gets by restarts."""
_SEPARATE = ("_mean", "_sigma", "_C", "_p_sigma", "_pc", "_g")


class _Search(Protocol):
    population_size: int

    def ask(self) -> Float64: ...

    def tell(self, solutions: list[tuple[Float64, float]]) -> None: ...

    def should_stop(self) -> bool: ...

    def reseed_rng(self, seed: int) -> None: ...


class CmaesLearner:
    """A `RestorableLearner`.

    Attributes:
        num_restarts: How often the search began anew.
    """

    def __init__(
        self,
        *,
        num_parameters: int,
        start: Float64,
        population: int | None,
        sigma: float,
        seed: int,
        patience: int | None = None,
    ) -> None:
        """A search around `start`.

        Args:
            num_parameters: Length of a candidate.
            start: Where it begins.
            population: Candidates a generation at first; None: 4 + 3 ln(num_parameters).
            sigma: First step size.
            seed: Of the random numbers.
            patience: Generations without a better mean after which it begins anew; None: 30 and
                as many as a search in so many dimensions takes.
        """
        self.num_restarts = 0
        self._start = np.array(start, np.float64)
        self._first_sigma = sigma
        self._first_population = population or 4 + int(3 * math.log(max(2, num_parameters)))
        self._seed = seed
        self._patience = patience or 50 + 10 * num_parameters // self._first_population
        self._asked: Float64 | None = None
        self._num_asked = 0
        self._best_mean = -math.inf
        self._since_better = 0
        self._begin()

    @property
    def sigma(self) -> float:
        """The step size now."""
        return float(self._search._sigma)

    def best_guess(self) -> Float64:
        """The middle of the distribution: it averages noise out that a lucky candidate had."""
        mean: Float64 = np.array(self._search._mean, np.float64)
        return mean

    def ask(self) -> Float64:
        """See `Learner`."""
        # Seeded anew each time, so that a restored search gives what it would have given.
        self._num_asked += 1
        self._search.reseed_rng(self._seed_of(1, self._num_asked))
        self._asked = np.array([self._search.ask() for _ in range(self._search.population_size)])
        return self._asked

    def tell(self, returns: Float64) -> None:
        """See `Learner`."""
        assert self._asked is not None
        pairs = zip(self._asked, returns, strict=True)
        self._search.tell([(candidate, -float(value)) for candidate, value in pairs])
        self._asked = None
        mean = float(returns.mean())
        self._since_better += 1
        if mean > self._best_mean:
            self._best_mean, self._since_better = mean, 0
        if self._since_better > self._patience or self._search.should_stop():
            self.num_restarts += 1
            self._begin()

    def state(self) -> State:
        """See `RestorableLearner`."""
        numbers = (self.num_restarts, self._num_asked, self._best_mean, self._since_better)
        search = {name: np.array(getattr(self._search, name), np.float64) for name in _SEPARATE}
        return {"numbers": np.array(numbers, np.float64), **search}

    def restore(self, state: State) -> None:
        """See `RestorableLearner`."""
        restarts, asked, best, since = (float(value) for value in state["numbers"])
        self.num_restarts = int(restarts)
        self._begin()
        for name in _SEPARATE:
            value = state[name]
            kept = int(value) if name == "_g" else value.copy() if value.ndim else float(value)
            setattr(self._search, name, kept)
        self._num_asked, self._best_mean, self._since_better = int(asked), best, int(since)

    def _begin(self) -> None:
        """A fresh search; each restart doubles the population and begins somewhere else."""
        growth = min(2**self.num_restarts, MAX_GROWTH)
        start = self._start
        if self.num_restarts:
            rng = np.random.default_rng(self._seed_of(2, self.num_restarts))
            start = start + self._first_sigma * rng.standard_normal(len(start))
        kind: Any = CMA if len(start) <= MAX_FULL else SepCMA
        self._search: Any = kind(
            mean=start.copy(),
            sigma=self._first_sigma,
            population_size=self._first_population * growth,
            seed=self._seed_of(3, self.num_restarts),
        )
        self._best_mean, self._since_better = -math.inf, 0

    def _seed_of(self, *key: int) -> int:
        return int(np.random.SeedSequence(self._seed, spawn_key=key).generate_state(1)[0])
