"""A heading that is a menu: which metric a plot shows. It appears where there is more than one."""

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from raydash.core.records import AGENT_RETURN_MEAN
from raydash.core.spec import IS_SUCCESS

EPISODE_RETURN = ""
"""The metric that every run has; the others are named scalars of its history."""


def metric_words(metric: str) -> str:
    """A metric's name as people see it."""
    if metric == EPISODE_RETURN:
        return "Episode return"
    prefix, slash, agent = metric.partition("/")
    return f"{agent} return" if slash and prefix == AGENT_RETURN_MEAN else metric


def metrics_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """All metrics that can be shown: return, success, those of agents, then other keys of info."""
    agents = [name for name in names if name.startswith(f"{AGENT_RETURN_MEAN}/")]
    others = [name for name in names if name not in agents and name != IS_SUCCESS]
    success = [IS_SUCCESS] if IS_SUCCESS in names else []
    return (EPISODE_RETURN, *success, *agents, *others)


class MetricChoice(QToolButton):
    """A button that names the metric that is shown and offers the others.

    Signals:
        chosen: The user chose another metric.
    """

    chosen = Signal(str)

    def __init__(self, object_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(object_name)
        self.setToolTip("Which metric the plot shows")
        # As high as a title; the height in a style sheet does not include the borders.
        self.setStyleSheet(
            "QToolButton { font-weight: 600; padding: 0 18px 0 6px;"
            " min-height: 18px; max-height: 18px; }"
        )
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._offered: tuple[str, ...] = ()
        self._shown = EPISODE_RETURN
        menu = QMenu(self)
        menu.aboutToShow.connect(partial(self._fill, menu))
        self.setMenu(menu)
        self.hide()

    def show_metric(self, metric: str, names: tuple[str, ...]) -> None:
        """Name the metric that is shown, and offer the others."""
        self._shown, self._offered = metric, metrics_of(names)
        self.setText(metric_words(metric))
        self.setAccessibleName(f"Metric of the plot: {metric_words(metric)}")

    @property
    def has_choice(self) -> bool:
        """Whether there is another metric than the one that every run has."""
        return len(self._offered) > 1

    def _fill(self, menu: QMenu) -> None:
        menu.clear()
        for metric in self._offered:
            action = menu.addAction(metric_words(metric))
            action.setCheckable(True)
            action.setChecked(metric == self._shown)
            action.triggered.connect(partial(self._on_chosen, metric))

    def _on_chosen(self, metric: str, _checked: bool = False) -> None:
        self.chosen.emit(metric)
