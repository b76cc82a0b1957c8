"""Reads back what environments such as `NotedEnv` wrote down."""

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from raydash.worker.envs.seeds import env_seeds, remade_seed

Episode = tuple[float | str, int, str]
"""Return, or "none" if there is none; length; ending."""


def lines(folder: Path, name: str) -> list[str]:
    """Return the lines of one file; none if it was never written."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def seeds_of(worker: int, incarnation: int = 0, env_index: int = 0) -> Iterator[int]:
    """Generate the seeds of one environment and of those that replaced it after errors."""
    first = env_seeds(0, worker_index=worker, incarnation=incarnation, env_index=env_index).reset
    yield first
    for number in count(1):
        yield remade_seed(first, number)


def played(folder: Path, worker: int, incarnation: int = 0, env_index: int = 0) -> list[Episode]:
    """Return the episodes that an incarnation's environments noted, in order."""
    found: list[Episode] = []
    for seed in seeds_of(worker, incarnation, env_index):
        of_one = lines(folder, f"{seed}.episodes")
        for line in of_one:
            total, length, ending = line.split()
            found.append(comparable(float(total), int(length), ending))
        if not of_one:
            break
    return found


def num_noted_steps(folder: Path) -> int:
    """Return the number of steps that the environments of all incarnations noted."""
    return sum(len(lines(folder, path.name)) for path in folder.glob("*.steps"))


def comparable(total: float, length: int, ending: str) -> Episode:
    """Make an episode that equals its twin even if its return is NaN or missing."""
    has_return = ending != "error" and not math.isnan(total)
    return (total if has_return else "none", length, ending)
