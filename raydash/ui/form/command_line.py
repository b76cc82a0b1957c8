"""Turn a spec into the command that does the same in a terminal. Pure; no Qt."""

import json
import shlex

from raydash.core.spec import RunSpec, table_from_spec

_FLAGS = {
    "env.id": "--env",
    "env.kwargs": "--env-kwargs",
    "policy.kind": "--policy",
    "policy.path": "--policy-path",
    "policy.action": "--action",
    "learner.kind": "--learner",
    "rollout.mode": "--mode",
    "rollout.num_workers": "--workers",
    "rollout.seed": "--seed",
    "rollout.num_envs_per_worker": "--envs-per-worker",
    "rollout.vectorization": "--vectorization",
    "stop.seconds": "--for",
    "stop.env_steps": "--steps",
    "stop.episodes": "--episodes",
    "stop.target_return": "--target",
    "cluster.address": "--address",
}


def command_from_spec(spec: RunSpec) -> tuple[str, tuple[str, ...]]:
    """The `raydash run ...` line of a spec, quoted for a shell.

    Returns:
        The line, and the keys that no flag can carry: those need a spec file.
    """
    words = ["raydash", "run"]
    left_out: list[str] = []
    for part, values in table_from_spec(spec).items():
        if not isinstance(values, dict):
            left_out.append(part)
            continue
        for name, value in values.items():
            key = f"{part}.{name}"
            if key in _FLAGS:
                words += [_FLAGS[key], _word(value)]
            else:
                left_out.append(key)
    return shlex.join(words), tuple(left_out)


def _word(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return plain_number(value)
    return json.dumps(value)


def plain_number(value: float) -> str:
    """The shortest text that means exactly this number: `20`, not `20.0`."""
    return str(int(value)) if value.is_integer() else repr(value)
