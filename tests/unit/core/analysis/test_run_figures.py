"""The figures of a run are those of a recount, however its episodes came."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.analysis.run_figures import ReturnSums, run_figures
from raydash.core.records import EpisodeColumns, Float64
from raydash.core.states import Ending

Row = tuple[float, int, Ending]
ROWS = st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 1000), st.sampled_from(Ending)))
TOTALS = np.array([40.0, 4, 3, 2, 1, 6.0, 2.0, 1.0, 1.0, 9.0])


def episodes(rows: list[Row]) -> EpisodeColumns:
    values = [math.nan if ending is Ending.ERROR else value for value, _, ending in rows]
    return EpisodeColumns(
        end_s=np.arange(len(rows), dtype=np.float64),
        episode_return=np.array(values, np.float64),
        episode_len=np.array([length for _, length, _ in rows], np.int32),
        ending=np.array([ending for *_, ending in rows], np.uint8),
    )


def rate_per_s(span_s: float) -> Float64:
    return np.array([100.0, 10.0]) / span_s


@given(st.lists(ROWS, max_size=4))
def test_sums_are_those_of_all_batches_without_their_errors(batches: list[list[Row]]) -> None:
    sums = ReturnSums()
    for rows in batches:
        sums = sums.plus(episodes(rows))
    good = [row for rows in batches for row in rows if row[2] is not Ending.ERROR]
    assert sums.return_n == len(good)
    assert sums.num_both == sum(ending is Ending.BOTH for *_, ending in good)
    assert sums.len_sum == sum(length for _, length, _ in good)
    assert sums.return_sum == pytest.approx(math.fsum(value for value, *_ in good), abs=1e-3)
    if good:
        assert sums.return_min == min(value for value, *_ in good)
        assert sums.return_max == max(value for value, *_ in good)
    else:
        assert math.isnan(sums.return_min)
        assert math.isnan(sums.return_max)


def test_figures_come_from_counters_sums_and_recent_episodes() -> None:
    recent = episodes([(1.0, 10, Ending.TERMINATED), (3.0, 20, Ending.BOTH)])
    found = run_figures(
        TOTALS,
        ReturnSums().plus(recent),
        recent,
        rate_per_s=rate_per_s,
        grown=TOTALS,
        elapsed_s=9.5,
        num_restarts=2,
    )
    assert (found.elapsed_s, found.num_restarts) == (9.5, 2)
    assert (found.num_env_steps_sampled_lifetime, found.num_episodes_lifetime) == (40, 4)
    assert found.num_episodes_terminated_lifetime == 3
    assert found.num_episodes_truncated_lifetime == 2
    assert (found.num_episodes_error_lifetime, found.num_episodes_both_lifetime) == (1, 1)
    assert (found.episode_return_mean, found.episode_len_mean) == (2.0, 15.0)
    assert (found.recent_return_min, found.recent_return_max, found.recent_n) == (1.0, 3.0, 2)
    assert (found.env_steps_per_s_1s, found.env_steps_per_s_60s) == (100.0, 100.0 / 60.0)
    assert (found.env_steps_per_s_10s, found.episodes_per_s_10s) == (10.0, 1.0)
    assert (found.share_step, found.share_reset) == (0.6, 0.2)


def test_figures_without_an_episode_are_not_known() -> None:
    found = run_figures(
        np.zeros(10),
        ReturnSums(),
        EpisodeColumns(),
        rate_per_s=rate_per_s,
        grown=np.zeros(10),
        elapsed_s=0.0,
        num_restarts=0,
    )
    assert found.recent_n == 0
    unknown = (found.episode_return_mean, found.recent_return_mean, found.episode_len_mean)
    assert np.isnan(unknown).all()
    assert found.share_idle == 0.0
