"""A learner of one's own: the cross-entropy method, in 30 lines.

    raydash run --env CartPole-v1 --policy linear --learner own_learner:CrossEntropy --target 475

Run it in the folder of this file. `[learner.options]` of a spec become keyword arguments (`elite`).
"""

import numpy as np


class CrossEntropy:
    """Draws around a mean, and moves to the mean and spread of the best."""

    def __init__(self, *, num_parameters, start, population, sigma, seed, elite=0.25):
        self.rng = np.random.default_rng(seed)
        self.mean, self.spread = start.copy(), np.full(num_parameters, sigma)
        self.population = population or 20
        self.num_elite = max(2, round(elite * self.population))

    def ask(self):
        """The next candidates, one a row."""
        noise = self.rng.standard_normal((self.population, len(self.mean)))
        self.candidates = self.mean + self.spread * noise
        return self.candidates

    def tell(self, returns):
        """What mean return each of them had; more is better."""
        best = self.candidates[np.argsort(returns)[-self.num_elite :]]
        self.mean, self.spread = best.mean(axis=0), best.std(axis=0) + 0.05

    def best_guess(self):
        """What is evaluated and saved (optional, like state, restore, sigma, num_restarts)."""
        return self.mean

    def state(self):
        """What it needs to go on after its process died."""
        return {"mean": self.mean, "spread": self.spread}

    def restore(self, state):
        """Go on from there."""
        self.mean, self.spread = state["mean"], state["spread"]
