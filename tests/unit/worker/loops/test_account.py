"""The account of a worker counts what its loop tells it, and makes a chunk of each slice."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.states import Ending
from raydash.worker.loops.account import (
    BATCH_S,
    MAX_BATCH,
    MAX_FAILURES_IN_A_ROW,
    EpisodeAccount,
    Incarnation,
)
from raydash.worker.loops.chunk_builder import (
    MAX_ERRORS,
    MAX_RESET_SAMPLES,
    MAX_STEP_SAMPLES,
    MAX_TRACEBACK,
    ChunkBuilder,
)
from raydash.worker.loops.vector_account import FAILED, VectorAccount
from raydash.worker.node.progress import HURRY, ProgressWriter
from tests.fakes.clock import FakeClock


@dataclass(frozen=True)
class Episode:
    """One finished episode, as a loop tells of it."""

    episode_return: float
    episode_len: int
    ending: int
    is_evaluating: bool


EPISODES = st.builds(
    Episode,
    episode_return=st.floats(-1e6, 1e6),
    episode_len=st.integers(0, 1000),
    ending=st.sampled_from(list(map(int, Ending))),
    is_evaluating=st.booleans(),
)


def incarnation(clock: FakeClock) -> Incarnation:
    return Incarnation(3, 1, clock, ProgressWriter())


@given(slices=st.lists(st.lists(EPISODES, max_size=5), min_size=1, max_size=4))
def test_chunks_hold_every_episode_and_totals_all_but_those_of_evaluations(
    slices: list[list[Episode]],
) -> None:
    clock = FakeClock()
    account = EpisodeAccount(incarnation(clock))
    counted: list[Episode] = []
    for episodes in slices:
        builder = account.begin_slice(1.0)
        for each in episodes:
            account.is_evaluating = each.is_evaluating
            account.episode_started_s = clock()
            clock.advance(0.5)
            account.record(builder, clock(), each.episode_return, each.episode_len, each.ending)
        counted += [each for each in episodes if not each.is_evaluating]
        chunk = account.chunk(builder)
        assert chunk.episode_return.tolist() == [each.episode_return for each in episodes]
        assert chunk.episode_len.tolist() == [each.episode_len for each in episodes]
        assert chunk.ending.tolist() == [each.ending for each in episodes]
        assert chunk.episode_duration_s.tolist() == [0.5] * len(episodes)
        assert chunk.totals.num_episodes == len(counted)
        assert chunk.totals.num_env_steps == sum(each.episode_len for each in counted)
        assert chunk.totals.num_error == sum(each.ending == Ending.ERROR for each in counted)


@pytest.mark.parametrize(("is_evaluating", "steps"), [(False, 7), (True, 0)])
def test_steps_of_an_unfinished_episode_count_unless_it_is_an_evaluation(
    is_evaluating: bool, steps: int
) -> None:
    account = EpisodeAccount(incarnation(FakeClock()))
    account.episode_len, account.episode_return = 7, 3.5
    account.is_evaluating = is_evaluating
    chunk = account.chunk(account.begin_slice(1.0))
    assert chunk.totals.num_env_steps == steps
    assert chunk.partial_len.tolist() == [steps]
    assert chunk.partial_return.tolist() == [steps / 2]


@pytest.mark.parametrize(
    ("between", "length", "hurry", "drain", "is_over"),
    [
        (False, 5, 0, False, False),
        (False, 5, 1, False, True),
        (False, 5, 1, True, False),
        (False, 0, 0, True, True),
        (True, 0, 0, True, True),
        (True, 0, 0, False, False),
    ],
)
def test_a_slice_is_over_at_once_in_a_hurry_or_if_nothing_is_left_to_drain(
    between: bool, length: int, hurry: int, drain: bool, is_over: bool
) -> None:
    account = EpisodeAccount(incarnation(FakeClock()))
    account.between_episodes, account.episode_len = between, length
    account.progress.cells[HURRY] = hurry
    assert account.begin_slice(1.0, drain=drain).is_over is is_over


@pytest.mark.parametrize(
    ("failures", "late_s", "hurry", "drain", "is_over"),
    [
        (1, 0.0, 0, False, False),
        (MAX_FAILURES_IN_A_ROW, 0.0, 0, False, True),
        (1, 2.0, 0, False, True),
        (1, 0.0, 1, False, True),
        (1, 0.0, 0, True, True),
    ],
)
def test_a_failure_ends_the_slice_unless_there_is_time_for_another_try(
    failures: int, late_s: float, hurry: int, drain: bool, is_over: bool
) -> None:
    clock = FakeClock()
    account = EpisodeAccount(incarnation(clock))
    builder = account.begin_slice(1.0, drain=drain)
    account.failures_in_a_row = failures
    account.progress.cells[HURRY] = hurry
    clock.advance(late_s)
    account.end_slice_unless_retried(builder)
    assert builder.is_over is is_over


def test_batches_grow_by_no_more_than_twice_and_shrink_at_once() -> None:
    account = EpisodeAccount(incarnation(FakeClock()))
    sizes = []
    for step_s in (1e-9, 1e-9, 1e-9, BATCH_S, 0.0):
        account.adapt_batch(account.batch_size, account.batch_size * step_s)
        sizes.append(account.batch_size)
    assert sizes == [2, 4, 8, 1, 2]
    for _ in range(20):
        account.adapt_batch(account.batch_size, 0.0)
    assert account.batch_size == MAX_BATCH


def test_time_of_a_batch_is_split_like_its_timed_step() -> None:
    account = EpisodeAccount(incarnation(FakeClock()))
    account.note_timed_step(account.begin_slice(1.0), 10.0, 11.0, 14.0)
    account.add_stepping_time(8.0)
    assert (account.policy_time_s, account.step_time_s) == (2.0, 6.0)


def test_a_slice_keeps_its_first_samples_and_errors() -> None:
    builder = ChunkBuilder(100.0, 101.0, drain=False)
    for n in range(1000):
        builder.add_step(100.5 + n, float(n))
        builder.add_reset(float(n))
        builder.add_exception(100.25, "step", RuntimeError("x" * 2 * MAX_TRACEBACK), "bird: ")
    assert builder.first_step_s == 100.5
    assert builder.step_samples_s == list(range(MAX_STEP_SAMPLES))
    assert builder.reset_samples_s == list(range(MAX_RESET_SAMPLES))
    assert len(builder.errors) == MAX_ERRORS
    assert builder.errors[0].offset_s == 0.25
    assert builder.errors[0].message.startswith("bird: RuntimeError: xx")
    assert len(builder.errors[0].traceback) == MAX_TRACEBACK


def test_episodes_of_several_environments_end_with_the_flags_of_their_last_step() -> None:
    clock = FakeClock()
    account = VectorAccount(incarnation(clock), 4)
    builder = account.begin_slice(1.0)
    account.returns[:], account.lens[:] = [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]
    account.num_steps = 10
    clock.advance(0.5)
    account.record(
        builder,
        clock(),
        np.array([0, 1, 3]),
        np.array([True, False, True]),
        np.array([False, True, True]),
    )
    failed = np.full(1, FAILED, np.uint8)
    account.record(builder, clock(), np.array([2]), failed, np.zeros_like(failed))
    chunk = account.chunk(builder)
    assert chunk.env_index.tolist() == [0, 1, 3, 2]
    assert chunk.episode_return.tolist() == [1.0, 2.0, 4.0, 3.0]
    assert chunk.episode_len.tolist() == [1, 2, 4, 3]
    assert chunk.ending.tolist() == [
        Ending.TERMINATED,
        Ending.TRUNCATED,
        Ending.BOTH,
        Ending.ERROR,
    ]
    assert (chunk.totals.num_episodes, chunk.totals.num_env_steps) == (4, 10)
    assert (chunk.totals.num_terminated, chunk.totals.num_truncated) == (2, 2)
    assert chunk.partial_len.tolist() == [0] * 4
    assert account.is_drained
