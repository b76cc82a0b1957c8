"""Steps both kinds of PettingZoo's multi-agent environments through one interface.

PettingZoo is an extra. One of its environments can exist only where it has been imported already,
so nothing here imports it.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

ChooseAction = Callable[[str, Any, Any], Any]
"""Takes an agent's name, its observation and its info; returns its action."""

MAX_AGENTS = 128
OTHERS = "other agents"
"""The common name of the agents that a worker meets after the first `MAX_AGENTS`: an environment
that makes a new name for each newcomer would otherwise fill the memory."""
_MAX_DEAD_STEPS = 10_000


def is_multi_agent(env: object) -> bool:
    """Whether an object is a `ParallelEnv` or `AECEnv` of PettingZoo."""
    return is_parallel(env) or _is(env, "AECEnv")


def is_parallel(env: object) -> bool:
    """Whether an environment is a `ParallelEnv`, whose agents all act at once."""
    return _is(env, "ParallelEnv")


def _is(env: object, kind: str) -> bool:
    pettingzoo = sys.modules.get("pettingzoo")
    found = getattr(pettingzoo, kind, None)
    return found is not None and isinstance(env, found)


class Game(ABC):
    """One multi-agent environment and the episode that is under way in it.

    An env step is one `env.step` in which an agent acted; the episode is over when no agent is
    left. It counts as terminated if any agent was terminated and as truncated if any was truncated,
    so it may be both. If its agents left without either flag, it counts as terminated.

    Attributes:
        env: PettingZoo's environment.
        num_steps: Env steps of this episode.
        returns: Undiscounted returns by agent, of all agents that took part in this episode.
        agent_steps: Number of actions by agent in this episode.
        terminated: An agent was terminated in this episode.
        truncated: An agent was truncated in this episode.
        last_infos: The last info of each agent that is over, by name.
        is_over: No agent is left.
    """

    def __init__(self, env: Any, act: ChooseAction) -> None:
        """Take over an environment that is not reset yet; `act` chooses its agents' actions."""
        self.env = env
        self._act = act
        self._known: set[str] = set()
        self._clear_episode()

    @abstractmethod
    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            Exception: whatever the environment raises; RuntimeError if there is no agent, or if all
                agents are over at once.
        """

    @abstractmethod
    def to_act(self) -> list[tuple[Any, Any, Any]]:
        """Return agent, observation and info of each agent that acts next."""

    @abstractmethod
    def choose(self) -> None:
        """Let these agents choose their actions; raises what the policy raises."""

    @abstractmethod
    def step(self) -> None:
        """Step with the chosen actions; raises what the environment raises."""

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _clear_episode(self) -> None:
        self.num_steps = 0
        self.returns: dict[str, float] = {}
        self.agent_steps: dict[str, int] = {}
        self.terminated = self.truncated = self.is_over = False
        self.last_infos: dict[str, Any] = {}

    def _register(self, agent: Any) -> str:
        """Let an agent take part from now on; return its name in figures."""
        name = str(agent)
        if name not in self._known:
            if len(self._known) >= MAX_AGENTS:
                name = OTHERS
            self._known.add(name)
        if name not in self.returns:
            self.returns[name] = 0.0
            self.agent_steps[name] = 0
        return name

    def _note_end(self, agent: Any, terminated: Any, truncated: Any, info: Any) -> None:
        if terminated or truncated:
            self.terminated |= bool(terminated)
            self.truncated |= bool(truncated)
            self.last_infos[str(agent)] = info

    def _end(self) -> None:
        self.is_over = True
        self.terminated |= not self.truncated

    def _check_has_agents(self) -> None:
        if not self.env.agents:
            raise RuntimeError("there is no agent after reset: env.agents is empty")


class ParallelGame(Game):
    """A game whose agents all act at once (`ParallelEnv`)."""

    @override
    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self._clear_episode()
        self._observations, self._infos = self.env.reset(seed=seed)
        self._actions: dict[Any, Any] = {}
        self._check_has_agents()
        for agent in self.env.agents:
            self._register(agent)
        return self._observations, {}

    @override
    def to_act(self) -> list[tuple[Any, Any, Any]]:
        return [
            (agent, self._observations[agent], self._infos.get(agent)) for agent in self.env.agents
        ]

    @override
    def choose(self) -> None:
        act, observations, infos = self._act, self._observations, self._infos
        self._actions = {
            agent: act(agent, observations[agent], infos.get(agent)) for agent in self.env.agents
        }

    @override
    def step(self) -> None:
        actions = self._actions
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._observations, self._infos = observations, infos
        self.num_steps += 1
        for agent in actions:
            self.agent_steps[self._register(agent)] += 1
        for agent, reward in rewards.items():
            self.returns[self._register(agent)] += float(reward)
        for agent, flag in terminated.items():
            cut = truncated.get(agent, False)
            if flag or cut:
                self._note_end(agent, flag, cut, infos.get(agent))
        if self.env.agents:
            for agent in self.env.agents:
                self._register(agent)
        else:
            self._end()


class AecGame(Game):
    """A game whose agents act one after the other (`AECEnv`).

    The turn of an agent that is over is not a step and takes no action. The reward that an agent
    got since its last turn is known only when its next turn comes.
    """

    @override
    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self._clear_episode()
        self.env.reset(seed=seed)
        self._check_has_agents()
        for agent in self.env.agents:
            self._register(agent)
        self._next_turn()
        if self.is_over:
            raise RuntimeError("all agents were over after reset")
        return self._observation, {}

    @override
    def to_act(self) -> list[tuple[Any, Any, Any]]:
        return [(self._agent, self._observation, self._info)]

    @override
    def choose(self) -> None:
        self._action = self._act(self._agent, self._observation, self._info)

    @override
    def step(self) -> None:
        name = self._register(self._agent)
        self.env.step(self._action)
        self.num_steps += 1
        self.agent_steps[name] += 1
        self._next_turn()

    def _next_turn(self) -> None:
        """Go on to the next agent that is not over, letting those that are over leave."""
        env = self.env
        for _ in range(_MAX_DEAD_STEPS):
            if not env.agents:
                self._end()
                return
            agent = env.agent_selection
            observation, reward, terminated, truncated, info = env.last()
            self.returns[self._register(agent)] += float(reward)
            if not (terminated or truncated):
                self._agent, self._observation, self._info = agent, observation, info
                return
            self._note_end(agent, terminated, truncated, info)
            env.step(None)
        raise RuntimeError(f"{env.agent_selection} is over and does not leave")


def game_of(env: Any, act: ChooseAction) -> Game:
    """Make the game around an environment of either kind."""
    return ParallelGame(env, act) if is_parallel(env) else AecGame(env, act)


def action_mask(observation: Any, info: Any) -> Any:
    """Return the mask of legal actions where there is one, as in PettingZoo's own games."""
    for place in (observation, info):
        if isinstance(place, Mapping) and "action_mask" in place:
            return place["action_mask"]
    return None
