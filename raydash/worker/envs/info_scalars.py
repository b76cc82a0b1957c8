"""Collects chosen scalars from the last step's info of each episode of a chunk."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from raydash.core.records import EpisodeScalars
from raydash.core.spec import IS_SUCCESS


class InfoScalars:
    """Collects scalars; an episode's row is its number within the chunk, from 0.

    Values that are not numbers are left out and their keys are noted; NaN stands for "no value".
    """

    def __init__(self, info_keys: Sequence[str] = ()) -> None:
        """Collect the values under `info_keys`, and under `is_success` in any case."""
        self._keys = tuple(dict.fromkeys((IS_SUCCESS, *info_keys)))
        self._found: dict[str, list[tuple[int, float]]] = {}
        self._ignored: dict[str, None] = {}

    def add(self, row: int, info: Any) -> None:
        """Add the info of the last step of one episode."""
        if not isinstance(info, Mapping):
            return
        for key in self._keys:
            if key in info:
                self._add(key, row, info[key])

    def add_agents(self, row: int, infos: Iterable[Any]) -> None:
        """Add, per key, the mean over the last infos of one episode's agents that have it."""
        tables = [info for info in infos if isinstance(info, Mapping)]
        for key in self._keys:
            numbers = [number_of(info[key]) for info in tables if key in info]
            if None in numbers:
                self._ignored[key] = None
            known = [each for each in numbers if each is not None and not math.isnan(each)]
            if known:
                self._add(key, row, sum(known) / len(known))

    def add_batch(self, first_row: int, env_indices: Sequence[int], info: Any) -> None:
        """Add the info of a vector environment's call in which some episodes ended.

        Args:
            first_row: The row of the first of these episodes; the others follow.
            env_indices: The sub-environments whose episodes ended.
            info: Columns by key, with a mask `_key` where only some values are known, as Gymnasium
                has it; under `final_info` if the same call has already reset these environments.
        """
        if not info:
            return
        if "final_info" in info:
            info = info["final_info"]
        for key in self._keys:
            if key not in info:
                continue
            values, known = info[key], info.get(f"_{key}")
            for row, index in enumerate(env_indices, first_row):
                if known is None or known[index]:
                    self._add(key, row, values[index])

    def take_columns(self, num_episodes: int) -> EpisodeScalars:
        """Return the columns of the chunk's episodes and start collecting for the next chunk."""
        found, self._found = self._found, {}
        names = tuple(key for key in self._keys if key in found)
        values = np.full((num_episodes, len(names)), np.nan)
        for column, name in enumerate(names):
            rows, numbers = zip(*found[name], strict=True)
            values[list(rows), column] = numbers
        return EpisodeScalars(names, values)

    def take_ignored_keys(self) -> tuple[str, ...]:
        """Return the keys that held something other than a number since the last call."""
        ignored, self._ignored = self._ignored, {}
        return tuple(ignored)

    def _add(self, key: str, row: int, value: Any) -> None:
        number = number_of(value)
        if number is None:
            self._ignored[key] = None
        elif not math.isnan(number):
            self._found.setdefault(key, []).append((row, number))


def number_of(value: Any) -> float | None:
    """Return a finite number or NaN, a flag as 0 or 1; None for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if not isinstance(value, int | float | np.integer | np.floating | np.bool_):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isinf(number) else number


def chosen_info(info: Any, info_keys: Sequence[str]) -> dict[str, Any]:
    """Return the part of an info that `InfoScalars.add` reads, so that only this is sent."""
    if not isinstance(info, Mapping):
        return {}
    return {key: info[key] for key in (IS_SUCCESS, *info_keys) if key in info}
