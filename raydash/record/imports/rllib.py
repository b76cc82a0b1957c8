"""Imports metrics per training iteration from RLlib's `progress.csv` and `result.json`.

Both API stacks are understood. Every number of an iteration becomes a row of `scalars`. Lists
(`hist_stats`), texts and the config are left out, and so is NaN, which means that no episode ended.
"""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from raydash.core.faults import Fault, FaultError
from raydash.record.imports.draft import DraftRecording, ImportedRun
from raydash.record.imports.sources import ImportSource

BATCH = 20_000
PARAMS = "params.json"
_STEPS = (
    "num_env_steps_sampled_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
    "timesteps_total",
    "num_env_steps_sampled",
    "info/num_env_steps_sampled",
    "counters/num_env_steps_sampled",
)
_TIME = "time_total_s"
_WALL = "timestamp"
_ITERATION = "training_iteration"
_LEFT_OUT = ("config/", "hist_stats/", "sampler_results/hist_stats/", "env_runners/hist_stats/")

Say = Callable[[str], None]


def read(source: ImportSource, draft: DraftRecording, say: Say) -> ImportedRun:
    """Read the one file of a trial.

    Raises:
        FaultError: naming file and line of what can't be understood.
        OSError, duckdb.Error: if the file can't be read or the recording not written.
    """
    (path,) = source.files
    with path.open("rb") as file:
        is_json = file.read(64).lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{")
    iterations = _of_json(path, say) if is_json else _of_csv(path, say)
    rows = _PendingScalars(draft)
    for values in iterations:
        rows.add(values)
    rows.flush()
    if not draft.num_scalars:
        raise FaultError(_fault(path, "it holds no number"))
    started = rows.started if rows.started is not None else path.stat().st_mtime
    return ImportedRun(started, _env_id(source.folder / PARAMS) or rows.env_id)


class _PendingScalars:
    """Numbers of some iterations that are not in the draft yet."""

    def __init__(self, draft: DraftRecording) -> None:
        self._draft = draft
        self._tags: list[str] = []
        self._numbers: list[tuple[float, float, float]] = []
        self.started: float | None = None
        self.env_id = ""

    def add(self, values: Mapping[str, object]) -> None:
        """Add the numbers of one iteration; keys of nested tables are joined by `/`."""
        numbers = {
            tag: number for tag, value in values.items() if not math.isnan(number := _number(value))
        }
        t_s = _known(numbers, _TIME)
        wall = _known(numbers, _WALL)
        steps = next((known for tag in _STEPS if (known := _known(numbers, tag)) is not None), None)
        if self.started is None and wall is not None:
            self.started = wall - (t_s or 0.0)
        if t_s is None and wall is not None and self.started is not None:
            t_s = wall - self.started
        if not self.env_id and isinstance(values.get("config/env"), str):
            self.env_id = str(values["config/env"])
        when = math.nan if t_s is None else max(t_s, 0.0)
        for tag, number in numbers.items():
            if tag != _WALL and not tag.startswith(_LEFT_OUT):
                self._tags.append(tag)
                self._numbers.append((when, math.nan if steps is None else steps, number))
        if len(self._tags) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Add what was gathered to the draft."""
        if self._tags:
            t_s, steps, value = np.array(self._numbers, np.float64).T
            self._draft.add_scalars(self._tags, t_s=t_s, num_env_steps=steps, value=value)
        self._tags, self._numbers = [], []


def _of_csv(path: Path, say: Say) -> Iterator[Mapping[str, object]]:
    csv.field_size_limit(sys.maxsize)  # lists in cells may be long
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if not header:
                raise FaultError(_fault(path, "it is empty"))
            if len(header) < 2 or not all(math.isnan(_number(name)) for name in header):
                raise FaultError(_fault(path, "line 1: that is no header of a progress.csv"))
            for row in reader:
                if not row:
                    continue
                if _TIME in row or _ITERATION in row:  # appended after a restart
                    header = row
                    continue
                if len(row) != len(header):
                    number = reader.line_num
                    if next(reader, None) is None:  # its writer was killed
                        say(f"{path}, line {number}: the last line is cut off and was left out")
                        return
                    why = f"{len(row)} columns instead of {len(header)}"
                    raise FaultError(_fault(path, f"line {number}: {why}"))
                yield dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise FaultError(_fault(path, f"line {reader.line_num}: {error}")) from error


def _of_json(path: Path, say: Say) -> Iterator[Mapping[str, object]]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                table = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith("\n"):  # its writer was killed
                    say(f"{path}, line {number}: the last line is cut off and was left out")
                    return
                raise FaultError(_fault(path, f"line {number}: {error}")) from None
            if not isinstance(table, dict):
                raise FaultError(_fault(path, f"line {number}: that is not a JSON object"))
            yield _flat(table)


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested tables, joining keys by `/`; of the config only the environment stays."""
    flat: dict[str, object] = {}
    remaining: list[tuple[str, object]] = list(table.items())[::-1]
    while remaining:
        tag, value = remaining.pop()
        if tag == "config" and isinstance(value, dict):
            flat["config/env"] = value.get("env")
        elif isinstance(value, dict):
            remaining += [(f"{tag}/{key}", part) for key, part in list(value.items())[::-1]]
        else:
            flat[tag] = value
    return flat


def _number(value: object) -> float:
    """Convert a value to a number; NaN if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _known(numbers: Mapping[str, float], tag: str) -> float | None:
    return numbers[tag] if tag in numbers and math.isfinite(numbers[tag]) else None


def _env_id(params: Path) -> str:
    """Read the environment's id from the file that Ray Tune puts beside the results, or empty."""
    try:
        table = json.loads(params.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    env_id = table.get("env") if isinstance(table, dict) else None
    return env_id if isinstance(env_id, str) else ""


def _fault(path: Path, why: str) -> Fault:
    return Fault(
        f"{path.name} was not imported",
        why,
        "Mend the file, or leave it out",
        str(path),
        bad_input=True,
    )
