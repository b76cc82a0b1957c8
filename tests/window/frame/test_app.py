"""The window's program as a process: how it starts and ends, and what it never imports."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.places import ROOT
from tests.fakes.recordings.library import recorded

STAND_IN = ROOT / "tests" / "fakes" / "engines" / "engine_stand_in.py"
ROOT = STAND_IN.parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from raydash.core.states import EngineState
from raydash import app
from raydash.core.spec import RunSpec

options = json.loads(sys.argv[1])
shot = options.pop("screenshot", None)
engine = (sys.executable, options.pop("stand_in"), *options.pop("engine_args", ()))

class NotedSession(app.Session):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        sessions.append(self)

class PatientTimer(QTimer):
    # Time is not up before the expected state is reached, for the machine may be slow.
    @staticmethod
    def singleShot(after_ms, then):
        def look():
            if is_seen(sessions[0]):
                then()
            else:
                QTimer.singleShot(20, look)
        QTimer.singleShot(after_ms, look)

sessions = []
is_seen = {
    "": lambda session: True,
    "a run": lambda session: session.store.shown is not None and session.store.shown.latest,
    "a failed engine": lambda session: session.engine.state is EngineState.FAILED,
}[options.pop("quit_after_seeing", "")]
app.Session, app.QTimer = NotedSession, PatientTimer

def painted():
    heavy = [name for name in ("ray", "gymnasium", "duckdb") if name in sys.modules]
    print("painted", heavy, flush=True)

sys.exit(app.run_window(
    spec=RunSpec() if options.pop("with_spec", False) else None,
    spec_path=None,
    address=None,
    screenshot=Path(shot) if shot else None,
    engine_command=engine,
    on_first_paint=painted,
    **options,
))
"""


def start(private: Path, **options: object) -> subprocess.Popen[str]:
    options = {"stand_in": str(STAND_IN), "start": False, "quit_after_s": None, **options}
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    environment.update(options.pop("environment", {}))  # type: ignore[call-overload]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )


def test_quit_after_stops_the_own_run_saves_a_picture_and_ends_with_0(
    private_dirs: Path, tmp_path: Path
) -> None:
    record, picture = tmp_path / "record", tmp_path / "shot" / "window.png"
    process = start(
        private_dirs,
        start=True,
        quit_after_s=0.5,
        quit_after_seeing="a run",
        screenshot=str(picture),
        engine_args=["--record", str(record)],
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "painted []\n"
    assert err == ""
    assert picture.read_bytes()[:4] == b"\x89PNG"
    sent = record.read_text().split()
    assert sent == ["Hello", "Connect", "StartRun", "CommandRun", "Goodbye"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_closes_in_order_with_130(private_dirs: Path, number: signal.Signals) -> None:
    process = start(private_dirs)
    assert process.stdout is not None
    assert process.stdout.readline() == "painted []\n"
    process.send_signal(number)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""


def test_window_without_a_display_says_so_and_ends_with_3(private_dirs: Path) -> None:
    process = start(
        private_dirs,
        environment={"QT_QPA_PLATFORM": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""},
    )
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "no display" in err
    assert "Traceback" not in err


def test_window_whose_engine_failed_ends_with_3(private_dirs: Path) -> None:
    process = start(
        private_dirs,
        quit_after_s=0.5,
        quit_after_seeing="a failed engine",
        engine_args=["--mode", "other_version"],
    )
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err


def test_recording_is_opened_without_any_cluster(private_dirs: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    process = start(
        private_dirs,
        recordings=[recorded().run_id],
        quit_after_s=0.2,
        quit_after_seeing="a run",
        engine_args=["--record", str(record), "--recordings", "3"],
    )
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    sent = record.read_text().split()
    assert "OpenRecording" in sent
    assert "Connect" not in sent
