"""Options and arguments that several commands share, and how a command ends."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from raydash.core.spec import POLICY_KINDS

_ENV_HELP = "Gymnasium id, module:Id or package.module:callable"


def use_data_dir(folder: str | None) -> str | None:
    """Set the data folder in the environment, which the engine and its supervisors inherit."""
    if folder is not None:
        if not folder.strip():
            raise typer.BadParameter("it is empty", param_hint="--data-dir")
        os.environ["RAYDASH_DATA_DIR"] = str(Path(folder).expanduser().absolute())
    return folder


SpecPath = Annotated[
    Path | None, typer.Argument(metavar="SPEC.toml", help="A spec file.", show_default=False)
]
EnvId = Annotated[str, typer.Argument(metavar="ID", help=f"{_ENV_HELP}.")]
ENV_OPTION = typer.Option(
    metavar="ID", help=f"{_ENV_HELP}; default: CartPole-v1.", show_default=False
)
EnvKwargs = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="Keyword arguments of the environment: '{\"gravity\": 1.6}'.",
        show_default=False,
    ),
]
EnvsPerWorker = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="Environments that each worker steps together; default: 1.",
        show_default=False,
    ),
]
Vectorization = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="none, sync, vector_entry_point (the environment's own vector form), or envpool "
        "(EnvPool's environment of that name); default: sync if there are several.",
        show_default=False,
    ),
]
POLICY_WORDS = ", ".join(POLICY_KINDS) + ", or MODULE:CALLABLE"
"""The kinds of policies that `--policy` takes, for the help."""
PolicyPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The policy's weights (.npz), .onnx or .zip file, or RLlib checkpoint.",
        show_default=False,
    ),
]
Action = Annotated[
    str | None,
    typer.Option(
        metavar="JSON", help="What a constant policy does: 1, or '[0.5, 0]'.", show_default=False
    ),
]
TrustPolicy = Annotated[
    bool,
    typer.Option(
        "--trust-policy",
        help="Load an sb3 or rllib policy unasked: its file can execute code.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A running Ray that this machine is a node of; default: launch one here.",
        show_default=False,
    ),
]
LiveAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A running Ray that this machine is a node of; default: the one launched here.",
        show_default=False,
    ),
]
LIVE_RUN_ARGUMENT = typer.Argument(
    metavar="RUN", help="A live run's id, its beginning, or its name.", show_default=False
)
Recording = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, a unique beginning of one, its title, or its file."
    ),
]
Recordings = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="Ids, unique beginnings of ids, titles, or files of runs."),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        callback=use_data_dir,
        is_eager=True,
        help="Where recordings are kept; like RAYDASH_DATA_DIR.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def examples(*lines: str) -> str:
    """Format command lines to copy, for the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def exit_with(command: Callable[[], int]) -> None:
    """Run a command and exit with the code that it returns; print a fault on stderr."""
    from raydash.core.faults import FaultError
    from raydash.terminal.commands.faults import fault_text

    try:
        code = command()
        sys.stdout.flush()
    except FaultError as error:
        print(fault_text(error.fault), file=sys.stderr)
        code = 2 if error.fault.bad_input else 3
    except OSError as error:  # errors of other files are faults by now, so this is about stdout
        code = 0
        if not isinstance(error, BrokenPipeError):
            what = error.filename or "the answer could not be written"
            print(f"raydash: {what}: {error.strerror or error}", file=sys.stderr)
            code = 3
        # Nobody reads on after `raydash runs | head`: keep Python from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(code)


def refuse(*lines: str) -> int:
    """Print on stderr what is wrong with the input, and return the exit code."""
    for line in lines:
        print(f"raydash: {line}", file=sys.stderr)
    return 2
