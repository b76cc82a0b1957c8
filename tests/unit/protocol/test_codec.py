"""Messages come out of the codec as they went in, and nothing else comes out."""

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raydash.core import messages, records, updates
from raydash.core.env_check import AgentSpaces, CheckPhase, EnvCheck, EnvProblem
from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault
from raydash.core.library import DiskUse, ExportFormat, LibrarySettings, Notes, RecordedRun
from raydash.core.messages import Verb
from raydash.core.spec import ClusterSpec, EnvSpec, PolicySpec, RolloutSpec, RunSpec, StopSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, RunState
from raydash.protocol.codec import MESSAGE_TYPES, CodecError, decode, encode
from tests.fakes.engines.terminal_engine import empty_history, worker_columns


def same(left: Any, right: Any) -> bool:
    """Compare values and types, with arrays and NaN."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=True)
    if is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, item.name), getattr(right, item.name)) for item in fields(left)
        )
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return bool(type(left) is type(right) and left == right)


NOTES = Notes("title", ("a", "b"), "text", pinned=True)
SPEC = RunSpec(
    name="a run",
    env=EnvSpec("CartPole-v1", {"render_mode": None, "nested": {"x": [1, 2.5, "y"]}}),
    rollout=RolloutSpec(num_workers=4, seed=2**63 - 1),
    stop=StopSpec(seconds=20.0),
    cluster=ClusterSpec("h:1", resources={"TPU": 1.0}),
)
FAULT = Fault("what", "why", "remedy", "detail", ("env.id",), bad_input=True)
SUMMARY = messages.RunSummary(
    "r", "n", "e", "o", RunState.PAUSED, 2, "2026", 1.0, 2, 3, "/x", True, "0.1", 1
)
EPISODES = records.EpisodeColumns(
    np.array([1.0]),
    *(np.array([1], np.int32),) * 3,
    np.array([math.nan]),
    np.array([5], np.int32),
    np.array([3], np.uint8),
    np.array([0.5], np.float32),
)
CHUNK = records.RolloutChunk(
    3,
    1,
    0.1,
    math.nan,
    records.WorkerTotals(10, 1),
    env_index=np.zeros(2, np.int32),
    episode_return=np.array([1.0, math.nan]),
    episode_len=np.zeros(2, np.int32),
    ending=np.array([0, 3], np.uint8),
    end_offset_s=np.zeros(2),
    episode_duration_s=np.zeros(2, np.float32),
    step_time_s=np.zeros(0, np.float32),
    reset_time_s=np.zeros(1, np.float32),
    partial_len=np.zeros(1, np.int32),
    partial_return=np.zeros(1),
    errors=(records.EnvError(0.1, "step", "KeyError: 'x'", "Traceback"),),
)
UPDATE = updates.RunUpdate(
    run_id="r",
    seq=7,
    since_seq=0,
    t_s=1.5,
    state=RunState.STOPPING,
    ended_by=EndedBy.SIGNAL,
    cause="",
    paused=False,
    num_workers=3,
    info=updates.RunInfo("r", "o", "2026", "/x", "/l", "n", "0.1", 1),
    spec=SPEC,
    figures=updates.RunFigures(elapsed_s=2.0),
    workers=worker_columns(3, Activity.STEPPING),
    nodes=("a", "b"),
    pending={2: "no CPU is free"},
    episodes=EPISODES,
    num_episodes_omitted=0,
    recent=empty_history(),
    whole=empty_history(),
    events=(Event(1, 0.5, EventKind.WORKER_DIED, "text", 2, "detail", 3),),
)
EXAMPLES: list[Any] = [
    messages.Hello(1, "0.1.0", 42),
    messages.Connect(1, SPEC.cluster),
    messages.CancelConnect(2),
    messages.StartRun(3, SPEC, ("/a",), keep=True),
    messages.CommandRun(4, "r", Verb.SCALE, (1, 2), 8, EndedBy.USER),
    messages.CommandRun(4, "r", Verb.SWAP, policy=PolicySpec("sb3", "/m.zip", trust=True)),
    messages.AttachRun(5, "r"),
    messages.DetachRun(6, "r"),
    messages.FollowRuns(7, ("r", "s")),
    messages.FollowRuns(7, None),
    messages.StopCluster(7),
    messages.Ping(8),
    messages.Goodbye(),
    messages.Answer(9, FAULT, "r"),
    messages.Pong(10),
    messages.ClusterStatus(ClusterPhase.LOST, fault=FAULT),
    messages.EnvRegistry(("CartPole-v1",), ("TimeLimit",)),
    messages.CheckEnv(1, SPEC.env, SPEC.rollout, ("/a",), 5.0),
    messages.CancelCheck(2, 1),
    messages.EnvCheckPhase(1, CheckPhase.TIMING),
    messages.EnvChecked(
        1,
        EnvCheck(
            "e",
            multi_agent="aec",
            agents=(AgentSpaces("a", "Box", "Discrete(2)"),),
            step_time_median_s=1e-6,
            num_agent_steps=3,
            problems=(EnvProblem(True, "text", "Traceback"),),
        ),
    ),
    SUMMARY,
    messages.RunList((SUMMARY,)),
    messages.EngineHealth(1, 2.0, 3.0, 4.0, math.nan, 5, 6, "/log"),
    messages.QueryHistory(1, "r", 0.0, 10.0, 300),
    messages.HistoryRange("r", 0.0, 10.0, UPDATE.whole),
    messages.ListRecordings(1),
    messages.OpenRecording(2, "r", 3.5),
    messages.EditNotes(3, "r", NOTES),
    messages.DeleteRecordings(4, ("r", "s")),
    messages.ChangeLibrary(5, LibrarySettings(1, 2.0, 3)),
    messages.ExportRecording(6, "r", ExportFormat.PARQUET, "/out"),
    messages.WriteReport(7, ("r",), "/out.html"),
    messages.ImportRecordings(8, ("/a",)),
    messages.Library(
        (RecordedRun("r", "/r.duckdb", state=RunState.FINISHED, notes=NOTES),),
        DiskUse("/data", 1, 2, "full"),
        LibrarySettings(),
    ),
    UPDATE,
    CHUNK,
    records.WorkerReady(1, 0, 2, "n", "id", 3, ("/a", "/b"), "/p"),
    records.WorkerFault(1, 0, FAULT),
    records.PolicySet(1, 0, 2, FAULT),
    records.PolicySet(1, 0, 2),
    records.Parameters(4, (2, 1), np.ones((5, 3)), np.zeros(3), np.zeros(2), np.ones(2)),
    records.GenerationResults(np.array([1.0]), records.ObservationSums(3, np.ones(2), np.ones(2))),
    records.GenerationResults(None, None),
    records.ParametersReady(4, 5, 3, 0.5, 1, went_on_from=0),
    records.LearnerFault(FAULT),
    records.PolicyWritten(4, "/r.best.npz", "no room"),
    records.ProbeReading(
        np.zeros(2, np.float32),
        np.zeros(2),
        np.full(2, 255, np.uint8),
        *(np.full(2, -1, np.int64),) * 3,
        *(1.0, 2.0, 3.0),
    ),
]


def test_there_is_an_example_of_every_type() -> None:
    assert {type(example) for example in EXAMPLES} == set(MESSAGE_TYPES)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_message_comes_out_as_it_went_in(message: Any) -> None:
    got = decode(encode(message))
    assert same(got, message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_no_part_of_a_message_is_a_message(message: Any) -> None:
    data = encode(message)
    for end in {0, 1, len(data) // 2, len(data) - 1}:
        with pytest.raises(CodecError):
            decode(data[:end])


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(CodecError):
        decode(garbage)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([kind.__name__ for kind in MESSAGE_TYPES if fields(kind)]), JSON)
def test_well_formed_bytes_with_a_wrong_body_are_refused(name: str, body: Any) -> None:
    with pytest.raises(CodecError):
        decode(msgspec.msgpack.encode([name, body]))


def test_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match="unknown message type 'Pickle'"):
        decode(msgspec.msgpack.encode(["Pickle", {}]))


def test_what_is_no_message_is_not_sent() -> None:
    with pytest.raises(CodecError, match="RunSpec is no message"):
        encode(SPEC)


def test_unknown_word_of_a_state_is_refused() -> None:
    with pytest.raises(CodecError, match="phase"):
        decode(msgspec.msgpack.encode(["ClusterStatus", {"phase": "sleepy"}]))


def test_fields_of_a_newer_version_are_ignored() -> None:
    body = {"protocol_version": 2, "raydash_version": "9", "pid": 1, "mood": "good"}
    got = decode(msgspec.msgpack.encode(["Hello", body]))
    assert got == messages.Hello(2, "9", 1)


# --- arrays ---------------------------------------------------------------------------------------


@given(hnp.arrays(np.float64, st.integers(0, 50), elements=st.floats(allow_nan=True)))
def test_array_comes_out_to_the_last_bit(values: np.ndarray) -> None:
    episodes = replace(EPISODES, end_s=values)
    got = decode(encode(replace(UPDATE, episodes=episodes))).episodes.end_s
    assert got.tobytes() == values.tobytes()


@given(st.integers(0, 5), st.integers(0, 5))
def test_shape_of_a_grid_is_kept(rows: int, columns: int) -> None:
    grid = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    update = replace(UPDATE, recent=replace(empty_history(), worker_steps=grid))
    got = decode(encode(update)).recent.worker_steps
    assert got.shape == (rows, columns)
    assert np.array_equal(got, grid)


def test_array_that_is_not_contiguous_keeps_its_values() -> None:
    episodes = replace(EPISODES, end_s=np.arange(10.0)[::3])
    got = decode(encode(replace(UPDATE, episodes=episodes))).episodes.end_s
    assert got.tolist() == [0.0, 3.0, 6.0, 9.0]


def chunk_with(array: object) -> bytes:
    body = msgspec.msgpack.decode(encode(CHUNK))[1]
    return msgspec.msgpack.encode(["RolloutChunk", {**body, "end_offset_s": array}])


@pytest.mark.parametrize(
    "array",
    [
        ["|O", [1], b"12345678"],
        ["<c16", [1], b"0" * 16],
        [">f8", [1], b"12345678"],
        ["<U2", [1], b"12345678"],
        ["<f8", [2], b"12345678"],
        ["<f8", [-1], b"12345678"],
        ["<f8", [-1, -1], b"12345678"],
        ["<f8", ["a"], b"12345678"],
        ["<f8", [1.0], b"12345678"],
        ["<f8", 1, b"12345678"],
        ["<f8", [1], "12345678"],
        ["<f8", [1], 8],
        [["<f8"], [1], b"12345678"],
        [{"a": 1}, [1], b"12345678"],
        ["<f8", [1]],
        [],
        None,
        "text",
        5,
        {"dtype": "<f8"},
    ],
)
def test_array_of_another_dtype_shape_or_form_is_refused(array: object) -> None:
    with pytest.raises(CodecError):
        decode(chunk_with(array))


def test_array_of_another_dtype_than_its_column_is_refused() -> None:
    with pytest.raises(CodecError):
        decode(chunk_with(["<f4", [2], b"12345678"]))


def test_array_of_objects_is_not_sent() -> None:
    with pytest.raises(CodecError):
        encode(replace(CHUNK, end_offset_s=np.array([object()])))
