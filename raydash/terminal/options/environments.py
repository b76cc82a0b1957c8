"""Commands that try an environment or a policy. They need no cluster."""

from pathlib import Path
from typing import Annotated

import typer

from raydash.terminal.options.shared import (
    ENV_OPTION,
    EnvId,
    EnvKwargs,
    EnvsPerWorker,
    Json,
    Vectorization,
    examples,
    exit_with,
)

commands = typer.Typer()


@commands.command(
    "check-env",
    epilog=examples(
        "raydash check-env LunarLander-v3",
        "raydash check-env my_package.envs:MyEnv --env-kwargs '{\"size\": 5}'",
        "raydash check-env LunarLander-v3 --envs-per-worker 16 --vectorization sync",
    ),
)
def check_env(
    env_id: EnvId,
    env_kwargs: EnvKwargs = None,
    envs_per_worker: EnvsPerWorker = None,
    vectorization: Vectorization = None,
    as_json: Json = False,
) -> None:
    """Check an environment and time it, in a process of its own. Needs no cluster.

    Gymnasium's checker (PettingZoo's test of many agents), then 2 s of random actions, and 1 s of
    several together if a worker is to step several. Exit code 2 if it breaks their rules; warnings
    alone are fine.
    """
    from raydash.terminal.commands.checking import check_and_print

    options = {
        "env.id": env_id,
        "env.kwargs": env_kwargs,
        "rollout.num_envs_per_worker": envs_per_worker,
        "rollout.vectorization": vectorization,
    }
    exit_with(lambda: check_and_print(options, as_json=as_json))


@commands.command(
    epilog=examples(
        "raydash evaluate RUN.best.npz --env Acrobot-v1 --episodes 100",
        "raydash evaluate policy.onnx --env LunarLander-v3 --seed 7 --json",
    ),
)
def evaluate(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="A file of weights (.npz) or an .onnx file.")
    ],
    env: Annotated[str, ENV_OPTION] = "CartPole-v1",
    env_kwargs: EnvKwargs = None,
    episodes: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Episodes to play; default: 100.", show_default=False
        ),
    ] = 100,
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
    from raydash.terminal.commands.evaluating import evaluate_and_print

    exit_with(
        lambda: evaluate_and_print(
            policy, env, env_kwargs, num_episodes=episodes, seed=seed, as_json=as_json
        )
    )
