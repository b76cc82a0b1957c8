"""Exceptions and names in faults."""

import pytest

from raydash.core.words.texts import listed, one_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no  such\n\tthing"), "no such thing"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 301), "x" * 299 + "…"),
    ],
)
def test_an_exception_becomes_one_line(error: Exception, said: str) -> None:
    assert one_line(error) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")],
)
def test_names_are_listed(names: list[str], said: str) -> None:
    assert listed(names) == said
