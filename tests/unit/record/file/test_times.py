"""Wall times of recordings, whatever a file says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.record.file.times import iso_utc, unix_s

BEFORE_3000_S = 32_503_680_000.0


@given(st.floats(0.0, BEFORE_3000_S))
def test_time_comes_back_to_the_second_or_to_the_microsecond(time_s: float) -> None:
    assert unix_s(iso_utc(time_s)) == pytest.approx(time_s, abs=1.0)
    assert unix_s(iso_utc(time_s, "auto")) == pytest.approx(time_s, abs=1e-5)


@pytest.mark.parametrize("time_s", [1e20, -1e20, math.inf, math.nan])
def test_time_that_no_calendar_has_is_empty(time_s: float) -> None:
    assert iso_utc(time_s) == iso_utc(time_s, "auto") == ""


@pytest.mark.parametrize("text", ["", "yesterday", "99999-01-01"])
def test_text_that_is_no_time_is_none(text: str) -> None:
    assert unix_s(text) is None
