"""Counts equal those of the environments themselves, which keep their own."""

import math
from collections import Counter
from contextlib import closing
from pathlib import Path

from raydash.core.events import EventKind
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.record.read.query import open_read_only
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.runs.recount import check_recording

TAPED = "tests.fakes.user_code.envs:TapedEnv"
RAISING = "tests.fakes.user_code.envs:RaisingEnv"

Played = tuple[float, int, str]


def _played(tape: Path) -> list[Played]:
    lines = [line.split() for line in tape.read_text().splitlines()]
    return [(float(total), int(length), ending) for total, length, ending in lines]


def _recorded(run: SeenRun, worker: int) -> list[Played]:
    with closing(open_read_only(run.recording)) as connection:
        rows = connection.execute(
            "SELECT episode_return, episode_len, ending FROM episodes WHERE worker_index = ?"
            " ORDER BY rowid",
            [worker],
        ).fetchall()
    return [(total, length, Ending(ending).name.lower()) for total, length, ending in rows]


def _comparable(played: list[Played]) -> list[tuple[float | str, int, str]]:
    """NaN is not equal to itself, and an error episode has no return."""
    return [
        ("none" if ending == "error" or math.isnan(total) else total, length, ending)
        for total, length, ending in played
    ]


def test_every_episode_is_counted_once_with_its_return_length_and_ending(
    terminal: Terminal, tmp_path: Path
) -> None:
    workers = (1, 2, 3)
    run = terminal.start_stepping(
        env={"id": TAPED, "kwargs": {"folder": str(tmp_path)}}, rollout={"num_workers": 3}
    )
    tapes = {worker: tmp_path / f"{run.pid(worker)}.tape" for worker in workers}
    terminal.wait(lambda: (run.latest.workers.num_episodes > 40).all(), "several rounds of each")
    last = terminal.stop(run)

    played = {worker: _played(tapes[worker]) for worker in workers}
    for worker in workers:
        assert _comparable(_recorded(run, worker)) == _comparable(played[worker])
    every = [episode for of_one in played.values() for episode in of_one]
    kinds = Counter(ending for _, _, ending in every)
    returns = [total for total, _, ending in every if ending != "error"]
    told = last.figures
    assert told.num_episodes_lifetime == len(every)
    assert told.num_episodes_both_lifetime == kinds["both"]
    assert told.num_episodes_terminated_lifetime == kinds["terminated"] + kinds["both"]
    assert told.num_episodes_truncated_lifetime == kinds["truncated"] + kinds["both"]
    assert told.num_episodes_error_lifetime == kinds["error"]
    assert math.isnan(told.episode_return_mean)
    assert told.episode_return_min == min(x for x in returns if not math.isnan(x))
    assert told.episode_return_max == max(x for x in returns if not math.isnan(x))
    finished_steps = sum(length for _, length, _ in every)
    assert told.num_env_steps_sampled_lifetime == finished_steps + last.workers.partial_len.sum()
    assert run.recent.num_error.sum() == kinds["error"]
    assert run.recent.num_both.sum() == kinds["both"]
    assert round(run.recent.num_env_steps.sum()) == told.num_env_steps_sampled_lifetime
    check_recording(run)


def test_errors_of_an_environment_are_events_with_their_traceback_and_the_run_goes_on(
    terminal: Terminal, tmp_path: Path
) -> None:
    run = terminal.start(
        env={"id": TAPED, "kwargs": {"folder": str(tmp_path)}}, rollout={"num_workers": 1}
    )
    terminal.wait(lambda: run.kinds().count(EventKind.ENV_ERROR) >= 2, "two error events")
    first = next(event for event in run.of(1) if event.kind is EventKind.ENV_ERROR)
    assert first.text.startswith("worker 1: step raised RuntimeError: the tape tears")
    assert "Traceback" in first.detail
    assert 'raise RuntimeError("the tape tears")' in first.detail
    last = terminal.stop(run)
    counted = sum(event.count for event in run.of(1) if event.kind is EventKind.ENV_ERROR)
    assert counted == last.figures.num_episodes_error_lifetime > 0
    assert last.workers.incarnation[0] == 0
    check_recording(run)


def test_five_errors_in_a_row_fail_the_worker_and_then_the_run_with_the_cause(
    terminal: Terminal,
) -> None:
    run = terminal.start(env={"id": RAISING})
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FAILED, EndedBy.WORKERS_FAILED)
    assert last.cause == "RuntimeError: the simulator has gone"
    assert set(last.workers.activity) == {Activity.FAILED}
    assert (last.workers.num_error == last.workers.num_episodes).all()
    assert (last.workers.num_error >= 5).all()
    assert run.kinds().count(EventKind.WORKER_FAILED) == 2
    check_recording(run)
