"""Chosen scalars from the last step's info of each episode of a chunk."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from raydash.core.records import EpisodeScalars
from raydash.core.spec import IS_SUCCESS


class InfoScalars:
    """Gathers them; an episode's row is its number within the chunk, from 0.

    What is no number is left out, and its key is kept in `ignored`; NaN stands for "none".
    """

    def __init__(self, info_keys: Sequence[str] = ()) -> None:
        """Begin with none.

        Args:
            info_keys: Of info, besides `is_success`.
        """
        self._keys = tuple(dict.fromkeys((IS_SUCCESS, *info_keys)))
        self._found: dict[str, list[tuple[int, float]]] = {}
        self._ignored: dict[str, None] = {}

    def take(self, row: int, info: Any) -> None:
        """The info of the last step of one episode."""
        if not isinstance(info, Mapping):
            return
        for key in self._keys:
            if key in info:
                self._keep(key, row, info[key])

    def take_agents(self, row: int, infos: Iterable[Any]) -> None:
        """The last infos of the agents of one episode: the mean over those that have a key."""
        tables = [info for info in infos if isinstance(info, Mapping)]
        for key in self._keys:
            numbers = [number_of(info[key]) for info in tables if key in info]
            if None in numbers:
                self._ignored[key] = None
            known = [each for each in numbers if each is not None and not math.isnan(each)]
            if known:
                self._keep(key, row, sum(known) / len(known))

    def take_batch(self, first_row: int, env_indices: Sequence[int], info: Any) -> None:
        """The info of a vector environment's call, in which some episodes ended.

        Args:
            first_row: Of the first of these episodes; the others follow.
            env_indices: Of the sub-environments whose episodes they are.
            info: Columns by key, with `_key` where it says for whom a value is known, as
                Gymnasium's have it; `final_info` where the same call has reset them already.
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
                    self._keep(key, row, values[index])

    def columns(self, num_episodes: int) -> EpisodeScalars:
        """Of the episodes of the chunk; the next chunk begins."""
        found, self._found = self._found, {}
        names = tuple(key for key in self._keys if key in found)
        values = np.full((num_episodes, len(names)), np.nan)
        for column, name in enumerate(names):
            rows, numbers = zip(*found[name], strict=True)
            values[list(rows), column] = numbers
        return EpisodeScalars(names, values)

    def ignored(self) -> tuple[str, ...]:
        """Keys that held something else than a number, since this was asked."""
        ignored, self._ignored = self._ignored, {}
        return tuple(ignored)

    def _keep(self, key: str, row: int, value: Any) -> None:
        number = number_of(value)
        if number is None:
            self._ignored[key] = None
        elif not math.isnan(number):
            self._found.setdefault(key, []).append((row, number))


def number_of(value: Any) -> float | None:
    """A finite number or NaN, a flag as 0 or 1; None for anything else."""
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
    """What `InfoScalars.take` looks at: all of an info that has to travel."""
    if not isinstance(info, Mapping):
        return {}
    return {key: info[key] for key in (IS_SUCCESS, *info_keys) if key in info}
