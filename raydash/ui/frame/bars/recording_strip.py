"""The strip above the key figures of a recording: what it is, and a slider over its time."""

from datetime import datetime

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QSlider, QWidget

from raydash.core.spec import RunSpec
from raydash.core.words import moments, spans
from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.kit import run_words
from raydash.ui.kit.card import ElidedLabel
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager

SPEEDS = (1, 10, 60)
_PER_S = 10  # steps of the slider in a second
_TICK_MS = 100


def strip_words(run: RunStore, now: datetime) -> str:
    """How the run ended, when it began and how long it took."""
    assert run.info is not None
    parts = [
        run_words.outcome(*run.ended) if run.ended[0] is not None else "",
        moments.moment(run.info.started_utc, now),
        spans.duration(run.recorded_until_s or 0.0),
    ]
    return " · ".join(part for part in parts if part)


class RecordingStrip(QFrame):
    """A strip that is visible while the shown run is a recording. It is a view of the draw clock.

    Signals:
        run_again_requested(RunSpec): Put this spec into the form.
    """

    run_again_requested = Signal(object)

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("card", True)
        self.setObjectName("recording_strip")
        self.setAccessibleName("Recording")
        self._session = session
        self._store = session.store
        self._themes = themes
        self._drawn: tuple[object, ...] = ()
        self._position_s = 0.0
        self._ticked_s = 0.0
        self._title = QLabel("Recording")
        self._title.setProperty("role", "title")
        self._about = ElidedLabel(min_chars=18)
        self._about.setObjectName("recording_about")
        self._about.setProperty("role", "muted")
        self.play = self._make_play_button()
        self.speed = _speed_box()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("scrub_slider")
        self.slider.setAccessibleName("Moment of the recording")
        self.slider.setToolTip("The moment that figures, table and plots show")
        self.slider.setMinimumWidth(140)
        self.slider.valueChanged.connect(self._on_moved)
        self.time = QLabel()
        self.time.setObjectName("scrub_time")
        self.time.setAccessibleName("Moment shown")
        self.time.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        again = self._button("Run again…", "recording_again", self._on_again)
        again.setToolTip("Put its spec into the form; nothing is started")
        self._back = self._button("Back to live run", "recording_back", self._on_back)
        self._close = self._button("Close", "recording_close", self._on_close)
        self._close.setToolTip("Take it off the screen; the file stays in the library")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 6)
        row.setSpacing(8)
        row.addWidget(self._title)
        row.addWidget(self._about)
        row.addSpacing(6)
        row.addWidget(self.play)
        row.addWidget(self.speed)
        row.addWidget(self.slider, 1)
        row.addWidget(self.time)
        row.addSpacing(6)
        for button in (again, self._back, self._close):
            row.addWidget(button)
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        for signal in (
            self._store.shown_run_changed,
            self._store.run_state_changed,
            self._store.runs_changed,
        ):
            signal.connect(self.refresh)
        themes.changed.connect(self._paint_icons)
        self._paint_icons()
        self.hide()

    def _make_play_button(self) -> QPushButton:
        play = QPushButton()
        play.setObjectName("scrub_play")
        play.setCheckable(True)
        play.setAccessibleName("Play")
        play.setToolTip("Let the recording go on by itself")
        play.setFixedWidth(32)
        play.setStyleSheet("padding: 4px 0;")
        play.toggled.connect(self._on_play)
        return play

    # --- what it shows ------------------------------------------------------------------------

    @property
    def run(self) -> RunStore | None:
        """The shown run, if it is a recording."""
        run = self._store.shown
        return run if run is not None and run.is_recording else None

    def refresh(self) -> None:
        """Appear for a recording, and hide otherwise."""
        run = self.run
        if run is None or (self._drawn and self._drawn[0] != run.run_id):
            self.play.setChecked(False)
        self.setVisible(run is not None)
        back = self._session.newest_run_id
        self._back.setVisible(bool(back))
        live = bool(self._store.live_runs)
        self._back.setText("Back to live run" if live else "Back to last run")
        if run is not None and not self._drawn:
            self.draw()

    def is_dirty(self) -> bool:
        """Whether another time or another recording is shown."""
        return self._state() != self._drawn

    def draw(self) -> None:
        """Show the time that is on screen, unless the user is holding the slider."""
        run = self.run
        if run is None or run.latest is None:
            return
        self._drawn = self._state()
        until_s = run.recorded_until_s or 0.0
        self._about.set_text(strip_words(run, datetime.now().astimezone()))
        self._about.set_hint(run.info.recording if run.info else "")
        busy = self.slider.isSliderDown() or self._session.library.is_scrubbing
        steps = max(1, round(until_s * _PER_S))
        with QSignalBlocker(self.slider):
            if self.slider.maximum() != steps:
                self.slider.setRange(0, steps)
                self.slider.setSingleStep(_PER_S)
                self.slider.setPageStep(max(10 * _PER_S, steps // 20))
            if not busy and not self.play.isChecked():
                self.slider.setValue(round(run.latest.t_s * _PER_S))
        self._show_time()

    def _state(self) -> tuple[object, ...]:
        run = self.run
        return (run.run_id, run.version, self._session.library.is_scrubbing) if run else ()

    def _show_time(self) -> None:
        run = self.run
        if run is None:
            return
        until = spans.clock(run.recorded_until_s or 0.0)
        at = spans.clock(self.slider.value() / _PER_S)
        self.time.setText(f"{at} / {until}")
        self.time.setMinimumWidth(self.fontMetrics().horizontalAdvance(f"{until} / {until}") + 4)

    def _paint_icons(self) -> None:
        name = IconName.PAUSE if self.play.isChecked() else IconName.START
        self.play.setIcon(icon(name, self._themes.theme))

    # --- what the user does -------------------------------------------------------------------

    def _on_moved(self, value: int) -> None:
        run = self.run
        if run is None:
            return
        self._position_s = value / _PER_S
        self._show_time()
        at_s = None if value >= self.slider.maximum() else self._position_s
        self._session.library.scrub(run.run_id, at_s)

    def _on_play(self, playing: bool) -> None:
        self._paint_icons()
        self.play.setAccessibleName("Pause" if playing else "Play")
        if not playing:
            self._timer.stop()
            return
        if self.slider.value() >= self.slider.maximum():
            self.slider.setValue(0)
        self._position_s = self.slider.value() / _PER_S
        self._ticked_s = self._store.clock()
        self._timer.start()

    def _on_tick(self) -> None:
        now_s = self._store.clock()
        passed_s, self._ticked_s = now_s - self._ticked_s, now_s
        if self.slider.isSliderDown():
            return
        self._position_s += passed_s * float(self.speed.currentData())
        position_s = self._position_s
        self.slider.setValue(min(round(position_s * _PER_S), self.slider.maximum()))
        self._position_s = position_s  # the slider has rounded it, which would add up
        if self.slider.value() >= self.slider.maximum():
            self.play.setChecked(False)

    def _on_again(self) -> None:
        run = self.run
        if run is not None and isinstance(run.spec, RunSpec):
            self.run_again_requested.emit(run.spec)

    def _on_back(self) -> None:
        back = self._session.newest_run_id
        if back:
            self._session.show_run(back)

    def _on_close(self) -> None:
        run = self.run
        if run is not None:
            self._session.close_run(run.run_id)

    def _button(self, text: str, name: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setAccessibleName(text)
        button.clicked.connect(slot)
        return button


def _speed_box() -> QComboBox:
    box = QComboBox()
    box.setObjectName("scrub_speed")
    box.setAccessibleName("Speed")
    box.setToolTip("How fast it goes on")
    for speed in SPEEDS:
        box.addItem(f"{speed}×", speed)
    box.setCurrentIndex(1)
    return box
