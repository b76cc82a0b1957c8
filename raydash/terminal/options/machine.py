"""Commands about raydash itself on this machine."""

import importlib
import os
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import typer

from raydash.terminal.options.shared import Json, exit_with, refuse

commands = typer.Typer()


class Bench(NamedTuple):
    """One of the measurements that `raydash bench` can make.

    Attributes:
        module: The module whose `run(as_json=...)` measures and returns the exit code.
        what: What it measures, for the help.
    """

    module: str
    what: str


BENCHES: Mapping[str, Bench] = {
    "rollout": Bench(
        "raydash.bench.rollouts.rollout", "rollouts, against the same loop with nothing around it"
    ),
    "modes": Bench(
        "raydash.bench.rollouts.modes", "the three ways to execute, against a hand-written Ray loop"
    ),
    "peers": Bench(
        "raydash.bench.rollouts.peers",
        "the same rollouts by other tools (installs them for it: 2 GB)",
    ),
    "learning": Bench("raydash.bench.rollouts.learning", "how long a policy takes to learn"),
    "startup": Bench(
        "raydash.bench.window.startup",
        "how soon the window is there, and the first episode finished",
    ),
    "reactions": Bench(
        "raydash.bench.window.reactions",
        "how soon the window shows what happened, and does what is asked",
    ),
    "ui": Bench("raydash.bench.window.ui", "what a frame of the window costs with 256 workers"),
    "history": Bench(
        "raydash.bench.disk.history", "how fast 50 million episodes answer for a plot"
    ),
    "recording": Bench(
        "raydash.bench.disk.recording", "what recording costs, in throughput and on disk"
    ),
    "memory": Bench(
        "raydash.bench.disk.memory", "whether a supervisor's memory stays flat over a day"
    ),
}


@commands.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine lacks, and the line that mends it. Exit code 2 if it lacks anything."""
    from raydash.terminal.commands.doctor import print_report

    exit_with(lambda: print_report(as_json=as_json))


@commands.command(
    epilog="\b\nWhat can be measured (NAME):\n"
    + "\n".join(f"  {name:<10} {bench.what}" for name, bench in BENCHES.items())
)
def bench(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to measure; see below.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure raydash on this machine, which should have nothing else to do."""
    if name is None or name not in BENCHES:
        raise typer.Exit(refuse(f"no bench {name or 'was named'}; there are {', '.join(BENCHES)}"))
    module = importlib.import_module(BENCHES[name].module)
    exit_with(lambda: module.run(as_json=as_json))


@commands.command()
def engine() -> None:
    """What a window starts, here or through ssh.

    It speaks frames on stdin and stdout, and ends with its input.
    """
    from raydash.child_process import ENGINE_COMMAND, child_environment

    # A new interpreter in the same process, because byte-code settings are read at its start.
    os.execve(ENGINE_COMMAND[0], ENGINE_COMMAND, child_environment())
