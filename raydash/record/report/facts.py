"""Reads all that a report says of one recording."""

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from raydash.core.events import Event
from raydash.core.faults import FaultError
from raydash.core.history.history import CAPACITY
from raydash.core.history.series import HistorySeries
from raydash.core.library import RunSource
from raydash.core.records import Float64, Int64
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import FIELDS
from raydash.core.states import RunState
from raydash.core.updates import RECENT_EPISODES, RunFigures, RunInfo
from raydash.core.words.ticks import nice_step
from raydash.record.file.database import reading
from raydash.record.file.schema import Connection
from raydash.record.read.details import RecordedDetails, details
from raydash.record.read.episode_sums import EpisodeSums
from raydash.record.read.query import RecordedFigures, check_begun, events_of, open_read_only
from raydash.record.read.snapshot import RecordingReader

REPORTED_EVENTS = 300
_MAX_BINS = 50


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many episodes had values between some edges.

    Attributes:
        edges: Ascending, one more than there are counts.
        counts: The number of episodes in [edge, next edge).
    """

    edges: Float64
    counts: Int64


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """A recorded run, as far as a report tells of it.

    Attributes:
        figures: The figures of the whole run.
        state: How it ended; INTERRUPTED if it was never closed.
        until_s: The run's clock at its end.
        events: The newest `REPORTED_EVENTS`, oldest first.
        whole: The history of the whole run.
        returns: The returns of all episodes without error; None if none is finite.
        lengths: The lengths of the same episodes, in steps; None if there is none.
    """

    details: RecordedDetails
    figures: RunFigures
    state: RunState
    until_s: float
    events: tuple[Event, ...]
    info: RunInfo
    spec: RunSpec
    whole: HistorySeries
    returns: Distribution | None
    lengths: Distribution | None

    @property
    def title(self) -> str:
        """What the report calls the run."""
        return self.spec.name or self.details.name or self.spec.env.id or self.info.run_id

    @property
    def known_spec(self) -> RunSpec | None:
        """The spec; None if the run was imported, so that its spec says little of the run."""
        return self.spec if self.info.source is RunSource.RAYDASH else None


def read_facts(path: Path) -> ReportedRun:
    """Read a recording.

    Raises:
        FaultError: if it can't be read, holds no run, or is being written.
    """
    with closing(_opened(path)) as connection, RecordingReader(path) as reader:
        found = details(path)
        whole = HistorySeries()
        whole.apply(reader.history(0.0, reader.until_s, CAPACITY))
        with reading(path, ValueError):
            return ReportedRun(
                details=found,
                figures=_figures(connection, found),
                state=found.figures.state or RunState.INTERRUPTED,
                until_s=reader.until_s,
                events=events_of(connection, REPORTED_EVENTS),
                info=reader.info,
                spec=reader.spec,
                whole=whole,
                returns=_distribution(connection, "episode_return"),
                lengths=_distribution(connection, "episode_len"),
            )


def _figures(connection: Connection, found: RecordedDetails) -> RunFigures:
    """Read the figures of a whole run, and of its last 100 episodes by finish time."""
    recent = EpisodeSums(connection).newest(math.inf, RECENT_EPISODES, with_errors=False)
    names = {field.name for field in fields(RunFigures)}
    known = {name: getattr(found.figures, name) for name in RecordedFigures.__slots__}
    return RunFigures(
        **{name: value for name, value in known.items() if name in names},
        recent_return_mean=float(recent.episode_return.mean()) if len(recent) else math.nan,
        num_restarts=found.num_restarts,
    )


def _opened(path: Path) -> Connection:
    try:
        connection = open_read_only(path)
    except FaultError as error:
        if not error.fault.kind.is_being_written:
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
    check_begun(connection, path)
    return connection


def spec_rows(spec: RunSpec) -> list[tuple[str, Any, str]]:
    """List dotted key, value and meaning of every field of a spec."""
    rows = []
    for key, field in FIELDS.items():
        value: Any = spec
        for name in key.split("."):
            value = getattr(value, name)
        rows.append((key, dict(value) if isinstance(value, Mapping) else value, field.help))
    return rows


def _distribution(connection: Connection, column: str) -> Distribution | None:
    """Count finite values of episodes without error in about `_MAX_BINS` bins of a round width."""
    good = f"FROM episodes WHERE ending IS DISTINCT FROM 3 AND isfinite({column}::DOUBLE)"
    low, high, has_parts = connection.execute(
        f"SELECT min({column})::DOUBLE, max({column})::DOUBLE,"
        f" coalesce(bool_or({column}::DOUBLE <> floor({column}::DOUBLE)), false) {good}"
    ).fetchone()
    if low is None:
        return None
    # Half the range, because the range itself may be beyond the largest double.
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
    return Distribution(edges, counts)
