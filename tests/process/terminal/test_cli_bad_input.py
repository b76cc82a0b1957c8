"""What is refused: by name, with every fault at once, exit code 2, and nothing started."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from raydash.engine.owner import owner
from raydash.terminal.cli import SECTIONS, app
from raydash.terminal.commands import display, doctor
from raydash.terminal.commands.listing import list_runs, stop_runs
from raydash.terminal.commands.options import why_wrong_platform
from raydash.terminal.engine_client import EngineClient
from tests.fakes.engines import terminal_engine
from tests.fakes.engines.terminal_engine import RUN_ID
from tests.fakes.places import ROOT

CONSTRUCTOR = '{"where": "constructor"}'


@pytest.fixture(autouse=True)
def _nothing_is_started(private_dirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every engine a program that does not exist, so that starting one fails."""
    monkeypatch.setattr("raydash.terminal.engine_client.ENGINE_COMMAND", ("/nonexistent",))


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--workers", "0"], "rollout.num_workers: 0 is too small"),
        (["--workers", "-1"], "rollout.num_workers: -1 is too small"),
        (["--workers", "1000000"], "rollout.num_workers: 1000000 is too large"),
        (["--env-kwargs", "{oops"], "env.kwargs: --env-kwargs is not JSON"),
        (["--env-kwargs", "[1]"], "env.kwargs: [1] is not a table"),
        (["--env-kwargs", "[" * 100_000], "env.kwargs: --env-kwargs is not JSON"),
        (["--env-kwargs", "1" * 5000], "env.kwargs: --env-kwargs is not JSON"),
        (["--policy", "constant"], "policy.action: is missing"),
        (["--policy", "constant", "--action", "{"], "policy.action: --action is not JSON"),
        (["--policy", "constant", "--action", '"left"'], 'policy.action: "left" is no action'),
        (["--target", "5"], "stop.target_return: nothing is evaluated without a learner"),
        (["--mode", "lockstep", "--envs-per-worker", "2"], "rollout.num_envs_per_worker"),
        (["--envs-per-worker", "0"], "rollout.num_envs_per_worker: 0 is too small"),
        (["--policy", "clever"], 'policy.kind: "clever" is unknown; allowed: one of random'),
        (["--env", ""], "env.id: is empty"),
        (["--seed", "-3"], "rollout.seed: -3 is too small"),
        (["--for", "0"], "stop.seconds: 0.0 is too small"),
        (["--for", "nan"], "stop.seconds: NaN is not finite"),
        (["--steps", "0"], "stop.env_steps: 0 is too small"),
        (["--episodes", "-5"], "stop.episodes: -5 is too small"),
        (["missing.toml"], "missing.toml: cannot be read"),
    ],
)
def test_bad_option_of_run_is_named(words: list[str], named: str) -> None:
    result = typed("run", *words)
    assert result.exit_code == 2
    assert f"raydash: {named}" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[env\n", "the file: is not TOML"),
        ("[evn]\nid = 'x'\n", "evn: is unknown (did you mean env?)"),
        ("[rollout]\nnum_worker = 2\n", "did you mean rollout.num_workers?"),
        ("[rollout]\nnum_workers = 'two'\n", 'rollout.num_workers: "two" is not a whole number'),
        ("env = 3\n", "env: is not a table"),
        (f"x = {'[' * 100_000}\n", "the file: is not TOML"),
        (f"x = {'1' * 5000}\n", "the file: is not TOML"),
    ],
)
def test_bad_spec_file_is_refused_by_run_and_by_window(
    text: str, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    for words in (["run", str(path)], [str(path), "--start"]):
        result = typed(*words)
        assert result.exit_code == 2
        assert named in result.stderr


def test_all_violations_come_at_once_from_file_and_options(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[rollout]\nnum_workers = 0\nsede = 1\n[stop]\nseconds = 'long'\n")
    result = typed("run", str(path), "--env-kwargs", "{", "--seed", "-1", "--json")
    assert result.exit_code == 2
    keys = {"env.kwargs", "rollout.num_workers", "rollout.sede", "rollout.seed", "stop.seconds"}
    table = json.loads(result.stdout)
    assert set(table["error_keys"]) == keys
    assert table["run_id"] is None


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["--env", "CartPol-v1"], "env.id", "Did you mean CartPole-v1"),
        (["--env", "NoSuchModule:NoSuch-v0"], "env.id", "NoSuchModule"),
        (["--env-kwargs", '{"no_such": 1}'], "env.kwargs", "no_such"),
    ],
)
def test_environment_that_cannot_be_made_is_refused_before_any_cluster_is_launched(
    words: list[str], key: str, said: str
) -> None:
    result = typed("run", *words, "--json")
    assert result.exit_code == 2
    table = json.loads(result.stdout)
    assert key in table["error_keys"]
    assert said in table["error"]


@pytest.mark.parametrize("variable", ["RAYDASH_STATE_DIR", "RAYDASH_DATA_DIR"])
def test_folder_that_cannot_be_written_is_named(
    variable: str, private_dirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_dirs.joinpath("file").write_text("not a folder")
    monkeypatch.setenv(variable, str(private_dirs / "file" / "s"))
    result = typed("run", "--json")
    assert result.exit_code == 2
    assert variable in json.loads(result.stdout)["error"]


def test_options_that_are_no_numbers_or_unknown_are_refused() -> None:
    assert typed("run", "--workers", "two").exit_code == 2
    assert typed("run", "--wrokers", "2").exit_code == 2
    assert typed("run", "a.toml", "b.toml").exit_code == 2


@pytest.mark.parametrize("words", [["--workers", "two"], ["--wrokers", "2"], ["a", "b"], ["--env"]])
def test_json_holds_what_is_wrong_with_options_that_cannot_be_read(words: list[str]) -> None:
    result = typed("run", "--json", *words)
    assert result.exit_code == 2
    table = json.loads(result.stdout)
    assert table["run_id"] is None
    assert table["error"].startswith("The options were refused")
    assert words[-2 if len(words) > 1 else 0] in table["error"] + result.stderr


def test_mistyped_command_is_not_taken_for_a_spec_file() -> None:
    result = typed("rnu")
    assert result.exit_code == 2
    assert "Did you mean run?" in result.stderr


def test_window_without_display_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    result = typed("--start")
    assert result.exit_code == 2
    assert "There is no display for the window" in result.stderr
    assert "raydash run needs no display" in result.stderr


def test_display_that_does_not_answer_is_refused_in_words() -> None:
    fault = display.why_no_window({"DISPLAY": ":61999"})
    assert fault is not None
    assert "Nobody answers at the display :61999" in fault.sentence()


def test_platform_that_qt_does_not_have_is_refused_with_those_that_it_has() -> None:
    fault = display.why_no_window({"QT_QPA_PLATFORM": "nonsense"})
    assert fault is not None
    assert "no platform nonsense" in fault.why
    assert "QT_QPA_PLATFORM" in fault.remedy


@pytest.mark.parametrize("name", ["", "nonsense", "localhost", ":x"])
def test_nonsense_is_no_display(name: str) -> None:
    assert not display.display_answers(name)


def test_stop_wants_to_know_which() -> None:
    assert typed("stop").exit_code == 2
    assert typed("stop", "").exit_code == 2, "a shell variable that is not set"
    assert typed("stop", "x", "--all").exit_code == 2


def test_listing_and_stopping_launch_no_cluster() -> None:
    assert "no run is alive" in typed("ps").stdout
    assert json.loads(typed("ps", "--json").stdout) == {"runs": []}
    assert typed("stop", "--all").exit_code == 0
    assert typed("stop", "20261122").exit_code == 2
    assert "no launched cluster is alive" in typed("cluster", "status").stdout
    assert typed("cluster", "stop").exit_code == 0


def test_unknown_bench_lists_the_names() -> None:
    result = typed("bench", "coffee")
    assert result.exit_code == 2
    assert "rollout, modes, peers, learning" in result.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32", "cygwin"])
def test_other_platforms_are_refused_in_one_sentence(platform: str) -> None:
    sentence = why_wrong_platform(platform)
    assert platform in sentence
    assert sentence.count(".") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--quit-after", "nan"],
        ["--quit-after", "1e12"],
        ["--screenshot", "picture.txt"],
        ["--screenshot", "/dev/null/picture.png"],
    ],
)
def test_window_refuses_what_it_could_not_do_when_it_quits(words: list[str]) -> None:
    result = typed("gui", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
    assert "Traceback" not in result.stderr


def test_environments_that_raise_are_refused_with_their_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = typed(
        "run", "--env", "tests.fakes.user_code.envs:RaisingEnv", "--env-kwargs", CONSTRUCTOR
    )
    assert result.exit_code == 2
    *traceback, said = result.stderr.splitlines()
    assert "the licence server is away" in said
    assert "the traceback names the line" in said
    assert any("envs.py" in line for line in traceback)


COMMANDS = [name for names in SECTIONS.values() for name in names]


def test_every_command_stands_in_one_section_of_the_help() -> None:
    group: Any = typer.main.get_command(app)
    assert sorted(COMMANDS) == sorted(group.commands)


@pytest.mark.parametrize("command", ["", *COMMANDS, "cluster status", "cluster stop"])
def test_every_command_explains_itself_and_its_options_on_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="raydash")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: raydash {command}")
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in result.stdout.partition("Options:")[2], "nothing is cut off"
    explained: Any = typer.main.get_command(app)
    for name in command.split():
        explained = explained.commands[name]
    assert explained.help
    assert [param.name for param in explained.params if not param.help] == []


def test_program_is_also_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "raydash", "run", "--workers", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 2
    assert "rollout.num_workers" in done.stderr


def answering(words: str, out: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "raydash", *words.split()],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"), [("run --workers 0 --json", 2), ("runs", 3), ("doctor --json", 3)]
)
def test_answer_that_cannot_be_written_is_said_in_words(words: str, code: int) -> None:
    with Path("/dev/full").open("w") as out:
        done = answering(words, out.fileno())
    assert done.returncode == code
    assert "could not be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code"), [("run --workers 0 --json", 2), ("runs", 0), ("doctor --json", 0)]
)
def test_answer_that_nobody_reads_is_no_fault(words: str, code: int) -> None:
    nobody, out = os.pipe()
    os.close(nobody)
    done = answering(words, out)
    os.close(out)
    assert done.returncode == code
    assert "written" not in done.stderr
    assert "Traceback" not in done.stderr


# --- listing and stopping through a stand-in engine -----------------------------------------------


@pytest.fixture
def open_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> partial[EngineClient]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "engine"
    return partial(EngineClient, (sys.executable, terminal_engine.__file__, "well", str(folder)))


def test_live_runs_are_listed_with_their_owners(
    open_engine: partial[EngineClient], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_runs("10.0.0.1:6379", open_engine=open_engine) == 0
    header, mine, theirs = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "RUN"
    assert mine.startswith(RUN_ID)
    assert mine.endswith(owner())
    assert theirs.endswith("somebody@elsewhere")


def test_own_run_is_stopped_by_the_beginning_of_its_id(
    open_engine: partial[EngineClient], capsys: pytest.CaptureFixture[str]
) -> None:
    assert stop_runs(RUN_ID[:12], "10.0.0.1:6379", open_engine=open_engine) == 0
    assert f"{RUN_ID} has stopped" in capsys.readouterr().out


def test_all_means_all_of_ones_own(
    open_engine: partial[EngineClient], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert stop_runs(None, "10.0.0.1:6379", open_engine=open_engine) == 0
    assert capsys.readouterr().out.split()[0] == RUN_ID
    assert (tmp_path / "engine" / "sent").read_text().count("Verb.STOP") == 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("20261122-111500", "belongs to somebody@elsewhere"),
        ("20261122", "may be any of"),
        ("nothing", "no run nothing; live runs:"),
        ("", "no run ; live runs:"),
    ],
)
def test_run_that_is_not_ones_own_or_not_clear_is_left_alone(
    open_engine: partial[EngineClient],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    wanted: str,
    why: str,
) -> None:
    assert stop_runs(wanted, "10.0.0.1:6379", open_engine=open_engine) == 2
    assert why in capsys.readouterr().err
    assert "Verb.STOP" not in (tmp_path / "engine" / "sent").read_text()


# --- doctor ---------------------------------------------------------------------------------------


def test_doctor_names_what_is_wrong_with_a_remedy(
    private_dirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = private_dirs / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("RAYDASH_STATE_DIR", str(blocker / "s"))
    checks = {check.name: check for check in doctor.examine({})}
    assert not checks["display"].ok
    assert not checks["state folder"].ok
    assert "RAYDASH_STATE_DIR" in checks["state folder"].remedy
    assert checks["Python"].ok
    assert all(check.ok or check.remedy for check in checks.values())


def test_doctor_speaks_json_and_exits_2_when_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = doctor.Check("display", ok=False, text="none", remedy="buy one")
    monkeypatch.setattr(doctor, "examine", lambda: [bad])
    result = typed("doctor", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["checks"][0]["remedy"] == "buy one"
