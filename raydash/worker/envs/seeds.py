"""Seeds of environments and policies, all derived from the run's one seed.

`SeedSequence(seed, spawn_key=(worker_index, incarnation, env_index))` gives each environment of
each life of each worker a stream of its own, so that a restarted worker does not repeat its
episodes. Seeds have 31 bits because much simulator code keeps them in a C int.
"""

from dataclasses import dataclass

import numpy as np

_OF_CANDIDATES, _OF_EVALUATIONS = 1, 2


@dataclass(frozen=True, slots=True)
class EnvSeeds:
    """What one environment is seeded with.

    Attributes:
        reset: For its first reset; later resets go on with the environment's own generator.
        action_space: For the random policy.
    """

    reset: int
    action_space: int


def env_seeds(seed: int, *, worker_index: int, incarnation: int, env_index: int = 0) -> EnvSeeds:
    """The seeds of one environment in one life of one worker.

    Args:
        seed: The run's, 0 or more.
        worker_index: 1..N.
        incarnation: 0 for the first life.
        env_index: Which of the worker's environments.
    """
    key = (worker_index, incarnation, env_index)
    first, second = np.random.SeedSequence(seed, spawn_key=key).generate_state(2) >> 1
    return EnvSeeds(int(first), int(second))


def remade_seed(reset_seed: int, num_remakes: int) -> int:
    """The seed of the first reset after the environment was made anew within one life.

    Args:
        reset_seed: Of the environment's first reset in this life.
        num_remakes: How often it has been made anew, 1 or more.
    """
    sequence = np.random.SeedSequence(reset_seed, spawn_key=(num_remakes,))
    return int(sequence.generate_state(1)[0] >> 1)


def policy_seed(action_seed: int, weights_seq_no: int) -> int:
    """The seed of a policy that chooses by chance: another one after each swap.

    Args:
        action_seed: Of the action space in this life of the environment.
        weights_seq_no: How often the policy had been changed before.
    """
    return remade_seed(action_seed, weights_seq_no) if weights_seq_no else action_seed


def candidate_seed(seed: int, weights_seq_no: int, episode: int) -> int:
    """The seed of one episode of a learner's candidates: the same for all of a generation.

    So they are compared under the same circumstances, which tells the better one from the luckier
    one, and it does not matter which worker plays whom.

    Args:
        seed: The run's.
        weights_seq_no: The generation.
        episode: Which one of each candidate, from 0.
    """
    return _seed(seed, _OF_CANDIDATES, weights_seq_no, episode)


def evaluation_seed(seed: int, evaluation: int, episode: int) -> int:
    """The seed of one episode of an evaluation; no two have the same, nor one with a candidate's.

    Args:
        seed: The run's.
        evaluation: The evaluation's number.
        episode: Which one of it, from 0.
    """
    return _seed(seed, _OF_EVALUATIONS, evaluation, episode)


def _seed(seed: int, *key: int) -> int:
    # Longer keys than those of environments: the streams differ.
    sequence = np.random.SeedSequence(seed, spawn_key=(*key, 0))
    return int(sequence.generate_state(1)[0] >> 1)
