"""What live sinks are sent, and how their process behaves; a fake sink replaces a library."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.messages import Verb
from raydash.core.spec import ClusterSpec, EnvSpec, RolloutSpec, RunSpec, SinksSpec
from raydash.core.states import RunState
from raydash.core.updates import LearningFigures, RunFigures, RunUpdate
from raydash.sinks.figures import params_of, row_of
from raydash.sinks.kinds import SinkKind, wanted
from raydash.sinks.lines import (
    Answered,
    Cause,
    Message,
    Row,
    RunEnd,
    SinkRun,
    Trouble,
    line_of,
    message_of,
)
from raydash.sinks.log import SinkLog
from raydash.sinks.process import serve
from raydash.supervise.sinks import NoSinks, open_sinks
from tests.fakes.runs.supervised_run import INFO, SupervisedRun

RUN = SinkRun("r1", "CartPole-v1", "", "me@here", "/nowhere", SinksSpec(), {"rollout.seed": 1})


# --- figures ----------------------------------------------------------------------------------


def test_rllibs_names_mean_what_they_mean_there_and_lifetime_figures_say_so() -> None:
    figures = RunFigures(
        elapsed_s=10.0,
        num_env_steps_sampled_lifetime=5000,
        episode_return_mean=20.0,
        recent_return_mean=30.0,
        recent_len_mean=31.0,
        env_steps_per_s_10s=480.0,
    )
    row = row_of(figures, num_workers=3, t_s=12.0)
    assert (row.t_s, row.step) == (12.0, 5000)
    assert row.metrics["episode_return_mean"] == 30.0
    assert row.metrics["episode_return_mean_lifetime"] == 20.0
    assert row.metrics["episode_len_mean"] == 31.0
    assert row.metrics["env_steps_per_s"] == 480.0
    assert row.metrics["env_steps_per_s_lifetime"] == 500.0
    assert row.metrics["num_workers"] == 3


def test_figures_that_are_not_known_yet_are_left_out() -> None:
    row = row_of(RunFigures(), num_workers=1, t_s=0.0)
    assert not any(math.isnan(value) for value in row.metrics.values())
    assert "episode_return_mean" not in row.metrics
    assert row.metrics["num_episodes_lifetime"] == 0


def test_params_are_flat_plain_and_hold_no_path_of_a_token() -> None:
    spec = RunSpec(
        "a name",
        env=EnvSpec("X-v0", {"size": [1, 2]}),
        rollout=RolloutSpec(num_workers=4),
        cluster=ClusterSpec(token_path="/secret"),
        sinks=SinksSpec(wandb_project="p"),
    )
    params = params_of(spec)
    assert params["name"] == "a name"
    assert params["env.kwargs"] == '{"size": [1, 2]}'
    assert params["rollout.num_workers"] == 4
    assert "rollout.hang_timeout_s" not in params
    assert "/secret" not in params.values()
    assert not any(key.startswith("sinks") for key in params)


# --- which sinks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sinks", "keys"),
    [
        (SinksSpec(), []),
        (SinksSpec(wandb_mode="offline", mlflow_experiment="x"), []),
        (SinksSpec(tensorboard="/x"), ["tensorboard"]),
        (SinksSpec(wandb_project="p", mlflow_uri="file:///x"), ["wandb", "mlflow"]),
    ],
)
def test_a_sink_is_used_only_when_its_place_is_named(sinks: SinksSpec, keys: list[str]) -> None:
    assert [kind.key for kind in wanted(sinks)] == keys


def test_a_run_without_sinks_has_none() -> None:
    sinks = open_sinks(RunSpec(), INFO)
    assert isinstance(sinks, NoSinks)
    assert sinks.is_closed
    assert not sinks.wants(1e9)


# --- lines ------------------------------------------------------------------------------------

NAMES = st.text(max_size=8)
ROWS = st.builds(
    Row, st.floats(0, 1e9), st.integers(0), st.dictionaries(NAMES, st.floats(allow_nan=False))
)
LINES = st.one_of(
    ROWS,
    st.builds(RunEnd, ROWS, NAMES, NAMES, NAMES),
    st.builds(Answered, st.integers(0), st.integers(0)),
    st.builds(Trouble, st.sampled_from(Cause), NAMES, NAMES),
    st.builds(
        SinkRun,
        *[NAMES] * 5,
        st.builds(SinksSpec, tensorboard=st.none() | NAMES),
        st.dictionaries(NAMES, NAMES | st.integers() | st.booleans()),
    ),
)


@given(LINES)
def test_message_survives_its_line(message: Message) -> None:
    line = line_of(message)
    assert line.count(b"\n") == 1
    assert message_of(line) == message


@given(st.binary() | st.recursive(st.integers() | NAMES, st.lists).map(json.dumps).map(str.encode))
def test_any_other_line_is_none_of_ours(line: bytes) -> None:
    assert message_of(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b'["Answered", {"num_taken": "x", "num_left_out": 0}]',
        b'["Answered", {}]',
        b'["Answered", 3]',
        b'["Trouble", {"cause": "new", "text": "", "detail": ""}]',
        b'["Row", {"step": 1}]',
        b'["Row", {"t_s": 0, "step": 1, "metrics": {}, "more": 1}]',
        b'["RunEnd", {"row": 3, "state": "x"}]',
        b"[" * 100_000,
    ],
)
def test_line_with_a_wrong_body_is_none_of_ours(line: bytes) -> None:
    assert message_of(line) is None


# --- the process of a sink --------------------------------------------------------------------


class FakeSink:
    """A fake tool that keeps what it gets, and fails if a test says so."""

    told: list[Row | RunEnd]
    failure: Exception | None = None
    start_failure: Exception | None = None

    def __init__(self, run: SinkRun) -> None:
        if FakeSink.start_failure:
            raise FakeSink.start_failure
        FakeSink.told = []

    def write(self, row: Row) -> None:
        if FakeSink.failure:
            raise FakeSink.failure
        FakeSink.told.append(row)

    def close(self, end: RunEnd) -> None:
        if FakeSink.failure:
            raise FakeSink.failure
        FakeSink.told.append(end)


FAKE = SinkKind("fake", "Fake", "fakelib", "x", "", f"{__name__}:FakeSink", lambda sinks: True)


@pytest.fixture(autouse=True)
def _well_behaved() -> Iterator[None]:
    yield
    FakeSink.failure = FakeSink.start_failure = None


def row(step: int) -> Row:
    return Row(float(step), step, {"x": 1.0})


def served(*batches: list[Message]) -> tuple[int, list[Answered | Trouble]]:
    reports: list[Answered | Trouble] = []
    return serve(FAKE, iter(batches), reports.append), reports


def test_rows_are_written_as_they_come_and_the_end_last() -> None:
    end = RunEnd(row(3), "finished")
    code, reports = served([RUN], [row(1)], [row(2)], [end])
    assert code == 0
    assert FakeSink.told == [row(1), row(2), end]
    assert reports[-1] == Answered(3, 0)


def test_of_rows_that_wait_only_the_newest_is_written_and_the_rest_counted() -> None:
    code, reports = served([RUN, row(1)], [row(2), row(3), row(4)], [row(5)])
    assert FakeSink.told == [row(1), row(4), row(5)]
    assert reports[-1] == Answered(6, 2)
    assert code == 1  # the input ended before the run: its parent is gone


def test_rows_that_wait_at_the_end_give_way_to_it() -> None:
    end = RunEnd(row(3), "stopped")
    served([RUN], [row(1), row(2), end])
    assert FakeSink.told == [end]


def test_sink_that_fails_is_told_of_the_next_row_all_the_same() -> None:
    def batches() -> Iterator[list[Message]]:
        yield [RUN]
        FakeSink.failure = OSError("disk full\nmore")
        yield [row(1)]
        FakeSink.failure = None
        yield [row(2)]

    reports: list[Answered | Trouble] = []
    serve(FAKE, batches(), reports.append)
    troubles = [report for report in reports if isinstance(report, Trouble)]
    assert [(trouble.cause, trouble.text) for trouble in troubles] == [
        (Cause.CANNOT_WRITE, "disk full")
    ]
    assert "Traceback" in troubles[0].detail
    assert FakeSink.told == [row(2)]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ModuleNotFoundError("No module named 'fakelib'", name="fakelib"), Cause.MISSING),
        (ModuleNotFoundError("No module named 'other'", name="other"), Cause.CANNOT_START),
        (ImportError("broken"), Cause.CANNOT_START),
        (RuntimeError(), Cause.CANNOT_START),
    ],
)
def test_sink_that_cannot_start_says_why_and_ends(error: Exception, cause: Cause) -> None:
    FakeSink.start_failure = error
    code, reports = served([RUN], [row(1)])
    assert code == 0
    assert [report.cause for report in reports if isinstance(report, Trouble)] == [cause]
    assert all(report.text for report in reports if isinstance(report, Trouble))


def test_failure_at_the_end_is_told() -> None:
    FakeSink.failure = OSError("gone")
    _, reports = served([RUN], [RunEnd(row(1), "finished")])
    assert [report.cause for report in reports if isinstance(report, Trouble)] == [
        Cause.CANNOT_FINISH
    ]


# --- the log ----------------------------------------------------------------------------------


def test_log_is_bounded_over_all_lives(tmp_path: Path) -> None:
    for _ in range(2):
        log = SinkLog(tmp_path / "new" / "sink.log", max_bytes=100)
        for number in range(10):
            log.write(b"%9d\n" % number * 3)
        log.close()
    assert log.path.stat().st_size == 100
    assert log.tail().endswith("9\n")


def test_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    log = SinkLog(file / "sink.log")
    log.write(b"words")
    log.close()
    assert log.tail() == "words"


# --- the supervisor's side --------------------------------------------------------------------


class KeptSinks(NoSinks):
    """Fake sinks that keep what the supervisor passes on."""

    def __init__(self) -> None:
        self.offered: list[tuple[float, int]] = []
        self.last: RunUpdate | None = None
        self.is_closed = False

    def wants(self, t_s: float) -> bool:
        return not self.offered or t_s - self.offered[-1][0] >= 1.0

    def offer(
        self,
        figures: RunFigures,
        num_workers: int,
        t_s: float,
        learning: LearningFigures | None = None,
    ) -> None:
        self.offered.append((t_s, figures.num_env_steps_sampled_lifetime))

    def close(self, last: RunUpdate) -> None:
        assert self.last is None
        self.last = last


def test_supervisor_offers_figures_once_a_second_and_the_last_ones_at_the_end() -> None:
    sinks = KeptSinks()
    run = SupervisedRun(2, sinks=sinks)
    reader = run.reader()
    run.turns(10.0, reader)
    assert 8 <= len(sinks.offered) <= 11
    assert sinks.offered == sorted(sinks.offered)
    run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    assert sinks.last is not None
    assert sinks.last.state is RunState.STOPPED
    assert sinks.last.figures.num_env_steps_sampled_lifetime == run.ledger.num_env_steps()


def test_supervisor_stays_until_its_sinks_have_ended_but_readers_need_not_wait() -> None:
    sinks = KeptSinks()
    run = SupervisedRun(1, sinks=sinks)
    reader = run.reader()
    run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    assert not run.supervisor.is_done
    sinks.is_closed = True
    assert run.supervisor.is_done
