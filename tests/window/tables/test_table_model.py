"""The worker table: what it shows, in which order, and that it is cheap."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPersistentModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester

from raydash.core.states import Activity
from raydash.core.updates import RunUpdate
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.columns import COLUMN_OF, COLUMNS
from raydash.ui.tables.table_model import WorkerTableModel
from tests.fakes.updates.updates import make_update

ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


@pytest.fixture
def model(themes: ThemeManager) -> WorkerTableModel:
    made = WorkerTableModel(themes)
    made.tester = QAbstractItemModelTester(  # type: ignore[attr-defined]
        made, QAbstractItemModelTester.FailureReportingMode.Fatal
    )
    return made


def update_of(num_workers: int, **activities: Activity) -> RunUpdate:
    made = make_update(num_workers, troubles=False)
    for name, activity in activities.items():
        made.workers.activity[int(name[1:]) - 1] = activity
    return made


def workers(model: WorkerTableModel) -> list[int]:
    return [model.worker_at(row) for row in range(model.rowCount())]


def cell(model: WorkerTableModel, row: int, key: str) -> str:
    return str(model.index(row, COLUMN_OF[key]).data())


def test_there_are_no_rows_before_the_first_update(model: WorkerTableModel) -> None:
    assert model.rowCount() == 0
    assert model.columnCount() == len(COLUMNS)


def test_each_worker_is_a_row_and_every_cell_has_a_text(model: WorkerTableModel) -> None:
    model.set_update(update_of(5), sort=True)
    assert workers(model) == [1, 2, 3, 4, 5]
    for row in range(5):
        for column in range(len(COLUMNS)):
            text = model.index(row, column).data()
            assert isinstance(text, str)
            assert text
            assert "nan" not in text


def test_unknown_figures_are_a_dash_and_never_nan(model: WorkerTableModel) -> None:
    made = make_update(2, troubles=False, episodes=False)
    unknown = replace(
        made.workers,
        return_mean=np.full(2, np.nan),
        last_return=np.full(2, np.nan),
        return_n=np.zeros(2, np.int32),
        num_episodes=np.zeros(2, np.int64),
        step_time_p95_s=np.full(2, np.nan, np.float32),
        cpu_percent=np.full(2, np.nan, np.float32),
        rss_bytes=np.full(2, np.nan),
        data_age_s=np.full(2, np.nan, np.float32),
        pid=np.zeros(2, np.int32),
        node=np.full(2, -1, np.int32),
    )
    model.set_update(replace(made, workers=unknown), sort=True)
    for key in ("return_mean", "last_return", "terminated", "cpu", "memory", "data_age", "pid"):
        assert cell(model, 0, key) == "–"


def test_workers_in_trouble_come_first_with_their_age(model: WorkerTableModel) -> None:
    model.set_update(update_of(6, w4=Activity.STALLED, w2=Activity.PAUSED), sort=True)
    assert workers(model) == [4, 2, 1, 3, 5, 6]
    assert cell(model, 0, "activity") == "stalled 12\u00a0s"


def test_ages_grow_while_nothing_comes(model: WorkerTableModel) -> None:
    made = update_of(1, w1=Activity.UNREACHABLE)
    model.set_update(made, since_s=30.0, sort=True)
    assert cell(model, 0, "activity") == "unreachable 42\u00a0s"
    assert cell(model, 0, "data_age") == "30\u00a0s"


def test_resetting_and_stepping_do_not_change_places(model: WorkerTableModel) -> None:
    model.set_update(update_of(3, w2=Activity.RESETTING), sort=True)
    assert workers(model) == [1, 2, 3]


@pytest.mark.parametrize("key", [column.key for column in COLUMNS])
def test_every_column_sorts_both_ways(model: WorkerTableModel, key: str) -> None:
    model.set_update(make_update(9), sort=True)
    model.sort(COLUMN_OF[key], ASCENDING)
    upwards = workers(model)
    model.sort(COLUMN_OF[key], DESCENDING)
    rows = model.rows
    assert rows is not None
    values = COLUMNS[COLUMN_OF[key]].sort_by(rows).astype(float)
    assert values[[worker - 1 for worker in upwards]].tolist() == sorted(values)
    assert values[[worker - 1 for worker in workers(model)]].tolist() == sorted(
        values, reverse=True
    )


def test_workers_without_a_figure_sort_last_both_ways(model: WorkerTableModel) -> None:
    made = make_update(3, troubles=False)
    made.workers.return_mean[:] = (np.nan, 2.0, 1.0)
    model.set_update(made, sort=True)
    model.sort(COLUMN_OF["return_mean"], ASCENDING)
    assert workers(model) == [3, 2, 1]
    model.sort(COLUMN_OF["return_mean"], DESCENDING)
    assert workers(model) == [2, 3, 1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("stalled", [4]),
        ("STALLED", [4]),
        ("node:10.0.0.12", [4, 2, 6]),
        ("10.0.0.12 stepping", [6]),
        ("3", [3]),
        ("activity:paused", [2]),
        ("nothing", []),
        ("", [4, 2, 1, 3, 5, 6]),
    ],
)
def test_filter_shows_workers_that_match_every_word(
    model: WorkerTableModel, text: str, shown: list[int]
) -> None:
    model.set_update(update_of(6, w4=Activity.STALLED, w2=Activity.PAUSED), sort=True)
    model.set_filter(text)
    assert workers(model) == shown


def test_update_of_1000_workers_is_one_change_and_no_reset(
    model: WorkerTableModel,
) -> None:
    made = make_update(1000, troubles=False)
    model.set_update(made, sort=True)
    changes: list[tuple[int, int]] = []
    moves: list[object] = []
    model.dataChanged.connect(lambda first, last: changes.append((first.row(), last.row())))
    model.layoutChanged.connect(lambda: moves.append("layout"))
    model.modelReset.connect(lambda: moves.append("reset"))
    model.set_update(made, sort=False)
    assert changes == [(0, 999)]
    assert moves == []


def test_rows_that_move_take_their_selection_along(model: WorkerTableModel) -> None:
    model.set_update(update_of(4), sort=True)
    held = QPersistentModelIndex(model.index(model.row_of(3), 0))
    model.set_update(update_of(4, w3=Activity.FAILED), sort=True)
    assert workers(model) == [3, 1, 2, 4]
    assert held.row() == 0
    assert held.data() == "3"


def test_scaled_run_has_its_new_number_of_rows(model: WorkerTableModel) -> None:
    model.set_update(update_of(4), sort=True)
    model.set_update(update_of(7), sort=False)
    assert workers(model) == [1, 2, 3, 4, 5, 6, 7]
    model.set_update(update_of(2), sort=False)
    assert workers(model) == [1, 2]
    model.set_update(None, sort=True)
    assert model.rowCount() == 0


def test_reason_why_a_worker_waits_is_its_tool_tip(model: WorkerTableModel) -> None:
    made = replace(update_of(2, w1=Activity.STARTING), pending={1: "no node has a free CPU"})
    model.set_update(made, sort=True)
    tip = model.index(0, COLUMN_OF["activity"]).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "no node has a free CPU"


def test_activity_has_an_icon_and_the_colour_of_the_theme(
    model: WorkerTableModel, themes: ThemeManager
) -> None:
    model.set_update(update_of(1, w1=Activity.STALLED), sort=True)
    index = model.index(0, COLUMN_OF["activity"])
    assert index.data(Qt.ItemDataRole.ForegroundRole) == themes.theme.activity(Activity.STALLED)
    assert not index.data(Qt.ItemDataRole.DecorationRole).isNull()
