"""`raydash bench ui`: does the window stay smooth with 256 workers at ten updates a second?

The workers are simulated: they stand in for actors and reply to the supervisor. The machine, the
supervisor, the engine process, stdio frames, store and painting are real.
"""

import time

from PySide6.QtCore import Qt, QTimer

from raydash.bench.report import median, percentile, print_result
from raydash.bench.window.window_driver import driven_window
from raydash.core.spec_rules import spec_from_table

WORKERS = 256
WARM_UP_S = 5.0
SECONDS = 20.0
GOAL_P99_MS = 33.0


def run(*, as_json: bool, workers: int = WORKERS) -> int:
    """Measure and print; 0 if the goal is reached, else 1."""
    spec = spec_from_table({"rollout": {"num_workers": workers}})
    with driven_window() as driver:
        shown = driver.start(spec, simulated=True)
        driver.idle(WARM_UP_S)
        gaps_ms: list[float] = []
        draw_ms: list[float] = []
        worst_ms: list[float] = []
        last_s = [time.perf_counter()]
        ticker = QTimer()
        ticker.setTimerType(Qt.TimerType.PreciseTimer)

        def tick() -> None:
            now_s = time.perf_counter()
            gaps_ms.append((now_s - last_s[0]) * 1000)
            last_s[0] = now_s

        second = QTimer()

        def note() -> None:
            figures = driver.window.clock.figures()
            draw_ms.append(figures.median_ms)
            worst_ms.append(figures.worst_ms)

        ticker.timeout.connect(tick)
        second.timeout.connect(note)
        before, merged = shown.version, shown.num_merged
        ticker.start(1)
        second.start(1000)
        driver.idle(SECONDS)
        ticker.stop()
        second.stop()
        updates_per_s = (shown.version - before) / SECONDS
        merged = shown.num_merged - merged
    p99_ms = percentile(gaps_ms, 0.99)
    print_result(
        "ui",
        {
            "simulated_workers": workers,
            "updates_per_s": updates_per_s,
            "updates_merged": merged,
            "loop_gap_p50_ms": median(gaps_ms),
            "loop_gap_p99_ms": p99_ms,
            "loop_gap_max_ms": max(gaps_ms),
            "goal_p99_ms": GOAL_P99_MS,
            "frame_median_ms": median(draw_ms),
            "frame_worst_of_a_second_median_ms": median(worst_ms),
        },
        as_json=as_json,
    )
    return 0 if p99_ms < GOAL_P99_MS else 1
