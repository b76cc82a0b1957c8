"""What the widgets read: the latest of everything the engine said. QtCore only; draws nothing.

`Store` takes messages in (`receive`) and emits at most one past-tense signal per message; views
that redraw themselves look at the `version` counters on the draw clock instead of on signals.
"""

from collections import deque
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from raydash.core.clock import Clock
from raydash.core.events import Event
from raydash.core.messages import (
    Answer,
    ClusterStatus,
    EngineHealth,
    EnvRegistry,
    FromEngine,
    RunList,
    RunSummary,
)
from raydash.core.series import HistorySeries
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, RunState
from raydash.core.updates import RunInfo, RunUpdate

MAX_EVENTS = 5000


class RunStore:
    """Everything known of one run.

    Attributes:
        run_id: Which run.
        latest: The newest update (its `workers`, `figures`, `state`, ...).
        info: From the snapshot.
        spec: From the snapshot.
        recent: History of the last 10 minutes.
        whole: History of the whole run.
        events: Newest last, at most `MAX_EVENTS`.
        version: Counts updates.
        received_s: When the newest update arrived, on the store's clock.
        num_merged: Updates merged for this window so far.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.latest: RunUpdate | None = None
        self.info: RunInfo | None = None
        self.spec: RunSpec | None = None
        self.recent = HistorySeries()
        self.whole = HistorySeries()
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.version = 0
        self.received_s = 0.0
        self.num_merged = 0

    @property
    def state(self) -> RunState | None:
        """The run's state, or None before its snapshot."""
        return self.latest.state if self.latest else None

    def apply(self, update: RunUpdate, received_s: float) -> None:
        """Take a snapshot or an update in; a repeated event is taken once."""
        newest = self.events[-1].number if self.events else 0
        if update.since_seq == 0 and update.events and update.events[-1].number < newest:
            self.events.clear()
            newest = 0
        self.events.extend(event for event in update.events if event.number > newest)
        self.info = update.info or self.info
        self.spec = update.spec or self.spec
        self.recent.apply(update.recent)
        self.whole.apply(update.whole)
        self.num_merged += update.num_merged
        self.received_s = received_s
        self.latest = update
        self.version += 1


class Store(QObject):
    """What the engine said, latest first.

    Signals:
        cluster_changed: `cluster` has a new value.
        engine_changed: `engine_state` or `health` has a new value.
        registry_changed: `env_ids` has a new value.
        runs_changed: The list of live runs, or the set of known runs, changed.
        run_updated(run_id): A run took an update in. Do not draw here.
        run_state_changed(run_id): A run's state, pause or number of workers changed.
        shown_run_changed: Another run is shown.
        answered(Answer): A command was answered.
    """

    cluster_changed = Signal()
    engine_changed = Signal()
    registry_changed = Signal()
    runs_changed = Signal()
    run_updated = Signal(str)
    run_state_changed = Signal(str)
    shown_run_changed = Signal()
    answered = Signal(object)

    def __init__(self, clock: Clock, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.clock = clock
        self.cluster = ClusterStatus(ClusterPhase.ABSENT)
        self.engine_state = "starting"
        self.health: EngineHealth | None = None
        self.env_ids: tuple[str, ...] = ()
        self.live_runs: tuple[RunSummary, ...] = ()
        self.runs: dict[str, RunStore] = {}
        self.shown_run_id = ""

    @property
    def shown(self) -> RunStore | None:
        """The run on screen."""
        return self.runs.get(self.shown_run_id)

    def show_run(self, run_id: str) -> None:
        """Choose the run on screen."""
        if run_id != self.shown_run_id:
            self.shown_run_id = run_id
            self.shown_run_changed.emit()

    def set_engine_state(self, state: str) -> None:
        """`starting`, `ready`, `reconnecting`, `hung` or `failed`, from the engine process."""
        if state != self.engine_state:
            self.engine_state = state
            self.engine_changed.emit()

    def set_cluster(self, status: ClusterStatus) -> None:
        """Take in how the cluster is."""
        self.cluster = status
        self.cluster_changed.emit()

    def run(self, run_id: str) -> RunStore:
        """The store of a run, made when it is first heard of."""
        if run_id not in self.runs:
            self.runs[run_id] = RunStore(run_id)
            self.runs_changed.emit()
        return self.runs[run_id]

    def interrupt(self, run_id: str, cause: str) -> None:
        """Mark a run that was going on as interrupted: its cluster, or the run on it, is gone."""
        run = self.run(run_id)
        if run.latest is not None and not run.latest.state.is_over:
            was = run.latest.workers
            failed = was.activity == Activity.FAILED
            activity = np.where(failed, Activity.FAILED, Activity.STOPPED).astype(np.uint8)
            idle = np.zeros_like(was.env_steps_per_s)
            run.latest = replace(
                run.latest,
                state=RunState.INTERRUPTED,
                ended_by=EndedBy.CLUSTER_LOST,
                cause=cause,
                workers=replace(was, activity=activity, env_steps_per_s=idle),
            )
            run.version += 1
            self.run_state_changed.emit(run_id)

    def receive(self, message: FromEngine) -> None:
        """Take one message in."""
        match message:
            case RunUpdate():
                self._receive_update(message)
            case ClusterStatus():
                self.set_cluster(message)
            case RunList(runs):
                self.live_runs = runs
                self.runs_changed.emit()
            case EngineHealth():
                self.health = message
                self.engine_changed.emit()
            case EnvRegistry(env_ids):
                self.env_ids = env_ids
                self.registry_changed.emit()
            case Answer():
                self.answered.emit(message)
            case _:
                pass

    def _receive_update(self, update: RunUpdate) -> None:
        run = self.run(update.run_id)
        before = run.latest
        run.apply(update, self.clock())
        self.run_updated.emit(update.run_id)
        if before is None or (before.state, before.paused, before.num_workers, before.last) != (
            update.state,
            update.paused,
            update.num_workers,
            update.last,
        ):
            self.run_state_changed.emit(update.run_id)
