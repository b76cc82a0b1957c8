"""Each sink really writes: a simulated run, the real process, and a reader that is not ours."""

import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raydash.core.events import Event, EventKind
from raydash.core.messages import Verb
from raydash.core.spec import EnvSpec, RunSpec, SinksSpec
from raydash.supervise.sinks import SinkFeed, open_sinks
from tests.fakes.runs.supervised_run import INFO, RUN_ID, Reader, SupervisedRun

WaitUntil = Callable[..., None]
Series = list[tuple[int, float]]


@pytest.fixture(autouse=True)
def _private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no caches, and no server that could be reached by mistake."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "NETRC", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


class ToldRun:
    """A simulated run of which the sinks of a spec are told."""

    def __init__(self, tmp_path: Path, sinks: SinksSpec) -> None:
        spec = RunSpec("größer → besser", env=EnvSpec("X-v0", {"size": [1, 2]}), sinks=sinks)
        feed = open_sinks(spec, replace(INFO, log_dir=str(tmp_path / "logs")))
        assert isinstance(feed, SinkFeed)
        self.run = SupervisedRun(2, sinks=feed)
        self.reader: Reader = self.run.reader()

    def until(self, condition: Callable[[], object]) -> None:
        """Go on until a sink got so far."""
        ceiling = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < ceiling
            self.run.turns(1.0, self.reader)
            time.sleep(0.05)  # a second of the run's clock takes no time; a sink needs some

    def finish(self, wait_until: WaitUntil) -> None:
        """To the end of run and sinks."""
        self.run.command(self.reader, Verb.STOP)
        self.run.until(lambda: self.reader.told_last, self.reader)
        wait_until(lambda: self.run.supervisor.is_done, "the end of the sinks", ceiling_s=60)

    def sink_events(self) -> list[Event]:
        """All but that one is slow: a second of the run lasts 0.05 s here, and libraries load."""
        return [
            event
            for event in self.run.recording.events()
            if event.kind is EventKind.SINK_FAILED and "is slow" not in event.text
        ]

    def assert_told_of(self, read: Callable[[str], Series]) -> None:
        """What a reader found under RLlib's names is this run."""
        last = self.run.recording.last
        assert last is not None
        figures = last.figures
        steps = [step for step, _ in read("num_env_steps_sampled_lifetime")]
        assert len(steps) >= 3
        assert steps == sorted(set(steps))
        assert steps[-1] == figures.num_env_steps_sampled_lifetime
        finals = {
            "num_env_steps_sampled_lifetime": figures.num_env_steps_sampled_lifetime,
            "num_episodes_lifetime": figures.num_episodes_lifetime,
            "num_episodes_terminated_lifetime": figures.num_episodes_terminated_lifetime,
            "num_episodes_truncated_lifetime": figures.num_episodes_truncated_lifetime,
            "num_episodes_error_lifetime": 0,
            "episode_return_mean": figures.recent_return_mean,
            "episode_return_mean_lifetime": figures.episode_return_mean,
            "episode_len_mean": figures.recent_len_mean,
            "num_workers": 2,
            "num_restarts": 0,
        }
        found = {name: read(name)[-1][1] for name in finals}
        assert found == pytest.approx(finals, rel=1e-6)  # TensorBoard keeps 32 bits
        assert read("env_steps_per_s")
        assert self.sink_events() == []


# --- TensorBoard ------------------------------------------------------------------------------


def test_tensorboards_own_reader_finds_the_run(tmp_path: Path, wait_until: WaitUntil) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = tmp_path / "tb" / RUN_ID
    told = ToldRun(tmp_path, SinksSpec(tensorboard=str(tmp_path / "tb")))

    def accumulated() -> EventAccumulator:
        return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()

    def read(name: str) -> Series:
        return [(event.step, event.value) for event in accumulated().Scalars(name)]

    told.until(lambda: folder.exists())
    # Live: a reader sees a row before the run has ended.
    told.until(
        lambda: "num_workers" in accumulated().Tags()["scalars"] and len(read("num_workers")) > 2
    )
    told.finish(wait_until)
    told.assert_told_of(read)
    texts = {tag: accumulated().Tensors(tag)[0] for tag in accumulated().Tags()["tensors"]}
    spec = texts["spec/text_summary"].tensor_proto.string_val[0].decode()
    assert "| env.id | X-v0 |" in spec
    assert RUN_ID in spec
    summary = texts["summary/text_summary"].tensor_proto.string_val[0].decode()
    assert "| state | stopped |" in summary
    content = accumulated().PluginTagToContent("hparams")["_hparams_/session_start_info"]
    params = HParamsPluginData.FromString(content).session_start_info.hparams
    assert params["env.kwargs"].string_value == '{"size": [1, 2]}'
    assert params["rollout.seed"].number_value == 0
    assert len(list(folder.iterdir())) == 1


# --- Weights & Biases -------------------------------------------------------------------------


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log framing around W&B's own protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the rest of a block that has no room for a header
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        if at + 7 + size > len(data):
            return  # it is being written
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_wandb_keeps_the_run_offline_and_its_own_messages_hold_it(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    told = ToldRun(tmp_path, SinksSpec(wandb_project="p", wandb_mode="offline"))

    def files() -> list[Path]:
        return list((tmp_path / "logs/wandb").glob(f"offline-run-*-{RUN_ID}/run-{RUN_ID}.wandb"))

    def of_kind(kind: str) -> list[Any]:
        records = [record for path in files() for record in wandb_records(path)]
        return [
            getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind
        ]

    told.until(files)
    told.until(lambda: len(of_kind("history")) >= 3)
    told.finish(wait_until)
    assert len(files()) == 1
    history: dict[str, Series] = {}
    config: dict[str, object] = {}
    summary: dict[str, object] = {}
    tags: list[str] = []
    for body in of_kind("history"):
        row = {
            item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in body.item
        }
        for name, value in row.items():
            history.setdefault(name, []).append((int(row["_step"]), value))
    for body in of_kind("run"):
        tags = list(body.tags) or tags
        config |= {item.key: json.loads(item.value_json) for item in body.config.update}
    for body in of_kind("summary"):
        summary |= {item.key: json.loads(item.value_json) for item in body.update}
    told.assert_told_of(lambda name: history[name])
    assert config["run_id"] == RUN_ID
    assert config["env.id"] == "X-v0"
    assert set(tags) == {"raydash", "X-v0"}
    assert summary["state"] == "stopped"
    assert "Traceback" not in (tmp_path / "logs/sink-wandb.log").read_text()


def test_wandb_without_a_key_is_told_of_with_what_to_do(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    told = ToldRun(tmp_path, SinksSpec(wandb_project="p", wandb_mode="online"))
    told.until(told.sink_events)
    told.finish(wait_until)
    (event,) = told.sink_events()
    assert "Weights & Biases is not told of this run" in event.text
    assert "wandb login" in event.text
    assert told.run.recording.last is not None


# --- MLflow -----------------------------------------------------------------------------------


def test_mlflows_client_finds_the_run(
    tmp_path: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for the reader here
    from mlflow import MlflowClient

    store = tmp_path / "ml store"
    uri = store.as_uri()
    told = ToldRun(tmp_path, SinksSpec(mlflow_uri=uri, mlflow_experiment="an experiment"))

    def rows() -> int:
        return max(
            (len(path.read_text().splitlines()) for path in store.rglob("metrics/num_workers")),
            default=0,
        )

    told.until(lambda: rows() >= 3)
    told.finish(wait_until)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("an experiment")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])

    def read(name: str) -> Series:
        history = client.get_metric_history(run.info.run_id, name)
        return sorted((metric.step, metric.value) for metric in history)

    told.assert_told_of(read)
    assert run.info.status == "KILLED"
    assert run.info.run_name == "größer → besser"
    assert run.data.params["env.id"] == "X-v0"
    assert run.data.tags["raydash.run_id"] == RUN_ID
    assert run.data.tags["raydash.state"] == "stopped"


def test_mlflow_server_that_is_not_there_is_told(tmp_path: Path, wait_until: WaitUntil) -> None:
    told = ToldRun(tmp_path, SinksSpec(mlflow_uri="http://127.0.0.1:9"))
    told.until(told.sink_events)
    told.finish(wait_until)
    (event,) = told.sink_events()
    assert "MLflow is not told of this run" in event.text
    assert "sinks.mlflow_uri" in event.text


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard"])
def test_restarted_supervisor_goes_on_where_the_tool_left(
    tmp_path: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = tmp_path / "place"
    sinks = (
        SinksSpec(mlflow_uri=place.as_uri())
        if kind == "mlflow"
        else SinksSpec(tensorboard=str(place))
    )
    for _ in range(2):
        told = ToldRun(tmp_path, sinks)
        told.finish(wait_until)
        assert told.sink_events() == []
    if kind == "mlflow":
        assert len(list(place.rglob("raydash.run_id"))) == 1
    else:
        assert [path.name for path in place.iterdir()] == [RUN_ID]
        assert len(list((place / RUN_ID).iterdir())) == 2
