"""The compare page, on real stores."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QComboBox, QPushButton, QTableWidget, QTableWidgetItem, QWidget
from pytestqt.qtbot import QtBot

from raydash.core.analysis.compare import Centre, Metric, XAxis
from raydash.core.library import RunSource
from raydash.core.spec import EnvSpec, RunSpec
from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui.compare.curves import CompareChoice, ComparedRun, CurveCache
from raydash.ui.compare.labels import axis_ticks, axis_value, metric_value, wall_ticks
from raydash.ui.compare.page import MAX_RUNS, ComparePage
from raydash.ui.compare.plot import NO_RUNS, NOTHING_SHOWN
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.run_style import is_dashed, is_strong, line_colour
from raydash.ui.kit.theme import DARK, LIGHT, Theme, ThemeManager
from raydash.ui.runs.numbers import RunNumbers
from tests.fakes.updates.updates import make_update
from tests.window.conftest import ManualClock
from tests.window.kit.test_theme import _DEUTAN, _PROTAN, contrast, lab, linear

Recorded = Callable[..., str]
Widget = TypeVar("Widget", bound=QWidget)


@pytest.fixture
def recorded(session: Session) -> Recorded:
    """Puts the recording of a run into the session's store."""

    def record(
        number: int,
        *,
        seed: int | None = None,
        t_s: float = 300.0,
        state: RunState = RunState.FINISHED,
        started_utc: str = "2026-11-22T10:15:00+00:00",
        seq: int = 1,
        **spec: Any,
    ) -> str:
        seed = number if seed is None else seed
        made = make_update(4, t_s=t_s, seed=seed, state=state, seq=seq)
        run_id = f"20261122-10150{number}-cartpole-v1-{number:04x}"
        assert made.spec is not None
        assert made.info is not None
        info = replace(made.info, run_id=run_id, started_utc=started_utc)
        session.store.receive(
            replace(made, run_id=run_id, spec=replace(made.spec, **spec), info=info)
        )
        return run_id

    return record


@pytest.fixture
def page(session: Session, themes: ThemeManager, qtbot: QtBot) -> ComparePage:
    made = ComparePage(session, themes, RunNumbers())
    made.resize(1280, 760)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


@pytest.fixture
def draw(page: ComparePage, hands: ManualClock) -> Callable[[], None]:
    """Lets a second pass on the draw clock."""
    clock = DrawClock(clock=hands)
    page.register_with(clock)

    def tick() -> None:
        hands.now_s += 1.0
        page.plot.draw()
        clock.tick()

    return tick


def control(page: ComparePage, kind: type[Widget], name: str) -> Widget:
    found = page.findChild(kind, name)
    assert found is not None, name
    return found


def choose(page: ComparePage, name: str, text: str) -> None:
    box = control(page, QComboBox, name)
    box.setCurrentIndex(box.findText(text))
    assert box.currentText() == text


def item_at(table: QTableWidget, row: int, column: int) -> QTableWidgetItem:
    found = table.item(row, column)
    assert found is not None
    return found


def cells(page: ComparePage, row_name: str) -> list[str]:
    table = page.tables.figures
    row = next(r for r in range(table.rowCount()) if _row_name(page, r).strip() == row_name)
    return [item_at(table, row, column).text() for column in range(table.columnCount())]


def _row_name(page: ComparePage, row: int) -> str:
    return str(page.tables.figures.verticalHeaderItem(row).text())


def test_runs_lie_over_one_another_with_their_figures_side_by_side(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], session: Session
) -> None:
    runs = [recorded(0), recorded(1, t_s=200.0)]
    page.set_runs(runs)
    draw()
    assert [line.run_ids for line in page.plot.lines] == [(runs[0],), (runs[1],)]
    assert [round(line.x[-1]) for line in page.plot.lines] == [300, 200]
    assert page.plot.empty_text == ""
    figures = session.store.runs[runs[0]].latest.figures  # type: ignore[union-attr]
    assert cells(page, "env steps")[0].replace("\u202f", "") == str(
        figures.num_env_steps_sampled_lifetime
    )
    means = page.tables.figures
    assert item_at(means, 0, 0).font().bold()
    assert not item_at(means, 0, 1).font().bold()


def test_runs_of_one_name_are_told_apart_by_their_seeds(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0), recorded(1), recorded(2, name="other"), recorded(3, seed=1)])
    draw()
    assert [line.label for line in page.plot.lines] == [
        "cartpole-random · seed 0",
        "cartpole-random · 0001",
        "other",
        "cartpole-random · 0003",
    ]


def test_an_empty_page_says_where_runs_come_from(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    draw()
    assert page.plot.empty_text == NO_RUNS
    for name in ("compare_save_picture", "compare_report", "compare_run_again", "compare_remove"):
        assert not control(page, QPushButton, name).isEnabled(), name
    page.set_runs([recorded(0)])
    page.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    draw()
    assert page.plot.empty_text == NOTHING_SHOWN


def test_a_run_that_is_opened_later_appears_by_itself(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    late = "20261122-101505-cartpole-v1-0005"
    page.set_runs([recorded(0), late])
    draw()
    assert page.list.count() == 1
    assert recorded(5) == late
    draw()
    assert page.list.count() == 2
    assert page.plot.lines[1].run_ids == (late,)
    assert "seed 5" in page.list.item(1).text()


def test_unticked_runs_are_neither_drawn_nor_in_the_tables(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    runs = [recorded(0), recorded(1)]
    page.set_runs(runs)
    page.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    draw()
    assert [line.run_ids for line in page.plot.lines] == [(runs[1],)]
    assert len(cells(page, "env steps")) == 1
    page.list.item(0).setCheckState(Qt.CheckState.Checked)
    draw()
    assert len(page.plot.lines) == 2


def test_a_removed_run_leaves_the_others_their_colours(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], qtbot: QtBot
) -> None:
    runs = [recorded(0), recorded(1), recorded(2)]
    page.set_runs(runs)
    page.list.setCurrentRow(0)
    with qtbot.waitSignal(page.runs_changed, timeout=30_000) as told:
        control(page, QPushButton, "compare_remove").click()
    assert told.args == [(runs[1], runs[2])]
    draw()
    assert [line.number for line in page.plot.lines] == [1, 2]
    page.list.setCurrentRow(1)
    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    assert page.run_ids == (runs[1],)


def test_at_most_twenty_runs_are_taken_each_once(page: ComparePage) -> None:
    page.set_runs([f"run-{number % 30}" for number in range(40)])
    assert page.run_ids == tuple(f"run-{number}" for number in range(MAX_RUNS))


@pytest.mark.parametrize(
    ("metric", "axis"),
    [
        ("episode length", "env steps"),
        ("env steps/s", "episodes"),
        ("episodes/s", "wall clock"),
        ("terminated share", "time since start"),
    ],
)
def test_every_metric_is_drawn_over_every_axis(
    metric: str, axis: str, page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0), recorded(1, started_utc="2026-11-22T10:20:00+00:00")])
    choose(page, "compare_metric", metric)
    choose(page, "compare_axis", axis)
    draw()
    assert page.plot.lines
    for line in page.plot.lines:
        assert np.isfinite(line.y).all()
        assert np.all(np.diff(line.x) >= 0)
    if axis == "wall clock":
        shift = page.plot.lines[1].x[0] - page.plot.lines[0].x[0]
        assert shift == pytest.approx(300.0)
    assert page.plot.accessibleName() == "Curves"
    assert metric in page.plot.subtitle()


def test_a_run_whose_start_is_not_known_is_left_out_of_the_wall_clock(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    runs = [recorded(0, started_utc=""), recorded(1)]
    page.set_runs(runs)
    choose(page, "compare_axis", "wall clock")
    draw()
    assert [line.run_ids for line in page.plot.lines] == [(runs[1],)]


def test_seeds_become_one_line_with_a_band_and_say_how_many(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    moon = EnvSpec("CartPole-v1", {"gravity": 1.6})
    runs = [recorded(0), recorded(1), recorded(2), recorded(3, env=moon), recorded(4, env=moon)]
    page.set_runs([*runs, recorded(5, env=EnvSpec("Acrobot-v1"), name="alone")])
    choose(page, "compare_group", "seeds: median, 95 %")
    draw()
    labels = [line.label for line in page.plot.lines]
    assert labels == [
        "cartpole-random · gravity – · n = 3",
        "cartpole-random · gravity 1.6 · n = 2",
        "alone",
    ]
    first, _, alone = page.plot.lines
    assert first.run_ids == tuple(runs[:3])
    assert np.all(first.low <= first.y)
    assert np.all(first.y <= first.high)
    assert len(alone.n) == 0
    assert "[" in cells(page, "episode return, mean")[0]
    assert "[" not in cells(page, "episode return, mean")[2]
    choose(page, "compare_group", "seeds: IQM, 95 %")
    draw()
    assert "interquartile mean" in page.plot.subtitle()


def test_imported_runs_are_no_seeds_of_one_another(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], session: Session
) -> None:
    runs = [recorded(0), recorded(1)]
    for run_id in runs:
        run = session.store.runs[run_id]
        assert run.info is not None
        run.info = replace(run.info, source=RunSource.SB3_MONITOR)
    page.set_runs(runs)
    choose(page, "compare_group", "seeds: median, 95 %")
    draw()
    assert len(page.plot.lines) == 2


def test_smoothing_joins_points(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0)])
    counts = []
    for text in ("not smoothed", "lightly smoothed", "smoothed", "very smooth"):
        choose(page, "compare_smooth", text)
        draw()
        counts.append(len(page.plot.lines[0].x))
    assert counts == [300, 300, 75, 19]


def test_the_cursor_reads_all_runs_the_largest_first(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], qtbot: QtBot
) -> None:
    page.set_runs([recorded(0), recorded(1), recorded(2, t_s=60.0)])
    draw()
    chart = page.plot.canvas
    area = chart.area()
    chart.hover = QPointF(area.left() + 0.5 * area.width(), area.center().y())
    assert page.plot.is_dirty()
    draw()
    heading, *lines = page.plot.read_out.splitlines()
    assert heading == "2:29"  # the pixel is a bit before the middle, and clocks are rounded down
    assert len(lines) == 2  # the third was over by then
    values = [float(line.rpartition(": ")[2]) for line in lines]
    assert values == sorted(values, reverse=True)
    at = page.plot.lines[0]
    assert values[0] == pytest.approx(max(_at(page, n, 150.0) for n in (0, 1)), rel=1e-3)
    assert at.index_at(1e9) is None
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    draw()
    assert page.plot.read_out.splitlines()[0] != heading
    qtbot.keyClick(chart, Qt.Key.Key_Escape)
    draw()
    assert page.plot.read_out == ""


def _at(page: ComparePage, number: int, x: float) -> float:
    line = page.plot.lines[number]
    index = line.index_at(x)
    assert index is not None
    return float(line.y[index])


def test_a_zoom_stays_until_all_is_asked_for(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], qtbot: QtBot
) -> None:
    page.set_runs([recorded(0)])
    draw()
    chart = page.plot.canvas
    whole = chart.getViewBox().viewRange()
    qtbot.keyClick(chart, Qt.Key.Key_Plus)
    zoomed = chart.getViewBox().viewRange()
    assert zoomed[0][1] - zoomed[0][0] < whole[0][1] - whole[0][0]
    page.list.setCurrentRow(0)
    draw()
    assert chart.getViewBox().viewRange() == zoomed
    qtbot.mouseDClick(chart.viewport(), Qt.MouseButton.LeftButton, pos=chart.rect().center())
    assert chart.getViewBox().viewRange() == whole


def test_live_runs_are_drawn_again_once_a_second_and_recordings_never(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], hands: ManualClock
) -> None:
    page.set_runs([recorded(0, t_s=100.0, state=RunState.RUNNING), recorded(1)])
    draw()
    assert not page.plot.is_dirty()
    before = page.plot.lines
    recorded(0, t_s=120.0, state=RunState.RUNNING, seq=2)
    hands.now_s += 0.5
    assert not page.plot.is_dirty()
    hands.now_s += 0.5
    assert page.plot.is_dirty()
    draw()
    assert page.plot.lines[0].x[-1] > before[0].x[-1]
    assert page.plot.lines[1].y is before[1].y


def test_what_can_still_change_of_a_live_run_is_not_drawn(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0, t_s=100.0, state=RunState.RUNNING), recorded(1, t_s=100.0)])
    choose(page, "compare_metric", "env steps/s")
    draw()
    live, over = (line.x[-1] for line in page.plot.lines)
    assert live < over


def test_differences_name_the_keys_that_differ(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0), recorded(1, name="moon", env=EnvSpec("CartPole-v1", {"g": 1.6}))])
    draw()
    assert page.tables.tabs.tabText(1) == "Differences (3)"
    page.tables.tabs.setCurrentIndex(1)
    table = page.tables.differences
    names = [table.verticalHeaderItem(row).text() for row in range(table.rowCount())]
    assert names == ["name", "env.kwargs.g", "rollout.seed"]
    assert [item_at(table, 1, column).text() for column in (0, 1)] == ["–", "1.6"]
    assert item_at(table, 1, 1).font().bold()
    page.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    draw()
    assert page.tables.nothing.isVisible()


def test_a_table_is_copied_for_a_spreadsheet(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    page.set_runs([recorded(0, name="=cmd()\tx\ny"), recorded(1)])
    draw()
    control(page, QPushButton, "compare_copy_table").click()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0].split("\t") == ["", "'=cmd() x y", "cartpole-random"]
    assert {len(line.split("\t")) for line in lines} == {3}
    steps = next(line for line in lines if line.startswith("num_env_steps_sampled_lifetime"))
    assert steps.split("\t")[1].isdigit()


def test_run_again_hands_the_selected_spec_over(
    page: ComparePage, recorded: Recorded, qtbot: QtBot
) -> None:
    page.set_runs([recorded(0), recorded(1, name="mine")])
    page.list.setCurrentRow(1)
    with qtbot.waitSignal(page.run_again_requested, timeout=30_000) as asked:
        control(page, QPushButton, "compare_run_again").click()
    spec = asked.args[0]
    assert isinstance(spec, RunSpec)
    assert (spec.name, spec.rollout.seed) == ("mine", 1)


def test_report_and_close_are_handed_on(
    page: ComparePage, recorded: Recorded, qtbot: QtBot
) -> None:
    runs = (recorded(0), recorded(1))
    page.set_runs(runs)
    with qtbot.waitSignal(page.report_requested, timeout=30_000) as asked:
        control(page, QPushButton, "compare_report").click()
    assert asked.args == [runs]
    with qtbot.waitSignal(page.closed, timeout=30_000):
        control(page, QPushButton, "compare_close").click()


def test_a_picture_shows_list_and_plot(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None], tmp_path: Path
) -> None:
    page.set_runs([recorded(0), recorded(1)])
    draw()
    path = tmp_path / "picture.png"
    assert page.save_picture(path)
    picture = QImage(str(path))
    assert picture.width() > 1000
    blue = line_colour(0, page.plot.theme)
    colours = {
        picture.pixelColor(x, y).name()
        for x in range(picture.width())
        for y in range(0, picture.height(), 2)
    }
    assert blue in colours
    assert not page.save_picture(tmp_path / "gone" / "picture.png")


def test_the_selected_run_lies_above_the_others(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    runs = [recorded(number) for number in range(3)]
    page.set_runs(runs)
    page.list.setCurrentRow(1)
    draw()
    strong = page.plot.canvas._strong
    assert [item.zValue() for item in strong] == [10, 20, 10]


def test_long_names_are_shown_short_and_told_whole(
    page: ComparePage, recorded: Recorded, draw: Callable[[], None]
) -> None:
    name = "<b>x</b>" + "ä" * 290
    page.set_runs([recorded(0, name=name), recorded(1)])
    draw()
    assert page.tables.figures.columnWidth(0) <= 300
    header = page.tables.figures.horizontalHeaderItem(0)
    assert header is not None
    assert header.toolTip() == name
    chart = page.plot.canvas
    chart.hover = QPointF(chart.area().center())
    draw()
    read_out = page.plot.findChild(type(page.plot._read_out))
    assert read_out is not None
    assert read_out.width() < 420


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("eyes", [np.eye(3), _DEUTAN, _PROTAN])
def test_eight_runs_can_be_told_apart_by_the_colour_blind(theme: Theme, eyes: np.ndarray) -> None:
    seen = [lab(eyes @ linear(colour)) for colour in theme.runs]
    for number, one in enumerate(seen):
        for other in seen[:number]:
            assert np.linalg.norm(one - other) > 13
    assert min(contrast(colour, theme.card) for colour in theme.runs) >= 2.9


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_twenty_runs_have_twenty_kinds_of_lines(theme: Theme) -> None:
    looks = {(line_colour(n, theme), is_strong(n), is_dashed(n)) for n in range(MAX_RUNS)}
    assert len(looks) == MAX_RUNS


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 20.0, ["00:00:00", "00:00:05", "00:00:10", "00:00:15", "00:00:20"]),
        (30.0, 300.0, ["00:01", "00:02", "00:03", "00:04", "00:05"]),
        (0.0, 86400.0 * 4, ["01 Jan", "02 Jan", "03 Jan", "04 Jan", "05 Jan"]),
        (0.0, 86400.0 * 1.5, ["01 Jan 00:00", "01 Jan 12:00", "02 Jan 00:00", "02 Jan 12:00"]),
    ],
)
def test_wall_clock_ticks_are_at_whole_times(low: float, high: float, labels: list[str]) -> None:
    assert [label for _, label in wall_ticks(low, high, 5, UTC)] == labels


@pytest.mark.parametrize(
    ("axis", "value", "said"),
    [
        (XAxis.TIME, 150.0, "2:30"),
        (XAxis.ENV_STEPS, 1.0, "1\u00a0env step"),
        (XAxis.EPISODES, 1204.2, "1\u202f204\u00a0episodes"),
        (XAxis.WALL_CLOCK, 0.0, "1970-01-01 00:00:00"),
    ],
)
def test_places_on_an_axis_are_said_in_its_unit(axis: XAxis, value: float, said: str) -> None:
    assert axis_value(axis, value, UTC) == said
    assert axis_ticks(axis, 0.0, 100.0, 5, UTC)[0][0] == 0.0


def test_a_share_is_said_in_percent() -> None:
    assert metric_value(Metric.TERMINATED_SHARE, 0.9489) == "94.9\u00a0%"


def test_only_what_changed_is_computed_anew(session: Session, recorded: Recorded) -> None:
    entries = [ComparedRun(session.store.runs[recorded(n)], f"run {n}", n) for n in range(3)]
    book, choice = CurveCache(), CompareChoice(centre=Centre.MEDIAN)
    (first,) = book.lines(entries, choice)
    (again,) = book.lines(entries, choice)
    assert again.y is first.y
    recorded(2, t_s=310.0, seq=2)
    (changed,) = book.lines(entries, choice)
    assert changed.y is not first.y
