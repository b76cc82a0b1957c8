"""The figures of a run from its counters and sums, alike for live runs and for recordings. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raydash.core.history.time_shares import time_shares
from raydash.core.records import EpisodeColumns, Float64
from raydash.core.states import Ending
from raydash.core.updates import RunFigures


@dataclass(frozen=True, slots=True)
class ReturnSums:
    """Sums over some episodes, leaving out those that ended in an error.

    Attributes:
        return_n: How many episodes.
        num_both: How many of them ended with both flags.
        return_sum: The sum of their returns.
        len_sum: The sum of their lengths, in steps.
        return_min: The smallest return; NaN if there is none.
        return_max: The largest return; NaN if there is none.
    """

    return_n: int = 0
    num_both: int = 0
    return_sum: float = 0.0
    len_sum: int = 0
    return_min: float = math.nan
    return_max: float = math.nan

    def plus(self, episodes: EpisodeColumns) -> "ReturnSums":
        """Return the sums with some more finished episodes."""
        good = episodes.ending != Ending.ERROR
        returns = episodes.episode_return[good]
        if not len(returns):
            return self
        return ReturnSums(
            return_n=self.return_n + len(returns),
            num_both=self.num_both + int((episodes.ending == Ending.BOTH).sum()),
            return_sum=self.return_sum + float(returns.sum()),
            len_sum=self.len_sum + int(episodes.episode_len[good].sum()),
            return_min=float(np.fmin(self.return_min, np.fmin.reduce(returns))),
            return_max=float(np.fmax(self.return_max, np.fmax.reduce(returns))),
        )


def run_figures(
    totals: Float64,
    sums: ReturnSums,
    recent: EpisodeColumns,
    *,
    rate_per_s: Callable[[float], Float64],
    grown: Float64,
    elapsed_s: float,
    num_restarts: int,
) -> RunFigures:
    """Compute the figures of a run.

    Args:
        totals: Counters of all workers, shape (counters,), in the order of `WorkerTotals`.
        sums: Sums over all episodes.
        recent: The last 100 episodes without error by finish time.
        rate_per_s: Takes a span in seconds, and returns how fast steps and episodes came in it.
        grown: By how much each counter grew in the last 10 s, shape (counters,).
        elapsed_s: How long the run has been stepping.
        num_restarts: How many workers were replaced after a death or on demand.
    """
    steps, episodes, terminated, truncated, error = (int(count) for count in totals[:5])
    returns, lens = recent.episode_return, recent.episode_len
    has_any = len(recent) > 0
    steps_per_s = [float(rate_per_s(span_s)[0]) for span_s in (1.0, 10.0, 60.0)]
    shares = time_shares(grown[None, :])[0]
    return RunFigures(
        elapsed_s=elapsed_s,
        num_env_steps_sampled_lifetime=steps,
        num_episodes_lifetime=episodes,
        num_episodes_terminated_lifetime=terminated,
        num_episodes_truncated_lifetime=truncated,
        num_episodes_error_lifetime=error,
        num_episodes_both_lifetime=sums.num_both,
        episode_return_mean=sums.return_sum / sums.return_n if sums.return_n else math.nan,
        episode_return_min=sums.return_min,
        episode_return_max=sums.return_max,
        episode_len_mean=sums.len_sum / sums.return_n if sums.return_n else math.nan,
        recent_return_mean=float(returns.mean()) if has_any else math.nan,
        recent_return_min=float(returns.min()) if has_any else math.nan,
        recent_return_max=float(returns.max()) if has_any else math.nan,
        recent_len_mean=float(lens.mean()) if has_any else math.nan,
        recent_n=len(recent),
        env_steps_per_s_1s=steps_per_s[0],
        env_steps_per_s_10s=steps_per_s[1],
        env_steps_per_s_60s=steps_per_s[2],
        episodes_per_s_10s=float(rate_per_s(10.0)[1]),
        share_step=float(shares[0]),
        share_reset=float(shares[1]),
        share_policy=float(shares[2]),
        share_idle=float(shares[3]),
        num_restarts=num_restarts,
    )
