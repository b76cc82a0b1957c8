"""Prints lines, tables and JSON about recordings, whatever files and people wrote into them."""

import json
import math
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence

from raydash.core.library import RecordedRun

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def print_text(text: str) -> None:
    """Print a text, with a replacement for each character that the terminal does not know."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def print_notice(line: str) -> None:
    """Print on stderr what is not part of the answer."""
    print(f"raydash: {line}", file=sys.stderr)


def print_json(table: Mapping[str, object]) -> None:
    """Print one JSON object, in which values that are not finite become null."""
    print(json.dumps(_finite(table), allow_nan=False))


def printable(text: str) -> str:
    """Replace control characters, so that a name cannot move the cursor or change a colour."""
    return "".join(c if _is_plain(c) else "�" for c in text)


def clipped(text: str, width: int) -> str:
    """Shorten a text to `width` columns, with an ellipsis where it was cut."""
    text = printable(text)
    if width_of(text) <= width:
        return text
    while width_of(text) >= width:
        text = text[:-1]
    return text + "…"


def aligned(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Format rows as a table; the columns whose numbers are in `right` are aligned right."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - width_of(cell))
            cells.append(blanks + cell if number in right else cell + blanks)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def width_of(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    return sum(_columns(c) for c in text)


def parse_bytes(text: str) -> int | None:
    """Parse `10GB`, `500 MB`, `1.5 TiB` or plain bytes; None if it is no size above 0."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or len(match[1]) > 20:
        return None
    unit = match[2].lower().removesuffix("bytes").removesuffix("b")
    factor = {**_UNITS, **_BINARY}.get(unit)
    size = 0 if factor is None else int(float(match[1]) * factor)
    return size or None


def state_words(run: RecordedRun) -> str:
    """Name the state of a run, or say that its file is unreadable."""
    return run.state.value if run.state else "unreadable"


def has_figures(run: RecordedRun) -> bool:
    """Whether figures were read from a run's file: not if it is unreadable, or being written."""
    return run.state is not None and not run.is_live


def notes_table(run: RecordedRun) -> dict[str, object]:
    """List what the user wrote under the keys of the JSON output."""
    notes = run.notes
    return {"tags": list(notes.tags), "notes": notes.text, "pinned": notes.pinned}


def _columns(c: str) -> int:
    if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _is_plain(c: str) -> bool:
    return c == "\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
