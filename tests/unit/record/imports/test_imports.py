"""Other tools' files become exact recordings, whole or not at all; faults name file and line."""

import json
import math
import os
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

import raydash
from raydash.core.faults import FaultError
from raydash.core.library import ExportFormat, RunSource
from raydash.core.states import Ending, RunState
from raydash.record.export.export import export
from raydash.record.file.folder import entry_of
from raydash.record.file.times import unix_s
from raydash.record.imports.draft import DraftRecording
from raydash.record.imports.imports import import_runs
from raydash.record.imports.tags import our_names_of
from raydash.record.library.index import line_of
from raydash.record.library.library import open_library
from raydash.record.read import query
from raydash.record.read.details import details
from raydash.record.read.episode_sums import UNKNOWN_ENDING
from raydash.record.read.query import open_read_only
from raydash.terminal.cli import app
from tests.fakes.recordings.finished_run import mixed_episodes, record_run

HEAD = '#{"t_start": 1795342500.0, "env_id": "CartPole-v1"}\n'


def monitor_file(path: Path, rows: Sequence[tuple[object, ...]], head: str = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(str(cell) for cell in row) + "\r\n" for row in rows)
    path.write_text(f"{head}r,l,t\r\n{text}", newline="")
    return path


def event_file(
    path: Path, points: Sequence[tuple[int, float, str, float]], *, tensors: bool = False
) -> Path:
    """Write an event file; points are (step, wall time, tag, value)."""
    from tensorboardX import RecordWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = RecordWriter(str(path))
    writer.write(Event(wall_time=points[0][1], file_version="brain.Event:2").SerializeToString())
    for step, wall_time, tag, number in points:
        plugin = SummaryMetadata.PluginData(plugin_name="scalars")
        value = (
            Summary.Value(
                tag=tag,
                metadata=SummaryMetadata(plugin_data=plugin),
                tensor=TensorProto(dtype=1, tensor_content=struct.pack("<f", number)),
            )
            if tensors
            else Summary.Value(tag=tag, simple_value=number)
        )
        event = Event(wall_time=wall_time, step=step, summary=Summary(value=[value]))
        writer.write(event.SerializeToString())
    writer.close()
    return path


def imported(*paths: Path, data: Path) -> tuple[list[Path], list[str]]:
    said: list[str] = []
    ids = import_runs(paths, data, say=said.append)
    return [data / "runs" / f"{run_id}.duckdb" for run_id in ids], said


def scalars(path: Path) -> dict[str, list[tuple[float | None, int | None, float]]]:
    with closing(open_read_only(path)) as connection:
        rows = connection.execute("SELECT tag, t_s, num_env_steps, value FROM scalars").fetchall()
    found: dict[str, list[tuple[float | None, int | None, float]]] = {}
    for tag, *rest in rows:
        found.setdefault(tag, []).append(tuple(rest))
    return found


def refused(*paths: Path, data: Path) -> str:
    """Return the fault's sentence, after checking that nothing was imported."""
    with pytest.raises(FaultError) as error:
        import_runs(paths, data)
    assert list((data / "runs").iterdir()) == []
    assert error.value.fault.bad_input
    return error.value.fault.sentence()


# --- sb3 --------------------------------------------------------------------------------------


def test_folder_of_monitor_files_is_one_run_with_exact_returns(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    returns = {worker: rng.normal(size=50) * 1e3 for worker in (1, 2, 3)}
    names = {1: "0.monitor.csv", 2: "2.monitor.csv", 3: "10.monitor.csv"}
    for worker, name in names.items():
        rows = [(repr(float(r)), 10 * worker, n + 0.5) for n, r in enumerate(returns[worker])]
        monitor_file(tmp_path / "ppo run" / name, rows)
    (path,), said = imported(tmp_path / "ppo run", data=tmp_path / "data")
    assert said == []
    assert path.name.startswith("20261122-101500-ppo-run-")
    with raydash.open_run(path) as run:
        for worker in names:
            assert np.array_equal(run.returns(worker), returns[worker])
        assert set(run.episodes().ending) == {UNKNOWN_ENDING}
        assert np.isnan(run.episodes().duration_s).all()
        assert (np.diff(run.episodes().end_s) >= 0).all()
        assert run.spec.name == "ppo run"
        assert run.spec.env.id == "CartPole-v1"
        assert run.spec.rollout.num_workers == 3
        assert run.workers.num_env_steps.tolist() == [500, 1000, 1500]
        assert run.workers.num_episodes.tolist() == [50, 50, 50]
        figures = run.figures
        history = run.history()
    everything = np.concatenate(list(returns.values()))
    assert figures.state is RunState.FINISHED
    assert figures.num_episodes_lifetime == 150
    assert figures.num_env_steps_sampled_lifetime == 3000
    assert figures.episode_return_mean == pytest.approx(everything.mean(), rel=1e-12)
    assert (figures.episode_return_min, figures.episode_return_max) == (
        everything.min(),
        everything.max(),
    )
    assert figures.elapsed_s == 49.5
    assert history.return_n.sum() == 150
    assert history.num_env_steps.sum() == pytest.approx(3000)


def test_imported_run_is_in_the_library(private_dirs: Path, tmp_path: Path) -> None:
    file = monitor_file(tmp_path / "best.monitor.csv", [(1.0, 5, 0.5)])
    imported(file, data=private_dirs / "d")
    (run,) = open_library(private_dirs / "d").runs()
    assert (run.name, run.env_id, run.source) == ("best", "CartPole-v1", RunSource.SB3_MONITOR)
    assert (run.state, run.num_workers, run.num_episodes_lifetime) == (RunState.FINISHED, 1, 1)
    assert run.started_utc == "2026-11-22T10:15:00+00:00"
    assert run.fault == ""


def test_export_to_monitor_and_back_keeps_every_return(tmp_path: Path) -> None:
    episodes = mixed_episodes(500)
    original = record_run(tmp_path / "r.duckdb", episodes)
    export(original, ExportFormat.MONITOR, tmp_path / "m")
    (path,), _ = imported(tmp_path / "m", data=tmp_path / "data")
    with raydash.open_run(original) as before, raydash.open_run(path) as after:
        for worker in (1, 2):
            assert np.array_equal(before.returns(worker), after.returns(worker))
        good = before.episodes().ending != Ending.ERROR
        assert np.array_equal(before.episodes().end_s[good], after.episodes().end_s)
        assert before.figures.started_utc == after.figures.started_utc


@pytest.mark.parametrize("again", ["", HEAD.replace("2500", "2600") + "r,l,t\n"])
def test_file_that_was_appended_to_after_a_restart_goes_on(tmp_path: Path, again: str) -> None:
    file = tmp_path / "0.monitor.csv"
    file.write_text(f"{HEAD}r,l,t\n1.0,5,1.0\n2.0,5,20.0\n{again}3.0,5,1.5\n4.0,5,2.0\n")
    (path,), _ = imported(file, data=tmp_path / "data")
    with raydash.open_run(path) as run:
        found = run.episodes()
    assert found.incarnation.tolist() == [0, 0, 1, 1]
    assert found.episode_return.tolist() == [1.0, 2.0, 3.0, 4.0]
    base = 100.0 if again else 20.0
    assert found.end_s.tolist() == [1.0, 20.0, base + 1.5, base + 2.0]
    with raydash.open_run(path) as run:
        assert run.figures.num_env_steps_sampled_lifetime == 20


def test_workers_that_began_later_end_their_episodes_later(tmp_path: Path) -> None:
    monitor_file(tmp_path / "m" / "0.monitor.csv", [(1.0, 5, 1.0)])
    monitor_file(tmp_path / "m" / "1.monitor.csv", [(2.0, 5, 1.0)], HEAD.replace("2500", "2510"))
    (path,), _ = imported(tmp_path / "m", data=tmp_path / "data")
    with raydash.open_run(path) as run:
        assert run.episodes().end_s.tolist() == [1.0, 11.0]


def test_start_is_kept_to_the_microsecond(tmp_path: Path) -> None:
    head = HEAD.replace("2500.0", "2500.25")
    file = monitor_file(tmp_path / "0.monitor.csv", [(1.0, 5, 1.5)], head)
    (path,), _ = imported(file, data=tmp_path / "data")
    found = details(path)
    assert unix_s(found.figures.started_utc) == json.loads(head[1:])["t_start"]
    assert unix_s(found.ended_utc or "") == json.loads(head[1:])["t_start"] + 1.5


def test_start_that_no_calendar_has_is_not_known(tmp_path: Path) -> None:
    head = HEAD.replace("2500", "2500" + "0" * 20)
    file = monitor_file(tmp_path / "0.monitor.csv", [(1.0, 5, 1.5)], head)
    (path,), _ = imported(file, data=tmp_path / "data")
    found = details(path)
    assert (found.figures.started_utc, found.ended_utc) == ("", "")
    assert not line_of(entry_of(path)).fault


def test_returns_that_are_no_numbers_stay(tmp_path: Path) -> None:
    file = monitor_file(
        tmp_path / "0.monitor.csv", [("nan", 1, 1), ("inf", 1, 2), (2.5, 1, 3), ("-inf", 1, 4)]
    )
    (path,), _ = imported(file, data=tmp_path / "data")
    with raydash.open_run(path) as run:
        assert np.array_equal(run.returns(), [math.nan, math.inf, 2.5, -math.inf], equal_nan=True)
        assert run.figures.episode_return_max == math.inf


def test_further_columns_are_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "0.monitor.csv"
    file.write_text(f'{HEAD}r,l,t,success,why\n1.0,5,1.0,True,"a, b"\n')
    (path,), said = imported(file, data=tmp_path / "data")
    assert "success, why" in said[0]
    assert query.figures(path).num_episodes_lifetime == 1


def test_last_line_that_is_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "0.monitor.csv"
    file.write_text(f"{HEAD}r,l,t\n1.0,5,1.0\n2.0,")
    (path,), said = imported(file, data=tmp_path / "data")
    assert said == [f"{file}, line 4: the last line is cut off and was left out"]
    assert query.figures(path).num_episodes_lifetime == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("r,l,t\n1,2,3\n", "line 1: it does not begin with #{...}"),
        ("#no json\nr,l,t\n1,2,3\n", "line 1: what follows the # is not a JSON object"),
        ("#[1]\nr,l,t\n1,2,3\n", "line 1: what follows the # is not a JSON object"),
        (HEAD, "line 2: there is no header r,l,t"),
        (f"{HEAD}reward,length\n1,2\n", "line 2: the header is 'reward,length'"),
        (f"{HEAD}r,l,t\n1,2,3\nx,2,3\n", "line 4: could not convert string to float: 'x'"),
        (f"{HEAD}r,l,t\n1,2\n", "line 3: 2 columns instead of 3: '1,2'"),
        (f"{HEAD}r,l,t\n1,2,3,4\n", "line 3: 4 columns instead of 3: '1,2,3,4'"),
        (f"{HEAD}r,l,t\n1,2.5,3\n", "line 3: l is 2.5, no number of steps"),
        (f"{HEAD}r,l,t\n1,-2,3\n", "line 3: l is -2, no number of steps"),
        (f"{HEAD}r,l,t\n1,1e30,3\n", "line 3: l is 1e30, no number of steps"),
        (f"{HEAD}r,l,t\n1,nan,3\n", "line 3: l is nan, no number of steps"),
        (f"{HEAD}r,l,t\n1,inf,3\n", "line 3: l is inf, no number of steps"),
        (f"{HEAD}r,l,t\n1,2,nan\n", "line 3: t is nan"),
        (f"{HEAD}r,l,t\n", "it holds no episode"),
        ("", "it is empty"),
    ],
)
def test_malformed_monitor_file_is_refused_by_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "0.monitor.csv"
    file.write_text(text)
    assert problem in refused(file, data=tmp_path / "data")


def test_binary_garbage_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "0.monitor.csv"
    file.write_bytes(bytes(range(256)) * 50)
    assert "line 1" in refused(file, data=tmp_path / "data")


# --- rllib ------------------------------------------------------------------------------------


def new_stack(iteration: int, **more: object) -> dict[str, object]:
    return {
        "env_runners": {
            "episode_return_mean": 20.0 + iteration,
            "episode_return_max": 90.0,
            "num_episodes_lifetime": 10 * iteration,
        },
        "num_env_steps_sampled_lifetime": 4000 * iteration,
        "training_iteration": iteration,
        "time_total_s": 2.5 * iteration,
        "timestamp": 1795342500 + 2.5 * iteration,
        "date": "2026-11-22_10-15-02",
        "done": False,
        "config": {"env": "CartPole-v1", "lr": 0.1},
        **more,
    }


def test_result_json_of_the_new_stack(tmp_path: Path) -> None:
    trial = tmp_path / "PPO_CartPole_1"
    trial.mkdir()
    lines = [new_stack(1, **{"bad": float("nan")}), new_stack(2), new_stack(3)]
    (trial / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (trial / "progress.csv").write_text("training_iteration\n1\n")
    event_file(trial / "events.out.tfevents.1.x", [(1, 1.0, "ray/tune/x", 1.0)])
    (path,), said = imported(trial, data=tmp_path / "data")
    assert said == []
    found = scalars(path)
    assert found["episode_return_mean"] == [
        (2.5, 4000, 21.0),
        (5.0, 8000, 22.0),
        (7.5, 12000, 23.0),
    ]
    assert found["num_episodes_lifetime"][-1] == (7.5, 12000, 30.0)
    assert {"bad", "date", "done", "config/lr", "timestamp"} & set(found) == set()
    figures = query.figures(path)
    assert figures.env_id == "CartPole-v1"
    assert figures.num_env_steps_sampled_lifetime == 12000
    assert figures.started_utc == "2026-11-22T10:15:00+00:00"
    assert figures.elapsed_s == 7.5
    with raydash.open_run(path) as run:
        history = run.history()
    assert history.num_env_steps.sum() == pytest.approx(12000)
    assert history.return_mean[~np.isnan(history.return_mean)].tolist() == [21.0, 22.0, 23.0]


def test_progress_csv_of_the_old_stack(tmp_path: Path) -> None:
    trial = tmp_path / "PPO_old"
    trial.mkdir()
    (trial / "params.json").write_text('{"env": "Pendulum-v1"}')
    header = "episode_reward_mean,timesteps_total,time_total_s,training_iteration,hist_stats/x,date"
    (trial / "progress.csv").write_text(
        f'{header}\nnan,100,1.0,1,"[1.0, 2.0]",today\n-5.25,200,2.0,2,"[1.0]",today\n'
        f"{header}\n-4.0,300,3.0,3,[],today\n"
    )
    (path,), _ = imported(trial / "progress.csv", data=tmp_path / "data")
    found = scalars(path)
    assert found["episode_return_mean"] == [(2.0, 200, -5.25), (3.0, 300, -4.0)]
    assert set(found) == {
        "episode_return_mean",
        "num_env_steps_sampled_lifetime",
        "time_total_s",
        "training_iteration",
    }
    with raydash.open_run(path) as run:
        assert run.spec.env.id == "Pendulum-v1"
        assert run.spec.name == "PPO_old"


def test_every_trial_of_an_experiment_becomes_a_run(tmp_path: Path) -> None:
    for number in (1, 2):
        trial = tmp_path / "ppo" / f"trial_{number}"
        trial.mkdir(parents=True)
        (trial / "result.json").write_text(json.dumps(new_stack(number)) + "\n")
    crashed = tmp_path / "ppo" / "trial_3"
    crashed.mkdir()
    (crashed / "result.json").write_text("{}\n")
    empty = tmp_path / "ppo" / "trial_4"
    empty.mkdir()
    (empty / "result.json").touch()
    paths, said = imported(tmp_path / "ppo", data=tmp_path / "data")
    assert len(paths) == 2
    assert len(said) == 1
    assert "trial_3" in said[0]
    assert "it holds no number" in said[0]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("result.json", '{"a": 1}\n{oops}\n', "line 2: Expecting property name"),
        ("result.json", '{"a": 1}\n[1]\n', "line 2: that is not a JSON object"),
        ("result.json", '{"a": "x"}\n', "it holds no number"),
        ("progress.csv", "a,b\n1,2\n3\n5,6\n", "line 3: 1 columns instead of 2"),
        ("progress.csv", "1,2\n3,4\n", "line 1: that is no header of a progress.csv"),
        ("progress.csv", "time_total_s,b\n", "it holds no number"),
        ("progress.csv", "", "it is empty"),
    ],
)
def test_malformed_rllib_file_is_refused_by_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    assert problem in refused(tmp_path / name, data=tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("result.json", '{"time_total_s": 1.0, "x": 1}\n{"time_to'),
        ("progress.csv", "time_total_s,x\n1.0,1\n2."),
    ],
)
def test_rllib_file_that_is_cut_off_keeps_what_is_whole(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    (path,), said = imported(tmp_path / name, data=tmp_path / "data")
    assert scalars(path)["x"] == [(1.0, None, 1.0)]
    assert "cut off" in said[0]


# --- tensorboard ------------------------------------------------------------------------------

SB3 = [
    (n * 1000, 1795342500.0 + n, tag, float(n))
    for n in (1, 2, 3)
    for tag in ("rollout/ep_rew_mean", "train/loss")
]


@pytest.mark.parametrize("tensors", [False, True])
def test_event_file_of_sb3(tmp_path: Path, tensors: bool) -> None:
    event_file(tmp_path / "PPO_1" / "events.out.tfevents.17.host", SB3, tensors=tensors)
    (path,), said = imported(tmp_path / "PPO_1", data=tmp_path / "data")
    assert said == []
    assert scalars(path) == {
        "episode_return_mean": [(0.0, 1000, 1.0), (1.0, 2000, 2.0), (2.0, 3000, 3.0)],
        "train/loss": [(0.0, 1000, 1.0), (1.0, 2000, 2.0), (2.0, 3000, 3.0)],
    }
    figures = query.figures(path)
    assert figures.num_env_steps_sampled_lifetime == 3000
    assert figures.started_utc == "2026-11-22T10:15:01+00:00"


def test_step_of_rllib_is_an_iteration_and_its_metric_says_the_steps(tmp_path: Path) -> None:
    points = [
        (n, 1000.0 + n, tag, value)
        for n in (1, 2)
        for tag, value in (
            ("ray/tune/env_runners/episode_return_mean", 5.0 * n),
            ("ray/tune/num_env_steps_sampled_lifetime", 4000.0 * n),
        )
    ]
    event_file(tmp_path / "events.out.tfevents.1.x", points)
    (path,), _ = imported(tmp_path / "events.out.tfevents.1.x", data=tmp_path / "data")
    assert scalars(path)["episode_return_mean"] == [(0.0, 4000, 5.0), (1.0, 8000, 10.0)]


def test_files_of_one_folder_are_one_run_and_folders_within_are_others(tmp_path: Path) -> None:
    event_file(tmp_path / "tb" / "a" / "events.out.tfevents.1.x", SB3[:2])
    event_file(tmp_path / "tb" / "a" / "events.out.tfevents.2.x", SB3[2:])
    event_file(tmp_path / "tb" / "b" / "events.out.tfevents.1.x", SB3)
    paths, _ = imported(tmp_path / "tb", data=tmp_path / "data")
    assert [len(scalars(path)["train/loss"]) for path in paths] == [3, 3]


def test_event_file_that_is_cut_off_keeps_what_is_whole(tmp_path: Path) -> None:
    file = event_file(tmp_path / "events.out.tfevents.1.x", SB3)
    file.write_bytes(file.read_bytes()[:-5])
    (path,), said = imported(file, data=tmp_path / "data")
    assert len(scalars(path)["train/loss"]) == 2
    assert "the last record is cut off" in said[0]


def test_damaged_record_ends_an_event_file(tmp_path: Path) -> None:
    file = event_file(tmp_path / "events.out.tfevents.1.x", SB3)
    data = bytearray(file.read_bytes())
    data[-10] ^= 0xFF
    file.write_bytes(data)
    (path,), said = imported(file, data=tmp_path / "data")
    assert len(scalars(path)["train/loss"]) == 2
    assert "a record is damaged" in said[0]


@pytest.mark.parametrize("data", [b"hello there, this is no event file", b"\0" * 100])
def test_file_that_is_no_event_file_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "events.out.tfevents.1.x"
    file.write_bytes(data)
    assert "it is no event file" in refused(file, data=tmp_path / "data")


def test_our_own_tensorboard_export_comes_back(tmp_path: Path) -> None:
    original = record_run(tmp_path / "r.duckdb", mixed_episodes(500))
    export(original, ExportFormat.TENSORBOARD, tmp_path / "tb")
    (path,), said = imported(tmp_path / "tb", data=tmp_path / "data")
    steps = query.figures(original).num_env_steps_sampled_lifetime
    assert query.figures(path).num_env_steps_sampled_lifetime == steps
    assert scalars(path)["num_episodes_lifetime"][-1][2] == 500.0
    assert said == ["tb: 1 value that is no scalar was left out"]
    export(path, ExportFormat.TENSORBOARD, tmp_path / "again")


# --- whatever it is ---------------------------------------------------------------------------


def test_names_of_other_tools_become_ours_and_the_best_wins() -> None:
    tags = [
        "sampler_results/episode_reward_mean", "episode_reward_mean",
        "env_runners/episode_return_mean", "charts/episodic_length", "time/fps", "train/loss",
    ]  # fmt: skip
    assert our_names_of(tags) == {
        "env_runners/episode_return_mean": "episode_return_mean",
        "charts/episodic_length": "episode_len_mean",
        "time/fps": "env_steps_per_s",
    }


def test_second_import_is_a_second_run_and_said(tmp_path: Path) -> None:
    file = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])
    (first,), said = imported(file, data=tmp_path / "data")
    assert said == []
    (second,), said = imported(file, data=tmp_path / "data")
    assert second != first
    assert said == [f"m: the same files are in the library already, as {first.stem}"]
    with raydash.open_run(second) as run:
        assert run.run_id == second.stem


def test_nothing_is_imported_if_one_of_the_paths_is_bad(tmp_path: Path) -> None:
    good = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])
    assert "No such file" in refused(good, tmp_path / "gone.csv", data=tmp_path / "data")
    (tmp_path / "empty").mkdir()
    assert "it holds no *.monitor.csv" in refused(tmp_path / "empty", data=tmp_path / "data")
    (tmp_path / "notes.txt").write_text("hello")
    assert "it is neither" in refused(tmp_path / "notes.txt", data=tmp_path / "data")


@pytest.mark.parametrize("name", ["läuft 🏃 gut", "x" * 200, "..a", "UPPER__1__17"])
def test_odd_names_of_folders_make_plain_ids(tmp_path: Path, name: str) -> None:
    monitor_file(tmp_path / name / "0.monitor.csv", [(1.0, 5, 0.5)])
    (path,), _ = imported(tmp_path / name, data=tmp_path / "data")
    assert path.stem.isascii()
    assert len(path.stem) < 80
    assert [part.name for part in path.parent.iterdir()] == [path.name]
    with raydash.open_run(path) as run:
        assert run.spec.name == name


def test_long_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydash.record.imports.monitor.BATCH", 7)
    file = monitor_file(tmp_path / "m.monitor.csv", [(float(n), 1, n) for n in range(100)])
    (path,), _ = imported(file, data=tmp_path / "data")
    with raydash.open_run(path) as run:
        assert run.returns().tolist() == [float(n) for n in range(100)]


def test_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    file = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(FaultError, match="Nothing was imported"):
        import_runs([file], tmp_path / "data")


def test_what_a_killed_import_left_goes_with_a_later_one(tmp_path: Path) -> None:
    file = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])
    runs = tmp_path / "data" / "runs"
    for name in (".import-old.partial", ".import-new.partial"):
        (runs / name).mkdir(parents=True)
        (runs / name / "draft.duckdb").write_text("half")
    for part in (runs / ".import-old.partial" / "draft.duckdb", runs / ".import-old.partial"):
        os.utime(part, (0, 0))
    (path,), _ = imported(file, data=tmp_path / "data")
    assert {part.name for part in runs.iterdir()} == {path.name, ".import-new.partial"}


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])

    def full(self: DraftRecording, *rest: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr(DraftRecording, "finish", full)
    with pytest.raises(FaultError, match=r"the disk is full\. Free some space"):
        import_runs([file], tmp_path / "data")
    assert list((tmp_path / "data" / "runs").iterdir()) == []


def test_command_prints_the_ids(private_dirs: Path, tmp_path: Path) -> None:
    file = monitor_file(tmp_path / "m.monitor.csv", [(1.0, 5, 0.5)])
    done = CliRunner().invoke(app, ["import", str(file)])
    assert done.exit_code == 0, done.stderr
    run_id = done.stdout.strip()
    out = tmp_path / "x.csv"
    done = CliRunner().invoke(app, ["export", run_id[:20], "--to", "csv", "--out", str(out)])
    assert done.exit_code == 0, done.stderr
    assert out.read_text().splitlines()[1].startswith("0.5,1,0,0,1.0,5,,NaN")
    bad = CliRunner().invoke(app, ["import", str(tmp_path / "gone")])
    assert bad.exit_code == 2
    assert "raydash: gone was not imported" in bad.stderr
