"""Commands that start runs, and look at, change or end what lives."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typing_extensions import override

from raydash.core.faults import Fault
from raydash.terminal.options.shared import (
    ENV_OPTION,
    LIVE_RUN_ARGUMENT,
    POLICY_WORDS,
    Action,
    Address,
    DataDir,
    EnvKwargs,
    EnvsPerWorker,
    Json,
    LiveAddress,
    PolicyPath,
    SpecPath,
    TrustPolicy,
    Vectorization,
    examples,
    exit_with,
    refuse,
)

MAX_SIMULATED = 4096
MAX_QUIT_AFTER_S = 1_000_000.0
"""A Qt timer counts milliseconds in 32 bits."""

QuitAfter = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="Stop the window's runs and quit, S seconds after it was shown.",
        show_default=False,
    ),
]
Screenshot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Save the window just before it quits.", show_default=False),
]
Simulated = Annotated[
    int | None,
    typer.Option(
        "--simulated",
        metavar="N",
        min=1,
        max=MAX_SIMULATED,
        help="Look around or debug without Ray: N workers that are simulated. Nothing is kept.",
        show_default=False,
    ),
]
InProcess = Annotated[
    bool,
    typer.Option(
        "--in-process",
        help="With --simulated: engine and supervisor are threads of this process, so that a "
        "breakpoint can follow a command.",
    ),
]

commands = typer.Typer()
cluster_commands = typer.Typer(
    help="Look at the Ray cluster that raydash launched here, or end it."
)
commands.add_typer(cluster_commands, name="cluster", no_args_is_help=True)


class _Run(TyperCommand):
    """Prints one JSON object on stdout with `--json`, even if the options can't be read."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        wants_json = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # `--help` ends with an exception too, but it has no message.
            said = getattr(error, "format_message", str)
            if wants_json and not isinstance(error, typer.Exit):
                from raydash.terminal.commands.summary import Summary

                fault = Fault("The options were refused", said(), bad_input=True)
                print(Summary(None, fault=fault).json())
            raise


@commands.command(
    epilog=examples(
        "raydash my_run.toml --start",
        "raydash gui --open 20261125-1 --open 20261124-3     compare two recordings",
        "raydash gui --simulated 100                         look around without Ray",
    )
)
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
    simulated: Simulated = None,
    quit_after: QuitAfter = None,
    screenshot: Screenshot = None,
    data_dir: DataDir = None,
) -> None:
    """Open the window. This is what happens without a command too."""
    from raydash.child_process import ENGINE_COMMAND, SIMULATED_ENGINE_COMMAND
    from raydash.core.spec_rules import SpecError
    from raydash.terminal.commands.display import why_no_picture, why_no_window
    from raydash.terminal.commands.options import spec_from_options, unwritable_folder
    from raydash.terminal.commands.simulated import simulated_spec, temporary_data_dir

    is_simulated = simulated is not None
    try:
        spec = spec_from_options(spec_path, {"cluster.address": address})
        if simulated is not None:
            others = {"--address": address, "--open": recordings, "--data-dir": data_dir}
            spec = simulated_spec(spec, simulated, others)
    except SpecError as error:
        raise typer.Exit(refuse(*str(error).splitlines())) from None
    if quit_after is not None and not 0 <= quit_after <= MAX_QUIT_AFTER_S:
        said = f"--quit-after: {quit_after:g} is not from 0 to {MAX_QUIT_AFTER_S:.0f} seconds"
        raise typer.Exit(refuse(said))
    with temporary_data_dir() if is_simulated else contextlib.nullcontext():
        fault = why_no_window() or unwritable_folder() or why_no_picture(screenshot)
        if fault is not None:
            raise typer.Exit(refuse(fault.sentence()))

        from raydash.app import run_window

        code = run_window(
            spec=spec if spec_path or is_simulated else None,
            spec_path=spec_path,
            start=start or is_simulated,
            address=address,
            recordings=tuple(recordings or ()),
            show_library=library,
            quit_after_s=quit_after,
            screenshot=screenshot,
            engine_command=SIMULATED_ENGINE_COMMAND if is_simulated else ENGINE_COMMAND,
        )
    raise typer.Exit(code)


@commands.command(
    cls=_Run,
    epilog=examples(
        "raydash run --env Acrobot-v1 --workers 4 --for 20",
        "raydash run my_run.toml --episodes 1000 --json",
        "raydash run --policy linear --learner cmaes --target 475",
        "raydash run --env my_package.envs:MyEnv --env-kwargs '{\"size\": 5}'",
    ),
)
def run(
    spec_path: SpecPath = None,
    env: Annotated[str | None, ENV_OPTION] = None,
    env_kwargs: EnvKwargs = None,
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
        typer.Option(metavar="KIND", help=f"{POLICY_WORDS}; default: random.", show_default=False),
    ] = None,
    policy_path: PolicyPath = None,
    action: Action = None,
    trust_policy: TrustPolicy = False,
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
    envs_per_worker: EnvsPerWorker = None,
    vectorization: Vectorization = None,
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
    simulated: Simulated = None,
    in_process: InProcess = False,
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
    from raydash.core.spec import RunSpec
    from raydash.core.spec_rules import SpecError, Violation
    from raydash.terminal.commands.options import policy_options, source_dirs, spec_from_options
    from raydash.terminal.commands.run import run_headless
    from raydash.terminal.commands.simulated import run_simulated, simulated_spec

    options = {
        "env.id": env,
        "env.kwargs": env_kwargs,
        "rollout.mode": mode,
        **policy_options(policy, policy_path, action),
        "learner.kind": learner,
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
    if simulated is not None:
        others = {"--address": address, "--detach": detach, "--data-dir": data_dir}
        code = run_simulated(
            lambda: simulated_spec(spec_from_options(spec_path, options), simulated, others),
            in_process=in_process,
            as_json=as_json,
        )
        raise typer.Exit(code)

    def read_spec() -> RunSpec:
        if in_process:
            raise SpecError((Violation("--in-process", "is given alone", "with --simulated"),))
        return spec_from_options(spec_path, options)

    code = run_headless(
        read_spec,
        source_dirs=source_dirs(spec_path),
        detach=detach,
        as_json=as_json,
        trust_policy=trust_policy,
    )
    raise typer.Exit(code)


@commands.command()
def ps(address: LiveAddress = None, as_json: Json = False) -> None:
    """List the live runs, whoever they belong to. Launches nothing."""
    from raydash.terminal.commands.listing import list_runs

    exit_with(lambda: list_runs(address, as_json=as_json))


@commands.command()
def stop(
    run_id: Annotated[str | None, LIVE_RUN_ARGUMENT] = None,
    everything: Annotated[bool, typer.Option("--all", help="All runs of yours.")] = False,
    address: LiveAddress = None,
) -> None:
    """Stop a run of yours, or all of them. Other people's runs are left alone."""
    from raydash.terminal.commands.listing import stop_runs

    if (run_id is None) != everything:
        raise typer.Exit(refuse("say which: raydash stop RUN, or raydash stop --all"))
    exit_with(lambda: stop_runs(run_id, address))


@commands.command(
    epilog=examples(
        "raydash swap 20261125 --policy mlp --policy-path RUN.best.npz",
        "raydash swap 20261125 --policy constant --action 1",
    )
)
def swap(
    run_id: Annotated[str, LIVE_RUN_ARGUMENT],
    policy: Annotated[str, typer.Option(metavar="KIND", help=f"{POLICY_WORDS}.")],
    policy_path: PolicyPath = None,
    action: Action = None,
    trust_policy: TrustPolicy = False,
    address: LiveAddress = None,
) -> None:
    """Give a run of yours another policy while it goes on. No worker is restarted.

    It is tried first: one that does not fit changes nothing.
    """
    from raydash.core.spec_rules import SpecError
    from raydash.terminal.commands.listing import swap_policy
    from raydash.terminal.commands.options import policy_options, spec_from_options
    from raydash.terminal.commands.trust import agree

    try:
        chosen = spec_from_options(None, policy_options(policy, policy_path, action)).policy
    except SpecError as error:
        raise typer.Exit(refuse(*str(error).splitlines())) from None
    exit_with(lambda: swap_policy(run_id, agree(chosen, agreed=trust_policy), address))


@cluster_commands.command("status")
def cluster_status(as_json: Json = False) -> None:
    """Say how the cluster is. Launches nothing."""
    from raydash.terminal.commands.listing import print_cluster_status

    exit_with(lambda: print_cluster_status(as_json=as_json))


@cluster_commands.command("stop")
def cluster_stop() -> None:
    """End the cluster, and every run on it."""
    from raydash.terminal.commands.listing import end_cluster

    exit_with(end_cluster)
