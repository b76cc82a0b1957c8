"""The compare page: list, overlay plot, figures, differences.

It reads `session.store.runs`, which others fill by attaching runs or opening recordings. Live runs
go on changing; curves and tables follow once a second.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from raydash.core.analysis.compare import Centre, XAxis
from raydash.core.analysis.learning_curve import LearningMetric
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.compare import labels
from raydash.ui.compare.curves import CompareChoice, ComparedRun, groups_of, labels_of
from raydash.ui.compare.plot import REDRAW_S, ComparePlot
from raydash.ui.compare.run_list import CompareRunList
from raydash.ui.compare.tables_card import TablesCard
from raydash.ui.dialogs.saving import ask_where, say_not_saved
from raydash.ui.kit.card import Card
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.runs.numbers import RunNumbers

MAX_RUNS = 20


class ComparePage(QWidget):
    """Compares up to `MAX_RUNS` runs.

    Signals:
        run_again_requested(RunSpec): Put this run's spec into the form, to be started, changed or
            not.
        report_requested(run_ids): Write a report about these runs (a tuple of ids).
        runs_changed(run_ids): The user removed a run; these are left (a tuple of ids).
        closed: The user is done comparing.
    """

    run_again_requested = Signal(object)
    report_requested = Signal(object)
    runs_changed = Signal(object)
    closed = Signal()

    def __init__(
        self,
        session: Session,
        themes: ThemeManager,
        numbers: RunNumbers,
        parent: QWidget | None = None,
    ) -> None:
        """Create a page without runs.

        Args:
            session: The session whose runs are compared.
            themes: Gives the colours.
            numbers: The numbers of runs in the window's list, from which their colours follow.
            parent: The Qt parent.
        """
        super().__init__(parent)
        self.setObjectName("compare_page")
        self._store = session.store
        self._themes = themes
        self._run_numbers = numbers
        self._titles: Mapping[str, str] = {}
        self._run_ids: tuple[str, ...] = ()
        self._hidden: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._choice = CompareChoice()
        self._entries: tuple[ComparedRun, ...] = ()
        self._listed: object = None
        self._listed_s = float("-inf")
        self.plot = ComparePlot(self._store.clock)
        self.tables = TablesCard(self._store.clock, themes)
        self.list = CompareRunList()
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 10)
        column.setSpacing(8)
        column.addLayout(self._make_controls())
        column.addWidget(self._make_body(), 1)
        for box in (self.metric_box, self.axis_box, self.group_box, self.smooth_box):
            box.currentIndexChanged.connect(self._on_choice)
        self.list.shown_changed.connect(self._on_shown_changed)
        self.list.highlighted.connect(self._on_highlighted)
        self.list.removal_wanted.connect(self._on_remove)
        self._store.runs_changed.connect(self._rebuild)
        themes.changed.connect(self._on_theme)
        self._on_theme()
        self._rebuild()

    # --- the parts ---

    def _make_controls(self) -> QHBoxLayout:
        self.metric_box = self._combo("compare_metric", "Metric", labels.METRICS)
        self.axis_box = self._combo("compare_axis", "X axis", labels.AXES)
        self.group_box = self._combo("compare_group", "Group by seed", labels.GROUPINGS)
        self.group_box.setToolTip(
            "Runs that differ in nothing but seed and name become one line: their median, or the\n"
            "mean of their middle half (IQM), with a bootstrap 95 % interval"
        )
        self.smooth_box = self._combo("compare_smooth", "Smoothing", labels.SMOOTHINGS)
        self.smooth_box.setToolTip("Neighbouring points are joined, weighted by their episodes")
        self.smooth_box.setCurrentIndex(self.smooth_box.findData(self._choice.num_points))
        self.picture = self._button("compare_save_picture", "Save picture…", self._on_picture)
        self.report = self._button("compare_report", "Report…", self._on_report)
        self.report.setToolTip("One HTML file about these runs, that opens without a network")
        self.close_button = self._button("compare_close", "Close", self.closed.emit)
        self.close_button.setToolTip("Back to the run")
        row = QHBoxLayout()
        row.setSpacing(6)
        heading = QLabel("Compare")
        heading.setProperty("role", "title")
        row.addWidget(heading)
        row.addSpacing(6)
        row.addWidget(self.metric_box)
        over = QLabel("over")
        over.setProperty("role", "muted")
        row.addWidget(over)
        row.addWidget(self.axis_box)
        row.addSpacing(6)
        row.addWidget(self.group_box)
        row.addWidget(self.smooth_box)
        row.addStretch(1)
        for button in (self.picture, self.report, self.close_button):
            row.addWidget(button)
        return row

    def _make_body(self) -> QSplitter:
        self.runs_card = Card("Runs")
        self.run_again = self._button("compare_run_again", "Run again…", self._on_run_again)
        self.run_again.setToolTip("Fill the form with the selected run's spec, to change and start")
        self.remove = self._button("compare_remove", "Remove", self._on_remove)
        self.remove.setToolTip("Take the selected run out of the comparison (Delete)")
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        buttons.addWidget(self.run_again)
        buttons.addWidget(self.remove)
        buttons.addStretch(1)
        self.runs_card.body.setSpacing(6)
        self.runs_card.body.addWidget(self.list, 1)
        self.runs_card.body.addLayout(buttons)
        self.upper = QSplitter(Qt.Orientation.Horizontal)
        self.upper.setChildrenCollapsible(False)
        self.upper.addWidget(self.runs_card)
        self.upper.addWidget(self.plot)
        self.upper.setStretchFactor(1, 1)
        self.upper.setSizes([270, 900])
        self.upper.setHandleWidth(8)
        body = QSplitter(Qt.Orientation.Vertical)
        body.setChildrenCollapsible(False)
        body.setHandleWidth(8)
        body.addWidget(self.upper)
        body.addWidget(self.tables)
        body.setStretchFactor(0, 3)
        body.setStretchFactor(1, 2)
        body.setSizes([420, 280])
        return body

    def _combo(self, name: str, spoken: str, choices: Mapping[Any, str]) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName(name)
        combo.setAccessibleName(spoken)
        combo.setToolTip(spoken)
        for value, text in choices.items():
            combo.addItem(text, value)
        return combo

    def _button(self, name: str, text: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.clicked.connect(lambda: act())
        return button

    # --- what others use ---

    def set_runs(self, run_ids: Sequence[str], titles: Mapping[str, str] | None = None) -> None:
        """Compare these runs; those that were compared already keep their colours.

        A run that the store does not know yet appears as soon as it does.

        Args:
            run_ids: Ids of the runs, of which at most `MAX_RUNS` are taken.
            titles: Names of runs that are not to be called by their spec's name.
        """
        self._run_ids = tuple(dict.fromkeys(run_ids))[:MAX_RUNS]
        self._titles = titles or {}
        self._hidden &= set(self._run_ids)
        self._numbers = {run: n for run, n in self._numbers.items() if run in self._run_ids}
        # A run keeps its colour from the list of runs, unless another one has it here.
        listed = {run: self._run_numbers.known(run) for run in self._run_ids}
        for run_id in sorted(self._run_ids, key=lambda run: listed[run] is None):
            if run_id not in self._numbers:
                used = set(self._numbers.values())
                wanted = listed[run_id]
                if wanted is None or wanted in used or wanted >= MAX_RUNS:
                    wanted = next(n for n in range(MAX_RUNS) if n not in used)
                self._numbers[run_id] = wanted
        self._rebuild()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of the runs that are compared."""
        return self._run_ids

    def register_with(self, clock: DrawClock) -> None:
        """Let the clock draw list, plot and tables."""
        clock.register(self)
        clock.register(self.plot)
        clock.register(self.tables)

    def save_picture(self, path: Path) -> bool:
        """Write list and plot as they look now; the file name's ending gives the format."""
        return self.upper.grab().save(str(path))

    # --- the list, as a view of the draw clock ---

    def is_dirty(self) -> bool:
        """Whether the list would say something new, at most once every `REDRAW_S`."""
        is_due = self._store.clock() - self._listed_s >= REDRAW_S
        return is_due and self._list_state() != self._listed

    def draw(self) -> None:
        """Bring the list up to date; a run that has just been opened may have brought its name."""
        if any(
            entry.run.spec is not None and entry.label == entry.run.run_id
            for entry in self._entries
        ):
            self._rebuild()
        self._refresh_list()

    def _list_state(self) -> object:
        return tuple(entry.run.version for entry in self._entries)

    def _refresh_list(self) -> None:
        self._listed, self._listed_s = self._list_state(), self._store.clock()
        number_of = {entry.run.run_id: entry.number for entry in self._entries}
        for group in groups_of([entry for entry in self._entries if entry.shown], self._choice):
            for entry in group:
                number_of[entry.run.run_id] = group[0].number
        self.list.refresh(
            self._entries,
            [number_of[entry.run.run_id] for entry in self._entries],
            self._themes.theme,
        )
        self._enable_choices()
        self.runs_card.set_subtitle(numbers.count(len(self._entries)) if self._entries else "")
        has_spec = self._selected_spec_run() is not None
        self.run_again.setEnabled(has_spec)
        self.remove.setEnabled(bool(self.list.current_run_id()))
        for button in (self.picture, self.report):
            button.setEnabled(bool(self._entries))

    def _rebuild(self) -> None:
        """Pass the runs and what the user chose to the list, the plot and the tables."""
        known = [self._store.runs[each] for each in self._run_ids if each in self._store.runs]
        named = labels_of(known, self._title_of)
        self._entries = tuple(
            ComparedRun(run, label, self._numbers[run.run_id], run.run_id not in self._hidden)
            for run, label in zip(known, named, strict=True)
        )
        self.plot.set_entries(self._entries)
        self.plot.set_choice(self._choice)
        self.tables.set_entries(self._entries, self._choice)
        self._refresh_list()

    def _title_of(self, run: RunStore) -> str:
        named = (run.spec.name or run.spec.env.id) if run.spec is not None else ""
        return self._titles.get(run.run_id) or named or run.run_id

    def _selected_spec_run(self) -> RunStore | None:
        run = self._store.runs.get(self.list.current_run_id())
        return run if run is not None and run.spec is not None else None

    # --- what the user does ---

    def _enable_choices(self) -> None:
        """Enable the choices that make sense: those about generations need a run that learns."""
        learns = any(entry.run.learns for entry in self._entries)
        for metric in LearningMetric:
            _enable(self.metric_box, metric, enabled=learns)
        has_generations = isinstance(self._choice.metric, LearningMetric)
        _enable(self.axis_box, XAxis.GENERATION, enabled=has_generations)
        if self._choice.axis is XAxis.GENERATION and not has_generations:
            self.axis_box.setCurrentIndex(self.axis_box.findData(XAxis.TIME))

    def _on_choice(self) -> None:
        centre = self.group_box.currentData()  # Qt stores an enumeration as plain text
        self._choice = CompareChoice(
            metric=labels.metric_of(self.metric_box.currentData()),
            axis=XAxis(self.axis_box.currentData()),
            centre=Centre(centre) if centre is not None else None,
            num_points=self.smooth_box.currentData(),
        )
        self._rebuild()

    def _on_shown_changed(self, run_id: str, shown: bool) -> None:
        (self._hidden.discard if shown else self._hidden.add)(run_id)
        self._rebuild()

    def _on_highlighted(self, run_id: str) -> None:
        self.plot.set_highlighted(run_id)
        self._refresh_list()

    def _on_remove(self) -> None:
        gone = self.list.current_run_id()
        if gone:
            self.set_runs([each for each in self._run_ids if each != gone], self._titles)
            self._on_highlighted(self.list.current_run_id())
            self.runs_changed.emit(self._run_ids)

    def _on_run_again(self) -> None:
        run = self._selected_spec_run()
        if run is not None:
            self.run_again_requested.emit(run.spec)

    def _on_report(self) -> None:
        self.report_requested.emit(tuple(entry.run.run_id for entry in self._entries))

    def _on_picture(self) -> None:
        ask_where(self, "Save the comparison", "comparison.png", "Picture", self._on_picture_chosen)

    def _on_picture_chosen(self, path: str) -> None:
        if not self.save_picture(Path(path)):
            say_not_saved(self, path, "no picture can be written there")

    def _on_theme(self) -> None:
        theme = self._themes.theme
        self.plot.set_theme(theme)
        for button, name in (
            (self.picture, IconName.SAVE),
            (self.run_again, IconName.RESTART),
            (self.remove, IconName.CLOSE),
            (self.tables.copy, IconName.COPY),
        ):
            button.setIcon(icon(name, theme))
        self._refresh_list()


def _enable(combo: QComboBox, value: object, *, enabled: bool) -> None:
    model = combo.model()
    assert isinstance(model, QStandardItemModel)
    model.item(combo.findData(value)).setEnabled(enabled)
