"""`raydash bench history`: how fast a plot's data come from a recording of 50 million episodes.

The file is made with the recorder's own schema and writer: a run of 14 hours with 16 workers, 50
million episodes with random lengths, and the rows of table `history`.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from raydash.bench.report import median, print_progress, print_result
from raydash.core.history.histogram import Histogram
from raydash.core.history.history import CAPACITY, HistoryRows
from raydash.core.machine.requested_state import RequestedState
from raydash.core.spec import RunSpec
from raydash.core.states import EndedBy, RunState
from raydash.record.file.database import connect
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunEndRow, RunRow
from raydash.record.file.schema import bring_up_to_date
from raydash.record.read.history_query import bucket_width_s, history
from raydash.record.read.query import open_read_only
from raydash.record.read.snapshot import RecordingReader
from raydash.record.write.writer import RecordWriter

EPISODES = 50_000_000
WORKERS = 16
EPISODES_PER_S = 1000
PIXELS = 1200
ROUNDS = 7
GOAL_MS = 300.0
_BATCH = 5_000_000
_LEN_MEAN = 22.0


def run(*, as_json: bool, episodes: int = EPISODES) -> int:
    """Measure and print; 0 if the goal is reached, else 1."""
    until_s = episodes / EPISODES_PER_S
    ranges = {
        "whole_run": (0.0, until_s),
        "last_10_minutes": (until_s - 600.0, until_s),
        "1_percent": (0.5 * until_s, 0.51 * until_s),
        "20_percent": (0.5 * until_s, 0.7 * until_s),
    }
    folder = Path(tempfile.mkdtemp(prefix="raydash-bench-"))
    try:
        path = folder / "20261122-101500-bench-0000.duckdb"
        print_progress(f"writing {episodes:,} episodes to {folder} ...")
        began_s = time.monotonic()
        _write(path, episodes, until_s)
        figures: dict[str, object] = {
            "episodes": episodes,
            "build_s": time.monotonic() - began_s,
            "bytes_per_episode": path.stat().st_size / episodes,
            "goal_whole_run_ms": GOAL_MS,
        }
        with closing(open_read_only(path)) as connection:
            for name, (start_s, end_s) in ranges.items():
                query = _TimedQuery(
                    lambda start_s=start_s, end_s=end_s: history(  # type: ignore[misc]
                        connection, start_s=start_s, end_s=end_s, num_buckets=PIXELS
                    )
                )
                figures[f"{name}_ms"] = query.median_ms
                figures[f"{name}_first_ms"] = query.first_ms
                figures[f"{name}_rows"] = len(query.value)  # type: ignore[arg-type]
        with RecordingReader(path) as reader:
            opened = _TimedQuery(reader.snapshot)
            figures["open_at_end_first_ms"] = opened.first_ms
            moments = iter(np.linspace(0.3, 0.7, ROUNDS) * until_s)
            figures["move_to_an_instant_ms"] = _TimedQuery(
                lambda: reader.snapshot(float(next(moments)))
            ).median_ms
    finally:
        shutil.rmtree(folder)
    print_result("history", figures, as_json=as_json)
    return 0 if figures["whole_run_ms"] < GOAL_MS else 1  # type: ignore[operator]


class _TimedQuery:
    """Asks something several times and measures how long the answer takes."""

    def __init__(self, ask: Callable[[], object]) -> None:
        times_ms = []
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            self.value: object = ask()
            times_ms.append((time.perf_counter() - began_s) * 1000)
        self.first_ms = times_ms[0]
        self.median_ms = median(times_ms)


def _write(path: Path, episodes: int, until_s: float) -> None:
    with closing(connect(path)) as connection:
        bring_up_to_date(connection)
        for first in range(0, episodes, _BATCH):
            connection.execute(
                "INSERT INTO episodes BY NAME SELECT"
                f" round((i + random()) / {EPISODES_PER_S}, 5) AS end_s,"
                f" 1 + (i % {WORKERS})::INTEGER AS worker_index, 0 AS env_index,"
                " 0 AS incarnation, len::DOUBLE AS episode_return, len AS episode_len,"
                " (len % 50 = 0)::UTINYINT AS ending, 0.001::FLOAT AS duration_s,"
                " 0 AS weights_seq_no FROM (SELECT range AS i,"
                f" (9 - {_LEN_MEAN} * ln(1 - random()))::INTEGER AS len"
                f" FROM range({first}, {min(first + _BATCH, episodes)}))"
            )
        steps_per_s = EPISODES_PER_S * (9 + _LEN_MEAN) / WORKERS
        connection.execute(
            "INSERT INTO worker_totals SELECT t, w, 0, t * ?, t * ?, 0, 0, 0, 0, 0, 0, 0, t"
            f" FROM range(1, ?) a(t), range(1, {WORKERS + 1}) b(w)",
            [steps_per_s, EPISODES_PER_S // WORKERS, int(until_s) + 1],
        )
        writer = RecordWriter(connection)
        utc = "2026-11-22T10:15:00+00:00"
        writer.header(
            RunRow("bench", RunSpec(), "bench@here", utc),
            IncarnationRow(0, 0.0, utc, "127.0.0.1", 1),
        )
        rows = _history_rows(until_s, steps_per_s)
        writer.write(1, RecordBatch(until_s, until_s, RequestedState(WORKERS), history=rows))
        writer.end(RunEndRow(RunState.FINISHED, EndedBy.EPISODES, "", utc, until_s, until_s))
        connection.execute("CHECKPOINT")


def _history_rows(until_s: float, steps_per_s: float) -> HistoryRows:
    """Make the buckets that a supervisor would have recorded of such episodes."""
    bucket_s = bucket_width_s(0.0, until_s, CAPACITY)
    count = int(until_s // bucket_s)
    rng = np.random.default_rng(0)
    per_bucket = int(EPISODES_PER_S * bucket_s)
    blobs, means, highs, p10, p90 = [], [], [], [], []
    for _ in range(count):
        returns = np.floor(9 + rng.exponential(_LEN_MEAN, per_bucket))
        histogram = Histogram()
        histogram.add(returns)
        blobs.append(histogram.to_bytes())
        means.append(returns.mean())
        highs.append(returns.max())
        p10.append(histogram.quantile(0.1))
        p90.append(histogram.quantile(0.9))
    endings = np.zeros((count, 4), np.int64)
    endings[:, 0] = per_bucket
    each = per_bucket / WORKERS
    return HistoryRows(
        bucket_s=bucket_s,
        bucket=np.arange(count),
        num_env_steps=np.full(count, steps_per_s * WORKERS * bucket_s),
        endings=endings,
        return_n=np.full(count, per_bucket),
        return_sum=np.array(means) * per_bucket,
        return_min=np.full(count, 9.0),
        return_max=np.array(highs),
        return_p10=np.array(p10),
        return_p90=np.array(p90),
        worker_steps=np.full((count, WORKERS), steps_per_s * bucket_s, np.float32),
        worker_return_sum=np.repeat(np.array(means)[:, None] * each, WORKERS, axis=1),
        worker_return_n=np.full((count, WORKERS), int(each), np.int32),
        returns=tuple(blobs),
    )
