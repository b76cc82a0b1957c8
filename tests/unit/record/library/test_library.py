"""The library on real recordings: what is listed, what is said of broken files, what is deleted."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import FaultError
from raydash.core.library import (
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    MAX_TITLE,
    LibrarySettings,
    Notes,
    RecordedRun,
)
from raydash.core.machine.requested_state import RequestedState
from raydash.core.states import EndedBy, RunState
from raydash.record.file.notes import read_notes, validated, write_notes
from raydash.record.file.rows import RecordBatch, RunEndRow
from raydash.record.file.times import iso_utc
from raydash.record.library import index as index_module
from raydash.record.library.library import LibraryFolder
from raydash.record.library.retention import doomed, read_settings, write_settings
from raydash.record.read.details import details
from raydash.record.read.query import figures
from raydash.record.write.recorder import Recorder
from tests.fakes.recordings import recordings

END = RunEndRow(RunState.FINISHED, EndedBy.EPISODES, "", "2026-11-22T10:16:00+00:00", 60.0, 58.0)
DAY_S = 86_400.0
LONG_AGO_S = 1_700_000_000.0


def record(path: Path, *, end: RunEndRow | None = END, started_utc: str = "") -> Recorder:
    """Make a recording with the real recorder; without an end it is left as after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = recordings.run_row(path.name.removesuffix(".duckdb"))
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.02)
    recorder.begin(
        replace(row, started_utc=started_utc or row.started_utc), recordings.incarnation_row()
    )
    batch = recordings.episodes(50)
    totals = [(1, 0, recordings.totals_after(batch))]
    recorder.append(RecordBatch(58.0, 58.0, RequestedState(2), episodes=batch, totals=totals))
    assert recorder.close(end)
    return recorder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.duckdb"
    record(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "runs").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def library(data: Path) -> LibraryFolder:
    return open_at(data)


def open_at(data: Path, now_s: float | None = None, patience_s: float = 5.0) -> LibraryFolder:
    return LibraryFolder(
        data,
        cache_dir=data.parent / "cache",
        state_dir=data.parent / "state",
        now_s=time.time if now_s is None else lambda: now_s,
        lock_patience_s=patience_s,
    )


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """Make a folder that any user may read; pytest closes its own temporary folders to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def put(data: Path, template: Path) -> Callable[..., Path]:
    """Return `put(run_id, age_days=...)`, which puts a finished recording into the library."""

    def copy(run_id: str, *, modified_s: float | None = None) -> Path:
        path = data / "runs" / f"{run_id}.duckdb"
        shutil.copy(template, path)
        if modified_s is not None:
            os.utime(path, (modified_s, modified_s))
        return path

    return copy


def by_id(library: LibraryFolder) -> dict[str, RecordedRun]:
    return {run.run_id: run for run in library.runs()}


def log_lines(data: Path) -> list[str]:
    path = data.parent / "state" / "library.log"
    return path.read_text().splitlines() if path.exists() else []


# --- listing ----------------------------------------------------------------------------------


def test_library_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    library = open_at(tmp_path / "nothing")
    assert library.runs() == ()
    assert library.disk().library_bytes == 0
    assert library.settings() == LibrarySettings()
    assert library.apply_retention() == ()


def test_line_of_a_finished_run_says_what_its_figures_say(
    data: Path, library: LibraryFolder
) -> None:
    path = data / "runs" / "20261122-101500-cartpole-v1-3f9a.duckdb"
    record(path)
    [run] = library.runs()
    whole = figures(path)
    assert run.state is RunState.FINISHED
    assert run.ended_by is EndedBy.EPISODES
    assert (run.run_id, run.path) == (path.stem, str(path))
    assert (run.title, run.env_id, run.owner) == ("CartPole-v1", "CartPole-v1", "me@here")
    assert run.num_workers == 2
    assert (run.mode, run.policy, run.learner) == ("actors", "random", "")
    assert run.elapsed_s == whole.elapsed_s == 58.0
    assert run.num_episodes_lifetime == whole.num_episodes_lifetime == 50
    assert run.num_env_steps_sampled_lifetime == whole.num_env_steps_sampled_lifetime
    assert run.episode_return_mean == whole.episode_return_mean
    assert run.size_bytes == path.stat().st_size
    assert run.modified_utc == iso_utc(path.stat().st_mtime)
    assert run.fault == ""


def test_run_that_was_never_closed_is_interrupted(data: Path, library: LibraryFolder) -> None:
    record(data / "runs" / "a.duckdb", end=None)
    [run] = library.runs()
    assert run.state is RunState.INTERRUPTED
    assert not run.is_live
    assert run.num_episodes_lifetime == 50


def test_run_that_another_process_records_is_live_with_its_name(
    data: Path, library: LibraryFolder
) -> None:
    path = data / "runs" / "20261122-101500-cartpole-v1-3f9a.duckdb"
    command = [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            wal = path.with_name(f"{path.name}.wal")
            for _ in child.stdout:  # until something is committed besides the run's row
                if wal.exists() and wal.stat().st_size > 50_000:
                    break
            [run] = library.runs()
            assert run.is_live
            assert (run.env_id, run.owner) == ("CartPole-v1", "me@here")
            assert run.started_utc == "2026-11-22T10:15:00+00:00"
            assert f"process {child.pid}" in run.fault
            with pytest.raises(FaultError, match=f"process {child.pid}"):
                library.delete([run.run_id])
            assert path.exists()
        finally:
            child.kill()
    [run] = library.runs()
    assert run.state is RunState.INTERRUPTED
    assert run.num_episodes_lifetime > 0
    assert run.fault == ""


def test_run_that_this_process_records_is_live(data: Path, library: LibraryFolder) -> None:
    path = data / "runs" / "a.duckdb"
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.02)
    recorder.begin(recordings.run_row("a"), recordings.incarnation_row())
    try:
        while not recorder.num_bytes:
            threading.Event().wait(0.01)
        assert by_id(library)["a"].is_live
        with pytest.raises(FaultError, match="open for writing"):
            library.delete(["a"])
    finally:
        assert recorder.close(END)
    assert by_id(library)["a"].state is RunState.FINISHED


def test_runs_are_listed_newest_first_by_their_start_whatever_files_say(
    data: Path, library: LibraryFolder
) -> None:
    for run_id, started_utc in (
        ("c", "2026-01-02T00:00:00+00:00"),
        ("b", "2026-01-02T00:00:00+00:00"),
        ("a", "2099-01-01T00:00:00+00:00"),  # a clock that was ahead
        ("d", "2025-12-31T23:30:00-01:00"),
    ):
        path = data / "runs" / f"{run_id}.duckdb"
        record(path, started_utc=started_utc)
        os.utime(path, (1e9 + ord(run_id), 1e9 + ord(run_id)))
    assert [run.run_id for run in library.runs()] == ["a", "c", "b", "d"]


@pytest.mark.parametrize("started_utc", ["yesterday", "", "0001-01-01T00:00:00+14:00", "\x1b[2J"])
def test_start_that_is_no_time_is_taken_from_the_id(
    data: Path, library: LibraryFolder, started_utc: str, put: Callable[..., Path]
) -> None:
    path = put("20261122-101500-x-1")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE run SET started_utc = ?", [started_utc])
    [run] = library.runs()
    assert run.started_utc in ("2026-11-22T10:15:00+00:00", "0001-01-01T00:00:00+14:00")
    assert run.fault == ""


def test_broken_files_are_named_and_the_others_are_listed(
    data: Path,
    library: LibraryFolder,
    put: Callable[..., Path],
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, whole = data / "runs", template.read_bytes()
    put("fine")
    (runs / "zero.duckdb").touch()
    (runs / "text.duckdb").write_bytes(b"no database at all" * 1000)
    (runs / "short.duckdb").write_bytes(whole[: len(whole) // 3])
    (runs / "stump.duckdb").write_bytes(whole[:100])
    (runs / "flipped.duckdb").write_bytes(whole[:20_000] + bytes(3_000) + whole[23_000:])
    (runs / "folder.duckdb").mkdir()
    (runs / "link.duckdb").symlink_to(runs / "nowhere.duckdb")
    (runs / "loop.duckdb").symlink_to(runs / "loop.duckdb")
    (runs / "set.duckdb.damaged-1").write_bytes(whole[:50_000])
    os.mkfifo(runs / "pipe.duckdb")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(runs)
        listener.bind("socket.duckdb")
    with sqlite3.connect(runs / "sqlite.duckdb") as other:
        other.execute("CREATE TABLE run (a)")
    other.close()
    duckdb.connect(str(runs / "stranger.duckdb")).execute("CREATE TABLE t AS SELECT 1").close()
    newer = put("newer")
    with duckdb.connect(str(newer)) as connection:
        connection.execute("UPDATE run SET schema_version = 99")
    (runs / os.fsdecode(b"bytes-\xff.duckdb")).write_bytes(whole)

    found = by_id(library)
    said = {run_id: run.fault for run_id, run in found.items()}
    assert said.pop("fine") == ""
    assert "damaged" in said.pop("text")
    assert "damaged" in said.pop("short")
    assert said.pop("stump")
    assert "damaged" in said.pop("sqlite")
    assert "damaged" in said.pop("set.duckdb.damaged-1")
    assert said.pop("zero") == "the file is empty"
    assert said.pop("folder") == "it is a folder"
    assert said.pop("link") == "it is a link to a file that is gone"
    assert "can't be looked at" in said.pop("loop")
    assert said.pop("pipe") == said.pop("socket") == "it is not a file"
    assert "newer version" in said.pop("newer")
    assert "no run" in said.pop("stranger")
    assert "not UTF-8" in said.pop("bytes-\\xff")
    flipped = said.pop("flipped")  # the flipped bytes may be ones that nobody reads
    assert flipped == "" or found["flipped"].state is None
    assert said == {}
    broken = [run for run in found.values() if run.fault]
    assert all(run.state is None for run in broken)
    json.dumps([run.run_id + run.path + run.fault for run in broken]).encode()

    # Listing has changed none of them, and all but the folder can be deleted.
    assert by_id(library) == pytest.approx(found, nan_ok=True)
    with pytest.raises(FaultError, match="folder: it is a folder"):
        library.delete([run.run_id for run in broken])
    assert {run.run_id for run in library.runs()} - {"flipped"} == {"fine", "folder"}


def test_file_that_may_not_be_read_is_named(template: Path, anybodys: Path) -> None:
    # The tests may run as root, who may read anything: read as somebody else.
    data = anybodys / "data"
    (data / "runs").mkdir(parents=True)
    Path(shutil.copy(template, data / "runs" / "a.duckdb")).chmod(0)
    uid = os.getuid() or 65534
    child = (
        "import os, sys; from pathlib import Path\n"
        "from raydash.record.library.library import LibraryFolder\n"
        "data = Path(sys.argv[1])\n"
        "def said(cache='no'):\n"
        "    places = {'cache_dir': data / cache, 'state_dir': data / 'no'}\n"
        "    return LibraryFolder(data, **places).runs()[0].fault\n"
        "if os.getuid() == 0:\n"
        "    assert said('root') == ''  # and all modules are loaded: root's may be out of reach\n"
        f"    os.setuid({uid})\n"
        "print(said())"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, str(data)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "there is no permission to read it\n", done.stderr


def test_recording_with_a_view_in_place_of_a_table_is_not_read(
    data: Path, library: LibraryFolder, put: Callable[..., Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    with duckdb.connect(str(put("trap"))) as connection:
        connection.execute("ALTER TABLE run RENAME TO old")
        connection.execute(
            "CREATE VIEW run AS SELECT * REPLACE ((SELECT content FROM"
            f" read_text('{secret}')) AS name) FROM old"
        )
    [run] = library.runs()
    assert run.state is None
    assert "view" in run.fault
    assert "the secret" not in repr(run)


def test_recording_of_schema_1_is_listed(
    data: Path, library: LibraryFolder, put: Callable[..., Path]
) -> None:
    with duckdb.connect(str(put("old"))) as connection:
        connection.execute("ALTER TABLE run DROP COLUMN source")
        connection.execute("UPDATE run SET schema_version = 1")
    [run] = library.runs()
    assert (run.fault, run.state, run.num_episodes_lifetime) == ("", RunState.FINISHED, 50)


def test_linked_recording_is_listed_and_only_the_link_is_deleted(
    library: LibraryFolder, data: Path, template: Path, tmp_path: Path
) -> None:
    target, logs = tmp_path / "elsewhere.duckdb", tmp_path / "logs"
    shutil.copy(template, target)
    logs.mkdir()
    (logs / "worker.log").write_text("words")
    (data / "runs" / "a.duckdb").symlink_to(target)
    (data / "runs" / "a.logs").symlink_to(logs)
    assert by_id(library)["a"].state is RunState.FINISHED
    library.delete(["a"])
    assert target.exists()
    assert (logs / "worker.log").exists()
    assert list((data / "runs").iterdir()) == []


# --- the cache --------------------------------------------------------------------------------


def test_recording_is_opened_once_and_again_only_when_it_has_changed(
    data: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = index_module._Reader.read

    def counting(self: index_module._Reader, path: Path) -> object:
        opened.append(path.stem)
        return read(self, path)

    monkeypatch.setattr(index_module._Reader, "read", counting)
    put("a")
    put("b", modified_s=LONG_AGO_S)
    library = open_at(data)
    first = library.runs()
    assert sorted(opened) == ["a", "b"]
    library.runs()
    again = open_at(data)
    assert again.runs() == first
    assert sorted(opened) == ["a", "b"]
    os.utime(data / "runs" / "b.duckdb", (LONG_AGO_S + 1, LONG_AGO_S + 1))
    again.runs()
    open_at(data).runs()
    assert sorted(opened) == ["a", "b", "b"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"made_by": 1}', '{"made_by": MAKER, "runs": [["a", {}]]}']
)
def test_corrupt_cache_is_thrown_away_silently(
    data: Path, put: Callable[..., Path], content: str
) -> None:
    put("a")
    first = open_at(data).runs()
    [cache] = (data.parent / "cache" / "library").iterdir()
    cache.write_text(content.replace("MAKER", json.dumps(index_module._CACHE_FORMAT)))
    assert open_at(data).runs() == first
    assert json.loads(cache.read_text())["runs"][0][0] == "a"


def test_cache_that_cannot_be_kept_is_done_without(data: Path, put: Callable[..., Path]) -> None:
    put("a")
    (data.parent / "cache").write_text("a file in its place")
    assert [run.fault for run in open_at(data).runs()] == [""]


def test_many_recordings_are_listed_at_once_the_second_time(
    data: Path, put: Callable[..., Path]
) -> None:
    path = put("run-0")
    library = open_at(data)
    library.runs()
    [cache] = (data.parent / "cache" / "library").iterdir()
    table = json.loads(cache.read_text())
    for number in range(1, 500):
        os.link(path, path.with_name(f"run-{number}.duckdb"))
        table["runs"].append([f"run-{number}", table["runs"][0][1]])
    cache.write_text(json.dumps(table))
    library = open_at(data)
    assert len(library.runs()) == 500
    best_s = min(_seconds(library.runs) for _ in range(5))
    assert best_s < 0.1


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


# --- notes ------------------------------------------------------------------------------------

LINES = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs", "Zl", "Zp"),
        exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    )
)
NASTY = (
    "../../etc/passwd",
    "/",
    "..",
    "</script><script>alert(1)</script>",
    "🚀" * 40,
    "a.b/c",
    "'; DROP",
)


@given(
    title=LINES.map(lambda text: text[:MAX_TITLE]) | st.sampled_from(NASTY),
    tags=st.lists(LINES.map(lambda text: text[:MAX_TAG]), max_size=MAX_TAGS),
    text=st.text(
        st.characters(
            exclude_categories=("Cc", "Cs"),
            exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        )
    ),
    pinned=st.booleans(),
)
def test_notes_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, title: str, tags: list[str], text: str, pinned: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.notes.json"
    path.unlink(missing_ok=True)
    notes = validated(Notes(title, tuple(tags), text, pinned))
    write_notes(path, notes)
    assert read_notes(path) == (notes, "")
    assert notes.title == title.strip()
    assert set(notes.tags) == {tag.strip() for tag in tags} - {""}


@pytest.mark.parametrize(
    ("notes", "named"),
    [
        (Notes(title="x" * (MAX_TITLE + 1)), "title has 201 characters"),
        (Notes(tags=tuple(map(str, range(MAX_TAGS + 1)))), "there are 33 tags"),
        (Notes(tags=("x" * 41,)), "has 41 characters"),
        (Notes(text="x" * (MAX_NOTE + 1)), "text has 20001 characters"),
        (Notes(title="a\x1b[2Jb"), r"title holds the control character U\+001B"),
        (Notes(title="a\nb"), r"U\+000A"),
        (Notes(tags=("a\x00",)), r"a tag holds the control character U\+0000"),
        (Notes(title="\u202egnp.exe"), r"U\+202E"),
        (Notes(title="\ud800"), r"U\+D800"),
        (Notes(text="a\x07b"), r"the text holds the control character U\+0007"),
    ],
)
def test_notes_beyond_their_limits_are_refused_and_the_old_ones_stay(
    library: LibraryFolder, put: Callable[..., Path], notes: Notes, named: str
) -> None:
    put("a")
    library.edit_notes("a", Notes(title="before"))
    with pytest.raises(FaultError, match=named) as caught:
        library.edit_notes("a", notes)
    assert caught.value.fault.bad_input
    assert by_id(library)["a"].notes == Notes(title="before")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"title": 3}', '{"tags": "x"}', '{"title": "\\u0007"}', "[" * 100_000],
)
def test_corrupt_notes_are_said_pin_the_run_and_are_kept_when_new_ones_are_written(
    library: LibraryFolder, data: Path, put: Callable[..., Path], content: str
) -> None:
    put("a")
    path = data / "runs" / "a.notes.json"
    path.write_text(content)
    run = by_id(library)["a"]
    assert "a.notes.json can't be read" in run.fault
    assert run.state is RunState.FINISHED
    assert run.notes.pinned
    assert path.read_text() == content
    library.edit_notes("a", Notes(title="anew"))
    assert by_id(library)["a"].notes == Notes(title="anew")
    assert path.with_name("a.notes.json.damaged-1").read_text() == content
    library.delete(["a"])
    assert list((data / "runs").iterdir()) == []


def test_notes_of_a_run_that_is_gone_are_refused(library: LibraryFolder, data: Path) -> None:
    for run_id in ("a", "../a", ""):
        with pytest.raises(FaultError, match="no recording"):
            library.edit_notes(run_id, Notes(title="x"))
    assert list((data / "runs").iterdir()) == []


def test_edits_of_many_windows_lose_nothing(data: Path, put: Callable[..., Path]) -> None:
    put("a")
    put("b")

    def add(run_id: str, tag: str) -> None:
        open_at(data).change_notes(run_id, lambda notes: replace(notes, tags=(*notes.tags, tag)))

    threads = [
        threading.Thread(target=add, args=(run_id, str(number)))
        for run_id in ("a", "b")
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = by_id(open_at(data))
    assert set(runs["a"].notes.tags) == set(runs["b"].notes.tags) == set(map(str, range(12)))


def test_library_that_another_process_keeps_locked_is_said_so(
    data: Path, put: Callable[..., Path]
) -> None:
    import fcntl

    put("a")
    library = open_at(data, patience_s=0.05)
    with open(data / "library.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FaultError, match="another raydash"):
            library.edit_notes("a", Notes(title="x"))
    library.edit_notes("a", Notes(title="x"))


# --- finding ----------------------------------------------------------------------------------


def test_recording_is_found_by_id_beginning_title_and_path(
    library: LibraryFolder,
    put: Callable[..., Path],
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = put("20261122-101500-x-aaaa"), put("20261123-101500-x-bbbb")
    library.edit_notes(second.stem, Notes(title="the good one"))
    assert library.find(first.stem) == first
    assert library.find("20261122") == first
    assert library.find("the good one") == second
    library.edit_notes(second.stem, Notes(title="../with/slashes"))
    assert library.find("../with/slashes") == second
    assert library.find(str(template)) == template
    monkeypatch.chdir(template.parent)
    assert library.find("template.duckdb") == template
    assert library.find("./template.duckdb") == template


def test_damaged_file_that_was_set_aside_does_not_make_a_beginning_ambiguous(
    library: LibraryFolder, data: Path, put: Callable[..., Path]
) -> None:
    path = put("run-a")
    aside = path.with_name("run-a.duckdb.damaged-1")
    aside.write_bytes(b"broken")
    assert library.find("run") == path
    assert library.find("run-a.duckdb.damaged-1") == aside


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("2026", "may be any of 2 recordings"),
        ("20261122-101500-x-aaab", "Did you mean 20261122-101500-x-aaaa"),
        ("nothing like it", "See raydash runs"),
        ("", "no recording without a name"),
        ("/no/such/file.duckdb", "no such file"),
        ("/tmp", "it is a folder"),
        ("../../../etc/passwd\x00", "no recording"),
        ("/" + "x" * 5000, "There is no recording /xxx"),
        ("x" * 5000, "There is no recording xxx"),
        ("~nobody-of-that-name/x", "no recording"),
        ("\x1b[2J", r"no recording \?\[2J"),
    ],
)
def test_what_is_not_found_is_said_with_what_comes_near(
    library: LibraryFolder, put: Callable[..., Path], wanted: str, named: str
) -> None:
    put("20261122-101500-x-aaaa")
    put("20261123-101500-x-bbbb")
    with pytest.raises(FaultError, match=named) as caught:
        library.find(wanted)
    assert caught.value.fault.bad_input


# --- deleting ---------------------------------------------------------------------------------


def test_deleting_takes_all_that_lies_beside_and_nothing_else(
    library: LibraryFolder, data: Path, put: Callable[..., Path]
) -> None:
    runs = data / "runs"
    put("a")
    put("a.b")
    library.edit_notes("a", Notes(title="x"))
    library.edit_notes("a.b", Notes(title="y"))
    for name in ("a.duckdb.wal", "a.run.json", "a.best.npz", "a.policy-3.npz"):
        (runs / name).write_text("x")
    for name in ("a.duckdb.tmp", "a.logs"):
        (runs / name).mkdir()
        (runs / name / "file").write_text("x")
    kept = (
        "a.csv",
        "a.b.best.npz",
        "ab.notes.json",
        "a.duckdb.damaged-1",
        "a.duckdb.damaged-1.wal",
    )
    for name in kept:
        (runs / name).write_text("x")
    (runs / "a.duckdb.wal").unlink()  # DuckDB would read the invented WAL
    library.delete(["a"])
    left = {path.name for path in runs.iterdir()}
    assert left == {"a.b.duckdb", "a.b.notes.json", *kept}
    [line] = log_lines(data)
    assert "deleted a (" in line


@pytest.mark.parametrize("run_id", ["../a", "/etc/passwd", "..", ".", "", "a/../b", "a\x00"])
def test_what_is_no_id_is_refused(
    library: LibraryFolder, data: Path, put: Callable[..., Path], run_id: str, template: Path
) -> None:
    put("b")
    shutil.copy(template, data / "a.duckdb")
    with pytest.raises(FaultError, match="no run's id"):
        library.delete([run_id, "b"])
    assert (data / "a.duckdb").exists()
    assert library.runs() == ()


def test_what_somebody_else_has_deleted_is_no_fault(
    library: LibraryFolder, put: Callable[..., Path]
) -> None:
    put("a")
    library.delete(["a", "b", "a"])
    library.delete(["a"])


def test_pinned_run_is_deleted_only_on_purpose(
    library: LibraryFolder, put: Callable[..., Path]
) -> None:
    put("a")
    put("b")
    library.edit_notes("a", Notes(pinned=True))
    with pytest.raises(FaultError, match="a: it is pinned"):
        library.delete(["a", "b"])
    assert set(by_id(library)) == {"a"}
    library.delete(["a"], even_pinned=True)
    assert library.runs() == ()


def test_disk_that_does_not_delete_is_said_and_nothing_is_lost(
    library: LibraryFolder, data: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")
    library.edit_notes("a", Notes(title="x"))

    def fail(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(FaultError, match="a: Read-only file system"):
        library.delete(["a"])
    monkeypatch.undo()
    assert by_id(library)["a"].notes.title == "x"
    assert log_lines(data) == []


# --- limits and retention ---------------------------------------------------------------------


def run_of(run_id: str, *, days: float = 0.0, size: int = 10, **changes: object) -> RecordedRun:
    """Make a run for the rules, without a file; day 1000 is today."""
    at = iso_utc((1000.0 - days) * DAY_S)
    run = RecordedRun(
        run_id, run_id, started_utc=at, state=RunState.FINISHED, size_bytes=size, modified_utc=at
    )
    return replace(run, **changes)  # type: ignore[arg-type]


PINNED = Notes(pinned=True)


@pytest.mark.parametrize(
    ("runs", "settings", "gone"),
    [
        ([], LibrarySettings(keep_days=1), []),
        ([run_of("a", days=9)], LibrarySettings(keep_days=1, keep_bytes=1), []),
        ([run_of("b"), run_of("a", days=9)], LibrarySettings(), []),
        ([run_of("b"), run_of("a", days=9)], LibrarySettings(keep_days=8), ["a"]),
        ([run_of("b"), run_of("a", days=9)], LibrarySettings(keep_days=10), []),
        ([run_of("b"), run_of("a", days=9, notes=PINNED)], LibrarySettings(keep_days=1), []),
        ([run_of("b"), run_of("a", days=9, fault="odd")], LibrarySettings(keep_days=1), []),
        (
            [run_of("b"), run_of("a", days=9, state=RunState.RUNNING)],
            LibrarySettings(keep_days=1, keep_bytes=1),
            [],
        ),
        (
            [run_of("d"), run_of("c", days=1), run_of("b", days=2), run_of("a", days=3)],
            LibrarySettings(keep_bytes=25),
            ["a", "b"],
        ),
        (
            [
                run_of("d"),
                run_of("c", days=1, notes=PINNED),
                run_of("b", days=2),
                run_of("a", days=3),
            ],
            LibrarySettings(keep_bytes=5),
            ["a", "b"],
        ),
        # Both rules: what is deleted for its age counts towards the size rule.
        (
            [run_of("c"), run_of("b", days=2), run_of("a", days=30)],
            LibrarySettings(keep_days=20, keep_bytes=20),
            ["a"],
        ),
        # A live run that is newest does not expose the newest finished one.
        (
            [run_of("b", state=RunState.RUNNING, fault="open"), run_of("a", days=9)],
            LibrarySettings(keep_days=1),
            [],
        ),
        # Of two clocks, one says that the run is young.
        (
            [run_of("b"), run_of("a", days=9, modified_utc=iso_utc(1001 * DAY_S))],
            LibrarySettings(keep_days=1),
            [],
        ),
        (
            [run_of("b"), run_of("a", days=9, started_utc="", modified_utc="")],
            LibrarySettings(keep_days=1),
            [],
        ),
    ],
)
def test_rules_delete_the_oldest_and_never_what_is_protected(
    runs: list[RecordedRun], settings: LibrarySettings, gone: list[str]
) -> None:
    assert [each.run.run_id for each in doomed(runs, settings, 1000 * DAY_S)] == gone


@given(
    sizes=st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.booleans()), max_size=12),
    keep_bytes=st.integers(1, 500),
)
def test_size_rule_deletes_no_more_than_it_must(
    sizes: list[tuple[int, bool, bool]], keep_bytes: int
) -> None:
    runs = [
        run_of(str(number), size=size, notes=Notes(pinned=pinned), fault="x" * broken)
        for number, (size, pinned, broken) in enumerate(sizes)
    ]
    found = [each.run for each in doomed(runs, LibrarySettings(keep_bytes=keep_bytes), 0.0)]
    left = sum(run.size_bytes for run in runs) - sum(run.size_bytes for run in found)
    assert not any(run.notes.pinned or run.fault for run in found)
    assert found == [run for run in reversed(runs) if run in found]
    if found:
        assert left + found[-1].size_bytes > keep_bytes


def test_retention_by_age_is_applied_and_logged(data: Path, put: Callable[..., Path]) -> None:
    now_s = time.time()
    for run_id, started in (("a", "2020-01-01"), ("b", "2020-01-02"), ("c", "2020-01-03")):
        path = put(run_id)
        with duckdb.connect(str(path)) as connection:
            connection.execute("UPDATE run SET started_utc = ?", [f"{started}T00:00:00+00:00"])
        os.utime(path, (now_s - 40 * DAY_S, now_s - 40 * DAY_S))
    library = open_at(data, now_s)
    library.edit_notes("a", Notes(pinned=True))
    library.change_settings(LibrarySettings(keep_days=30))
    assert library.settings() == LibrarySettings(keep_days=30)
    assert set(by_id(library)) == {"a", "c"}
    [line] = log_lines(data)
    assert "deleted b (" in line
    assert line.endswith("older than 30 days")
    assert library.apply_retention() == ()


def test_live_run_survives_every_rule(data: Path, put: Callable[..., Path]) -> None:
    put("new")
    path = data / "runs" / "20200101-000000-x-1.duckdb"
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.02)
    recorder.begin(recordings.run_row(path.stem), recordings.incarnation_row())
    try:
        while not recorder.num_bytes:
            threading.Event().wait(0.01)
        library = open_at(data, time.time() + 1000 * DAY_S)
        assert library.apply_retention(LibrarySettings(keep_days=1, keep_bytes=1)) == ()
        assert path.exists()
    finally:
        assert recorder.close(END)


@pytest.mark.parametrize(
    "settings",
    [
        LibrarySettings(keep_days=0),
        LibrarySettings(keep_days=-1),
        LibrarySettings(keep_days=float("nan")),
        LibrarySettings(keep_days=float("inf")),
        LibrarySettings(keep_bytes=0),
        LibrarySettings(keep_bytes=1.5),  # type: ignore[arg-type]
        LibrarySettings(limit_bytes=True),
        LibrarySettings(limit_bytes=-5),
    ],
)
def test_limits_that_make_no_sense_change_and_delete_nothing(
    data: Path, library: LibraryFolder, put: Callable[..., Path], settings: LibrarySettings
) -> None:
    put("a")
    put("b", modified_s=LONG_AGO_S)
    with pytest.raises(FaultError, match="above 0"):
        library.change_settings(settings)
    assert library.settings() == LibrarySettings()
    assert len(library.runs()) == 2


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("{", LibrarySettings(), "library.json can't be read"),
        ("[1]", LibrarySettings(), "library.json can't be read"),
        ('{"keep_days": -1, "keep_bytes": 7}', LibrarySettings(keep_bytes=7), "keep_days"),
        ('{"limit_bytes": "much"}', LibrarySettings(), "limit_bytes"),
        ('{"limit_bytes": null}', LibrarySettings(limit_bytes=None), ""),
        ('{"more": 1}', LibrarySettings(), ""),
    ],
)
def test_bad_settings_file_has_defaults_and_is_said(
    data: Path, library: LibraryFolder, content: str, settings: LibrarySettings, said: str
) -> None:
    (data / "library.json").write_text(content)
    assert library.settings() == settings
    assert said in library.disk().warning


@given(
    limit=st.none() | st.integers(1, 10**15),
    days=st.none() | st.floats(0.001, 1e6),
    keep=st.none() | st.integers(1, 10**15),
)
def test_settings_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    limit: int | None,
    days: float | None,
    keep: int | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "library.json"
    settings = LibrarySettings(limit, days, keep)
    write_settings(path, settings)
    assert read_settings(path) == (settings, "")


def test_disk_use_counts_all_and_warns_from_four_fifths_of_the_limit(
    data: Path, library: LibraryFolder, put: Callable[..., Path]
) -> None:
    size = put("a").stat().st_size
    (data / "runs" / "a.logs").mkdir()
    (data / "runs" / "a.logs" / "worker.log").write_bytes(bytes(1000))
    total = size + 1000
    assert library.disk().library_bytes == total
    assert by_id(library)["a"].size_bytes == total
    for limit, is_warned in ((total * 2, False), (total * 5 // 4, True), (total, True)):
        write_settings(data / "library.json", LibrarySettings(limit_bytes=limit))
        assert ("of its limit" in library.disk().warning) is is_warned


@pytest.mark.parametrize(
    ("total", "free", "is_warned"),
    [
        (10**12, 5 * 10**11, False),
        (10**12, 4 * 10**10, True),
        (10**10, 19 * 10**8, True),
        (10**10, 21 * 10**8, False),
    ],
)
def test_disk_that_is_nearly_full_is_said(
    library: LibraryFolder,
    monkeypatch: pytest.MonkeyPatch,
    total: int,
    free: int,
    is_warned: bool,
) -> None:
    usage = shutil._ntuple_diskusage(total, total - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    disk = library.disk()
    assert disk.free_bytes == free
    assert ("the disk has only" in disk.warning) is is_warned


def test_details_hold_what_the_recorder_was_given(data: Path) -> None:
    path = data / "runs" / "a.duckdb"
    record(path)
    found = details(path)
    assert found.figures == figures(path)
    assert (found.seed, found.num_workers, found.num_restarts) == (7, 2, 0)
    assert found.spec["env"]["id"] == "CartPole-v1"
    assert found.versions["duckdb"] == duckdb.__version__
    [worker] = found.workers
    assert worker.totals.num_episodes == 50
    assert [life.pid for life in found.incarnations] == [4711]
    assert found.ended_s == 60.0
