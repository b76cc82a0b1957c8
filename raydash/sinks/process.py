"""The process of one sink of one run: `python -m raydash.sinks.process KIND PARENT_PID`.

It reads lines from its input and passes them on to the tool. Libraries that upload, hang, print,
crash or fork do so here, where a run never waits for them. The process ends with its parent,
whatever the tool does.
"""

import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from raydash.cluster.processes import end_with
from raydash.sinks.kinds import Sink, SinkKind, kind_of
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

NICENESS = 10
"""Lower priority than the supervisor, higher than the rollouts, which would take all CPU time."""
_READ_BYTES = 1 << 16

Report = Callable[[Answered | Trouble], None]


def message_batches(descriptor: int) -> Iterator[list[Message]]:
    """Yield all waiting messages as soon as there is one, until the input ends."""
    rest = b""
    while True:
        chunk = os.read(descriptor, _READ_BYTES)
        if not chunk:
            return
        rest += chunk
        while select.select([descriptor], [], [], 0)[0]:
            more = os.read(descriptor, _READ_BYTES)
            if not more:
                break
            rest += more
        *lines, rest = rest.split(b"\n")
        messages = [message for line in lines if (message := message_of(line)) is not None]
        if messages:
            yield messages


def serve(kind: SinkKind, requests: Iterator[list[Message]], report: Report) -> int:
    """Pass a run on to a tool until the run or the input ends.

    If several rows wait, only the newest is written: a slow tool shows fewer points, but never old
    ones.

    Returns:
        The exit code: 0 unless the input ended before the run.
    """
    sink: Sink | None = None
    num_taken = num_left_out = 0
    for messages in requests:
        rows = [message for message in messages if isinstance(message, Row)]
        ends = [message for message in messages if isinstance(message, RunEnd)]
        for message in messages:
            if isinstance(message, SinkRun) and sink is None:
                try:
                    sink = kind.open(message)
                except Exception as error:
                    report(_why_not_started(kind, error))
                    return 0
        if sink is not None and rows and not ends:
            _attempt(Cause.CANNOT_WRITE, partial(sink.write, rows[-1]), report)
        num_left_out += max(0, len(rows) - 1)
        num_taken += len(messages) - len(ends)
        report(Answered(num_taken, num_left_out))
        if ends:
            if sink is not None:
                _attempt(Cause.CANNOT_FINISH, partial(sink.close, ends[0]), report)
            return 0
    return 1


def _attempt(cause: Cause, act: Callable[[], None], report: Report) -> None:
    try:
        act()
    except Exception as error:
        report(Trouble(cause, _words(error), traceback.format_exc()))


def _why_not_started(kind: SinkKind, error: Exception) -> Trouble:
    is_missing = isinstance(error, ModuleNotFoundError) and error.name == kind.library
    cause = Cause.MISSING if is_missing else Cause.CANNOT_START
    return Trouble(cause, _words(error), traceback.format_exc())


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def main() -> int:
    """Serve the sink that the command line names."""
    key, parent_pid = sys.argv[1:3]
    # This loses nothing that was written. To the tool the run then looks like what it is: cut off,
    # or about to go on.
    end_with(int(parent_pid))
    os.nice(NICENESS)
    # What a library prints must go to the log, and it must not read our messages.
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    code = serve(
        kind_of(key), message_batches(requests), lambda answer: _write_all(replies, line_of(answer))
    )
    os.close(replies)
    return code


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    sys.exit(main())
