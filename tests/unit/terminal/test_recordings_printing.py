"""What a terminal is given of recordings: columns that stand, and nothing that moves the cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.terminal.commands.recordings.printing import (
    aligned,
    clipped,
    parse_bytes,
    printable,
    width_of,
)


@given(st.text(), st.integers(1, 40))
def test_clipped_text_fits_and_holds_no_control_characters(text: str, width: int) -> None:
    shown = clipped(text, width)
    assert width_of(shown) <= width
    assert printable(shown) == shown
    assert not {c for c in shown if ord(c) < 32 or ord(c) == 127}
    assert shown == printable(text) or shown.endswith("…")


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=6))
def test_second_column_begins_at_one_place(rows: list[tuple[str, str]]) -> None:
    shown = [(printable(first).replace(" ", "_"), "|") for first, _ in rows]
    lines = aligned(shown).split("\n")
    assert len({width_of(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10GB", 10**10),
        ("500 MB", 5 * 10**8),
        ("1.5TiB", 3 * 2**39),
        ("1k", 1000),
        ("1234", 1234),
        ("7 bytes", 7),
        ("0", None),
        ("-1", None),
        ("", None),
        ("GB", None),
        ("1e9", None),
        ("nan", None),
        ("10 XB", None),
        ("9" * 400, None),
    ],
)
def test_sizes_are_understood(text: str, count: int | None) -> None:
    assert parse_bytes(text) == count
