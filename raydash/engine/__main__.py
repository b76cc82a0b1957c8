"""`python -m raydash.engine [--simulated]`: frames on stdin and stdout, all else to the log."""

import faulthandler
import os
import signal
import sys
from datetime import UTC, datetime

from raydash import paths
from raydash.engine.cluster.ray_backend import RayBackend
from raydash.engine.engine import Engine
from raydash.engine.wire import Wire, claim_stdio

KEEP_LOGS = 20


def main() -> int:
    """Serve one window or terminal until its end of the pipe closes."""
    folder = paths.state_dir() / "logs"
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    log_path = folder / f"engine-{stamp}-{os.getpid()}.log"
    try:
        wire = claim_stdio(log_path)
    except OSError as error:
        print(
            f"The state folder cannot be written: {error}. "
            "Make it writable, or set RAYDASH_STATE_DIR.",
            file=sys.stderr,
        )
        return 3
    faulthandler.enable()
    # The window or the terminal answers Ctrl-C; the engine ends when they do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for old in sorted(folder.glob("engine-*.log"))[:-KEEP_LOGS]:
        old.unlink(missing_ok=True)
    _engine(wire, str(log_path)).run()
    # Skip Ray's shutdown, which takes up to 5 s and can hang when the GCS is dead. It is not
    # needed: the driver owns nothing, and the lease's lock is freed with the process.
    os._exit(0)


def _engine(wire: Wire, log_path: str) -> Engine:
    if "--simulated" in sys.argv[1:]:
        from raydash.engine.simulated.engine import simulated_engine

        return simulated_engine(wire, log_path)
    return Engine(wire, log_path, RayBackend())


if __name__ == "__main__":
    sys.exit(main())
