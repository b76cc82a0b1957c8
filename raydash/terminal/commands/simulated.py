"""What `--simulated N` means: which options it goes with, and where such runs are recorded."""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

from raydash.child_process import SIMULATED_ENGINE_COMMAND
from raydash.core.spec import ClusterSpec, RunSpec, named_simulated
from raydash.core.spec_rules import SpecError, Violation

_VARIABLE = "RAYDASH_DATA_DIR"


def simulated_spec(spec: RunSpec, num_workers: int, others: Mapping[str, object]) -> RunSpec:
    """Give a spec so many workers and no cluster.

    `others` are the command's options that do not go with `--simulated`, by name; those that were
    not given are None, False or empty.

    Raises:
        SpecError: if one of them was given, or the run would learn.
    """
    violations = [
        Violation(option, "does not go with --simulated", "one of the two")
        for option, value in others.items()
        if value
    ]
    if spec.learner.kind is not None:
        violations.append(
            Violation("learner.kind", "simulated workers do not learn", "none with --simulated")
        )
    if violations:
        raise SpecError(tuple(violations))
    rollout = replace(spec.rollout, num_workers=num_workers)
    return replace(spec, rollout=rollout, cluster=ClusterSpec())


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """Let this process and its children use a new data folder, which is gone at the end."""
    before = os.environ.get(_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="raydash-simulated-", ignore_cleanup_errors=True) as at:
        os.environ[_VARIABLE] = at
        try:
            yield Path(at)
        finally:
            del os.environ[_VARIABLE]
            if before is not None:
                os.environ[_VARIABLE] = before


def run_simulated(read_spec: Callable[[], RunSpec], *, in_process: bool, as_json: bool) -> int:
    """Play a run with simulated workers and print how it went; return the exit code.

    `read_spec` returns what `simulated_spec` returned, or raises `SpecError`. With `in_process`,
    engine and supervisor are threads of this process.
    """
    from raydash.terminal.commands.run import run_headless
    from raydash.terminal.engine_client import EngineClient

    play = partial(
        run_headless,
        lambda: named_simulated(read_spec()),
        as_json=as_json,
        trust_policy=True,  # no policy is loaded
        is_simulated=True,
    )
    with temporary_data_dir():
        if not in_process:
            return play(open_engine=partial(EngineClient, SIMULATED_ENGINE_COMMAND))
        # By its name, because it imports DuckDB, which no other command needs.
        open_engine = importlib.import_module("raydash.in_process").open_engine
        out = sys.stdout
        with redirect_stdout(sys.stderr):  # an engine prints its log
            return play(open_engine=open_engine, out=out)
