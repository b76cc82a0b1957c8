"""What a worker says of itself in its output, by which whoever reads the file knows whose it is.

A process that is one worker's says it once, in its first line. A task runs in a process that works
for everybody: it says it before the first word that it prints, and takes it back at its end, so
that a task that prints nothing writes nothing.
"""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO, cast

TAG = ":raydash_worker:"
"""Begins with a colon like Ray's own such lines."""
TASKS = "tasks"
"""Who prints in a process of tasks what does not go through `sys.stdout` or `sys.stderr`."""


def print_tag(run_id: str, who: str) -> None:
    """Say on stdout and on stderr who this is: `worker 3`."""
    for stream in (sys.stdout, sys.stderr):
        print(f"{TAG}{run_id} {who}", file=stream, flush=True)


class TaggedOutput:
    """While this block runs, `sys.stdout` and `sys.stderr` are those of one worker of one run.

    Args of the constructor:
        run_id: Whose worker; empty: nothing is changed.
        who: As in `print_tag`.
    """

    def __init__(self, run_id: str, who: str) -> None:
        self._run_id = run_id
        self._who = who
        self._before: tuple[TextIO, TextIO] | None = None
        self._voices: tuple[_TaggedStream, ...] = ()

    def __enter__(self) -> None:
        if self._run_id:
            self._before = (sys.stdout, sys.stderr)
            tag, after = (f"{TAG}{self._run_id} {who}\n" for who in (self._who, TASKS))
            out, err = (_TaggedStream(stream, tag, after) for stream in self._before)
            self._voices = (out, err)
            sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            sys.stdout, sys.stderr = self._before
            for voice in self._voices:
                voice.end()


class _TaggedStream:
    """A stream whose first word is preceded by a line that says who speaks."""

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
        """Whoever prints next is somebody else."""
        if self._last:
            self._stream.write(self._after if self._last == "\n" else f"\n{self._after}")
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
