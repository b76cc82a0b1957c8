"""Multi-agent environments of PettingZoo: both of their kinds behind one way to step them.

PettingZoo is an extra. An environment of its kinds exists only where it is imported already, so
nothing here imports it.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

Act = Callable[[str, Any, Any], Any]
"""An agent's name, its observation and its info in; its action out."""

MAX_AGENTS = 128
OTHERS = "other agents"
"""What agents are called together that a worker meets beyond the first `MAX_AGENTS`: names that are
made for each newcomer would never end."""
_MAX_DEAD_STEPS = 10_000


def is_multi_agent(env: object) -> bool:
    """Whether it is a `ParallelEnv` or `AECEnv` of PettingZoo."""
    return is_parallel(env) or _is(env, "AECEnv")


def is_parallel(env: object) -> bool:
    """Whether all its agents act at once."""
    return _is(env, "ParallelEnv")


def _is(env: object, kind: str) -> bool:
    pettingzoo = sys.modules.get("pettingzoo")
    found = getattr(pettingzoo, kind, None)
    return found is not None and isinstance(env, found)


class Game(ABC):
    """One multi-agent environment and the episode that is under way in it.

    An env step is one `env.step` in which somebody acted; the episode is over when no agent is
    left. Its flags: it was terminated if any agent was, and truncated if any agent was, so it was
    both if some ended one way and some the other. If its agents left without a word, it was
    terminated.

    Attributes:
        env: PettingZoo's.
        num_steps: Env steps of this episode.
        returns: Undiscounted, by agent: of all that were there in this episode.
        agent_steps: Actions, by agent, in this episode.
        terminated: Some agent was.
        truncated: Some agent was.
        last_infos: Of the agents that are over, their last one.
        is_over: No agent is left.
    """

    def __init__(self, env: Any, act: Act) -> None:
        """Take over an environment that is not reset yet.

        Args:
            env: A `ParallelEnv` or `AECEnv`.
            act: Chooses the actions.
        """
        self.env = env
        self._act = act
        self._known: set[str] = set()
        self._begin()

    @abstractmethod
    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            Exception: whatever the environment raises; RuntimeError if there is no agent, or all
                are over at once.
        """

    @abstractmethod
    def to_act(self) -> list[tuple[Any, Any, Any]]:
        """Agent, observation and info of whoever acts next."""

    @abstractmethod
    def choose(self) -> None:
        """Let whoever is to act choose; raises what the policy raises."""

    @abstractmethod
    def step(self) -> None:
        """Step with what was chosen; raises what the environment raises."""

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _begin(self) -> None:
        self.num_steps = 0
        self.returns: dict[str, float] = {}
        self.agent_steps: dict[str, int] = {}
        self.terminated = self.truncated = self.is_over = False
        self.last_infos: dict[str, Any] = {}

    def _name(self, agent: Any) -> str:
        """What an agent is called in figures; it is there from now on."""
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

    def _check_begun(self) -> None:
        if not self.env.agents:
            raise RuntimeError("there is no agent after reset: env.agents is empty")


class ParallelGame(Game):
    """All agents that are there act at once."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """See `Game`."""
        self._begin()
        self._observations, self._infos = self.env.reset(seed=seed)
        self._actions: dict[Any, Any] = {}
        self._check_begun()
        for agent in self.env.agents:
            self._name(agent)
        return self._observations, {}

    def to_act(self) -> list[tuple[Any, Any, Any]]:
        """See `Game`."""
        return [
            (agent, self._observations[agent], self._infos.get(agent)) for agent in self.env.agents
        ]

    def choose(self) -> None:
        """See `Game`."""
        act, observations, infos = self._act, self._observations, self._infos
        self._actions = {
            agent: act(agent, observations[agent], infos.get(agent)) for agent in self.env.agents
        }

    def step(self) -> None:
        """See `Game`."""
        actions = self._actions
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._observations, self._infos = observations, infos
        self.num_steps += 1
        for agent in actions:
            self.agent_steps[self._name(agent)] += 1
        for agent, reward in rewards.items():
            self.returns[self._name(agent)] += float(reward)
        for agent, flag in terminated.items():
            cut = truncated.get(agent, False)
            if flag or cut:
                self._note_end(agent, flag, cut, infos.get(agent))
        if self.env.agents:
            for agent in self.env.agents:
                self._name(agent)
        else:
            self._end()


class TurnGame(Game):
    """Agents act one after the other (AEC). A dead agent's turn is no step, and it takes no action.

    What an agent got since its last turn is known when its next one comes.
    """

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """See `Game`."""
        self._begin()
        self.env.reset(seed=seed)
        self._check_begun()
        for agent in self.env.agents:
            self._name(agent)
        self._next_turn()
        if self.is_over:
            raise RuntimeError("all agents were over after reset")
        return self._observation, {}

    def to_act(self) -> list[tuple[Any, Any, Any]]:
        """See `Game`."""
        return [(self._agent, self._observation, self._info)]

    def choose(self) -> None:
        """See `Game`."""
        self._action = self._act(self._agent, self._observation, self._info)

    def step(self) -> None:
        """See `Game`."""
        name = self._name(self._agent)
        self.env.step(self._action)
        self.num_steps += 1
        self.agent_steps[name] += 1
        self._next_turn()

    def _next_turn(self) -> None:
        """On to an agent that lives; the dead ones leave on the way."""
        env = self.env
        for _ in range(_MAX_DEAD_STEPS):
            if not env.agents:
                self._end()
                return
            agent = env.agent_selection
            observation, reward, terminated, truncated, info = env.last()
            self.returns[self._name(agent)] += float(reward)
            if not (terminated or truncated):
                self._agent, self._observation, self._info = agent, observation, info
                return
            self._note_end(agent, terminated, truncated, info)
            env.step(None)
        raise RuntimeError(f"{env.agent_selection} is over and does not leave")


def game_of(env: Any, act: Act) -> Game:
    """The game around an environment of either kind."""
    return ParallelGame(env, act) if is_parallel(env) else TurnGame(env, act)


def action_mask(observation: Any, info: Any) -> Any:
    """Which actions are legal, where an environment says so in the way of PettingZoo's games."""
    for place in (observation, info):
        if isinstance(place, Mapping) and "action_mask" in place:
            return place["action_mask"]
    return None
