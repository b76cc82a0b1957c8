"""What the recorder gets is on disk a moment later, and no failing disk can hurt the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raydash.core.faults import FaultError
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import EpisodeColumns, WorkerTotals
from raydash.core.spec import PolicySpec
from raydash.core.states import EndedBy, Ending, RunState
from raydash.record.file import schema
from raydash.record.file.database import connect
from raydash.record.file.rows import RecordBatch, RunEndRow
from raydash.record.read import query
from raydash.record.read.restore import episodes_in_time_order, restore
from raydash.record.write import recorder
from raydash.record.write.recorder import COMMITS_BETWEEN_MEMORY_RELEASES, Recorder
from tests.fakes.places import ROOT
from tests.fakes.recordings.recordings import (
    episodes,
    event,
    incarnation_row,
    run_row,
    totals_after,
    write_schema_1,
    write_schema_3,
)

COMMANDED = RequestedState(
    num_workers=3,
    keep=True,
    paused=True,
    paused_workers=(2, 4),
    stopped_workers=(1, 5),
    failed_workers=(3,),
    last_worker=5,
    ended_by=EndedBy.DRAINED,
    version=PolicyVersion(PolicySpec("linear", "/policies/w.npz"), 2),
)
END = RunEndRow(
    RunState.FINISHED,
    EndedBy.EPISODES,
    "",
    "2026-11-22T10:16:00+00:00",
    ended_s=60.0,
    elapsed_s=55.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "run.duckdb"


@pytest.fixture
def recorders(path: Path) -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(*, begun: bool = True, **options: int) -> Recorder:
        one = Recorder(path, clock=time.monotonic, commit_interval_s=0.05, **options)
        made.append(one)
        if begun:
            one.begin(run_row(), incarnation_row())
        return one

    yield make
    for one in made:
        one.close(timeout_s=0.0)


def batch_of(columns: EpisodeColumns, t_s: float = 1.0) -> RecordBatch:
    return RecordBatch(t_s=t_s, elapsed_s=t_s, episodes=columns)


def rows_of(path: Path, question: str) -> list[tuple[object, ...]]:
    connection = connect(path, read_only=True)
    rows: list[tuple[object, ...]] = connection.execute(question).fetchall()
    connection.close()
    return rows


def test_everything_appended_is_read_back_exactly(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    one = recorders()
    columns = episodes(5000, whole_returns=False)
    columns.ending[:4] = list(Ending)
    columns.episode_return[3:6] = [np.nan, np.inf, -np.inf]
    totals = totals_after(columns)
    one.append(
        RecordBatch(
            t_s=3.25,
            elapsed_s=2.5,
            commanded=COMMANDED,
            weights_seq_no=2,
            episodes=columns,
            totals=[(2, 1, totals)],
            events=[event(1), event(2, 0.5, 2)],
        )
    )
    assert one.close(END)

    (read,) = episodes_in_time_order(path)
    np.testing.assert_array_equal(read.episode_return, columns.episode_return)
    np.testing.assert_allclose(read.end_s, columns.end_s, atol=5.1e-6)
    np.testing.assert_allclose(read.duration_s, columns.duration_s, atol=6e-6)
    for name in ("worker_index", "env_index", "incarnation", "episode_len", "ending"):
        np.testing.assert_array_equal(getattr(read, name), getattr(columns, name))
    past = restore(path)
    assert past is not None
    assert past.events == (event(1), event(2, 0.5, 2))
    assert past.workers[0].totals == totals
    assert (past.last_t_s, past.elapsed_s) == (3.25, 2.5)
    assert (past.commanded, past.is_closed) == (COMMANDED, True)


def test_run_row_holds_the_spec_the_versions_and_the_end(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    assert recorders().close(END)
    ((spec, versions, state, ended_by, elapsed_s),) = rows_of(
        path, "SELECT spec_json, versions_json, state, ended_by, elapsed_s FROM run"
    )
    assert json.loads(str(spec))["env"]["id"] == "CartPole-v1"
    assert "duckdb" in json.loads(str(versions))
    assert (state, ended_by, elapsed_s) == ("finished", "episodes", 55.0)


def test_appended_rows_are_committed_within_a_second_without_being_asked(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    one.append(batch_of(episodes(10)))
    wait_until(lambda: one.lag_s == 0.0 and one.num_bytes > 0, "the commit")
    assert one.fault == ""


def test_totals_of_one_commit_are_thinned_to_the_newest_of_each_life(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    one = recorders(begun=False)
    for steps in (5, 9, 14):
        batch = RecordBatch(1.0, 1.0, totals=[(1, 0, WorkerTotals(steps)), (2, 0, WorkerTotals(1))])
        one.append(batch)
    one.begin(run_row(), incarnation_row())
    one.close()
    question = "SELECT worker_index, num_env_steps FROM worker_totals ORDER BY ALL"
    assert rows_of(path, question) == [(1, 14), (2, 1)]


def test_second_life_goes_on_in_the_same_file(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    first = recorders()
    first.append(batch_of(episodes(10), 1.0))
    first.close()
    second = recorders(begun=False)
    second.begin(run_row(), incarnation_row(1, 2.0))
    second.append(batch_of(episodes(5), 3.0))
    second.close(END)
    assert rows_of(path, "SELECT count(*) FROM episodes") == [(15,)]
    assert rows_of(path, "SELECT count(*) FROM run") == [(1,)]
    assert rows_of(path, "SELECT incarnation FROM incarnations") == [(0,), (1,)]
    assert rows_of(path, "SELECT number, t_s FROM commits") == [(1, 1.0), (2, 3.0)]


def test_batches_appended_before_the_start_and_at_the_end_are_kept(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    one = recorders(begun=False)
    one.append(batch_of(episodes(3)))
    one.begin(run_row(), incarnation_row())
    one.append(batch_of(episodes(4)))
    one.close(END)
    assert query.figures(path).num_episodes_lifetime == 7


def test_folder_that_cannot_be_made_is_told_and_mended_later(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    path.parent.write_text("a file in the way")
    one = recorders()
    one.append(batch_of(episodes(10)))
    wait_until(lambda: one.fault, "the fault")
    assert one.lag_s > 0
    path.parent.unlink()
    wait_until(lambda: not one.fault and not one.lag_s, "the recovery")
    one.close(END)
    assert query.figures(path).num_episodes_lifetime == 10


def test_file_locked_by_another_program_is_told_with_its_process(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    recorders().close()
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        other.stdout.readline()
        one = recorders()
        one.append(batch_of(episodes(10)))
        wait_until(lambda: "another program" in one.fault, "the fault")
        assert str(other.pid) in one.fault
        other.kill()
    wait_until(lambda: not one.fault, "the recovery")
    one.close(END)
    assert query.figures(path).num_episodes_lifetime == 10


def test_full_disk_is_told_and_nothing_is_lost_or_written_twice(tmp_path: Path) -> None:
    """It runs in a process of its own, where a limit on file sizes stands in for a full disk."""
    path = tmp_path / "run.duckdb"
    code = f"""
import resource, signal, threading, time
from pathlib import Path
from raydash.record.write.recorder import Recorder
from raydash.record.file.rows import RecordBatch
from tests.fakes.recordings.recordings import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
one = Recorder(Path({str(path)!r}), clock=time.monotonic, commit_interval_s=0.02)
one.begin(run_row(), incarnation_row())
until = time.monotonic() + 30
def wait(condition):
    while not condition() and time.monotonic() < until:
        threading.Event().wait(0.01)
wait(lambda: one.num_bytes)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
for number in range(40):
    columns = episodes(5000, seed=number, whole_returns=False)
    one.append(RecordBatch(number, number, episodes=columns))
    wait(lambda: one.lag_s == 0 or one.fault)
print(one.fault, one.lag_s > 0, sep="|")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait(lambda: not one.fault and one.lag_s == 0)
print(one.close(), one.fault, sep="|")
"""
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.splitlines() == ["the disk is full|True", "True|"]
    read = np.concatenate([batch.episode_return for batch in episodes_in_time_order(path)])
    written = [episodes(5000, seed=n, whole_returns=False).episode_return for n in range(40)]
    np.testing.assert_array_equal(np.sort(read), np.sort(np.concatenate(written)))


@pytest.mark.parametrize("num_bytes", [0, 5000, 200_000])
def test_recording_that_begins_on_a_full_disk_is_whole_once_there_is_room(
    tmp_path: Path, num_bytes: int
) -> None:
    """It runs as the test above; the limit allows nothing, or only part of a new file."""
    path = tmp_path / "run.duckdb"
    code = f"""
import resource, signal, threading, time
from pathlib import Path
from raydash.record.write.recorder import Recorder
from raydash.record.file.rows import RecordBatch
from tests.fakes.recordings.recordings import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
until = time.monotonic() + 30
def wait(condition):
    while not condition() and time.monotonic() < until:
        threading.Event().wait(0.01)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, ({num_bytes}, hard))
one = Recorder(Path({str(path)!r}), clock=time.monotonic, commit_interval_s=0.02)
one.begin(run_row(), incarnation_row())
one.append(RecordBatch(1, 1, episodes=episodes(20_000, whole_returns=False)))
wait(lambda: one.fault)
print(one.fault)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait(lambda: not one.fault and one.lag_s == 0)
print(one.close(), one.fault, sep="|")
"""
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.splitlines() == ["the disk is full", "True|"]
    assert query.figures(path).num_episodes_lifetime == 20_000


def test_failing_disk_keeps_episodes_up_to_the_bound_and_counts_the_rest(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    path.parent.write_text("a file in the way")
    one = recorders(max_pending_episodes=100)
    for _ in range(3):
        one.append(replace(batch_of(episodes(60)), totals=[(1, 0, WorkerTotals(60))]))
    assert "120 episodes could not be kept" in one.fault
    path.parent.unlink()
    wait_until(lambda: not one.lag_s, "the recovery")
    assert one.fault == "120 episodes could not be kept"
    one.append(batch_of(episodes(60)))
    one.close(END)
    assert query.figures(path).num_episodes_lifetime == 120


def test_long_failure_keeps_no_more_batches_than_its_bound(
    path: Path,
    recorders: Callable[..., Recorder],
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder, "MAX_PENDING_BATCHES", 20)
    path.parent.write_text("a file in the way")
    one = recorders()
    for number in range(COMMITS_BETWEEN_MEMORY_RELEASES):
        one.append(replace(batch_of(episodes(1)), t_s=float(number), events=[event(number + 1)]))
    wait_until(lambda: len(one._uncommitted) == 1, "the merge")
    path.parent.unlink()
    one.close(END)
    past = restore(path)
    assert past is not None
    assert (past.events[-1].number, past.last_t_s) == (100, 99.0)
    assert query.figures(path).num_episodes_lifetime == 100


def test_commit_whose_outcome_was_unknown_is_not_repeated(
    path: Path,
    recorders: Callable[..., Recorder],
    wait_until: Callable[..., None],
) -> None:
    """The answer to a commit gets lost, but its rows are on disk."""
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    assert one._writer is not None
    real = one._writer.connection

    class LosesAnswers:
        def execute(self, text: object, *values: object) -> object:
            result = real.execute(text, *values)
            if text == "COMMIT":
                raise OSError("the answer was lost")
            return result

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    first = one._writer
    first.connection = LosesAnswers()
    one.append(batch_of(episodes(10)))
    wait_until(lambda: one._writer not in (None, first) and not one.lag_s, "the next commit")
    one.append(batch_of(episodes(5)))
    one.close(END)
    assert query.figures(path).num_episodes_lifetime == 15


def test_deleted_file_is_told_and_made_again(
    path: Path,
    recorders: Callable[..., Recorder],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "raydash")
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    path.unlink()
    wait_until(lambda: "somebody deleted it" in caplog.text, "the fault")
    one.append(batch_of(episodes(3)))
    assert one.close(END)
    assert query.figures(path).num_episodes_lifetime == 3


def test_closing_on_a_dead_disk_gives_up_in_time_and_says_so(
    path: Path, recorders: Callable[..., Recorder], raydash_warnings: list[str]
) -> None:
    path.parent.write_text("a file in the way")
    one = recorders()
    one.append(batch_of(episodes(10)))
    assert not one.close(END, timeout_s=0.3)
    assert "not closed well" in raydash_warnings.pop()


def test_newer_schema_is_told_and_the_file_left_as_it_is(
    path: Path,
    recorders: Callable[..., Recorder],
    wait_until: Callable[..., None],
    raydash_warnings: list[str],
) -> None:
    recorders().close(END)
    connection = connect(path)
    connection.execute("UPDATE run SET schema_version = ?", [schema.SCHEMA_VERSION + 1])
    connection.close()
    one = recorders()
    one.append(batch_of(episodes(1)))
    wait_until(lambda: "newer version" in one.fault, "the fault")
    one.close(timeout_s=0.3)
    raydash_warnings.clear()
    with pytest.raises(FaultError, match="newer version"):
        restore(path)
    with pytest.raises(FaultError, match="newer version"):
        query.figures(path)
    assert path.exists()


def test_older_schema_is_migrated_when_it_is_opened(
    path: Path, recorders: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorders().close(END)
    now = schema.SCHEMA_VERSION
    monkeypatch.setattr(schema, "SCHEMA_VERSION", now + 1)
    add_a_tag = {now: lambda con: con.execute("ALTER TABLE run ADD COLUMN tag VARCHAR")}
    monkeypatch.setattr(schema, "MIGRATIONS", add_a_tag)
    assert restore(path) is not None
    assert rows_of(path, "SELECT schema_version, tag FROM run") == [(now + 1, None)]


def columns_of(path: Path) -> list[tuple[object, ...]]:
    """Read the columns of all tables, regardless of the order in which they were added."""
    return rows_of(
        path,
        "SELECT table_name, column_name, data_type, is_nullable"
        " FROM information_schema.columns ORDER BY ALL",
    )


def test_file_of_schema_1_becomes_one_of_the_newest_and_is_gone_on_with(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    path.parent.mkdir()
    write_schema_1(path)
    past = restore(path)
    assert past is not None
    assert query.figures(path).run_id == run_row().run_id
    assert query.figures(path).num_episodes_lifetime == 3
    assert past.last_t_s == 2.5
    assert past.commanded == RequestedState(num_workers=2, keep=True)
    one = recorders()
    one.append(batch_of(episodes(5), 3.0))
    assert one.close(END)
    assert rows_of(path, "SELECT count(*) FROM episodes") == [(8,)]
    assert rows_of(path, "SELECT number, ended_by, paused_workers FROM commits") == [
        (1, None, None),
        (2, None, None),
    ]
    new = path.with_name("new.duckdb")
    made = Recorder(new, clock=time.monotonic)
    made.begin(run_row(), incarnation_row())
    assert made.close()
    assert columns_of(path) == columns_of(new)
    assert rows_of(path, "SELECT schema_version FROM run") == [(schema.SCHEMA_VERSION,)]


def test_file_of_schema_3_becomes_one_of_the_newest_and_is_gone_on_with(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    path.parent.mkdir()
    write_schema_3(path)
    past = restore(path)
    assert past is not None
    asked = RequestedState(num_workers=3, keep=True, paused_workers=(2,), ended_by=EndedBy.DRAINED)
    assert (past.commanded, past.num_restarts) == (asked, 4)
    one = recorders()
    one.append(replace(batch_of(episodes(5), 3.0), commanded=COMMANDED, num_restarts=5))
    assert one.close()
    assert rows_of(path, "SELECT number, stopped_workers, last_worker FROM commits") == [
        (1, None, None),
        (2, [1, 5], 5),
    ]
    new = path.with_name("new.duckdb")
    made = Recorder(new, clock=time.monotonic)
    made.begin(run_row(), incarnation_row())
    assert made.close()
    assert columns_of(path) == columns_of(new)
    assert rows_of(path, "SELECT schema_version FROM run") == [(schema.SCHEMA_VERSION,)]


def test_what_is_waited_for_is_committed_at_once_and_nothing_else_is(
    path: Path, wait_until: Callable[..., None]
) -> None:
    one = Recorder(path, clock=time.monotonic, commit_interval_s=1e6)
    one.append(RecordBatch(1.0, 1.0, COMMANDED))
    one.begin(run_row(), incarnation_row())
    wait_until(lambda: one.num_bytes > 0, "the first commit")
    one.append(RecordBatch(2.0, 2.0, COMMANDED))
    wait_until(lambda: one.lag_s > 0.05, "what nobody waits for waits")
    one.append(RecordBatch(3.0, 3.0, replace(COMMANDED, paused=False)))
    one.settle(30.0)
    assert one.lag_s == 0.0
    with one.reading() as connection:
        rows = connection.execute("SELECT t_s, paused FROM commits ORDER BY number").fetchall()
    assert rows == [(1.0, True), (3.0, False)]
    assert one.close()


def test_nobody_waits_for_a_disk_that_fails(
    path: Path,
    recorders: Callable[..., Recorder],
    wait_until: Callable[..., None],
    raydash_warnings: list[str],
) -> None:
    path.parent.write_text("a file in the way")
    one = recorders()
    one.append(batch_of(episodes(10)))
    wait_until(lambda: one.fault, "the fault")
    began_s = time.monotonic()
    one.settle(1e6)
    assert time.monotonic() - began_s < 30.0
    assert not one.close(timeout_s=0.1)
    raydash_warnings.clear()


def test_migration_that_is_killed_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    """A commit is one transaction: a process that dies right after it has it all in the WAL."""
    path.parent.mkdir()
    write_schema_1(path)
    code = f"""
import os
from pathlib import Path
from raydash.record.file.database import connect
from raydash.record.file.schema import bring_up_to_date
connection = connect(Path({str(path)!r}))
bring_up_to_date(connection)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    past = restore(path)
    assert past is not None
    assert query.figures(path).num_episodes_lifetime == 3


def test_killed_recorder_leaves_every_committed_row_and_loses_less_than_a_second(
    path: Path, wait_until: Callable[..., None]
) -> None:
    root = ROOT
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    with child:
        assert child.stdout is not None
        handed_over: list[tuple[int, float]] = []
        for line in child.stdout:
            handed_over.append((int(line), time.monotonic()))
            if handed_over[-1][1] - handed_over[0][1] > 1.5:
                break
        os.kill(child.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        handed_over += [(int(line), killed_s) for line in child.stdout if line.endswith("\n")]

    past = restore(path)
    assert past is not None
    kept = len(past.events)
    assert query.figures(path).num_episodes_lifetime == 20 * kept
    assert past.workers[0].totals.num_episodes == 20 * kept
    assert past.events[-1].number == kept
    assert not past.is_closed
    assert past.last_t_s == pytest.approx(0.01 * kept)
    assert not [number for number, at_s in handed_over if number > kept and killed_s - at_s > 1.0]
    with path.open("rb") as file:
        assert file.read(12)[8:] == b"DUCK"


@pytest.mark.parametrize(("whole_returns", "limit"), [(True, 16), (False, 24)])
def test_episodes_take_few_bytes_on_disk(
    path: Path, recorders: Callable[..., Recorder], whole_returns: bool, limit: int
) -> None:
    one = recorders()
    for number in range(40):
        columns = episodes(5000, seed=number, first_s=number / 2, whole_returns=whole_returns)
        one.append(batch_of(columns, number / 2))
    assert one.close(END)
    assert path.stat().st_size / 200_000 < limit


def test_appending_does_not_wait_for_a_disk_that_hangs(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    assert one._writer is not None
    real, gate, entered = one._writer.connection, threading.Event(), threading.Event()

    class Hangs:
        def execute(self, text: object, *values: object) -> object:
            entered.set()
            gate.wait()
            return real.execute(text, *values)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    one._writer.connection = Hangs()
    one.append(batch_of(episodes(1)))
    assert entered.wait(30)
    began_s = time.monotonic()
    for _ in range(100):
        one.append(batch_of(episodes(1)))
    assert one.lag_s > 0
    assert time.monotonic() - began_s < 1.0
    gate.set()
    assert one.close(END)
    assert query.figures(path).num_episodes_lifetime == 101


# --- readers of a file that is being written --------------------------------------------------


def test_another_thread_reads_what_is_committed_while_more_is_written(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    one.append(batch_of(episodes(10)))
    wait_until(lambda: one.num_bytes and not one.lag_s, "the commit")
    with one.reading() as connection:
        one.append(batch_of(episodes(5)))
        wait_until(lambda: not one.lag_s, "the next commit, beside the reader")
        assert connection.execute("SELECT count(*) FROM episodes").fetchone() == (15,)
    assert one.close(END)
    assert query.figures(path).num_episodes_lifetime == 15


def test_reading_is_refused_in_words_while_the_file_is_not_open(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    one = recorders(begun=False)
    with pytest.raises(FaultError, match="not open"), one.reading():
        pass
    one.begin(run_row(), incarnation_row())
    assert one.close(END)
    with pytest.raises(FaultError, match="not open"), one.reading():
        pass


def test_question_that_takes_long_is_broken_off_when_the_recording_is_closed(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    inside, said = threading.Event(), list[str]()

    def ask() -> None:
        try:
            with one.reading() as connection:
                inside.set()
                connection.execute(
                    "SELECT sum(a.i * b.i) FROM range(1000000) a(i), range(1000000) b(i)"
                )
        except FaultError as error:
            said.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    assert inside.wait(30)
    one.append(batch_of(episodes(7)))
    assert one.close(END)
    asking.join(30)
    assert len(said) == 1
    assert query.figures(path).num_episodes_lifetime == 7


def test_broken_question_is_a_fault_and_the_recording_goes_on(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    with pytest.raises(FaultError), one.reading() as connection:
        connection.execute("SELECT nonsense")
    one.append(batch_of(episodes(7)))
    assert one.close(END)
    assert one.fault == ""


# --- what else may go wrong -------------------------------------------------------------------


def test_folder_that_is_removed_is_told_and_made_again(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    wait_until(lambda: one.num_bytes, "the header")
    shutil.rmtree(path.parent)
    wait_until(lambda: path.exists() and not one.fault, "it is made again")
    one.append(batch_of(episodes(3)))
    assert one.close(END)
    assert query.figures(path).num_episodes_lifetime == 3


def test_wall_clock_that_is_set_back_is_seen_in_the_anchor_only(
    path: Path, recorders: Callable[..., Recorder]
) -> None:
    first = recorders()
    first.append(batch_of(episodes(5), 1.0))
    assert first.close()
    second = recorders(begun=False)
    an_hour_before = replace(incarnation_row(1, 1.0), started_utc="2026-11-22T09:15:01+00:00")
    second.begin(run_row(), an_hour_before)
    second.append(batch_of(episodes(5, first_s=1.0), 2.0))
    assert second.close(END)
    assert rows_of(path, "SELECT t_s FROM commits ORDER BY number") == [(1.0,), (2.0,)]
    past = restore(path)
    assert past is not None
    assert past.last_t_s == 2.0
    assert query.figures(path).num_episodes_lifetime == 10


def test_recorder_lets_go_of_what_it_has_written(
    path: Path, recorders: Callable[..., Recorder], wait_until: Callable[..., None]
) -> None:
    one = recorders()
    for number in range(COMMITS_BETWEEN_MEMORY_RELEASES):
        one.append(batch_of(episodes(6000, seed=number, first_s=number, whole_returns=False)))
        wait_until(lambda: not one.lag_s, "the commit")
    with one.reading() as connection:
        (held,) = connection.execute(
            "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"
        ).fetchone()
    assert held < 20e6
    assert one.close(END)
