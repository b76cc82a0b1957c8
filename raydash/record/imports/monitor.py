"""Imports every episode of Stable-Baselines3's `monitor.csv` files.

The first line is `#` and a JSON object (`t_start`, `env_id`), the second a header, then there is a
line per episode: return `r`, length `l`, seconds since `t_start` `t`, and more columns, which are
ignored. After a restart SB3 appends, with or without repeating the first two lines, and `t` starts
from 0 again.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raydash.core.faults import Fault, FaultError
from raydash.record.imports.draft import DraftRecording, ImportedRun
from raydash.record.imports.sources import ImportSource

BATCH = 50_000
MAX_LEN = 2**31 - 1


def read(source: ImportSource, draft: DraftRecording, say: Callable[[str], None]) -> ImportedRun:
    """Read all files of a run, worker 1 from the first; one worker per file.

    Raises:
        FaultError: naming file and line of what can't be understood.
        OSError, duckdb.Error: if a file can't be read or the recording not written.
    """
    heads = [_first_head(path) for path in source.files]
    known = [t_start for t_start, _ in heads if t_start is not None]
    started = min(known) if known else min(path.stat().st_mtime for path in source.files)
    for number, path in enumerate(source.files, start=1):
        _MonitorFile(path, number, started, draft, say).read()
    env_ids = [env_id for _, env_id in heads if env_id]
    return ImportedRun(started, env_ids[0] if env_ids else "", len(source.files))


@dataclass(slots=True)
class _PendingEpisodes:
    """Episodes that were read but are not in the draft yet."""

    end_s: list[float] = field(default_factory=list)
    incarnation: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    lens: list[int] = field(default_factory=list)


class _MonitorFile:
    """Reads the file of one worker."""

    def __init__(
        self,
        path: Path,
        worker_index: int,
        started: float,
        draft: DraftRecording,
        say: Callable[[str], None],
    ) -> None:
        self._path = path
        self._worker_index = worker_index
        self._started = started
        self._draft = draft
        self._say = say
        self._rows = _PendingEpisodes()
        self._column_places: tuple[int, int, int] | None = None
        self._width = 0
        self._header = ""
        self._incarnation = -1
        self._offset_s = 0.0  # where `t` is 0 on the run's clock
        self._last_s = 0.0
        self._last_t = -math.inf

    def read(self) -> None:
        """Add all episodes of the file to the draft."""
        with self._path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                text = line.rstrip("\r\n")
                if not text:
                    continue
                if text[0] == "#":
                    self._begin_incarnation(_head(self._path, number, text)[0])
                elif self._column_places is None:
                    self._parse_header(number, text)
                elif text != self._header:
                    try:
                        self._parse_episode(text)
                    except ValueError as error:
                        if not line.endswith("\n"):  # its writer was killed
                            self._say(
                                f"{self._path}, line {number}: the last line is cut off"
                                " and was left out"
                            )
                            break
                        raise FaultError(_fault(self._path, number, str(error))) from None
                    if len(self._rows.end_s) >= BATCH:
                        self._flush()
        self._flush()
        if self._column_places is None:
            raise FaultError(_fault(self._path, 2, "there is no header r,l,t"))

    def _begin_incarnation(self, t_start: float | None) -> None:
        self._incarnation += 1
        self._last_t = -math.inf
        offset_s = 0.0 if t_start is None else t_start - self._started
        # If the machine's clock was set back, the run's clock still must not go backwards.
        self._offset_s = max(offset_s, self._last_s) if self._incarnation else offset_s

    def _parse_header(self, number: int, text: str) -> None:
        if self._incarnation < 0:
            raise FaultError(_fault(self._path, number, "it does not begin with #{...}"))
        names = text.split(",")
        if not {"r", "l", "t"} <= set(names):
            why = f"the header is {text[:80]!r}, without r, l and t"
            raise FaultError(_fault(self._path, number, why))
        self._column_places = names.index("r"), names.index("l"), names.index("t")
        self._header, self._width = text, len(names)
        if self._width > 3:
            more = ", ".join(name for name in names if name not in ("r", "l", "t"))
            self._say(f"{self._path}: columns that have no place in a recording: {more[:200]}")

    def _parse_episode(self, text: str) -> None:
        cells = text.split(",")
        assert self._column_places is not None
        r, l, t = self._column_places  # noqa: E741
        if len(cells) != self._width and (len(cells) < self._width or self._width == 3):
            raise ValueError(f"{len(cells)} columns instead of {self._width}: {text[:80]!r}")
        episode_return, seconds = float(cells[r]), float(cells[t])
        length = _episode_len(cells[l])
        if not math.isfinite(seconds):
            raise ValueError(f"t is {cells[t]}")
        if seconds < self._last_t:  # appended after a restart, without another header
            self._incarnation += 1
            self._offset_s = self._last_s
        self._last_t = seconds
        self._last_s = max(0.0, self._offset_s + seconds)
        rows = self._rows
        rows.end_s.append(self._last_s)
        rows.incarnation.append(self._incarnation)
        rows.returns.append(episode_return)
        rows.lens.append(length)

    def _flush(self) -> None:
        rows, self._rows = self._rows, _PendingEpisodes()
        if rows.end_s:
            self._draft.add_episodes(
                end_s=np.array(rows.end_s),
                worker_index=self._worker_index,
                incarnation=np.array(rows.incarnation, np.int32),
                episode_return=np.array(rows.returns),
                episode_len=np.array(rows.lens, np.int64),
            )


def _episode_len(cell: str) -> int:
    value = float(cell)
    if not 0 <= value <= MAX_LEN or value != math.floor(value):
        raise ValueError(f"l is {cell}, no number of steps")
    return int(value)


def _first_head(path: Path) -> tuple[float | None, str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(100_000)
    if not line:
        raise FaultError(_fault(path, 1, "the file is empty"))
    return _head(path, 1, line.rstrip("\r\n"))


def _head(path: Path, number: int, text: str) -> tuple[float | None, str]:
    """Parse `t_start` and `env_id` from the line that begins with `#`."""
    if not text.startswith("#"):
        raise FaultError(_fault(path, number, "it does not begin with #{...}"))
    try:
        head = json.loads(text[1:])
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise FaultError(_fault(path, number, "what follows the # is not a JSON object"))
    t_start, env_id = head.get("t_start"), head.get("env_id")
    started = float(t_start) if isinstance(t_start, int | float) else math.nan
    env_id = env_id if isinstance(env_id, str) else ""
    return (started if math.isfinite(started) else None), env_id


def _fault(path: Path, number: int, why: str) -> Fault:
    return Fault(
        f"{path.name} was not imported",
        f"line {number}: {why}",
        "Mend the file, or leave it out",
        str(path),
        bad_input=True,
    )
