"""NOT Weights & Biases: a fake of the few calls that raydash makes, as bad as a test wishes.

`STAND_IN_WANDB` says how: good, missing, cannot-start, fails, slow, hangs, crashes, garbage, forks
or cannot-finish. What it is told goes as lines of JSON to the file `STAND_IN_WANDB_TOLD`.
"""

import json
import os
import signal
import subprocess
import sys
import time

_MANNER = os.environ["STAND_IN_WANDB"]
_TOLD = os.environ["STAND_IN_WANDB_TOLD"]

if _MANNER == "missing":
    raise ModuleNotFoundError("No module named 'wandb'", name="wandb")


def _tell(what: str, **values: object) -> None:
    with open(_TOLD, "a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, **values}) + "\n")


def _hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


class _Summary:
    def update(self, values: dict[str, object]) -> None:
        _tell("summary", **values)


class _Run:
    summary = _Summary()

    def log(self, metrics: dict[str, float], step: int) -> None:
        _tell("log", step=step, metrics=metrics, pid=os.getpid())
        if _MANNER == "fails":
            raise RuntimeError(f"no connection at step {step}")
        if _MANNER == "slow":
            time.sleep(0.4)
        if _MANNER == "hangs":
            _hang()
        if _MANNER == "crashes":
            os.abort()
        if _MANNER == "garbage":
            for stream in (sys.stdout, sys.stderr):
                stream.write('garbage ["Answered", {"num_taken": 10}]\n' * 40_000)
                stream.flush()
            os.write(1, b"\xff\x00\n" * 1000)

    def finish(self, exit_code: int) -> None:
        if _MANNER == "cannot-finish":
            raise OSError("the upload broke off")
        _tell("finish", exit_code=exit_code)


def init(**settings: object) -> _Run:
    """Begin a run."""
    if _MANNER == "cannot-start":
        raise RuntimeError("api_key not configured\nand more")
    if _MANNER == "forks":
        child = subprocess.Popen(["sleep", "1000"])
        _tell("forked", pid=child.pid)
    _tell("init", has_token="RAY_AUTH_TOKEN" in os.environ, **settings)
    return _Run()
