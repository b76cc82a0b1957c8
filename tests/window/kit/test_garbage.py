"""Garbage is collected between events only: nothing is destroyed while Qt paints."""

import gc
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from raydash.ui.kit.garbage import GarbageCollector, collect_due
from raydash.ui.kit.theme import DARK
from raydash.ui.plots.views.return_plot import ReturnPlot
from tests.fakes.updates.named_updates import AGENTS, make_named_store


class Knot:
    """An object that refers to itself, so that only the cyclic collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector(qapp: QApplication) -> Iterator[GarbageCollector]:
    made = GarbageCollector()
    yield made
    made.stop()
    gc.disable()  # as in every test of the window


def test_python_does_not_collect_by_itself(collector: GarbageCollector) -> None:
    knot = weakref.ref(Knot())
    for _ in range(10 * gc.get_threshold()[0]):
        Knot()
    assert knot() is not None


def test_the_event_loop_collects_what_is_due(collector: GarbageCollector, qtbot: QtBot) -> None:
    knot = weakref.ref(Knot())
    kept: list[object] = []

    def is_gone() -> bool:
        # Each time again, because freeing what earlier tests left makes a collection less due.
        kept.append([[] for _ in range(gc.get_threshold()[0])])
        return knot() is None

    qtbot.waitUntil(is_gone, timeout=30_000)


def test_nothing_is_collected_before_it_is_due(collector: GarbageCollector) -> None:
    gc.collect()
    knot = weakref.ref(Knot())
    collect_due()
    assert knot() is not None


def test_older_generations_are_collected_more_rarely(collector: GarbageCollector) -> None:
    gc.collect()
    knot = Knot()
    gone = weakref.ref(knot)
    gc.collect(0)
    gc.collect(1)  # it is in the oldest generation now
    del knot
    rounds = 0
    kept: list[object] = []
    while gone() is not None:
        kept.append([[] for _ in range(2 * gc.get_threshold()[0])])
        collect_due()
        rounds += 1
        assert rounds < 1000
    assert rounds > gc.get_threshold()[1]


# --- what it is about -----------------------------------------------------------------------------


@pytest.fixture
def collects_while_painting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often Python's collector began while a curve was painted; it may at any allocation."""
    import pyqtgraph

    begun: list[int] = []
    paint = pyqtgraph.PlotCurveItem.paint

    def and_collect(self: object, *values: object) -> None:
        paint(self, *values)
        if gc.isenabled():
            begun.append(gc.collect())
        else:
            begun.append(-1)

    monkeypatch.setattr(pyqtgraph.PlotCurveItem, "paint", and_collect)
    return begun


def has_chart(plot: ReturnPlot) -> bool:
    return plot.has_chart


def test_a_plot_that_nobody_holds_any_more_is_painted_to_its_end(
    collector: GarbageCollector, qtbot: QtBot, collects_while_painting: list[int]
) -> None:
    """Metrics and overlays change, and visible plots lose their last reference while Qt paints."""
    store, run = make_named_store(agents=AGENTS)
    for number in range(12):
        plot = ReturnPlot()
        plot.resize(600, 300)
        plot.set_theme(DARK)
        plot.set_run(run)
        plot.show()
        qtbot.waitUntil(partial(has_chart, plot), timeout=30_000)
        for metric in ("", "is_success", "score"):
            plot.show_metric(metric)
            plot.set_selected_workers([1, 2] if number % 2 else [])
            plot.draw()
            plot.canvas.viewport().repaint()
        plot.canvas.viewport().update()
        del plot
        QApplication.processEvents()  # paints; a collection in between would crash
        gc.collect()
    assert set(collects_while_painting) == {-1}
    assert store.shown is run
