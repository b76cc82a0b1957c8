"""Translates other tools' names of metrics to ours, which are RLlib's."""

from collections.abc import Iterable, Mapping

_PREFIXES = ("ray/tune/", "env_runners/", "sampler_results/", "info/", "counters/")

OURS: Mapping[str, tuple[str, ...]] = {
    "episode_return_mean": (
        "episode_return_mean",
        "episode_reward_mean",  # RLlib, old API stack
        "rollout/ep_rew_mean",  # SB3
        "charts/episodic_return",  # CleanRL: of one episode
    ),
    "episode_return_min": ("episode_return_min", "episode_reward_min"),
    "episode_return_max": ("episode_return_max", "episode_reward_max"),
    "episode_len_mean": ("episode_len_mean", "rollout/ep_len_mean", "charts/episodic_length"),
    "num_env_steps_sampled_lifetime": (
        "num_env_steps_sampled_lifetime",
        "timesteps_total",
        "num_env_steps_sampled",
        "time/total_timesteps",
    ),
    "num_episodes_lifetime": ("num_episodes_lifetime", "episodes_total"),
    "env_steps_per_s": ("env_steps_per_s", "time/fps", "charts/SPS"),
}
"""Our name, and other tools' names for the same metric, the best first."""


def our_names_of(tags: Iterable[str]) -> dict[str, str]:
    """Map tags to our names for them; of several with the same meaning, only the best is mapped.

    All other tags are not in the result, and keep their names.
    """
    known: dict[str, str] = {}
    for tag in sorted(tags, key=lambda tag: (len(tag), tag)):
        known.setdefault(_without_prefixes(tag), tag)
    found: dict[str, str] = {}
    for ours, theirs in OURS.items():
        best = next((known[name] for name in theirs if name in known), None)
        if best is not None:
            found[best] = ours
    return found


def _without_prefixes(tag: str) -> str:
    done = False
    while not done:
        done = True
        for prefix in _PREFIXES:
            if tag.startswith(prefix):
                tag, done = tag[len(prefix) :], False
    return tag
