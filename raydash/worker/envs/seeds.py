"""Seeds of environments and policies, all derived from the run's one seed.

`SeedSequence(seed, spawn_key=(worker_index, incarnation, env_index))` gives each environment of
each incarnation of each worker a stream of its own, so that a restarted worker does not repeat its
episodes. Seeds have 31 bits because much simulator code keeps them in a C int.
"""

from dataclasses import dataclass

import numpy as np

_OF_CANDIDATES, _OF_EVALUATIONS = 1, 2


@dataclass(frozen=True, slots=True)
class EnvSeeds:
    """The seeds of one environment.

    Attributes:
        reset: Seeds the first reset; later resets continue with the environment's own generator.
        action_space: Seeds the random policy.
    """

    reset: int
    action_space: int


def env_seeds(seed: int, *, worker_index: int, incarnation: int, env_index: int = 0) -> EnvSeeds:
    """Return the seeds of one environment in one incarnation of one worker.

    Args:
        seed: The run's seed, 0 or more.
        worker_index: The worker's number, 1..N.
        incarnation: The incarnation's number, from 0.
        env_index: The environment's number within the worker, from 0.
    """
    key = (worker_index, incarnation, env_index)
    first, second = np.random.SeedSequence(seed, spawn_key=key).generate_state(2) >> 1
    return EnvSeeds(int(first), int(second))


def remade_seed(reset_seed: int, num_remakes: int) -> int:
    """Return the seed of the first reset after an environment was remade in an incarnation.

    Args:
        reset_seed: The seed of the first reset in this incarnation.
        num_remakes: How often the environment has been remade, 1 or more.
    """
    sequence = np.random.SeedSequence(reset_seed, spawn_key=(num_remakes,))
    return int(sequence.generate_state(1)[0] >> 1)


def policy_seed(action_seed: int, weights_seq_no: int) -> int:
    """Return the seed of a policy that chooses at random: a different one after each swap.

    Args:
        action_seed: The seed of the action space in this incarnation.
        weights_seq_no: How often the run's policy had been changed before.
    """
    return remade_seed(action_seed, weights_seq_no) if weights_seq_no else action_seed


def candidate_seed(seed: int, weights_seq_no: int, episode: int) -> int:
    """Return the seed of one episode of a learner's candidates, all of a generation alike.

    Candidates that play the same episodes are compared by skill and not by luck, and it does not
    matter which worker plays which candidate.

    Args:
        seed: The run's seed.
        weights_seq_no: The generation's number.
        episode: The episode's number within each candidate's, from 0.
    """
    return _seed(seed, _OF_CANDIDATES, weights_seq_no, episode)


def evaluation_seed(seed: int, evaluation: int, episode: int) -> int:
    """Return the seed of one episode of an evaluation; no other episode of the run has it.

    Args:
        seed: The run's seed.
        evaluation: The evaluation's number.
        episode: The episode's number within the evaluation, from 0.
    """
    return _seed(seed, _OF_EVALUATIONS, evaluation, episode)


def _seed(seed: int, *key: int) -> int:
    # This key is longer than those of environments, so the streams can't coincide.
    sequence = np.random.SeedSequence(seed, spawn_key=(*key, 0))
    return int(sequence.generate_state(1)[0] >> 1)
