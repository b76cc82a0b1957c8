"""Exports a recording as a TensorBoard event file with RLlib's names as tags.

It is written with tensorboardX's record layer, in this thread: its `SummaryWriter` writes in
another thread, where nobody would see that the disk is full.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from raydash.core.history.history import BUCKET_S, CAPACITY
from raydash.core.states import Ending
from raydash.core.updates import Generations
from raydash.record.export.anchors import ClockAnchors
from raydash.record.export.batches import batches
from raydash.record.export.document import figures_table
from raydash.record.export.tables import columns_of
from raydash.record.file.schema import Connection
from raydash.record.read.generations import generations_of

_DT_STRING = 7


def write(connection: Connection, path: Path, target: Path) -> None:
    """Write one event file to the folder `target`.

    There is a point for each time bucket of the run's history (at most 1200): means over the
    bucket's episodes, and the run's counters at the bucket's end. Its step is the number of
    environment steps sampled, lifetime. TensorBoard keeps scalars as 32-bit floats, so the exact
    figures of the whole run are there too, as the text `run`. Metrics that an imported run came
    with keep their tags.

    Raises:
        OSError, duckdb.Error: if the recording can't be read or the folder not written.
    """
    from tensorboardX import RecordWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    anchors = ClockAnchors(connection)
    started = anchors.start_unix_s
    target.mkdir()
    writer = RecordWriter(str(target / f"events.out.tfevents.{int(started):010d}.raydash"))
    try:
        head = Event(wall_time=started, file_version="brain.Event:2")
        writer.write(head.SerializeToString())

        text = json.dumps(figures_table(connection, path), default=str)
        figures = Summary.Value(
            tag="run/text_summary",
            metadata=SummaryMetadata(
                plugin_data=SummaryMetadata.PluginData(plugin_name="text"),
            ),
            tensor=TensorProto(
                dtype=_DT_STRING,
                string_val=[text.encode()],
                tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
            ),
        )
        event = Event(wall_time=started, summary=Summary(value=[figures]))
        writer.write(event.SerializeToString())

        for t_s, step, values in _points(connection):
            event = Event(
                wall_time=anchors.unix_s(t_s),
                step=step,
                summary=Summary(
                    value=[
                        Summary.Value(tag=tag, simple_value=_single(value))
                        for tag, value in values.items()
                    ]
                ),
            )
            writer.write(event.SerializeToString())
        writer.flush()
    finally:
        writer.close()


def _single(value: float) -> float:
    """Make a value infinite if a 32-bit float can't hold it."""
    return math.copysign(math.inf, value) if abs(value) > 3.4028235e38 else value


def _points(connection: Connection) -> Iterator[tuple[float, int, Mapping[str, float]]]:
    """Yield time on the run's clock, environment steps so far, and tags with values."""
    yield from _bucket_points(connection)
    yield from _generation_points(connection)
    if "tag" not in columns_of(connection, "scalars"):
        return
    number = 0
    for rows in batches(connection, "scalars", "tag, t_s, num_env_steps, value"):
        for tag, t_s, num_env_steps, value in rows:
            number += 1
            yield t_s or 0.0, number if num_env_steps is None else num_env_steps, {tag: value}


def _generation_points(
    connection: Connection,
) -> Iterator[tuple[float, int, Mapping[str, float]]]:
    """Yield a point per generation: if there are very many, the newest and some older ones."""
    if "number" not in columns_of(connection, "generations"):
        return
    rows = generations_of(connection)
    rows = rows.rows(Generations.kept_of(len(rows)))
    for place in range(len(rows)):
        values = {
            "num_generations": float(rows.number[place]),
            "generation_return_mean": float(rows.return_mean[place]),
            "generation_return_best": float(rows.return_best[place]),
            "evaluation_episode_return_mean": float(rows.evaluation_mean[place]),
            "sigma": float(rows.sigma[place]),
        }
        known = {tag: value for tag, value in values.items() if not math.isnan(value)}
        yield float(rows.end_s[place]), int(rows.num_env_steps[place]), known


def _bucket_points(connection: Connection) -> Iterator[tuple[float, int, Mapping[str, float]]]:
    (end_s,) = connection.execute(
        "SELECT greatest(coalesce((SELECT max(end_s) FROM episodes), 0),"
        " coalesce((SELECT max(t_s) FROM worker_totals), 0))"
    ).fetchone()
    bucket_s = BUCKET_S
    while end_s // bucket_s >= CAPACITY:
        bucket_s *= 2
    steps = dict(connection.execute(_STEPS, [bucket_s]).fetchall())
    episodes = {row[0]: row[1:] for row in connection.execute(_EPISODES, [bucket_s]).fetchall()}
    total = num_episodes = num_terminated = num_truncated = 0
    for bucket in range(max([*steps, *episodes], default=-1) + 1):
        gained = int(steps.get(bucket, 0))
        total += gained
        until_s = min((bucket + 1) * bucket_s, end_s)
        values: dict[str, float] = {}
        if bucket in episodes:
            count, terminated, truncated, mean, low, high, len_mean = episodes[bucket]
            num_episodes += count
            num_terminated += terminated
            num_truncated += truncated
            figures = {
                "episode_return_mean": mean,
                "episode_return_min": low,
                "episode_return_max": high,
                "episode_len_mean": len_mean,
            }
            values |= {tag: value for tag, value in figures.items() if value is not None}
        values["num_env_steps_sampled_lifetime"] = total
        values["num_episodes_lifetime"] = num_episodes
        values["num_episodes_terminated_lifetime"] = num_terminated
        values["num_episodes_truncated_lifetime"] = num_truncated
        if until_s > bucket * bucket_s:
            values["env_steps_per_s"] = gained / (until_s - bucket * bucket_s)
        yield until_s, total, values


# Steps counted up to the end of a bucket, that instant included, belong to the bucket.
_STEPS = """
SELECT bucket, sum(gained) FROM (
    SELECT bucket, steps - coalesce(
        lag(steps) OVER (PARTITION BY worker_index, incarnation ORDER BY bucket), 0) AS gained
    FROM (SELECT worker_index, incarnation, greatest(ceil(t_s / ?) - 1, 0)::BIGINT AS bucket,
                 max(num_env_steps) AS steps
          FROM worker_totals GROUP BY ALL)
) GROUP BY bucket
"""
_GOOD = f"ending IS DISTINCT FROM {int(Ending.ERROR)}"
_A_NUMBER = "NOT isnan(episode_return)"
_EPISODES = f"""
SELECT floor(end_s / ?)::BIGINT AS bucket,
       count(*),
       count(*) FILTER (ending IN ({int(Ending.TERMINATED)}, {int(Ending.BOTH)})),
       count(*) FILTER (ending IN ({int(Ending.TRUNCATED)}, {int(Ending.BOTH)})),
       avg(episode_return) FILTER ({_GOOD}),
       min(episode_return) FILTER ({_GOOD} AND {_A_NUMBER}),
       max(episode_return) FILTER ({_GOOD} AND {_A_NUMBER}),
       avg(episode_len) FILTER ({_GOOD})
FROM episodes GROUP BY bucket
"""
