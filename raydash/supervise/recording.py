"""Between a supervisor and its recording on disk: what is written, and what a restart goes on from."""

from dataclasses import dataclass, field

from raydash.core.clock import Clock
from raydash.core.events import Event
from raydash.core.history import History
from raydash.core.records import EpisodeColumns, WorkerTotals
from raydash.core.spec import RunSpec
from raydash.core.updates import RunInfo, RunUpdate
from raydash.supervise.ledger import Ledger
from raydash.supervise.supervisor import Recording


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier lives of a run's supervisor left.

    Attributes:
        supervisor_incarnation: 0 for the first life.
        num_workers: How many the run was meant to have; None: not known.
        keep: Somebody chose to keep it.
        elapsed_s: Of stepping.
        last_t_s: The run's clock at the last commit.
        num_env_steps: Lifetime.
        num_episodes: Lifetime.
        incarnations: The next incarnation of each worker.
        ledger: Totals.
        history: Buckets.
        events: So far.
    """

    supervisor_incarnation: int = 0
    num_workers: int | None = None
    keep: bool = False
    elapsed_s: float = 0.0
    last_t_s: float = 0.0
    num_env_steps: int = 0
    num_episodes: int = 0
    incarnations: dict[int, int] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    history: History = field(default_factory=History)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording that is open for writing, and what it held."""

    recording: Recording
    past: Past


class NotRecorded:
    """A `Recording` that keeps nothing: simulated runs of the bench and of tests."""

    fault = ""
    lag_s = 0.0
    num_bytes = 0

    def add(
        self,
        t_s: float,
        elapsed_s: float,
        episodes: EpisodeColumns,
        totals: list[tuple[int, int, WorkerTotals]],
        events: list[Event],
    ) -> None:
        """See `Recording`."""

    def close(self, last: RunUpdate) -> None:
        """See `Recording`."""


def open_recording(spec: RunSpec, info: RunInfo, *, clock: Clock, simulated: bool) -> Opened:
    return Opened(NotRecorded(), Past())
