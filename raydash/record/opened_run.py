"""Opens a recording for one's own analysis: NumPy arrays and DuckDB relations, read-only."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from raydash import paths
from raydash.core.events import Event
from raydash.core.records import (
    EpisodeColumns,
    EvaluationEpisodes,
    Float32,
    Float64,
    Int32,
    Int64,
    UInt8,
)
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.core.states import Ending
from raydash.core.updates import Generations, HistoryDelta
from raydash.record.file.database import reading
from raydash.record.file.schema import Connection
from raydash.record.library.library import open_library
from raydash.record.read import query
from raydash.record.read.episode_sums import UNKNOWN_ENDING
from raydash.record.read.generations import generations_of
from raydash.record.read.live_copy import connect_even_if_live
from raydash.record.read.named_values import AGENTS, INFO, NamedValueSource, sources_of
from raydash.record.read.query import WORKERS, RecordedFigures, tables_of


class _Columns:
    """Arrays of one length, by attribute and by name: `dict(columns)` gives a plain dict."""

    __slots__ = ()

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        names: tuple[str, ...] = self.__dataclass_fields__.keys()  # type: ignore[attr-defined]
        return tuple(names)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self.keys():
            raise KeyError(name)
        column: np.ndarray[Any, Any] = getattr(self, name)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self[self.keys()[0]])


@dataclass(frozen=True, slots=True, eq=False)
class Episodes(_Columns):
    """Finished episodes; every array has the shape (episodes,), in the order of recording.

    Attributes:
        end_s: When each ended, seconds since the run's start.
        worker_index: 1..N.
        env_index: The number of the worker's environment.
        incarnation: The incarnation of the worker; 0 is the first.
        episode_return: Undiscounted sum of rewards; NaN for an error episode.
        episode_len: Steps.
        ending: 0 terminated, 1 truncated, 2 both, 3 error, 255 not known (imported).
        duration_s: Wall time from reset to end, seconds; NaN where it is not known.
    """

    end_s: Float64
    worker_index: Int32
    env_index: Int32
    incarnation: Int32
    episode_return: Float64
    episode_len: Int32
    ending: UInt8
    duration_s: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Workers(_Columns):
    """Totals of the workers over all their incarnations; every array has the shape (workers,).

    Attributes:
        worker_index: 1..N.
        incarnation: The newest incarnation, which is the number of those before it.
        num_episodes: Episodes that ended, errors included.
        num_terminated: Episodes with that flag, alone or with the other.
        num_truncated: Episodes with that flag, alone or with the other.
        num_error: Episodes that ended in an error.
        step_time_s: Seconds inside `env.step`.
        reset_time_s: Seconds inside `env.reset`.
        policy_time_s: Seconds inside the policy.
        idle_time_s: Seconds between requests.
        busy_time_s: Seconds inside requests.
    """

    worker_index: Int32
    incarnation: Int32
    num_env_steps: Int64
    num_episodes: Int64
    num_terminated: Int64
    num_truncated: Int64
    num_error: Int64
    step_time_s: Float64
    reset_time_s: Float64
    policy_time_s: Float64
    idle_time_s: Float64
    busy_time_s: Float64


@dataclass(frozen=True, slots=True, eq=False)
class AgentEpisodeRows(_Columns):
    """What each agent did in an episode of a multi-agent environment, in the order of recording.

    Every array has the shape (rows,); a row is one agent in one episode.

    Attributes:
        end_s: When the episode ended, seconds since the run's start.
        worker_index: 1..N; with `end_s` and `env_index` it says which episode.
        env_index: The number of the worker's environment.
        agent: The agent's name.
        agent_return: Undiscounted sum of its rewards; NaN in an episode that ended in an error.
        num_steps: The number of its actions.
    """

    end_s: Float64
    worker_index: Int32
    env_index: Int32
    agent: np.ndarray[Any, Any]
    agent_return: Float64
    num_steps: Int32


@dataclass(frozen=True, slots=True, eq=False)
class GenerationRows(_Columns):
    """Finished generations of a learner; every array has the shape (generations,), oldest first.

    Attributes:
        number: 1, 2, 3, ...: the version of the parameters that its candidates played with.
        end_s: When its last result came in, seconds since the run's start.
        num_env_steps: Steps of the whole run by then.
        return_mean: Mean return over its candidates.
        return_best: Return of its best candidate.
        return_worst: Return of its worst candidate.
        evaluation_mean: Mean return of the best guess that it led to; NaN if not evaluated.
        evaluation_n: The number of episodes of that evaluation.
        sigma: Step size of the search; NaN if the learner has none.
    """

    number: Int64
    end_s: Float64
    num_env_steps: Int64
    return_mean: Float64
    return_best: Float64
    return_worst: Float64
    evaluation_mean: Float64
    evaluation_n: Int64
    sigma: Float64


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationRows(Episodes):
    """Episodes that were played to evaluate, with all columns of `Episodes`.

    Attributes:
        weights_seq_no: The version of the parameters that the best guess came with.
        evaluation: The number of the evaluation: 1, 2, 3, ...
    """

    weights_seq_no: Int32
    evaluation: Int32


_Rows = TypeVar("_Rows", Episodes, Workers, AgentEpisodeRows, EvaluationRows)

_AGENT_DTYPES = (np.float64, np.int32, np.int32, object, np.float64, np.int32)
_EPISODES = (
    "end_s, worker_index, env_index, incarnation, episode_return, episode_len,"
    f" coalesce(ending, {UNKNOWN_ENDING})::UTINYINT AS ending, duration_s"
)


class OpenedRun:
    """A recording, opened read-only by `raydash.open_run`; of a live one, a copy.

    Close it, or use it as a context manager; arrays that were read stay valid. Every method raises
    `raydash.core.faults.FaultError` if the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection, _ = connect_even_if_live(path)
        # Relations need a cursor of their own: DuckDB refuses them while another result is read.
        self._relations: Connection = self._connection.cursor()

    def __enter__(self) -> "OpenedRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<OpenedRun {self.path}>"

    def close(self) -> None:
        """Close the file. Reading from a relation fails afterwards."""
        self._relations.close()
        self._connection.close()

    # --- what it was ---------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's unique id."""
        return self.figures.run_id

    @cached_property
    def spec(self) -> RunSpec:
        """The spec that the run was started with."""
        with reading(self.path, SpecError, ValueError):
            (text,) = self._connection.execute("SELECT spec_json FROM run").fetchone()
            return spec_from_table(json.loads(text))

    @cached_property
    def figures(self) -> RecordedFigures:
        """Figures of the whole run: lifetime counters, mean, min and max return, how it ended."""
        with reading(self.path, TypeError):
            return query.figures_of(self._connection)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Starts, pauses, restarts, errors with traceback, in order; `t_s` in seconds."""
        with reading(self.path, ValueError):
            return query.events_of(self._connection)

    @cached_property
    def workers(self) -> Workers:
        """Totals of each worker over all its incarnations."""
        return self._read(Workers, WORKERS)

    # --- what happened ---------------------------------------------------------------------------

    def episodes(
        self,
        *,
        worker: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Episodes:
        """Read finished episodes, errors included.

        Args:
            worker: Only episodes of the worker with this index, 1..N.
            start_s: Only those that ended at or after this time of the run's clock.
            end_s: Only those that ended before this time.

        Returns:
            Arrays of shape (episodes,), 37 bytes an episode in all. `dict(run.episodes())` is what
            `pandas.DataFrame` takes.
        """
        where, values = _where(worker=worker, start_s=start_s, end_s=end_s)
        return self._read(Episodes, f"SELECT {_EPISODES} FROM episodes {where}", values)

    def returns(self, worker: int | None = None) -> Float64:
        """Read the returns of all episodes but errors, in the order of recording.

        Args:
            worker: Only episodes of the worker with this index, 1..N.

        Returns:
            Shape (episodes,), undiscounted sums of rewards, exact.
        """
        where, values = _where(worker=worker)
        good = f"ending IS DISTINCT FROM {int(Ending.ERROR)}"
        where = f"{where} AND {good}" if where else f"WHERE {good}"
        sql = f"SELECT episode_return FROM episodes {where}"
        return _plain(self._arrays(sql, values)["episode_return"])

    def scalars(
        self,
        *,
        worker: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> dict[str, Float64]:
        """Read scalars from the last step's info of each episode: `is_success`, and chosen keys.

        The arguments choose episodes as those of `episodes` do.

        Returns:
            For each key an array that is parallel to those of `episodes` with the same arguments;
            NaN where an episode had no value. Empty if no episode had any.
        """
        if INFO not in self._sources:
            return {}
        keys = [
            key
            for (key,) in self._rows(
                "SELECT DISTINCT unnest(map_keys(info)) AS key FROM episodes ORDER BY key"
            )
        ]
        where, values = _where(worker=worker, start_s=start_s, end_s=end_s)
        chosen = ", ".join(f"info[?] AS scalar_{n}" for n in range(len(keys)))
        found = self._arrays(f"SELECT {chosen} FROM episodes {where}", [*keys, *values])
        return {
            key: np.ma.filled(np.ma.asarray(found[f"scalar_{n}"], np.float64), np.nan)
            for n, key in enumerate(keys)
        }

    def agent_episodes(self, agent: str | None = None) -> AgentEpisodeRows:
        """Read what each agent, or only `agent`, did in every episode; empty for a single agent."""
        names = ", ".join(AgentEpisodeRows.__dataclass_fields__)
        if AGENTS not in self._sources:
            return AgentEpisodeRows(*(np.empty(0, dtype) for dtype in _AGENT_DTYPES))
        where, values = ("WHERE agent = ?", [agent]) if agent is not None else ("", [])
        return self._read(AgentEpisodeRows, f"SELECT {names} FROM agent_episodes {where}", values)

    def generations(self) -> GenerationRows:
        """Read the finished generations of the run's learner; empty if nothing learnt."""
        rows = Generations()
        if "generations" in self._tables:
            with reading(self.path):
                rows = generations_of(self._connection)
        return GenerationRows(*(getattr(rows, name) for name in Generations.__slots__))

    def evaluation_episodes(self) -> EvaluationRows:
        """Read the episodes that were played to evaluate; no figure of the rollouts counts them."""
        if "evaluation_episodes" not in self._tables:
            whole = EvaluationEpisodes()
            columns = {name: getattr(whole.episodes, name) for name in EpisodeColumns.__slots__}
            return EvaluationRows(
                **columns, weights_seq_no=whole.weights_seq_no, evaluation=whole.evaluation
            )
        names = f"{_EPISODES}, weights_seq_no, evaluation"
        return self._read(EvaluationRows, f"SELECT {names} FROM evaluation_episodes")

    @cached_property
    def _tables(self) -> frozenset[str]:
        return tables_of(self._connection)

    def history(
        self,
        num_buckets: int = 300,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> HistoryDelta:
        """Read the run, or a part of it, in time buckets of one width, as the window plots it.

        Args:
            num_buckets: The greatest number of buckets.
            start_s: Start of the part on the run's clock, seconds; None: the run's start.
            end_s: End of the part; None: the run's end.

        Returns:
            Arrays of shape (buckets,), those per worker (buckets, workers). Bucket i covers
            `bucket_s` seconds from `(first_bucket + i) * bucket_s`.
        """
        from raydash.record.read.history_query import history

        with reading(self.path):
            return history(
                self._connection,
                start_s=0.0 if start_s is None else start_s,
                end_s=math.inf if end_s is None else end_s,
                num_buckets=num_buckets,
            )

    def table(self, name: str) -> Any:
        """Return a table as a lazy DuckDB relation: `run.table("episodes").filter("...").df()`.

        Args:
            name: `run`, `incarnations`, `episodes`, `worker_totals`, `agent_episodes`,
                `agent_totals`, `events`, `commits`, `history`, `history_scalars` or `scalars`;
                assets/docs/internals/recording.md has their columns and units.
        """
        return self._relations.table(name)

    def sql(self, statement: str) -> Any:
        """Return a query over the recording's tables as a DuckDB relation.

        It gets 128 MB of memory and one thread; `SET memory_limit = '4GB'` and `SET threads = 8`
        change that.
        """
        return self._relations.sql(statement)

    # --- inside ----------------------------------------------------------------------------------

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with reading(self.path):
            rows: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return rows

    @cached_property
    def _sources(self) -> tuple[NamedValueSource, ...]:
        with reading(self.path):
            return sources_of(self._connection)

    def _arrays(self, sql: str, values: Sequence[object]) -> dict[str, Any]:
        with reading(self.path):
            arrays: dict[str, Any] = self._connection.execute(sql, list(values)).fetchnumpy()
        return arrays

    def _read(self, kind: type[_Rows], sql: str, values: Sequence[object] = ()) -> _Rows:
        found = self._arrays(sql, values)
        return kind(**{name: _plain(column) for name, column in found.items()})


def _plain(column: Any) -> np.ndarray[Any, Any]:
    """Remove an array's mask, which is never needed: no column that is read has NULLs."""
    return np.ma.getdata(column)


def _where(
    *, worker: int | None, start_s: float | None = None, end_s: float | None = None
) -> tuple[str, list[float]]:
    wanted = {"worker_index = ?": worker, "end_s >= ?": start_s, "end_s < ?": end_s}
    known = {term: value for term, value in wanted.items() if value is not None}
    return (f"WHERE {' AND '.join(known)}" if known else ""), list(known.values())


def open_run(path_or_id: str | Path) -> OpenedRun:
    """Open a recording by its path or id, for `raydash.open_run`."""
    if isinstance(path_or_id, str):
        path_or_id = open_library(paths.data_dir()).find(path_or_id)
    return OpenedRun(path_or_id)
