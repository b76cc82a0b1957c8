"""What a recording says of its learner, at its end or at an instant."""

import math
from dataclasses import dataclass, field

import numpy as np

from raydash.core.events import EventKind
from raydash.core.learning import PastLearning
from raydash.core.updates import Generations
from raydash.record.schema import Connection

_COLUMNS = ", ".join(Generations.__slots__)


@dataclass(frozen=True, slots=True)
class RecordedLearning:
    """A learner as it was at an instant.

    Attributes:
        past: Its figures.
        generations: Complete ones, oldest first; of very many the newest, and some of the older.
    """

    past: PastLearning = field(default_factory=PastLearning)
    generations: Generations = field(default_factory=Generations)


def read_learning(connection: Connection, until_s: float = math.inf) -> RecordedLearning:
    """What was learnt until an instant of the run's clock.

    Args:
        connection: Of a recording that has the tables of a learner.
        until_s: The instant.

    Raises:
        duckdb.Error: if the file can't be read.
    """
    generations = read_generations(connection, until_s)
    evaluated = np.flatnonzero(generations.evaluation_n > 0)
    last = int(evaluated[-1]) if len(evaluated) else -1
    (in_episodes,) = connection.execute(
        "SELECT max(weights_seq_no) FROM episodes WHERE end_s <= $until_s",
        {"until_s": until_s},
    ).fetchone()
    num_evaluated, evaluation_number, in_evaluations = connection.execute(
        "SELECT count(*), coalesce(max(evaluation), 0), max(weights_seq_no)"
        " FROM evaluation_episodes WHERE end_s <= $until_s",
        {"until_s": until_s},
    ).fetchone()
    saved = connection.execute(
        "SELECT detail FROM events WHERE kind = ? AND t_s <= ? ORDER BY number DESC LIMIT 1",
        [EventKind.POLICY_IMPROVED.value, until_s],
    ).fetchone()
    newest = int(generations.number[-1]) if len(generations) else 0
    means = generations.evaluation_mean[evaluated]
    best = generations.return_best
    past = PastLearning(
        weights_seq_no=max(newest, in_episodes or 0, in_evaluations or 0),
        num_generations=len(generations),
        generations_since_evaluation=len(generations) - 1 - last,
        best_episode_return_mean=_largest(best),
        evaluation_mean=float(means[-1]) if len(means) else math.nan,
        evaluation_n=int(generations.evaluation_n[last]) if len(means) else 0,
        evaluation_number=evaluation_number,
        num_evaluation_episodes=num_evaluated,
        best_evaluation_mean=_largest(means),
        best_policy=saved[0] if saved else "",
    )
    kept = Generations.kept_of(len(generations))
    return RecordedLearning(past, generations.rows(kept))


def read_generations(connection: Connection, until_s: float = math.inf) -> Generations:
    """All generations that were complete at an instant, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM generations WHERE end_s <= ? ORDER BY number", [until_s]
    ).fetchnumpy()
    columns = {}
    for name in Generations.__slots__:
        dtype = np.int64 if name in ("number", "num_env_steps", "evaluation_n") else np.float64
        fill = 0 if dtype is np.int64 else np.nan
        columns[name] = np.ma.filled(rows[name].astype(dtype), fill)
    return Generations(**columns)


def _largest(values: np.ndarray) -> float:
    good = values[np.isfinite(values)]
    return float(good.max()) if len(good) else math.nan
