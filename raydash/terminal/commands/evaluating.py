"""`raydash evaluate`: what a policy in a file is worth."""

import json
import math
from dataclasses import asdict
from pathlib import Path

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.faults import Fault, FaultError
from raydash.core.spec import SpecError
from raydash.terminal.commands.options import (
    fault_of,
    policy_options,
    source_dirs,
    spec_from_options,
)
from raydash.terminal.commands.progress import grouped
from raydash.trial.trial import evaluate_policy

EXIT_DONE = 0
_KINDS = {".npz": "mlp", ".onnx": "onnx"}
"""An MLP may have any number of layers, a single one too."""


def evaluate_and_print(
    policy: Path,
    env_id: str,
    env_kwargs: str | None = None,
    *,
    num_episodes: int,
    seed: int | None = None,
    as_json: bool = False,
) -> int:
    """Play fresh episodes of a policy, greedily, and print how it did.

    Args:
        policy: Its file.
        env_id: Name of the environment.
        env_kwargs: JSON of its keyword arguments.
        num_episodes: How many.
        seed: Of the episodes; None: one that nobody knows.
        as_json: One JSON object on stdout, also if it could not be played.

    Raises:
        FaultError: if policy or environment can't be had, do not fit, hang or keep raising.
    """
    try:
        kind = _KINDS.get(policy.suffix)
        if kind is None:
            raise FaultError(
                Fault(
                    f"{policy} is no policy that can be evaluated",
                    "known are files of weights (.npz) and .onnx",
                    "A learner saves the best policy as .best.npz beside its recording",
                    keys=("policy.path",),
                    bad_input=True,
                )
            )
        options = {
            "env.id": env_id,
            "env.kwargs": env_kwargs,
            **policy_options(kind, policy, None),
            "rollout.seed": seed,
        }
        spec = spec_from_options(None, options)
        found = evaluate_policy(
            spec.env, spec.policy, source_dirs(None), num_episodes=num_episodes, seed=seed
        )
    except SpecError as error:
        raise _told(FaultError(fault_of(error)), env_id, policy, as_json) from None
    except FaultError as error:
        raise _told(error, env_id, policy, as_json) from None
    if as_json:
        known = {name: _finite(value) for name, value in asdict(found).items()}
        print(json.dumps({**known, "error": None, "error_keys": []}, allow_nan=False))
    else:
        print("\n".join(lines_of(found)))
    return EXIT_DONE


def lines_of(found: PolicyEvaluation) -> list[str]:
    """How it did, a line each."""
    rows = [("policy", found.policy), ("env", f"{found.env_id}, seed {found.seed}")]
    if found.episode_return_mean is not None:
        rows += [
            (
                "return",
                f"mean {found.episode_return_mean:.2f}, min {found.episode_return_min:g}, "
                f"max {found.episode_return_max:g}, deviation {found.episode_return_std:.2f}",
            ),
            ("length", f"mean {found.episode_len_mean:.1f} steps"),
        ]
    rows.append(
        (
            "episodes",
            f"{grouped(found.num_episodes)}: terminated {grouped(found.num_episodes_terminated)}, "
            f"truncated {grouped(found.num_episodes_truncated)}, "
            f"error {grouped(found.num_episodes_error)}; in {found.elapsed_s:.1f} s",
        )
    )
    if found.first_error:
        rows.append(("error", found.first_error))
    return [f"{name:<9} {text}" for name, text in rows]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _told(error: FaultError, env_id: str, policy: Path, as_json: bool) -> FaultError:
    """With `--json` there is one JSON object on stdout whatever happens."""
    fault = error.fault
    if as_json:
        said = {"error": fault.sentence(), "error_keys": list(fault.keys)}
        print(json.dumps({"env_id": env_id, "policy": str(policy), **said}))
    return error
