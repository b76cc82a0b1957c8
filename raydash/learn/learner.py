"""What raydash asks of a learner, its own or a user's.

A learner searches for the parameters of a policy by ask and tell: it gives a population of
candidates, is told the mean return of each, and gives the next population. A class of your own is
named `module:Class`; it is called with keyword arguments only::

    Class(num_parameters=..., start=..., population=..., sigma=..., seed=..., **options)

`population` is None where the spec leaves it open, `options` is the spec's `learner.options`.
It need not inherit from anything.
"""

import traceback
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.records import Float64
from raydash.core.words.texts import one_line

State = Mapping[str, NDArray[Any]]
"""Plain arrays of numbers, by name."""


@runtime_checkable
class Learner(Protocol):
    """The methods that every learner has.

    It may also have those of `RestorableLearner`, and these:

    - `best_guess() -> Float64 (num_parameters,)`: the parameters that are evaluated and saved.
      Without it, those of the best candidate of the generation before.
    - `sigma: float`: the step size of the search, which is shown.
    - `num_restarts: int`: how often the search was restarted, which is shown and marked.
    """

    def ask(self) -> Float64:
        """Return the next candidates, one flat vector per row: (population, num_parameters).

        It may be called twice without a `tell` in between: then the results of the first
        population were lost.
        """

    def tell(self, returns: Float64) -> None:
        """Take in the mean return of each candidate of the last `ask`: shape (population,).

        They are in the order of the candidates; more is better; all are finite.
        """


@runtime_checkable
class RestorableLearner(Learner, Protocol):
    """A learner that resumes where it was after its process died; others start from scratch."""

    def state(self) -> State:
        """Return everything that it needs to resume."""

    def restore(self, state: State) -> None:
        """Resume from such a state; this is called right after the learner was made."""


def fault_of_exception(kind: str, error: Exception, when: str) -> Fault:
    """Turn an exception out of a learner's code into a fault."""
    keys = ("learner.kind", "learner.options") if isinstance(error, TypeError) else ()
    return Fault(
        f"The learner {kind} raised {type(error).__name__} {when}",
        one_line(error),
        "The traceback names the line",
        detail=traceback.format_exc(),
        keys=keys or ("learner.kind",),
        bad_input=True,
        kind=FaultKind.USER_CODE,
    )


def checked_candidates(kind: str, candidates: Any, num_parameters: int) -> Float64:
    """Return what `ask` gave as a matrix of finite numbers.

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
