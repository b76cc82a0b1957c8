"""What a report says of one recording, read in one go."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from raydash.core.events import Event
from raydash.core.faults import Fault, FaultError
from raydash.core.records import Float64, Int64
from raydash.core.series import HistorySeries
from raydash.core.spec import FIELDS, RunSpec
from raydash.core.updates import RunInfo, RunUpdate
from raydash.record.database import reading_fault
from raydash.record.details import RunDetails, details
from raydash.record.query import open_read_only
from raydash.record.report.svg import nice_step
from raydash.record.schema import Connection, version_of
from raydash.record.snapshot import RecordingReader

_MAX_BINS = 50


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values were.

    Attributes:
        edges: One more than there are counts.
        counts: Episodes in [edge, next edge).
    """

    edges: Float64
    counts: Int64


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One recording.

    Attributes:
        details: Versions, machine, workers.
        update: The run at its end: figures, state, events.
        info: Where it ran, for whom.
        spec: What was asked for.
        whole: Its history.
        returns: Of all good episodes; None: there is no finite one.
        lengths: Likewise, steps.
    """

    details: RunDetails
    update: RunUpdate
    info: RunInfo
    spec: RunSpec
    whole: HistorySeries
    returns: Histogram | None
    lengths: Histogram | None

    @property
    def title(self) -> str:
        """What to call it."""
        return self.spec.name or self.details.name or self.spec.env.id or self.info.run_id

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened, oldest first."""
        return self.update.events


def read_facts(path: Path) -> RunFacts:
    """Read a recording.

    Raises:
        FaultError: if it can't be read, holds no run, or is being written.
    """
    with closing(_opened(path)) as connection, RecordingReader(path) as reader:
        update = reader.snapshot()
        whole = HistorySeries()
        whole.apply(update.whole)
        try:
            returns = _histogram(connection, "episode_return")
            lengths = _histogram(connection, "episode_len")
        except duckdb.Error as error:
            raise FaultError(reading_fault(path, error)) from error
        return RunFacts(details(path), update, reader.info, reader.spec, whole, returns, lengths)


def _opened(path: Path) -> Connection:
    try:
        connection = open_read_only(path)
    except FaultError as error:
        if "has the file open" not in error.fault.why:
            raise
        raise FaultError(
            replace(
                error.fault,
                what=f"There is no report of {path.stem} yet",
                why=f"it is being recorded: {error.fault.why}",
                remedy="Stop the run, or wait until it has ended",
                bad_input=True,
            )
        ) from error
    if version_of(connection) is None:
        connection.close()
        why, remedy = "its recording was never begun", "Choose another one"
        raise FaultError(Fault(f"{path.name} holds no run", why, remedy, str(path), bad_input=True))
    return connection


def spec_rows(spec: RunSpec) -> list[tuple[str, Any, str]]:
    """Dotted key, value and meaning of everything in a spec."""
    rows = []
    for key, field in FIELDS.items():
        value: Any = spec
        for name in key.split("."):
            value = getattr(value, name)
        rows.append((key, dict(value) if isinstance(value, Mapping) else value, field.help))
    return rows


def _histogram(connection: Connection, column: str) -> Histogram | None:
    """Of finite values of good episodes, in at most about `_MAX_BINS` bins of a nice width."""
    good = f"FROM episodes WHERE ending IS DISTINCT FROM 3 AND isfinite({column}::DOUBLE)"
    low, high, has_parts = connection.execute(
        f"SELECT min({column})::DOUBLE, max({column})::DOUBLE,"
        f" coalesce(bool_or({column}::DOUBLE <> floor({column}::DOUBLE)), false) {good}"
    ).fetchone()
    if low is None:
        return None
    # Half the range, for twice of it may be beyond the largest double.
    half = high / 2 - low / 2
    width = nice_step(2 * (half / _MAX_BINS), whole=not has_parts) if half > 0 else 1.0
    first = float(np.floor(low / width))
    num_bins = int(min(np.floor(high / width) - first, 2.0 * _MAX_BINS)) + 1
    rows = connection.execute(
        f"SELECT least(greatest(floor({column}::DOUBLE / {width!r}) - {first!r}, 0),"
        f" {num_bins - 1})::INTEGER AS bin, count(*) {good} GROUP BY bin"
    ).fetchall()
    counts = np.zeros(num_bins, np.int64)
    for number, count in rows:
        counts[number] = count
    edges = np.asarray((first + np.arange(num_bins + 1)) * width, np.float64)
    return Histogram(edges, counts)
