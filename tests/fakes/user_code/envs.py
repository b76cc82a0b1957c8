"""Environments with known behaviour: they follow a script, crash, hang, or are badly made."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

Box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class FakeClock:
    """A clock that advances by `tick_s` at each reading, and whenever a test sets it."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.tick_s = tick_s

    def __call__(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


@dataclass(frozen=True)
class Step:
    """One step of a script.

    Attributes:
        reward: Its reward.
        terminated: Its flag.
        truncated: Its flag.
        error: The step raises an exception with this text instead; empty: it does not.
        lasts_s: How far the step moves the fake clock.
    """

    reward: Any = 1.0
    terminated: bool = False
    truncated: bool = False
    error: str = ""
    lasts_s: float = 0.0


class ScriptedEnv(gymnasium.Env[Any, Any]):
    """Plays a list of steps over and over; resets do not rewind it.

    Attributes:
        taken: Every step that was played, in order, over all instances that share `tape`.
        reset_seeds: The seed of every reset.
        num_closed: Calls of `close`.
    """

    observation_space = Box
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(
        self,
        script: Sequence[Step] = (Step(), Step(), Step(terminated=True)),
        *,
        clock: FakeClock | None = None,
        failing_resets: Sequence[int] = (),
        tape: "ScriptedEnv | None" = None,
    ) -> None:
        self.script = script
        self.clock = clock or FakeClock()
        self.failing_resets = set(failing_resets)
        self.taken: list[Step] = tape.taken if tape else []
        self.reset_seeds: list[int | None] = tape.reset_seeds if tape else []
        self.actions: list[Any] = tape.actions if tape else []
        self.num_closed = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.reset_seeds.append(seed)
        if len(self.reset_seeds) - 1 in self.failing_resets:
            raise RuntimeError("the reset failed")
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        now = self.script[len(self.taken) % len(self.script)]
        self.taken.append(now)
        self.actions.append(action)
        self.clock.now_s += now.lasts_s
        if now.error:
            raise RuntimeError(now.error)
        return np.zeros(2, np.float32), now.reward, now.terminated, now.truncated, {}

    def close(self) -> None:
        self.num_closed += 1


@dataclass
class Tape:
    """What really happened to each sub-environment of a `ScriptedVectorEnv`, in order.

    Attributes:
        taken: Each sub-environment's steps; None where an exception ended all episodes.
        seeds: The seeds of each reset of all sub-environments.
        masks: The mask of each reset of some sub-environments.
    """

    taken: list[list[Step | None]]
    seeds: list[Any]
    masks: list[list[bool]]


class ScriptedVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Plays a script per sub-environment, over and over, in one of the autoreset modes.

    An error raises for all, before any sub-environment has stepped. The call that resets a
    sub-environment in NEXT_STEP gives a reward and flags that nobody may count.
    """

    def __init__(
        self,
        scripts: Sequence[Sequence[Step]],
        mode: gymnasium.vector.AutoresetMode,
        *,
        clock: FakeClock | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.num_envs = len(scripts)
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space = Box
        self.single_action_space = gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.vector.utils.batch_space(Box, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(
            self.single_action_space, self.num_envs
        )
        self.scripts, self.mode = scripts, mode
        self.clock = clock or FakeClock()
        self.tape = tape or Tape([[] for _ in scripts], [], [])
        self.played = [0] * self.num_envs
        if tape:
            self.played = [len(taken) for taken in tape.taken]
        self.over = np.ones(self.num_envs, np.bool_)
        self.num_closed = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if options is None:
            self.tape.seeds.append(seed)
            self.over[:] = False
        else:
            mask = options["reset_mask"]
            assert (mask == self.over).all()
            self.tape.masks.append(mask.tolist())
            self.over[mask] = False
        return np.zeros((self.num_envs, 2), np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self.mode is gymnasium.vector.AutoresetMode.DISABLED:
            assert not self.over.any()
        now = [
            script[played % len(script)]
            for script, played in zip(self.scripts, self.played, strict=True)
        ]
        resetting = self.over.copy()
        if any(step.error for step, reset in zip(now, resetting, strict=True) if not reset):
            for index in range(self.num_envs):
                self.tape.taken[index].append(None)
                self.played[index] += 1
            raise RuntimeError("the simulator has gone")
        rewards = np.full(self.num_envs, 1000.0)
        terminated, truncated = np.ones((2, self.num_envs), np.bool_)
        for going in np.flatnonzero(~resetting):
            step = now[going]
            self.tape.taken[going].append(step)
            self.played[going] += 1
            self.clock.now_s += step.lasts_s
            rewards[going] = step.reward
            terminated[going], truncated[going] = step.terminated, step.truncated
        self.over = (terminated | truncated) & ~resetting
        if self.mode is gymnasium.vector.AutoresetMode.SAME_STEP:
            self.over[:] = False
        return np.zeros((self.num_envs, 2), np.float32), rewards, terminated, truncated, {}

    def close_extras(self, **kwargs: Any) -> None:
        self.num_closed += 1


class CountingEnv(gymnasium.Env[Any, Any]):
    """Ends each episode after `length` steps of reward 1; importable by name."""

    observation_space = Box
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 10, flavour: str = "plain") -> None:
        if flavour not in ("plain", "sweet"):
            raise ValueError(f"no such flavour: {flavour}")
        self.length = length
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return np.zeros(2, np.float32), 1.0, self._steps >= self.length, False, {}


class NumberedEnv(CountingEnv):
    """Gives its n-th episode the return n, so that a lost or doubled one is noticed."""

    def __init__(self, length: int = 10, step_s: float = 0.0005) -> None:
        super().__init__(length)
        self._step_s = step_s
        self._number = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        threading.Event().wait(self._step_s)
        observation, _, terminated, truncated, info = super().step(action)
        self._number += terminated
        return observation, float(self._number * terminated), terminated, truncated, info


class SlowEnv(CountingEnv):
    """Takes `step_s` of wall time per step."""

    def __init__(self, step_s: float = 0.01, length: int = 10) -> None:
        super().__init__(length)
        self.step_s = step_s

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        threading.Event().wait(self.step_s)
        return super().step(action)


class HangingEnv(CountingEnv):
    """Hangs forever in its constructor, in `reset` or after some steps; makes a file first."""

    def __init__(self, where: str = "step", after_steps: int = 0, note: str = "") -> None:
        super().__init__(length=1000)
        self.where = where
        self.after_steps = after_steps
        self.note = note
        if where == "constructor":
            self._hang()

    def _hang(self) -> None:
        if self.note:
            Path(self.note).touch()
        threading.Event().wait()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.where == "reset":
            self._hang()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.where == "step" and self._steps >= self.after_steps:
            self._hang()
        return super().step(action)


class CrashingEnv(CountingEnv):
    """Takes its process down by a signal or by exiting."""

    def __init__(self, where: str = "step", how: str = "segfault", after_steps: int = 0) -> None:
        super().__init__(length=1000)
        self.where, self.how, self.after_steps = where, how, after_steps
        if where == "constructor":
            self._crash()

    def _crash(self) -> None:
        print("last words of the environment", flush=True)
        if self.how == "exit":
            sys.exit(3)
        os.kill(os.getpid(), signal.SIGSEGV)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.where == "reset":
            self._crash()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.where == "step" and self._steps >= self.after_steps:
            self._crash()
        return super().step(action)


class RaisingEnv(CountingEnv):
    """Raises in its constructor, in `reset` or in every step."""

    def __init__(self, where: str = "step") -> None:
        super().__init__()
        self.where = where
        if where == "constructor":
            raise RuntimeError("the licence server is away")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.where == "reset":
            raise RuntimeError("the level file is missing")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.where == "step":
            raise RuntimeError("the simulator has gone")
        return super().step(action)


class ChattyEnv(CountingEnv):
    """Prints a lot, on Python's stdout and on the descriptor below it."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        print("{" * 300_000)
        os.write(1, b"[]\n" * 10_000)
        os.write(2, b"warning\n" * 10_000)
        return super().reset(seed=seed, options=options)


class SeedlessEnv(CountingEnv):
    """Has the `reset` of an old API."""

    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(2, np.float32), {}


class SpacelessEnv(CountingEnv):
    """Does not say which observations it gives, or which actions it takes."""

    def __init__(self, without: str) -> None:
        super().__init__()
        setattr(self, without, None)


class UnclosableEnv(CountingEnv):
    """Raises when it is closed."""

    def close(self) -> None:
        raise RuntimeError("cannot close")


class OddEnv(CountingEnv):
    """Breaks the rules after a while: gives observations outside its space, and NaN rewards."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, _, terminated, truncated, info = super().step(action)
        return np.full(2, 9.0, np.float32), float("nan"), terminated, truncated, info


class RuleBreakingEnv(CountingEnv):
    """Gives no info dictionary."""

    def step(self, action: Any) -> Any:
        return (*super().step(action)[:4], None)


class NotAnEnv:
    """Has the methods but not the base class."""

    def reset(self) -> None: ...

    def step(self, action: Any) -> None: ...


ROUND: tuple[tuple[tuple[float, ...], str], ...] = (
    ((1.0, 2.0, 3.5), "terminated"),
    ((-4.25,), "truncated"),
    ((0.5, 0.25), "both"),
    ((10.0, 10.0), "error"),
    ((2.0, float("nan")), "terminated"),
    ((0.0, 0.0, 0.0, -1.0), "terminated"),
)
"""Rewards and ending of each episode of a `TapedEnv`; an error is raised in the step after them."""


class TapedEnv(CountingEnv):
    """Plays `ROUND` over and over and writes down every finished episode, one line each.

    The file in `folder` is named after the process: `return length ending`.
    """

    _played = 0  # per process, because an environment that failed is remade

    def __init__(self, folder: str, step_s: float = 0.0005) -> None:
        super().__init__()
        self._tape = os.open(
            os.path.join(folder, f"{os.getpid()}.tape"), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        )
        self._step_s = step_s

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        rewards, ending = ROUND[TapedEnv._played % len(ROUND)]
        threading.Event().wait(self._step_s)
        if self._steps == len(rewards):
            self._write(rewards, ending)
            raise RuntimeError("the tape tears")
        self._steps += 1
        is_last = self._steps == len(rewards) and ending != "error"
        if is_last:
            self._write(rewards, ending)
        terminated = is_last and ending in ("terminated", "both")
        truncated = is_last and ending in ("truncated", "both")
        return np.zeros(2, np.float32), rewards[self._steps - 1], terminated, truncated, {}

    def close(self) -> None:
        os.close(self._tape)

    def _write(self, rewards: Sequence[float], ending: str) -> None:
        TapedEnv._played += 1
        os.write(self._tape, f"{sum(rewards)} {len(rewards)} {ending}\n".encode())


def make_counting(length: int = 3) -> CountingEnv:
    """Make an environment, as a function instead of a class."""
    return CountingEnv(length)


gymnasium.register("raydash_tests/Counting-v0", entry_point=CountingEnv, max_episode_steps=7)


class NotedEnv(CountingEnv):
    """Plays `ROUND` over and over and writes down all it does, in whatever process it is.

    It can be pickled between any two steps. In `folder` it writes, per seed of a first reset:
    `SEED.episodes` (`return length ending`), `SEED.steps` (the process id of each step) and
    `made` (the process id of each constructor).
    """

    def __init__(self, folder: str, step_s: float = 0.0) -> None:
        super().__init__()
        self._folder = folder
        self._step_s = step_s
        self._seed: int | None = None
        self._played = 0
        self._note("made", f"{os.getpid()}")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._seed = self._seed if seed is None else seed
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        rewards, ending = ROUND[self._played % len(ROUND)]
        threading.Event().wait(self._step_s)
        is_torn = self._steps == len(rewards)
        if not is_torn:
            self._note(f"{self._seed}.steps", f"{os.getpid()}")
            self._steps += 1
        is_last = self._steps == len(rewards) and ending != "error"
        if is_last or is_torn:
            self._played += 1
            self._note(f"{self._seed}.episodes", f"{sum(rewards)} {len(rewards)} {ending}")
        if is_torn:
            raise RuntimeError("the tape tears")
        terminated = is_last and ending in ("terminated", "both")
        truncated = is_last and ending in ("truncated", "both")
        return np.zeros(2, np.float32), rewards[self._steps - 1], terminated, truncated, {}

    def get_state(self) -> tuple[int, int]:
        return self._played, self._steps

    def _note(self, name: str, line: str) -> None:
        file = os.open(os.path.join(self._folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{line}\n".encode())
        os.close(file)


class ShortEnv(NotedEnv):
    """Has episodes of one step that never fail."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 1.0, True, False, {}


class TalkingEnv(CountingEnv):
    """Says the seed of its first reset, on stdout and stderr, whenever it is reset or stepped."""

    def __init__(self) -> None:
        super().__init__()
        self._seed: int | None = None

    def _say(self, doing: str) -> None:
        print(f"{doing} {self._seed}")
        print(f"{doing} {self._seed}, loudly", file=sys.stderr)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._seed = self._seed if seed is None else seed
        self._say("resets")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._say("steps")
        return super().step(action)


class OnceHangingEnv(CountingEnv):
    """Hangs forever in its 40th step, but only one of all that are made with the same folder."""

    def __init__(self, folder: str) -> None:
        super().__init__(length=1000)
        self._file = os.path.join(folder, "hung")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._steps == 40:
            try:
                file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                pass
            else:
                os.write(file, f"{os.getpid()}\n".encode())
                os.close(file)
                threading.Event().wait()
        return super().step(action)


class EchoEnv(gymnasium.Env[Any, Any]):
    """Never ends, and rewards each step with the action that was taken."""

    observation_space = Box
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), float(action), False, False, {}
