"""Weights & Biases. Its key comes from its own environment variable or credential file."""

import os
from pathlib import Path

from raydash.sinks.lines import Row, RunEnd, SinkRun

_QUIET = {
    # Figures of this small process, which is not the user's program, would mislead.
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}
MAX_TAG = 64


class WandbSink:
    """One W&B run with the run's own id; a supervisor that was restarted goes on with it."""

    def __init__(self, run: SinkRun) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import wandb  # reads them, and may not be installed

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

    def write(self, row: Row) -> None:
        """See `Sink`."""
        self._run.log(dict(row.metrics), step=row.step)

    def close(self, end: RunEnd) -> None:
        """See `Sink`."""
        self.write(end.row)
        outcome = {"state": end.state, "ended_by": end.ended_by, "cause": end.cause}
        self._run.summary.update(outcome)
        self._run.finish(exit_code=1 if end.state == "failed" else 0)
