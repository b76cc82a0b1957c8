"""What raydash asks of a learner, its own or a user's.

A learner searches for the parameters of a policy by asking and telling: it gives a population of
candidates, hears what mean return each had, and gives the next one. A class of your own is named
`module:Class`; it is called with keyword arguments only::

    Class(num_parameters=..., start=..., population=..., sigma=..., seed=..., **options)

`population` is None where the spec leaves it open, `options` is the spec's `learner.options`.
Nothing has to be inherited from.
"""

import traceback
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raydash.core.faults import Fault, FaultError
from raydash.core.records import Float64
from raydash.worker.words import one_line

State = Mapping[str, NDArray[Any]]
"""Plain arrays of numbers by name."""


@runtime_checkable
class Learner(Protocol):
    """What every learner has. `RestorableLearner` and the names below are welcome as well.

    - `best_guess() -> Float64 (num_parameters,)`: what is evaluated and saved. Without it: the
      best candidate of the generation before.
    - `sigma: float`: the step size of the search, which is shown.
    - `num_restarts: int`: how often the search began anew, which is shown and marked.
    """

    def ask(self) -> Float64:
        """The next candidates, one flat vector a row: shape (population, num_parameters).

        It may be called again without a `tell`: the results of the population before were lost.
        """

    def tell(self, returns: Float64) -> None:
        """The mean return of each candidate of the last `ask`, in its order: shape (population,).

        More is better; all are finite.
        """


@runtime_checkable
class RestorableLearner(Learner, Protocol):
    """A learner that goes on where it was after its process died; others begin anew."""

    def state(self) -> State:
        """Everything that it needs to go on."""

    def restore(self, state: State) -> None:
        """Go on from such a state; called right after it was made."""


def raised(kind: str, error: Exception, when: str) -> Fault:
    """What to say of an exception out of a learner's code."""
    keys = ("learner.kind", "learner.options") if isinstance(error, TypeError) else ()
    return Fault(
        f"The learner {kind} raised {type(error).__name__} {when}",
        one_line(error),
        "The traceback names the line",
        detail=traceback.format_exc(),
        keys=keys or ("learner.kind",),
        bad_input=True,
    )


def checked_candidates(kind: str, candidates: Any, num_parameters: int) -> Float64:
    """What `ask` gave, as a matrix of finite numbers.

    Raises:
        FaultError: if it is something else.
    """
    why = ""
    try:
        matrix: Float64 = np.array(candidates, np.float64)
    except (TypeError, ValueError) as error:
        why = f"that is no matrix of numbers: {one_line(error)}"
    else:
        if matrix.ndim != 2 or matrix.shape[1] != num_parameters or not len(matrix):
            why = f"its shape is {matrix.shape}, not (population, {num_parameters})"
        elif not np.isfinite(matrix).all():
            bad = int((~np.isfinite(matrix).all(axis=1)).sum())
            why = f"{bad} of its {len(matrix)} candidates hold NaN or infinite numbers"
    if why:
        raise FaultError(
            Fault(
                f"The learner {kind} gave candidates that can't be played",
                why,
                "Let ask() give finite numbers, one candidate a row",
                keys=("learner.kind",),
                bad_input=True,
            )
        )
    return matrix
