"""Recordings exported to other formats, read back and counted again."""

import csv
import errno
import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from raydash.core.faults import FaultError
from raydash.core.library import ExportFormat
from raydash.core.records import EpisodeColumns
from raydash.core.states import Ending
from raydash.record.export import tables
from raydash.record.export.export import export
from raydash.record.export.staging import staged_output
from raydash.record.file.database import connect
from raydash.record.read import query
from raydash.terminal.cli import app
from raydash.terminal.commands.summary import Summary
from tests.fakes.recordings.finished_run import mixed_episodes, record_run, tensorboard_events

WORDS = {
    Ending.TERMINATED: "terminated",
    Ending.TRUNCATED: "truncated",
    Ending.BOTH: "both",
    Ending.ERROR: "error",
}
STARTED_UNIX_S = 1795342500.0  # 2026-11-22T10:15:00 UTC


@pytest.fixture(scope="module")
def episodes() -> EpisodeColumns:
    return mixed_episodes(3000)


@pytest.fixture(scope="module")
def recording(episodes: EpisodeColumns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_run(tmp_path_factory.mktemp("data") / "r.duckdb", episodes)


def leftovers(folder: Path, *known: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def same(found: list[float], wanted: np.ndarray) -> bool:
    return np.array_equal(np.array(found, np.float64), wanted, equal_nan=True)


# --- csv and parquet --------------------------------------------------------------------------


def test_csv_holds_every_episode_exactly(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    export(recording, ExportFormat.CSV, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(episodes)
    assert same([float(row["episode_return"]) for row in rows], episodes.episode_return)
    assert [int(row["episode_len"]) for row in rows] == episodes.episode_len.tolist()
    assert [int(row["worker_index"]) for row in rows] == episodes.worker_index.tolist()
    assert [row["ending"] for row in rows] == [WORDS[Ending(e)] for e in episodes.ending]
    assert {row["env_id"] for row in rows} == {"CartPole-v1"}
    assert {row["seed"] for row in rows} == {"7"}
    assert leftovers(tmp_path) == ["x.csv"]


def test_parquet_holds_every_episode_exactly(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    export(recording, ExportFormat.PARQUET, tmp_path / "it's.parquet")
    found = duckdb.connect().execute(
        "SELECT * FROM read_parquet(?)", [str(tmp_path / "it's.parquet")]
    )
    columns = found.fetchnumpy()
    assert same(columns["episode_return"].tolist(), episodes.episode_return)
    assert columns["episode_len"].tolist() == episodes.episode_len.tolist()
    assert columns["ending"].tolist() == [WORDS[Ending(e)] for e in episodes.ending]
    assert same(columns["duration_s"].tolist(), np.round(episodes.duration_s, 5))


@pytest.mark.parametrize("format", [ExportFormat.CSV, ExportFormat.PARQUET])
def test_all_tables_come_beside_the_episodes(
    recording: Path, tmp_path: Path, format: ExportFormat
) -> None:
    out = tmp_path / f"x.{format}"
    export(recording, format, out, all_tables=True)
    wanted = {f"x.{table}.{format}" for table in tables.OTHER_TABLES} | {out.name}
    assert set(leftovers(tmp_path)) == wanted
    with connect(recording, read_only=True) as connection:
        for table in tables.OTHER_TABLES:
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            place = tmp_path / f"x.{table}.{format}"
            (found,) = duckdb.connect().execute(f"SELECT count(*) FROM '{place}'").fetchone()
            assert (table, found) == (table, count)


def test_table_that_an_older_file_has_not_is_empty(recording: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.duckdb"
    old.write_bytes(recording.read_bytes())
    with connect(old) as connection:
        connection.execute("DROP TABLE scalars; DROP TABLE history")
        connection.execute("ALTER TABLE episodes DROP COLUMN info")
        connection.execute("UPDATE run SET schema_version = 1")
    for format in ExportFormat:
        export(old, format, tmp_path / f"x.{format}", all_tables=True)
    (count,) = (
        duckdb.connect().execute(f"SELECT count(*) FROM '{tmp_path}/x.scalars.csv'").fetchone()
    )
    assert count == 0


# --- json -------------------------------------------------------------------------------------


def test_json_holds_run_figures_and_episodes(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    export(recording, ExportFormat.JSON, tmp_path / "x.json")

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    returns = [
        math.nan if value is None else value for value in found["episodes"]["episode_return"]
    ]
    assert same(returns, episodes.episode_return)
    assert found["episodes"]["ending"] == [WORDS[Ending(e)] for e in episodes.ending]
    assert all(len(column) == len(episodes) for column in found["episodes"].values())
    known = query.figures(recording)
    assert found["figures"]["num_episodes_lifetime"] == len(episodes)
    assert found["figures"]["episode_return_mean"] == known.episode_return_mean
    assert list(found["figures"]) == list(Summary(None).table())
    assert sum(found["workers"]["num_episodes"]) == len(episodes)
    assert found["spec"]["env"]["id"] == "CartPole-v1"
    assert found["events"]["text"] == ["it broke"]
    assert found["scalars"] == {"tag": [], "t_s": [], "num_env_steps": [], "value": []}


def test_json_says_returns_that_are_not_finite(tmp_path: Path) -> None:
    odd = mixed_episodes(3, returns=np.array([math.inf, -math.inf, math.nan]))
    path = record_run(tmp_path / "r.duckdb", odd)
    export(path, ExportFormat.JSON, tmp_path / "x.json")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["episodes"]["episode_return"] == ["inf", "-inf", None]


# --- monitor ----------------------------------------------------------------------------------


def test_monitor_holds_one_file_per_worker_with_exact_returns(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    said: list[str] = []
    export(recording, ExportFormat.MONITOR, tmp_path / "m", say=said.append)
    assert leftovers(tmp_path / "m") == ["1.monitor.csv", "2.monitor.csv"]
    for worker in (1, 2):
        with (tmp_path / "m" / f"{worker}.monitor.csv").open() as file:
            first = file.readline()
            rows = list(csv.DictReader(file))
        assert first[0] == "#"
        assert json.loads(first[1:]) == {"t_start": STARTED_UNIX_S, "env_id": "CartPole-v1"}
        mine = (episodes.worker_index == worker) & (episodes.ending != Ending.ERROR)
        assert list(rows[0]) == ["r", "l", "t"]
        assert same([float(row["r"]) for row in rows], episodes.episode_return[mine])
        assert [int(row["l"]) for row in rows] == episodes.episode_len[mine].tolist()
        assert same([float(row["t"]) for row in rows], np.round(episodes.end_s[mine], 5))
    num_errors = int((episodes.ending == Ending.ERROR).sum())
    assert said == [
        f"{num_errors} episodes that ended in an error have no return and were left out"
    ]


def test_worker_without_an_episode_has_a_file_with_a_header(tmp_path: Path) -> None:
    path = record_run(tmp_path / "r.duckdb", mixed_episodes(0))
    export(path, ExportFormat.MONITOR, tmp_path / "m")
    assert (tmp_path / "m" / "2.monitor.csv").read_text().splitlines()[1:] == ["r,l,t"]


# --- tensorboard ------------------------------------------------------------------------------


def test_tensorboard_ends_with_the_counters_of_the_run(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    export(recording, ExportFormat.TENSORBOARD, tmp_path / "tb")
    (file,) = (tmp_path / "tb").iterdir()
    assert ".tfevents." in file.name
    known = query.figures(recording)
    scalars, texts = tensorboard_events(file)
    last = {tag: points[-1] for tag, points in scalars.items()}
    for tag in (
        "num_env_steps_sampled_lifetime",
        "num_episodes_lifetime",
        "num_episodes_terminated_lifetime",
        "num_episodes_truncated_lifetime",
    ):
        assert (last[tag].step, last[tag].value) == (
            known.num_env_steps_sampled_lifetime,
            getattr(known, tag),
        )
    assert set(scalars) == {
        "episode_return_mean", "episode_return_min", "episode_return_max", "episode_len_mean",
        "num_env_steps_sampled_lifetime", "num_episodes_lifetime",
        "num_episodes_terminated_lifetime", "num_episodes_truncated_lifetime", "env_steps_per_s",
    }  # fmt: skip
    figures = json.loads(texts["run/text_summary"])
    assert figures["episode_return_mean"] == known.episode_return_mean


def test_tensorboard_points_speak_of_the_episodes_of_their_bucket(
    recording: Path, episodes: EpisodeColumns, tmp_path: Path
) -> None:
    export(recording, ExportFormat.TENSORBOARD, tmp_path / "tb")
    (file,) = (tmp_path / "tb").iterdir()
    scalars, _ = tensorboard_events(file)
    bucket = np.floor(np.round(episodes.end_s, 5) / 0.5).astype(int)
    good = episodes.ending != Ending.ERROR
    wanted = [
        (
            episodes.episode_return[good & (bucket == k)].min(),
            episodes.episode_return[good & (bucket == k)].max(),
        )
        for k in np.unique(bucket[good])
    ]
    lows = [point.value for point in scalars["episode_return_min"]]
    highs = [point.value for point in scalars["episode_return_max"]]
    assert list(zip(lows, highs, strict=True)) == [
        (float(np.float32(low)), float(np.float32(high))) for low, high in wanted
    ]
    times = [point.wall_time for point in scalars["num_episodes_lifetime"]]
    assert times[0] == STARTED_UNIX_S + 0.5
    assert times == sorted(times)
    rates = [point.value for point in scalars["env_steps_per_s"]]
    assert sum(rates) * 0.5 == pytest.approx(episodes.episode_len.sum(), rel=1e-3)


def test_tensorboard_records_carry_their_checksums(recording: Path, tmp_path: Path) -> None:
    from tensorboardX.record_writer import masked_crc32c

    export(recording, ExportFormat.TENSORBOARD, tmp_path / "tb")
    (file,) = (tmp_path / "tb").iterdir()
    data, place, count = file.read_bytes(), 0, 0
    while place < len(data):
        header = data[place : place + 8]
        (length,) = struct.unpack("<Q", header)
        body = data[place + 12 : place + 12 + length]
        checks = data[place + 8 : place + 12] + data[place + 12 + length : place + 16 + length]
        assert checks == struct.pack("<II", masked_crc32c(header), masked_crc32c(body))
        place += 16 + length
        count += 1
    assert count > 10


# --- whole or not at all ----------------------------------------------------------------------


@pytest.mark.parametrize("format", list(ExportFormat))
def test_what_is_there_is_only_replaced_with_force(
    recording: Path, tmp_path: Path, format: ExportFormat
) -> None:
    out = tmp_path / "x"
    export(recording, format, out)
    with pytest.raises(FaultError, match="is there already"):
        export(recording, format, out)
    first = sorted(out.iterdir())[0] if out.is_dir() else out
    before = first.read_bytes()
    first.write_text("old")
    export(recording, format, out, force=True)
    assert first.read_bytes() == before
    assert leftovers(tmp_path) == ["x"]


def test_folder_with_other_things_is_not_replaced_even_with_force(
    recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("all of it")
    for format in ExportFormat:
        with pytest.raises(FaultError, match="other things in it"):
            export(recording, format, tmp_path / "home", force=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "all of it"


def test_recording_is_not_replaced_by_its_own_export(recording: Path) -> None:
    before = recording.read_bytes()
    with pytest.raises(FaultError, match="the recording itself"):
        export(recording, ExportFormat.CSV, recording, force=True)
    assert recording.read_bytes() == before


def test_missing_folder_is_named(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=f"there is no folder {tmp_path}/gone") as error:
        export(recording, ExportFormat.CSV, tmp_path / "gone" / "x.csv")
    assert error.value.fault.bad_input


@pytest.mark.parametrize("format", list(ExportFormat))
def test_full_disk_leaves_nothing_behind(
    recording: Path, tmp_path: Path, format: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FaultError, match="the disk is full"):
        export(recording, format, tmp_path / "x")
    assert leftovers(tmp_path) == []


def test_full_disk_while_duckdb_writes_is_told(recording: Path, tmp_path: Path) -> None:
    class FullDisk:
        """A connection for which every COPY meets a full disk."""

        def __init__(self, connection: object) -> None:
            self.connection = connection

        def execute(self, sql: str, *values: object) -> object:
            if sql.startswith("COPY"):
                raise duckdb.IOException("Could not write file: No space left on device")
            return self.connection.execute(sql, *values)  # type: ignore[attr-defined]

        def close(self) -> None:
            self.connection.close()  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        opened = query.open_read_only
        patch.setattr(
            "raydash.record.read.live_copy.open_read_only", lambda path: FullDisk(opened(path))
        )
        with pytest.raises(FaultError, match=r"the disk is full\. Free some space, or choose"):
            export(recording, ExportFormat.PARQUET, tmp_path / "x")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("refused", ["the new one", "both"])
def test_folder_that_could_not_be_replaced_is_still_there(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    out = tmp_path / "x"
    export(recording, ExportFormat.MONITOR, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    rename = Path.rename

    def fail(path: Path, *_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error", str(path))

    def rename_once(path: Path, target: Path) -> Path:
        return rename(path, target) if path == out else fail(path)

    monkeypatch.setattr(Path, "replace", fail)
    if refused == "both":
        monkeypatch.setattr(Path, "rename", rename_once)
    with pytest.raises(FaultError, match="was not written"):
        export(recording, ExportFormat.MONITOR, out, force=True)
    (kept,) = tmp_path.iterdir()
    assert (kept == out) == (refused == "the new one")
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_failing_writer_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def fail() -> None:
        with staged_output(tmp_path / "x", ["x"], force=True) as stage:
            (stage / "x").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "x").read_text() == "old"
    assert leftovers(tmp_path) == ["x"]


@pytest.mark.parametrize("name", ["r" * 200, "läuft 🏃.csv", "a b.csv", "-x", "x.duckdb.csv"])
def test_odd_names_are_written(recording: Path, tmp_path: Path, name: str) -> None:
    export(recording, ExportFormat.CSV, tmp_path / name)
    assert leftovers(tmp_path) == [name]


def test_name_that_is_too_long_is_refused_in_words(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="the name is too long"):
        export(recording, ExportFormat.JSON, tmp_path / ("x" * 300))


@pytest.mark.parametrize("make", [lambda p: p.write_text("no"), lambda p: connect(p).close()])
def test_file_that_is_no_recording_is_refused(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "x.duckdb")
    with pytest.raises(FaultError, match=r"damaged|holds no run"):
        export(tmp_path / "x.duckdb", ExportFormat.CSV, tmp_path / "x.csv")
    assert leftovers(tmp_path, "x.duckdb") == []


# --- the command ------------------------------------------------------------------------------


def test_command_writes_and_says_what_was_left_out(recording: Path, tmp_path: Path) -> None:
    words = ["export", str(recording), "--to", "monitor", "--out", str(tmp_path / "m")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'm'}\n")
    assert "raydash: " in done.stderr
    assert "left out" in done.stderr
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0


def test_unknown_format_is_refused_with_the_known_ones(recording: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", str(recording), "--to", "xls", "--out", str(tmp_path / "x")]
    )
    assert done.exit_code == 2
    assert "csv, parquet, monitor, tensorboard, json" in done.stderr
