"""`raydash runs`, `show`, `note`, `delete` and `prune` as real processes, on real recordings."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raydash.core.library import Notes
from raydash.core.machine.requested_state import RequestedState
from raydash.core.states import EndedBy, RunState
from raydash.record.file.rows import RecordBatch, RunEndRow
from raydash.record.library.library import LibraryFolder
from raydash.record.read.query import figures
from raydash.record.write.recorder import Recorder
from tests.fakes.places import ROOT
from tests.fakes.recordings import recordings
from tests.process.terminal.test_cli_run import KEYS

OLD, NEW = "20251101-080000-cartpole-v1-aaaa", "20261101-080000-cartpole-v1-bbbb"
Typed = Callable[..., "subprocess.CompletedProcess[str]"]


def record(path: Path, started_utc: str, name: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = recordings.run_row(path.stem)
    spec = replace(row.spec, name=name)
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.02)
    recorder.begin(replace(row, started_utc=started_utc, spec=spec), recordings.incarnation_row())
    batch = recordings.episodes(40)
    totals = [(1, 0, recordings.totals_after(batch))]
    events = [recordings.event(number, number / 10) for number in range(1, 31)]
    recorder.append(
        RecordBatch(50.0, 40.0, RequestedState(2), episodes=batch, totals=totals, events=events)
    )
    assert recorder.close(
        RunEndRow(RunState.STOPPED, EndedBy.USER, "", "2026-11-01T08:00:50+00:00", 50.0, 40.0)
    )


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    record(folder / f"{OLD}.duckdb", "2025-11-01T08:00:00+00:00", name="the \x1b[31mred\x1b[0m one")
    record(folder / f"{NEW}.duckdb", "2026-11-01T08:00:00+00:00")
    return folder


@pytest.fixture
def data(tmp_path: Path, templates: Path) -> Path:
    (tmp_path / "data").mkdir()
    shutil.copytree(templates, tmp_path / "data" / "runs")
    for run_id in (OLD, NEW):
        at_s = time.time() - (400 if run_id == OLD else 20) * 86_400
        os.utime(tmp_path / "data" / "runs" / f"{run_id}.duckdb", (at_s, at_s))
    return tmp_path / "data"


@pytest.fixture
def environment(data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAYDASH_DATA_DIR": str(data),
        "RAYDASH_STATE_DIR": str(data.parent / "state"),
        "RAYDASH_CACHE_DIR": str(data.parent / "cache"),
        "TZ": "UTC",
    }


@pytest.fixture
def typed(environment: dict[str, str]) -> Typed:
    def run(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "raydash", *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment, **changes},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


def ids_in(data: Path) -> set[str]:
    return {path.stem for path in (data / "runs").glob("*.duckdb")}


def library_in(data: Path) -> LibraryFolder:
    return LibraryFolder(data, cache_dir=data.parent / "c", state_dir=data.parent / "s")


# --- runs -------------------------------------------------------------------------------------


def test_runs_lists_newest_first_what_is_broken_and_the_disk(typed: Typed, data: Path) -> None:
    (data / "runs" / "broken.duckdb").write_bytes(b"nonsense" * 1000)
    (data / "library.json").write_text('{"limit_bytes": 1000}')
    done = typed("runs")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["RUN", "TITLE", "STATE"]
    assert [row.split()[0] for row in rows[1:3]] == [NEW, OLD]
    assert "unreadable" in rows[0]
    assert "2026-11-01 08:00" in rows[1]
    assert "stopped" in rows[1]
    assert "40.0 s" in rows[1]
    assert rows[3] == "broken: the file is damaged"
    assert f"in {data}/runs" in rows[4]
    assert "of its limit of 1 kB" in rows[5]
    assert "\x1b" not in done.stdout


def test_runs_json_is_one_object_with_figures_that_the_files_have(typed: Typed, data: Path) -> None:
    (data / "runs" / "broken.duckdb").write_bytes(b"nonsense" * 1000)
    done = typed("runs", "--json")
    table = json.loads(done.stdout)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    broken, new, old = table["runs"]
    whole = figures(data / "runs" / f"{NEW}.duckdb")
    assert new["run_id"] == NEW
    assert new["episode_return_mean"] == whole.episode_return_mean
    assert new["num_env_steps_sampled_lifetime"] == whole.num_env_steps_sampled_lifetime
    assert new["num_episodes_lifetime"] == 40
    assert (new["mode"], new["policy"], new["learner"]) == ("actors", "random", None)
    assert (new["state"], new["ended_by"], new["error"]) == ("stopped", "user", None)
    assert old["title"] == "the \x1b[31mred\x1b[0m one"
    assert broken["error"] == "the file is damaged"
    assert broken["num_episodes_lifetime"] is None
    assert table["num_runs"] == 3
    assert table["disk"]["library_bytes"] > 0
    assert table["settings"]["keep_days"] is None


def test_runs_are_chosen_by_tag_words_and_number(typed: Typed, data: Path) -> None:
    library_in(data).edit_notes(OLD, Notes(tags=("a/b", "good"), text="Learned NOTHING"))

    def chosen(*words: str) -> list[str]:
        table = json.loads(typed("runs", "--json", *words).stdout)
        return [run["run_id"] for run in table["runs"]]

    assert chosen("--tag", "good", "--tag", "a/b") == [OLD]
    assert chosen("--tag", "goo") == []
    assert chosen("--search", "nothing") == [OLD]
    assert chosen("--search", "CARTPOLE") == [NEW, OLD]
    assert chosen("--limit", "1") == [NEW]
    assert "no recording is like that" in typed("runs", "--search", "xyz").stdout


def test_data_dir_option_stands_before_and_after_the_command_and_wins(
    typed: Typed, data: Path, tmp_path: Path
) -> None:
    other = str(tmp_path / "other")
    for words in (["runs", "--data-dir", str(data)], [f"--data-dir={data}", "runs"]):
        assert NEW in typed(*words, RAYDASH_DATA_DIR=other).stdout
    empty = typed("--data-dir", other, "runs")
    assert (empty.returncode, empty.stdout.splitlines()[0]) == (
        0,
        f"no recording yet in {other}/runs",
    )
    assert not Path(other).exists()


@pytest.mark.parametrize(
    "words", [["--data-dir"], ["--data-dir=", "runs"], ["runs", "--data-dir", " "]]
)
def test_data_dir_without_a_folder_is_refused(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert done.returncode == 2
    assert "data-dir" in done.stderr


def test_data_dir_that_is_a_file_is_refused(typed: Typed, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    done = typed("runs", "--data-dir", str(place))
    assert done.returncode == 2
    assert "The library can't be read" in done.stderr


def test_reader_that_goes_away_is_no_error(environment: dict[str, str], data: Path) -> None:
    command = f"{sys.executable} -m raydash runs --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_terminal_that_knows_few_characters_gets_what_it_knows(typed: Typed, data: Path) -> None:
    library_in(data).edit_notes(OLD, Notes(title="🚀 über"))
    done = typed("runs", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "? ?ber" in done.stdout


# --- show -------------------------------------------------------------------------------------


def test_show_json_has_the_keys_of_run_and_the_rest(typed: Typed, data: Path) -> None:
    library_in(data).edit_notes(NEW, Notes(title="best", tags=("x",), text="why", pinned=True))
    path = data / "runs" / f"{NEW}.duckdb"
    done = typed("show", "2026", "--json")
    table = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(table) >= KEYS | {"seed", "cause", "error", "error_keys"}
    whole = figures(path)
    for name in KEYS & set(whole.__slots__):
        assert table[name] == getattr(whole, name), name
    assert table["env_steps_per_s"] == whole.num_env_steps_sampled_lifetime / 40.0
    assert (table["run_id"], table["seed"], table["num_workers"]) == (NEW, 7, 2)
    assert (table["title"], table["tags"], table["notes"]) == ("best", ["x"], "why")
    assert table["pinned"] is True
    assert table["spec"]["env"]["id"] == "CartPole-v1"
    assert table["versions"]["raydash"]
    assert table["machine"]["num_cpus"]
    assert [incarnation["pid"] for incarnation in table["incarnations"]] == [4711]
    assert [worker["num_episodes"] for worker in table["workers"]] == [40]
    assert table["num_events"] == 30
    assert [event["number"] for event in table["events"]] == list(range(11, 31))
    assert table["recording"] == str(path)


def test_show_says_it_in_words_without_control_characters(typed: Typed) -> None:
    done = typed("show", OLD)
    assert done.returncode == 0
    assert "stopped by user" in done.stdout
    assert "env_kwargs" not in done.stdout
    assert "sutton_barto_reward = true" in done.stdout
    assert "events (the last 20)" in done.stdout
    assert "\x1b" not in done.stdout


def test_show_takes_a_file_outside_of_the_library_and_leaves_it_as_it_is(
    typed: Typed, templates: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "handed on"
    folder.mkdir()
    path = folder / "it's a copy.db"
    shutil.copy(templates / f"{NEW}.duckdb", path)
    before = path.read_bytes()
    path.chmod(0o444)
    folder.chmod(0o555)
    done = typed("show", str(path), "--json")
    folder.chmod(0o755)
    table = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (table["run_id"], table["num_episodes_lifetime"]) == (NEW, 40)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def test_show_of_a_live_run_says_so(typed: Typed, data: Path, environment: dict[str, str]) -> None:
    path = data / "runs" / "20261120-000000-live-cccc.duckdb"
    command = [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as child:
        try:
            assert child.stdout is not None
            card = path.with_name(f"{path.stem}.run.json")
            for _ in child.stdout:
                if card.exists():
                    break
            table = json.loads(typed("show", path.stem, "--json").stdout)
            assert table["state"] == "running"
            assert table["env_id"] == "CartPole-v1"
            assert table["num_episodes_lifetime"] is None
            assert f"process {child.pid}" in table["error"]
            done = typed("delete", path.stem, NEW, "--yes")
            assert done.returncode == 2
            assert path.stem in done.stderr
            assert f"process {child.pid}" in done.stderr
            assert ids_in(data) == {path.stem, OLD}
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["show", "nothing"], "There is no recording nothing"),
        (["show", "20"], "may be any of 2 recordings"),
        (["show", "/no/file.duckdb"], "there is no such file"),
        (["show", "broken"], "the file is damaged"),
        (["export", "broken", "--to", "csv", "--out", "x.csv"], "the file is damaged"),
        (["export", NEW, "--to", "csv", "--out", "/proc/x.csv"], "x.csv was not written"),
        (["report", "broken", "--out", "x.html"], "the file is damaged"),
        (["report", NEW, "--out", "/proc/x.html"], "x.html was not written"),
        (["report", NEW, "--out", "/dev/null/x.html"], "/dev/null is no folder"),
        (["note", "nothing", "--title", "x"], "There is no recording nothing"),
        (["note", NEW, "--title", "x" * 201], "title has 201 characters"),
        (["note", NEW, "--tag", "a\x1bb"], "control character U+001B"),
        (["delete", "nothing", "--yes"], "There is no recording nothing"),
        (["delete", NEW, "../escape", "--yes"], "no recording ../escape"),
        (["delete", NEW], "say --yes"),
        (["prune"], "No rule says what to delete"),
        (["prune", "--max-size", "much", "--yes"], "--max-size much is no size"),
        (["prune", "--older-than", "-1", "--yes"], "no number of days above 0"),
        (["prune", "--older-than", "nan", "--yes"], "no number of days above 0"),
        (["runs", "--limit", "0"], "limit"),
    ],
)
def test_bad_input_is_refused_with_2_and_changes_nothing(
    typed: Typed, data: Path, words: list[str], named: str
) -> None:
    (data / "runs" / "broken.duckdb").write_bytes(b"nonsense" * 1000)
    before = {path.name: path.read_bytes() for path in (data / "runs").iterdir()}
    done = typed(*words)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in (data / "runs").iterdir()} == before


def test_pipe_among_the_recordings_is_refused_and_not_waited_for(typed: Typed, data: Path) -> None:
    os.mkfifo(data / "runs" / "pipe.duckdb")
    for words in (["show", "pipe"], ["export", "pipe", "--to", "json", "--out", "x.json"]):
        done = typed(*words)
        assert done.returncode == 2
        assert "no file" in done.stderr
    assert "pipe" in typed("runs").stdout


@pytest.mark.parametrize("wanted", ["nothing", "broken"])
def test_show_json_is_one_object_whatever_happens(typed: Typed, data: Path, wanted: str) -> None:
    (data / "runs" / "broken.duckdb").write_bytes(b"nonsense" * 1000)
    table = json.loads(typed("show", wanted, "--json").stdout)
    assert set(table) >= KEYS
    assert table["error"]


# --- note, delete, prune ----------------------------------------------------------------------


def test_notes_are_changed_part_by_part(typed: Typed, data: Path) -> None:
    nasty = "../🚀 </script>"
    assert typed("note", NEW, "--title", nasty, "--tag", "a", "--tag", "b", "--pin").returncode == 0
    done = typed("note", nasty, "--untag", "a", "--tag", "c/d", "--text", "one\ntwo", "--unpin")
    assert done.returncode == 0
    [run] = [run for run in library_in(data).runs() if run.run_id == NEW]
    assert run.notes == Notes(nasty, ("b", "c/d"), "one\ntwo", False)
    assert set((data / "runs").iterdir()) == {
        data / "runs" / name for name in (f"{OLD}.duckdb", f"{NEW}.duckdb", f"{NEW}.notes.json")
    }


def test_delete_takes_what_was_named(typed: Typed, data: Path) -> None:
    done = typed("delete", "2025", "--yes")
    assert done.returncode == 0
    assert "deleted 1 recording" in done.stdout
    assert ids_in(data) == {NEW}
    assert f"deleted {OLD}" in (data.parent / "state" / "library.log").read_text()


def test_delete_refuses_the_pinned_unless_told(typed: Typed, data: Path) -> None:
    library_in(data).edit_notes(NEW, Notes(pinned=True))
    done = typed("delete", NEW, OLD, "--yes")
    assert (done.returncode, ids_in(data)) == (2, {NEW})
    assert f"{NEW}: it is pinned" in done.stderr
    assert typed("delete", NEW, "--yes", "--even-pinned").returncode == 0
    assert ids_in(data) == set()


def test_delete_of_a_file_outside_of_the_library_is_refused(
    typed: Typed, data: Path, templates: Path
) -> None:
    outside = templates / f"{NEW}.duckdb"
    done = typed("delete", str(outside), OLD, "--yes")
    assert done.returncode == 2
    assert "is not in the library" in done.stderr
    assert outside.exists()
    assert ids_in(data) == {OLD, NEW}


@pytest.mark.parametrize(("answer", "is_gone"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_delete_asks_at_a_terminal(
    environment: dict[str, str], data: Path, answer: str, is_gone: bool
) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "raydash", "delete", OLD],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        os.write(master, answer.encode())
        out, err = child.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert "Delete 1 recording (" in out
    assert (child.returncode, OLD not in ids_in(data)) == ((0, True) if is_gone else (2, False))
    assert ("nothing was deleted" in err) is not is_gone


def test_prune_deletes_the_old_after_a_dry_run(typed: Typed, data: Path) -> None:
    dry = typed("prune", "--older-than", "30", "--dry-run")
    assert dry.returncode == 0
    assert "older than 30 days" in dry.stdout
    assert ids_in(data) == {OLD, NEW}
    assert typed("prune", "--older-than", "30").returncode == 2
    done = typed("prune", "--older-than", "30", "--yes")
    assert (done.returncode, ids_in(data)) == (0, {NEW})
    again = typed("prune", "--older-than", "1", "--yes")
    assert (again.returncode, again.stdout, ids_in(data)) == (0, "nothing to delete\n", {NEW})


def test_prune_by_size_keeps_the_newest_and_the_pinned(typed: Typed, data: Path) -> None:
    library_in(data).edit_notes(OLD, Notes(pinned=True))
    assert typed("prune", "--max-size", "1kB", "--yes").stdout == "nothing to delete\n"
    library_in(data).edit_notes(OLD, Notes())
    done = typed("prune", "--max-size", "1kB", "--yes")
    assert (done.returncode, ids_in(data)) == (0, {NEW})


def test_prune_without_options_follows_the_librarys_rules(typed: Typed, data: Path) -> None:
    (data / "library.json").write_text('{"keep_days": 100}')
    assert typed("prune", "--yes").returncode == 0
    assert ids_in(data) == {NEW}
