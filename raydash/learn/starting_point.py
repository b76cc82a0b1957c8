"""The network and the parameters that a search for better ones starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

from raydash.core.faults import FaultError
from raydash.core.records import Float64
from raydash.core.spec import LearnerSpec, PolicySpec
from raydash.learn.learner import Learner, checked_candidates, fault_of_exception
from raydash.learn.make import make_learner
from raydash.learn.normaliser import Normaliser
from raydash.worker.policies.network import Space, network_policy, num_inputs, num_outputs
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import Policy, weights_of


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The network that is learnt, as it is before anything has been learnt.

    Attributes:
        layout: Maps the network's layers to a flat vector and back.
        start: The first vector, shape (num_parameters,).
        normaliser: Normalises the network's observations.
    """

    layout: Layout
    start: Float64
    normaliser: Normaliser

    @staticmethod
    def of(policy: PolicySpec, num_inputs: int, num_outputs: int, seed: int) -> "StartingPoint":
        """Start from the file that a spec names or, without a file, from scratch.

        The policy is linear or an MLP that takes `num_inputs` numbers (a flattened observation) and
        gives `num_outputs` numbers (an action). `seed` decides how its hidden layers start.

        Raises:
            FaultError: if the file can't be used.
        """
        if policy.path:
            weights = weights_of(policy)
            layout = Layout.like(weights)
            normaliser = Normaliser.from_moments(weights.mean, weights.std)
            return StartingPoint(layout, layout.vector(weights), normaliser)
        layout = Layout.of(policy, num_inputs, num_outputs)
        return StartingPoint(layout, layout.first_vector(seed), Normaliser(num_inputs))

    def learner(self, spec: LearnerSpec, seed: int, source_dirs: Sequence[str]) -> Learner:
        """Make the learner that starts here.

        Raises:
            FaultError: if it can't be made.
        """
        return make_learner(spec, self.start, seed, source_dirs)


def try_learner(
    policy: PolicySpec,
    learner: LearnerSpec,
    observation_space: Space,
    action_space: Space,
    *,
    seed: int,
    source_dirs: Sequence[str] = (),
) -> Policy:
    """Make a learner for these spaces, ask it once, and return the policy that it starts with.

    Raises:
        FaultError: if neither a network nor the file fits the spaces, or if the learner raises or
            gives candidates that can't be played.
    """
    kind, name = str(learner.kind), policy.path or ""
    inputs, outputs = num_inputs(observation_space, name), num_outputs(action_space, name)
    starting_point = StartingPoint.of(policy, inputs, outputs, seed)
    moments = starting_point.normaliser
    weights = starting_point.layout.weights(starting_point.start, moments.mean, moments.std)
    first = network_policy(weights, observation_space, action_space, name)
    made = starting_point.learner(learner, seed, source_dirs)
    try:
        asked = made.ask()
    except Exception as error:
        raise FaultError(fault_of_exception(kind, error, "in ask")) from error
    checked_candidates(kind, asked, len(starting_point.start))
    return first
