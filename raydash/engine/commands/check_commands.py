"""The engine's desk for checks of environments: each in a throwaway process. Needs no cluster.

Only the engine's main thread touches its state; a check waits for its process on a thread of its
own.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from raydash.core.env_check import EnvCheck
from raydash.core.faults import Fault
from raydash.core.messages import Answer, CancelCheck, CheckEnv, EnvChecked, EnvCheckPhase
from raydash.engine.loop import MainLoop
from raydash.trial.trial import check_environment

LEAVE_S = 2.0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    cancelled: threading.Event
    thread: threading.Thread


class CheckCommands:
    """Serves one window's commands about checks."""

    def __init__(self, loop: MainLoop, send: Callable[[object], None]) -> None:
        """A desk without checks.

        Args:
            loop: The engine's.
            send: Takes messages for the window, from any thread.
        """
        self._loop = loop
        self._send = send
        self._under_way: dict[int, _UnderWay] = {}

    def check(self, message: CheckEnv) -> None:
        """Begin a check."""
        number, cancelled = message.command_id, threading.Event()
        thread = self._loop.in_background(
            lambda: check_environment(
                message.env,
                message.source_dirs,
                rollout=message.rollout,
                time_limit_s=message.time_limit_s,
                cancelled=cancelled.is_set,
                tell=lambda phase: self._send(EnvCheckPhase(number, phase)),
            ),
            lambda found, fault: self._on_over(number, found, fault),
        )
        self._under_way[number] = _UnderWay(cancelled, thread)

    def cancel(self, message: CancelCheck) -> None:
        """End a check; its own answer comes when its process is gone."""
        check = self._under_way.get(message.check_id)
        if check is not None:
            check.cancelled.set()
        self._send(Answer(message.command_id))

    def leave(self) -> None:
        """End all checks: no process outlives the engine."""
        checks = list(self._under_way.values())
        for check in checks:
            check.cancelled.set()
        for check in checks:
            check.thread.join(LEAVE_S)

    def _on_over(self, number: int, found: EnvCheck | None, fault: Fault | None) -> None:
        del self._under_way[number]
        if found is not None:
            self._send(EnvChecked(number, found))
        self._send(Answer(number, fault))
