"""The exact account of a run: lifetime totals of every worker and of the run, and their rates.

Totals of a chunk are cumulative within one incarnation, and the ledger adds the incarnations up.
So a lost chunk loses no steps, and a restart never makes a figure fall.
"""

from dataclasses import fields

import numpy as np

from raydash.core.analysis.run_figures import ReturnSums, run_figures
from raydash.core.history.rates import SpanRates
from raydash.core.records import (
    EpisodeColumns,
    EpisodeExtras,
    Float64,
    Int64,
    RolloutChunk,
    WorkerTotals,
)
from raydash.core.states import Ending
from raydash.core.updates import RECENT_EPISODES, RunFigures
from raydash.supervise.account.scalar_ledger import AgentLedger, ScalarLedger

_MAX_STEP_TIMES = 128
_TOTALS = [item.name for item in fields(WorkerTotals)]
_COUNTERS = 5
_STEPS, _EPISODES, _TERMINATED, _TRUNCATED, _ERROR = range(_COUNTERS)


class Ledger:
    """Counts totals, recent episodes and rates, in arrays where row i belongs to worker i + 1.

    Attributes:
        num_workers: How many rows are in use.
        returns: Sums over all episodes of the run.
        scalars: Sums of named numbers in the episodes' info.
        agents: Totals of the agents of a multi-agent environment.
        last_chunk_s: When each worker's newest chunk arrived, on the run's clock; NaN: never.
    """

    def __init__(self) -> None:
        self.num_workers = 0
        self.returns = ReturnSums()
        self.scalars = ScalarLedger()
        self.agents = AgentLedger()
        self._capacity = 0
        self._earlier_totals: Float64 = np.zeros((0, len(_TOTALS)))
        self._incarnation_totals: Float64 = np.zeros((0, len(_TOTALS)))
        self._incarnation: Int64 = np.zeros(0, np.int64)
        self._recent_returns: Float64 = np.full((0, RECENT_EPISODES), np.nan)
        self._num_returns: Int64 = np.zeros(0, np.int64)
        self._step_times: Float64 = np.full((0, _MAX_STEP_TIMES), np.nan)
        self._num_step_times: Int64 = np.zeros(0, np.int64)
        self.step_time_p95_s: Float64 = np.zeros(0)
        self.partial_len: Int64 = np.zeros(0, np.int64)
        self.partial_return: Float64 = np.zeros(0)
        self.last_return: Float64 = np.zeros(0)
        self.last_chunk_s: Float64 = np.zeros(0)
        self.weights_seq_no: Int64 = np.zeros(0, np.int64)
        self._recent_episodes = EpisodeColumns()
        self._worker_rates = SpanRates(longest_s=10.0, resolution_s=0.5)
        self._run_rates = SpanRates(longest_s=60.0, resolution_s=0.1)

    def widen(self, num_workers: int) -> None:
        """Make room for workers up to this index."""
        if num_workers > self._capacity:
            self._capacity = max(num_workers, 2 * self._capacity)
            for name, fill in _WORKER_ARRAYS.items():
                old = getattr(self, name)
                new = np.full((self._capacity, *old.shape[1:]), fill, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        self.num_workers = max(self.num_workers, num_workers)

    def restore(
        self, worker_index: int, totals: WorkerTotals, returns: Float64, next_incarnation: int
    ) -> None:
        """Begin with what earlier incarnations of the supervisor recorded of a worker."""
        self.widen(worker_index)
        row = worker_index - 1
        self._earlier_totals[row] = [getattr(totals, name) for name in _TOTALS]
        self._incarnation[row] = next_incarnation
        self._add_returns(row, returns)

    def restore_recent(self, episodes: EpisodeColumns) -> None:
        """Begin with the newest episodes of the recording."""
        self._recent_episodes = EpisodeColumns()
        self._keep_newest(episodes)

    def add_chunk(self, chunk: RolloutChunk, t_s: float) -> int:
        """Add a chunk that arrived at `t_s`, and return the steps that it added to the run."""
        self.widen(chunk.worker_index)
        row = chunk.worker_index - 1
        if chunk.incarnation != self._incarnation[row]:
            self._earlier_totals[row] += self._incarnation_totals[row]
            self._incarnation_totals[row] = 0
            self._incarnation[row] = chunk.incarnation
        before = self._incarnation_totals[row, _STEPS]
        self._incarnation_totals[row] = [getattr(chunk.totals, name) for name in _TOTALS]
        if not chunk.evaluation:
            self._add_returns(row, chunk.episode_return[chunk.ending != Ending.ERROR])
        if len(chunk.step_time_s):
            at = self._num_step_times[row] + np.arange(len(chunk.step_time_s))
            self._step_times[row, at % _MAX_STEP_TIMES] = chunk.step_time_s
            self._num_step_times[row] += len(chunk.step_time_s)
            kept = self._step_times[row, : min(int(self._num_step_times[row]), _MAX_STEP_TIMES)]
            rank = int(0.95 * (len(kept) - 1))
            self.step_time_p95_s[row] = np.partition(kept, rank)[rank]
        self.partial_len[row] = chunk.partial_len[0] if len(chunk.partial_len) else 0
        self.partial_return[row] = chunk.partial_return[0] if len(chunk.partial_return) else 0
        self.weights_seq_no[row] = chunk.weights_seq_no
        self.last_chunk_s[row] = t_s
        self.agents.add_chunk(chunk)
        return int(self._incarnation_totals[row, _STEPS] - before)

    def add_episodes(self, episodes: EpisodeColumns, extras: EpisodeExtras | None = None) -> None:
        """Add finished episodes, and what else is known of them, to the run's figures."""
        self.returns = self.returns.plus(episodes)
        if extras is not None:
            self.scalars.add(episodes.end_s, extras.scalars)
            self.agents.add_episodes(episodes.end_s, extras.agents)
        self._keep_newest(episodes)

    def _keep_newest(self, episodes: EpisodeColumns) -> None:
        """Keep the last 100 episodes by finish time, leaving out those that ended in an error."""
        good = np.flatnonzero(episodes.ending != Ending.ERROR)
        if not len(good):
            return
        newest = EpisodeColumns(*(getattr(episodes, name)[good] for name in episodes.__slots__))
        both = EpisodeColumns.joined([self._recent_episodes, newest])
        order = np.argsort(both.end_s, kind="stable")[-RECENT_EPISODES:]
        self._recent_episodes = EpisodeColumns(
            *(getattr(both, name)[order] for name in both.__slots__)
        )

    def _add_returns(self, row: int, returns: Float64) -> None:
        if len(returns):
            self.last_return[row] = returns[-1]
            newest = returns[-RECENT_EPISODES:]
            at = self._num_returns[row] + len(returns) - len(newest) + np.arange(len(newest))
            self._recent_returns[row, at % RECENT_EPISODES] = newest
            self._num_returns[row] += len(returns)

    # --- figures -----------------------------------------------------------------------------

    def totals(self) -> Float64:
        """Return lifetime totals, shape (workers, fields of `WorkerTotals` in their order)."""
        return (
            self._earlier_totals[: self.num_workers] + self._incarnation_totals[: self.num_workers]
        )

    def num_env_steps(self) -> int:
        """Return the steps of the whole run."""
        return int(self.totals()[:, _STEPS].sum())

    def num_episodes(self) -> int:
        """Return the episodes of the whole run."""
        return int(self.totals()[:, _EPISODES].sum())

    def recent_means(self) -> tuple[Float64, Int64]:
        """Return the mean return of each worker's last 100 episodes, and how many those are."""
        rows = slice(0, self.num_workers)
        count = np.minimum(self._num_returns[rows], RECENT_EPISODES)
        is_set = np.arange(RECENT_EPISODES) < count[:, None]
        total = np.where(is_set, self._recent_returns[rows], 0.0).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, total / count, np.nan), count

    def note_totals(self, t_s: float) -> None:
        """Sample the totals, which rates are computed from."""
        totals = self.totals()
        self._worker_rates.note(t_s, totals.ravel())
        self._run_rates.note(t_s, totals[:, : _EPISODES + 1].sum(axis=0))

    def worker_growth(self, t_s: float) -> tuple[Float64, float]:
        """Return how much `totals` grew over the last 10 s, and how many seconds that covers."""
        totals = self.totals()
        grown, seconds = self._worker_rates.growth(t_s, totals.ravel(), 10.0)
        return grown.reshape(totals.shape), seconds

    def figures(self, t_s: float, *, elapsed_s: float, num_restarts: int) -> RunFigures:
        """Return the run's figures now."""
        totals = self.totals().sum(axis=0)
        run_totals = totals[: _EPISODES + 1]
        grown, _ = self.worker_growth(t_s)
        return run_figures(
            totals,
            self.returns,
            self._recent_episodes,
            rate_per_s=lambda span_s: self._run_rates.rate_per_s(t_s, run_totals, span_s),
            grown=grown.sum(axis=0),
            elapsed_s=elapsed_s,
            num_restarts=num_restarts,
        )


_WORKER_ARRAYS: dict[str, float] = {
    "_earlier_totals": 0,
    "_incarnation_totals": 0,
    "_incarnation": 0,
    "_recent_returns": np.nan,
    "_num_returns": 0,
    "_step_times": np.nan,
    "_num_step_times": 0,
    "step_time_p95_s": np.nan,
    "partial_len": 0,
    "partial_return": 0,
    "last_return": np.nan,
    "last_chunk_s": np.nan,
    "weights_seq_no": 0,
}
