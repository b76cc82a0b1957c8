"""Simulated workers: a stand-in for actors, for runs without Ray, the bench and tests.

They send the same reports as real workers, take as long as a request allows, and make up episodes
like CartPole's whose totals are exact. Having no process and no environment, 256 of them show what
the supervisor, the engine, the frames and the window cost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.machine.stimuli import DeathCause, PolicyVersion, WorkerClosed, WorkerDied
from raydash.core.records import Int64, PolicySet, RolloutChunk, Work, WorkerReady, WorkerTotals
from raydash.core.spec import SIMULATED
from raydash.core.states import Ending
from raydash.supervise.pools.pool import Report, WorkerPool

STEPS_PER_S = 3000.0
MIN_LENGTH, MAX_LENGTH = 9, 500


class _Worker:
    def __init__(self, index: int, incarnation: int, seed: int) -> None:
        self.index = index
        self.incarnation = incarnation
        self.rng = np.random.default_rng([seed, index, incarnation])
        self.due: list[tuple[float, float, bool]] = []
        self.free_s = 0.0
        self.steps = 0
        self.episodes = 0
        self.terminated = 0
        self.truncated = 0
        self.busy_s = 0.0
        self.length = int(_lengths(self.rng, 1)[0])
        self.partial_len = 0
        self.weights_seq_no = 0


class SimulatedPool(WorkerPool):
    """Simulates workers without processes. Their node is called `simulated`, so that users know."""

    def __init__(
        self, clock: Clock, *, seed: int = 0, start_s: float = 0.05, spread_s: float = 0.0
    ) -> None:
        self._clock = clock
        self._seed = seed
        self._start_s = start_s
        self._spread_s = spread_s
        self._workers: dict[tuple[int, int], _Worker] = {}
        self._starting: dict[tuple[int, int], float] = {}
        self._versions: dict[tuple[int, int], int] = {}
        self._reports: list[Report] = []

    @override
    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        self._versions[worker_index, incarnation] = version.weights_seq_no
        self._starting[worker_index, incarnation] = (
            self._clock() + self._start_s + (0.618 * worker_index % 1.0) * self._spread_s
        )

    @override
    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Change the number of the policy, which is all that a simulated episode has of it.

        A policy whose path does not exist is refused, as a real worker would.
        """
        key = worker_index, incarnation
        policy, number = version.policy, version.weights_seq_no
        worker = self._workers.get(key)
        if worker is None:
            return
        if policy is not None and policy.path and not Path(policy.path).exists():
            fault = Fault(f"The policy in {policy.path} can't be loaded", "there is no such file")
            self._reports.append(PolicySet(*key, number, fault))
            return
        worker.weights_seq_no = number
        self._reports.append(PolicySet(*key, number))

    @override
    def request(
        self,
        worker_index: int,
        incarnation: int,
        budget_s: float,
        *,
        drain: bool,
        work: Work | None = None,
        parameters: Any = None,
    ) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            begin = max(self._clock(), worker.free_s)
            worker.free_s = begin + budget_s
            worker.due.append((worker.free_s, budget_s, drain))

    @override
    def pending_refs(self) -> Sequence[Any]:
        return ()

    @override
    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None and wanted:
            now = self._clock()
            worker.due = [
                (min(due_s, now), budget_s, drain) for due_s, budget_s, drain in worker.due
            ]
            worker.free_s = min(worker.free_s, now)

    @override
    def close_worker(self, worker_index: int, incarnation: int) -> None:
        self._workers.pop((worker_index, incarnation), None)
        self._reports.append(WorkerClosed(worker_index, incarnation))

    @override
    def kill(self, worker_index: int, incarnation: int) -> None:
        self.crash(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")

    def crash(
        self,
        worker_index: int,
        incarnation: int,
        cause: DeathCause = DeathCause.CRASHED,
        text: str = "simulated crash",
    ) -> None:
        """Let a worker die, for tests."""
        self._workers.pop((worker_index, incarnation), None)
        self._starting.pop((worker_index, incarnation), None)
        self._reports.append(WorkerDied(worker_index, incarnation, cause, text))

    @override
    def collect(self) -> list[Report]:
        now = self._clock()
        reports, self._reports = self._reports, []
        for key in [key for key, due_s in self._starting.items() if due_s <= now]:
            del self._starting[key]
            worker = self._workers[key] = _Worker(*key, self._seed)
            worker.weights_seq_no = self._versions.pop(key)
            reports.append(
                WorkerReady(*key, pid=0, node=SIMULATED, node_id="", seed=self._seed + key[0])
            )
        for worker in self._workers.values():
            while worker.due and worker.due[0][0] <= now:
                _, budget_s, drain = worker.due.pop(0)
                reports.append(_chunk(worker, budget_s, drain=drain))
        return reports

    @override
    def pending_reasons(self) -> dict[int, str]:
        return {}

    @override
    def shut_down(self) -> None:
        self._workers.clear()
        self._starting.clear()
        self._reports.clear()


def _chunk(worker: _Worker, budget_s: float, *, drain: bool) -> RolloutChunk:
    rng = worker.rng
    steps = max(1, int(STEPS_PER_S * budget_s * rng.uniform(0.8, 1.2)))
    enough = (steps + worker.partial_len) // MIN_LENGTH + 1
    lengths = np.concatenate([[worker.length], _lengths(rng, enough)]).astype(np.int32)
    ends = np.cumsum(lengths) - worker.partial_len
    n = int(np.searchsorted(ends, steps, side="right"))
    worker.length = int(lengths[n])
    worker.partial_len = 0 if drain else steps - int(ends[n] - lengths[n])
    lengths, ends = lengths[:n], ends[:n]
    ending = np.where(rng.random(n) < 0.02, Ending.TRUNCATED, Ending.TERMINATED).astype(np.uint8)
    worker.steps += steps
    worker.episodes += n
    worker.truncated += int((ending == Ending.TRUNCATED).sum())
    worker.terminated += int((ending == Ending.TERMINATED).sum())
    worker.busy_s += budget_s
    return RolloutChunk(
        worker_index=worker.index,
        incarnation=worker.incarnation,
        duration_s=budget_s,
        first_step_offset_s=budget_s / steps,
        totals=WorkerTotals(
            num_env_steps=worker.steps,
            num_episodes=worker.episodes,
            num_terminated=worker.terminated,
            num_truncated=worker.truncated,
            step_time_s=0.8 * worker.busy_s,
            reset_time_s=0.05 * worker.busy_s,
            policy_time_s=0.1 * worker.busy_s,
            busy_time_s=worker.busy_s,
        ),
        env_index=np.zeros(n, np.int32),
        episode_return=lengths.astype(np.float64),
        episode_len=lengths,
        ending=ending,
        end_offset_s=ends / steps * budget_s,
        episode_duration_s=(lengths / STEPS_PER_S).astype(np.float32),
        step_time_s=rng.normal(3e-4, 2e-5, 4).astype(np.float32),
        reset_time_s=np.empty(0, np.float32),
        partial_len=np.array([worker.partial_len], np.int32),
        partial_return=np.array([float(worker.partial_len)]),
        drained=drain,
        weights_seq_no=worker.weights_seq_no,
    )


def _lengths(rng: np.random.Generator, count: int) -> Int64:
    """Draw lengths of episodes, as CartPole has them under a random policy."""
    return np.minimum(rng.geometric(1 / 22, count) + MIN_LENGTH - 1, MAX_LENGTH)
