"""The state that a run was asked to be in.

It is recorded, so that a supervisor that replaces another one goes on from it.
"""

from dataclasses import dataclass

from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.states import EndedBy


@dataclass(frozen=True, slots=True)
class RequestedState:
    """What commands have asked of a run since its spec; the defaults are those of a new run.

    Attributes:
        num_workers: How many workers it should have; 0: not decided yet.
        keep: Somebody chose to keep the run when the last engine leaves.
        paused: The whole run is asked to pause.
        paused_workers: Indices of workers that were paused on their own.
        stopped_workers: Indices of workers that should not run: they were stopped, drained or
            killed on their own, or the run was scaled down.
        failed_workers: Indices of workers that failed too often to be tried again.
        last_worker: The greatest worker index so far; 0: the same as `num_workers`.
        ended_by: Why the run is stopping or draining; None: it goes on. (A drain is not resumed:
            the episodes that were to be finished died with their workers.)
        version: The policy that chooses the actions since the last swap.
    """

    num_workers: int = 0
    keep: bool = False
    paused: bool = False
    paused_workers: tuple[int, ...] = ()
    stopped_workers: tuple[int, ...] = ()
    failed_workers: tuple[int, ...] = ()
    last_worker: int = 0
    ended_by: EndedBy | None = None
    version: PolicyVersion = PolicyVersion()  # noqa: RUF009  it is frozen
