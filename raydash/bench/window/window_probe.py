"""Times one real window with a real run.

`python -m raydash.bench.window.window_probe STARTED FOLDER`; the folder is not used.
"""

import json
import math
import sys
import time

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from raydash import app
from raydash.core.spec_rules import spec_from_table
from raydash.ui.frame.main_window import MainWindow

POLL_MS = 10


def main() -> None:
    """Open the window, start a run, close it, and print when it painted and had an episode."""
    started_s = float(sys.argv[1])
    figures = {"painted_s": math.nan, "window_to_episode_s": math.nan}

    def on_paint() -> None:
        figures["painted_s"] = time.time() - started_s
        timer = QTimer(QApplication.instance())
        timer.timeout.connect(lambda: look(timer))
        timer.start(POLL_MS)

    def look(timer: QTimer) -> None:
        window = next(w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow))
        run = window.session.store.shown
        if run is None or run.latest is None or not run.latest.figures.num_episodes_lifetime:
            return
        timer.stop()
        figures["window_to_episode_s"] = time.time() - started_s - figures["painted_s"]
        window.stop_and_close()

    app.run_window(
        spec=spec_from_table({"rollout": {"num_workers": 1}}),
        spec_path=None,
        start=True,
        address=None,
        on_first_paint=on_paint,
    )
    loaded = [name for name in ("ray", "gymnasium", "duckdb") if name in sys.modules]
    if loaded:
        raise SystemExit(f"the window's process has imported {', '.join(loaded)}")
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
