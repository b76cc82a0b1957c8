"""A menu of runs that are worth a first look."""

from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RunSpec, StopSpec


@dataclass(frozen=True, slots=True)
class Example:
    """A spec with a title and a description of what it shows."""

    title: str
    help: str
    spec: RunSpec


def _learns(name: str, env_id: str, target: float) -> RunSpec:
    return RunSpec(
        name=name,
        env=EnvSpec(env_id),
        policy=PolicySpec("linear"),
        learner=LearnerSpec("cmaes"),
        stop=StopSpec(target_return=target),
    )


EXAMPLES = (
    Example(
        "CartPole learns by CMA-ES",
        "A linear policy learns to balance the pole for 475 steps and more, in seconds",
        _learns("cartpole learns", "CartPole-v1", 475.0),
    ),
    Example(
        "Lunar lander learns by CMA-ES",
        "From crashes to soft landings: to a return of 200; needs Box2D",
        _learns("lunar lander learns", "LunarLander-v3", 200.0),
    ),
    Example(
        "Mountain car learns by CMA-ES",
        "Continuous actions: it learns to gain momentum first, to a return of 90",
        _learns("mountain car learns", "MountainCarContinuous-v0", 90.0),
    ),
    Example(
        "Acrobot learns by CMA-ES",
        "Two links, one motor: it learns to swing up in fewer than 100 steps",
        _learns("acrobot learns", "Acrobot-v1", -100.0),
    ),
    Example(
        "CartPole at random",
        "Nothing learns: how fast this machine steps",
        RunSpec(name="cartpole at random"),
    ),
)


class ExamplesButton(QToolButton):
    """A small menu of examples.

    Signals:
        chosen(RunSpec): Put this spec into the form.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("examples")
        self.setText("Examples")
        self.setToolTip("Fill the form with a run that is worth a first look")
        self.setFixedHeight(20)
        self.setStyleSheet("padding: 0 18px 0 6px; min-height: 0;")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for number, example in enumerate(EXAMPLES, start=1):
            action = menu.addAction(example.title)
            action.setObjectName(f"example_{number}")
            action.setToolTip(example.help)
            action.triggered.connect(partial(self._on_chosen, example))
        self.setMenu(menu)

    def _on_chosen(self, example: Example, _checked: bool = False) -> None:
        self.chosen.emit(example.spec)
