"""`raydash evaluate`: plays episodes of a policy in a file and prints how it did."""

import json
import math
from dataclasses import asdict
from pathlib import Path

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.faults import Fault, FaultError
from raydash.core.spec_rules import SpecError
from raydash.core.words import plain
from raydash.terminal.commands.options import (
    fault_from_spec_error,
    policy_options,
    source_dirs,
    spec_from_options,
)
from raydash.trial.trial import evaluate_policy

EXIT_DONE = 0
_KINDS = {".npz": "mlp", ".onnx": "onnx"}
"""The kind of policy by the ending of its file. A linear policy is an MLP of one layer."""


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

    `env_kwargs` is the JSON of the environment's keyword arguments. Without a seed, every call
    plays other episodes. With `as_json` one JSON object is on stdout, even if nothing was played.

    Raises:
        FaultError: if policy or environment can't be made, do not fit, hang or keep raising.
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
        raise _printed_as_json(
            FaultError(fault_from_spec_error(error)), env_id, policy, as_json
        ) from None
    except FaultError as error:
        raise _printed_as_json(error, env_id, policy, as_json) from None
    if as_json:
        known = {name: _finite(value) for name, value in asdict(found).items()}
        print(json.dumps({**known, "error": None, "error_keys": []}, allow_nan=False))
    else:
        print("\n".join(lines_of(found)))
    return EXIT_DONE


def lines_of(found: PolicyEvaluation) -> list[str]:
    """Format the figures of an evaluation for people, one per line."""
    rows = [("policy", found.policy), ("env", f"{found.env_id}, seed {found.seed}")]
    returns = (
        ("mean", found.episode_return_mean),
        ("min", found.episode_return_min),
        ("max", found.episode_return_max),
        ("deviation", found.episode_return_std),
    )
    parts = [f"{name} {plain.decimal(value)}" for name, value in returns if value is not None]
    if parts:
        rows.append(("return", ", ".join(parts)))
    if found.episode_len_mean is not None:
        rows.append(("length", f"mean {plain.decimal(found.episode_len_mean)} steps"))
    rows.append(
        (
            "episodes",
            f"{plain.count(found.num_episodes)}: "
            f"terminated {plain.count(found.num_episodes_terminated)}, "
            f"truncated {plain.count(found.num_episodes_truncated)}, "
            f"error {plain.count(found.num_episodes_error)}; in {plain.duration(found.elapsed_s)}",
        )
    )
    if found.first_error:
        rows.append(("error", found.first_error))
    return [f"{name:<9} {text}" for name, text in rows]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printed_as_json(error: FaultError, env_id: str, policy: Path, as_json: bool) -> FaultError:
    """Print the fault as JSON if `--json` was given, and return the error to be raised."""
    fault = error.fault
    if as_json:
        said = {"error": fault.sentence(), "error_keys": list(fault.keys)}
        print(json.dumps({"env_id": env_id, "policy": str(policy), **said}))
    return error
