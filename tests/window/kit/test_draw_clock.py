from dataclasses import dataclass

from PySide6.QtCore import QObject, QRect
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from raydash.ui.kit.draw_clock import DrawClock, DrawFigures, PaintTimer
from tests.window.conftest import ManualClock


@dataclass(eq=False)
class FakeView:
    """A view that counts its drawings, and takes some time for each."""

    hands: ManualClock
    visible: bool = True
    dirty: bool = True
    cost_s: float = 0.004
    paint_s: float = 0.0
    drawings: int = 0

    def isVisible(self) -> bool:
        return self.visible

    def is_dirty(self) -> bool:
        return self.dirty

    def draw(self) -> None:
        self.drawings += 1
        self.dirty = False
        self.hands.now_s += self.cost_s

    def take_paint_s(self) -> float:
        painted_s, self.paint_s = self.paint_s, 0.0
        return painted_s


def test_only_visible_and_changed_views_are_drawn(qapp: QApplication, hands: ManualClock) -> None:
    clock = DrawClock(clock=hands)
    changed, hidden, same = (
        FakeView(hands),
        FakeView(hands, visible=False),
        FakeView(hands, dirty=False),
    )
    for view in (changed, hidden, same):
        clock.register(view)
    clock.tick()
    clock.tick()
    assert (changed.drawings, hidden.drawings, same.drawings) == (1, 0, 0)


def test_view_that_was_hidden_is_drawn_when_it_is_shown(
    qapp: QApplication, hands: ManualClock
) -> None:
    clock = DrawClock(clock=hands)
    view = FakeView(hands, visible=False)
    clock.register(view)
    clock.tick()
    view.visible = True
    clock.tick()
    assert view.drawings == 1


def test_view_is_drawn_once_a_tick_however_often_it_is_registered(
    qapp: QApplication, hands: ManualClock
) -> None:
    clock = DrawClock(clock=hands)
    view = FakeView(hands)
    clock.register(view)
    clock.register(view)
    clock.tick()
    assert view.drawings == 1
    clock.unregister(view)
    view.dirty = True
    clock.tick()
    assert view.drawings == 1


def test_figures_hold_drawing_and_painting_of_the_last_second(
    qapp: QApplication, hands: ManualClock
) -> None:
    clock = DrawClock(clock=hands)
    view = FakeView(hands)
    clock.register(view)
    for paint_s in (0.002, 0.006, 0.002):
        view.dirty = True
        clock.tick()
        view.paint_s = paint_s
        hands.now_s += 0.03
    clock.tick()
    figures = clock.figures()
    assert figures.frames_per_s == 3
    assert round(figures.median_ms, 3) == 6.0
    assert round(figures.worst_ms, 3) == 10.0
    hands.now_s += 2.0
    assert clock.figures() == DrawFigures()


def test_started_clock_ticks_until_it_is_stopped(qtbot: QtBot, hands: ManualClock) -> None:
    parent = QObject()
    clock = DrawClock(parent, clock=hands)
    view = FakeView(hands)
    clock.register(view)
    clock.start()
    qtbot.waitUntil(lambda: view.drawings == 1, timeout=30_000)
    clock.stop()
    view.dirty = True
    other_clock, other_view = DrawClock(parent, clock=hands), FakeView(hands)
    other_clock.register(other_view)
    other_clock.start()
    qtbot.waitUntil(lambda: other_view.drawings == 1, timeout=30_000)
    other_clock.stop()
    assert view.drawings == 1


def test_paint_timer_adds_up_and_starts_again_when_asked() -> None:
    now_s = iter([1.0, 1.5, 2.0, 2.25])
    timer = PaintTimer(lambda: next(now_s))
    painted: list[QPaintEvent] = []
    event = QPaintEvent(QRect())
    timer.time(painted.append, event)
    timer.time(painted.append, event)
    assert painted == [event, event]
    assert timer.take_s() == 0.75
    assert timer.take_s() == 0.0
