"""Shows a recorded run as it was at an instant, as the same `RunUpdate` that live runs send.

So the window shows both in the same views.
"""

import json
import math
import threading
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from raydash.core.analysis.run_figures import run_figures
from raydash.core.faults import Fault, FaultError
from raydash.core.history.histogram import HistogramError
from raydash.core.history.history import BUCKET_S, CAPACITY
from raydash.core.library import RunSource
from raydash.core.messages import PROTOCOL_VERSION
from raydash.core.records import EpisodeColumns, Float64
from raydash.core.spec import PolicySpec, RunSpec
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.core.states import EndedBy, Ending, RunState
from raydash.core.updates import (
    MAX_EPISODES_PER_UPDATE,
    MAX_EVENTS,
    RECENT_EPISODES,
    HistoryDelta,
    RunFigures,
    RunInfo,
    RunUpdate,
    SupervisorHealth,
)
from raydash.record.file.database import reading_fault, size_of
from raydash.record.file.folder import shown_name
from raydash.record.file.schema import Connection
from raydash.record.read import history_query
from raydash.record.read.episode_sums import UNKNOWN_ENDING, EpisodeSums
from raydash.record.read.generations import learning_figures, worker_versions
from raydash.record.read.named_values import NamedValueReader
from raydash.record.read.query import (
    events_of,
    num_restarts,
    open_read_only,
    policy_from_json,
    recorded_until_s,
    tables_of,
)
from raydash.record.read.worker_columns import (
    activities_at,
    after_run_end,
    counter_growth,
    totals_at,
    worker_columns,
)
from raydash.record.read.worker_curves import worker_curves

_RATE_HISTORY_S = 75.0
"""Rates over the last minute need a row from before it began."""
_SEGMENT_BUCKETS = 120
"""Buckets of the last ten minutes are cached in parts of this many while the instant moves."""


def snapshot(path: Path, at_s: float | None = None) -> RunUpdate:
    """Show a recorded run as it was at an instant; None means its end.

    Raises:
        FaultError: if the file can't be read or holds no run.
    """
    with RecordingReader(path) as reader:
        return reader.snapshot(at_s)


@dataclass(frozen=True, slots=True)
class _CommitState:
    """What the commits before and after an instant say of it."""

    elapsed_s: float
    num_workers: int
    paused: bool
    ended_by: EndedBy | None
    keep: bool
    policy: PolicySpec | None = None
    weights_seq_no: int = 0


class RecordingReader:
    """Reads an open recording, and caches what does not depend on the instant that is shown.

    While it is open no other program can write to the file. Every method may be called from any
    thread.

    Attributes:
        path: The recording; if a copy of it is open, still the recording.
        until_s: The run's clock at the end of the recording.
    """

    def __init__(self, path: Path, *, shown_as: Path | None = None, is_live: bool = False) -> None:
        """Open the file.

        Args:
            path: The file to open.
            shown_as: The recording that `path` is a copy of; None if it is no copy.
            is_live: Whether some process is writing that recording, so that the run goes on.

        Raises:
            FaultError: if the file can't be read or holds no run.
        """
        self.path = shown_as or path
        self._is_live = is_live
        self._lock = threading.Lock()
        self._connection = open_read_only(path)
        try:
            self._read_constants()
        except (duckdb.Error, ValueError, KeyError, TypeError) as error:
            self._connection.close()
            raise FaultError(self._fault(error)) from error
        except BaseException:
            self._connection.close()
            raise
        self._sums: EpisodeSums | None = None
        self._named: NamedValueReader | None = None
        self._whole: HistoryDelta | None = None
        self._segments: dict[int, HistoryDelta] = {}

    def __enter__(self) -> "RecordingReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def snapshot(self, at_s: float | None = None) -> RunUpdate:
        """Show the run as it was at an instant of its clock; None, or a later one, means its end.

        Raises:
            FaultError: if the file is damaged, or was closed meanwhile.
        """
        if at_s is not None and math.isnan(at_s):
            raise FaultError(Fault("There is no such moment in a run", f"{at_s} s"))
        with self._lock:
            try:
                return self._snapshot(at_s)
            except (duckdb.Error, ValueError) as error:
                raise FaultError(self._fault(error)) from error

    def history(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta:
        """Read a range of its history, as `history_query.history` does.

        Raises:
            FaultError: as for `snapshot`.
        """
        if not start_s <= end_s:  # nor if one is NaN
            raise FaultError(Fault("There is no such part of a run", f"{start_s} to {end_s} s"))
        with self._lock:
            try:
                return history_query.history(
                    self._connection, start_s=start_s, end_s=end_s, num_buckets=num_buckets
                )
            except (duckdb.Error, HistogramError) as error:
                raise FaultError(self._fault(error)) from error

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, SpecError):
            return Fault(
                f"The spec in {self.path.name} is not understood", str(error), detail=str(self.path)
            )
        return reading_fault(self.path, error)

    # --- what does not depend on the instant --------------------------------------------------

    def _read_constants(self) -> None:
        connection = self._connection
        if "run" not in tables_of(connection) or not (
            run_rows := _named_rows(connection, "FROM run")
        ):
            raise FaultError(
                Fault(f"{self.path.name} holds no run", "nothing was committed to it", "Delete it")
            )
        self._run = run = run_rows[0]
        incarnations = _named_rows(connection, "FROM incarnations ORDER BY incarnation")
        self.until_s = recorded_until_s(connection)
        self.spec: RunSpec = spec_from_table(json.loads(run["spec_json"]))
        # By the file's name, as in the library: a copy under another name is a run of its own.
        run_id = shown_name(self.path.name.removesuffix(".duckdb"))
        self.info = RunInfo(
            run_id=run_id,
            owner=run["owner"],
            started_utc=run["started_utc"],
            recording=shown_name(str(self.path)),
            log_dir=shown_name(str(self.path.with_name(f"{run_id}.logs"))),
            node=incarnations[-1]["node"] if incarnations else "",
            raydash_version=str(json.loads(run["versions_json"]).get("raydash", "")),
            protocol_version=PROTOCOL_VERSION,
            source=RunSource(run.get("source") or RunSource.RAYDASH),
            recorded_until_s=self.until_s,
        )
        self._num_incarnations = len(incarnations)
        self._nodes = tuple(dict.fromkeys(incarnation["node"] for incarnation in incarnations))
        self._events = events_of(connection)
        self._event_times = [event.t_s for event in self._events]

    def _whole_until(self, at_s: float) -> HistoryDelta:
        """Read the run up to an instant, in as many buckets as updates have."""
        if self._whole is None:
            width_s = history_query.bucket_width_s(0.0, self.until_s, CAPACITY)
            last = int(self.until_s // width_s)
            self._whole = history_query.buckets(self._connection, width_s, 0, last)
        whole = self._whole
        last = int(at_s // whole.bucket_s)
        if at_s >= self.until_s:
            return whole
        cut = history_query.buckets(self._connection, whole.bucket_s, last, last, until_s=at_s)
        return history_query.joined([history_query.sliced(whole, 0, last), cut])

    def _recent_until(self, at_s: float) -> HistoryDelta:
        """Read the ten minutes before an instant; parts are cached for the next instant."""
        last = int(at_s // BUCKET_S)
        first = max(0, last + 1 - CAPACITY)
        wanted = range(first // _SEGMENT_BUCKETS, last // _SEGMENT_BUCKETS)
        self._segments = {k: part for k, part in self._segments.items() if k in wanted}
        for low, end in _ranges_of([k for k in wanted if k not in self._segments]):
            part = history_query.buckets(
                self._connection, BUCKET_S, low * _SEGMENT_BUCKETS, end * _SEGMENT_BUCKETS - 1
            )
            for k in range(low, end):
                self._segments[k] = history_query.sliced(
                    part, k * _SEGMENT_BUCKETS, (k + 1) * _SEGMENT_BUCKETS
                )
        start = wanted.stop * _SEGMENT_BUCKETS
        until_s = at_s if at_s < self.until_s else math.inf
        tail = history_query.buckets(self._connection, BUCKET_S, start, last, until_s=until_s)
        parts = [*(self._segments[k] for k in wanted), tail]
        return history_query.sliced(history_query.joined(parts), first, last + 1)

    # --- at an instant ------------------------------------------------------------------------

    def _snapshot(self, at_s: float | None) -> RunUpdate:
        at_end = at_s is None or at_s >= self.until_s
        at_s = self.until_s if at_s is None else min(max(at_s, 0.0), self.until_s)
        if self._sums is None:
            self._sums = EpisodeSums(self._connection)
        commit = self._commit_state(at_s)
        curves = {
            curve.worker_index: curve
            for curve in worker_curves(
                self._connection, from_s=max(0.0, at_s - _RATE_HISTORY_S), until_s=at_s
            )
        }
        num_events = len(self._events) if at_end else bisect_right(self._event_times, at_s)
        events = self._events[:num_events]
        count = max(
            commit.num_workers,
            max((event.worker_index or 0 for event in events), default=0),
            max((index for index, curve in curves.items() if curve.t_s[0] <= at_s), default=0),
        )
        curves = {index: curve for index, curve in curves.items() if index <= count}
        activities = activities_at(count, events, curves, at_s)
        state, ended_by, cause = self._state(commit, at_end=at_end)
        if state.is_over:
            activities = [after_run_end(worker, at_s) for worker in activities]
        upto_s = math.inf if at_end else at_s
        sums = self._sums.up_to(upto_s)
        newest = self._sums.newest(upto_s, MAX_EPISODES_PER_UPDATE)
        totals = np.floor(totals_at(curves, count, at_s) + 1e-6)
        counts = {row + 1: int(totals[row, 1] - totals[row, 4]) for row in range(count)}
        returns = self._sums.recent_returns(newest, counts, upto_s)
        workers = worker_columns(
            activities,
            curves,
            returns,
            at_s,
            node=-1 if self._run["cluster"] or not self._nodes else 0,
        )
        good = _selected(newest, newest.ending != Ending.ERROR)
        recent = good.tail(RECENT_EPISODES)
        if len(recent) < min(RECENT_EPISODES, sums.return_n):
            recent = self._sums.newest(upto_s, RECENT_EPISODES, with_errors=False)

        def growth(span_s: float) -> Float64:
            return np.asarray(counter_growth(curves, count, at_s, span_s).sum(axis=0))

        figures = run_figures(
            totals.sum(axis=0),
            sums,
            recent,
            rate_per_s=lambda span_s: growth(span_s) / max(min(span_s, at_s), 1e-9),
            grown=growth(10.0),
            elapsed_s=commit.elapsed_s,
            num_restarts=num_restarts(self._connection, upto_s),
        )
        if not self._sums.has_episodes:
            figures = self._with_imported_figures(figures, at_s)
        if self._named is None:
            self._named = NamedValueReader(self._connection)
        learning = learning_figures(self._connection, self.path, upto_s)
        if learning is not None:
            versions = worker_versions(self._connection, count, upto_s)
            workers = replace(workers, weights_seq_no=versions)
        shown = _selected(newest, newest.ending != UNKNOWN_ENDING)  # updates know no such ending
        return RunUpdate(
            run_id=self.info.run_id,
            seq=1,
            since_seq=0,
            t_s=at_s,
            state=state,
            ended_by=ended_by,
            cause=cause,
            paused=commit.paused,
            num_workers=commit.num_workers or count,
            info=self.info,
            spec=self.spec,
            figures=figures,
            workers=workers,
            nodes=self._nodes,
            pending={},
            episodes=shown,
            num_episodes_omitted=max(0, figures.num_episodes_lifetime - len(shown)),
            recent=self._recent_until(at_s),
            whole=self._whole_until(at_s),
            events=events[-MAX_EVENTS:],
            health=SupervisorHealth(
                incarnation=max(0, self._num_incarnations - 1),
                recording_bytes=size_of(self.path),
                keep=commit.keep,
            ),
            last=True,
            policy=commit.policy,
            weights_seq_no=commit.weights_seq_no if learning is None else learning.weights_seq_no,
            scalars=self._named.scalars(upto_s),
            agents=self._named.agents(upto_s),
            learning=learning,
        )

    def _commit_state(self, at_s: float) -> _CommitState:
        """Interpolate between the commits on both sides of the instant."""
        if at_s >= self.until_s and self._run["elapsed_s"] is not None:
            exact: float | None = self._run["elapsed_s"]
        else:
            exact = None
        before = _named_rows(
            self._connection, "FROM commits WHERE t_s <= ? ORDER BY number DESC LIMIT 1", at_s
        )
        after = _named_rows(
            self._connection, "FROM commits WHERE t_s > ? ORDER BY number LIMIT 1", at_s
        )
        if not before and not after:  # imported
            return _CommitState(at_s if exact is None else exact, 0, False, None, False)
        known = (before or after)[0]
        points = [(row["t_s"], row["elapsed_s"]) for row in (*before, *after)]
        times, elapsed = zip(*([(0.0, 0.0), *points] if not before else points), strict=True)
        ended_by = known.get("ended_by") if before else None
        return _CommitState(
            elapsed_s=float(np.interp(at_s, times, elapsed)) if exact is None else exact,
            num_workers=known["num_workers"],
            paused=bool(before) and known["paused"],
            ended_by=EndedBy(ended_by) if ended_by else None,
            keep=known["keep"],
            policy=policy_from_json(known.get("policy_json") if before else None),
            weights_seq_no=(known.get("weights_seq_no") or 0) if before else 0,
        )

    def _state(self, commit: _CommitState, *, at_end: bool) -> tuple[RunState, EndedBy | None, str]:
        run = self._run
        if at_end and run["state"]:
            ended_by = EndedBy(run["ended_by"]) if run["ended_by"] else None
            return RunState(run["state"]), ended_by, run["cause"] or ""
        if at_end and not self._is_live:
            why = "its recording was not closed: its supervisor or its machine went down"
            return RunState.INTERRUPTED, EndedBy.CLUSTER_LOST, why
        if commit.ended_by is not None:
            return RunState.STOPPING, commit.ended_by, ""
        return (RunState.PAUSED if commit.paused else RunState.RUNNING), None, ""

    def _with_imported_figures(self, figures: RunFigures, at_s: float) -> RunFigures:
        """Fill in the newest metrics that an imported run came with instead of episodes."""
        if "scalars" not in tables_of(self._connection):
            return figures
        rows = self._connection.execute(
            "SELECT tag, arg_max(value, t_s) FROM scalars WHERE t_s <= ? GROUP BY tag", [at_s]
        ).fetchall()
        kinds = {name: type(getattr(figures, name)) for name in RunFigures.__slots__}
        known = {
            tag: kinds[tag](value) for tag, value in rows if tag in kinds and math.isfinite(value)
        }
        return replace(figures, **known)


def _named_rows(connection: Connection, sql: str, *values: object) -> list[dict[str, Any]]:
    """Read rows as tables by column name, because an older schema has fewer columns."""
    cursor = connection.execute(sql, list(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _ranges_of(numbers: list[int]) -> list[tuple[int, int]]:
    """Group ascending numbers into ranges without gaps: (first, end)."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return ranges


def _selected(episodes: EpisodeColumns, which: NDArray[np.bool_]) -> EpisodeColumns:
    return EpisodeColumns(*(getattr(episodes, name)[which] for name in EpisodeColumns.__slots__))
