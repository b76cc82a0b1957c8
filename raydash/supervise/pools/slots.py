"""Workers of the mode `tasks`: places in the stepping loop, with no process behind them."""

from collections.abc import Iterable

from raydash.core.machine.stimuli import DeathCause
from raydash.core.records import WorkerReady
from raydash.supervise.pools.pool import Closed, Died, WorkerReport
from raydash.supervise.pools.ray_pool import died_from
from raydash.worker.envs.seeds import env_seeds


class Slots:
    """What a `RayPool` is to environment actors, for environments that are nowhere in particular.

    Args of the constructor:
        seed: The run's.
        node_id: The node of the stepping loop, hex: its progress files are there.
    """

    def __init__(self, *, seed: int, node_id: str) -> None:
        self._seed = seed
        self._node_id = node_id
        self._reports: list[WorkerReport] = []

    def create(self, worker_index: int, incarnation: int) -> None:
        """Reports `WorkerReady` at once: without a process id, and of no node."""
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

    def handle_of(self, worker_index: int, incarnation: int) -> None:
        """None: its tasks run anywhere."""

    def note_heard(self, worker_index: int, incarnation: int) -> None:
        """Nothing to note."""

    def ask_after(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """Reports `Died`: a task and its state were lost."""
        self._reports.append(died_from(error, worker_index, incarnation))

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Reports `Closed` at once: a state is data, and needs no closing."""
        self._reports.append(Closed(worker_index, incarnation))

    def kill(self, worker_index: int, incarnation: int) -> None:
        """Reports `Died`."""
        died = Died(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
        self._reports.append(died)

    def collect(self) -> list[WorkerReport]:
        """Everything since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def waiting(self, silent: Iterable[int]) -> dict[int, str | None]:
        """Who is silent may wait for a place for its task; there is no actor to ask after."""
        return dict.fromkeys(silent)

    def shut_down(self) -> None:
        """Forget everything."""
        self._reports.clear()
