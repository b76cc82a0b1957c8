"""Summarises each recording of the library as a `RecordedRun`.

A recording is opened once, read-only. What it said is reused, from memory or from a cache on disk,
until the size or the time of the file changes. The cache may be deleted at any time.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from raydash.core.faults import FaultKind
from raydash.core.library import RecordedRun, RunSource
from raydash.core.spec import ways_of
from raydash.core.states import EndedBy, RunState
from raydash.record.file.card import RunCard, read_card
from raydash.record.file.database import (
    connect_to_folder,
    diagnose,
    sql_literal,
)
from raydash.record.file.folder import FileStamp, RecordingEntry, shown_name
from raydash.record.file.json_file import read_table, write_table
from raydash.record.file.notes import read_notes
from raydash.record.file.schema import (
    SCHEMA_VERSION,
    Connection,
    SchemaError,
    check_readable,
    version_of,
)
from raydash.record.file.times import iso_utc, unix_s
from raydash.record.read.query import RecordedFigures, figures_of

MAX_NAME = 1000
_MAX_CACHE_BYTES = 100_000_000
_STAMP = re.compile(r"(\d{8}-\d{6})-")

log = logging.getLogger(__name__)


class Index:
    """Reads recordings at most once. Every method may be called from any thread."""

    def __init__(self, folder: Path, cache_dir: Path | None) -> None:
        """Read nothing yet.

        Args:
            folder: The folder of the recordings.
            cache_dir: Where summaries are cached; it is created if missing, and if that fails
                there is no cache. None: there is no cache.
        """
        name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        self._cache_path = cache_dir / "library" / f"{name}.json" if cache_dir else None
        self._lock = threading.Lock()
        self._reader = _Reader()
        self._cached: dict[str, tuple[FileStamp, RecordedRun]] | None = None

    def writer_of(self, entry: RecordingEntry) -> str:
        """Say who holds a recording open for writing, in words; empty if nobody does."""
        with self._lock:
            return "" if entry.problem else self._reader.writer_of(entry.path)

    def runs(self, entries: tuple[RecordingEntry, ...]) -> tuple[RecordedRun, ...]:
        """Summarise each recording, newest first."""
        with self._lock:
            before = self._cached if self._cached is not None else self._read_cache()
            self._cached = {}
            runs = [self._run(entry, before.get(entry.run_id)) for entry in entries]
            if _cacheable_stamps(self._cached) != _cacheable_stamps(before):
                self._write_cache()
        return tuple(sorted(runs, key=_newest_first, reverse=True))

    def _run(
        self, entry: RecordingEntry, before: tuple[FileStamp, RecordedRun] | None
    ) -> RecordedRun:
        assert self._cached is not None
        if before is not None and before[0] == entry.stamp:
            run = before[1]
            self._cached[entry.run_id] = before
        else:
            run, is_permanent = _read_run(entry, self._reader)
            if is_permanent:
                self._cached[entry.run_id] = (entry.stamp, run)
        notes, problem = read_notes(entry.notes_path)
        return replace(
            run,
            run_id=shown_name(entry.run_id),
            path=shown_name(str(entry.path)),
            size_bytes=entry.size_bytes,
            modified_utc=iso_utc(entry.modified_s),
            notes=notes,
            fault="; ".join(part for part in (run.fault, problem) if part),
        )

    def _read_cache(self) -> dict[str, tuple[FileStamp, RecordedRun]]:
        if self._cache_path is None:
            return {}
        try:
            table = read_table(self._cache_path, max_bytes=_MAX_CACHE_BYTES) or {}
            if table["made_by"] != _CACHE_FORMAT:
                return {}
            return {
                run_id: (_stamp_from_cache(line["key"]), _run_from_cache(line))
                for run_id, line in table["runs"]
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _write_cache(self) -> None:
        if self._cache_path is None or self._cached is None:
            return
        lines = [
            (run_id, {"key": stamp, **{name: getattr(run, name) for name in _CACHED_FIELDS}})
            for run_id, (stamp, run) in self._cached.items()
            if not run.fault
        ]
        try:
            self._cache_path.parent.mkdir(parents=True, exist_ok=True)
            table = {"made_by": _CACHE_FORMAT, "runs": lines}
            write_table(self._cache_path, table, durable=False)
        except OSError as error:
            log.info("no cache of the library: %s", error)


def line_of(entry: RecordingEntry) -> RecordedRun:
    """Summarise one recording, wherever it is."""
    return Index(entry.path.parent, None).runs((entry,))[0]


class _Reader:
    """One in-memory DuckDB that opens one file after the other.

    Creating a DuckDB for each file would take ten times as long. This one can read nothing outside
    the file's folder, whatever the file says.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._connection: Connection = None

    def read(self, path: Path) -> "_Contents":
        """Read what a recording says of its run.

        Raises:
            duckdb.Error: if it can't be read.
            NewerSchemaError: if it was written by a newer raydash.
            ValueError: if raydash did not make it, or it holds no run.
        """
        with self._attached(path) as connection:
            (num_views,) = connection.execute(
                "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
            ).fetchone()
            if num_views:
                raise ValueError("there are views in it, which raydash does not write")
            check_readable(connection)
            if version_of(connection) is None:
                raise ValueError("there is no run in it")
            cursor = connection.execute("FROM run")
            row = cursor.fetchone()
            columns = [column[0] for column in cursor.description]
            (num_workers,) = connection.execute(
                "SELECT coalesce((SELECT num_workers FROM commits ORDER BY number DESC LIMIT 1),"
                " (SELECT count(DISTINCT worker_index) FROM worker_totals))"
            ).fetchone()
            return _Contents(
                dict(zip(columns, row, strict=True)), figures_of(connection), num_workers
            )

    def writer_of(self, path: Path) -> str:
        """Say who holds a recording open for writing, in words; empty if nobody does."""
        try:
            with self._attached(path):
                return ""
        except duckdb.Error as error:
            found = diagnose(error)
            return found.reason if found.kind.is_being_written else ""

    @contextlib.contextmanager
    def _attached(self, path: Path) -> Iterator[Connection]:
        path = path.resolve()  # DuckDB checks the target of a link against the allowed folder
        if self._connection is None or self._folder != path.parent:
            self._connection, self._folder = connect_to_folder(path.parent), path.parent
        connection = self._connection
        try:
            connection.execute(f"ATTACH {sql_literal(path)} AS recording (READ_ONLY, TYPE duckdb)")
        except duckdb.Error as error:
            if not diagnose(error).kind.is_being_written:
                self._connection = None  # a broken file may have broken the whole instance
            raise
        try:
            connection.execute("USE recording")
            yield connection
            connection.execute("USE memory")
            connection.execute("DETACH recording")
        except BaseException:
            self._connection = None
            connection.close()
            raise


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a file says: the row of `run`, the figures, and how many workers the run was to have."""

    row: Mapping[str, Any]
    figures: RecordedFigures
    num_workers: int


def _read_run(entry: RecordingEntry, reader: _Reader) -> tuple[RecordedRun, bool]:
    """Summarise a recording, and tell whether that holds until the file changes."""
    unread = RecordedRun(
        run_id=entry.run_id, path=str(entry.path), started_utc=_start_from_id(entry.run_id)
    )
    if entry.problem:
        return replace(unread, fault=entry.problem), False
    try:
        return _with_contents(unread, reader.read(entry.path)), True
    except (duckdb.Error, SchemaError) as error:
        named = _with_card(unread, read_card(entry.path))
        found = diagnose(error)
        if found.kind.is_being_written:
            words = f"{found.reason}: its figures are known once it is closed"
            return replace(named, state=RunState.RUNNING, fault=words), False
        if found.kind is FaultKind.NO_PERMISSION:
            words = "there is no permission to read it"
        else:
            words = ": ".join(part for part in (found.reason, found.remedy) if part)
        is_permanent = isinstance(error, SchemaError) or found.kind is FaultKind.DAMAGED
        return replace(named, fault=words), is_permanent
    except Exception as error:
        # Anybody may have made this file, so it can hold anything; the others must still be shown.
        log.info("reading %s: %r", entry.path, error)
        return replace(unread, fault=f"it is no recording of raydash: {error}"[:300]), True


def _with_contents(unread: RecordedRun, contents: _Contents) -> RecordedRun:
    row, figures = contents.row, contents.figures
    mode, policy, learner = _mode_policy_learner(row)
    started_utc = row["started_utc"]
    return replace(
        unread,
        name=row["name"][:MAX_NAME],
        env_id=row["env_id"][:MAX_NAME],
        owner=row["owner"][:MAX_NAME],
        source=RunSource(row.get("source") or RunSource.RAYDASH),
        started_utc=started_utc if unix_s(started_utc) is not None else unread.started_utc,
        state=figures.state or RunState.INTERRUPTED,
        ended_by=figures.ended_by,
        elapsed_s=float(figures.elapsed_s),
        num_workers=int(contents.num_workers),
        num_env_steps_sampled_lifetime=figures.num_env_steps_sampled_lifetime,
        num_episodes_lifetime=figures.num_episodes_lifetime,
        episode_return_mean=float(figures.episode_return_mean),
        mode=mode,
        policy=policy,
        learner=learner,
    )


def _mode_policy_learner(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Read mode, policy and learner from a run's spec; empty if the run was imported."""
    if RunSource(row.get("source") or RunSource.RAYDASH) is not RunSource.RAYDASH:
        return "", "", ""
    ways = ways_of(json.loads(row["spec_json"]))
    mode, policy, learner = (str(ways[n] or "")[:MAX_NAME] for n in ("mode", "policy", "learner"))
    return mode, policy, learner


def _with_card(run: RecordedRun, card: RunCard | None) -> RecordedRun:
    if card is None:
        return run
    return replace(
        run,
        name=card.name[:MAX_NAME],
        env_id=card.env_id[:MAX_NAME],
        owner=card.owner[:MAX_NAME],
        started_utc=card.started_utc if unix_s(card.started_utc) else run.started_utc,
        num_workers=card.num_workers,
    )


def _start_from_id(run_id: str) -> str:
    """Read the start of the run from its id; empty if the id does not begin with one."""
    match = _STAMP.match(run_id)
    try:
        started = datetime.strptime(match[1] if match else "", "%Y%m%d-%H%M%S")
    except ValueError:
        return ""
    return started.replace(tzinfo=UTC).isoformat(timespec="seconds")


def _newest_first(run: RecordedRun) -> tuple[float, str]:
    started_s = unix_s(run.started_utc)
    if started_s is None:
        started_s = unix_s(run.modified_utc)
    return (started_s if started_s is not None else 0.0, run.run_id)


_CACHED_FIELDS: Mapping[str, type] = {
    "name": str,
    "env_id": str,
    "owner": str,
    "source": RunSource,
    "started_utc": str,
    "state": RunState,
    "ended_by": EndedBy,
    "elapsed_s": float,
    "num_workers": int,
    "num_env_steps_sampled_lifetime": int,
    "num_episodes_lifetime": int,
    "episode_return_mean": float,
    "mode": str,
    "policy": str,
    "learner": str,
}
"""Fields that are read from the file itself; the others are looked up every time."""
_CACHE_FORMAT = [1, SCHEMA_VERSION, [field.name for field in fields(RecordedRun)]]


def _cacheable_stamps(
    contents: Mapping[str, tuple[FileStamp, RecordedRun]],
) -> dict[str, FileStamp]:
    return {run_id: stamp for run_id, (stamp, run) in contents.items() if not run.fault}


def _stamp_from_cache(value: list[int]) -> FileStamp:
    size, modified_ns, wal_size, wal_modified_ns = map(int, value)
    return size, modified_ns, wal_size, wal_modified_ns


def _run_from_cache(line: Mapping[str, Any]) -> RecordedRun:
    values: dict[str, Any] = {}
    for name, kind in _CACHED_FIELDS.items():
        value = line[name]
        if value is None and kind is EndedBy:
            values[name] = None
        elif issubclass(kind, str):
            values[name] = kind(value)
        elif isinstance(value, kind):
            values[name] = value
        else:
            raise TypeError(name)
    return RecordedRun(run_id="", path="", **values)
