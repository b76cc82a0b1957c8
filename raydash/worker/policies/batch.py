"""Makes policies for vector environments, from a batch of observations to a batch of actions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from raydash.core.records import Float64
from raydash.core.spec import PolicySpec
from raydash.worker.policies.network import check_fit, flattener, forward_of
from raydash.worker.policies.onnx_file import OnnxModel, fixed_rows
from raydash.worker.policies.policy import Policy, Space, make_policy, weights_of
from raydash.worker.policies.rllib_checkpoint import RllibPolicy
from raydash.worker.policies.sb3_file import Sb3Policy


@dataclass(frozen=True, slots=True)
class BatchSpaces:
    """The spaces of a vector environment: those of one sub-environment, and batched."""

    num_envs: int
    single_observation: Space
    single_action: Space
    observation: Space
    action: Space

    @classmethod
    def of(cls, env: Any) -> "BatchSpaces":
        """Take the spaces from a vector environment."""
        return cls(
            env.num_envs,
            env.single_observation_space,
            env.single_action_space,
            env.observation_space,
            env.action_space,
        )


def make_batch_policy(
    spec: PolicySpec, spaces: BatchSpaces, seed: int, source_dirs: Sequence[str] = ()
) -> Policy:
    """Make the policy that a spec asks for, from a batch of observations to a batch of actions.

    Random actions are drawn for all at once; linear policies and MLPs take the batch as a matrix,
    and so do models of other tools (ONNX: if their batch axis is free). Any other policy is called
    row by row. `seed` seeds the action space; the user's modules are imported from `source_dirs`.

    Raises:
        FaultError: if the policy can't be made or does not fit the spaces, with the spec keys at
            fault.
    """
    if spec.kind == "random":
        return _random(spaces.action, seed)
    if spec.kind in ("linear", "mlp"):
        return _network(spec, spaces)
    if spec.kind == "onnx" and fixed_rows(spec.path) in (None, spaces.num_envs):
        return _onnx(spec, spaces)
    if spec.kind == "sb3":
        return Sb3Policy(spec, spaces.single_observation, spaces.single_action).batch
    if spec.kind == "rllib":
        return RllibPolicy(spec, spaces.single_observation, spaces.single_action).batch
    single = make_policy(spec, spaces.single_observation, spaces.single_action, seed, source_dirs)
    if spec.kind == "constant":
        actions = _batch([single(None)] * spaces.num_envs, spaces)
        return lambda _observations: actions
    observation_space = spaces.observation

    def row_by_row(observations: Any) -> Any:
        return _batch([single(row) for row in iterate(observation_space, observations)], spaces)

    return row_by_row


def _random(action_space: Space, seed: int) -> Policy:
    action_space.seed(seed)
    if type(action_space) is gymnasium.spaces.MultiDiscrete and not action_space.start.any():
        # This draws the same numbers as `sample`, without its search for masks.
        draw, nvec = action_space.np_random.random, action_space.nvec
        shape, dtype = nvec.shape, action_space.dtype
        return lambda _observations: (draw(shape) * nvec).astype(dtype)
    sample = action_space.sample
    return lambda _observations: sample()


def _batch(actions: Sequence[Any], spaces: BatchSpaces) -> Any:
    space = spaces.single_action
    return concatenate(space, actions, create_empty_array(space, n=spaces.num_envs))


def _network(spec: PolicySpec, spaces: BatchSpaces) -> Policy:
    weights, name = weights_of(spec), spec.path or ""
    check_fit(weights, spaces.single_observation, spaces.single_action, name)
    return _as_batch_policy(forward_of(weights, _flattener(spaces)), spaces)


def _onnx(spec: PolicySpec, spaces: BatchSpaces) -> Policy:
    """Make the policy of a model that takes the whole batch at once."""
    single, space, count = spaces.single_observation, spaces.observation, spaces.num_envs
    model = OnnxModel(spec.path, single, spaces.single_action, num_rows=count)

    def forward(observations: Any) -> Any:
        is_array = isinstance(single, gymnasium.spaces.Box)
        return model.batch(observations if is_array else list(iterate(space, observations)))

    if not model.gives_actions:
        return _as_batch_policy(forward, spaces)
    shape, dtype = spaces.action.shape, spaces.action.dtype
    assert shape is not None
    return lambda observations: forward(observations).astype(dtype).reshape(shape)


def _flattener(spaces: BatchSpaces) -> Callable[[Any], Any]:
    single, batch = spaces.single_observation, spaces.observation
    if isinstance(single, gymnasium.spaces.Box):
        shape = (spaces.num_envs, -1)
        return lambda observations: observations.reshape(shape)
    flatten = flattener(single)
    return lambda observations: np.stack([flatten(row) for row in iterate(batch, observations)])


def _as_batch_policy(forward: Callable[[Any], Float64], spaces: BatchSpaces) -> Policy:
    """Turn numbers into actions as `network.as_policy` does, over the last axis."""
    count, dtype, single = spaces.num_envs, spaces.action.dtype, spaces.single_action
    match single:
        case gymnasium.spaces.Discrete(start=start):
            first = int(start)
            return lambda observations: (forward(observations).argmax(axis=-1) + first).astype(
                dtype
            )
        case gymnasium.spaces.MultiDiscrete(nvec=nvec, start=starts):
            cuts, shape = np.cumsum(nvec.ravel())[:-1], (count, *nvec.shape)
            firsts = starts.ravel()

            def choose(observations: Any) -> Any:
                parts = np.split(forward(observations), cuts, axis=-1)
                chosen = np.stack([part.argmax(axis=-1) for part in parts], axis=-1)
                return (firsts + chosen).astype(dtype).reshape(shape)

            return choose
        case gymnasium.spaces.Box(low=low, high=high, shape=shape):
            lowest, highest = low.ravel().astype(np.float64), high.ravel().astype(np.float64)

            def act(observations: Any) -> Any:
                bounded = np.minimum(np.maximum(forward(observations), lowest), highest)
                return bounded.astype(dtype).reshape((count, *shape))

            return act
        case _:
            shape = (count, *single.shape)
            return lambda observations: (forward(observations) > 0).astype(dtype).reshape(shape)
