"""What chooses the actions of every agent of a multi-agent environment."""

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
    """Policies by agent, made when an agent is first met.

    Random actions come from each agent's own action space, legal ones only where an environment
    has a mask of them. Any other policy is shared by the agents whose spaces are equal.
    """

    def __init__(self, spec: PolicySpec, seed: int, source_dirs: Sequence[str] = ()) -> None:
        """Nothing is made yet.

        Args:
            spec: Which policy.
            seed: Of the action spaces; each agent derives its own.
            source_dirs: Folders to import the user's modules from.
        """
        self._spec = spec
        self._env: Any = None
        self._seed = seed
        self._source_dirs = source_dirs
        self._by_agent: dict[Any, Policy] = {}
        self._spaces: dict[Any, Space] = {}
        self._shared: list[tuple[Space, Space, Policy]] = []

    def swap(self, spec: PolicySpec, seed: int) -> None:
        """Another policy for all agents that were met, and those to come.

        Raises:
            FaultError: if one of them can't have it; then all keep what they have.
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
        """The game around an environment, the first or one made anew, whose agents these are."""
        self._env = env
        return game_of(env, self.act)

    def act(self, agent: Any, observation: Any, info: Any = None) -> Any:
        """An agent's action.

        Raises:
            FaultError: if its policy can't be had, or does not fit its spaces.
            Exception: whatever a policy of the user's raises.
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
        """Ask for an action of an agent, and see that it is one.

        Raises:
            FaultError: if its policy can't be had, raises, or answers something else.
        """
        if agent not in self._by_agent:
            self._by_agent[agent] = self._make(agent)

        def policy(seen: Any) -> Any:
            return self.act(agent, seen, info)

        try:
            check_action(policy, observation, self._spaces[agent], self._spec)
        except FaultError as error:
            raise _of(agent, error) from error

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
            raise _of(agent, error) from error
        self._shared.append((observation_space, action_space, made))
        return made


def spaces_of(env: Any, agent: Any) -> tuple[Space, Space]:
    """What an agent sees and does.

    Raises:
        FaultError: if the environment does not say so.
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


def _of(agent: Any, error: FaultError) -> FaultError:
    """The same fault, with the agent whose it is."""
    fault = error.fault
    return FaultError(replace(fault, what=f"{fault.what}, for the agent {agent}"))
