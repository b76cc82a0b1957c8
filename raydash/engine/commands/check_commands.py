"""The engine's commands about checks of environments, each in a throwaway process. No cluster.

Only the engine's main thread touches the state here. Each check waits for its process on a thread
of its own.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from raydash.core.env_check import EnvCheck
from raydash.core.faults import Fault
from raydash.core.messages import Answer, CancelCheck, CheckEnv, EnvChecked, EnvCheckPhase
from raydash.engine.loop import MainLoop
from raydash.trial.trial import check_environment

CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class _RunningCheck:
    cancelled: threading.Event
    thread: threading.Thread


class CheckCommands:
    """Serves one window's commands about checks."""

    def __init__(self, loop: MainLoop, send: Callable[[object], None]) -> None:
        """Prepare without any check; `send` sends the window a message, from any thread."""
        self._loop = loop
        self._send = send
        self._running: dict[int, _RunningCheck] = {}

    def check(self, message: CheckEnv) -> None:
        """Start a check in the background."""
        number, cancelled = message.command_id, threading.Event()
        thread = self._loop.run_in_background(
            lambda: check_environment(
                message.env,
                message.source_dirs,
                rollout=message.rollout,
                time_limit_s=message.time_limit_s,
                cancelled=cancelled.is_set,
                tell=lambda phase: self._send(EnvCheckPhase(number, phase)),
            ),
            lambda found, fault: self._on_done(number, found, fault),
        )
        self._running[number] = _RunningCheck(cancelled, thread)

    def cancel(self, message: CancelCheck) -> None:
        """Cancel a check if it still runs; its own answer is sent when its process is gone."""
        check = self._running.get(message.check_id)
        if check is not None:
            check.cancelled.set()
        self._send(Answer(message.command_id))

    def close(self) -> None:
        """Cancel all checks and wait for their processes, so that none outlives the engine."""
        checks = list(self._running.values())
        for check in checks:
            check.cancelled.set()
        for check in checks:
            check.thread.join(CLOSE_TIMEOUT_S)

    def _on_done(self, number: int, found: EnvCheck | None, fault: Fault | None) -> None:
        del self._running[number]
        if found is not None:
            self._send(EnvChecked(number, found))
        self._send(Answer(number, fault))
