"""Rows for recordings, and a process that records until it is killed."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from raydash.core.events import Event, EventKind
from raydash.core.records import EpisodeColumns, WorkerTotals
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec
from raydash.record.file.database import connect
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunRow
from raydash.record.write.recorder import Recorder

SPEC = RunSpec(
    env=EnvSpec("CartPole-v1", {"sutton_barto_reward": True}),
    rollout=RolloutSpec(num_workers=2, seed=7),
)


def run_row(run_id: str = "20261122-101500-cartpole-v1-3f9a") -> RunRow:
    return RunRow(run_id, SPEC, "me@here", "2026-11-22T10:15:00+00:00")


def incarnation_row(incarnation: int = 0, started_s: float = 0.0) -> IncarnationRow:
    return IncarnationRow(incarnation, started_s, "2026-11-22T10:15:00+00:00", "127.0.0.2", 4711)


def episodes(
    count: int,
    *,
    seed: int = 0,
    first_s: float = 0.0,
    span_s: float = 0.5,
    num_workers: int = 2,
    whole_returns: bool = True,
) -> EpisodeColumns:
    """Make short episodes as CartPole has them, with reward 1 a step or returns of 53 bits."""
    rng = np.random.default_rng(seed)
    lens = rng.geometric(1 / 22, count).astype(np.int32)
    return EpisodeColumns(
        end_s=np.sort(first_s + rng.random(count) * span_s),
        worker_index=rng.integers(1, num_workers + 1, count).astype(np.int32),
        env_index=np.zeros(count, np.int32),
        incarnation=np.zeros(count, np.int32),
        episode_return=lens.astype(float) if whole_returns else rng.normal(size=count),
        episode_len=lens,
        ending=np.zeros(count, np.uint8),
        duration_s=(lens * (1e-5 + rng.random(count) * 1e-6)).astype(np.float32),
    )


def totals_after(batch: EpisodeColumns, before: WorkerTotals | None = None) -> WorkerTotals:
    before = before or WorkerTotals()
    return WorkerTotals(
        num_env_steps=before.num_env_steps + int(batch.episode_len.sum()),
        num_episodes=before.num_episodes + len(batch),
        num_terminated=before.num_terminated + len(batch),
        busy_time_s=before.busy_time_s + 0.1,
    )


def event(number: int, t_s: float = 0.0, worker_index: int | None = None) -> Event:
    return Event(number, t_s, EventKind.ENV_ERROR, "it broke", worker_index, "Traceback ...", 2)


def write_schema_1(path: Path) -> None:
    """Write a file as the first raydash left it, never closed: three episodes and one commit."""
    ddl = Path(__file__).with_name("schema_1.sql").read_text(encoding="utf-8")
    connection = connect(path)
    connection.execute(ddl)
    connection.execute(
        "INSERT INTO run VALUES (?, 1, 'cart', 'CartPole-v1', 7, ?, 'me@here', '', "
        "'2026-11-22T10:15:00+00:00', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL)",
        [run_row().run_id, json.dumps(asdict(SPEC))],
    )
    connection.execute("INSERT INTO incarnations VALUES (0, 0.0, '2026-11-22', 'n', 1)")
    connection.execute(
        "INSERT INTO episodes VALUES (0.2, 1, 0, NULL, 0, 20.0, 20, 0, 0.1, NULL, false),"
        " (0.7, 2, 0, NULL, 0, 30.0, 30, 1, 0.1, NULL, false),"
        " (2.4, 1, 0, NULL, 0, 'nan', 5, 3, 0.1, NULL, false)"
    )
    connection.execute(
        "INSERT INTO worker_totals VALUES (1.0, 1, 0, 20, 1, 1, 0, 0, 0, 0, 0, 0, 0.1),"
        " (1.0, 2, 0, 30, 1, 0, 1, 0, 0, 0, 0, 0, 0.1),"
        " (2.5, 1, 0, 25, 2, 1, 0, 1, 0, 0, 0, 0, 0.2)"
    )
    connection.execute("INSERT INTO events VALUES (1, 0.0, 'run_started', 'go', NULL, '', 1)")
    connection.execute("INSERT INTO commits VALUES (1, 2.5, 2.0, 2, false, true)")
    connection.close()


def write_schema_3(path: Path) -> None:
    """Write a file of schema 3, never closed: worker 2 of 3 was paused, the run was draining."""
    ddl = Path(__file__).with_name("schema_3.sql").read_text(encoding="utf-8")
    connection = connect(path)
    connection.execute(ddl)
    connection.execute(
        "INSERT INTO run BY NAME SELECT ? AS run_id, 3 AS schema_version, 'cart' AS name,"
        " 'CartPole-v1' AS env_id, 7 AS seed, ? AS spec_json, 'me@here' AS owner, '' AS cluster,"
        " '2026-11-22T10:15:00+00:00' AS started_utc, '{}' AS versions_json,"
        " '{}' AS machine_json",
        [run_row().run_id, json.dumps(asdict(SPEC))],
    )
    connection.execute("INSERT INTO incarnations VALUES (0, 0.0, '2026-11-22', 'n', 1)")
    connection.execute(
        "INSERT INTO worker_totals VALUES (1.0, 3, 1, 20, 1, 1, 0, 0, 0, 0, 0, 0, 0.1)"
    )
    connection.execute(
        "INSERT INTO commits VALUES (1, 2.5, 2.0, 3, false, true, 'drained', true, [2], 4, NULL, 9)"
    )
    connection.close()


def record_for_ever(path: Path) -> None:
    """Append a batch of 20 episodes of one worker each 10 ms, and print its number afterwards."""
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.2)
    recorder.begin(run_row(), incarnation_row())
    totals = WorkerTotals()
    number = 0
    while True:
        number += 1
        batch = episodes(20, seed=number, first_s=number * 0.01, span_s=0.01, num_workers=1)
        totals = totals_after(batch, totals)
        recorder.append(
            RecordBatch(
                t_s=number * 0.01,
                elapsed_s=number * 0.01,
                episodes=batch,
                totals=[(1, 0, totals)],
                events=[event(number, number * 0.01)],
            )
        )
        print(number, flush=True)
        time.sleep(0.01)


if __name__ == "__main__":
    record_for_ever(Path(sys.argv[1]))
