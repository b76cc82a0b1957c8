"""An environment whose infos say, among other things, whether it reached its goal."""

import os
from typing import Any

import gymnasium
import numpy as np


class GoalEnv(gymnasium.Env[Any, Any]):
    """Episodes of 1 to 9 steps; the last step's info has `is_success`, `score` and `picture`.

    `score` is missing in every third episode; `picture` is not a number; earlier infos hold other
    values. With a `folder`, each episode is written there: `length is_success score`.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, folder: str = "", step_s: float = 0.0) -> None:
        self._tape = -1
        if folder:
            name = os.path.join(folder, f"{os.getpid()}-{id(self)}.tape")
            self._tape = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._step_s = step_s
        self._episode = -1
        self._steps = self._length = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode += 1
        self._steps, self._length = 0, int(self.np_random.integers(1, 10))
        return np.zeros(2, np.float32), {"is_success": True, "score": 1e9}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        is_last = self._steps == self._length
        info: dict[str, Any] = {"is_success": not is_last, "score": -1e9, "picture": np.zeros(3)}
        if is_last:
            info["is_success"] = bool(self._length % 2)
            info["score"] = self._length / 4
            if self._episode % 3 == 2:
                del info["score"]
            if self._tape >= 0:
                line = f"{self._length} {int(info['is_success'])} {info.get('score', 'nan')}\n"
                os.write(self._tape, line.encode())
        return np.zeros(2, np.float32), 1.0, is_last, False, info

    def close(self) -> None:
        if self._tape >= 0:
            os.close(self._tape)
            self._tape = -1
