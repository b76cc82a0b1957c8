"""The loop of lockstep and tasks counts exactly, in whatever order answers come back."""

import math
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import Fault
from raydash.core.records import RolloutChunk
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import Ending
from raydash.worker.envs.seeds import env_seeds, remade_seed
from raydash.worker.loops.account import MAX_FAILURES_IN_A_ROW
from raydash.worker.node.progress import (
    Phase,
    ProgressReader,
    ProgressWriter,
    set_call_wanted,
    set_hurry,
)
from raydash.worker.policies.policy import make_policy
from raydash.worker.remote.moves import Answer, Raised, Stepped, WorkerKey
from raydash.worker.remote.stepping_loop import CallResult, Request, RequestKind, SteppingLoop
from tests.fakes.runs.transport import NEVER_S, FakeTransport
from tests.fakes.user_code.envs import FakeClock, Step

Episode = tuple[float, int, Ending]


class Run:
    """A loop over a fake transport, and all chunks that it returned."""

    def __init__(self, transport: FakeTransport, folder: Path | None = None, **more: Any) -> None:
        self.transport = transport
        self.clock = transport.clock
        self.folder = folder
        self.own = ProgressWriter(folder / "loop" if folder else None)
        self.loop = SteppingLoop(
            RunSpec(),
            (),
            transport,
            clock=self.clock,
            progress=self.own,
            progress_dir=folder,
            **more,
        )
        self.chunks: dict[WorkerKey, list[RolloutChunk]] = {}
        self.number = 0

    def call(self, budget_s: float, **kinds: RequestKind) -> CallResult:
        """Make a call; `w1=RequestKind.STEP` is a request for the first incarnation of worker 1."""
        requests = [Request((int(name[1:]), 0), kind) for name, kind in kinds.items()]
        return self.call_with(budget_s, requests)

    def call_with(self, budget_s: float, requests: Sequence[Request]) -> CallResult:
        self.number += 1
        result = self.loop.run(self.number, requests, budget_s)
        for chunk in result.chunks:
            self.chunks.setdefault((chunk.worker_index, chunk.incarnation), []).append(chunk)
        return result

    def open(self, count: int) -> None:
        requests = [Request((index, 0), RequestKind.OPEN) for index in range(1, count + 1)]
        result = self.call_with(10.0, requests)
        assert sorted(key for key, _ in result.opened) == [request.key for request in requests]

    def progress_path(self, index: int) -> str:
        assert self.folder is not None
        return str(self.folder / f"w{index}-0")


def recounted(answers: Sequence[Answer]) -> tuple[list[Episode], int, int, float]:
    """Count episodes, steps, and length and return so far from the answers alone."""
    episodes: list[Episode] = []
    num_steps, length, total = 0, 0, 0.0
    for answer in answers:
        match answer:
            case Stepped(reward=reward, terminated=terminated, truncated=truncated):
                num_steps, length, total = num_steps + 1, length + 1, total + reward
                if terminated or truncated:
                    one = Ending.TERMINATED if terminated else Ending.TRUNCATED
                    episodes.append(
                        (total, length, Ending.BOTH if terminated and truncated else one)
                    )
                    length, total = 0, 0.0
            case Raised():
                episodes.append((math.nan, length, Ending.ERROR))
                length, total = 0, 0.0
    return episodes, num_steps, length, total


def assert_counts_equal(chunks: Sequence[RolloutChunk], answers: Sequence[Answer]) -> None:
    episodes, num_steps, length, total = recounted(answers)
    found = [
        (float(total), int(length), Ending(ending))
        for chunk in chunks
        for total, length, ending in zip(
            chunk.episode_return, chunk.episode_len, chunk.ending, strict=True
        )
    ]
    assert [each[1:] for each in found] == [each[1:] for each in episodes]
    np.testing.assert_array_equal([e[0] for e in found], [e[0] for e in episodes])
    if not chunks:
        assert not num_steps
        return
    last = chunks[-1]
    endings = [ending for _, _, ending in episodes]
    both = endings.count(Ending.BOTH)
    totals = last.totals
    assert totals.num_env_steps == num_steps
    assert totals.num_episodes == len(endings)
    assert totals.num_terminated == endings.count(Ending.TERMINATED) + both
    assert totals.num_truncated == endings.count(Ending.TRUNCATED) + both
    assert totals.num_error == endings.count(Ending.ERROR)
    assert last.partial_len.tolist() == [length]
    assert last.partial_return.tolist() == [total]


def started(
    scripts: Sequence[Sequence[Step]] = (),
    *,
    count: int = 1,
    lag_s: Callable[[WorkerKey], float] = lambda _key: 0.001,
    folder: Path | None = None,
    failing_resets: Sequence[int] = (),
) -> Run:
    transport = FakeTransport(
        FakeClock(1e-6), scripts, lag_s=lambda _key: 0.001, failing_resets=failing_resets
    )
    run = Run(transport, folder)
    run.open(count)
    transport.lag_s = lag_s
    return run


STEPS = st.builds(
    Step,
    reward=st.floats(-1e6, 1e6),
    terminated=st.sampled_from([False, False, True]),
    truncated=st.sampled_from([False, False, True]),
    error=st.sampled_from(["", "", "", "", "the step failed"]),
)
SCRIPTS = st.lists(st.lists(STEPS, min_size=1, max_size=12), min_size=1, max_size=3)
CALLS = st.lists(
    st.tuples(
        st.floats(0.0, 0.05),
        st.lists(
            st.sampled_from([None, RequestKind.STEP, RequestKind.STEP, RequestKind.DRAIN]),
            min_size=3,
            max_size=3,
        ),
        st.lists(st.booleans(), min_size=3, max_size=3),
    ),
    max_size=12,
)


@given(
    scripts=SCRIPTS,
    calls=CALLS,
    lags=st.lists(st.sampled_from([0.0005, 0.001, 0.003, 0.08]), min_size=3, max_size=3),
    failing_resets=st.lists(st.integers(1, 8), max_size=3),
    seed=st.integers(0, 9),
)
def test_any_interleaving_of_slices_drains_hurries_and_errors_gives_an_independent_recount(
    scripts: list[list[Step]],
    calls: list[tuple[float, list[RequestKind | None], list[bool]]],
    lags: list[float],
    failing_resets: list[int],
    seed: int,
) -> None:
    dice = random.Random(seed)
    run = started(
        scripts,
        count=len(scripts),
        lag_s=lambda key: lags[key[0] - 1] * dice.uniform(0.5, 1.5),
        failing_resets=failing_resets,
    )
    keys = [(index, 0) for index in range(1, len(scripts) + 1)]
    for budget_s, kinds, hurries in calls:
        for key, hurry in zip(keys, hurries, strict=False):
            run.loop._workers[key].account.progress.cells[4] = hurry
        requests = [
            Request(key, kind) for key, kind in zip(keys, kinds, strict=False) if kind is not None
        ]
        result = run.call_with(budget_s, requests)
        drained = {request.key for request in requests if request.kind is RequestKind.DRAIN}
        given_back = [(chunk.worker_index, chunk.incarnation) for chunk in result.chunks]
        assert len(set(given_back)) == len(given_back)
        assert set(given_back) <= {request.key for request in requests}
        for chunk in result.chunks:
            key = (chunk.worker_index, chunk.incarnation)
            if chunk.drained:
                assert key in drained
                assert chunk.partial_len.tolist() == [0]
            if not run.transport.num_out(key):
                assert_counts_equal(run.chunks[key], run.transport.taken[key])
    left: set[WorkerKey] = set()
    for _ in range(20):
        result = run.call_with(
            1.0, [Request(key, RequestKind.LEAVE) for key in keys if key not in left]
        )
        left |= set(result.left)
    assert left == set(keys)
    assert run.transport.most_out <= 1
    for key in keys:
        assert_counts_equal(run.chunks.get(key, []), run.transport.taken[key])
        first = env_seeds(0, worker_index=key[0], incarnation=0).reset
        remade = run.transport.remade[key]
        assert remade == [remade_seed(first, n) for n in range(1, len(remade) + 1)]


def test_slow_environment_holds_up_no_other_and_keeps_its_request() -> None:
    run = started(count=2, lag_s=lambda key: 0.001 if key[0] == 1 else 5.0)
    result = run.call(0.4, w1=RequestKind.STEP, w2=RequestKind.STEP)
    (chunk,) = result.chunks
    assert chunk.worker_index == 1
    assert chunk.totals.num_env_steps > 200
    for _ in range(12):
        result = run.call(0.4, w1=RequestKind.STEP, w2=RequestKind.STEP)
    slow = run.chunks[2, 0]
    assert len(slow) == 1
    assert slow[0].totals.num_env_steps == 1
    assert slow[0].duration_s > 4.9
    assert slow[0].step_time_s.tolist() == pytest.approx([5.0], abs=0.01)


def test_environment_that_hangs_says_nothing_and_is_forgotten_when_it_is_killed() -> None:
    run = started(count=2, lag_s=lambda key: 0.001 if key[0] == 1 else NEVER_S)
    for _ in range(3):
        result = run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
        assert [chunk.worker_index for chunk in result.chunks] == [1]
    result = run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.FORGET)
    assert run.transport.forgotten == [(2, 0)]
    assert not run.transport.num_out((2, 0))


def test_call_ends_at_once_when_a_hurried_worker_has_come_to_rest(tmp_path: Path) -> None:
    run = started(count=2, folder=tmp_path)
    set_hurry(run.progress_path(1), True)
    before_s = run.clock()
    result = run.call(1.0, w1=RequestKind.STEP, w2=RequestKind.STEP)
    assert run.clock() - before_s < 0.02
    assert sorted(chunk.worker_index for chunk in result.chunks) == [1, 2]
    assert not run.transport.num_out((1, 0))
    set_hurry(run.progress_path(1), False)
    assert run.call(0.1, w1=RequestKind.STEP).chunks[0].totals.num_env_steps > 0


def test_hurried_worker_that_hangs_does_not_cut_the_others_slices_short(tmp_path: Path) -> None:
    run = started(count=2, lag_s=lambda key: 0.001 if key[0] == 1 else NEVER_S, folder=tmp_path)
    run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
    set_hurry(run.progress_path(2), True)
    result = run.call(0.4, w1=RequestKind.STEP, w2=RequestKind.STEP)
    assert result.chunks[0].duration_s == pytest.approx(0.4, abs=0.03)


def test_workers_that_are_hurried_together_come_back_together(tmp_path: Path) -> None:
    run = started(count=3, lag_s=lambda key: 0.001 * key[0], folder=tmp_path)
    run.call(0.05, w1=RequestKind.STEP, w2=RequestKind.STEP, w3=RequestKind.STEP)
    for index in (1, 2, 3):
        set_hurry(run.progress_path(index), True)
    result = run.call(1.0, w1=RequestKind.STEP, w2=RequestKind.STEP, w3=RequestKind.STEP)
    assert len(result.chunks) == 3


def test_call_that_is_wanted_back_ends_and_later_ones_do_not(tmp_path: Path) -> None:
    run = started(folder=tmp_path)
    set_call_wanted(run.own.path, run.number + 1)
    before_s = run.clock()
    run.call(1.0, w1=RequestKind.STEP)
    assert run.clock() - before_s < 0.01
    run.call(1.0, w1=RequestKind.STEP)
    assert run.clock() - before_s > 1.0


def test_drained_worker_finishes_its_episode_and_begins_no_other() -> None:
    run = started([[Step()] * 4 + [Step(terminated=True)]])
    run.call(0.0125, w1=RequestKind.STEP)
    result = run.call(1.0, w1=RequestKind.DRAIN)
    (chunk,) = result.chunks
    assert chunk.drained
    taken = run.transport.taken[1, 0]
    assert isinstance(taken[-1], Stepped)
    assert taken[-1].terminated
    assert run.call(1.0, w1=RequestKind.DRAIN).chunks[0].drained
    assert run.transport.taken[1, 0] == taken


def test_episodes_end_resets_the_environment_and_only_an_error_renews_it() -> None:
    run = started([[Step(terminated=True)] * 5 + [Step(error="it broke")]])
    run.call(0.1, w1=RequestKind.STEP)
    key = (1, 0)
    first = env_seeds(0, worker_index=1, incarnation=0).reset
    num_errors = sum(isinstance(each, Raised) for each in run.transport.taken[key])
    assert num_errors > 3
    assert run.transport.remade[key] == [remade_seed(first, n + 1) for n in range(num_errors)]
    seeds = run.transport.envs[key].reset_seeds
    assert seeds[0] == first
    assert sum(seed is None for seed in seeds) > 4 * num_errors


def test_five_errors_in_a_row_end_the_slice_and_are_told_with_their_traceback() -> None:
    run = started([[Step(error="it broke")]])
    (chunk,) = run.call(1.0, w1=RequestKind.STEP).chunks
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert [error.where for error in chunk.errors] == ["step"] * 5
    assert chunk.errors[0].message == "RuntimeError: it broke"
    assert "Traceback" in chunk.errors[0].traceback


def test_policy_that_raises_is_an_error_of_the_episode_and_renews_the_environment() -> None:
    def broken(_observation: Any) -> Any:
        raise KeyError("weights")

    transport = FakeTransport(FakeClock(1e-6))
    run = Run(transport, make_policy=lambda *_: broken)
    run.open(1)
    (chunk,) = run.call(1.0, w1=RequestKind.STEP).chunks
    assert {error.where for error in chunk.errors} == {"policy"}
    assert chunk.totals.num_env_steps == 0
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert len(transport.remade[1, 0]) == 4


def test_policy_that_does_not_fit_is_a_fault_of_the_worker_before_it_steps() -> None:
    transport = FakeTransport(FakeClock(1e-6))
    run = Run(transport)
    run.loop._spec = spec_from_table({"policy": {"kind": "constant", "action": 7}})
    result = run.call(1.0, w1=RequestKind.OPEN)
    (fault,) = result.faults
    assert (fault.worker_index, fault.fault.keys) == (1, ("policy.action",))
    assert transport.forgotten == [(1, 0)]
    assert result.opened == []


def test_environment_that_is_refused_is_a_fault_of_the_worker() -> None:
    transport = FakeTransport(FakeClock(1e-6))
    transport.refused[2, 0] = Fault("no such thing")
    run = Run(transport)
    result = run.call(1.0, w2=RequestKind.OPEN)
    assert [each.fault.what for each in result.faults] == ["no such thing"]


def test_environment_that_is_lost_is_told_once_and_the_others_go_on() -> None:
    run = started(count=2)
    run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
    gone = RuntimeError("its process is gone")
    run.transport.lost[1, 0] = gone
    result = run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
    assert result.lost == [((1, 0), gone)]
    assert [chunk.worker_index for chunk in result.chunks] == [2]
    result = run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
    assert result.lost == []
    assert [chunk.worker_index for chunk in result.chunks] == [2]


def test_step_that_came_back_while_nobody_asked_is_counted_with_the_next_slice() -> None:
    run = started(count=2, lag_s=lambda key: 0.001 if key[0] == 1 else 0.15)
    run.call(0.1, w1=RequestKind.STEP, w2=RequestKind.STEP)
    run.call(0.1, w1=RequestKind.STEP)  # the step of worker 2 comes back meanwhile
    assert len(run.transport.taken[2, 0]) == 1
    run.clock.now_s += 7.0
    (chunk,) = run.call(0.01, w2=RequestKind.STEP).chunks
    assert chunk.totals.num_env_steps == 1
    assert chunk.step_time_s.tolist() == pytest.approx([0.15], abs=0.01)


def test_worker_that_leaves_counts_the_step_that_is_out_and_nothing_begins() -> None:
    run = started(lag_s=lambda _key: 0.15)
    run.call(0.1, w1=RequestKind.STEP)
    result = run.call(0.01, w1=RequestKind.LEAVE)
    assert (result.left, result.chunks) == ([], [])
    result = run.call(1.0, w1=RequestKind.LEAVE)
    assert result.left == [(1, 0)]
    assert result.chunks[-1].totals.num_env_steps == 1
    assert run.transport.forgotten == [(1, 0)]
    assert run.call(1.0, w1=RequestKind.LEAVE).left == [(1, 0)], "one that is unknown has left"


def test_time_is_shared_between_round_trips_policy_resets_and_idleness() -> None:
    run = started([[Step()] * 9 + [Step(terminated=True)]])
    run.call(1.0, w1=RequestKind.STEP)
    run.clock.now_s += 3.0
    (chunk,) = run.call(1.0, w1=RequestKind.STEP).chunks
    totals = chunk.totals
    assert totals.idle_time_s == pytest.approx(3.0, abs=0.01)
    assert totals.step_time_s / totals.reset_time_s == pytest.approx(10, rel=0.1)
    shared_s = totals.step_time_s + totals.reset_time_s + totals.policy_time_s
    assert shared_s == pytest.approx(totals.busy_time_s, rel=0.05)


def test_progress_tells_phase_and_steps_while_a_call_is_out(tmp_path: Path) -> None:
    run = started([[Step(), Step(terminated=True)]], folder=tmp_path)
    path = run.progress_path(1)
    seen: set[tuple[Phase, int]] = set()

    def lag_s(_key: WorkerKey) -> float:
        progress = ProgressReader(path).read()
        assert progress is not None
        seen.add((progress.phase, progress.episode_len))
        return 0.001

    run.transport.lag_s = lag_s
    run.call(0.1, w1=RequestKind.STEP)
    assert seen == {(Phase.STEPPING, 0), (Phase.STEPPING, 1), (Phase.RESETTING, 0)}
    progress = ProgressReader(path).read()
    assert progress is not None
    assert progress.phase is Phase.IDLE
    assert progress.num_env_steps == run.chunks[1, 0][-1].totals.num_env_steps
    run.call(1.0, w1=RequestKind.LEAVE)
    assert ProgressReader(path).read() is None


def test_same_seed_gives_each_worker_the_policy_that_it_would_have_alone() -> None:
    run = started(count=2)
    run.call(0.05, w1=RequestKind.STEP, w2=RequestKind.STEP)
    for key, env in run.transport.envs.items():
        seeds = env_seeds(0, worker_index=key[0], incarnation=0)
        policy = make_policy(
            RunSpec().policy,
            deepcopy(env.observation_space),
            deepcopy(env.action_space),
            seeds.action_space,
        )
        assert env.actions == [policy(None) for _ in env.actions]


def test_costs_that_the_transport_found_are_handed_on() -> None:
    run = started()
    run.transport.costs_to_report = ["dear"]
    assert run.call(0.01, w1=RequestKind.STEP).costs == ["dear"]
    assert run.call(0.01, w1=RequestKind.STEP).costs == []
