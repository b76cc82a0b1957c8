"""The state machine, case by case and in any interleaving that hypothesis can think of."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.events import EventKind
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import ChunkArrived, ChunkBatch, DeathCause, ReadersCounted
from raydash.core.machine.worker_record import MachineSettings
from raydash.core.messages import Verb
from raydash.core.spec import PolicySpec, RolloutSpec, RunSpec, StopSpec
from raydash.core.states import Activity, EndedBy, RunState
from tests.fakes.runs.machine_driver import MachineDriver


def make(
    num_workers: int = 2,
    stop: StopSpec | None = None,
    rollout: RolloutSpec | None = None,
    settings: MachineSettings | None = None,
) -> MachineDriver:
    spec = RunSpec(stop=stop or StopSpec(), rollout=rollout or RolloutSpec())
    return MachineDriver(RunMachine(spec, RequestedState(num_workers), settings=settings))


@pytest.fixture
def run() -> Iterator[MachineDriver]:
    driver = make()
    driver.all_ready()
    yield driver
    driver.machine.validate()


def activity(driver: MachineDriver, index: int) -> Activity:
    return driver.machine.activity_of(driver.machine.workers[index])


def stopped_workers(driver: MachineDriver) -> tuple[int, ...]:
    # A function, because mypy keeps the type that an attribute was narrowed to by an assertion.
    return driver.machine.commanded.stopped_workers


def test_every_ready_worker_has_two_requests_out(run: MachineDriver) -> None:
    assert {index: len(out) for index, out in run.requests.items()} == {1: 2, 2: 2}
    assert run.machine.state is RunState.RUNNING


def test_an_answered_request_is_followed_by_another(run: MachineDriver) -> None:
    run.chunk(1)
    assert len(run.requests[1]) == 2


def test_pausing_worker_becomes_paused_when_its_last_chunk_arrives(run: MachineDriver) -> None:
    token = run.command(Verb.PAUSE, (1,))
    assert activity(run, 1) is Activity.PAUSING
    run.chunk(1)
    assert not run.answers[token]
    run.chunk(1)
    assert activity(run, 1) is Activity.PAUSED
    assert run.answers[token] == [None]
    assert activity(run, 2) is Activity.STEPPING


def test_pause_of_the_run_is_answered_when_nothing_is_in_flight(run: MachineDriver) -> None:
    token = run.command(Verb.PAUSE)
    for index in (1, 2, 1, 2):
        assert not run.answers[token]
        run.chunk(index)
    assert run.answers[token] == [None]
    assert run.machine.state is RunState.PAUSED


def test_requests_are_cut_short_while_somebody_waits_for_a_pause(run: MachineDriver) -> None:
    run.command(Verb.PAUSE, (1,))
    assert run.hurried == {1}
    run.chunk(1)
    run.chunk(1)
    assert run.hurried == set()


def test_resume_overtakes_a_pause_that_is_not_done(run: MachineDriver) -> None:
    pause = run.command(Verb.PAUSE)
    resume = run.command(Verb.RESUME)
    assert run.answers[resume] == [None]
    assert run.answers[pause][0] is not None
    assert len(run.requests[1]) == 2


def test_a_paused_worker_stays_paused_when_its_run_is_resumed(run: MachineDriver) -> None:
    run.command(Verb.PAUSE, (1,))
    run.command(Verb.PAUSE)
    for index in (1, 2, 1, 2):
        run.chunk(index)
    run.command(Verb.RESUME)
    assert not run.requests[1]
    assert len(run.requests[2]) == 2


def test_time_paused_does_not_count_as_elapsed(run: MachineDriver) -> None:
    run.tick(0.1)
    run.chunk(1, duration_s=0.1)
    run.command(Verb.PAUSE)
    for index in (1, 1, 2, 2):
        run.chunk(index)
    before_s = run.machine.elapsed_s
    run.tick(100.0)
    assert run.machine.elapsed_s == before_s
    run.command(Verb.RESUME)
    run.tick(2.0)
    assert run.machine.elapsed_s == pytest.approx(before_s + 2.0)


def test_elapsed_begins_with_the_first_step() -> None:
    driver = make(1)
    driver.tick(5.0)
    driver.all_ready()
    driver.tick(1.0)
    driver.chunk(1, duration_s=0.25)
    assert driver.machine.elapsed_s == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("stop", "ended_by"),
    [
        (StopSpec(env_steps=250), EndedBy.ENV_STEPS),
        (StopSpec(episodes=11), EndedBy.EPISODES),
        (StopSpec(seconds=0.25), EndedBy.SECONDS),
    ],
)
def test_a_stop_condition_finishes_the_run_and_counts_what_is_in_flight(
    stop: StopSpec, ended_by: EndedBy
) -> None:
    driver = make(1, stop)
    driver.all_ready()
    chunks = 0
    while not driver.closing:
        driver.tick(0.1)
        driver.chunk(1)
        chunks += 1
    assert driver.machine.state is RunState.STOPPING
    driver.closed(1)
    assert driver.ended is not None
    assert (driver.ended.state, driver.ended.ended_by) == (RunState.FINISHED, ended_by)
    assert chunks <= 5


def test_a_dead_worker_is_restarted_after_a_back_off_that_doubles(run: MachineDriver) -> None:
    waits = []
    for _ in range(3):
        run.die(1)
        died_s = run.t_s
        assert activity(run, 1) is Activity.RESTARTING
        while 1 not in run.starting:
            run.tick(0.05)
        waits.append(run.t_s - died_s)
        run.ready(1)
    assert waits == pytest.approx([0.2, 0.4, 0.8], abs=0.06)
    assert run.machine.workers[1].incarnation == 3


def test_five_crashes_in_a_row_fail_the_worker_but_not_the_run(run: MachineDriver) -> None:
    for _ in range(5):
        run.die(1)
        run.tick(5.0)
        if 1 in run.starting:
            run.ready(1)
    assert activity(run, 1) is Activity.FAILED
    assert run.machine.state is RunState.RUNNING


def test_the_run_fails_with_the_cause_when_all_workers_failed() -> None:
    driver = make(1)
    for _ in range(5):
        driver.die(1, DeathCause.COULD_NOT_START, "no module named x")
        driver.tick(5.0)
    assert driver.ended is not None
    assert driver.ended.state is RunState.FAILED
    assert "no module" in driver.ended.cause


def test_five_environment_errors_in_a_row_fail_the_worker(run: MachineDriver) -> None:
    run.chunk(1, steps=0, episodes=5, failures=5)
    run.chunk(1, steps=0, episodes=0, failures=5)
    run.closed(1)
    assert activity(run, 1) is Activity.FAILED
    kinds = [event.kind for event in run.events()]
    assert kinds.count(EventKind.WORKER_FAILED) == 1


def test_restart_revives_a_failed_worker(run: MachineDriver) -> None:
    test_five_environment_errors_in_a_row_fail_the_worker(run)
    token = run.command(Verb.RESTART, (1,))
    run.ready(1)
    assert run.answers[token] == [None]
    assert activity(run, 1) is Activity.STEPPING


def test_kill_of_a_worker_is_for_good_until_restart(run: MachineDriver) -> None:
    token = run.command(Verb.KILL, (2,))
    run.die(2, DeathCause.KILLED)
    run.tick(60.0)
    assert activity(run, 2) is Activity.STOPPED
    assert run.answers[token] == [None]


def test_drain_finishes_episodes_before_it_closes(run: MachineDriver) -> None:
    run.command(Verb.DRAIN, (1,))
    run.chunk(1)
    run.chunk(1)
    assert all(request.drain for request in run.requests[1])
    run.chunk(1, drained=True)
    run.chunk(1, steps=0, episodes=0, drained=True)
    assert 1 in run.closing
    run.closed(1)
    assert activity(run, 1) is Activity.STOPPED


def test_a_stopping_worker_that_hangs_is_killed_after_its_grace(run: MachineDriver) -> None:
    run.command(Verb.STOP)
    run.tick(9.9)
    assert not run.killed
    run.tick(0.3)
    assert set(run.killed) == {1, 2}
    run.die(1, DeathCause.KILLED)
    run.die(2, DeathCause.KILLED)
    assert run.ended is not None
    assert run.ended.state is RunState.STOPPED


def test_a_hang_is_ended_only_when_asked_for() -> None:
    patient = make(1)
    patient.all_ready()
    patient.tick(1000.0)
    assert not patient.killed
    strict = make(1, rollout=RolloutSpec(hang_timeout_s=3.0))
    strict.all_ready()
    strict.tick(3.0 + MachineSettings().budget_s(1) + 0.1)
    assert set(strict.killed) == {1}


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_scale_changes_the_number_of_workers(run: MachineDriver, wanted: int) -> None:
    token = run.command(Verb.SCALE, num_workers=wanted)
    for index in [i for i, out in run.requests.items() for _ in out]:
        run.chunk(index)
    while run.closing or run.starting:
        for index in list(run.closing):
            run.closed(index)
        run.all_ready()
    alive = [w for w in run.machine.workers.values() if not w.is_gone]
    assert len(alive) == wanted
    assert run.answers[token] == [None]


def test_scaling_up_again_uses_the_same_workers(run: MachineDriver) -> None:
    run.command(Verb.SCALE, num_workers=1)
    run.chunk(2)
    run.chunk(2)
    run.closed(2)
    run.command(Verb.SCALE, num_workers=2)
    assert run.starting == {2: 1}


@pytest.mark.parametrize("wanted", [None, 0, -1, 10**6])
def test_an_impossible_number_of_workers_is_refused(run: MachineDriver, wanted: int | None) -> None:
    token = run.command(Verb.SCALE, num_workers=wanted)
    fault = run.answers[token][0]
    assert fault is not None
    assert fault.keys == ("rollout.num_workers",)
    assert len(run.machine.workers) == 2


def test_a_run_that_nobody_keeps_ends_after_its_last_window(run: MachineDriver) -> None:
    run.handle(ReadersCounted(1))
    run.tick(1000.0)
    run.handle(ReadersCounted(0))
    run.tick(599.0)
    assert run.machine.state is RunState.RUNNING
    run.tick(2.0)
    assert run.machine.ended_by is EndedBy.ORPHANED


def test_a_kept_run_has_no_end_of_its_own(run: MachineDriver) -> None:
    run.command(Verb.KEEP)
    run.tick(10_000.0)
    assert run.machine.state is RunState.RUNNING


def test_stop_is_answered_when_the_run_has_ended(run: MachineDriver) -> None:
    token = run.command(Verb.STOP)
    again = run.command(Verb.STOP)
    run.settle()
    assert run.answers[token] == run.answers[again] == [None]
    late = run.command(Verb.PAUSE)
    assert run.answers[late][0] is not None


def test_a_machine_that_goes_on_counts_incarnations_and_time_on() -> None:
    spec = RunSpec(stop=StopSpec(env_steps=1000))
    machine = RunMachine(
        spec,
        RequestedState(num_workers=1),
        elapsed_s=50.0,
        num_env_steps=900,
        num_episodes=40,
        incarnations={1: 3},
    )
    driver = MachineDriver(machine)
    driver.steps, driver.episodes = 900, 40
    assert driver.starting == {1: 3}
    driver.all_ready()
    driver.tick(0.1)
    driver.chunk(1, steps=100)
    assert machine.state is RunState.STOPPING
    assert machine.elapsed_s == pytest.approx(50.1)


def restart_supervisor(run: MachineDriver, stop: StopSpec | None = None) -> None:
    run.supervisor_dies(RunSpec(stop=stop or StopSpec()))


def test_a_supervisor_that_died_while_stopping_ends_the_run_as_it_was_asked_to(
    run: MachineDriver,
) -> None:
    run.command(Verb.STOP)
    restart_supervisor(run)
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert not run.starting
    assert {activity(run, 1), activity(run, 2)} == {Activity.STOPPED}
    assert [w.incarnation for w in run.machine.workers.values()] == [0, 0]


def test_a_supervisor_that_died_while_draining_ends_the_run_as_drained(run: MachineDriver) -> None:
    run.command(Verb.DRAIN)
    assert run.machine.commanded.ended_by is EndedBy.DRAINED
    restart_supervisor(run)
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.STOPPED, EndedBy.DRAINED)
    assert not run.starting


def test_a_run_that_had_all_its_steps_when_its_supervisor_died_makes_no_worker() -> None:
    stop = StopSpec(env_steps=1000)
    run = make(2, stop)
    run.all_ready()
    run.steps = 1000
    restart_supervisor(run, stop)
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.FINISHED, EndedBy.ENV_STEPS)
    assert not run.starting


def test_pauses_of_single_workers_outlive_their_supervisor(run: MachineDriver) -> None:
    run.command(Verb.PAUSE, (2,))
    assert run.machine.commanded.paused_workers == (2,)
    restart_supervisor(run)
    run.all_ready()
    assert (activity(run, 1), activity(run, 2)) == (Activity.STEPPING, Activity.PAUSED)
    token = run.command(Verb.RESUME, (2,))
    assert run.answers[token] == [None]
    assert activity(run, 2) is Activity.STEPPING


def test_workers_that_were_stopped_on_their_own_stay_stopped_under_the_next_supervisor() -> None:
    run = make(5)
    run.all_ready()
    run.command(Verb.STOP, (1,))  # its requests are still out
    run.command(Verb.KILL, (2,))
    run.command(Verb.DRAIN, (4,))
    assert stopped_workers(run) == (1, 2, 4)
    restart_supervisor(run)
    assert set(run.starting) == {3, 5}
    assert {activity(run, index) for index in (1, 2, 4)} == {Activity.STOPPED}
    token = run.command(Verb.RESTART, (2,))
    run.all_ready()
    assert run.answers[token] == [None]
    assert stopped_workers(run) == (1, 4)


def test_workers_too_many_since_a_change_of_scale_do_not_come_back() -> None:
    run = make(3)
    run.all_ready()
    run.command(Verb.STOP, (1,))
    run.command(Verb.SCALE, num_workers=1)
    restart_supervisor(run)
    assert set(run.starting) == {2}
    run.all_ready()
    run.command(Verb.SCALE, num_workers=3)
    assert set(run.starting) == {1, 3}
    assert len(run.machine.workers) == 3


def test_worker_that_was_given_up_is_not_tried_again_by_the_next_supervisor(
    run: MachineDriver,
) -> None:
    run.chunk(1, failures=5)
    assert run.machine.commanded.failed_workers == (1,)
    restart_supervisor(run)
    assert set(run.starting) == {2}
    assert activity(run, 1) is Activity.FAILED
    run.all_ready()
    run.command(Verb.STOP, (2,))
    run.settle()
    assert run.ended is not None
    assert run.ended.state is RunState.FAILED


def test_a_supervisor_that_died_while_the_last_worker_was_stopping_ends_the_run(
    run: MachineDriver,
) -> None:
    run.command(Verb.STOP, (1, 2))
    restart_supervisor(run)
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert not run.starting


def test_restarts_count_workers_restarted_after_a_death_or_on_demand(run: MachineDriver) -> None:
    run.die(1)
    run.tick(0.3)
    run.ready(1)
    run.command(Verb.RESTART, (2,))
    run.die(2, DeathCause.KILLED)
    run.ready(2)
    assert run.machine.num_restarts == 2
    run.command(Verb.SCALE, num_workers=1)
    run.chunk(2)
    run.chunk(2)
    run.closed(2)
    run.command(Verb.SCALE, num_workers=2)
    run.ready(2)
    assert run.machine.num_restarts == 2
    restart_supervisor(run)
    run.all_ready()
    assert run.machine.num_restarts == 2
    assert [w.incarnation for w in run.machine.workers.values()] == [2, 3]


def reason(run: MachineDriver, number: int) -> str:
    (fault,) = run.answers[number]
    assert fault is not None
    return fault.why


def test_a_pause_of_a_worker_that_is_resumed_first_is_answered(run: MachineDriver) -> None:
    paused = run.command(Verb.PAUSE, (1,))
    resumed = run.command(Verb.RESUME, (1,))
    assert run.answers[resumed] == [None]
    assert reason(run, paused) == "worker 1 was resumed before it was paused"


def test_a_restart_of_a_worker_that_is_stopped_first_is_answered(run: MachineDriver) -> None:
    restarted = run.command(Verb.RESTART, (1,))
    run.die(1, DeathCause.KILLED)
    run.command(Verb.STOP, (1,))
    run.settle()
    assert reason(run, restarted) == "worker 1 was stopped first"


def test_a_stop_of_a_worker_that_is_restarted_first_is_answered(run: MachineDriver) -> None:
    stopped = run.command(Verb.STOP, (1,))
    restarted = run.command(Verb.RESTART, (1,))
    run.settle()
    assert reason(run, stopped) == "worker 1 was restarted first"
    assert run.answers[restarted] == [None]


def test_a_killed_worker_is_killed_though_it_is_restarted_at_once(run: MachineDriver) -> None:
    killed = run.command(Verb.KILL, (1,))
    restarted = run.command(Verb.RESTART, (1,))
    run.settle()
    assert run.answers[killed] == run.answers[restarted] == [None]


def test_a_run_that_is_draining_gets_no_new_worker(run: MachineDriver) -> None:
    drained = run.command(Verb.DRAIN)
    for number in (run.command(Verb.RESTART, (1,)), run.command(Verb.SCALE, num_workers=5)):
        assert "every episode is finished first" in reason(run, number)
    run.settle()
    assert run.answers[drained] == [None]
    assert run.ended is not None


def test_a_second_swap_waits_for_the_answer_to_the_first_offer() -> None:
    run = make(1)
    policy = PolicySpec("onnx", "/p.onnx")
    first = run.command(Verb.SWAP, policy=policy)
    run.all_ready()
    second = run.command(Verb.SWAP, policy=policy)
    assert run.answers[first] == [None]
    assert run.offers[1].version.weights_seq_no == 1
    run.answer_policy(1, "no file")
    assert run.answers[second] == []
    assert run.offers[1].version.weights_seq_no == 2
    run.answer_policy(1)
    assert run.answers[second] == [None]
    assert run.machine.weights_seq_no == 2


_VERBS = st.sampled_from(list(Verb))
_WORKERS = st.one_of(st.none(), st.lists(st.integers(0, 5), max_size=3).map(tuple))
_MOVES = st.one_of(
    st.tuples(st.just("ready"), st.integers(0, 9)),
    st.tuples(st.just("chunk"), st.integers(0, 9), st.booleans(), st.sampled_from([0, 0, 0, 5])),
    st.tuples(st.just("die"), st.integers(0, 9)),
    st.tuples(st.just("closed"), st.integers(0, 9)),
    st.tuples(st.just("tick"), st.sampled_from([0.05, 0.5, 11.0])),
    st.tuples(st.just("command"), _VERBS, _WORKERS, st.integers(-1, 5)),
    st.tuples(st.just("policy"), st.integers(0, 9), st.sampled_from(["", "", "no file"])),
    st.tuples(st.just("supervisor dies")),
)


@given(
    moves=st.lists(_MOVES, max_size=60),
    num_workers=st.integers(1, 4),
    stop=st.sampled_from([StopSpec(), StopSpec(env_steps=1500), StopSpec(seconds=3.0)]),
    hang=st.sampled_from([None, 2.0]),
)
def test_any_interleaving_keeps_the_rules_and_answers_every_command_once(
    moves: list[tuple[object, ...]], num_workers: int, stop: StopSpec, hang: float | None
) -> None:
    rollout = RolloutSpec(hang_timeout_s=hang)
    driver = make(num_workers, stop, rollout)
    for move in moves:
        if move == ("supervisor dies",) and driver.ended is None:
            asked = driver.machine.commanded
            driver.supervisor_dies(RunSpec(stop=stop, rollout=rollout))
            # No worker comes back that was to be gone, and none at all if the run was ending.
            gone = {*asked.stopped_workers, *asked.failed_workers}
            assert not (asked.ended_by and driver.starting)
            assert not gone & set(driver.starting)
            assert asked.ended_by in (None, driver.machine.ended_by)
            assert driver.ended is not None or asked == driver.machine.commanded
        _play(driver, move)
    driver.settle()
    assert unanswered(driver) == [], "nobody need stop the run to have an answer"
    driver.command(Verb.STOP)
    driver.settle()
    assert driver.machine.is_over
    for token in range(1, driver._next_id):
        assert len(driver.answers[token]) == (token not in driver.lost), token
    ends = [entry for entry in driver.log if type(entry).__name__ == "EndRun"]
    assert len(ends) == 1


@given(moves=st.lists(_MOVES, max_size=40), num_workers=st.integers(1, 4))
def test_chunks_in_a_batch_do_what_they_do_one_by_one(
    moves: list[tuple[object, ...]], num_workers: int
) -> None:
    alone, together = make(num_workers), make(num_workers)
    for move in moves:
        _play(alone, move)
        _play(together, move)
    rows = [
        ChunkArrived(index, requests[0].incarnation, 0.1, 0.0, 100, 5, failures)
        for failures, (index, requests) in enumerate(sorted(alone.requests.items()))
        if requests
    ]
    single = [each for row in rows for each in alone.handle(ChunkBatch.of([row]))]
    assert together.handle(ChunkBatch.of(rows)) == single
    assert together.machine.commanded == alone.machine.commanded


def unanswered(driver: MachineDriver) -> list[int]:
    return [
        number
        for number in range(1, driver._next_id)
        if not driver.answers[number] and number not in driver.lost
    ]


def _play(driver: MachineDriver, move: tuple[object, ...]) -> None:
    match move:
        case ("ready", int(pick)) if driver.starting:
            driver.ready(sorted(driver.starting)[pick % len(driver.starting)])
        case ("chunk", int(pick), bool(drained), int(failures)):
            out = sorted(index for index, requests in driver.requests.items() if requests)
            if out:
                index = out[pick % len(out)]
                drains = driver.requests[index][0].drain
                driver.chunk(index, drained=drained and drains, failures=failures)
        case ("die", int(pick)):
            alive = sorted(
                set(driver.starting)
                | set(driver.closing)
                | set(driver.killed)
                | {index for index, requests in driver.requests.items() if requests}
            )
            if alive:
                driver.die(alive[pick % len(alive)])
        case ("closed", int(pick)) if driver.closing:
            driver.closed(sorted(driver.closing)[pick % len(driver.closing)])
        case ("tick", float(seconds)):
            driver.tick(seconds)
        case ("policy", int(pick), str(refusal)) if driver.offers:
            driver.answer_policy(sorted(driver.offers)[pick % len(driver.offers)], refusal)
        case ("command", Verb() as verb, workers, int(number)):
            policy = PolicySpec("onnx", "/p.onnx") if number >= 0 else None
            driver.command(verb, workers, number, policy)  # type: ignore[arg-type]
