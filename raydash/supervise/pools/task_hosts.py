"""Workers of the mode `tasks`: entries of the stepping loop that have no process."""

from collections.abc import Iterable

from typing_extensions import override

from raydash.core.machine.stimuli import DeathCause, WorkerClosed, WorkerDied
from raydash.core.records import WorkerReady
from raydash.supervise.pools.pool import WorkerReport
from raydash.supervise.pools.ray_pool import died_from
from raydash.supervise.pools.stepping_pool import EnvHosts
from raydash.worker.envs.seeds import env_seeds


class TaskHosts(EnvHosts):
    """Hosts environments that are no actors but only a state, which tasks step on any node.

    `seed` is the run's. `node_id` (hex) is the stepping loop's node, where its progress files are.
    """

    def __init__(self, *, seed: int, node_id: str) -> None:
        self._seed = seed
        self._node_id = node_id
        self._reports: list[WorkerReport] = []

    @override
    def create(self, worker_index: int, incarnation: int) -> None:
        """Report `WorkerReady` at once, without a process id and without a node's name."""
        seeds = env_seeds(self._seed, worker_index=worker_index, incarnation=incarnation)
        self._reports.append(
            WorkerReady(
                worker_index,
                incarnation,
                pid=0,
                node="",
                node_id=self._node_id,
                seed=seeds.reset,
            )
        )

    @override
    def handle_of(self, worker_index: int, incarnation: int) -> None:
        """Return None, because tasks need no handle."""

    @override
    def note_alive(self, worker_index: int, incarnation: int) -> None:
        """Do nothing, because no process has to be watched."""

    @override
    def report_lost(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """Report `WorkerDied`, because a task was lost and the state with it."""
        self._reports.append(died_from(error, worker_index, incarnation))

    @override
    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Report `WorkerClosed` at once, because a state is data and needs no closing."""
        self._reports.append(WorkerClosed(worker_index, incarnation))

    @override
    def kill(self, worker_index: int, incarnation: int) -> None:
        died = WorkerDied(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
        self._reports.append(died)

    @override
    def collect(self) -> list[WorkerReport]:
        reports, self._reports = self._reports, []
        return reports

    @override
    def waiting(self, silent: Iterable[int]) -> dict[int, str | None]:
        """Return the silent workers: their tasks may wait for a place, and they have no actor."""
        return dict.fromkeys(silent)

    @override
    def shut_down(self) -> None:
        self._reports.clear()
