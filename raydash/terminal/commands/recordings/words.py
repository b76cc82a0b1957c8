"""Recordings in a terminal: what files and people wrote, made fit for a line and for JSON."""

import json
import math
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

from raydash.core.library import RecordedRun
from raydash.record.file.times import unix_s
from raydash.terminal.commands.progress import grouped

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def say(text: str) -> None:
    """Print, whatever characters the terminal knows."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def say_aside(line: str) -> None:
    """Print what is not the answer, on stderr."""
    print(f"raydash: {line}", file=sys.stderr)


def say_json(table: Mapping[str, object]) -> None:
    """One JSON object; what is not finite is null."""
    print(json.dumps(_finite(table), allow_nan=False))


def plain(text: str) -> str:
    """Text in one line: a name must not move the cursor or change a colour."""
    return "".join(c if _is_plain(c) else "�" for c in text)


def clipped(text: str, width: int) -> str:
    """As much of a text as has room, marked where it is cut."""
    text = plain(text)
    if width_of(text) <= width:
        return text
    while width_of(text) >= width:
        text = text[:-1]
    return text + "…"


def aligned(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Rows as a table; the columns of numbers in `right` end at one place."""
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
    """Columns that a text takes in a terminal."""
    return sum(_columns(c) for c in text)


def local_time(iso: str) -> str:
    """A moment on the clock of who reads; `-` if it is none."""
    moment_s = unix_s(iso)
    try:
        return "-" if moment_s is None else f"{datetime.fromtimestamp(moment_s):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "-"


def duration(seconds: float) -> str:
    """`7.3 s`, `12 min 5 s`, `3 h 20 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{grouped(minutes // 60)} h {minutes % 60} min"


def number(value: float, *, decimals: int = 2) -> str:
    """A figure; `-` where there is none."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else "-"


def parse_bytes(text: str) -> int | None:
    """`10GB`, `500 MB`, `1.5 TiB` or plain bytes; None if it is no size above 0."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or len(match[1]) > 20:
        return None
    unit = match[2].lower().removesuffix("bytes").removesuffix("b")
    factor = {**_UNITS, **_BINARY}.get(unit)
    size = 0 if factor is None else int(float(match[1]) * factor)
    return size or None


def state_words(run: RecordedRun) -> str:
    """How a run is or ended."""
    return run.state.value if run.state else "unreadable"


def has_figures(run: RecordedRun) -> bool:
    """Its file could be read; a live one's figures are its supervisor's."""
    return run.state is not None and not run.is_live


def notes_table(run: RecordedRun) -> dict[str, object]:
    """What the user wrote, under the names of JSON."""
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
