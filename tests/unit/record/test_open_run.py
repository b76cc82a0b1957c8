"""A recording in Python: arrays and relations, read-only."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pytest

import raydash
from raydash.core.events import EventKind
from raydash.core.faults import FaultError
from raydash.core.records import (
    NO_CANDIDATE,
    AgentEpisodes,
    EpisodeColumns,
    EpisodeExtras,
    EpisodeScalars,
)
from raydash.core.states import Ending
from raydash.record.file.database import connect
from raydash.record.file.rows import RecordBatch
from raydash.record.file.schema import bring_up_to_date
from raydash.record.read import query
from raydash.record.read.episode_sums import UNKNOWN_ENDING
from raydash.record.write.writer import RecordWriter
from tests.fakes.recordings.finished_run import mixed_episodes, record_run
from tests.fakes.recordings.recordings import SPEC, incarnation_row, run_row
from tests.fakes.recordings.recordings import episodes as some_episodes

ROOT = Path(raydash.__file__).parent.parent
NAN = float("nan")
RUN_ID = "20261122-101500-cartpole-v1-3f9a"


@pytest.fixture(scope="module")
def episodes() -> EpisodeColumns:
    return mixed_episodes(2000)


@pytest.fixture(scope="module")
def recording(episodes: EpisodeColumns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "runs" / f"{RUN_ID}.duckdb"
    return record_run(path, episodes)


def child(code: str, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_run_was(recording: Path) -> None:
    with raydash.open_run(recording) as run:
        assert run.run_id == RUN_ID
        assert run.spec == SPEC
        assert run.figures == query.figures(recording)
        assert [(event.kind, event.worker_index) for event in run.events] == [
            (EventKind.ENV_ERROR, 1)
        ]


def test_episodes_are_plain_arrays_of_the_exact_values(
    recording: Path, episodes: EpisodeColumns
) -> None:
    with raydash.open_run(str(recording)) as run:
        found = run.episodes()
    assert len(found) == len(episodes)
    for name in found:
        wanted = getattr(episodes, name)
        if name in ("end_s", "duration_s"):
            wanted = np.round(wanted, 5)
        assert type(found[name]) is np.ndarray
        assert found[name].dtype == wanted.dtype
        assert np.array_equal(found[name], wanted, equal_nan=wanted.dtype.kind == "f")
    assert list(dict(found)) == list(EpisodeColumns.__slots__)
    with pytest.raises(KeyError):
        found["episode_reward"]


def test_episodes_can_be_narrowed(recording: Path, episodes: EpisodeColumns) -> None:
    with raydash.open_run(recording) as run:
        found = run.episodes(worker=2, start_s=2.0, end_s=4.0)
    end_s = np.round(episodes.end_s, 5)
    wanted = (episodes.worker_index == 2) & (end_s >= 2.0) & (end_s < 4.0)
    assert np.array_equal(found.end_s, end_s[wanted])
    assert set(found.worker_index) == {2}


def test_returns_leave_errors_out(recording: Path, episodes: EpisodeColumns) -> None:
    good = episodes.ending != Ending.ERROR
    with raydash.open_run(recording) as run:
        assert np.array_equal(run.returns(), episodes.episode_return[good])
        mine = good & (episodes.worker_index == 1)
        assert np.array_equal(run.returns(worker=1), episodes.episode_return[mine])
        assert run.returns(worker=99).shape == (0,)


def test_workers_are_their_totals(recording: Path, episodes: EpisodeColumns) -> None:
    with raydash.open_run(recording) as run:
        workers = run.workers
    assert workers.worker_index.tolist() == [1, 2]
    assert workers.incarnation.tolist() == [0, 0]
    for worker in (1, 2):
        mine = episodes.worker_index == worker
        assert workers.num_env_steps[worker - 1] == episodes.episode_len[mine].sum()
        assert workers.num_error[worker - 1] == (episodes.ending[mine] == Ending.ERROR).sum()


def test_history_counts_every_episode(recording: Path, episodes: EpisodeColumns) -> None:
    with raydash.open_run(recording) as run:
        whole = run.history()
        part = run.history(num_buckets=4, start_s=2.0, end_s=5.9)
    kinds = whole.num_terminated + whole.num_truncated + whole.num_both + whole.num_error
    assert kinds.sum() == len(episodes)
    assert len(part) <= 4
    inside = (episodes.end_s >= 2.0) & (episodes.end_s < 6.0) & (episodes.ending != Ending.ERROR)
    assert part.return_n.sum() == inside.sum()


def test_tables_and_queries_are_relations(recording: Path, episodes: EpisodeColumns) -> None:
    with raydash.open_run(recording) as run:
        assert run.table("episodes").count("*").fetchall() == [(len(episodes),)]
        longest = run.sql("SELECT max(episode_len) AS longest FROM episodes").fetchnumpy()
        assert longest["longest"].tolist() == [episodes.episode_len.max()]


def test_nothing_can_be_written(recording: Path) -> None:
    before = recording.read_bytes()
    with raydash.open_run(recording) as run, pytest.raises(duckdb.Error, match="read-only"):
        run.sql("DELETE FROM episodes")
    assert recording.read_bytes() == before
    assert sorted(path.name for path in recording.parent.iterdir()) == [recording.name]


def test_ending_that_is_not_known_is_a_number_of_its_own(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "imported.duckdb"
    path.write_bytes(recording.read_bytes())
    with connect(path) as connection:
        connection.execute("UPDATE episodes SET ending = NULL WHERE worker_index = 1")
    with raydash.open_run(path) as run:
        found = run.episodes(worker=1)
    assert set(found.ending) == {UNKNOWN_ENDING}
    assert type(found.ending) is np.ndarray


def test_run_without_episodes_gives_empty_arrays(tmp_path: Path) -> None:
    path = record_run(tmp_path / "r.duckdb", mixed_episodes(0))
    with raydash.open_run(path) as run:
        assert run.episodes().episode_return.shape == (0,)
        assert run.returns().dtype == np.float64


def test_empty_database_is_refused_in_words(tmp_path: Path) -> None:
    connect(tmp_path / "x.duckdb").close()
    with pytest.raises(FaultError, match="holds no run"):
        raydash.open_run(tmp_path / "x.duckdb")


def test_import_of_raydash_brings_nothing_along() -> None:
    seen = child("import sys, raydash; print(sorted(sys.modules))")
    for name in ("duckdb", "numpy", "ray", "PySide6", "msgspec", "raydash.record"):
        assert f"'{name}'" not in seen


def test_opened_run_needs_neither_ray_nor_qt(recording: Path) -> None:
    code = (
        "import sys, raydash; raydash.open_run(sys.argv[1]).history(); print(sorted(sys.modules))"
    )
    seen = child(code, str(recording))
    for name in ("ray", "gymnasium", "PySide6", "pyqtgraph", "typer"):
        assert f"'{name}'" not in seen


def test_example_runs_as_it_is(recording: Path) -> None:
    said = child("", str(ROOT / "assets" / "examples" / "explore_run.py"), str(recording))
    assert said.startswith(f"{RUN_ID}: CartPole-v1, 2 workers, finished\n")
    assert "2,000 episodes" in said
    assert "it broke (2 times)" in said


def test_scalars_and_agents_come_as_arrays(tmp_path: Path) -> None:
    path = tmp_path / "named.duckdb"
    with closing(connect(path)) as connection:
        bring_up_to_date(connection)
        writer = RecordWriter(connection)
        writer.header(run_row(), incarnation_row())
        known = EpisodeExtras(
            np.zeros(3, np.int32),
            np.full(3, NO_CANDIDATE, np.int32),
            EpisodeScalars(("is_success", "a \"b\" 'c'"), np.array([[1, 2], [0, NAN], [NAN, NAN]])),
            AgentEpisodes(
                ("red", "blue"),
                np.array([[1.5, -1], [2, NAN], [NAN, NAN]]),
                np.array([[3, 2], [4, 0], [1, 0]]),
            ),
        )
        writer.write(
            1, RecordBatch(t_s=1.0, elapsed_s=1.0, episodes=some_episodes(3), extras=known)
        )
    with raydash.open_run(path) as run:
        scalars = run.scalars()
        assert list(scalars) == ["a \"b\" 'c'", "is_success"]
        np.testing.assert_array_equal(scalars["is_success"], [1, 0, NAN])
        np.testing.assert_array_equal(scalars["a \"b\" 'c'"], [2, NAN, NAN])
        agents = run.agent_episodes()
        assert agents.agent.tolist() == ["red", "blue", "red", "red"]
        np.testing.assert_array_equal(agents.agent_return, [1.5, -1, 2, NAN])
        assert agents.num_steps.tolist() == [3, 2, 4, 1]
        assert run.agent_episodes("blue").agent_return.tolist() == [-1]


def test_run_without_scalars_and_agents_has_none(recording: Path) -> None:
    with raydash.open_run(recording) as run:
        assert run.scalars() == {}
        assert len(run.agent_episodes()) == 0
