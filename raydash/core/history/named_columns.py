"""Matrices with named columns, to which a run may add names as it goes on."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.number)


def all_names(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Collect every name once, in the order in which they appear."""
    return tuple(dict.fromkeys(name for names in parts for name in names))


def placed(
    values: NDArray[Number], own: tuple[str, ...], names: tuple[str, ...], fill: float
) -> NDArray[Number]:
    """Rearrange the columns of a matrix, named `own`, to match `names`.

    Columns that the matrix does not have are filled with `fill`; those that are not among `names`
    are left out.
    """
    if own == names:
        return values
    whole = np.full((len(values), len(names)), fill, values.dtype)
    places = {name: column for column, name in enumerate(names)}
    for column, name in enumerate(own):
        if name in places:
            whole[:, places[name]] = values[:, column]
    return whole
