"""Matrices whose columns have names, where names come to be as a run goes on."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.number)


def all_names(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every name once, in the order in which they appear."""
    return tuple(dict.fromkeys(name for names in parts for name in names))


def placed(
    values: NDArray[Number], own: tuple[str, ...], names: tuple[str, ...], fill: float
) -> NDArray[Number]:
    """A matrix with one column per own name, under `names`; `fill` where it has none of it.

    Names of its own that are not among `names` are left out.
    """
    if own == names:
        return values
    whole = np.full((len(values), len(names)), fill, values.dtype)
    places = {name: column for column, name in enumerate(names)}
    for column, name in enumerate(own):
        if name in places:
            whole[:, places[name]] = values[:, column]
    return whole
