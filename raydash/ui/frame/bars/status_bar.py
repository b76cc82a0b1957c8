"""The bottom line: the state of engine, data, drawing and recording."""

import math

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QWidget

from raydash.core.states import EngineState
from raydash.core.words import numbers, spans
from raydash.link.session import Session
from raydash.ui.kit import run_words
from raydash.ui.kit.card import ElidedLabel
from raydash.ui.kit.draw_clock import DrawClock

_ENGINE_WORDS = {
    EngineState.STARTING: "engine starting",
    EngineState.RECONNECTING: "engine reconnecting",
    EngineState.HUNG: "engine hung",
    EngineState.FAILED: "engine failed",
    EngineState.STOPPED: "engine stopped",
}


class StatusBar(QWidget):
    """Shows figures about raydash itself, renewed twice a second."""

    def __init__(self, session: Session, clock: DrawClock, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._clock = clock
        self.setObjectName("status_bar")
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 2, 14, 4)
        row.setSpacing(0)
        self._engine = self._label("status_engine", "Engine")
        self._data = self._label("status_data", "Data age")
        self._draw = self._label("status_draw", "Drawing")
        self._pending = self._label("status_pending", "Under way")
        self._recording = self._label("status_recording", "Recording", min_chars=20)
        for label in (self._engine, self._data, self._draw, self._pending, self._recording):
            row.addWidget(label)
        row.addStretch(1)
        self._said = self._label("status_said", "Done")
        row.addWidget(self._said)
        self._clear_timer = QTimer(self)
        self._clear_timer.setSingleShot(True)
        self._clear_timer.setInterval(8000)
        self._clear_timer.timeout.connect(lambda: self._said.set_text(""))
        self._timer = QTimer(self)
        self._timer.setInterval(500)
        self._timer.timeout.connect(self.refresh)
        self._timer.start()
        session.store.engine_changed.connect(self.refresh)
        session.pending_changed.connect(self.refresh)
        self.refresh()

    def say(self, text: str) -> None:
        """Show one line about what was done, for a few seconds."""
        self._said.set_text(text)
        self._clear_timer.start()

    def refresh(self) -> None:
        """Bring the figures up to date."""
        store = self._session.store
        latency_ms, health = self._session.engine.latency_ms, store.health
        engine = _ENGINE_WORDS.get(store.engine_state, "engine")
        if store.engine_state is EngineState.READY:
            is_known = math.isfinite(latency_ms)
            engine += f" {spans.short_time(latency_ms / 1000)}" if is_known else " ready"
        self._engine.set_text(engine)
        if health is not None:
            self._engine.set_hint(
                f"The time from the window to the engine and back. Pid {health.pid}, "
                f"CPU {numbers.percent(health.cpu_percent / 100)}, "
                f"memory {numbers.size(health.rss_bytes)}, "
                f"loop late by up to {spans.short_time(health.loop_delay_ms / 1000)}, "
                f"{health.num_log_lines_folded} log lines folded. Log: {health.log_path}"
            )
        run = store.shown
        latest = run.latest if run else None
        data = draw = recording = ""
        if run is not None and latest is not None:
            if run.is_recording:
                data = ""  # the strip above says what it is
            elif latest.last or latest.state.is_over:
                data = f" · run {run_words.run_state(latest.state)}"
            else:
                data = f" · data age {spans.rough(store.clock() - run.received_s)}"
            recording = self._recording_words()
        figures = self._clock.figures()
        merged = sum(each.num_merged for each in store.runs.values())
        if health is not None:
            merged = max(merged, health.num_merged)
        draw = (
            f" · draw {spans.short_time(figures.median_ms / 1000)}"
            f" · {figures.frames_per_s}{numbers.NBSP}fps"
            f" · {numbers.plural(merged, 'update')} merged"
        )
        pending = sorted(set(self._session.pending.values()))
        self._data.set_text(data)
        self._draw.set_text(draw)
        self._pending.set_text("".join(f" · {text}" for text in pending))
        self._recording.set_text(recording)

    def _recording_words(self) -> str:
        run = self._session.store.shown
        assert run is not None
        assert run.latest is not None
        health = run.latest.health
        if health.recording_fault:
            self._recording.set_hint(health.recording_fault)
            return f" · recording fails: {health.recording_fault}"
        if run.info is None or not run.info.recording:
            return ""
        self._recording.set_hint(run.info.recording)
        parts = run.info.recording.rsplit("/", 2)
        name = parts[-2] if len(parts) == 3 and parts[-1] == "run.duckdb" else parts[-1]
        size = f" {numbers.size(health.recording_bytes)}" if health.recording_bytes else ""
        return f" · recording {name}{size}"

    def _label(self, name: str, accessible: str, *, min_chars: int = 4) -> ElidedLabel:
        label = ElidedLabel(min_chars=min_chars)
        label.setObjectName(name)
        label.setAccessibleName(accessible)
        label.setProperty("role", "muted")
        return label
