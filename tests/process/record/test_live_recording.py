"""A recording that another process is writing is exported and opened as far as it goes."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raydash
from raydash.core.library import ExportFormat
from raydash.record.export.export import export
from tests.fakes.recordings.recordings import SPEC


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """Provide a recording that a process extends by 20 episodes each 10 ms."""
    path = tmp_path / "data" / "live.duckdb"
    root = Path(raydash.__file__).parent.parent
    command = [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 60:  # there is a commit each 20 lines
                break
        yield path
        writer.kill()
        writer.stdout.close()


def test_live_run_is_exported_as_far_as_it_is(live: Path, tmp_path: Path) -> None:
    said: list[str] = []
    export(live, ExportFormat.CSV, tmp_path / "x.csv", say=said.append)
    assert said == ["live is live: this is what it has done so far"]
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 20
    assert len(rows) % 20 == 0
    assert {part.name for part in tmp_path.iterdir()} == {"data", "x.csv"}


def test_live_run_is_opened_as_far_as_it_is(live: Path) -> None:
    with raydash.open_run(live) as run:
        count = run.figures.num_episodes_lifetime
        assert run.spec == SPEC
        assert len(run.episodes()) == len(run.returns()) == count
        assert run.history().return_n.sum() == count
        assert run.sql("SELECT count(*) FROM episodes").fetchall() == [(count,)]
    assert count >= 20
    assert count % 20 == 0
