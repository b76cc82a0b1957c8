"""`raydash` and its commands. Each imports what it needs when it is called: `--help` is instant."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from raydash.terminal.options import environments, machine, recordings, running
from raydash.terminal.options.shared import examples, refuse, use_data_dir
from raydash.version import __version__

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Runs": ("gui", "run", "ps", "stop", "swap", "cluster"),
    "Recordings": ("runs", "show", "note", "delete", "prune", "export", "report", "import"),
    "Environments and policies": ("check-env", "evaluate"),
    "This machine": ("doctor", "bench", "engine"),
}
"""Every command, in the order of the help."""
_PLAIN = ("--help", "-h", "--version")


def _without_data_dir(args: list[str]) -> list[str]:
    """Apply and remove a `--data-dir DIR` that stands before the command."""
    while args and args[0].startswith("--data-dir"):
        name, is_joined, folder = args[0].partition("=")
        if name != "--data-dir" or not (is_joined or len(args) > 1):
            break  # left for the parser of options, which says what is wrong with it
        use_data_dir(folder if is_joined else args[1])
        args = args[1:] if is_joined else args[2:]
    return args


class _WindowByDefault(TyperGroup):
    """Opens the window without a command: `raydash [SPEC.toml] [--start]` is `raydash gui ...`."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = _without_data_dir(args)
        first = args[0] if args else ""
        if first not in self.commands and first not in _PLAIN:
            is_word = first.isidentifier() and not Path(first).exists()
            if is_word:
                near = difflib.get_close_matches(first, self.commands, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                ctx.fail(f"{first} is neither a command nor a spec file.{hint}")
            args = ["gui", *args]
        return super().parse_args(ctx, args)

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        # Not as typer does it, which knows no sections and cuts the sentences off.
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(1000)) for name in names]
                )


app = typer.Typer(
    cls=_WindowByDefault,
    help=(
        "Launch, control and live-plot reinforcement-learning rollouts on Ray.\n\n"
        "Without a command, the window opens: raydash SPEC.toml --start"
    ),
    epilog=(
        "raydash COMMAND --help says more of a command.\n\n"
        "Exit codes: 0 done, 2 bad input (nothing was started), 3 the cluster, the engine or a "
        "disk failed, 4 the run failed, 130 interrupted.\n\n"
        + examples(
            "raydash                                    open the window",
            "raydash run --env Acrobot-v1 --for 20      20 s of rollouts, in the terminal",
            "raydash run --policy linear --learner cmaes --target 475",
            "raydash runs                               what was recorded",
        )
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for each in (running, recordings, environments, machine):
    app.add_typer(each.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"raydash {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="The version."),
    ] = False,
) -> None:
    from raydash.terminal.commands.options import why_wrong_platform

    problem = why_wrong_platform()
    if problem:
        raise typer.Exit(refuse(problem))


def main() -> None:
    """The entry point of the program."""
    app(prog_name="raydash")
