"""The first line of a worker's output, by which whoever reads the file knows whose it is."""

import sys

TAG = ":raydash_worker:"
"""Begins with a colon like Ray's own such lines."""


def print_tag(run_id: str, worker_index: int) -> None:
    """Say on stdout and on stderr which worker this is."""
    for stream in (sys.stdout, sys.stderr):
        print(f"{TAG}{run_id} worker {worker_index}", file=stream, flush=True)
