"""How env steps map to a run's clock, and another run's clock to the axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.series import HistorySeries
from raydash.core.words import numbers
from raydash.ui.plots.shown.placing import BySteps, ByTime, StepCount, step_ticks

STEPS = st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any)


def counted(steps: list[int], bucket_s: float = 1.0, now_s: float | None = None) -> StepCount:
    """The step count of a run that made these numbers of steps in its buckets."""
    series = HistorySeries()
    series.bucket_s = bucket_s
    series.num_env_steps = np.array(steps, np.float64)
    return StepCount(series, len(steps) * bucket_s if now_s is None else now_s)


def test_steps_are_spread_evenly_within_a_bucket_and_go_on_at_the_mean_rate() -> None:
    count = counted([0, 100, 300])
    assert count.steps_at([0.0, 1.0, 1.5, 2.0, 2.5, 3.0]).tolist() == [0, 0, 50, 100, 250, 400]
    assert count.steps_at(4.0) == 600.0  # 400 steps in the two seconds in which it stepped
    assert count.time_of([50, 100, 250, 400, 600]).tolist() == [1.5, 2.0, 2.5, 3.0, 4.0]


def test_a_pause_is_skipped() -> None:
    count = counted([100, 0, 0, 100])
    assert count.time_of([50, 100, 150]).tolist() == [0.5, 3.0, 3.5]


def test_bucket_that_is_being_filled_ends_now() -> None:
    assert counted([100, 50], now_s=1.25).time_of(125).tolist() == 1.125


@pytest.mark.parametrize("steps", [[], [0, 0]])
def test_run_without_a_step_has_a_moment_for_each_number_all_the_same(steps: list[int]) -> None:
    count = counted(steps)
    assert np.isfinite(count.steps_at([0.0, 1.0, 5.0])).all()
    assert np.isfinite(count.time_of([0.0, 10.0])).all()


@given(STEPS, st.floats(0.0, 100.0))
def test_number_of_steps_comes_back_from_its_moment(steps: list[int], share: float) -> None:
    count = counted(steps)
    number = sum(steps) * share / 50
    assert count.steps_at(count.time_of(number)) == pytest.approx(number, rel=1e-6, abs=1e-6)


@given(STEPS, STEPS, st.lists(st.floats(0.0, 60.0), min_size=2, max_size=8))
def test_order_of_moments_stays_whatever_the_rates(
    its: list[int], shown: list[int], moments: list[float]
) -> None:
    placed = BySteps(counted(its), counted(shown)).to_axis(sorted(moments))
    assert (np.diff(placed) >= -1e-6).all()


def test_run_that_steps_half_as_fast_is_drawn_together() -> None:
    placement = BySteps(counted([50] * 8), counted([100] * 4))
    assert placement.to_axis([2.0, 8.0, 10.0]).tolist() == [1.0, 4.0, 5.0]
    assert placement.from_axis([1.0, 4.0, 5.0]).tolist() == [2.0, 8.0, 10.0]
    assert placement.own_view((1.0, 4.0)) == (2.0, 8.0)


def test_run_placed_by_time_is_shifted() -> None:
    placement = ByTime(100.0)
    assert placement.to_axis([1.0, 2.0]).tolist() == [101.0, 102.0]
    assert placement.own_view((100.0, 150.0)) == (0.0, 50.0)


def test_ticks_stand_at_round_numbers_of_steps() -> None:
    ticks = step_ticks(counted([1000] * 10), 0.0, 10.0, 5)
    said = [(t_s, label.replace(numbers.NBSP, " ")) for t_s, label in ticks]
    assert said == [(0, "0 steps"), (2, "2 k"), (4, "4 k"), (6, "6 k"), (8, "8 k"), (10, "10 k")]


def test_ticks_that_a_burst_pushes_together_are_left_out() -> None:
    ticks = step_ticks(counted([10] * 9 + [100_000]), 0.0, 10.0, 5)
    moments = [t_s for t_s, _ in ticks]
    assert moments
    assert (np.diff(moments) >= 0.7 * 2.0).all()
