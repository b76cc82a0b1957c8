"""Builds a recording from other tools' files, under a temporary name until it is whole."""

import getpass
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raydash.core.history.history import CAPACITY
from raydash.core.library import RunSource
from raydash.core.records import Float64, Int32, Int64
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec
from raydash.core.states import RunState
from raydash.record.file.database import connect
from raydash.record.file.schema import SCHEMA_VERSION, Connection, bring_up_to_date
from raydash.record.file.times import iso_utc
from raydash.record.imports.tags import our_names_of

UNKNOWN_ENV = "imported"


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """What other tools' files say of the run that they are about.

    Attributes:
        started_unix_s: The start of the run's clock, in Unix time.
        env_id: The environment's id; empty if it is not known.
    """

    started_unix_s: float
    env_id: str = ""
    num_workers: int = 1


class DraftRecording:
    """A recording under construction: rows may come in any order and are sorted at the end."""

    def __init__(self, path: Path) -> None:
        self._connection: Connection = connect(path)
        self._tags: dict[str, int] = {}
        self.num_episodes = 0
        self.num_scalars = 0
        try:
            bring_up_to_date(self._connection)
            # Temporary tables are not in the file; what does not fit in memory goes beside it.
            self._connection.execute(
                "CREATE TEMP TABLE found_episodes (end_s DOUBLE, worker_index INTEGER,"
                " incarnation INTEGER, episode_return DOUBLE, episode_len INTEGER);"
                "CREATE TEMP TABLE found_scalars (tag INTEGER, t_s DOUBLE, num_env_steps BIGINT,"
                " value DOUBLE)"
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add_episodes(
        self,
        *,
        end_s: Float64,
        worker_index: int,
        incarnation: Int32,
        episode_return: Float64,
        episode_len: Int64,
    ) -> None:
        """Add episodes of a worker, whose endings are not known.

        All arrays have the shape (episodes,). `end_s` is on the run's clock, `worker_index` is
        1..N, and returns are undiscounted.
        """
        self.num_episodes += len(end_s)
        self._insert(
            "found_episodes",
            {
                "end_s": end_s,
                "worker_index": np.full(len(end_s), worker_index, np.int32),
                "incarnation": incarnation,
                "episode_return": episode_return,
                "episode_len": episode_len,
            },
            # DuckDB reads NaN in arrays as NULL, but a return can be NaN (see write/writer.py).
            "* REPLACE (coalesce(episode_return, 'nan') AS episode_return)",
        )

    def add_scalars(
        self,
        tags: Sequence[str],
        *,
        t_s: Float64,
        num_env_steps: Float64,
        value: Float64,
    ) -> None:
        """Add values of metrics, all of shape (values,).

        Args:
            tags: The metrics' names as the other tool wrote them.
            t_s: Times on the run's clock; NaN where the time is not known.
            num_env_steps: Steps sampled so far; NaN where that is not known.
            value: The values, finite or infinite.
        """
        self.num_scalars += len(tags)
        numbers = [self._tags.setdefault(tag, len(self._tags)) for tag in tags]
        columns: dict[str, NDArray[np.generic]] = {
            "tag": np.array(numbers, np.int32),
            "t_s": t_s,
            "num_env_steps": num_env_steps,
            "value": value,
        }
        self._insert("found_scalars", columns)

    def finish(
        self,
        run_id: str,
        name: str,
        source: RunSource,
        imported: ImportedRun,
        origin: dict[str, object],
    ) -> None:
        """Write all tables as the recording of a run that is over, and close the file.

        `source` is the tool that wrote the files. `origin` says where they were, and goes into
        `machine_json`.
        """
        connection = self._connection
        connection.execute("BEGIN")
        if self.num_scalars:
            self._write_scalars()
        if self.num_episodes:
            connection.execute(_INSERT_EPISODES)
        (ended_s,) = connection.execute(
            "SELECT greatest(coalesce((SELECT max(end_s) FROM episodes), 0),"
            " coalesce((SELECT max(t_s) FROM scalars), 0))"
        ).fetchone()
        totals = _TOTALS_OF_EPISODES if self.num_episodes else _TOTALS_OF_SCALARS
        connection.execute(totals, {"width_s": max(ended_s / CAPACITY, 1e-6)})
        self._write_run(run_id, name, source, imported, origin, ended_s)
        connection.execute("COMMIT")
        connection.execute("DROP TABLE found_episodes; DROP TABLE found_scalars; CHECKPOINT")
        self.close()

    def _write_scalars(self) -> None:
        connection = self._connection
        ours = our_names_of(self._tags)
        connection.execute("CREATE TEMP TABLE names (tag INTEGER, name VARCHAR)")
        connection.executemany(
            "INSERT INTO names VALUES (?, ?)",
            [[number, ours.get(tag, tag)] for tag, number in self._tags.items()],
        )
        # A point's step may be a training step. Then a metric gives the number of env steps.
        steps_tag = next((tag for tag, name in ours.items() if name == _STEPS), None)
        number = self._tags.get(steps_tag, -1) if steps_tag is not None else -1
        (differ,) = connection.execute(
            "SELECT count(*) FROM found_scalars"
            " WHERE tag = ? AND num_env_steps::FLOAT IS DISTINCT FROM value::FLOAT",
            [number],
        ).fetchone()
        if differ:
            connection.execute(_INSERT_SCALARS_BY_TAG, {"tag": number})
        else:
            connection.execute(_INSERT_SCALARS)
        connection.execute("DROP TABLE names")

    def _write_run(
        self,
        run_id: str,
        name: str,
        source: RunSource,
        imported: ImportedRun,
        origin: dict[str, object],
        ended_s: float,
    ) -> None:
        spec = RunSpec(
            name=name,
            env=EnvSpec(imported.env_id or UNKNOWN_ENV),
            rollout=RolloutSpec(num_workers=imported.num_workers),
        )
        started_utc = iso_utc(imported.started_unix_s, "auto")
        connection = self._connection
        row = {
            "run_id": run_id,
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "env_id": spec.env.id,
            "seed": spec.rollout.seed,
            "spec_json": json.dumps(asdict(spec)),
            "owner": _owner(),
            "cluster": "",
            "started_utc": started_utc,
            "versions_json": "{}",
            "machine_json": json.dumps(origin),
            "state": RunState.FINISHED.value,
            "cause": "",
            "ended_utc": iso_utc(imported.started_unix_s + ended_s, "auto"),
            "ended_s": ended_s,
            "elapsed_s": ended_s,
            "source": source.value,
        }
        names = ", ".join(f"? AS {column}" for column in row)
        connection.execute(f"INSERT INTO run BY NAME SELECT {names}", list(row.values()))
        connection.execute(
            "INSERT INTO incarnations VALUES (0, 0.0, ?, '', 0)",
            [started_utc],
        )
        connection.execute(
            "INSERT INTO commits (number, t_s, elapsed_s, num_workers, paused, keep)"
            " VALUES (1, ?, ?, ?, false, true)",
            [ended_s, ended_s, imported.num_workers],
        )

    def _insert(self, table: str, columns: dict[str, NDArray[np.generic]], what: str = "*") -> None:
        self._connection.register("incoming", columns)
        self._connection.execute(f"INSERT INTO {table} BY NAME SELECT {what} FROM incoming")
        self._connection.unregister("incoming")


_STEPS = "num_env_steps_sampled_lifetime"
_INSERT_SCALARS = """
INSERT INTO scalars SELECT name, t_s, num_env_steps, value
FROM found_scalars JOIN names USING (tag)
ORDER BY t_s NULLS FIRST, names.tag
"""
_INSERT_SCALARS_BY_TAG = """
INSERT INTO scalars SELECT name, t_s, steps, value
FROM found_scalars JOIN names USING (tag)
LEFT JOIN (SELECT num_env_steps, max(value)::BIGINT AS steps FROM found_scalars
           WHERE tag = $tag AND isfinite(value) GROUP BY num_env_steps) USING (num_env_steps)
ORDER BY t_s NULLS FIRST, names.tag
"""
# How long an episode took is not known: there may have been training between two of them.
_INSERT_EPISODES = """
INSERT INTO episodes BY NAME
SELECT end_s, worker_index, 0 AS env_index, incarnation, episode_return, episode_len,
       'nan'::FLOAT AS duration_s
FROM found_episodes ORDER BY end_s, worker_index
"""
# One row per worker and time bucket. A worker counts as busy all the time, so that its steps are
# spread evenly from row to row.
_TOTALS_OF_EPISODES = """
INSERT INTO worker_totals BY NAME
SELECT t_s, worker_index, incarnation,
       (sum(steps) OVER so_far)::BIGINT AS num_env_steps,
       (sum(episodes) OVER so_far)::BIGINT AS num_episodes,
       0 AS num_terminated, 0 AS num_truncated, 0 AS num_error,
       0.0 AS step_time_s, 0.0 AS reset_time_s, 0.0 AS policy_time_s, 0.0 AS idle_time_s,
       t_s - CASE incarnation WHEN 0 THEN 0.0 ELSE min(first_s) OVER so_far END AS busy_time_s
FROM (SELECT worker_index, incarnation, floor(end_s / $width_s) AS bucket,
             min(end_s) AS first_s, max(end_s) AS t_s,
             sum(episode_len) AS steps, count(*) AS episodes
      FROM episodes GROUP BY worker_index, incarnation, bucket)
WINDOW so_far AS (PARTITION BY worker_index, incarnation ORDER BY t_s)
ORDER BY t_s, worker_index
"""
_TOTALS_OF_SCALARS = """
INSERT INTO worker_totals BY NAME
SELECT t_s, 1 AS worker_index, 0 AS incarnation,
       max(steps) OVER (ORDER BY t_s) AS num_env_steps,
       0 AS num_episodes, 0 AS num_terminated, 0 AS num_truncated, 0 AS num_error,
       0.0 AS step_time_s, 0.0 AS reset_time_s, 0.0 AS policy_time_s, 0.0 AS idle_time_s,
       t_s AS busy_time_s
FROM (SELECT max(t_s) AS t_s, max(num_env_steps) AS steps FROM scalars
      WHERE t_s IS NOT NULL AND num_env_steps IS NOT NULL GROUP BY floor(t_s / $width_s))
ORDER BY t_s
"""


def _owner() -> str:
    """Return `user@host` of the user who imports the run."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
