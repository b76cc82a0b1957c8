"""What the timing of a check gathers, and the words for what it meets."""

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from warnings import WarningMessage

import numpy as np
import psutil

from raydash.core.env_check import EnvCheck, EnvProblem
from raydash.worker.words import one_line

NUM_LOOKED_AT = 1000
"""So many observations are looked at whether they lie in their space."""
_MAX_SAMPLES = 100_000
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"^(WARN|ERROR|INFO|UserWarning):\s*")


@dataclass(slots=True)
class Timing:
    """What stepping gathered. Times in seconds.

    Attributes:
        steps_s: Of single steps, the first 100 000.
        resets_s: Of single resets.
        took_s: All of it.
        num_env_steps: Steps made.
        num_agent_steps: Actions of all agents in them; None: there is one agent.
        num_terminated: Episodes that ended so.
        num_truncated: Likewise.
        num_episodes: Finished ones.
        memory_at_half: Resident bytes when half of the time was over.
        odd_rewards: NaN or infinite ones; of many agents, episodes with such a return.
        outside: Observations outside their space, among the first `NUM_LOOKED_AT` steps.
    """

    steps_s: list[float] = field(default_factory=list)
    resets_s: list[float] = field(default_factory=list)
    took_s: float = 0.0
    num_env_steps: int = 0
    num_agent_steps: int | None = None
    num_terminated: int = 0
    num_truncated: int = 0
    num_episodes: int = 0
    memory_at_half: int | None = None
    odd_rewards: int = 0
    outside: int = 0

    def stepped(self, step_s: float, *, past_half: bool) -> None:
        """One more step."""
        self.num_env_steps += 1
        if len(self.steps_s) < _MAX_SAMPLES:
            self.steps_s.append(step_s)
        if past_half and self.memory_at_half is None:
            self.memory_at_half = _memory()

    def ended(self, *, terminated: bool, truncated: bool) -> None:
        """One more episode."""
        self.num_episodes += 1
        self.num_terminated += terminated
        self.num_truncated += truncated

    def put_into(self, found: EnvCheck) -> EnvCheck:
        """The check with these figures."""
        rss, steps = _memory(), self.steps_s
        was = self.memory_at_half
        return replace(
            found,
            reset_time_median_s=float(np.median(self.resets_s)) if self.resets_s else None,
            step_time_median_s=float(np.median(steps)) if steps else None,
            step_time_p95_s=float(np.percentile(steps, 95)) if steps else None,
            env_steps_per_s=self.num_env_steps / self.took_s if steps else None,
            num_env_steps=self.num_env_steps,
            num_agent_steps=self.num_agent_steps,
            num_terminated=self.num_terminated,
            num_truncated=self.num_truncated,
            num_episodes=self.num_episodes,
            memory_bytes=rss,
            memory_growth_bytes=None if was is None else rss - was,
        )


def close_told(close: Callable[[], None]) -> list[EnvProblem]:
    """Close an environment; what that raises is a problem."""
    try:
        close()
    except Exception as error:
        return [raised("close raised", error)]
    return []


def raised(what: str, error: Exception) -> EnvProblem:
    """A problem out of an exception, in plain words, with its traceback."""
    words = clean(one_line(error))
    if isinstance(error, AssertionError) and not str(error):
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        words = f"this does not hold: {line.removeprefix('assert ')}"
    named = words if isinstance(error, AssertionError) else f"{type(error).__name__}: {words}"
    return EnvProblem(True, f"{what}: {named}", traceback.format_exc())


def told_once(caught: Sequence[WarningMessage]) -> list[EnvProblem]:
    """Warnings in plain words, each once.

    That a library will drop something one day is no problem of the environment; where Gymnasium
    says so itself ("out of date"), it is one.
    """
    texts = [
        str(each.message)
        for each in caught
        if not issubclass(each.category, DeprecationWarning) or "WARN:" in str(each.message)
    ]
    return [EnvProblem(False, words) for words in dict.fromkeys(map(clean, texts))]


def in_words(space: object) -> str:
    """A space in Gymnasium's words, on one line."""
    return " ".join(str(space).split())


def clean(text: str) -> str:
    """Without colours, prefixes, line breaks and final full stops."""
    return _PREFIX.sub("", " ".join(_ANSI.sub("", text).split())).rstrip(".")


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)
