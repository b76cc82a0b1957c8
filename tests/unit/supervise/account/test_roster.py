"""The roster shows what each worker of a run is doing."""

from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import ParametersReady
from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec
from raydash.core.states import Activity
from raydash.supervise.account.ledger import Ledger
from raydash.supervise.account.roster import IDLE_AFTER_S, Roster
from tests.fakes.runs.machine_driver import worker_ready


class LearningRun:
    """A run that learns, whose two workers wait for their first candidates from 1 s on."""

    def __init__(self) -> None:
        spec = RunSpec(policy=PolicySpec("linear"), learner=LearnerSpec("cmaes"))
        self.machine = RunMachine(spec, RequestedState(num_workers=2))
        self.machine.start(0.0)
        for index in (1, 2):
            self.machine.handle(worker_ready(index), 1.0)
        self.roster = Roster()

    def shown(self, t_s: float) -> list[tuple[Activity, float]]:
        self.roster.update_activities(self.machine, {}, t_s)
        columns = self.roster.columns(self.machine, Ledger(), {}, t_s)
        rows = zip(columns.activity.tolist(), columns.activity_age_s.tolist(), strict=True)
        return [(Activity(number), round(age_s, 3)) for number, age_s in rows]


def test_a_worker_that_waits_for_candidates_is_shown_as_idle_with_its_age() -> None:
    run = LearningRun()
    assert run.shown(4.0) == [(Activity.IDLE, 3.0)] * 2
    assert run.shown(5.0) == [(Activity.IDLE, 4.0)] * 2


def test_a_short_wait_between_two_generations_is_no_idling() -> None:
    run = LearningRun()
    assert run.shown(1.0 + IDLE_AFTER_S / 2) == [(Activity.STEPPING, 0.0)] * 2
    assert run.shown(1.1 + IDLE_AFTER_S)[0][0] is Activity.IDLE


def test_a_worker_that_is_given_candidates_is_shown_as_stepping() -> None:
    run = LearningRun()
    assert run.shown(4.0)[0][0] is Activity.IDLE
    run.machine.handle(ParametersReady(1, 16, 10, 0.5, 0), 4.0)
    assert run.shown(4.1) == [(Activity.STEPPING, 0.0)] * 2
    assert run.shown(4.6) == [(Activity.STEPPING, 0.5)] * 2
