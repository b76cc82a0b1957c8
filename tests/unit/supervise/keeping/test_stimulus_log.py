"""What a supervisor that fails leaves behind: stimuli of its machine, to be played again."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raydash.core.events import EventKind
from raydash.core.machine.stimuli import ChunkBatch, Ticked, WorkerClosed
from raydash.core.messages import Verb
from raydash.core.spec import RunSpec
from raydash.supervise.keeping.stimulus_log import (
    MAX_BYTES,
    MAX_STIMULI,
    StimulusLog,
    machine_of,
    read_log,
)
from tests.fakes.places import ROOT
from tests.fakes.runs.supervised_run import SupervisedRun


def play_again(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts._replay.replay", str(path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_saved_run_is_played_again_to_the_same_state(tmp_path: Path) -> None:
    run = SupervisedRun(3, stimuli=tmp_path / "run.stimuli-0.log")
    reader = run.reader()
    run.turns(1.0, reader)
    run.command(reader, Verb.PAUSE, (2,))
    run.pool.crash(1, 0)
    run.turns(1.0, reader)
    path = run.supervisor.save_stimuli(ValueError("no such luck"))
    assert path is not None
    header, stimuli = read_log(path)
    machine = machine_of(header)
    for t_s, stimulus in stimuli:
        machine.handle(stimulus, t_s)
        machine.validate()
    assert header.start.is_run_start
    assert machine.commanded == run.machine.commanded
    assert machine.num_restarts == run.machine.num_restarts == 1
    played = {index: (w.phase, w.in_flight) for index, w in machine.workers.items()}
    assert played == {index: (w.phase, w.in_flight) for index, w in run.machine.workers.items()}


def test_the_script_says_that_the_machine_took_all_of_it(tmp_path: Path) -> None:
    run = SupervisedRun(2, stimuli=tmp_path / "run.stimuli-0.log")
    run.turns(0.5)
    path = run.supervisor.save_stimuli(ValueError("no such luck"))
    assert path is not None
    done = play_again(path, "--worker", "1")
    assert done.returncode == 0, done.stderr
    assert "ended with ValueError: no such luck" in done.stdout
    assert "RequestRollout(worker_index=1" in done.stdout
    assert "worker_index=2" not in done.stdout.partition("lies outside")[0].replace("[1, 2]", "")


def test_the_script_stops_where_the_machine_raises(tmp_path: Path) -> None:
    run = SupervisedRun(1, stimuli=tmp_path / "run.stimuli-0.log")
    run.turns(0.5)
    uneven = replace(ChunkBatch.of([]), error=("of a chunk that is not there",))
    with pytest.raises(ValueError, match="zip"):
        run.supervisor._handle(uneven, 1.0)
    path = run.supervisor.save_stimuli(ValueError())
    assert path is not None
    done = play_again(path)
    assert done.returncode == 1
    assert "zip() argument" in done.stderr


def test_a_file_of_something_else_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run.stimuli-0.log"
    path.write_bytes(b"no log")
    done = play_again(path)
    assert done.returncode == 2
    assert "can't be played again" in done.stderr


def test_the_next_supervisor_names_the_file_and_tells_the_story(tmp_path: Path) -> None:
    path = tmp_path / "run.stimuli-0.log"
    run = SupervisedRun(2, stimuli=path)
    run.turns(0.5)
    run.supervisor._handle(WorkerClosed(2, 7), 0.5)
    run.supervisor.save_stimuli(AssertionError("worker 2 is nowhere"))
    run = SupervisedRun(2, incarnation=1, earlier_stimuli=path)
    reader = run.reader()
    run.turns(0.3, reader)
    restarted = reader.events[0]
    assert restarted.kind is EventKind.SUPERVISOR_RESTARTED
    assert "it failed: AssertionError: worker 2 is nowhere" in restarted.text
    assert path.name in restarted.text
    assert "WorkerClosed(worker_index=2, incarnation=7)" in restarted.detail
    assert "WorkerRecord(index=2" in restarted.detail


def test_a_supervisor_that_was_killed_left_nothing_to_tell(tmp_path: Path) -> None:
    run = SupervisedRun(1, incarnation=1, earlier_stimuli=tmp_path / "none.log")
    reader = run.reader()
    run.turns(0.3, reader)
    assert reader.events[0].text == "supervisor restarted, the run goes on"


def test_the_log_stays_within_its_bounds_and_a_later_beginning_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.stimuli-0.log"
    run = SupervisedRun(2)
    log = StimulusLog("run", RunSpec(), run.machine, path=path)
    for number in range(3 * MAX_STIMULI):
        log.add(Ticked(), number / 10)
    assert log.save(ValueError()) == path
    header, stimuli = read_log(path)
    assert MAX_STIMULI // 2 <= len(stimuli) <= MAX_STIMULI
    assert stimuli[-1] == ((3 * MAX_STIMULI - 1) / 10, Ticked())
    assert not header.start.is_run_start
    assert path.stat().st_size < MAX_BYTES
    machine_of(header).validate()


def test_a_stimulus_that_cannot_be_kept_does_not_end_the_run(tmp_path: Path) -> None:
    run = SupervisedRun(1)
    log = StimulusLog("run", RunSpec(), run.machine, path=tmp_path / "log")
    log.add(WorkerClosed(1, "\ud800"), 1.0)  # type: ignore[arg-type]
    log.add(Ticked(), 2.0)
    assert log.save(ValueError()) is not None
    assert read_log(tmp_path / "log")[1] == [(2.0, Ticked())]
