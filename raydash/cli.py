"""The commands. Each imports what it needs when it is called, so that `--help` is instant."""

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import raydash

BENCHES = (
    "rollout",
    "startup",
    "ui",
    "reactions",
    "history",
    "recording",
    "memory",
    "peers",
    "modes",
    "learning",
)
_PLAIN = ("--help", "-h", "--version", "--install-completion", "--show-completion")


def _use_data_dir(folder: str | None) -> str | None:
    """The engine and its supervisors look where this process does: at its environment."""
    if folder is not None:
        if not folder.strip():
            raise typer.BadParameter("it is empty", param_hint="--data-dir")
        os.environ["RAYDASH_DATA_DIR"] = str(Path(folder).expanduser().absolute())
    return folder


def _without_data_dir(args: list[str]) -> list[str]:
    """`--data-dir DIR` may stand before any command too."""
    while args and args[0].startswith("--data-dir"):
        name, is_joined, folder = args[0].partition("=")
        if name != "--data-dir" or not (is_joined or len(args) > 1):
            break  # what is wrong with it is said where options are read
        _use_data_dir(folder if is_joined else args[1])
        args = args[1:] if is_joined else args[2:]
    return args


class _WindowByDefault(TyperGroup):
    """`raydash [SPEC.toml] [--start]` means `raydash gui ...`."""

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


app = typer.Typer(
    cls=_WindowByDefault,
    help=(
        "Launch, control and live-plot reinforcement-learning rollouts on Ray.\n\n"
        "Without a command, the window opens: raydash SPEC.toml --start"
    ),
    epilog=(
        "Exit codes: 0 done, 2 bad input (nothing was started), 3 the cluster or the engine "
        "failed, 4 the run failed, 130 interrupted."
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
cluster_app = typer.Typer(
    help="Look at the Ray cluster that raydash launched here, or end it.", rich_markup_mode=None
)
app.add_typer(cluster_app, name="cluster", no_args_is_help=True)

SpecPath = Annotated[
    Path | None, typer.Argument(metavar="SPEC.toml", help="A spec file.", show_default=False)
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="A running Ray that this machine is a node of; default: launch one here.",
        show_default=False,
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        callback=_use_data_dir,
        is_eager=True,
        help="Where recordings are kept; like RAYDASH_DATA_DIR.",
        show_default=False,
    ),
]
Recording = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, a unique beginning of one, its title, or a file."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"raydash {raydash.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="The version."),
    ] = False,
) -> None:
    from raydash.commands.options import why_wrong_platform

    problem = why_wrong_platform()
    if problem:
        raise typer.Exit(_refuse(problem))


@app.command()
def gui(
    spec_path: SpecPath = None,
    start: Annotated[bool, typer.Option("--start", help="Start the run at once.")] = False,
    address: Address = None,
    recordings: Annotated[
        list[str] | None,
        typer.Option(
            "--open",
            metavar="RUN",
            help="Show a recording: its id, a unique beginning of one, or its file; given more "
            "than once: compare them. No cluster is launched until a run is started.",
            show_default=False,
        ),
    ] = None,
    library: Annotated[bool, typer.Option("--library", help="Show the library first.")] = False,
    quit_after: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.0,
            help="Stop the window's runs and quit, S seconds after it was shown.",
            show_default=False,
        ),
    ] = None,
    screenshot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Save the window just before it quits.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Open the window. This is what happens without a command too."""
    from raydash.commands.display import why_no_window
    from raydash.commands.options import spec_from_options, unwritable_folder
    from raydash.core.spec import SpecError

    try:
        spec = spec_from_options(spec_path, {"cluster.address": address})
    except SpecError as error:
        raise typer.Exit(_refuse(*str(error).splitlines())) from None
    fault = why_no_window() or unwritable_folder()
    if fault is not None:
        raise typer.Exit(_refuse(fault.sentence()))

    from raydash.app import run_window

    code = run_window(
        spec=spec if spec_path else None,
        spec_path=spec_path,
        start=start,
        address=address,
        recordings=tuple(recordings or ()),
        show_library=library,
        quit_after_s=quit_after,
        screenshot=screenshot,
    )
    raise typer.Exit(code)


@app.command()
def run(
    spec_path: SpecPath = None,
    env: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Gymnasium id, module:Id or package.module:callable; default: CartPole-v1.",
            show_default=False,
        ),
    ] = None,
    env_kwargs: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="Keyword arguments of the environment.", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="actors (the policy in each worker), lockstep (environment actors, stepped one "
            "call at a time by one policy), or tasks (stateless steps); default: actors.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="random, constant, linear, mlp, onnx, sb3, rllib, or MODULE:CALLABLE; "
            "default: random.",
            show_default=False,
        ),
    ] = None,
    policy_path: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The policy's weights (.npz), .onnx or .zip file, or RLlib checkpoint.",
            show_default=False,
        ),
    ] = None,
    trust_policy: Annotated[
        bool,
        typer.Option(
            "--trust-policy",
            help="Load an sb3 or rllib policy unasked: its file can execute code.",
        ),
    ] = False,
    learner: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What improves a linear or mlp policy: cmaes, or MODULE:CLASS; default: nothing.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Workers; default: one per core.", show_default=False),
    ] = None,
    envs_per_worker: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Environments that each worker steps together; default: 1.",
            show_default=False,
        ),
    ] = None,
    vectorization: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="none, sync, or vector_entry_point (the environment's own vector form); "
            "default: sync if there are several.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="S", help="The run's seed; default: 0.", show_default=False),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="S", help="End after S seconds.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="End after N environment steps.", show_default=False),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(metavar="N", help="End after N episodes.", show_default=False),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            metavar="RETURN",
            help="End when the evaluated mean return reaches this; with a learner.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the run's id and leave it running.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Run rollouts in the terminal.

    Live progress goes to stderr, a summary to stdout at the end.

    Options win over the spec file; --for, --steps, --episodes or --target replace all its stop
    conditions, and the first that is met ends the run. Ctrl-C stops the run and the summary still
    comes; a second Ctrl-C leaves at once.
    """
    from raydash.commands.options import source_dirs, spec_from_options
    from raydash.commands.run import run_headless

    options = {
        "env.id": env,
        "rollout.mode": mode,
        "policy.kind": policy,
        "learner.kind": learner,
        "policy.path": None if policy_path is None else str(policy_path.absolute()),
        "rollout.num_workers": workers,
        "rollout.num_envs_per_worker": envs_per_worker,
        "rollout.vectorization": vectorization,
        "rollout.seed": seed,
        "stop.seconds": seconds,
        "stop.env_steps": steps,
        "stop.episodes": episodes,
        "stop.target_return": target,
        "cluster.address": address,
    }
    code = run_headless(
        lambda: spec_from_options(spec_path, options, env_kwargs),
        source_dirs=source_dirs(spec_path),
        detach=detach,
        as_json=as_json,
        trust_policy=trust_policy,
    )
    raise typer.Exit(code)


@app.command()
def ps(address: Address = None, as_json: Json = False) -> None:
    """List the live runs, whoever they belong to. Launches nothing."""
    from raydash.commands.listing import list_runs

    _exit_with(lambda: list_runs(address, as_json=as_json))


@app.command()
def stop(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="A run's id, its beginning, or its name.", show_default=False
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs of yours.")] = False,
    address: Address = None,
) -> None:
    """Stop a run of yours, or all of them. Other people's runs are left alone."""
    from raydash.commands.listing import stop_runs

    if (run_id is None) != everything:
        raise typer.Exit(_refuse("say which: raydash stop RUN, or raydash stop --all"))
    _exit_with(lambda: stop_runs(run_id, address))


@app.command()
def swap(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or its name.")
    ],
    policy: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="random, constant, linear, mlp, onnx, sb3, rllib, or MODULE:CALLABLE.",
        ),
    ],
    policy_path: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The policy's weights (.npz), .onnx or .zip file, or RLlib checkpoint.",
            show_default=False,
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="What a constant policy does: 1, or [0.5, 0].", show_default=False
        ),
    ] = None,
    trust_policy: Annotated[
        bool,
        typer.Option(
            "--trust-policy",
            help="Load an sb3 or rllib policy unasked: its file can execute code.",
        ),
    ] = False,
    address: Address = None,
) -> None:
    """Give a run of yours another policy while it goes on. No worker is restarted.

    It is tried first: one that does not fit changes nothing.
    """
    from raydash.commands.listing import swap_policy
    from raydash.commands.options import policy_from_options
    from raydash.commands.trust import agree
    from raydash.core.spec import SpecError

    try:
        chosen = policy_from_options(policy, policy_path, action)
    except SpecError as error:
        raise typer.Exit(_refuse(*str(error).splitlines())) from None
    _exit_with(lambda: swap_policy(run_id, agree(chosen, agreed=trust_policy), address))


@app.command("runs")
def list_library(
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="T", help="Only runs with this tag; may be given again."),
    ] = None,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Only runs with this in id, title, env or notes.")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only the newest N.", show_default=False),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List the recordings, newest first."""
    from raydash.commands.recordings.listing import list_recordings

    _exit_with(lambda: list_recordings(tags=tag or (), search=search, limit=limit, as_json=as_json))


@app.command()
def show(run: Recording, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show everything about a recording but its episodes."""
    from raydash.commands.recordings.showing import show_recording

    _exit_with(lambda: show_recording(run, as_json=as_json))


@app.command()
def note(
    run: Recording,
    title: Annotated[
        str | None, typer.Option(metavar="T", help="What to call it.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="Add a tag; may be given again.")
    ] = None,
    untag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="Remove a tag; may be given again.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Free words.", show_default=False)
    ] = None,
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--unpin", help="No rule deletes what is pinned.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a title, tags or words to a recording, or pin it."""
    from raydash.commands.recordings.showing import edit_notes

    _exit_with(
        lambda: edit_notes(
            run, title=title, tags=tag or (), untags=untag or (), text=text, pinned=pin
        )
    )


@app.command()
def delete(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Ids, unique beginnings of ids, titles, or files."),
    ],
    yes: Yes = False,
    even_pinned: Annotated[bool, typer.Option("--even-pinned", help="Pinned ones too.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete recordings with their notes and logs. A live run is refused."""
    from raydash.commands.recordings.deleting import delete_recordings

    _exit_with(lambda: delete_recordings(runs, yes=yes, even_pinned=even_pinned))


@app.command("prune")
def prune_library(
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Runs that ended before that.", show_default=False),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="The oldest, until no more is left: 10GB.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete recordings by age or size; without options by the library's own rules.

    Never a live or pinned run, the newest one, or what can't be read.
    """
    from raydash.commands.recordings.deleting import prune

    _exit_with(lambda: prune(older_than=older_than, max_size=max_size, yes=yes, dry_run=dry_run))


@cluster_app.command("status")
def cluster_status(as_json: Json = False) -> None:
    """How it is. Launches nothing."""
    from raydash.commands.listing import print_cluster_status

    _exit_with(lambda: print_cluster_status(as_json=as_json))


@cluster_app.command("stop")
def cluster_stop() -> None:
    """End it, and every run on it."""
    from raydash.commands.listing import end_cluster

    _exit_with(end_cluster)


@app.command("export")
def export_run(
    run: Recording,
    to: Annotated[
        str, typer.Option("--to", metavar="FORMAT", help="csv, parquet, monitor, tensorboard, json")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The file or folder to write.")
    ],
    all_tables: Annotated[
        bool, typer.Option("--all-tables", help="csv, parquet: also all but the episodes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Write a recording in a format that other tools read.

    csv, parquet: a file of all episodes. monitor: a folder with one SB3 N.monitor.csv per worker.
    tensorboard: a folder with an event file. json: everything as one document.
    """
    from raydash.commands.recordings.exporting import export_recording

    _exit_with(lambda: export_recording(run, to, out, force=force, all_tables=all_tables))


@app.command()
def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Ids, unique beginnings of ids, titles, or files of runs."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Write one HTML file with pictures about recordings; it opens offline.

    Of several runs it shows them over one another first, then their figures side by side.
    """
    from raydash.commands.recordings.reporting import report_recordings

    _exit_with(lambda: report_recordings(runs, out, force=force))


@app.command("import")
def import_runs(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, or folders that hold them.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Make recordings of other tools' files, so that past runs stand beside new ones.

    SB3's monitor.csv (a folder of them is one run), RLlib's result.json and progress.csv,
    TensorBoard's event files. Prints the new runs' ids.
    """
    from raydash.commands.recordings.importing import import_files

    _exit_with(lambda: import_files(sources))


@app.command()
def engine() -> None:
    """What a window starts, here or through ssh.

    It speaks frames on stdin and stdout, and ends with its input.
    """
    from raydash.engine.client import DEFAULT_COMMAND, child_environment

    # A fresh interpreter in the same process: byte-code settings count from its very start.
    os.execve(DEFAULT_COMMAND[0], DEFAULT_COMMAND, child_environment())


@app.command("check-env")
def check_env(
    env_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Gymnasium id, module:Id or package.module:callable."),
    ],
    env_kwargs: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="Keyword arguments of the environment.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an environment and time it, in a process of its own. Needs no cluster.

    Gymnasium's checker, then 2 s of random actions. Exit code 2 if it breaks Gymnasium's rules;
    warnings alone are fine.
    """
    from raydash.commands.checking import check_and_print

    _exit_with(lambda: check_and_print(env_id, env_kwargs, as_json=as_json))


@app.command()
def evaluate(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY.npz", help="Weights (.npz) or an .onnx file.")
    ],
    env: Annotated[
        str,
        typer.Option(metavar="ID", help="Gymnasium id, module:Id or package.module:callable."),
    ] = "CartPole-v1",
    env_kwargs: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="Keyword arguments of the environment.", show_default=False
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="Episodes to play.")] = 100,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="S", min=0, help="Of the episodes; default: never the same.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Play fresh episodes of a policy, greedily, and say what it is worth. Needs no cluster.

    A learner saves the best policy of its run as RUN.best.npz beside the recording.
    """
    from raydash.commands.evaluating import evaluate_and_print

    _exit_with(
        lambda: evaluate_and_print(
            policy, env, env_kwargs, num_episodes=episodes, seed=seed, as_json=as_json
        )
    )


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine lacks, and the line that mends it. Exit code 2 if it lacks anything."""
    from raydash.commands.doctor import print_report

    raise typer.Exit(print_report(as_json=as_json))


@app.command()
def bench(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=" | ".join(BENCHES), show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure raydash on this machine."""
    if name not in BENCHES or importlib.util.find_spec(f"raydash.bench.{name}") is None:
        raise typer.Exit(_refuse(f"no bench {name or 'was named'}; there are {', '.join(BENCHES)}"))
    module = importlib.import_module(f"raydash.bench.{name}")
    raise typer.Exit(module.run(as_json=as_json))


def main() -> None:
    """The entry point of the program."""
    app(prog_name="raydash")


def _exit_with(command: Callable[[], int]) -> None:
    """Exit with what the command gives; a fault becomes a sentence on stderr."""
    from raydash.core.faults import FaultError

    try:
        code = command()
        sys.stdout.flush()
    except FaultError as error:
        code = _refuse(error.fault.sentence(), code=2 if error.fault.bad_input else 3)
    except BrokenPipeError:
        # `raydash runs | head`: nobody reads on, and Python is not to complain when it leaves.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code)


def _refuse(*lines: str, code: int = 2) -> int:
    for line in lines:
        print(f"raydash: {line}", file=sys.stderr)
    return code
