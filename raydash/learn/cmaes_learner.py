"""CMA-ES, by the library `cmaes`: adapts the covariance of a normal distribution to the landscape.

A search that has converged, diverged, or made no progress for a long time is restarted elsewhere
with twice the population (IPOP), which finds optima that a small population overlooks.
"""

import math
from typing import Any

import numpy as np
from cmaes import CMA, SepCMA
from typing_extensions import override

from raydash.core.records import Float64
from raydash.learn.learner import RestorableLearner, State

MAX_FULL = 400
"""Up to this many parameters the whole covariance is adapted, above only its diagonal: the time for
the whole one grows with the cube of their number."""
MAX_GROWTH = 8
"""Restarts enlarge the population up to this factor."""
_STATE_ATTRIBUTES = ("_mean", "_sigma", "_C", "_p_sigma", "_pc", "_g")


class CmaesLearner(RestorableLearner):
    """Searches by CMA-ES, with restarts.

    Attributes:
        num_restarts: How often the search was restarted.
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
        """Start searching around `start`, shape (num_parameters,).

        Args:
            num_parameters: Length of a candidate.
            start: The mean of the first generation.
            population: Candidates per generation until the first restart; None:
                4 + 3 ln(num_parameters).
            sigma: The first step size.
            seed: Seeds the random numbers.
            patience: Restart after this many generations without a better mean return; None:
                50 + 10 num_parameters / population.
        """
        self.num_restarts = 0
        self._start = np.array(start, np.float64)
        self._initial_sigma = sigma
        self._initial_population = population or 4 + int(3 * math.log(max(2, num_parameters)))
        self._seed = seed
        self._patience = patience or 50 + 10 * num_parameters // self._initial_population
        self._asked: Float64 | None = None
        self._num_asked = 0
        self._best_mean = -math.inf
        self._since_better = 0
        self._start_search()

    @property
    def sigma(self) -> float:
        """The current step size."""
        return float(self._search._sigma)

    def best_guess(self) -> Float64:
        """Return the distribution's mean: it averages out the noise that made a candidate lucky."""
        mean: Float64 = np.array(self._search._mean, np.float64)
        return mean

    @override
    def ask(self) -> Float64:
        # Reseeding each time lets a restored search give the candidates that it would have given.
        self._num_asked += 1
        self._search.reseed_rng(self._seed_of(1, self._num_asked))
        self._asked = np.array([self._search.ask() for _ in range(self._search.population_size)])
        return self._asked

    @override
    def tell(self, returns: Float64) -> None:
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
            self._start_search()

    @override
    def state(self) -> State:
        numbers = (self.num_restarts, self._num_asked, self._best_mean, self._since_better)
        search = {
            name: np.array(getattr(self._search, name), np.float64) for name in _STATE_ATTRIBUTES
        }
        return {"numbers": np.array(numbers, np.float64), **search}

    @override
    def restore(self, state: State) -> None:
        restarts, asked, best, since = (float(value) for value in state["numbers"])
        self.num_restarts = int(restarts)
        self._start_search()
        for name in _STATE_ATTRIBUTES:
            value = state[name]
            kept = int(value) if name == "_g" else value.copy() if value.ndim else float(value)
            setattr(self._search, name, kept)
        self._num_asked, self._best_mean, self._since_better = int(asked), best, int(since)

    def _start_search(self) -> None:
        """Start a new search; each restart doubles the population and starts somewhere else."""
        growth = min(2**self.num_restarts, MAX_GROWTH)
        start = self._start
        if self.num_restarts:
            rng = np.random.default_rng(self._seed_of(2, self.num_restarts))
            start = start + self._initial_sigma * rng.standard_normal(len(start))
        kind: Any = CMA if len(start) <= MAX_FULL else SepCMA
        self._search: Any = kind(
            mean=start.copy(),
            sigma=self._initial_sigma,
            population_size=self._initial_population * growth,
            seed=self._seed_of(3, self.num_restarts),
        )
        self._best_mean, self._since_better = -math.inf, 0

    def _seed_of(self, *key: int) -> int:
        return int(np.random.SeedSequence(self._seed, spawn_key=key).generate_state(1)[0])
