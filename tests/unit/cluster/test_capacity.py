"""A machine's memory has to hold a new run's workers beside those that are still starting."""

import pytest

from raydash.cluster import capacity
from raydash.cluster.capacity import WORKER_BYTES, why_too_many
from tests.fakes.engines.engine import summary

TEN = 10 * WORKER_BYTES + WORKER_BYTES // 2


@pytest.fixture(autouse=True)
def _room_for_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "available_bytes", lambda: TEN)


def test_as_many_workers_as_fit_are_allowed() -> None:
    assert why_too_many(10) is None
    fault = why_too_many(11)
    assert fault is not None
    assert fault.bad_input
    assert fault.keys == ("rollout.num_workers",)
    assert fault.remedy == "Choose at most 10 workers"


def test_workers_that_step_have_their_memory_already() -> None:
    assert why_too_many(10, [summary(num_workers=50)]) is None


def test_workers_that_are_starting_have_a_claim_before_the_new_ones() -> None:
    live = [summary(num_workers=8), summary(num_workers=6, num_workers_starting=6)]
    assert why_too_many(4, live) is None
    fault = why_too_many(5, live)
    assert fault is not None
    assert "beside the 14 workers of the runs that go on, of which 6 are still starting" in (
        fault.why
    )
    assert fault.remedy == "Choose at most 4 workers, or stop a run"


def test_where_nothing_fits_a_run_has_to_be_stopped() -> None:
    fault = why_too_many(1, [summary(num_workers=12, num_workers_starting=12)])
    assert fault is not None
    assert fault.remedy == "Stop a run first"
