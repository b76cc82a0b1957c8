"""The SQL statements that write to an open recording.

A commit is short, so its cost lies in preparing statements, not in writing rows. Therefore every
statement is parsed once, the views that statements read new columns from are registered once, and
DuckDB's optimizer is off.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any

import numpy as np

from raydash.core.events import Event
from raydash.core.history.history import HistoryRows
from raydash.core.records import NO_CANDIDATE, TIME_DECIMALS, EpisodeColumns
from raydash.core.states import EndedBy, Ending
from raydash.core.updates import Generations, LearningFigures
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunEndRow, RunRow
from raydash.record.file.schema import SCHEMA_VERSION, Connection
from raydash.record.read.generations import TOTALS
from raydash.record.read.query import COUNTERS, policy_to_json

# DuckDB reads NaN in arrays as NULL; a return and a sum of returns can be NaN.
# https://github.com/duckdb/duckdb/issues/10196 (of pandas; NumPy's arrays are read alike)
_INSERTS = {
    "episodes": "INSERT INTO episodes BY NAME SELECT"
    " * REPLACE (coalesce(episode_return, 'nan') AS episode_return,"
    f" nullif(candidate, {NO_CANDIDATE}) AS candidate) FROM new_episodes",
    "evaluations": "INSERT INTO evaluation_episodes BY NAME SELECT"
    " * REPLACE (coalesce(episode_return, 'nan') AS episode_return) FROM new_evaluations",
    "generations": "INSERT INTO generations BY NAME SELECT * REPLACE ("
    "coalesce(return_mean, 'nan') AS return_mean, coalesce(return_best, 'nan') AS return_best,"
    " coalesce(return_worst, 'nan') AS return_worst) FROM new_generations",
    "learner_totals": f"INSERT INTO learner_totals (t_s, arrived_s, {', '.join(TOTALS)})"
    f" VALUES ({', '.join('?' * (2 + len(TOTALS)))})",
    "totals": "INSERT INTO worker_totals BY NAME FROM new_totals",
    "events": "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
    "commits": "INSERT INTO commits (number, t_s, elapsed_s, num_workers, paused, keep, ended_by,"
    " draining, paused_workers, stopped_workers, failed_workers, last_worker, num_restarts,"
    " policy_json, weights_seq_no)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "history": "INSERT INTO history BY NAME SELECT"
    " * REPLACE (coalesce(return_sum, 'nan') AS return_sum) FROM new_history"
    " JOIN (SELECT bucket, list(steps ORDER BY worker) AS worker_steps,"
    " list(coalesce(return_sum, 'nan') ORDER BY worker) AS worker_return_sum,"
    " list(return_n ORDER BY worker) AS worker_return_n FROM new_worker_history GROUP BY bucket)"
    " USING (bucket)",
    "history_scalars": "INSERT INTO history_scalars BY NAME FROM new_history_scalars",
    "agent_episodes": "INSERT INTO agent_episodes BY NAME SELECT"
    " * REPLACE (coalesce(agent_return, 'nan') AS agent_return) FROM new_agent_episodes",
    "agent_totals": "INSERT INTO agent_totals BY NAME FROM new_agent_totals",
}
_VIEWS = (
    "new_episodes", "new_evaluations", "new_generations", "new_totals", "new_history",
    "new_worker_history", "new_history_scalars", "new_agent_episodes", "new_agent_totals",
)  # fmt: skip


class RecordWriter:
    """Writes to one connection, from one thread; the caller opens and closes the connection."""

    def __init__(self, connection: Connection) -> None:
        """Parse the statements; the tables must exist."""
        self.connection = connection
        connection.execute("PRAGMA disable_optimizer")
        # DuckDB reads these dictionaries each time a statement runs, so they can be refilled.
        self._view_columns: dict[str, dict[str, Any]] = {
            name: {"_": np.empty(0)} for name in _VIEWS
        }
        for name, columns in self._view_columns.items():
            connection.register(name, columns)
        self._statements = {
            name: connection.extract_statements(text)[0] for name, text in _INSERTS.items()
        }

    def header(self, run: RunRow, incarnation: IncarnationRow) -> None:
        """Write the rows of the run and of its supervisor's incarnation, unless they exist."""
        spec = run.spec
        connection = self.connection
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO run BY NAME SELECT ? AS run_id, ? AS schema_version, ? AS name,"
            " ? AS env_id, ? AS seed, ? AS spec_json, ? AS owner, ? AS cluster,"
            " ? AS started_utc, ? AS versions_json, ? AS machine_json"
            " WHERE NOT EXISTS (FROM run)",
            [
                run.run_id,
                SCHEMA_VERSION,
                spec.name or spec.env.id,
                spec.env.id,
                spec.rollout.seed,
                json.dumps(asdict(spec)),
                run.owner,
                run.cluster,
                run.started_utc,
                json.dumps(dict(run.versions)),
                json.dumps(dict(run.machine)),
            ],
        )
        connection.execute(
            "INSERT INTO incarnations SELECT ?, ?, ?, ?, ?"
            " WHERE NOT EXISTS (FROM incarnations WHERE incarnation = ?)",
            [*astuple(incarnation), incarnation.incarnation],
        )
        connection.execute("COMMIT")

    def write(self, number: int, batch: RecordBatch) -> None:
        """Write a batch as commit `number`: all of it or nothing."""
        self.connection.execute("BEGIN")
        if len(batch.episodes):
            self._episodes(batch)
        if len(batch.evaluations):
            self._insert("evaluations", new_evaluations=_evaluation_columns(batch))
        if len(batch.generations):
            columns = {name: getattr(batch.generations, name) for name in Generations.__slots__}
            self._insert("generations", new_generations=columns)
        if batch.learning is not None:
            self.connection.execute(
                self._statements["learner_totals"], _learner_values(batch.learning, batch.t_s)
            )
        if batch.totals:
            self._insert("totals", new_totals=_totals_columns(batch))
        if batch.agent_totals:
            self._insert("agent_totals", new_agent_totals=_agent_totals_columns(batch))
        if batch.events:
            self._events(batch.events)
        if batch.history is not None:
            self._history(batch.history)
        requested = batch.commanded
        self.connection.execute(
            self._statements["commits"],
            [
                number,
                batch.t_s,
                batch.elapsed_s,
                requested.num_workers,
                requested.paused,
                requested.keep,
                requested.ended_by.value if requested.ended_by else None,
                requested.ended_by is EndedBy.DRAINED,
                list(requested.paused_workers) or None,
                list(requested.stopped_workers) or None,
                list(requested.failed_workers) or None,
                requested.last_worker or None,
                batch.num_restarts,
                policy_to_json(requested.version.policy),
                batch.weights_seq_no or None,
            ],
        )
        self.connection.execute("COMMIT")

    def end(self, end_row: RunEndRow) -> None:
        """Write how the run ended."""
        self.connection.execute(
            "UPDATE run SET state = ?, ended_by = ?, cause = ?, ended_utc = ?,"
            " ended_s = ?, elapsed_s = ?",
            [
                end_row.state.value,
                end_row.ended_by.value if end_row.ended_by else None,
                end_row.cause,
                end_row.ended_utc,
                end_row.ended_s,
                end_row.elapsed_s,
            ],
        )

    def _episodes(self, batch: RecordBatch) -> None:
        columns, extras = _episode_columns(batch), batch.known_extras()
        names = extras.scalars.names
        if names:
            # The columns differ from batch to batch, so this statement can't be parsed in advance.
            columns |= {f"scalar_{n}": extras.scalars.values[:, n] for n in range(len(names))}
            self._view_columns["new_episodes"].clear()
            self._view_columns["new_episodes"].update(columns)
            self.connection.execute(_episodes_with_info(names))
        else:
            self._insert("episodes", new_episodes=columns)
        if extras.agents.names:
            self._insert("agent_episodes", new_agent_episodes=_agent_episode_columns(batch))

    def _insert(self, statement: str, **views: dict[str, Any]) -> None:
        for name, columns in views.items():
            self._view_columns[name].clear()
            self._view_columns[name].update(columns)
        self.connection.execute(self._statements[statement])

    def _events(self, events: Sequence[Event]) -> None:
        self.connection.executemany(
            self._statements["events"],
            [
                [e.number, e.t_s, e.kind.value, e.text, e.worker_index, e.detail, e.count]
                for e in events
            ],
        )

    def _history(self, rows: HistoryRows) -> None:
        self.connection.execute("DELETE FROM history WHERE bucket >= ?", [int(rows.bucket[0])])
        self._insert(
            "history",
            new_history=_history_columns(rows),
            new_worker_history=_worker_history_columns(rows),
        )
        self.connection.execute(
            "DELETE FROM history_scalars WHERE bucket >= ?", [int(rows.bucket[0])]
        )
        if rows.scalar_names and rows.scalar_n.any():
            self._insert("history_scalars", new_history_scalars=_history_scalar_columns(rows))


def _episode_columns(batch: RecordBatch) -> dict[str, Any]:
    """Return the columns of `episodes`, with rounded times.

    At full precision the times would take five more bytes per episode, all of them noise.
    """
    extras = batch.known_extras()
    columns = _columns_of(batch.episodes)
    columns["weights_seq_no"], columns["candidate"] = extras.weights_seq_no, extras.candidate
    return columns


def _columns_of(episodes: EpisodeColumns) -> dict[str, Any]:
    columns = {name: getattr(episodes, name) for name in EpisodeColumns.__slots__}
    columns["end_s"] = np.round(episodes.end_s, TIME_DECIMALS)
    columns["duration_s"] = np.round(episodes.duration_s, TIME_DECIMALS)
    return columns


def _evaluation_columns(batch: RecordBatch) -> dict[str, Any]:
    evaluations = batch.evaluations
    columns = _columns_of(evaluations.episodes)
    columns["weights_seq_no"], columns["evaluation"] = (
        evaluations.weights_seq_no,
        evaluations.evaluation,
    )
    return columns


def _episodes_with_info(names: tuple[str, ...]) -> str:
    """Build the statement for episodes whose scalars are in `scalar_0`, ...; NULL: it had none."""
    entries = ", ".join(
        f"{{'key': {_quoted(name)}, 'value': scalar_{n}}}" for n, name in enumerate(names)
    )
    known = " OR ".join(f"scalar_{n} IS NOT NULL" for n in range(len(names)))
    columns = ", ".join(f"scalar_{n}" for n in range(len(names)))
    return (
        f"INSERT INTO episodes BY NAME SELECT * EXCLUDE ({columns}) REPLACE ("
        "coalesce(episode_return, 'nan') AS episode_return,"
        f" nullif(candidate, {NO_CANDIDATE}) AS candidate), CASE WHEN {known} THEN"
        f" map_from_entries(list_filter([{entries}], lambda one: one.value IS NOT NULL))"
        " END AS info FROM new_episodes"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _agent_episode_columns(batch: RecordBatch) -> dict[str, Any]:
    """Return a row for each agent and each episode that it acted in or got a return from."""
    episodes, agents = batch.episodes, batch.known_extras().agents
    took_part = (agents.num_steps > 0) | ~np.isnan(agents.episode_return)
    episode, agent = np.nonzero(took_part)
    return {
        "end_s": np.round(episodes.end_s, TIME_DECIMALS)[episode],
        "worker_index": episodes.worker_index[episode],
        "env_index": episodes.env_index[episode],
        "agent": np.array(agents.names, object)[agent],
        "agent_return": agents.episode_return[episode, agent],
        "num_steps": agents.num_steps[episode, agent],
    }


def _agent_totals_columns(batch: RecordBatch) -> dict[str, Any]:
    counts = [len(each.names) for each in batch.agent_totals]
    return {
        "t_s": np.full(sum(counts), batch.t_s),
        "worker_index": np.repeat([each.worker_index for each in batch.agent_totals], counts),
        "incarnation": np.repeat([each.incarnation for each in batch.agent_totals], counts),
        "agent": np.array([name for each in batch.agent_totals for name in each.names], object),
        "num_steps": np.concatenate([each.num_steps for each in batch.agent_totals]),
    }


def _history_scalar_columns(rows: HistoryRows) -> dict[str, Any]:
    row, column = np.nonzero(rows.scalar_n)
    return {
        "bucket": rows.bucket[row],
        "name": np.array(rows.scalar_names, object)[column],
        "n": rows.scalar_n[row, column],
        "total": rows.scalar_sum[row, column],
    }


def _learner_values(learning: LearningFigures, t_s: float) -> list[Any]:
    arrived_s = t_s - learning.weights_age_s if learning.num_parameters else None
    values = [getattr(learning, name) for name in TOTALS]
    return [
        t_s,
        arrived_s,
        *(None if isinstance(value, float) and math.isnan(value) else value for value in values),
    ]


def _totals_columns(batch: RecordBatch) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: np.array([getattr(totals, name) for _, _, totals in batch.totals])
        for name in COUNTERS
    }
    columns["t_s"] = np.full(len(batch.totals), batch.t_s)
    columns["worker_index"] = np.array([index for index, _, _ in batch.totals], np.int32)
    columns["incarnation"] = np.array([incarnation for _, incarnation, _ in batch.totals], np.int32)
    return columns


def _history_columns(rows: HistoryRows) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: getattr(rows, name)
        for name in (
            "bucket", "num_env_steps", "return_n", "return_sum", "return_min", "return_max",
            "return_p10", "return_p90",
        )
    }  # fmt: skip
    columns["bucket_s"] = np.full(len(rows), rows.bucket_s)
    for ending in Ending:
        columns[f"num_{ending.name.lower()}"] = rows.endings[:, ending]
    columns["returns"] = np.array([*rows.returns, None], object)[
        :-1
    ]  # so that it stays bytes, not text
    return columns


def _worker_history_columns(rows: HistoryRows) -> dict[str, Any]:
    width = rows.worker_steps.shape[1]
    return {
        "bucket": np.repeat(rows.bucket, width),
        "worker": np.tile(np.arange(width, dtype=np.int32), len(rows)),
        "steps": rows.worker_steps.ravel(),
        "return_sum": rows.worker_return_sum.ravel(),
        "return_n": rows.worker_return_n.ravel(),
    }
