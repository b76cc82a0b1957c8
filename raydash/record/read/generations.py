"""Reads what a recording says of its learner, at the end or at an instant."""

import json
import math
from pathlib import Path

import numpy as np

from raydash.core.machine.generation_plan import PastLearning
from raydash.core.records import Float64, Int32
from raydash.core.updates import Generations, LearningFigures
from raydash.record.file.folder import best_policy_of
from raydash.record.file.schema import Connection
from raydash.record.read.query import tables_of

TOTALS = (
    "weights_seq_no", "population", "num_played", "num_generations", "num_parameters",
    "best_episode_return_mean", "evaluation_episode_return_mean", "evaluation_n",
    "num_evaluation_episodes_lifetime", "best_policy", "num_stale", "num_restarts",
)  # fmt: skip
"""The fields of `LearningFigures` that are columns of `learner_totals`."""
_COUNTS = ("number", "num_env_steps", "evaluation_n")


def learning_figures(
    connection: Connection, path: Path, until_s: float = math.inf
) -> LearningFigures | None:
    """Read how the learning stood at an instant of the run's clock; None if nothing learnt.

    If there are very many generations, it has the newest and some of the older ones. The best
    policy is named if it lies beside the recording's `path`.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    if "learner_totals" not in tables_of(connection):
        return None
    row = connection.execute(
        f"SELECT t_s, arrived_s, {', '.join(TOTALS)} FROM learner_totals WHERE t_s <= ?"
        " ORDER BY t_s DESC, rowid DESC LIMIT 1",
        [until_s],
    ).fetchone()
    if row is None:  # nothing learns, or nothing was committed by then
        (text,) = connection.execute("SELECT spec_json FROM run").fetchone()
        learns = (json.loads(text).get("learner") or {}).get("kind") is not None
        return LearningFigures(target_return=_target(connection)) if learns else None
    t_s, arrived_s, *values = row
    known = dict(zip(TOTALS, values, strict=True))
    for name in ("best_episode_return_mean", "evaluation_episode_return_mean"):
        known[name] = math.nan if known[name] is None else known[name]
    beside = best_policy_of(path)
    known["best_policy"] = str(beside) if known["best_policy"] and beside.exists() else ""
    generations = generations_of(connection, until_s)
    at_s = t_s if math.isinf(until_s) else until_s
    return LearningFigures(
        weights_age_s=max(0.0, at_s - arrived_s) if arrived_s is not None else 0.0,
        target_return=_target(connection),
        generation_return_mean=_last(generations.return_mean),
        generations=generations.rows(Generations.kept_of(len(generations))),
        **known,
    )


def worker_versions(connection: Connection, count: int, until_s: float = math.inf) -> Int32:
    """Read which version of the parameters each of workers 1 to `count` played last.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    versions = np.zeros(count, np.int32)
    for index, version in connection.execute(
        "SELECT worker_index, max(weights_seq_no) FROM episodes WHERE end_s <= ?"
        " AND weights_seq_no IS NOT NULL GROUP BY worker_index",
        [until_s],
    ).fetchall():
        if index <= count:
            versions[index - 1] = version
    return versions


def past_learning(connection: Connection, path: Path) -> tuple[PastLearning, Generations]:
    """Read what a restarted supervisor continues from, and the generations to show to readers.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    known = learning_figures(connection, path)
    if known is None:
        return PastLearning(), Generations()
    rows = generations_of(connection)
    evaluated = np.flatnonzero(rows.evaluation_n > 0)
    num_since_evaluation = len(rows) - 1 - int(evaluated[-1]) if len(evaluated) else len(rows)
    means = rows.evaluation_mean[evaluated]
    means = means[np.isfinite(means)]
    (number,) = connection.execute(
        "SELECT coalesce(max(evaluation), 0) FROM evaluation_episodes"
    ).fetchone()
    past = PastLearning(
        figures=known,
        generations_since_evaluation=num_since_evaluation,
        evaluation_number=number,
        best_evaluation_mean=float(means.max()) if len(means) else math.nan,
    )
    return past, known.generations


def generations_of(connection: Connection, until_s: float = math.inf) -> Generations:
    """Read all generations that were complete at an instant, oldest first.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    rows = connection.execute(
        f"SELECT {', '.join(Generations.__slots__)} FROM generations WHERE end_s <= ?"
        " ORDER BY number",
        [until_s],
    ).fetchnumpy()
    columns = {}
    for name in Generations.__slots__:
        dtype, fill = (np.int64, 0) if name in _COUNTS else (np.float64, np.nan)
        columns[name] = np.ma.filled(rows[name].astype(dtype), fill)
    return Generations(**columns)


def _last(values: Float64) -> float:
    return float(values[-1]) if len(values) else math.nan


def _target(connection: Connection) -> float | None:
    (text,) = connection.execute("SELECT spec_json FROM run").fetchone()
    stop = json.loads(text).get("stop") or {}
    target = stop.get("target_return")
    return None if target is None else float(target)
