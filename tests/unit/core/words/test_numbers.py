"""Numbers in words: one table a function, and what holds for any number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.words import numbers
from raydash.core.words.plain import plainly

ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"),
        (1, "1"),
        (999, "999"),
        (999.5, "1 000"),
        (212480, "212 480"),
        (1e6, "1 000 000"),
        (-1204, "-1 204"),
        (-0.2, "0"),
        (1e15, "1e+15"),
        (1e19, "1e+19"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_count_parts_thousands(number: float, said: str) -> None:
    assert plainly(numbers.count(number)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (187.43, "187.4"),
        (112.0, "112"),
        (999.5, "999.5"),
        (999.96, "1 000"),
        (9.87654, "9.877"),
        (9.99996, "10.0"),
        (0.012341, "0.01234"),
        (0.00001, "1e-05"),
        (-1204.4, "-1 204"),
        (1e6, "1 000 000"),
        (1.2e7, "1.2e+07"),
        (1e19, "1e+19"),
        (math.nan, "-"),
        (-math.inf, "-"),
    ],
)
def test_decimal_keeps_about_four_digits(value: float, said: str) -> None:
    assert plainly(numbers.decimal(value)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.42, "0.42"),
        (1, "1"),
        (98, "98"),
        (999.4, "999"),
        (999.5, "1.00 k"),
        (3160, "3.16 k"),
        (212480, "212 k"),
        (999_600, "1.00 M"),
        (1e6, "1 M"),
        (1.2e9, "1.20 G"),
        (-31_600, "-31.6 k"),
        (3e17, "300 P"),
        (1e19, "1e+19"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_compact_has_three_digits_and_a_prefix(value: float, said: str) -> None:
    assert plainly(numbers.compact(value)) == said


@pytest.mark.parametrize(
    ("per_s", "said"), [(3160, "3.16 k/s"), (0.42, "0.42/s"), (1e19, "1e+19/s"), (math.nan, "-")]
)
def test_rate_is_per_second(per_s: float, said: str) -> None:
    assert plainly(numbers.rate(per_s)) == said


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.5, "1.00 kB"),
        (1000, "1 kB"),
        (112 * 2**20, "117 MB"),
        (1_585_152, "1.59 MB"),
        (1.5e9, "1.50 GB"),
        (5e10, "50 GB"),
        (2e15, "2 PB"),
        (1e19, "1e+19 B"),
        (-300_000, "-300 kB"),
        (-5, "-5 B"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_sizes_are_in_powers_of_ten(num_bytes: float, said: str) -> None:
    assert plainly(numbers.size(num_bytes)) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.012, "1.2 %"),
        (0.05, "5 %"),
        (0.0999, "10 %"),
        (0.81, "81 %"),
        (1, "100 %"),
        (-0.5, "-50 %"),
        (-0.0001, "0 %"),
        (123.45, "12 345 %"),
        (1e19, "1e+21 %"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_percent_has_a_decimal_where_it_is_small(share: float, said: str) -> None:
    assert plainly(numbers.percent(share)) == said


def test_percent_of_nothing_is_unknown() -> None:
    assert numbers.percent_of(1, 0) == numbers.UNKNOWN
    assert plainly(numbers.percent_of(1, 4)) == "25 %"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 workers"),
        (1, "1 worker"),
        (1200, "1 200 workers"),
        (-1, "-1 workers"),
        (math.nan, "- workers"),
    ],
)
def test_one_thing_is_singular(number: float, said: str) -> None:
    assert plainly(numbers.plural(number, "worker")) == said


def test_no_line_breaks_inside_a_figure() -> None:
    assert numbers.plural(-1200, "worker") == "\u22121\u202f200\u00a0workers"
    assert numbers.size(1500) == "1.50\u00a0kB"
    assert numbers.percent(0.5) == "50\u00a0%"
    assert numbers.count(math.nan) == "\u2013"


@given(ANY)
def test_every_number_has_words(value: float) -> None:
    for say in (
        numbers.count,
        numbers.decimal,
        numbers.compact,
        numbers.rate,
        numbers.size,
        numbers.percent,
    ):
        said = say(value)
        assert 0 < len(said) <= 24
        assert "nan" not in said
        assert "inf" not in said
        assert math.isfinite(value) or said == numbers.UNKNOWN


@given(st.floats(-1e14, 1e14))
def test_count_and_decimal_say_the_number_that_they_were_given(value: float) -> None:
    def number(text: str) -> float:
        return float(plainly(text).replace(" ", ""))

    assert number(numbers.count(value)) == round(value)
    assert number(numbers.decimal(value)) == pytest.approx(value, rel=6e-3, abs=1e-300)
