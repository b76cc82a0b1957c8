"""Passes a run on to MLflow: to a tracking server, or to a folder.

Credentials come from MLflow's own environment variables.
"""

import os
import time

from typing_extensions import override

from raydash.sinks.kinds import Sink
from raydash.sinks.lines import Row, RunEnd, SinkRun

_SETTINGS = {
    # MLflow prefers databases, but a folder is what the user asked for:
    # https://github.com/mlflow/mlflow/pull/22773
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that does not answer must be reported within the run, not 10 minutes later.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
_RUN_ID = "raydash.run_id"
_STATUS = {"finished": "FINISHED", "stopped": "KILLED"}


class MlflowSink(Sink):
    """Writes to an MLflow run, which is found again by its tag `raydash.run_id` after a restart."""

    def __init__(self, run: SinkRun) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, entities  # reads the settings, and may not be installed

        self._entities = entities
        self._client = MlflowClient(run.sinks.mlflow_uri)
        experiment_id = self._experiment(run.sinks.mlflow_experiment)
        found = self._client.search_runs(
            [experiment_id], f"tags.`{_RUN_ID}` = '{run.run_id}'", max_results=1
        )
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {
            _RUN_ID: run.run_id,
            "raydash.env_id": run.env_id,
            "raydash.owner": run.owner,
        }
        title = run.name or run.run_id
        self._id = self._client.create_run(experiment_id, tags=tags, run_name=title).info.run_id
        params = [entities.Param(key, str(value)) for key, value in run.params.items()]
        self._client.log_batch(self._id, params=params)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise  # no other run has created it meanwhile
        return str(experiment.experiment_id)

    @override
    def write(self, row: Row) -> None:
        now_ms = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, value, now_ms, row.step)
            for name, value in row.metrics.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)

    @override
    def close(self, end: RunEnd) -> None:
        self.write(end.row)
        outcome = {"state": end.state, "ended_by": end.ended_by, "cause": end.cause}
        tags = [
            self._entities.RunTag(f"raydash.{key}", value)
            for key, value in outcome.items()
            if value
        ]
        self._client.log_batch(self._id, tags=tags)
        self._client.set_terminated(self._id, _STATUS.get(end.state, "FAILED"))
