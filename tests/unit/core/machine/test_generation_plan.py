"""The generation plan of a run that learns, case by case and in any possible interleaving."""

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.generation_plan import (
    CONFIRMING_EPISODES,
    MAX_LEARNER_DEATHS,
    PastLearning,
)
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import (
    AskLearner,
    ChunkArrived,
    ChunkBatch,
    CreateLearner,
    EndRun,
    Instruction,
    LearnerDied,
    LearnerFaulted,
    RequestRollout,
    SavePolicy,
)
from raydash.core.machine.worker_record import MachineSettings
from raydash.core.messages import Verb
from raydash.core.records import (
    ObservationSums,
    ParametersReady,
    PlayedWork,
    PolicyWritten,
    Work,
)
from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec, StopSpec
from raydash.core.states import Activity, EndedBy, RunState
from raydash.core.updates import LearningFigures
from tests.fakes.runs.machine_driver import MachineDriver

POPULATION = 5
NO_LIMIT = 10**9


class PlayingWorker:
    """Does what the loop of a worker does with its requests, an episode at a time."""

    def __init__(self) -> None:
        self.begun: tuple[int, bool, int, int] | None = None

    def play(self, work: Work | None, num_episodes: int, begins: bool) -> PlayedWork:
        """Play at most `num_episodes`, and begin another if asked to."""
        to_begin = deque(units(work))
        kind = self.begun[:2] if self.begun else to_begin[0][:2] if to_begin else (0, False)
        done: list[tuple[int, bool, int, int]] = []
        while len(done) < num_episodes:
            if self.begun is None:
                if not to_begin or to_begin[0][:2] != kind:
                    break
                self.begun = to_begin.popleft()
            done.append(self.begun)
            self.begun = None
        if begins and self.begun is None and to_begin and to_begin[0][:2] == kind:
            self.begun = to_begin.popleft()
        return PlayedWork(
            weights_seq_no=kind[0],
            candidate=np.array([unit[2] for unit in done], np.int32),
            evaluation=kind[1],
            episode_return=np.array([return_of(unit) for unit in done]),
            work_left=len(to_begin),
        )


def units(work: Work | None) -> list[tuple[int, bool, int, int]]:
    if work is None:
        return []
    return [
        (work.weights_seq_no, work.evaluation, candidate, episode)
        for candidate, episode in zip(work.candidates, work.episodes, strict=True)
    ]


def return_of(unit: tuple[int, bool, int, int]) -> float:
    """A return that no other episode has, so that a mean tells which episodes it is over."""
    number, evaluation, candidate, episode = unit
    return 1e6 * number + 1e3 * candidate + episode + (0.5 if evaluation else 0.0)


class LearningDriver(MachineDriver):
    """The machine of a run that learns, with a learner whose replies the test decides.

    Attributes:
        asked: Requests for parameters that the learner has not answered.
        reported: By generation, the returns of its candidates that the learner was told.
        pending_saves: Numbers of the generations whose policy is to be saved.
    """

    def __init__(self, machine: RunMachine) -> None:
        self.asked: list[AskLearner] = []
        self.reported: dict[int, np.ndarray] = {}
        self.pending_saves: list[int] = []
        self.num_created = 0
        self.players: dict[tuple[int, int], PlayingWorker] = {}
        self._last_answered = 0
        super().__init__(machine)

    @property
    def plan(self):  # type: ignore[no-untyped-def]
        return self.machine.plan

    def _perform(self, instructions: list[Instruction]) -> None:
        super()._perform(instructions)
        for instruction in instructions:
            match instruction:
                case CreateLearner():
                    self.num_created += 1
                    self.asked.clear()
                    self.pending_saves.clear()
                case AskLearner(results=results):
                    if results.returns is not None:
                        self.reported[self._last_answered] = results.returns
                    self.asked.append(instruction)
                case SavePolicy(weights_seq_no=number):
                    self.pending_saves.append(number)

    def answer(self, **extra: object) -> None:
        """Let the learner give its next parameters."""
        number = self.asked.pop(0).weights_seq_no
        self._last_answered = number
        ready = ParametersReady(number, POPULATION, 3, 0.5, 0)
        self.handle(replace(ready, **extra))  # type: ignore[arg-type]

    def learner_dies(self) -> None:
        """End the learner's process, and with it all that it was asked."""
        self.asked.clear()
        self.pending_saves.clear()
        self.handle(LearnerDied("SIGKILL"))

    def save_all(self) -> None:
        """Save all policies that are to be saved."""
        while self.pending_saves:
            self.handle(PolicyWritten(self.pending_saves.pop(0), "/best.npz"))

    def activity(self, index: int) -> Activity:
        """Return what a worker is doing."""
        return self.machine.activity_of(self.machine.workers[index])

    def plays(self, index: int, num_episodes: int = NO_LIMIT, begins: bool = False) -> PlayedWork:
        """Let a worker play and answer its oldest request."""
        request = self.requests[index].pop(0)
        player = self.players.setdefault((index, request.incarnation), PlayingWorker())
        played = player.play(request.work, 1 if request.drain else num_episodes, begins)
        drained = request.drain and player.begun is None
        self.handle_chunk(request, played, drained=drained)
        return played

    def handle_chunk(
        self, request: RequestRollout, played: PlayedWork, *, drained: bool = False
    ) -> None:
        if not played.evaluation:
            self.episodes += len(played.candidate)
            self.steps += 10 * len(played.candidate)
        chunk = ChunkArrived(
            request.worker_index,
            request.incarnation,
            0.1,
            0.0,
            self.steps,
            self.episodes,
            drained=drained,
            played=played,
        )
        self.handle(ChunkBatch.of([chunk]))

    def workers_end(self) -> None:
        """Let all workers that were told to stop, or killed, be gone at once."""
        while any(not worker.is_gone for worker in self.machine.workers.values()):
            for index in list(self.killed):
                self.die(index)
            for index in list(self.closing):
                self.closed(index)
            for index in [i for i, out in self.requests.items() if out]:
                self.plays(index)

    def generation(self) -> None:
        """Let all workers play until the learner is asked again or the run ends."""
        for _ in range(10_000):
            if self.asked or self.ended or self.machine.state is RunState.STOPPING:
                return
            for index in [i for i, out in self.requests.items() if out]:
                self.plays(index)
        raise AssertionError("the generation does not end")


def make(
    num_workers: int = 2,
    *,
    target: float | None = None,
    past: PastLearning | None = None,
    **learner: object,
) -> LearningDriver:
    spec = RunSpec(
        policy=PolicySpec(kind="linear"),
        learner=LearnerSpec(kind="cmaes", **learner),  # type: ignore[arg-type]
        stop=StopSpec(target_return=target),
    )
    driver = LearningDriver(RunMachine(spec, RequestedState(num_workers), learning=past))
    driver.all_ready()
    return driver


def expected_means(number: int, episodes: int) -> list[float]:
    return [
        float(np.mean([return_of((number, False, c, e)) for e in range(episodes)]))
        for c in range(POPULATION)
    ]


def test_nothing_is_requested_before_the_learner_gave_parameters() -> None:
    run = make()
    assert [question.weights_seq_no for question in run.asked] == [1]
    assert not any(run.requests.values())
    run.answer()
    assert all(run.requests[index] for index in (1, 2))


def test_each_candidate_plays_its_episodes_and_the_learner_is_told_their_mean() -> None:
    run = make(episodes_per_candidate=3)
    for number in (1, 2, 3):
        run.answer()
        run.generation()
        assert run.reported[number].tolist() == expected_means(number, 3)
    rows = run.plan.take_rows()
    assert [row.number for row in rows] == [1, 2]  # the third may be evaluated yet
    assert rows[0].return_best == max(expected_means(1, 3))
    assert rows[0].num_env_steps == 10 * 3 * POPULATION


def test_portions_get_smaller_so_that_all_workers_end_together() -> None:
    run = make(num_workers=2, episodes_per_candidate=20)
    run.answer()
    sizes = [len(request.work or ()) for index in (1, 2) for request in run.requests[index]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) < 20 * POPULATION


def test_a_worker_without_work_waits_for_the_next_generation() -> None:
    run = make(num_workers=8)
    run.answer()
    busy = [index for index, out in run.requests.items() if out]
    assert len(busy) < 8
    run.generation()
    run.answer()
    assert any(run.requests.values())


def test_a_worker_without_work_is_idle_and_can_be_paused() -> None:
    run = make(num_workers=2)
    assert run.activity(1) is Activity.IDLE
    run.answer()
    assert run.activity(1) is Activity.STEPPING
    run.generation()
    assert run.activity(1) is Activity.IDLE
    run.command(Verb.PAUSE, (1,))
    assert run.activity(1) is Activity.PAUSED
    run.command(Verb.RESUME, (1,))
    assert run.activity(1) is Activity.IDLE


def test_episodes_that_a_request_did_not_begin_are_handed_out_again() -> None:
    run = make(num_workers=1, episodes_per_candidate=4)
    run.answer()
    run.plays(1, num_episodes=1, begins=True)
    run.generation()
    assert run.reported[1].tolist() == expected_means(1, 4)


def test_candidates_of_a_dead_worker_are_handed_to_others() -> None:
    run = make(num_workers=2)
    run.answer()
    run.plays(1, num_episodes=0, begins=True)
    run.die(1)
    while run.requests[2]:
        run.plays(2)
    assert run.reported[1].tolist() == expected_means(1, 1)


def test_a_paused_workers_episode_is_given_to_others_and_counts_only_once() -> None:
    run = make(num_workers=2)
    run.answer()
    run.command(Verb.PAUSE, (1,))
    while run.requests[1]:
        run.plays(1, num_episodes=0, begins=True)
    while run.requests[2]:
        run.plays(2)
    assert run.reported[1].tolist() == expected_means(1, 1)
    run.command(Verb.RESUME, (1,))
    run.answer()
    run.generation()
    assert run.plan.num_stale == 1
    assert run.reported[2].tolist() == expected_means(2, 1)


def test_of_an_episode_that_two_workers_play_the_first_result_counts() -> None:
    run = make(num_workers=2)
    run.answer()
    run.command(Verb.PAUSE, (1,))
    while run.requests[1]:
        run.plays(1, num_episodes=0, begins=True)
    while run.plan.has_work:
        run.plays(2, num_episodes=1)
    assert run.requests[2], "it has the paused worker's episode now"
    run.command(Verb.RESUME, (1,))
    assert not run.requests[1], "there is nothing for it to do"
    run.command(Verb.SCALE, num_workers=3)
    run.ready(3)
    run.die(2)
    assert run.requests[1], "what the dead worker had is to be played again"
    run.generation()
    assert run.reported[1].tolist() == expected_means(1, 1)


def test_half_finished_episodes_go_on_after_a_paused_run_is_resumed() -> None:
    run = make(num_workers=2)
    run.answer()
    run.command(Verb.PAUSE)
    for index in (1, 2):
        while run.requests[index]:
            run.plays(index, num_episodes=0, begins=True)
    assert run.machine.state is RunState.PAUSED
    run.command(Verb.RESUME)
    run.generation()
    assert run.reported[1].tolist() == expected_means(1, 1)
    assert run.plan.num_stale == 0


def test_the_clock_goes_on_while_workers_wait_for_the_learner() -> None:
    run = make()
    run.answer()
    run.generation()
    before_s = run.machine.elapsed_s
    run.tick(2.0)
    assert run.machine.elapsed_s == pytest.approx(before_s + 2.0)


def test_the_best_guess_is_evaluated_every_few_generations() -> None:
    run = make(evaluation_interval=2, evaluation_episodes=3)
    evaluated = []
    for _ in range(6):
        run.answer()
        run.generation()
        evaluated += [(row.number, row.evaluation_n) for row in run.plan.take_rows()]
    assert evaluated == [(1, 0), (2, 3), (3, 0), (4, 3), (5, 0)]
    figures = run.plan.figures(run.t_s)
    assert figures.num_evaluation_episodes_lifetime == 6
    assert figures.evaluation_episode_return_mean == np.mean(
        [return_of((5, True, 2, episode)) for episode in range(3)]
    )


def test_evaluation_episodes_are_in_no_count_of_the_run() -> None:
    run = make(evaluation_interval=1, evaluation_episodes=7)
    for _ in range(3):
        run.answer()
        run.generation()
    assert run.episodes == 3 * POPULATION
    assert [row.num_env_steps for row in run.plan.take_rows()] == [50, 100]


def test_a_target_counts_once_fresh_episodes_confirm_it() -> None:
    run = make(evaluation_interval=1, evaluation_episodes=2, target=2e6)
    run.answer()
    run.generation()
    run.answer()
    run.generation()
    assert run.machine.ended_by is EndedBy.TARGET
    figures = run.plan.figures(run.t_s)
    assert figures.evaluation_n == CONFIRMING_EPISODES
    assert figures.evaluation_episode_return_mean == np.mean(
        [return_of((2, True, 2, episode)) for episode in range(CONFIRMING_EPISODES)]
    )
    (row,) = run.plan.take_rows()
    assert (row.number, row.evaluation_n) == (1, CONFIRMING_EPISODES)
    assert run.pending_saves == [2]
    run.workers_end()
    assert end_of(run) is None, "the best policy is not saved yet"
    run.save_all()
    assert run.ended is not None
    assert run.ended.state is RunState.FINISHED


def end_of(run: LearningDriver) -> EndRun | None:
    # A function, because mypy keeps the type that an attribute was narrowed to by an assertion.
    return run.ended


def ending_run_whose_learner_hangs() -> LearningDriver:
    """A run that reached its target and whose workers are gone, but not its best policy saved."""
    run = make(evaluation_interval=1, evaluation_episodes=2, target=2e6)
    for _ in range(2):
        run.answer()
        run.generation()
    run.workers_end()
    assert run.pending_saves == [2]
    return run


def test_a_learner_that_hangs_while_saving_holds_the_end_for_a_while_only() -> None:
    run = ending_run_whose_learner_hangs()
    grace_s = MachineSettings().save_grace_s
    run.tick(grace_s - 0.1)
    assert end_of(run) is None
    run.tick(0.2)
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.FINISHED, EndedBy.TARGET)
    (event,) = [event for event in run.events() if event.kind is EventKind.POLICY_NOT_SAVED]
    assert event.text == (
        "the best policy was not saved (generation 2, mean return 2 001 001 over 2 evaluation "
        "episodes): the learner did not answer for 10 s"
    )
    assert run.plan.figures(run.t_s).best_policy == ""


def test_a_policy_that_is_saved_in_time_is_the_runs_although_it_took_long() -> None:
    run = ending_run_whose_learner_hangs()
    run.tick(MachineSettings().save_grace_s - 0.1)
    run.save_all()
    assert run.ended is not None
    assert run.plan.figures(run.t_s).best_policy == "/best.npz"
    assert not [event for event in run.events() if event.kind is EventKind.POLICY_NOT_SAVED]


def test_workers_that_come_back_while_a_policy_is_saved_give_the_learner_its_time_again() -> None:
    run = make(evaluation_interval=1, evaluation_episodes=1)
    for _ in range(2):
        run.answer()
        run.generation()
    assert run.pending_saves
    grace_s = MachineSettings().save_grace_s
    run.command(Verb.KILL, (1, 2))
    run.workers_end()
    run.tick(grace_s - 0.1)
    assert end_of(run) is None
    run.command(Verb.RESTART, (1,))
    run.all_ready()
    run.tick(1.0)
    run.command(Verb.KILL, (1,))
    run.workers_end()
    run.tick(grace_s - 0.1)
    assert end_of(run) is None
    run.tick(0.2)
    assert run.ended is not None


def test_a_lucky_evaluation_that_is_not_confirmed_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lucky = {1: 10.0, 2: 1.0}
    monkeypatch.setitem(
        globals(), "return_of", lambda unit: lucky.get(unit[2], 0.0) if unit[1] else 0.0
    )
    run = make(evaluation_interval=1, evaluation_episodes=2, target=5.0)
    run.answer()
    run.generation()
    run.answer()
    run.generation()
    assert run.machine.ended_by is None
    (row,) = run.plan.take_rows()
    assert (row.evaluation_mean, row.evaluation_n) == (1.0, CONFIRMING_EPISODES)


def test_an_improved_policy_is_saved_and_marked() -> None:
    run = make(evaluation_interval=1, evaluation_episodes=1)
    for _ in range(3):
        run.answer()
        run.generation()
        run.save_all()
    kinds = [event.kind for event in run.events()]
    assert kinds.count(EventKind.POLICY_IMPROVED) == 2
    assert run.plan.figures(run.t_s).best_policy == "/best.npz"


def test_a_policy_that_can_not_be_saved_is_recorded_as_an_event() -> None:
    run = make(evaluation_interval=1, evaluation_episodes=1)
    run.answer()
    run.generation()
    run.answer()
    run.generation()
    run.handle(PolicyWritten(2, "/best.npz", "no room"))
    assert run.events()[-1].kind is EventKind.POLICY_NOT_SAVED
    assert not run.plan.best_policy


def test_an_error_episode_is_as_bad_as_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        globals(), "return_of", lambda unit: math.nan if unit[2] == 3 else -float(unit[2])
    )
    run = make()
    run.answer()
    run.generation()
    assert run.reported[1].tolist() == [0.0, -1.0, -2.0, -4.0, -4.0]


def test_a_generation_of_errors_alone_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "return_of", lambda unit: math.nan)
    run = make()
    run.answer()
    run.generation()
    assert not run.reported
    assert len(run.asked) == 1


def test_observations_of_candidates_are_handed_on_once() -> None:
    run = make(num_workers=1)
    run.answer()
    seen: list[ObservationSums] = []
    while not run.asked:
        request = run.requests[1].pop(0)
        played = PlayingWorker().play(request.work, NO_LIMIT, False)
        sums = ObservationSums.of(np.full((len(played.candidate), 2), float(len(seen))))
        seen.append(sums)
        run.handle_chunk(request, replace(played, observations=sums))
    merged = run.asked[0].results.observations
    assert merged is not None
    assert merged.count == POPULATION
    expected = ObservationSums.merged(seen)
    assert expected is not None
    assert merged.mean == pytest.approx(expected.mean)


def test_a_dead_learner_is_started_again_and_its_generation_dropped() -> None:
    run = make()
    run.answer()
    run.generation()
    run.answer()
    run.learner_dies()
    assert run.num_created == 2
    assert [question.weights_seq_no for question in run.asked] == [3]
    assert run.asked[0].results.returns is None
    run.answer(went_on_from=1)
    run.generation()
    assert run.reported[3].tolist() == expected_means(3, 1)
    (event,) = [e for e in run.events() if e.kind is EventKind.LEARNER_RESTARTED]
    assert "SIGKILL" in event.text
    assert "from generation 1" in event.text
    assert run.plan.num_stale > 0


def test_a_learner_that_keeps_dying_fails_the_run() -> None:
    run = make()
    for _ in range(MAX_LEARNER_DEATHS):
        run.learner_dies()
    run.settle()
    assert run.ended is not None
    assert (run.ended.state, run.ended.ended_by) == (RunState.FAILED, EndedBy.LEARNER_FAILED)
    assert "SIGKILL" in run.ended.cause


def test_a_learner_that_raises_fails_the_run_with_its_traceback() -> None:
    run = make()
    run.handle(LearnerFaulted(Fault("it raised", "because", detail="Traceback ...")))
    run.settle()
    assert run.ended is not None
    assert run.ended.state is RunState.FAILED
    assert run.ended.cause == "it raised: because."
    (event,) = [e for e in run.events() if e.kind is EventKind.LEARNER_FAILED]
    assert event.detail == "Traceback ..."


def test_a_search_that_started_again_is_marked() -> None:
    run = make()
    run.answer()
    run.generation()
    run.answer(num_restarts=1)
    assert [e.kind for e in run.events()].count(EventKind.LEARNER_RESTARTED) == 1


def test_generation_numbers_go_on_after_a_supervisors_death() -> None:
    before = LearningFigures(weights_seq_no=41, num_generations=40, best_policy="/b.npz")
    run = make(past=PastLearning(before))
    assert [question.weights_seq_no for question in run.asked] == [42]
    run.answer(went_on_from=38)
    run.generation()
    figures = run.plan.figures(0.0)
    assert (figures.num_generations, figures.best_policy) == (41, "/b.npz")


def test_a_stopping_run_hands_nothing_out() -> None:
    run = make()
    run.answer()
    run.command(Verb.STOP)
    for index in (1, 2):
        while run.requests[index]:
            run.plays(index, num_episodes=0, begins=True)
    run.settle()
    assert run.ended is not None
    assert not any(run.requests.values())


def test_a_drained_run_finishes_the_episodes_under_way_and_begins_no_other() -> None:
    run = make(num_workers=2, episodes_per_candidate=10)
    run.answer()
    run.plays(1, num_episodes=0, begins=True)
    before = run.episodes
    run.command(Verb.DRAIN)
    for _ in range(10):
        for index in (1, 2):
            if run.requests[index]:
                run.plays(index, num_episodes=0 if not run.requests[index][0].drain else 1)
    run.settle()
    assert run.ended is not None
    assert run.ended.ended_by is EndedBy.DRAINED
    assert run.episodes == before + 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *["play"] * 8, *["answer"] * 3, *["freeze"] * 3, *["thaw"] * 3, "die", "ready",
                "ready", "pause", "pause_run", "resume_run", "restart", "scale", "learner_dies",
                "save", "tick",
            ]
        ),
        st.integers(0, 7),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=120,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    actions=ACTIONS,
    num_workers=st.integers(1, 4),
    episodes=st.integers(1, 3),
    interval=st.integers(1, 3),
    target=st.sampled_from([None, 4e6]),
)
def test_whatever_happens_each_candidates_episodes_count_exactly_once(
    actions: list[tuple[str, int, int, bool]],
    num_workers: int,
    episodes: int,
    interval: int,
    target: float | None,
) -> None:
    run = make(
        num_workers,
        episodes_per_candidate=episodes,
        evaluation_interval=interval,
        evaluation_episodes=2,
        target=target,
    )
    for action, which, count, flag in actions:
        workers = sorted(run.machine.workers)
        index = workers[which % len(workers)]
        match action:
            case "play" if run.requests[index]:
                run.plays(index, count, flag)
            case "die" if run.machine.workers[index].in_flight or index in run.killed:
                run.die(index)
            case "ready" if index in run.starting:
                run.ready(index)
            case "answer" if run.asked:
                run.answer()
            case "pause" | "restart":
                run.command(Verb[action.upper()], (index,))
            case "freeze":
                run.command(Verb.PAUSE, (index,))
                while run.requests[index]:
                    run.plays(index, 0, begins=True)
            case "thaw":
                run.command(Verb.RESUME, (index,))
            case "pause_run" | "resume_run":
                run.command(Verb[action.removesuffix("_run").upper()])
            case "scale":
                run.command(Verb.SCALE, num_workers=1 + count)
            case "learner_dies" if run.plan._deaths < MAX_LEARNER_DEATHS - 2:
                run.learner_dies()
            case "save":
                run.save_all()
            case "tick":
                run.tick(0.5)
        for number, returns in run.reported.items():
            assert returns.tolist() == expected_means(number, episodes)
        if run.ended or run.machine.state is RunState.STOPPING:
            return
    # From here nothing more goes wrong, and the generation comes to its end.
    run.command(Verb.RESUME)
    run.command(Verb.RESUME, tuple(run.machine.workers))
    run.command(Verb.SCALE, num_workers=2)
    for _ in range(40):
        for index in list(run.killed):
            run.die(index)
        for index in list(run.closing):
            run.closed(index)
        run.tick(1.0)
        run.all_ready()
    reported_before = len(run.reported)
    for _ in range(2):
        if run.asked:
            run.answer()
        run.generation()
    assert len(run.reported) > reported_before or run.machine.ended_by is EndedBy.TARGET
    for number, returns in run.reported.items():
        assert returns.tolist() == expected_means(number, episodes)
