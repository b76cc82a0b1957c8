"""`raydash run --simulated` in a real process: it leaves nothing, and no library is read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.places import ROOT


def raydash(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with folders of its own: data in `folder/data`, temporary ones in `tmp`."""
    (folder / "tmp").mkdir()
    return subprocess.run(
        [sys.executable, "-m", "raydash.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAYDASH_DATA_DIR": str(folder / "data"),
            "TMPDIR": str(folder / "tmp"),
        },
        check=False,
    )


@pytest.mark.parametrize("how", [(), ("--in-process",)])
def test_it_finishes_with_a_summary_and_leaves_nothing(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    done = raydash(tmp_path, "run", "--simulated", "3", "--episodes", "60", "--json", *how)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["num_workers"] == 3
    assert found["num_episodes_lifetime"] >= 60
    assert found["state"] == "finished"
    assert found["recording"] is None
    assert "simulated" in done.stderr
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--simulated", "3", "--detach"), "--detach: does not go with --simulated"),
        (("--simulated", "3", "--address", "h:1"), "--address: does not go with --simulated"),
        (("--in-process",), "--in-process: is given alone"),
        (("--simulated", "0"), "--simulated"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = raydash(tmp_path, "run", *words)
    assert done.returncode == 2
    assert said in done.stderr
