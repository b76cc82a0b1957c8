"""Passes a run on to TensorBoard: event files with RLlib's names as tags, without TensorFlow."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, scalar, text
from typing_extensions import override

from raydash.sinks.kinds import Sink
from raydash.sinks.lines import Row, RunEnd, SinkRun

_COMPARED = ("episode_return_mean", "episode_return_mean_lifetime", "env_steps_per_s_lifetime")
"""Metrics that TensorBoard's table of hyperparameters shows beside those."""


class TensorBoardSink(Sink):
    """Writes to a folder of the run's own, each row completely before the next one.

    Values are float32, as TensorBoard keeps them; steps are exact. The library's `SummaryWriter`
    would write from a thread, where nobody sees that the disk is full.
    """

    def __init__(self, run: SinkRun) -> None:
        folder = Path(run.sinks.tensorboard or "").expanduser() / run.run_id
        folder.mkdir(parents=True, exist_ok=True)
        # File names have the time in seconds only, so the process id keeps incarnations apart.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.raydash")
        params = {**run.params, "run_id": run.run_id}
        experiment, session, self._session_end = hparams(params, dict.fromkeys(_COMPARED, 0.0))
        spec = text("spec", _table({**params, "owner": run.owner}))
        self._add(0, experiment, session, spec)

    @override
    def write(self, row: Row) -> None:
        self._add(row.step, *(scalar(name, value) for name, value in row.metrics.items()))

    @override
    def close(self, end: RunEnd) -> None:
        self.write(end.row)
        outcome = {"state": end.state, "ended_by": end.ended_by, "cause": end.cause}
        summary = text("summary", _table({**outcome, **end.row.metrics}))
        self._add(end.row.step, summary, self._session_end)
        self._writer.close()

    def _add(self, step: int, *summaries: Summary) -> None:
        now_s = time.time()
        for summary in summaries:
            self._writer.write_event(Event(wall_time=now_s, step=step, summary=summary))
        self._writer.flush()


def _table(values: Mapping[str, object]) -> str:
    rows = "".join(f"| {key} | {value} |\n" for key, value in values.items() if value != "")
    return f"| | |\n|---|---|\n{rows}"
