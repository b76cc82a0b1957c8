"""What is written to a recording: rows of `run` and `incarnations`, and batches of all the rest."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata

from raydash.core.events import Event
from raydash.core.history.history import HistoryRows
from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import (
    EpisodeColumns,
    EpisodeExtras,
    EvaluationEpisodes,
    Int64,
    WorkerTotals,
)
from raydash.core.spec import RunSpec
from raydash.core.states import EndedBy, RunState
from raydash.core.updates import Generations, LearningFigures

_PACKAGES = ("raydash", "ray", "gymnasium", "numpy", "duckdb", "msgspec")


def versions_here() -> dict[str, str]:
    """Return the versions of everything that may influence a run's figures."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def this_machine() -> dict[str, str | int]:
    """Describe the machine that this process, the supervisor, runs on."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": platform.machine(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


@dataclass(frozen=True, slots=True)
class RunRow:
    """How a run began: the row of table `run` as it is first written.

    Attributes:
        owner: `user@host`.
        started_utc: ISO 8601.
        cluster: The cluster's address; empty if raydash launched it.
        versions: Package name to version.
        machine: Host, cores, memory, system.
    """

    run_id: str
    spec: RunSpec
    owner: str
    started_utc: str
    cluster: str = ""
    versions: Mapping[str, str] = field(default_factory=versions_here)
    machine: Mapping[str, str | int] = field(default_factory=this_machine)


@dataclass(frozen=True, slots=True)
class IncarnationRow:
    """One incarnation of the supervisor, which may be restarted during a run.

    Attributes:
        incarnation: 0 for the first.
        started_s: When it started, on the run's clock.
        started_utc: The same instant, ISO 8601.
        node: The address of its node.
    """

    incarnation: int
    started_s: float
    started_utc: str
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class RunEndRow:
    """How a run ended.

    Attributes:
        state: Finished, stopped, failed or interrupted.
        cause: Why it failed, in words; empty if it did not.
        ended_utc: ISO 8601.
        ended_s: The same instant on the run's clock.
        elapsed_s: The time it ran, without that spent paused or without a worker.
    """

    state: RunState
    ended_by: EndedBy | None
    cause: str
    ended_utc: str
    ended_s: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class AgentTotals:
    """How many actions each agent has taken in one incarnation of a worker.

    Attributes:
        worker_index: 1..N.
        names: The agents' names.
        num_steps: Cumulative actions, shape (agents,).
    """

    worker_index: int
    incarnation: int
    names: tuple[str, ...]
    num_steps: Int64


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """What one tick of the supervisor adds to a recording.

    It is committed whole, so totals and episodes always agree.

    Attributes:
        t_s: The run's clock.
        elapsed_s: The time the run has run, without that spent paused or without a worker.
        commanded: What users have asked of the run, as it stands.
        num_restarts: How often a worker was restarted after a death or on demand, lifetime.
        weights_seq_no: How often parameters or policy were changed.
        episodes: Episodes that finished.
        extras: More about the same episodes; empty if nothing more is known.
        evaluations: Episodes that were played to evaluate.
        generations: The learner's generations that were completed.
        learning: How the learning stands; None if nothing learns.
        totals: (worker_index, incarnation, totals of that incarnation) of each worker that has
            reported.
        agent_totals: The same for agents; empty unless the environment has several.
        history: Buckets of the whole run that are new or have changed.
    """

    t_s: float
    elapsed_s: float
    commanded: RequestedState = RequestedState()  # noqa: RUF009  it is frozen
    num_restarts: int = 0
    weights_seq_no: int = 0
    episodes: EpisodeColumns = field(default_factory=EpisodeColumns)
    extras: EpisodeExtras = field(default_factory=EpisodeExtras)
    evaluations: EvaluationEpisodes = field(default_factory=EvaluationEpisodes)
    generations: Generations = field(default_factory=Generations)
    learning: LearningFigures | None = None
    totals: Sequence[tuple[int, int, WorkerTotals]] = ()
    agent_totals: Sequence[AgentTotals] = ()
    events: Sequence[Event] = ()
    history: HistoryRows | None = None

    def known_extras(self) -> EpisodeExtras:
        """Return the extras with one row per episode, even if nothing is known."""
        return self.extras if len(self.extras) else EpisodeExtras.unknown(len(self.episodes))

    @staticmethod
    def merged(batches: "Sequence[RecordBatch]") -> "RecordBatch":
        """Merge batches, oldest first, into one; the newest totals of each incarnation win."""
        totals: dict[tuple[int, int], WorkerTotals] = {}
        agents: dict[tuple[int, int], AgentTotals] = {}
        for batch in batches:
            totals.update(
                {(index, incarnation): values for index, incarnation, values in batch.totals}
            )
            agents.update(
                {(each.worker_index, each.incarnation): each for each in batch.agent_totals}
            )
        history: HistoryRows | None = None
        for rows in (batch.history for batch in batches if batch.history is not None):
            history = rows if history is None else history.followed_by(rows)
        return replace(
            batches[-1],
            episodes=EpisodeColumns.joined([batch.episodes for batch in batches]),
            extras=EpisodeExtras.joined([batch.known_extras() for batch in batches]),
            evaluations=EvaluationEpisodes.joined([batch.evaluations for batch in batches]),
            generations=Generations.joined([batch.generations for batch in batches]),
            totals=[
                (index, incarnation, values) for (index, incarnation), values in totals.items()
            ],
            agent_totals=list(agents.values()),
            events=[event for batch in batches for event in batch.events],
            history=history,
        )
