"""The state that the widgets read: the newest of everything that the engine sent. QtCore only.

`Store.receive` applies a message and emits the signals of what it has changed. Plots do not redraw
on signals: on each tick of the draw clock they look whether a `version` counter has changed.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from raydash.core.clock import Clock
from raydash.core.events import Event
from raydash.core.history.generation_series import GenerationSeries
from raydash.core.history.series import HistorySeries
from raydash.core.library import RecordedRun
from raydash.core.messages import (
    ClusterStatus,
    EngineHealth,
    EnvRegistry,
    FromEngine,
    HistoryRange,
    Library,
    RunList,
    RunSummary,
)
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, EngineState, RunState
from raydash.core.updates import MAX_EVENTS, Generations, RunInfo, RunUpdate

_CLOCK_SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Detail:
    """A part of a run's history, at the resolution that a plot asked for.

    Attributes:
        series: The buckets of the part.
        start_s: Begin of the part on the run's clock, as it was asked for.
        end_s: End of the part on the run's clock, as it was asked for.
        until_s: The run's clock when it was answered; `end_s` or later if nothing is missing.
        number: Counts the details of a run, from 1.
    """

    series: HistorySeries
    start_s: float
    end_s: float
    until_s: float
    number: int


class RunStore:
    """Everything that is known of one run.

    Attributes:
        latest: The newest update, with `workers`, `figures`, `state` and so on.
        info: As the snapshot has it; None before.
        spec: As the snapshot has it; None before.
        recent: The history of the last 10 minutes.
        whole: The history of the whole run.
        generations: The generations of a run that learns; empty in others.
        detail: The part of the history that a zoomed plot asked for last, or None.
        ended: How the run ended and why; a recording keeps it at whatever moment it is shown.
        events: The newest `MAX_EVENTS` events, newest last.
        version: Counts the updates.
        received_s: When the newest update arrived, on the store's clock.
        began_s: When the run's clock was 0, on the store's clock, so that runs can be drawn beside
            each other. NaN before the first update.
        num_merged: How many updates were merged so far because something was slow.
        rests: Whether only one merged update a second is wanted, so that merging is not counted.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.latest: RunUpdate | None = None
        self.info: RunInfo | None = None
        self.spec: RunSpec | None = None
        self.recent = HistorySeries()
        self.whole = HistorySeries()
        self.generations = GenerationSeries()
        self.detail: Detail | None = None
        self.ended: tuple[RunState | None, EndedBy | None] = (None, None)
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.version = 0
        self.received_s = 0.0
        self.began_s = float("nan")
        self.num_merged = 0
        self.rests = False
        self._has_rested = False

    @property
    def state(self) -> RunState | None:
        """The run's state, or None before its snapshot."""
        return self.latest.state if self.latest else None

    @property
    def is_recording(self) -> bool:
        """Whether it is shown from its file: it takes no command, and the moment can be chosen."""
        return self.recorded_until_s is not None

    @property
    def recorded_until_s(self) -> float | None:
        """The run's clock at the end of its recording; None if the run is or was seen live."""
        return self.info.recorded_until_s if self.info else None

    @property
    def learns(self) -> bool:
        """Whether a learner improves the policy of this run, or did."""
        asked = self.spec is not None and self.spec.learner.kind is not None
        return asked or (self.latest is not None and self.latest.learning is not None)

    @property
    def name(self) -> str:
        """The name in its spec, else its environment; its id if there is no spec yet."""
        return (self.spec.name or self.spec.env.id) if self.spec else self.run_id

    def apply(self, update: RunUpdate, received_s: float) -> None:
        """Apply a snapshot or an update; an event that is repeated is added once.

        A snapshot has all events and replaces those that are known, because their numbers may be
        reused: it may show another moment, or come from a restarted supervisor that had not
        recorded its last events.
        """
        if update.since_seq == 0:
            self.events.clear()
        newest = self.events[-1].number if self.events else 0
        self.events.extend(event for event in update.events if event.number > newest)
        self.info = update.info or self.info
        self.spec = update.spec or self.spec
        self.recent.apply(update.recent)
        self.whole.apply(update.whole)
        generations = update.learning.generations if update.learning else Generations()
        if update.since_seq == 0:
            self.generations.replace(generations)
        else:
            self.generations.apply(generations)
        self.num_merged += 0 if self._has_rested else update.num_merged
        self._has_rested = self.rests
        self._adjust_start(received_s - update.t_s)
        self.received_s = received_s
        self.latest = update
        if update.state.is_over:
            self.ended = (update.state, update.ended_by)
        self.version += 1

    def _adjust_start(self, began_s: float) -> None:
        """Set `began_s` to an earlier value: the fastest update says best when the clock was 0.

        A much later value is accepted too, because the clock of a run that was restarted from its
        recording has lost some time.
        """
        if not self.began_s <= began_s <= self.began_s + _CLOCK_SLACK_S:
            self.began_s = began_s

    def take_detail(self, answer: HistoryRange) -> None:
        """Keep the part of the history that a plot asked for as `detail`."""
        series = HistorySeries()
        series.apply(answer.history)
        is_growing = self.latest is not None and not self.latest.last
        until_s = self.latest.t_s if self.latest is not None and is_growing else answer.end_s
        number = self.detail.number + 1 if self.detail else 1
        self.detail = Detail(series, answer.start_s, answer.end_s, until_s, number)


class Store(QObject):
    """The newest state of engine, cluster, runs and library.

    Signals:
        cluster_changed: `cluster` has a new value.
        engine_changed: `engine_state` or `health` has a new value.
        registry_changed: `env_ids` and `wrapper_names` have new values.
        runs_changed: The list of live runs, or the set of known runs, changed.
        run_updated(run_id): An update was applied to a run. Do not draw here.
        run_state_changed(run_id): A run's state, pause, number of workers or policy changed.
        shown_run_changed: Another run is shown.
        overlaid_changed: Other runs are drawn beside the one on screen.
        library_changed: `library` has a new value.
    """

    cluster_changed = Signal()
    engine_changed = Signal()
    registry_changed = Signal()
    runs_changed = Signal()
    run_updated = Signal(str)
    run_state_changed = Signal(str)
    shown_run_changed = Signal()
    overlaid_changed = Signal()
    library_changed = Signal()

    def __init__(self, clock: Clock, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.clock = clock
        self.cluster = ClusterStatus(ClusterPhase.ABSENT)
        self.engine_state = EngineState.STARTING
        self.health: EngineHealth | None = None
        self.env_ids: tuple[str, ...] = ()
        self.wrapper_names: tuple[str, ...] = ()
        self.live_runs: tuple[RunSummary, ...] = ()
        self.runs: dict[str, RunStore] = {}
        self.shown_run_id = ""
        self.overlaid: tuple[str, ...] = ()
        self.library: Library | None = None

    @property
    def shown(self) -> RunStore | None:
        """The run on screen, or None."""
        return self.runs.get(self.shown_run_id)

    def show_run(self, run_id: str) -> None:
        """Choose the run on screen.

        If it was overlaid, it changes places with the run before it, so that both stay drawn.
        """
        if run_id == self.shown_run_id:
            return
        before, self.shown_run_id = self.shown_run_id, run_id
        self.shown_run_changed.emit()
        if run_id in self.overlaid:
            swapped = (before if each == run_id else each for each in self.overlaid)
            self._set_overlaid(tuple(each for each in swapped if each))

    def overlay(self, run_id: str, *, drawn: bool) -> None:
        """Draw a run's curves beside those of the run on screen, or no longer."""
        others = tuple(each for each in self.overlaid if each != run_id)
        adds = drawn and run_id in self.runs and run_id != self.shown_run_id
        self._set_overlaid((*others, run_id) if adds else others)

    def _set_overlaid(self, run_ids: tuple[str, ...]) -> None:
        if run_ids != self.overlaid:
            self.overlaid = run_ids
            self.overlaid_changed.emit()

    def set_engine_state(self, state: EngineState) -> None:
        """Set the state of the engine."""
        if state is not self.engine_state:
            self.engine_state = state
            self.engine_changed.emit()

    def set_cluster(self, status: ClusterStatus) -> None:
        """Set the status of the cluster."""
        self.cluster = status
        self.cluster_changed.emit()

    def run(self, run_id: str) -> RunStore:
        """Get the store of a run, which is made when it is first asked for."""
        if run_id not in self.runs:
            self.runs[run_id] = RunStore(run_id)
            self.runs_changed.emit()
        return self.runs[run_id]

    def forget(self, run_id: str) -> None:
        """Drop everything that is known of a run, and take it off the screen."""
        if self.runs.pop(run_id, None) is not None:
            self.overlay(run_id, drawn=False)
            if run_id == self.shown_run_id:
                self.show_run("")
            self.runs_changed.emit()

    def recorded(self, run_id: str) -> RecordedRun | None:
        """Find a run in the library; None if the library is not known or does not have it."""
        runs = self.library.runs if self.library else ()
        return next((run for run in runs if run.run_id == run_id), None)

    def interrupt(self, run_id: str, cause: str) -> None:
        """Mark a run as interrupted, unless it is over, because it or its cluster is gone."""
        run = self.run(run_id)
        if run.latest is not None and not run.latest.state.is_over and not run.is_recording:
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
        """Apply one message from the engine, and emit the signal of what it changes."""
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
            case EnvRegistry(env_ids, wrapper_names):
                self.env_ids, self.wrapper_names = env_ids, wrapper_names
                self.registry_changed.emit()
            case Library():
                self.library = message
                self.library_changed.emit()
            case HistoryRange(run_id) if run_id in self.runs:
                self.runs[run_id].take_detail(message)
            case _:
                pass

    def _receive_update(self, update: RunUpdate) -> None:
        run = self.run(update.run_id)
        before = _visible_state(run)
        run.apply(update, self.clock())
        self.run_updated.emit(update.run_id)
        if _visible_state(run) != before:
            self.run_state_changed.emit(update.run_id)


def _visible_state(run: RunStore) -> tuple[object, ...]:
    """The values of a run whose change `run_state_changed` reports."""
    latest = run.latest
    if latest is None:
        return ()
    return (
        *(latest.state, latest.paused, latest.num_workers, latest.policy),
        *(latest.last, run.is_recording),
    )
