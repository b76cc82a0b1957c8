"""The first line of a worker's output, by which whoever reads the file knows whose it is."""

import sys

TAG = ":raydash_worker:"
"""Begins with a colon like Ray's own such lines."""


def print_tag(run_id: str, who: str) -> None:
    """Say on stdout and on stderr who this is: `worker 3`."""
    for stream in (sys.stdout, sys.stderr):
        print(f"{TAG}{run_id} {who}", file=stream, flush=True)
