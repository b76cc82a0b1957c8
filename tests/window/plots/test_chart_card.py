"""What plots and the comparison share: their card, and the chart that is created late."""

from collections.abc import Callable

import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from raydash.ui.compare.plot import ComparePlot
from raydash.ui.kit.draw_clock import ReportsPaintTime
from raydash.ui.kit.theme import DARK, LIGHT
from raydash.ui.plots.views.plot_base import Plot
from raydash.ui.plots.views.throughput_plot import ThroughputPlot
from tests.fakes.updates.updates import make_store_with_run
from tests.window.conftest import ManualClock

AnyCard = Plot | ComparePlot


def _plot() -> Plot:
    plot = ThroughputPlot()
    _, run = make_store_with_run(4)
    plot.set_run(run)
    return plot


def _comparison() -> ComparePlot:
    return ComparePlot(ManualClock())


@pytest.fixture(params=[_plot, _comparison])
def card(request: pytest.FixtureRequest, qtbot: QtBot) -> AnyCard:
    make: Callable[[], AnyCard] = request.param
    made = make()
    made.set_theme(DARK)
    made.resize(600, 300)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def shown(card: AnyCard, qtbot: QtBot) -> AnyCard:
    card.show()
    qtbot.waitUntil(lambda: card.has_chart, timeout=30_000)
    return card


def test_chart_is_created_once_the_card_was_painted(card: AnyCard, qtbot: QtBot) -> None:
    assert not card.has_chart
    assert not card.is_dirty()
    assert card.take_paint_s() == 0.0
    card.show()
    qtbot.waitUntil(lambda: card.has_chart, timeout=30_000)
    assert card.canvas.objectName() == f"{card.objectName()}_canvas"
    assert card.canvas.accessibleName()
    assert card.canvas.accessibleDescription()


def test_chart_takes_the_colours_of_its_card(shown: AnyCard) -> None:
    assert shown.canvas.backgroundBrush().color() == QColor(DARK.card)
    shown.set_theme(LIGHT)
    assert shown.canvas.backgroundBrush().color() == QColor(LIGHT.card)


def test_painting_is_timed_and_told_once(shown: AnyCard) -> None:
    assert isinstance(shown, ReportsPaintTime)
    shown.canvas.viewport().repaint()
    assert shown.take_paint_s() > 0.0
    assert shown.take_paint_s() == 0.0


def test_a_moved_chart_offers_the_way_back_until_it_is_taken(shown: AnyCard) -> None:
    assert shown.back.isHidden()
    QTest.keyClick(shown.canvas, Qt.Key.Key_Plus)
    assert not shown.back.isHidden()
    shown.back.click()
    assert shown.back.isHidden()


@pytest.mark.parametrize("key", [Qt.Key.Key_Escape, Qt.Key.Key_Home])
def test_keys_show_all_of_a_zoomed_chart(shown: AnyCard, key: Qt.Key) -> None:
    QTest.keyClick(shown.canvas, Qt.Key.Key_Minus)
    assert not shown.back.isHidden()
    QTest.keyClick(shown.canvas, key)
    assert shown.back.isHidden()


def test_values_are_read_between_the_axes_only(shown: AnyCard) -> None:
    canvas = shown.canvas
    area = canvas.area()
    for x, is_inside in ((area.center().x(), True), (area.left() - 5, False)):
        where = QPointF(x, area.center().y())
        none = Qt.MouseButton.NoButton
        moved = QMouseEvent(
            *(QEvent.Type.MouseMove, where, where, none, none, Qt.KeyboardModifier.NoModifier)
        )
        canvas.mouseMoveEvent(moved)
        assert (canvas.hover is not None) is is_inside
    canvas.leaveEvent(QEvent(QEvent.Type.Leave))
    assert canvas.hover is None


def test_right_button_does_not_drag(shown: AnyCard) -> None:
    viewport = shown.canvas.viewport()
    centre = shown.canvas.area().center().toPoint()
    before = shown.canvas.point(0.0, 0.0)
    QTest.mousePress(viewport, Qt.MouseButton.RightButton, pos=centre)
    QTest.mouseMove(viewport, centre * 0.5)
    QTest.mouseRelease(viewport, Qt.MouseButton.RightButton, pos=centre * 0.5)
    QApplication.processEvents()
    assert shown.canvas.point(0.0, 0.0) == before
