"""Reports: one file that opens offline, says what the recording says, and can execute nothing."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raydash.core.events import Event, EventKind
from raydash.core.faults import FaultError
from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import EpisodeColumns
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec
from raydash.core.states import EndedBy, Ending, RunState
from raydash.core.words import numbers
from raydash.record.file.database import connect
from raydash.record.file.rows import RecordBatch, RunEndRow, RunRow
from raydash.record.read.query import figures
from raydash.record.report.facts import read_facts
from raydash.record.report.report import render, write_report
from raydash.record.report.svg import HEIGHT, WIDTH, Axis, Band, Bars, Line, chart
from raydash.record.write.recorder import Recorder
from raydash.terminal.commands.recordings.reporting import report_recordings
from tests.fakes.recordings.finished_run import mixed_episodes, totals_of
from tests.fakes.recordings.recordings import incarnation_row, write_schema_1

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SPEC = RunSpec(name="cart", rollout=RolloutSpec(num_workers=2, seed=7))
NASTY = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "🚀 \u202egnp.exe \x00\x1b[31m",
    "ü" * 300,
    "</style></title><svg onload=alert(1)>",
)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Record a run of ten seconds with the real recorder."""

    def record(
        number: int = 0,
        spec: RunSpec = SPEC,
        count: int = 400,
        *,
        episodes: EpisodeColumns | None = None,
        events: tuple[Event, ...] = (),
        machine: dict[str, str | int] | None = None,
        is_closed: bool = True,
        cause: str = "",
    ) -> Path:
        made = mixed_episodes(count, seed=number) if episodes is None else episodes
        run_id = f"20261122-10150{number}-cart-{number:04x}"
        path = tmp_path / f"{run_id}.duckdb"
        recorder = Recorder(path, clock=lambda: 0.0, commit_interval_s=0.0)
        row = RunRow(run_id, spec, "ada@bench", "2026-11-22T10:15:00+00:00")
        row = row if machine is None else replace(row, machine=machine)
        recorder.begin(row, incarnation_row())
        recorder.append(
            RecordBatch(
                t_s=10.0,
                elapsed_s=9.0,
                commanded=RequestedState(num_workers=2),
                episodes=made,
                totals=[(worker, 0, totals_of(made, worker)) for worker in (1, 2)],
                events=list(events),
            )
        )
        end = RunEndRow(
            RunState.FINISHED, EndedBy.EPISODES, cause, "2026-11-22T10:15:10+00:00", 10.0, 9.0
        )
        assert recorder.close(end if is_closed else None)
        return path

    return record


class Page(HTMLParser):
    """Collects what a browser would find in a page: its elements, attributes and text."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def page_of(*paths: Path) -> Page:
    page = Page(render([read_facts(path) for path in paths], now=NOW))
    assert page.open == []
    return page


def check_harmless(page: Page) -> None:
    """Assert that a page has nothing that executes, loads or sends."""
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "img"} & {*page.tags}
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("style", "src", "srcset", "action"), (tag, name)
        if name in ("href", "xlink:href"):
            assert re.fullmatch(r"#run\d+", value), value
        if name == "xmlns":
            assert value == "http://www.w3.org/2000/svg"


def svgs(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


# --- the page ---


def test_a_report_says_what_the_recording_says(write: Write, tmp_path: Path) -> None:
    path, out = write(), tmp_path / "report.html"
    write_report([path], out, now=NOW)
    text = out.read_text("utf-8")
    page, known = Page(text), figures(path)
    check_harmless(page)
    for number in (
        known.num_episodes_lifetime,
        known.num_env_steps_sampled_lifetime,
        known.num_episodes_terminated_lifetime,
        known.num_episodes_truncated_lifetime,
        known.num_episodes_error_lifetime,
    ):
        assert numbers.count(number) in "".join(page.texts)
    assert numbers.decimal(known.episode_return_mean) in "".join(page.texts)
    for said in ("CartPole-v1", "seed 7", "finished", "ada@bench", "numpy", "2026-11-24 08:00"):
        assert said in page.text, said
    titles = [svg.find("{http://www.w3.org/2000/svg}title") for svg in svgs(text)]
    assert [title.text for title in titles if title is not None] == [
        "Episode return",
        "Endings per second",
        "Env steps per second",
        "Distribution of returns",
        "Distribution of lengths",
    ]


def test_no_byte_comes_from_elsewhere(write: Write) -> None:
    text = render([read_facts(write())], now=NOW)
    assert "default-src 'none'" in text
    urls = set(re.findall(r"(?:https?:)?//[\w.-]+\w[^\s\"'<]*", text))
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_of_a_recording_breaks_or_executes_anything(nasty: str, write: Write) -> None:
    spec = RunSpec(
        name=nasty, env=EnvSpec(nasty or "x", {nasty: nasty}), rollout=RolloutSpec(num_workers=2)
    )
    event = Event(1, 1.0, EventKind.ENV_ERROR, nasty, 1, f"Traceback\n{nasty}", 2)
    machine: dict[str, str | int] = {nasty: nasty}
    first = write(0, spec, events=(event,), machine=machine, cause=nasty)
    second = write(1, replace(spec, rollout=RolloutSpec(num_workers=2, seed=1)))
    text = render([read_facts(first), read_facts(second)], now=NOW, titles=[nasty, ""])
    plain = Page(render([read_facts(write(2, replace(SPEC, name="a"), events=(event,)))], now=NOW))
    page = Page(text)
    check_harmless(page)
    assert page.open == []
    assert {*page.tags} - {*plain.tags} <= {"a", "br", "h2", "span"}
    assert not re.search(r"[\x00-\x08\x1b\u202e]", text)
    shown = re.sub(r"[\x00\x1b\u202e]", "\ufffd", nasty)
    assert " ".join(shown.split()) in page.text
    for svg in svgs(text):
        assert {element.tag.rpartition("}")[2] for element in svg.iter()} <= {
            *("svg", "title", "desc", "path", "rect", "text")
        }
    text.encode("utf-8")


def test_half_of_a_character_does_not_spoil_the_rest(write: Write, tmp_path: Path) -> None:
    path = write()
    connection = connect(path)
    spec = json.dumps({"name": "\ud800 half", "env": {"id": "X-v1"}})
    connection.execute("UPDATE run SET spec_json = ?", [spec])
    connection.close()
    write_report([path], tmp_path / "report.html", now=NOW)
    assert "\ufffd half" in (tmp_path / "report.html").read_text("utf-8")


def test_several_runs_lie_over_one_another_first(write: Write) -> None:
    runs = [write(n, replace(SPEC, rollout=RolloutSpec(num_workers=2, seed=n))) for n in range(3)]
    other = write(3, RunSpec(name="other", env=EnvSpec("Acrobot-v1")))
    text = render([read_facts(path) for path in (*runs, other)], now=NOW)
    page = Page(text)
    check_harmless(page)
    headings = [
        title.text
        for svg in svgs(text)
        if (title := svg.find("{http://www.w3.org/2000/svg}title")) is not None
    ]
    assert headings[:3] == [
        "Episode return over time",
        "Episode return over env steps",
        "Seeds together: median and bootstrap 95 % interval",
    ]
    assert page.text.index("Figures side by side") < page.text.index("How it was run")
    for said in ("cart · seed 0", "cart · seed 2", "cart, n = 3", "env.id", "Acrobot-v1"):
        assert said in page.text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len({*ids})


def test_the_best_is_marked_side_by_side(write: Write) -> None:
    low = mixed_episodes(50, returns=np.full(50, 1.0))
    high = mixed_episodes(50, returns=np.full(50, 2.0))
    text = render(
        [read_facts(write(0, episodes=low)), read_facts(write(1, episodes=high))], now=NOW
    )
    row = re.search(r"Episode return, mean</th>(.*?)</tr>", text, re.DOTALL)
    assert row is not None
    cells = re.findall(r"<td( class=\"best\")?[^>]*>([^<]*)", row.group(1))
    assert cells == [("", "1"), (' class="best"', "2")]


def test_events_fold_their_tracebacks_away_and_are_limited(write: Write) -> None:
    events = tuple(
        Event(n, n / 100, EventKind.ENV_ERROR, f"error {n}", 1, f"Traceback {n}", 1)
        for n in range(1, 402)
    )
    page = page_of(write(events=events))
    assert page.tags.count("details") == 300
    assert "101 older ones" in page.text.replace("\u202f", " ")
    assert "Traceback 401" in page.text
    assert "Traceback 101 " not in page.text


def test_a_run_without_episodes_has_a_report(write: Write) -> None:
    page = page_of(write(episodes=EpisodeColumns(), is_closed=False))
    check_harmless(page)
    assert "interrupted" in page.text
    assert "was not closed" in page.text


def test_an_older_recording_has_a_report(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    write_schema_1(path)
    assert "CartPole-v1" in page_of(path).text


@pytest.mark.parametrize(
    "returns",
    [
        [math.inf, 1.0, 2.0],
        [-1e30, 1e30, 0.0],
        [1e-300, 2e-300, 3e-300],
        [5.0, 5.0, 5.0],
        [1e15, 1e15 + 1, 1e15 + 2],
        [-3.0, -2.0, -1.5],
    ],
)
def test_returns_of_any_size_can_be_drawn(returns: list[float], write: Write) -> None:
    episodes = mixed_episodes(3, returns=np.array(returns))
    text = render([read_facts(write(episodes=episodes))], now=NOW)
    for svg in svgs(text):
        for element in svg.iter():
            for value in element.attrib.values():
                assert "nan" not in value.split()
                assert "inf" not in value


def test_a_histogram_counts_every_episode_once(write: Write) -> None:
    path = write(count=5000)
    facts = read_facts(path)
    good = facts.figures.num_episodes_lifetime
    good -= facts.figures.num_episodes_error_lifetime
    for histogram in (facts.returns, facts.lengths):
        assert histogram is not None
        assert histogram.counts.sum() == good
        assert 1 <= len(histogram.counts) <= 101
        assert np.all(np.diff(histogram.edges) > 0)


def test_whole_returns_have_bins_of_whole_numbers(write: Write) -> None:
    episodes = mixed_episodes(40, returns=np.repeat([1.0, 2.0, 4.0, 4.0], 10))
    histogram = read_facts(write(episodes=episodes)).returns
    assert histogram is not None
    assert histogram.edges.tolist() == [1, 2, 3, 4, 5]
    assert histogram.counts.tolist() == [10, 10, 0, 20]


# --- the file ---


def test_a_report_is_there_whole_or_not_at_all(write: Write, tmp_path: Path) -> None:
    good, bad = write(), tmp_path / "bad.duckdb"
    bad.write_bytes(b"not a database")
    folder = tmp_path / "reports"
    folder.mkdir()
    with pytest.raises(FaultError):
        write_report([good, bad], folder / "report.html")
    assert list(folder.iterdir()) == []


def test_what_is_there_is_only_replaced_when_asked(write: Write, tmp_path: Path) -> None:
    path, out = write(), tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(FaultError) as refused:
        write_report([path], out)
    assert refused.value.fault.bad_input
    assert out.read_text() == "mine"
    write_report([path], out, force=True)
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["report.duckdb", "report", "gone/report.html"])
def test_a_place_where_no_report_belongs_is_refused(
    name: str, write: Write, tmp_path: Path
) -> None:
    path = write()
    with pytest.raises(FaultError) as refused:
        write_report([path], tmp_path / name, force=True)
    assert refused.value.fault.bad_input
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("count", [0, 51])
def test_too_few_or_too_many_runs_are_refused(count: int, write: Write, tmp_path: Path) -> None:
    path = write()
    with pytest.raises(FaultError) as refused:
        write_report([path] * count, tmp_path / "report.html")
    assert refused.value.fault.bad_input


def test_the_command_finds_runs_in_the_library_and_calls_them_by_their_titles(
    private_dirs: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = private_dirs / "d" / "runs"
    runs.mkdir(parents=True)
    path = write()
    path.rename(runs / path.name)
    (runs / f"{path.stem}.notes.json").write_text(json.dumps({"title": "my <b>best</b>"}))
    out = tmp_path / "report.html"
    assert report_recordings([path.stem[:-3], path.stem], out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    page = Page(out.read_text("utf-8"))
    assert page.text.count("my <b>best</b>") >= 2
    with pytest.raises(FaultError) as refused:
        report_recordings(["nothing-like-it"], tmp_path / "other.html")
    assert refused.value.fault.bad_input


# --- pictures ---


COLUMN = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20).map(
    np.array
)


@given(x=COLUMN, y=COLUMN, clock=st.booleans(), whole=st.booleans())
@example(x=np.array([0.0]), y=np.array([6e-18]), clock=False, whole=True)
def test_any_numbers_give_a_picture_inside_its_frame(
    x: np.ndarray, y: np.ndarray, clock: bool, whole: bool
) -> None:
    x = np.sort(np.nan_to_num(np.abs(x), posinf=1e6)) % 1e9
    x, n = np.sort(x[: len(y)]), min(len(x), len(y))
    y = y[:n]
    layers: list[Line | Band | Bars] = [
        Line(x, y, "c0", "line"),
        Band(x, y, y, "c1", "band"),
        Bars(np.append(x, x[-1] + 1), np.zeros(n), np.where(np.isfinite(y), y, 0.0), "c2"),
    ]
    made = chart("p", "t", "d", Axis("x", is_clock=clock), Axis("y", whole=whole), layers)
    root = ElementTree.fromstring(made)
    assert root.get("role") == "img"
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        drawn = path.get("d") or ""
        assert "nan" not in drawn
        for number in re.findall(r"-?\d+\.\d", drawn):
            assert -1 <= float(number) <= max(WIDTH, HEIGHT) + 1


def test_all_endings_are_stacked(write: Write) -> None:
    text = render([read_facts(write())], now=NOW)
    endings = next(svg for svg in svgs(text) if "Endings" in ElementTree.tostring(svg, "unicode"))
    classes = [path.get("class") for path in endings.iter("{http://www.w3.org/2000/svg}path")]
    for kind in Ending:
        assert f"bars {kind.name.lower()}" in classes
