"""What a policy was found to be worth."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """Fresh episodes of a policy, played greedily, alone on one environment.

    Attributes:
        env_id: Of the environment.
        policy: The file.
        seed: Of the episodes.
        num_episodes: Played, errors included.
        episode_return_mean: Without errors, like all figures here; None: there are none.
        episode_return_min: Smallest.
        episode_return_max: Largest.
        episode_return_std: Standard deviation.
        episode_len_mean: Steps.
        num_episodes_terminated: With that flag, alone or with the other.
        num_episodes_truncated: With that flag, alone or with the other.
        num_episodes_error: That ended in an exception.
        num_env_steps: Of all of them.
        elapsed_s: How long it took.
        first_error: What the first of the exceptions said; empty: there was none.
    """

    env_id: str
    policy: str
    seed: int
    num_episodes: int
    episode_return_mean: float | None
    episode_return_min: float | None
    episode_return_max: float | None
    episode_return_std: float | None
    episode_len_mean: float | None
    num_episodes_terminated: int
    num_episodes_truncated: int
    num_episodes_error: int
    num_env_steps: int
    elapsed_s: float
    first_error: str = ""
