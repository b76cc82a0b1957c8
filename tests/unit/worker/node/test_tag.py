"""A task's output is tagged with its worker; a task that prints nothing writes no tag."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from raydash.worker.node.tag import TAG, TaggedOutput

Streams = tuple[io.StringIO, io.StringIO]


@contextmanager
def streams() -> Iterator[Streams]:
    """Replace stdout and stderr. (A fixture would be overridden by pytest's own capture.)"""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        yield out, err
        assert (sys.stdout, sys.stderr) == (out, err)


def test_first_word_is_preceded_by_who_speaks_and_after_the_last_it_is_nobody() -> None:
    with streams() as (out, err), TaggedOutput("run", "worker 3"):
        print("hello")
        print("again")
        print("trouble", file=sys.stderr)
    assert out.getvalue() == f"{TAG}run worker 3\nhello\nagain\n{TAG}run tasks\n"
    assert err.getvalue() == f"{TAG}run worker 3\ntrouble\n{TAG}run tasks\n"


def test_who_says_nothing_leaves_no_trace() -> None:
    with streams() as both, TaggedOutput("run", "worker 3"):
        print("", end="")
    assert [stream.getvalue() for stream in both] == ["", ""]


def test_unfinished_line_is_not_joined_to_what_others_say() -> None:
    with streams() as (out, _):
        with TaggedOutput("run", "worker 1"):
            sys.stdout.writelines(["no ", "end"])
        with TaggedOutput("run", "worker 2"):
            print("other")
    assert out.getvalue().splitlines() == [
        f"{TAG}run worker 1",
        "no end",
        f"{TAG}run tasks",
        f"{TAG}run worker 2",
        "other",
        f"{TAG}run tasks",
    ]


def test_error_in_user_code_gives_the_streams_back() -> None:
    with streams() as (out, _):
        with suppress(RuntimeError), TaggedOutput("run", "worker 1"):
            print("now")
            raise RuntimeError
        assert sys.stdout is out
    assert out.getvalue().endswith(f"now\n{TAG}run tasks\n")


def test_without_a_run_nothing_is_changed() -> None:
    with streams() as (out, _), TaggedOutput("", "worker 1"):
        assert sys.stdout is out
        print("plain")
    assert out.getvalue() == "plain\n"


def test_stream_of_a_speaker_is_otherwise_the_stream_below(tmp_path: Path) -> None:
    with (
        (tmp_path / "out").open("w", encoding="ascii") as below,
        redirect_stdout(below),
        TaggedOutput("run", "worker 1"),
    ):
        assert sys.stdout.fileno() == below.fileno()
        assert sys.stdout.encoding == "ascii"
