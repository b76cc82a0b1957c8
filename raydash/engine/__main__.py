"""`python -m raydash.engine`: frames on stdin and stdout, everything else to the log."""

import faulthandler
import os
import signal
import sys
from datetime import UTC, datetime

from raydash import paths
from raydash.engine.engine import Engine
from raydash.engine.wire import claim_stdio

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
    Engine(wire, str(log_path)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
