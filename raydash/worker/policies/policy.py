"""Makes the policy that chooses the actions from its spec, and checks it against the spaces."""

import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import gymnasium
import numpy as np

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.spec import PolicySpec
from raydash.core.words.texts import one_line
from raydash.worker.envs.environments import add_source_dirs
from raydash.worker.envs.own_code import own_callable
from raydash.worker.policies.network import as_policy, network_policy
from raydash.worker.policies.onnx_file import OnnxModel
from raydash.worker.policies.rllib_checkpoint import RllibPolicy
from raydash.worker.policies.sb3_file import Sb3Policy
from raydash.worker.policies.weights import Weights, read_weights

Space: TypeAlias = "gymnasium.Space[Any]"
Policy = Callable[[Any], Any]
"""Takes an observation and returns an action."""


def make_policy(
    spec: PolicySpec,
    observation_space: Space,
    action_space: Space,
    seed: int,
    source_dirs: Sequence[str] = (),
) -> Policy:
    """Make the policy that a spec asks for, for these spaces.

    `seed` seeds the action space. The user's modules are imported from `source_dirs`.

    Raises:
        FaultError: if the policy can't be made or does not fit the spaces, with the spec keys at
            fault.
    """
    action_space.seed(seed)
    match spec.kind:
        case "random":
            return _random(action_space)
        case "constant":
            return _constant(spec, action_space)
        case "linear" | "mlp":
            weights = weights_of(spec)
            return network_policy(weights, observation_space, action_space, spec.path or "")
        case "onnx":
            return _onnx(spec, observation_space, action_space)
        case "sb3":
            return Sb3Policy(spec, observation_space, action_space).one
        case "rllib":
            return RllibPolicy(spec, observation_space, action_space).one
        case _:
            return _user_policy(spec, observation_space, action_space, source_dirs)


def _random(action_space: Space) -> Policy:
    if type(action_space) is gymnasium.spaces.Discrete:
        # This draws the same numbers as `sample` in half the time, without its search for masks.
        draw, start = action_space.np_random.integers, int(action_space.start)
        n, dtype = int(action_space.n), action_space.dtype.type
        if start:
            return lambda _observation: start + draw(n, dtype=dtype)
        return lambda _observation: draw(n, dtype=dtype)
    sample = action_space.sample
    return lambda _observation: sample()


def _constant(spec: PolicySpec, action_space: Space) -> Policy:
    if spec.action is None:
        _refuse("policy.action", "The constant policy has no action", "none is given", action_space)
    if not _is_numeric(action_space):
        raise FaultError(
            Fault(
                "The constant policy can't give such actions",
                f"policy.action is a number or a list of numbers, and actions are {action_space}",
                "Use a random policy, or module:callable for one of your own",
                keys=("policy.kind", "env.id"),
                bad_input=True,
            )
        )
    action = _as_action(spec.action, action_space)
    if not action_space.contains(action):
        why = f"{spec.action} is not in {action_space}"
        _refuse("policy.action", "The constant action does not fit", why, action_space)
    return lambda _observation: action


def _is_numeric(space: Space) -> bool:
    """Whether a number, or lists of numbers, can express every action of a space."""
    if isinstance(space, gymnasium.spaces.Tuple):
        return all(map(_is_numeric, space.spaces))
    return space.dtype is not None and np.issubdtype(space.dtype, np.number)


def _as_action(value: Any, space: Space) -> Any:
    """Convert numbers to the types of a space; return them unchanged if that fails."""
    try:
        match space:
            case gymnasium.spaces.Tuple(spaces=parts):
                return tuple(_as_action(*each) for each in zip(value, parts, strict=True))
            case gymnasium.spaces.Discrete(dtype=dtype):
                return dtype.type(value) if float(value) == int(value) else value
            case _:
                return np.asarray(value, space.dtype).reshape(space.shape)
    except (TypeError, ValueError, OverflowError):
        return value


def _onnx(spec: PolicySpec, observation_space: Space, action_space: Space) -> Policy:
    model = OnnxModel(spec.path, observation_space, action_space)
    if not model.gives_actions:
        return as_policy(model.one, action_space)
    shape, dtype = action_space.shape, action_space.dtype
    assert shape is not None
    if isinstance(action_space, gymnasium.spaces.Discrete):
        return lambda observation: int(model.one(observation)[0])
    return lambda observation: model.one(observation).astype(dtype).reshape(shape)


def weights_of(spec: PolicySpec) -> Weights:
    """Read the weights that the spec of a linear policy or MLP names.

    Raises:
        FaultError: if it names none, or if they are of the other kind.
    """
    if not spec.path:
        raise FaultError(
            Fault(
                f"The {spec.kind} policy has no weights",
                "policy.path is not given",
                "Give an .npz file (--policy-path); a learner saves one beside its recording",
                keys=("policy.path",),
                bad_input=True,
            )
        )
    weights = read_weights(spec.path)
    if spec.kind == "linear" and len(weights.layers) != 1:
        raise FaultError(
            Fault(
                f"{spec.path} is not a linear policy",
                f"it has {len(weights.layers)} layers",
                'Use policy.kind = "mlp"',
                keys=("policy.kind", "policy.path"),
                bad_input=True,
            )
        )
    return weights


def _user_policy(
    spec: PolicySpec, observation_space: Space, action_space: Space, source_dirs: Sequence[str]
) -> Policy:
    """Call `module:callable` with both spaces; it returns the policy."""
    add_source_dirs(source_dirs)
    creator = own_callable("policy", spec.kind, "policy.kind")
    try:
        policy = creator(observation_space, action_space)
    except Exception as error:
        raise FaultError(
            Fault(
                f"The policy {spec.kind} raised {type(error).__name__}",
                one_line(error),
                "It is called as callable(observation_space, action_space) and gives a function "
                "from an observation to an action; the traceback names the line",
                detail=traceback.format_exc(),
                keys=("policy.kind",),
                bad_input=True,
                kind=FaultKind.USER_CODE,
            )
        ) from error
    if not callable(policy):
        raise FaultError(
            Fault(
                f"The policy {spec.kind} gave a {type(policy).__name__}",
                "that can't be called with an observation",
                "Give a function from an observation to an action",
                keys=("policy.kind",),
                bad_input=True,
            )
        )
    chosen: Policy = policy
    return chosen


def forget_module(kind: str) -> None:
    """Make the next import of a user's own policy read its module from disk again."""
    module_name, colon, _ = kind.partition(":")
    if colon:
        sys.modules.pop(module_name, None)
        importlib.invalidate_caches()


def check_action(policy: Policy, observation: Any, action_space: Space, spec: PolicySpec) -> None:
    """Ask a policy once and check that it returns an action.

    Raises:
        FaultError: if it raises or returns something else.
    """
    try:
        action = policy(observation)
    except Exception as error:
        raise FaultError(
            Fault(
                f"The policy {spec.kind} raised {type(error).__name__} at its first observation",
                one_line(error),
                "The traceback names the line",
                detail=traceback.format_exc(),
                keys=("policy.kind",),
                bad_input=True,
                kind=FaultKind.USER_CODE,
            )
        ) from error
    if not action_space.contains(action) and not _is_close(action, action_space):
        shown = repr(action)[:120]
        why = f"it answered {shown}, which is not in {action_space}"
        _refuse("policy.kind", f"The policy {spec.kind} gives no action", why, action_space)


def _is_close(action: Any, space: Space) -> bool:
    """Whether environments take an action although `contains` does not: lists, other floats."""
    if not isinstance(space, gymnasium.spaces.Box):
        return False
    try:
        return bool(space.contains(np.asarray(action).astype(space.dtype)))
    except (TypeError, ValueError):
        return False


def _refuse(key: str, what: str, why: str, action_space: Space) -> NoReturn:
    raise FaultError(
        Fault(what, why, f"Give one of {action_space}", keys=(key,), bad_input=True),
    )
