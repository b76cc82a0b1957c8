"""What was asked of a run so far. It outlives the supervisor: whoever comes next goes on by it."""

from dataclasses import dataclass

from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.states import EndedBy


@dataclass(frozen=True, slots=True)
class RequestedState:
    """What holds of a run besides its spec; the defaults are those of a new one.

    Attributes:
        num_workers: How many it is meant to have; 0: nobody has said yet.
        keep: Somebody chose to keep it when the last engine leaves.
        paused: The whole run.
        paused_workers: Indices of those that were paused on their own.
        stopped_workers: Of those that are to be gone: stopped, drained or killed on their own, or
            too many since the run was scaled.
        failed_workers: Of those that were given up.
        last_worker: The greatest index so far; 0: `num_workers`.
        ended_by: Why the run is stopping (or draining: the episodes that were to be finished are
            gone with their workers); None: it goes on.
        version: What chooses the actions since the last swap.
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
