"""`ray start --head --block` that starts within milliseconds and fails as it is told to.

STAND_IN_RAY: comma-separated: `never` (does not come up), `deaf` (ignores SIGTERM), `agent` (has a
child that outlives it), `die` (dies once `<temp dir>/die` exists), or `say:TEXT` (its last words).
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def main() -> None:
    moods = os.environ.get("STAND_IN_RAY", "").split(",")
    temp_dir = Path(next(a for a in sys.argv if a.startswith("--temp-dir=")).partition("=")[2])
    for mood in moods:
        if mood.startswith("say:"):
            sys.exit(mood.removeprefix("say:"))
    if "deaf" in moods:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "agent" in moods:
        subprocess.Popen(["sleep", "600"])
    if "never" not in moods:
        (temp_dir / "ray_current_cluster").write_text("127.0.0.2:4321")
    wait = threading.Event().wait
    while not ("die" in moods and (temp_dir / "die").exists()):
        wait(0.02)
    logs = temp_dir / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "ray_process_exit.log").write_text("  raylet [exit code=-9 (signal 9)]")
    os._exit(1)


if __name__ == "__main__":
    main()
