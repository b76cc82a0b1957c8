"""Swapping the policy of a run that goes on: which worker gets it when, and which keeps the old."""

import pytest

from raydash.core.events import EventKind
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.messages import Verb
from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec
from tests.fakes.runs.machine_driver import MachineDriver

NEW = PolicySpec("onnx", "/models/new.onnx")
FIRST = PolicyVersion(NEW, 1)


@pytest.fixture
def run() -> MachineDriver:
    driver = MachineDriver(RunMachine(RunSpec(), RequestedState(num_workers=3)))
    driver.all_ready()
    return driver


def swap(run: MachineDriver, policy: PolicySpec = NEW) -> int:
    return run.command(Verb.SWAP, policy=policy)


def versions(run: MachineDriver) -> list[int]:
    return [worker.weights_seq_no for worker in run.machine.workers.values()]


def test_every_live_worker_is_given_the_new_policy_and_keeps_its_requests(
    run: MachineDriver,
) -> None:
    token = swap(run)
    assert {index: offer.version for index, offer in run.offers.items()} == dict.fromkeys(
        (1, 2, 3), FIRST
    )
    assert {index: len(out) for index, out in run.requests.items()} == {1: 2, 2: 2, 3: 2}
    for index in (1, 2, 3):
        assert not run.answers[token]
        run.answer_policy(index)
    assert run.answers[token] == [None]
    assert versions(run) == [1, 1, 1]
    assert run.machine.version == FIRST
    assert [e.text for e in run.events() if e.kind is EventKind.POLICY_SWAPPED] == [
        "policy 1: onnx /models/new.onnx"
    ]


def test_each_swap_counts_up(run: MachineDriver) -> None:
    for number in (1, 2, 3):
        swap(run)
        for index in (1, 2, 3):
            run.answer_policy(index)
        assert versions(run) == [number] * 3


def test_a_paused_worker_takes_it_without_stepping(run: MachineDriver) -> None:
    run.command(Verb.PAUSE, (1,))
    run.chunk(1)
    run.chunk(1)
    swap(run)
    run.answer_policy(1)
    assert run.requests[1] == []
    assert run.machine.workers[1].weights_seq_no == 1


def test_workers_made_later_are_made_with_the_new_policy(run: MachineDriver) -> None:
    swap(run)
    for index in (1, 2, 3):
        run.answer_policy(index)
    run.command(Verb.SCALE, num_workers=4)
    run.die(2)
    run.tick(0.3)
    assert (run.created_with[4], run.created_with[2]) == (FIRST, FIRST)
    run.all_ready()
    assert not run.offers
    assert versions(run) == [1, 1, 1, 1]


def test_a_worker_that_was_on_its_way_gets_it_as_soon_as_it_stands(run: MachineDriver) -> None:
    run.command(Verb.SCALE, num_workers=4)
    token = swap(run)
    assert set(run.offers) == {1, 2, 3}
    assert run.created_with[4] == PolicyVersion()
    for index in (1, 2, 3):
        run.answer_policy(index)
    assert run.answers[token] == [None]  # nobody waits for a worker that may never be placed
    log = run.ready(4)
    names = [type(each).__name__ for each in log]
    assert names.index("SetPolicy") < names.index("RequestRollout")
    assert run.offers[4].version == FIRST


def test_without_a_live_worker_it_is_what_the_coming_ones_get() -> None:
    run = MachineDriver(RunMachine(RunSpec(), RequestedState(num_workers=1)))
    token = swap(run)
    assert run.answers[token] == [None]
    run.all_ready()
    run.answer_policy(1)
    assert versions(run) == [1]


def test_who_can_not_take_it_keeps_the_old_one_and_the_answer_says_so(run: MachineDriver) -> None:
    token = swap(run)
    run.answer_policy(1)
    run.answer_policy(2, refusal="there is no such file on this machine")
    run.answer_policy(3)
    (fault,) = run.answers[token]
    assert fault is not None
    assert fault.what == "Some workers could not take the policy"
    assert "worker 2: there is no such file on this machine" in fault.why
    assert versions(run) == [1, 0, 1]
    assert run.machine.version == FIRST
    (event,) = [e for e in run.events() if e.kind is EventKind.POLICY_REFUSED]
    assert event.worker_index == 2


def test_what_nobody_can_take_changes_nothing(run: MachineDriver) -> None:
    token = swap(run)
    for index in (1, 2, 3):
        run.answer_policy(index, refusal="no file")
    (fault,) = run.answers[token]
    assert fault is not None
    assert fault.what == "Swap was not done"
    assert run.machine.version == PolicyVersion()
    assert not [e for e in run.events() if e.kind is EventKind.POLICY_SWAPPED]
    run.command(Verb.SCALE, num_workers=4)
    assert run.created_with[4] == PolicyVersion()
    token = swap(run)  # the next one is not held against it
    for index in (1, 2, 3):
        run.answer_policy(index)
    assert run.answers[token] == [None]
    assert run.machine.version == FIRST


def test_a_worker_that_dies_meanwhile_is_not_waited_for(run: MachineDriver) -> None:
    token = swap(run)
    run.answer_policy(1)
    run.answer_policy(3)
    run.die(2)
    assert run.answers[token] == [None]


def test_all_workers_that_die_meanwhile_come_back_with_it(run: MachineDriver) -> None:
    token = swap(run)
    for index in (1, 2, 3):
        run.die(index)
    assert run.answers[token] == [None]
    run.tick(0.3)
    assert run.created_with == dict.fromkeys((1, 2, 3), FIRST)


def test_one_swap_at_a_time(run: MachineDriver) -> None:
    first = swap(run)
    second = swap(run)
    (fault,) = run.answers[second]
    assert fault is not None
    assert "another policy is being swapped in" in fault.why
    assert not run.answers[first]


def test_a_run_that_ends_first_says_so(run: MachineDriver) -> None:
    token = swap(run)
    run.command(Verb.KILL)
    run.settle()
    assert run.ended is not None
    (fault,) = run.answers[token]
    assert fault is not None
    assert fault.why == "no worker was left to take the policy"
    assert not [e for e in run.events() if e.kind is EventKind.POLICY_SWAPPED]


def test_a_run_that_learns_refuses() -> None:
    spec = RunSpec(policy=PolicySpec("linear"), learner=LearnerSpec("cmaes"))
    run = MachineDriver(RunMachine(spec, RequestedState(num_workers=1)))
    (fault,) = run.answers[swap(run)]
    assert fault is not None
    assert fault.why == "the run learns its policy"


def test_a_supervisor_that_goes_on_makes_workers_with_the_policy_of_last(
    run: MachineDriver,
) -> None:
    swap(run)
    for index in (1, 2, 3):
        run.answer_policy(index)
    run.supervisor_dies(RunSpec())
    assert run.created_with == dict.fromkeys((1, 2, 3), FIRST)
    run.all_ready()
    swap(run)
    assert run.offers[1].version.weights_seq_no == 2


def test_a_swap_without_a_policy_is_refused(run: MachineDriver) -> None:
    (fault,) = run.answers[run.command(Verb.SWAP)]
    assert fault is not None
    assert "no policy is given" in fault.why
