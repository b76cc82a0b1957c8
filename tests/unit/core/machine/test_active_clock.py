"""`elapsed_s` runs from the first step on, and only while requests are in flight."""

import math

import pytest

from raydash.core.machine.active_clock import ActiveClock


def test_nothing_elapses_before_the_first_step() -> None:
    clock = ActiveClock()
    clock.advance(1.0, running=True)
    clock.advance(50.0, running=True)
    assert clock.elapsed_s == 0.0


def test_the_first_chunk_with_a_step_says_when_the_clock_began() -> None:
    clock = ActiveClock()
    clock.advance(1.0, running=True)
    clock.advance(5.0, running=True)
    clock.note_chunk(5.0, 0.5, math.nan)
    assert clock.elapsed_s == 0.0
    clock.advance(6.0, running=True)
    clock.note_chunk(6.0, 0.5, 0.2)
    assert clock.elapsed_s == pytest.approx(0.3)
    clock.note_chunk(6.0, 0.5, 0.0)
    assert clock.elapsed_s == pytest.approx(0.3)


def test_the_clock_stands_while_no_request_is_out() -> None:
    clock = ActiveClock()
    clock.advance(0.0, running=True)
    clock.note_chunk(1.0, 1.0, 0.0)
    clock.advance(2.0, running=False)
    clock.advance(100.0, running=True)
    clock.advance(101.5, running=True)
    assert clock.elapsed_s == pytest.approx(1.0 + 1.0 + 1.5)


def test_a_run_that_goes_on_adds_to_what_it_had() -> None:
    clock = ActiveClock(elapsed_s=40.0)
    clock.advance(100.0, running=False)
    clock.advance(103.0, running=True)
    clock.advance(104.0, running=True)
    clock.note_chunk(104.0, 1.0, 0.5)
    assert clock.elapsed_s == pytest.approx(41.0)
