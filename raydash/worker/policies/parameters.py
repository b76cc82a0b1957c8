"""Turns a network's parameters into one flat vector, as learners need them, and back."""

from dataclasses import dataclass

import numpy as np

from raydash.core.records import Float64
from raydash.core.spec import PolicySpec
from raydash.worker.policies.weights import Weights


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each layer of a network is in its vector: the matrix row by row, then the bias.

    Attributes:
        sizes: The number of inputs, of each hidden layer's neurons, and of outputs.
    """

    sizes: tuple[int, ...]

    @staticmethod
    def of(policy: PolicySpec, num_inputs: int, num_outputs: int) -> "Layout":
        """Return the layout of the linear policy or MLP that a spec asks for.

        It takes `num_inputs` numbers (a flattened observation) and gives `num_outputs` numbers (an
        action).
        """
        hidden = policy.hidden if policy.kind == "mlp" else ()
        return Layout((num_inputs, *hidden, num_outputs))

    @staticmethod
    def like(weights: Weights) -> "Layout":
        """Return the layout of weights from a file."""
        outputs = [int(matrix.shape[1]) for matrix, _ in weights.layers]
        return Layout((weights.num_inputs, *outputs))

    @property
    def num_parameters(self) -> int:
        """The length of the vector."""
        return sum(
            (inputs + 1) * outputs
            for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False)
        )

    def weights(self, vector: Float64, mean: Float64, std: Float64) -> Weights:
        """Make the network of a vector.

        Args:
            vector: The parameters, shape (num_parameters,).
            mean: The mean of the observations, shape (inputs,).
            std: Their standard deviation, shape (inputs,), above 0.
        """
        layers: list[tuple[Float64, Float64]] = []
        start = 0
        for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False):
            end = start + inputs * outputs
            matrix = vector[start:end].reshape(inputs, outputs)
            start = end + outputs
            layers.append((matrix, vector[end:start]))
        return Weights(tuple(layers), mean, std)

    def vector(self, weights: Weights) -> Float64:
        """Return the vector of a network that has this layout."""
        parts = [part.ravel() for layer in weights.layers for part in layer]
        return np.concatenate(parts)

    def first_vector(self, seed: int) -> Float64:
        """Return the vector that a search starts from: zeros, with random hidden layers.

        With all weights at zero the neurons of a hidden layer would stay alike.
        """
        rng = np.random.default_rng(seed)
        vector = np.zeros(self.num_parameters)
        start = 0
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:-1], strict=False):
            end = start + inputs * outputs
            vector[start:end] = rng.standard_normal(inputs * outputs) / np.sqrt(inputs)
            start = end + outputs
        return vector
