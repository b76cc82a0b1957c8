"""After a swap of the policy, chunks, workers, updates, recording and answer agree."""

from pathlib import Path

import numpy as np
import pytest

from raydash.core.events import EventKind
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.messages import Verb
from raydash.core.spec import PolicySpec
from raydash.core.states import Activity
from tests.fakes.runs.supervised_run import Reader, SupervisedRun


@pytest.fixture
def new(tmp_path: Path) -> PolicySpec:
    (tmp_path / "new.onnx").touch()
    return PolicySpec("onnx", str(tmp_path / "new.onnx"))


def stepping(num_workers: int = 3) -> tuple[SupervisedRun, Reader]:
    run = SupervisedRun(num_workers)
    reader = run.reader()
    run.until(lambda: run.activities() == {Activity.STEPPING}, reader)
    run.turns(1.0, reader)
    return run, reader


def test_a_swap_counts_up_everywhere_and_loses_nothing(new: PolicySpec) -> None:
    run, reader = stepping()
    incarnations = [worker.incarnation for worker in run.machine.workers.values()]
    number = run.command(reader, Verb.SWAP, policy=new)
    run.until(lambda: reader.answers[number], reader)
    assert [answer.fault for answer in reader.answers[number]] == [None]
    run.turns(3.0, reader)
    update = reader.latest
    assert update is not None
    assert (update.policy, update.weights_seq_no) == (new, 1)
    assert update.workers.weights_seq_no.tolist() == [1, 1, 1]
    assert [worker.incarnation for worker in run.machine.workers.values()] == incarnations
    numbers = [chunk.weights_seq_no for chunk in run.pool.chunks]
    assert set(numbers) == {0, 1}
    for index in (1, 2, 3):
        own = [chunk.weights_seq_no for chunk in run.pool.chunks if chunk.worker_index == index]
        assert own == sorted(own)
    extras = [batch.extras.weights_seq_no for batch in run.recording.batches]
    played = np.bincount(np.concatenate(extras))
    assert played.tolist() == [
        sum(len(c.ending) for c in run.pool.chunks if c.weights_seq_no == which) for which in (0, 1)
    ]
    assert run.ledger.num_episodes() == played.sum()
    last = run.recording.batches[-1]
    assert (last.commanded.version, last.weights_seq_no) == (PolicyVersion(new, 1), 1)
    assert run.recording.batches[0].commanded.version == PolicyVersion()
    marks = [e for e in run.recording.events() if e.kind is EventKind.POLICY_SWAPPED]
    assert len(marks) == 1
    assert marks[0].kind.is_mark


def test_a_worker_made_later_begins_with_it(new: PolicySpec) -> None:
    run, reader = stepping()
    number = run.command(reader, Verb.SWAP, policy=new)
    run.until(lambda: reader.answers[number], reader)
    before = len(run.pool.chunks)
    number = run.command(reader, Verb.SCALE, num_workers=4)
    run.until(lambda: reader.answers[number], reader)
    run.turns(2.0, reader)
    later = [chunk for chunk in run.pool.chunks[before:] if chunk.worker_index == 4]
    assert later
    assert {chunk.weights_seq_no for chunk in later} == {1}


def test_a_policy_that_no_worker_can_take_changes_nothing(tmp_path: Path) -> None:
    run, reader = stepping()
    gone = PolicySpec("onnx", str(tmp_path / "gone.onnx"))
    number = run.command(reader, Verb.SWAP, policy=gone)
    run.until(lambda: reader.answers[number], reader)
    (answer,) = reader.answers[number]
    assert answer.fault is not None
    assert "there is no such file" in answer.fault.why
    run.turns(2.0, reader)
    assert reader.latest is not None
    assert (reader.latest.policy, reader.latest.weights_seq_no) == (None, 0)
    assert {chunk.weights_seq_no for chunk in run.pool.chunks} == {0}
    refused = [e for e in run.recording.events() if e.kind is EventKind.POLICY_REFUSED]
    assert [event.worker_index for event in refused] == [1, 2, 3]
