"""Users' learners that each do something wrong."""

from typing import Any

import numpy as np


class _Learner:
    def __init__(self, *, num_parameters: int, **rest: Any) -> None:
        self.size = num_parameters

    def ask(self) -> Any:
        return np.zeros((4, self.size))

    def tell(self, returns: Any) -> None:
        """Learn nothing."""


class RaisingAtOnce(_Learner):
    def __init__(self, **rest: Any) -> None:
        raise RuntimeError("not today")


class NotALearner:
    def __init__(self, **rest: Any) -> None:
        """Have neither ask nor tell."""


class GivesNaN(_Learner):
    def ask(self) -> Any:
        return np.full((4, self.size), np.nan)


class GivesWrongShape(_Learner):
    def ask(self) -> Any:
        return np.zeros((4, self.size + 1))


class GivesWords(_Learner):
    def ask(self) -> Any:
        return [["a"] * self.size]


class RaisesInAsk(_Learner):
    def ask(self) -> Any:
        raise RuntimeError("nothing comes to mind")


class RaisesInTell(_Learner):
    def tell(self, returns: Any) -> None:
        raise RuntimeError("that can't be")


class KeepsObjects(_Learner):
    def state(self) -> Any:
        return {"x": np.array([{}], object)}

    def restore(self, state: Any) -> None:
        """Never called."""


class KeepsANumber(_Learner):
    def state(self) -> Any:
        return 5

    def restore(self, state: Any) -> None:
        """Never called."""


class HasWords(_Learner):
    sigma = "large"
