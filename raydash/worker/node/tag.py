"""Tags output with the worker that printed it, so that a reader of the file can tell whose it is.

The process of a single worker prints its tag once, as its first line. A task runs in a process that
serves many workers: it prints its tag before its first output and a neutral one at its end, so that
a task that prints nothing writes nothing.
"""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO, cast

TAG = ":raydash_worker:"
"""Starts with a colon, like the lines by which Ray tags its output."""
TASKS = "tasks"
"""Names the author of output between tasks, or past `sys.stdout` and `sys.stderr`."""


def print_tag(run_id: str, who: str) -> None:
    """Print the tag of `who`, such as `worker 3`, on stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        print(f"{TAG}{run_id} {who}", file=stream, flush=True)


class TaggedOutput:
    """A context in which everything printed is tagged as the output of one worker of one run.

    An empty `run_id` changes nothing; `who` is a name as in `print_tag`.
    """

    def __init__(self, run_id: str, who: str) -> None:
        self._run_id = run_id
        self._who = who
        self._before: tuple[TextIO, TextIO] | None = None
        self._streams: tuple[_TaggedStream, ...] = ()

    def __enter__(self) -> None:
        if self._run_id:
            self._before = (sys.stdout, sys.stderr)
            tag, after = (f"{TAG}{self._run_id} {who}\n" for who in (self._who, TASKS))
            out, err = (_TaggedStream(stream, tag, after) for stream in self._before)
            self._streams = (out, err)
            sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            sys.stdout, sys.stderr = self._before
            for stream in self._streams:
                stream.end()


class _TaggedStream:
    """A stream that writes a tag before the first text."""

    def __init__(self, stream: TextIO, tag: str, after: str) -> None:
        self._stream = stream
        self._tag = tag
        self._after = after
        self._last = ""

    def write(self, text: str) -> int:
        if not text:
            return 0
        if not self._last:
            self._stream.write(self._tag)
        self._last = text[-1]
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Write the closing tag if anything was printed, as later output is not this worker's."""
        if self._last:
            self._stream.write(self._after if self._last == "\n" else f"\n{self._after}")
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
