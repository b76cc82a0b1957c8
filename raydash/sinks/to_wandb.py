"""Passes a run on to Weights & Biases.

The API key comes from W&B's own environment variable or credential file.
"""

import os
from pathlib import Path

from typing_extensions import override

from raydash.sinks.kinds import Sink
from raydash.sinks.lines import Row, RunEnd, SinkRun

_QUIET = {
    # System figures would be about this small process, not about the user's program.
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}
MAX_TAG = 64


class WandbSink(Sink):
    """Writes to a W&B run with the run's own id, which a restarted supervisor continues."""

    def __init__(self, run: SinkRun) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import wandb  # reads the settings, and may not be installed

        folder = os.environ.get("WANDB_DIR") or run.folder
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=run.sinks.wandb_project,
            mode=run.sinks.wandb_mode,
            id=run.run_id,
            name=run.name or run.run_id,
            dir=folder,
            config={**run.params, "run_id": run.run_id, "owner": run.owner},
            tags=["raydash", run.env_id[:MAX_TAG]],
            resume="allow",
        )

    @override
    def write(self, row: Row) -> None:
        self._run.log(dict(row.metrics), step=row.step)

    @override
    def close(self, end: RunEnd) -> None:
        self.write(end.row)
        outcome = {"state": end.state, "ended_by": end.ended_by, "cause": end.cause}
        self._run.summary.update(outcome)
        self._run.finish(exit_code=1 if end.state == "failed" else 0)
