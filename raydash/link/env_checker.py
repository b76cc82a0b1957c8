"""The window's side of checks of environments: one at a time, which can be cancelled.

QtCore only.
"""

from PySide6.QtCore import QObject, Signal

from raydash.core.env_check import CheckPhase, EnvCheck
from raydash.core.messages import Answer, CancelCheck, CheckEnv, EnvChecked, EnvCheckPhase
from raydash.core.spec import RunSpec
from raydash.link.pending_commands import Ask


class EnvChecker(QObject):
    """Asks the engine for checks, for one window. Needs no cluster.

    Attributes:
        phase: What the running check does now; None until it has reported that.

    Signals:
        phase_changed: `phase` has a new value.
        found(EnvCheck): The check is over; this is its result.
        failed(Fault): The check has no result: the environment can't be made, hangs or crashes.
    """

    phase_changed = Signal()
    found = Signal(object)
    failed = Signal(object)

    def __init__(self, ask: Ask, parent: QObject) -> None:
        """Prepare for a session, without any check."""
        super().__init__(parent)
        self.phase: CheckPhase | None = None
        self._ask = ask
        self._check_id: int | None = None
        self._result: EnvCheck | None = None

    def check(self, spec: RunSpec, source_dirs: tuple[str, ...]) -> None:
        """Start a check of a spec's environment; a check that still runs is cancelled.

        The user's modules are imported from `source_dirs`.
        """
        self.cancel()
        self._set_phase(None)
        # The id is set before sending, because an engine that is not there answers at once.
        self._check_id = self._result = None

        def make(check_id: int) -> CheckEnv:
            self._check_id = check_id
            return CheckEnv(check_id, spec.env, spec.rollout, source_dirs)

        self._ask(make, self._on_answer, quiet=True)

    def cancel(self) -> None:
        """Cancel the running check, if any; no signal is emitted for it any more."""
        check_id, self._check_id = self._check_id, None
        if check_id is not None:
            self._ask(lambda command_id: CancelCheck(command_id, check_id), quiet=True)

    def receive(self, message: EnvCheckPhase | EnvChecked) -> None:
        """Receive a phase or the result of a check."""
        match message:
            case EnvCheckPhase(command_id, phase) if command_id == self._check_id:
                self._set_phase(phase)
            case EnvChecked(command_id, found) if command_id == self._check_id:
                self._result = found
            case _:
                pass  # a message about a check that was cancelled

    def _set_phase(self, phase: CheckPhase | None) -> None:
        self.phase = phase
        self.phase_changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if answer.command_id != self._check_id:
            return
        self._check_id = None
        if answer.fault is not None:
            self.failed.emit(answer.fault)
        elif self._result is not None:
            self.found.emit(self._result)
