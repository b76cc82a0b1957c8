"""Multi-agent environments whose agents come and go, and which count independently."""

import json
import os
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from tests.fakes.user_code.spaces import SPACES

OBSERVATIONS = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
ACTIONS = gymnasium.spaces.Discrete(3)
NO_MORE = 12
"""No agent joins after this many steps."""


class Account:
    """An environment's own counts of its episodes, written as a line of JSON each to a folder."""

    def __init__(self, folder: str) -> None:
        self.episodes: list[dict[str, Any]] = []
        self.num_steps = 0
        self.agent_steps: dict[str, int] = {}
        self._tape = -1
        if folder:
            name = os.path.join(folder, f"{os.getpid()}-{id(self)}.tape")
            self._tape = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.begin()

    def begin(self) -> None:
        self.returns: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self.actions: list[int] = []
        self.len = 0
        self.terminated = self.truncated = False

    def came(self, agent: str) -> None:
        self.returns.setdefault(agent, 0.0)
        self.steps.setdefault(agent, 0)

    def acted(self, agent: str, action: int) -> None:
        self.steps[agent] += 1
        self.actions.append(int(action))
        self.agent_steps[agent] = self.agent_steps.get(agent, 0) + 1

    def stepped(self) -> None:
        self.len += 1
        self.num_steps += 1

    def got(self, agent: str, reward: float) -> None:
        self.returns[agent] += reward

    def ended(self, agent: str, terminated: bool, truncated: bool) -> None:
        self.terminated |= terminated
        self.truncated |= truncated

    def over(self) -> None:
        row = {
            "returns": self.returns,
            "steps": self.steps,
            "actions": self.actions,
            "len": self.len,
            "terminated": self.terminated,
            "truncated": self.truncated,
        }
        self.episodes.append(row)
        if self._tape >= 0:
            os.write(self._tape, (json.dumps(row) + "\n").encode())

    def close(self) -> None:
        if self._tape >= 0:
            os.close(self._tape)
            self._tape = -1


class Flock(ParallelEnv):
    """Birds join and leave a flock; each is terminated or truncated, some with both flags.

    Attributes:
        account: Its own counts.
    """

    metadata = {"name": "flock"}  # noqa: RUF012
    render_mode = None

    def __init__(self, folder: str = "", raises_at: int = 0, step_s: float = 0.0) -> None:
        self.account = Account(folder)
        self.possible_agents = [f"bird_{n}" for n in range(4)]
        self.agents: list[str] = []
        self._raises_at = raises_at
        self._rng = np.random.default_rng(0)

    def observation_space(self, agent: str) -> Any:
        return OBSERVATIONS

    def action_space(self, agent: str) -> Any:
        return ACTIONS

    def _seen(self) -> dict[str, Any]:
        return {agent: np.zeros(2, np.float32) for agent in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.account.begin()
        self.agents = self.possible_agents[:2]
        for agent in self.agents:
            self.account.came(agent)
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        assert set(actions) == set(self.agents), (actions, self.agents)
        assert all(ACTIONS.contains(action) for action in actions.values())
        if self._raises_at and self.account.num_steps + 1 == self._raises_at:
            raise RuntimeError("the flock panics")
        account, rng = self.account, self._rng
        account.stepped()
        rewards, terminated, truncated = {}, {}, {}
        for agent in self.agents:
            account.acted(agent, actions[agent])
            rewards[agent] = float(rng.integers(-2, 4)) / 2
            account.got(agent, rewards[agent])
            ends = rng.random() < 0.15
            kind = rng.integers(3)
            terminated[agent] = bool(ends and kind != 1)
            truncated[agent] = bool(ends and kind != 0)
            if ends:
                account.ended(agent, terminated[agent], truncated[agent])
        infos = {agent: {"is_success": rewards[agent] > 0} for agent in self.agents}
        observations = self._seen()
        self.agents = [a for a in self.agents if not (terminated[a] or truncated[a])]
        newcomers = [a for a in self.possible_agents if a not in account.returns]
        if newcomers and self.agents and account.len < NO_MORE and rng.random() < 0.3:
            agent = newcomers[0]
            self.agents.append(agent)
            account.came(agent)
            observations[agent] = np.zeros(2, np.float32)
            infos[agent] = {}
        if not self.agents:
            account.over()
        return observations, rewards, terminated, truncated, infos

    def close(self) -> None:
        self.account.close()


class Queue(AECEnv):
    """Customers take turns; some leave while others go on, and a new one may come in the middle.

    Rewards go to all, not only to the one who acts.

    Attributes:
        account: Its own counts.
    """

    metadata = {"name": "queue"}  # noqa: RUF012
    render_mode = None

    def __init__(self, folder: str = "", masked: bool = False) -> None:
        super().__init__()
        self.account = Account(folder)
        self.possible_agents = [f"customer_{n}" for n in range(3)]
        self._masked = masked
        self._rng = np.random.default_rng(0)
        self.num_dead_steps = 0

    def observation_space(self, agent: str) -> Any:
        if not self._masked:
            return OBSERVATIONS
        mask = gymnasium.spaces.Box(0, 1, (3,), np.int8)
        return gymnasium.spaces.Dict({"observation": OBSERVATIONS, "action_mask": mask})

    def action_space(self, agent: str) -> Any:
        return ACTIONS

    def observe(self, agent: str) -> Any:
        seen = np.zeros(2, np.float32)
        if not self._masked:
            return seen
        return {"observation": seen, "action_mask": np.array([0, 1, 0], np.int8)}

    def _comes(self, agent: str) -> None:
        self.agents.append(agent)
        self.rewards[agent] = self._cumulative_rewards[agent] = 0.0
        self.terminations[agent] = self.truncations[agent] = False
        self.infos[agent] = {}
        self.account.came(agent)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.account.begin()
        self.agents: list[str] = []
        self.rewards: dict[str, float] = {}
        self._cumulative_rewards: dict[str, float] = {}
        self.terminations: dict[str, bool] = {}
        self.truncations: dict[str, bool] = {}
        self.infos: dict[str, dict[str, Any]] = {}
        for agent in self.possible_agents[:2]:
            self._comes(agent)
        self.agent_selection = self.agents[0]

    def step(self, action: Any) -> None:
        agent, account, rng = self.agent_selection, self.account, self._rng
        if self.terminations[agent] or self.truncations[agent]:
            assert action is None, "a dead agent acts"
            self.num_dead_steps += 1
            place = self.agents.index(agent)
            self._was_dead_step(action)
            if self.agents:
                self.agent_selection = self.agents[place % len(self.agents)]
            else:
                account.over()
            return
        assert ACTIONS.contains(action)
        if self._masked:
            assert action == 1, "an illegal action"
        account.stepped()
        account.acted(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        for other in self.agents:
            self.rewards[other] = float(rng.integers(-2, 4)) / 2
            account.got(other, self.rewards[other])
        for other in self.agents:
            alive = not (self.terminations[other] or self.truncations[other])
            if alive and rng.random() < 0.1:
                kind = rng.integers(3)
                self.terminations[other] = bool(kind != 1)
                self.truncations[other] = bool(kind != 0)
                self.infos[other] = {"is_success": True}
                account.ended(other, self.terminations[other], self.truncations[other])
        self._accumulate_rewards()
        newcomers = [a for a in self.possible_agents if a not in account.returns]
        if newcomers and account.len < NO_MORE and rng.random() < 0.3:
            self._comes(newcomers[0])
        place = self.agents.index(agent)
        self.agent_selection = self.agents[(place + 1) % len(self.agents)]

    def close(self) -> None:
        self.account.close()


class Crowd(Flock):
    """Gives every new agent a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._born = 0

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self._born += 4
        self.possible_agents = [f"bird_{self._born + n}" for n in range(4)]
        return super().reset(seed)


class Nobody(Flock):
    """Has no agents."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed)
        self.agents = []
        return {}, {}


class Over(Queue):
    """Ends all agents in the reset."""

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        super().reset(seed)
        self.terminations = dict.fromkeys(self.agents, True)


class Mixed(Flock):
    """Gives the second agent another observation space than the first."""

    def observation_space(self, agent: str) -> Any:
        return OBSERVATIONS if agent == "bird_0" else gymnasium.spaces.Box(0, 1, (3,), np.float32)


class Choir(Flock):
    """Has agents that observe and act in a space of `tests.fakes.user_code.spaces`."""

    def __init__(self, space: str) -> None:
        super().__init__()
        self._spaces = {agent: deepcopy(SPACES[space]) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        return self._spaces[agent]

    action_space = observation_space

    def _seen(self) -> dict[str, Any]:
        return {agent: self._spaces[agent].sample() for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        for agent, action in actions.items():
            assert self._spaces[agent].contains(action), (agent, action)
        seen, *rest = super().step(dict.fromkeys(actions, 0))
        return {agent: self._spaces[agent].sample() for agent in seen}, *rest


class Pair(ParallelEnv):
    """Has two players who follow all rules and end together after `length` steps."""

    metadata = {"name": "pair_v0"}  # noqa: RUF012
    render_mode = None

    def __init__(self, length: int = 10) -> None:
        self.possible_agents = ["player_0", "player_1"]
        self.agents: list[str] = []
        self._length, self._steps = length, 0

    def observation_space(self, agent: str) -> Any:
        return OBSERVATIONS

    def action_space(self, agent: str) -> Any:
        return ACTIONS

    def observe(self) -> dict[str, Any]:
        return {agent: np.full(2, 0.5, np.float32) for agent in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self._steps = list(self.possible_agents), 0
        return self.observe(), {agent: {} for agent in self.agents}

    def reward(self) -> float:
        return 1.0

    def step(self, actions: dict[str, int]) -> Any:
        self._steps += 1
        over = self._steps == self._length
        observations = self.observe()
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        rewards = dict.fromkeys(self.agents, self.reward())
        terminated = dict.fromkeys(self.agents, over)
        truncated = dict.fromkeys(self.agents, False)
        if over:
            self.agents = []
        return observations, rewards, terminated, truncated, infos

    def close(self) -> None:
        pass


class OddPair(Pair):
    """Gives rewards that are NaN and observations outside their space."""

    def observe(self) -> dict[str, Any]:
        return {agent: np.full(2, 7.0, np.float32) for agent in self.agents}

    def reward(self) -> float:
        return float("nan")


class WordlessPair(Pair):
    """Returns no infos from its reset."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed)[0], []
