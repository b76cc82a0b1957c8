"""Where a search for parameters begins."""

from collections.abc import Sequence
from dataclasses import dataclass

from raydash.core.faults import FaultError
from raydash.core.records import Float64
from raydash.core.spec import LearnerSpec, PolicySpec
from raydash.learn.learner import Learner, checked_candidates, raised
from raydash.learn.make import make_learner
from raydash.learn.normaliser import Normaliser
from raydash.worker.policies.network import Space, network_policy, num_inputs, num_outputs
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import Policy, weights_of


@dataclass(frozen=True, slots=True)
class Beginning:
    """The network that is learnt, and what it is before anything was learnt.

    Attributes:
        layout: Of its vector.
        start: The first vector.
        normaliser: Of its observations.
    """

    layout: Layout
    start: Float64
    normaliser: Normaliser

    @staticmethod
    def of(policy: PolicySpec, num_inputs: int, num_outputs: int, seed: int) -> "Beginning":
        """That of a spec: the file that it names, or nothing.

        Args:
            policy: Linear, or an MLP.
            num_inputs: Length of a flattened observation.
            num_outputs: Numbers that make an action.
            seed: Of the hidden layers.

        Raises:
            FaultError: if the file can't be used.
        """
        if policy.path:
            weights = weights_of(policy)
            layout = Layout.like(weights)
            normaliser = Normaliser.from_moments(weights.mean, weights.std)
            return Beginning(layout, layout.vector(weights), normaliser)
        layout = Layout.of(policy, num_inputs, num_outputs)
        return Beginning(layout, layout.first_vector(seed), Normaliser(num_inputs))

    def learner(self, spec: LearnerSpec, seed: int, source_dirs: Sequence[str]) -> Learner:
        """The learner that begins here.

        Raises:
            FaultError: if it can't be had.
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
    """Make a learner for these spaces and ask it once; gives the policy that it begins with.

    Raises:
        FaultError: if no network fits the spaces, the file does not, or the learner raises or gives
            what can't be played.
    """
    kind, name = str(learner.kind), policy.path or ""
    inputs, outputs = num_inputs(observation_space, name), num_outputs(action_space, name)
    found = Beginning.of(policy, inputs, outputs, seed)
    moments = found.normaliser
    weights = found.layout.weights(found.start, moments.mean, moments.std)
    first = network_policy(weights, observation_space, action_space, name)
    made = found.learner(learner, seed, source_dirs)
    try:
        asked = made.ask()
    except Exception as error:
        raise FaultError(raised(kind, error, "in ask")) from error
    checked_candidates(kind, asked, len(found.start))
    return first
