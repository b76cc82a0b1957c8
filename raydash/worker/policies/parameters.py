"""A network's parameters as one flat vector, as learners want them."""

from dataclasses import dataclass

import numpy as np

from raydash.core.records import Float64
from raydash.core.spec import PolicySpec
from raydash.worker.policies.weights import Weights


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each layer of a network stands in its vector: matrix row by row, then bias.

    Attributes:
        sizes: Numbers that go in, neurons of each hidden layer, numbers that come out.
    """

    sizes: tuple[int, ...]

    @staticmethod
    def of(policy: PolicySpec, num_inputs: int, num_outputs: int) -> "Layout":
        """That of the policy that a spec asks for.

        Args:
            policy: Linear, or an MLP with hidden layers.
            num_inputs: Length of a flattened observation.
            num_outputs: Numbers that make an action.
        """
        hidden = policy.hidden if policy.kind == "mlp" else ()
        return Layout((num_inputs, *hidden, num_outputs))

    @staticmethod
    def like(weights: Weights) -> "Layout":
        """That of weights from a file."""
        outputs = [int(matrix.shape[1]) for matrix, _ in weights.layers]
        return Layout((weights.num_inputs, *outputs))

    @property
    def num_parameters(self) -> int:
        """Length of the vector."""
        return sum(
            (inputs + 1) * outputs
            for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False)
        )

    def weights(self, vector: Float64, mean: Float64, std: Float64) -> Weights:
        """The network of a vector.

        Args:
            vector: Shape (num_parameters,).
            mean: Of observations, shape (inputs,).
            std: Likewise, above 0.
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
        """The vector of a network, which is of this layout."""
        parts = [part.ravel() for layer in weights.layers for part in layer]
        return np.concatenate(parts)

    def first_vector(self, seed: int) -> Float64:
        """Where a search begins: nothing, but for the hidden layers, which must differ.

        With all weights at zero the neurons of a hidden layer would be one and the same.
        """
        rng = np.random.default_rng(seed)
        vector = np.zeros(self.num_parameters)
        start = 0
        for inputs, outputs in zip(self.sizes[:-1], self.sizes[1:-1], strict=False):
            end = start + inputs * outputs
            vector[start:end] = rng.standard_normal(inputs * outputs) / np.sqrt(inputs)
            start = end + outputs
        return vector
