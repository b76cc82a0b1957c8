"""What a recording says of a learner can be restored and shown, and stays bounded."""

import math
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from raydash.core.analysis.run_table import learning_table
from raydash.core.events import Event, EventKind
from raydash.core.records import EpisodeColumns, EvaluationEpisodes
from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec, StopSpec
from raydash.core.updates import MAX_GENERATIONS, GenerationRow, Generations, LearningFigures
from raydash.record.export.document import figures_table
from raydash.record.file.folder import best_policy_of, entry_of, learner_state_of
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunRow
from raydash.record.opened_run import OpenedRun
from raydash.record.read.query import open_read_only
from raydash.record.read.restore import restore
from raydash.record.read.snapshot import snapshot
from raydash.record.write.recorder import Recorder
from raydash.supervise.learning import GenerationLog
from tests.fakes.clock import FakeClock

SPEC = RunSpec(
    policy=PolicySpec("linear"), learner=LearnerSpec("cmaes"), stop=StopSpec(target_return=475.0)
)


def generations(first: int, end: int, *, evaluated: bool = False) -> Generations:
    return Generations.of(
        [
            GenerationRow(
                number=n,
                end_s=float(n),
                num_env_steps=100 * n,
                return_mean=float(n),
                return_best=n + 0.5,
                return_worst=math.nan if n == 2 else n - 0.5,
                evaluation_mean=10.0 * n if evaluated and n == end - 1 else math.nan,
                evaluation_n=3 if evaluated and n == end - 1 else 0,
                sigma=0.5,
            )
            for n in range(first, end)
        ]
    )


def evaluation(number: int, end_s: float, count: int) -> EvaluationEpisodes:
    ints = np.full(count, 1, np.int32)
    episodes = EpisodeColumns(
        np.full(count, end_s),
        ints,
        0 * ints,
        0 * ints,
        np.linspace(1.0, 2.0, count),
        7 * ints,
        np.zeros(count, np.uint8),
        np.full(count, 0.1, np.float32),
    )
    return EvaluationEpisodes(episodes, 4 * ints, number * ints)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Record three generations, the third of them evaluated, and then two more."""
    path = tmp_path / "r.duckdb"
    clock = FakeClock()
    recorder = Recorder(path, clock=clock, commit_interval_s=0.01)
    recorder.begin(RunRow("r", SPEC, "me@here", "2026-11-25T10:00:00+00:00"), _life())
    recorder.append(
        RecordBatch(
            t_s=3.5,
            elapsed_s=3.0,
            generations=generations(1, 4, evaluated=True),
            evaluations=evaluation(1, 3.2, 3),
            learning=_figures(3, evaluation_mean=30.0, evaluation_n=3),
            events=[Event(1, 3.3, EventKind.POLICY_IMPROVED, "better", None, "/r.best.npz")],
        )
    )
    clock.advance(1.0)  # so that the parameters have an age
    until_s = time.monotonic() + 30.0
    while recorder.lag_s or not recorder.num_bytes:
        assert time.monotonic() < until_s
        threading.Event().wait(0.01)
    recorder.append(
        RecordBatch(
            t_s=6.0,
            elapsed_s=5.5,
            generations=generations(4, 6),
            learning=_figures(5, evaluation_mean=30.0, evaluation_n=3, num_stale=2),
        )
    )
    recorder.close()
    return path


def _life() -> IncarnationRow:
    return IncarnationRow(0, 0.0, "2026-11-25T10:00:00+00:00", "n", 1)


def _figures(
    count: int, *, evaluation_mean: float, evaluation_n: int, num_stale: int = 0
) -> LearningFigures:
    return LearningFigures(
        weights_seq_no=count + 1,
        weights_age_s=0.25,
        population=10,
        num_played=4,
        num_generations=count,
        num_parameters=10,
        best_episode_return_mean=count + 0.5,
        evaluation_episode_return_mean=evaluation_mean,
        evaluation_n=evaluation_n,
        num_evaluation_episodes_lifetime=3,
        best_policy="/elsewhere/r.best.npz",
        num_stale=num_stale,
    )


def test_a_restarted_supervisor_goes_on_from_the_newest_commit(recording: Path) -> None:
    found = restore(recording)
    assert found is not None
    past = found.learning
    assert (past.figures.weights_seq_no, past.figures.num_generations) == (6, 5)
    assert (past.figures.num_stale, past.figures.population) == (2, 10)
    assert past.generations_since_evaluation == 2
    assert (past.evaluation_number, past.best_evaluation_mean) == (1, 30.0)
    assert found.generations.number.tolist() == [1, 2, 3, 4, 5]
    assert math.isnan(found.generations.return_worst[1])
    assert found.sums.return_n == 0, "evaluation episodes are no episodes of the run"


def test_a_recording_shows_the_learner_as_it_was_at_any_instant(recording: Path) -> None:
    best_policy_of(recording).write_bytes(b"x")
    at_end, earlier, before = (snapshot(recording, at_s) for at_s in (None, 4.0, 1.0))
    assert at_end.learning is not None
    assert at_end.learning.num_generations == 5
    assert at_end.learning.target_return == 475.0
    assert at_end.learning.best_policy == str(best_policy_of(recording))
    assert at_end.weights_seq_no == 6
    assert earlier.learning is not None
    assert earlier.learning.num_generations == 3
    assert earlier.learning.generations.number.tolist() == [1, 2, 3, 4]
    assert before.learning is not None
    assert (before.learning.num_generations, before.learning.target_return) == (0, 475.0)


def test_json_and_open_run_tell_what_was_learnt(recording: Path) -> None:
    with closing(open_read_only(recording)) as connection:
        table = figures_table(connection, recording)
    assert table["num_generations"] == 5
    assert table["best_episode_return_mean"] == 5.5
    assert table["evaluation_episode_return_mean"] == 30.0
    assert table["best_policy"] is None, "there is no such file"
    with OpenedRun(recording) as run:
        rows, episodes = run.generations(), run.evaluation_episodes()
    assert rows.return_mean.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert episodes.evaluation.tolist() == [1, 1, 1]
    assert episodes.episode_return.tolist() == [1.0, 1.5, 2.0]
    assert set(learning_table(None).values()) == {None}


def test_what_a_learner_leaves_belongs_to_its_recording(recording: Path) -> None:
    for path in (best_policy_of(recording), learner_state_of(recording)):
        path.write_bytes(b"x")
    names = {path.name for path in entry_of(recording).beside}
    assert {"r.best.npz", "r.learner.npz"} <= names


def test_a_reader_is_told_of_the_generations_since_its_version() -> None:
    log = GenerationLog(generations(1, 3), seq=1)
    log.add(generations(3, 5), seq=4)
    log.add(Generations(), seq=5)
    log.add(generations(5, 6), seq=6)
    assert log.since(0).number.tolist() == [1, 2, 3, 4, 5]
    assert log.since(1).number.tolist() == [3, 4, 5]
    assert log.since(4).number.tolist() == log.since(5).number.tolist() == [5]
    assert len(log.since(6)) == 0


def test_of_too_many_generations_the_newest_stay_and_fewer_and_fewer_older_ones() -> None:
    log = GenerationLog(Generations(), seq=1)
    for n in range(1, 5 * MAX_GENERATIONS, 7):
        log.add(generations(n, n + 7), seq=n)
    numbers = log.since(0).number
    assert len(numbers) <= MAX_GENERATIONS
    assert (np.diff(numbers) > 0).all()
    assert (np.diff(numbers)[-200:] == 1).all()
    assert numbers[0] < MAX_GENERATIONS
