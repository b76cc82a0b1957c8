"""The part of the form for workers, which can also scale a live run."""

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QSpinBox
from typing_extensions import override

from raydash.core.machine.permissions import why_run_cannot
from raydash.core.messages import Verb
from raydash.core.spec import MAX_ENVS_PER_WORKER, MAX_WORKERS, MODES, VECTORIZATIONS, RunSpec
from raydash.core.words import numbers
from raydash.link.pending_commands import VERB_TEXTS
from raydash.link.session import Session
from raydash.ui.form.part import FormPart
from raydash.ui.form.values import number_in

_ONE_PER_CORE = "one per core"
_EXECUTIONS = {
    "actors": "Each worker chooses and steps by itself. The fastest.",
    "lockstep": "A central policy steps environment actors, one call at a time each.",
    "tasks": "Each step is a stateless task: the state goes in and comes out.",
}
"""What each mode does, in one line."""
_AUTOMATIC = "automatic"
_VECTORIZATION = "rollout.vectorization"


class RolloutPart(FormPart):
    """Fields for how the environments are stepped."""

    def __init__(self, session: Session) -> None:
        super().__init__("Rollout", "rollout", is_open=True)
        self._session = session
        self._store = session.store
        self._workers = QSpinBox(minimum=0, maximum=MAX_WORKERS)
        self._workers.setSpecialValueText(_ONE_PER_CORE)
        self._workers.setAccelerated(True)
        self._workers.lineEdit().setTextMargins(5, 0, 0, 0)
        self._apply = QPushButton("Apply")
        self._apply.setObjectName("form_apply_workers")
        self._seed = QLineEdit(placeholderText="0")
        self.add_row(
            *("Workers", self._workers, "rollout.num_workers", "form_num_workers"),
            beside=self._apply,
        )
        self._mode = QComboBox()
        for mode in MODES:
            self._mode.addItem(mode, mode)
            self._mode.setItemData(
                self._mode.count() - 1, _EXECUTIONS[mode], Qt.ItemDataRole.ToolTipRole
            )
        self._mode_words = QLabel(wordWrap=True)
        self._mode_words.setObjectName("form_mode_words")
        self._mode_words.setProperty("role", "small")
        self.add_row("Execution", self._mode, "rollout.mode", "form_mode")
        self.rows.addWidget(self._mode_words, self.rows.rowCount(), 0, 1, 2)
        self._mode.currentTextChanged.connect(self._show_mode_help)
        self._show_mode_help(self._mode.currentText())
        self._envs = QSpinBox(minimum=1, maximum=MAX_ENVS_PER_WORKER)
        self._envs.setAccelerated(True)
        self._envs.lineEdit().setTextMargins(5, 0, 0, 0)
        self.add_row(
            *("Envs each", self._envs, "rollout.num_envs_per_worker", "form_envs_per_worker")
        )
        self._envs.setAccessibleName("Environments per worker")
        self._vectorization = QComboBox()
        self._vectorization.addItem(_AUTOMATIC, None)
        for name in VECTORIZATIONS:
            self._vectorization.addItem(name, name)
        self.add_row(*("Vectorization", self._vectorization, _VECTORIZATION, "form_vectorization"))
        self._vectorization.setAccessibleName("Vectorization")
        self._envs.valueChanged.connect(self._show_rows)
        self._vectorization.currentIndexChanged.connect(self._show_rows)
        self._show_rows()
        self.add_row("Seed", self._seed, "rollout.seed", "form_seed")
        self._apply.hide()

        line_edit = self._workers.lineEdit()
        assert line_edit is not None
        line_edit.returnPressed.connect(self._scale)
        self._apply.clicked.connect(self._scale)
        self.changed.connect(self._refresh_apply)
        self._store.run_state_changed.connect(self._refresh_apply)
        self._store.shown_run_changed.connect(self._refresh_apply)
        session.pending_changed.connect(self._refresh_apply)

    @override
    def values(self) -> Mapping[str, object]:
        return {
            "rollout.mode": self._mode.currentData(),
            "rollout.num_workers": self._workers.value() or None,
            "rollout.num_envs_per_worker": self._envs.value(),
            _VECTORIZATION: self._vectorization.currentData(),
            "rollout.seed": number_in("rollout.seed", self._seed.text()) or 0,
        }

    @override
    def show_spec(self, spec: RunSpec) -> None:
        self._envs.setValue(spec.rollout.num_envs_per_worker)
        chosen = self._vectorization.findData(spec.rollout.vectorization)
        self._vectorization.setCurrentIndex(max(0, chosen))
        self._show_rows()
        self._mode.setCurrentIndex(max(0, self._mode.findData(spec.rollout.mode)))
        self._workers.setValue(spec.rollout.num_workers or 0)
        self._seed.setText(str(spec.rollout.seed) if spec.rollout.seed else "")
        self._refresh_apply()

    @override
    def summary(self) -> str:
        """The numbers of workers and environments, and a mode or seed that is not the default."""
        number = self._workers.value()
        workers = numbers.plural(number, "worker") if number else _ONE_PER_CORE
        mode, seed, envs = self._mode.currentData(), self._seed.text().strip(), self._envs.value()
        chosen = [
            workers,
            f"{envs} envs each" * (envs > 1),
            mode * (mode != MODES[0]),
            f"seed {seed}" * bool(seed),
        ]
        return " · ".join(part for part in chosen if part)

    def _show_rows(self) -> None:
        """Show the vectorization only where a worker has several environments."""
        is_chosen = self._vectorization.currentData() is not None
        self.set_row_visible(_VECTORIZATION, visible=is_chosen or self._envs.value() > 1)

    def _show_mode_help(self, mode: str) -> None:
        self._mode_words.setText(_EXECUTIONS[mode])

    # --- changing the number of workers of a live run -----------------------------------------

    def _why_cannot_scale(self) -> str:
        run = self._store.shown
        latest = run.latest if run else None
        if not self._session.is_connected or run is None or latest is None or run.is_recording:
            return "there is no run"
        return why_run_cannot(Verb.SCALE, latest.state, paused=latest.paused)

    def _refresh_apply(self, _run_id: str = "") -> None:
        run = self._store.shown
        latest = run.latest if run else None
        wanted = self._workers.value()
        differs = latest is not None and wanted not in (0, latest.num_workers)
        self._apply.setVisible(differs and not self._why_cannot_scale())
        pending = self._session.pending_verb(Verb.SCALE)
        self._apply.setEnabled(not pending)
        self._apply.setText(VERB_TEXTS[Verb.SCALE] if pending else "Apply")
        if latest is not None:
            self._apply.setToolTip(
                f"Change the run from {latest.num_workers} to {wanted} workers now"
            )

    def _scale(self) -> None:
        if self._apply.isVisibleTo(self) and self._apply.isEnabled():
            self._session.command(Verb.SCALE, num_workers=self._workers.value())
