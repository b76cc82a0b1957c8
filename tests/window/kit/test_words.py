import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.events import Event, EventKind
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.ui.kit import words


def plain(text: str) -> str:
    """The text with ordinary spaces and hyphens, so that tests are readable."""
    return text.replace(words.THIN, " ").replace(words.NBSP, " ").replace(words.MINUS, "-")


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (999, "999"), (212480, "212 480"), (-1204, "-1 204"), (-0.2, "0"), (math.nan, "–")],
)
def test_count_parts_thousands(number: float, said: str) -> None:
    assert plain(words.count(number)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (187.43, "187.4"),
        (112.0, "112"),
        (0.012341, "0.01234"),
        (-1204.4, "-1 204"),
        (9.87654, "9.877"),
        (1.2e7, "1.2e+07"),
        (0.0, "0"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_decimal_keeps_about_four_digits(value: float, said: str) -> None:
    assert plain(words.decimal(value)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3160, "3.16 k"),
        (212480, "212 k"),
        (98, "98"),
        (999.7, "1.00 k"),
        (999_600, "1.00 M"),
        (0.42, "0.42"),
        (1.2e9, "1.20 G"),
        (-31_600, "-31.6 k"),
        (math.nan, "–"),
    ],
)
def test_compact_has_three_digits_and_a_prefix(value: float, said: str) -> None:
    assert plain(words.compact(value)) == said


def test_rate_is_per_second() -> None:
    assert plain(words.rate(3160)) == "3.16 k/s"
    assert words.rate(math.nan) == words.UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (9.8e-6, "9.8 µs"),
        (0.0025, "2.5 ms"),
        (0.1, "100 ms"),
        (1.24, "1.2 s"),
        (0, "0 s"),
        (math.nan, "–"),
    ],
)
def test_small_time_chooses_its_unit(seconds: float, said: str) -> None:
    assert plain(words.small_time(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(598.9, "00:09:58"), (0, "00:00:00"), (90061, "25:01:01"), (-1, "00:00:00")],
)
def test_clock_time_has_hours_minutes_seconds(seconds: float, said: str) -> None:
    assert words.clock_time(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(150, "2:30"), (3750, "1:02:30"), (0, "0:00"), (-65, "-1:05")]
)
def test_run_clock_is_short(seconds: float, said: str) -> None:
    assert plain(words.run_clock(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.1, "0.1 s"),
        (14.2, "14 s"),
        (180, "3 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
        (math.nan, "–"),
    ],
)
def test_span_says_roughly_how_long(seconds: float, said: str) -> None:
    assert plain(words.span(seconds)) == said


def test_ago_says_just_now_below_a_second() -> None:
    assert words.ago(0.3) == "just now"
    assert plain(words.ago(14)) == "14 s ago"


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (112 * 2**20, "112 MiB"), (1.5 * 2**30, "1.5 GiB"), (1023, "1.0 KiB")],
)
def test_bytes_are_binary(size: float, said: str) -> None:
    assert plain(words.bytes_size(size)) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0.81, "81 %"), (0.012, "1.2 %"), (0.05, "5 %"), (0, "0 %"), (1, "100 %")]
)
def test_percent_has_a_decimal_where_it_is_small(share: float, said: str) -> None:
    assert plain(words.percent(share)) == said


def test_percent_of_nothing_is_unknown() -> None:
    assert words.percent_of(1, 0) == words.UNKNOWN
    assert plain(words.percent_of(1, 4)) == "25 %"


def test_one_thing_is_singular() -> None:
    assert plain(words.plural(1, "worker")) == "1 worker"
    assert plain(words.plural(1200, "worker")) == "1 200 workers"


def test_stalled_worker_tells_for_how_long() -> None:
    assert plain(words.activity(Activity.STALLED, 14.2)) == "stalled 14 s"
    assert plain(words.activity(Activity.STALLED, 3.4)) == "stalled 3 s"
    assert words.activity(Activity.STEPPING, 14.2) == "stepping"


def test_everything_that_can_be_said_has_words() -> None:
    assert all(words.activity(activity) for activity in Activity)
    assert all(words.run_state(state) for state in RunState)
    assert all(words.ended_by(reason) for reason in EndedBy)
    assert all(words.ending(kind) for kind in Ending)
    assert words.run_state(None) == "no run"
    assert words.run_state(RunState.RUNNING, paused=True) == "pausing"


@pytest.mark.parametrize(
    ("mode", "policy", "learner", "said"),
    [
        ("actors", "random", None, "random"),
        ("actors", "linear", "cmaes", "linear · cmaes"),
        ("lockstep", "mlp", None, "mlp · lockstep"),
        ("tasks", "my.package:lean", "my.package:Search", "lean · Search · tasks"),
        ("", "", "", ""),
    ],
)
def test_ways_name_policy_learner_and_an_unusual_mode(
    mode: str, policy: str, learner: str | None, said: str
) -> None:
    assert words.execution(mode, policy, learner) == said


def test_mark_labels_are_short() -> None:
    for kind in EventKind:
        event = Event(1, 0.0, kind, "a long story about it", worker_index=23)
        assert 0 < len(words.mark_label(event)) <= 22
    restarted = Event(1, 0.0, EventKind.WORKER_RESTARTED, "", 23)
    assert words.mark_label(restarted) == "worker 23 restarted"


@given(st.floats(allow_nan=True, allow_infinity=True, width=64))
def test_no_figure_raises_or_says_nan(value: float) -> None:
    for say in (
        words.count,
        words.decimal,
        words.compact,
        words.rate,
        words.small_time,
        words.clock_time,
        words.span,
        words.bytes_size,
        words.percent,
    ):
        assert "nan" not in say(value).lower()
