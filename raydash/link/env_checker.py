"""The window's side of a check of an environment: one at a time, and it can be cancelled.

QtCore only.
"""

from PySide6.QtCore import QObject, Signal

from raydash.core.env_check import CheckPhase, EnvCheck
from raydash.core.messages import Answer, CancelCheck, CheckEnv, EnvChecked, EnvCheckPhase
from raydash.core.spec import RunSpec
from raydash.link.library import Ask


class EnvChecker(QObject):
    """Asks the engine for checks, for one window. Needs no cluster.

    Attributes:
        phase: What the check that is under way does now; None: it has not said so yet.

    Signals:
        phase_changed: `phase` has a new value.
        found(EnvCheck): The check is over, and this is what it found.
        failed(Fault): It is over, and found nothing: the environment can't be made, hangs, crashes.
    """

    phase_changed = Signal()
    found = Signal(object)
    failed = Signal(object)

    def __init__(self, ask: Ask, parent: QObject) -> None:
        """Made by the session.

        Args:
            ask: Sends a command.
            parent: The session.
        """
        super().__init__(parent)
        self.phase: CheckPhase | None = None
        self._ask = ask
        self._number: int | None = None
        self._result: EnvCheck | None = None

    def check(self, spec: RunSpec, source_dirs: tuple[str, ...]) -> None:
        """Begin a check; one that is under way is cancelled.

        Args:
            spec: Whose environment, and how many of them a worker is to step together.
            source_dirs: Folders to import the user's modules from.
        """
        self.cancel()
        self._set_phase(None)
        # Known before it is sent: an engine that is not there answers at once.
        self._number = self._result = None

        def make(number: int) -> CheckEnv:
            self._number = number
            return CheckEnv(number, spec.env, spec.rollout, source_dirs)

        self._ask(make, self._on_answer, quiet=True)

    def cancel(self) -> None:
        """End the check that is under way, if any; nothing more is heard of it."""
        number, self._number = self._number, None
        if number is not None:
            self._ask(lambda command_id: CancelCheck(command_id, number), quiet=True)

    def receive(self, message: EnvCheckPhase | EnvChecked) -> None:
        """Take in what the engine says of a check."""
        match message:
            case EnvCheckPhase(command_id, phase) if command_id == self._number:
                self._set_phase(phase)
            case EnvChecked(command_id, found) if command_id == self._number:
                self._result = found
            case _:
                pass  # of a check that was cancelled

    def _set_phase(self, phase: CheckPhase | None) -> None:
        self.phase = phase
        self.phase_changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        if answer.command_id != self._number:
            return
        self._number = None
        if answer.fault is not None:
            self.failed.emit(answer.fault)
        elif self._result is not None:
            self.found.emit(self._result)
