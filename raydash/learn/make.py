"""Makes the learner that a spec asks for: our own, or a class of the user's."""

from collections.abc import Callable, Sequence
from typing import Any

from raydash.core.faults import Fault, FaultError
from raydash.core.records import Float64
from raydash.core.spec import LearnerSpec
from raydash.learn.learner import Learner, fault_of_exception
from raydash.worker.envs.environments import add_source_dirs
from raydash.worker.envs.own_code import own_callable


def make_learner(
    spec: LearnerSpec, start: Float64, seed: int, source_dirs: Sequence[str] = ()
) -> Learner:
    """Make the learner that a spec asks for; its search starts at `start`, (num_parameters,).

    The user's modules are imported from `source_dirs`.

    Raises:
        FaultError: if it can't be made, naming `learner.kind` and the traceback.
    """
    assert spec.kind is not None
    common = {
        "num_parameters": len(start),
        "start": start,
        "population": spec.population,
        "sigma": spec.sigma,
        "seed": seed,
    }
    creator = _class_of(spec.kind, source_dirs)
    try:
        made = creator(**common, **dict(spec.options))
    except Exception as error:
        raise FaultError(fault_of_exception(spec.kind, error, "when it was made")) from error
    if not isinstance(made, Learner):
        raise FaultError(
            Fault(
                f"{spec.kind} is no learner",
                f"a {type(made).__name__} has no ask and tell",
                "See raydash.learn.learner.Learner for what a learner has",
                keys=("learner.kind",),
                bad_input=True,
            )
        )
    return made


def _class_of(kind: str, source_dirs: Sequence[str]) -> Callable[..., Any]:
    if kind == "cmaes":
        from raydash.learn.cmaes_learner import CmaesLearner

        return CmaesLearner
    add_source_dirs(source_dirs)
    return own_callable("learner", kind, "learner.kind")
