"""A menu for the best policy that a run has learnt so far: run it greedily, or copy its path."""

from dataclasses import replace

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec, StopSpec
from raydash.link.store import RunStore, Store

EPISODES = 100


def best_policy_of(run: RunStore | None) -> str:
    """The path of a run's best policy; empty if it has none (yet)."""
    latest = run.latest if run is not None else None
    return latest.learning.best_policy if latest is not None and latest.learning else ""


def spec_of_best_policy(spec: RunSpec, path: str) -> RunSpec:
    """The spec of a run that plays a learnt policy as it was saved, and ends by itself.

    Args:
        spec: Spec of the run that learnt the policy.
        path: Path of the policy's file.
    """
    # Another seed, for on the episodes by which it was chosen the policy would look too good.
    rollout = replace(spec.rollout, seed=spec.rollout.seed + 1)
    return replace(
        spec,
        name=f"{spec.name or spec.env.id} best",
        policy=PolicySpec(spec.policy.kind, path),
        learner=LearnerSpec(),
        rollout=rollout,
        stop=StopSpec(episodes=EPISODES),
    )


class BestPolicyButton(QToolButton):
    """A small menu that appears once the shown run has saved a policy.

    Signals:
        run_requested(RunSpec): Put this spec into the form.
        said(str): One line about what was done.
    """

    run_requested = Signal(object)
    said = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.setObjectName("best_policy")
        self.setText("Best policy")
        self.setToolTip("What this run has learnt: run it greedily, or copy its path")
        self.setFixedHeight(20)
        self.setStyleSheet("padding: 0 18px 0 6px; min-height: 0;")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        run = menu.addAction("Run the best policy…")
        run.setObjectName("best_policy_run")
        run.setToolTip(f"Fill the form with it: {EPISODES} episodes, nothing learns")
        run.triggered.connect(self._on_run)
        copy = menu.addAction("Copy its path")
        copy.setObjectName("best_policy_copy")
        copy.triggered.connect(self._on_copy)
        self.setMenu(menu)
        store.run_updated.connect(self._refresh)
        store.shown_run_changed.connect(self._refresh)
        self._refresh()

    def _refresh(self, run_id: str = "") -> None:
        if run_id in ("", self._store.shown_run_id):
            self.setVisible(bool(best_policy_of(self._store.shown)))

    def _on_run(self) -> None:
        run = self._store.shown
        path = best_policy_of(run)
        if run is not None and run.spec is not None and path:
            self.run_requested.emit(spec_of_best_policy(run.spec, path))

    def _on_copy(self) -> None:
        path = best_policy_of(self._store.shown)
        if path:
            QGuiApplication.clipboard().setText(path)
            self.said.emit(f"copied: {path}")
