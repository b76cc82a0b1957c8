"""The figures that timing an environment gathers, and words for the problems it meets."""

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from warnings import WarningMessage

import numpy as np
import psutil

from raydash.core.env_check import EnvCheck, EnvProblem
from raydash.core.words.texts import one_line

NUM_SPACE_CHECKS = 1000
"""For this many steps the observations are checked against their space."""
_MAX_SAMPLES = 100_000
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"^(WARN|ERROR|INFO|UserWarning):\s*")


@dataclass(slots=True)
class Timing:
    """Figures gathered by stepping. Times are in seconds.

    Attributes:
        steps_s: Durations of the first 100 000 single steps.
        resets_s: Durations of single resets.
        took_s: Duration of everything together.
        num_env_steps: Steps that were made.
        num_agent_steps: Actions of all agents in these steps; None: there is one agent.
        num_terminated: Episodes that were terminated.
        num_truncated: Episodes that were truncated.
        num_episodes: Finished episodes.
        memory_at_half: Resident bytes when half of the time was over.
        num_bad_rewards: NaN or infinite rewards; with many agents, episodes in which an agent's
            return was NaN or infinite.
        num_outside: Observations outside their space, among the first `NUM_SPACE_CHECKS` steps.
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
    num_bad_rewards: int = 0
    num_outside: int = 0

    def add_step(self, step_s: float, *, past_half: bool) -> None:
        """Count a step that took `step_s`."""
        self.num_env_steps += 1
        if len(self.steps_s) < _MAX_SAMPLES:
            self.steps_s.append(step_s)
        if past_half and self.memory_at_half is None:
            self.memory_at_half = _memory()

    def add_episode(self, *, terminated: bool, truncated: bool) -> None:
        """Count a finished episode."""
        self.num_episodes += 1
        self.num_terminated += terminated
        self.num_truncated += truncated

    def fill_in(self, found: EnvCheck) -> EnvCheck:
        """Return the check's findings with these figures filled in."""
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


def close_env(close: Callable[[], None]) -> list[EnvProblem]:
    """Close an environment; an exception becomes a problem."""
    try:
        close()
    except Exception as error:
        return [problem_of_exception("close raised", error)]
    return []


def problem_of_exception(what: str, error: Exception) -> EnvProblem:
    """Turn an exception into a problem in plain words, with its traceback."""
    words = plain_text(one_line(error))
    if isinstance(error, AssertionError) and not str(error):
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        words = f"this does not hold: {line.removeprefix('assert ')}"
    named = words if isinstance(error, AssertionError) else f"{type(error).__name__}: {words}"
    return EnvProblem(True, f"{what}: {named}", traceback.format_exc())


def warning_problems(caught: Sequence[WarningMessage]) -> list[EnvProblem]:
    """Turn warnings into problems in plain words, each text once.

    A deprecation warning of some library is no problem of the environment, but one of Gymnasium's
    own ("out of date") is.
    """
    texts = [
        str(each.message)
        for each in caught
        if not issubclass(each.category, DeprecationWarning) or "WARN:" in str(each.message)
    ]
    return [EnvProblem(False, words) for words in dict.fromkeys(map(plain_text, texts))]


def space_text(space: object) -> str:
    """Return Gymnasium's text for a space, on one line."""
    return " ".join(str(space).split())


def plain_text(text: str) -> str:
    """Remove colours, prefixes, line breaks and final full stops from a text."""
    return _PREFIX.sub("", " ".join(_ANSI.sub("", text).split())).rstrip(".")


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)
