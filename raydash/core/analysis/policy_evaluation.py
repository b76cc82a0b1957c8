"""How well a policy did when it was evaluated on its own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """The result of fresh episodes that a policy played greedily in one environment.

    Returns and lengths leave out episodes with an error, and are None if nothing is left.

    Attributes:
        policy: Path of the policy's file.
        num_episodes: Episodes played, errors included.
        episode_return_std: Standard deviation of the returns.
        episode_len_mean: In steps.
        num_episodes_terminated: Episodes with this flag, alone or with the other.
        num_episodes_truncated: Episodes with this flag, alone or with the other.
        num_episodes_error: Episodes that ended in an exception.
        num_env_steps: Steps of all episodes.
        first_error: Text of the first exception; empty: there was none.
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
