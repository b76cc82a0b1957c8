"""Holds the policies of all agents of a multi-agent environment."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from raydash.core.faults import Fault, FaultError
from raydash.core.spec import PolicySpec
from raydash.worker.envs.multi_agent import Game, action_mask, game_of
from raydash.worker.policies.policy import Policy, Space, check_action, make_policy


class AgentPolicies:
    """The policies by agent; each is made when its agent is first met.

    Random actions come from each agent's own action space and respect action masks. Any other
    policy is shared by the agents whose spaces are equal.
    """

    def __init__(self, spec: PolicySpec, seed: int, source_dirs: Sequence[str] = ()) -> None:
        """Keep the arguments; no policy is made yet.

        Each agent's seed is derived from `seed`. The user's modules are imported from
        `source_dirs`.
        """
        self._spec = spec
        self._env: Any = None
        self._seed = seed
        self._source_dirs = source_dirs
        self._by_agent: dict[Any, Policy] = {}
        self._spaces: dict[Any, Space] = {}
        self._shared: list[tuple[Space, Space, Policy]] = []

    def swap(self, spec: PolicySpec, seed: int) -> None:
        """Give another policy to all agents that were met and to those still to come.

        Raises:
            FaultError: if the policy can't be made for one of them; then all keep the old one.
        """
        before = self._spec, self._seed, self._by_agent, self._shared
        agents = list(self._by_agent)
        self._spec, self._seed, self._by_agent, self._shared = spec, seed, {}, []
        try:
            for agent in agents:
                self._by_agent[agent] = self._make(agent)
        except BaseException:
            self._spec, self._seed, self._by_agent, self._shared = before
            raise

    def game_of(self, env: Any) -> Game:
        """Make the game around an environment, which may be a remade one, with these policies."""
        self._env = env
        return game_of(env, self.act)

    def act(self, agent: Any, observation: Any, info: Any = None) -> Any:
        """Choose an agent's action.

        Raises:
            FaultError: if its policy can't be made or does not fit its spaces.
            Exception: whatever a user's own policy raises.
        """
        policy = self._by_agent.get(agent)
        if policy is None:
            policy = self._by_agent[agent] = self._make(agent)
        if self._spec.kind == "random":
            mask = action_mask(observation, info)
            if mask is not None and isinstance(self._spaces[agent], gymnasium.spaces.Discrete):
                return self._spaces[agent].sample(np.asarray(mask, np.int8))
        return policy(observation)

    def check(self, agent: Any, observation: Any, info: Any = None) -> None:
        """Ask an agent's policy for an action and check that it is one.

        Raises:
            FaultError: if the policy can't be made, raises, or returns something else.
        """
        if agent not in self._by_agent:
            self._by_agent[agent] = self._make(agent)

        def policy(seen: Any) -> Any:
            return self.act(agent, seen, info)

        try:
            check_action(policy, observation, self._spaces[agent], self._spec)
        except FaultError as error:
            raise _naming_agent(agent, error) from error

    def _make(self, agent: Any) -> Policy:
        observation_space, action_space = spaces_of(self._env, agent)
        self._spaces[agent] = action_space
        if self._spec.kind != "random":
            for observations, actions, policy in self._shared:
                if observations == observation_space and actions == action_space:
                    return policy
        key = len(self._by_agent)
        seed = int(np.random.SeedSequence(self._seed, spawn_key=(key,)).generate_state(1)[0] >> 1)
        try:
            made = make_policy(self._spec, observation_space, action_space, seed, self._source_dirs)
        except FaultError as error:
            raise _naming_agent(agent, error) from error
        self._shared.append((observation_space, action_space, made))
        return made


def spaces_of(env: Any, agent: Any) -> tuple[Space, Space]:
    """Return the observation space and the action space of an agent.

    Raises:
        FaultError: if the environment does not have them.
    """
    try:
        return env.observation_space(agent), env.action_space(agent)
    except Exception as error:
        raise FaultError(
            Fault(
                f"The agent {agent} has no spaces",
                f"{type(error).__name__}: {error}",
                "Let observation_space(agent) and action_space(agent) answer for every agent that "
                "comes",
                keys=("env.id",),
                bad_input=True,
            )
        ) from error


def _naming_agent(agent: Any, error: FaultError) -> FaultError:
    """Return the same fault, naming the agent."""
    fault = error.fault
    return FaultError(replace(fault, what=f"{fault.what}, for the agent {agent}"))
