"""Wall times in words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.words import moments
from raydash.core.words.numbers import UNKNOWN
from raydash.core.words.plain import plainly

ONE_HOUR_EAST = timezone(timedelta(hours=1))
NO_TIMES = ["", "yesterday", "0001-01-01T00:00:00+14:00", "2026-13-01"]


@pytest.mark.parametrize(
    ("utc", "said"),
    [
        ("2026-11-22T11:50:00+00:00", "22 Nov 12:50"),
        ("2026-11-22T11:50:00", "22 Nov 12:50"),
        ("2025-12-31T23:30:00+00:00", "1 Jan 00:30"),
        ("2024-12-31T20:30:00+00:00", "31 Dec 2024 21:30"),
        *((each, "-") for each in NO_TIMES),
    ],
)
def test_a_moment_is_local_and_says_its_year_only_if_it_is_another(utc: str, said: str) -> None:
    now = datetime(2026, 11, 23, 9, 0, tzinfo=ONE_HOUR_EAST)
    assert plainly(moments.moment(utc, now)) == said


@pytest.mark.parametrize(
    ("utc", "said"),
    [("2024-12-31T23:30:00", "2025-01-01 00:30"), *((each, "-") for each in NO_TIMES)],
)
def test_a_date_is_local_and_whole(utc: str, said: str) -> None:
    assert plainly(moments.dated(utc, ONE_HOUR_EAST)) == said


@pytest.mark.parametrize(
    ("utc", "said"),
    [
        ("2026-11-22T11:59:46+00:00", "14 s ago"),
        ("2026-11-22T11:00:00+00:00", "1 h 00 min ago"),
        ("2026-11-22T13:00:00+00:00", "just now"),
        *((each, "-") for each in NO_TIMES),
    ],
)
def test_an_age_under_a_clock_that_was_set_back_is_just_now(utc: str, said: str) -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert plainly(moments.since(utc, now)) == said


@given(st.text() | st.datetimes().map(datetime.isoformat))
def test_every_text_has_words(utc: str) -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=ONE_HOUR_EAST)
    for said in (moments.moment(utc, now), moments.dated(utc), moments.since(utc, now)):
        assert said == UNKNOWN or len(said) >= 8
