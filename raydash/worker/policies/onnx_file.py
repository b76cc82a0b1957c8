"""Policies in ONNX files: networks that any tool exported, computed without that tool.

A model takes one input: observations as the environment gives them or flattened to vectors, with or
without a batch axis in front. Only its first output is computed, and not a second one such as
values. Floats are taken as the outputs of raydash's own networks are (`network_policy`), whole
numbers as actions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import utils as spaces

from raydash.core.faults import Fault, FaultError
from raydash.core.words import plain
from raydash.core.words.texts import one_line
from raydash.worker.policies.files import missing_extra, path_of
from raydash.worker.policies.network import num_inputs, num_outputs

Space: TypeAlias = "gymnasium.Space[Any]"
Array: TypeAlias = npt.NDArray[Any]

_DTYPES: Mapping[str, type[Any]] = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    **{
        f"tensor({kind}{bits})": np.dtype(f"{kind}{bits}").type
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
}
_KEYS = ("policy.path", "env.id")


class OnnxModel:
    """A model that runs on one thread of the CPU, and was tried once on zeros.

    Attributes:
        gives_actions: Its output is whole numbers: the actions themselves.
    """

    def __init__(
        self, path: str | None, observation_space: Space, action_space: Space, num_rows: int = 1
    ) -> None:
        """Load an `.onnx` file and check that the model fits the spaces of one environment.

        `num_rows` is the number of observations that it will be given at once.

        Raises:
            FaultError: if it can't be loaded or does not fit.
        """
        self._path = path_of("onnx", path, "an .onnx file")
        self._session = _session(self._path)
        given, answers = self._session.get_inputs(), self._session.get_outputs()
        if len(given) != 1:
            names = ", ".join(each.name for each in given) or "none"
            raise self._refused(
                f"it has {len(given)} inputs ({names}); it should have one: the observation"
            )
        self._input, self._output = given[0].name, answers[0].name
        self._dtype, self._row_shape, self._is_batched = self._fit_input(
            given[0], observation_space, num_rows
        )
        self._flatten = self._flattener(observation_space)
        self.gives_actions = self._fit_output(action_space, num_rows)

    def one(self, observation: Any) -> Array:
        """Compute the output for one observation, as a vector."""
        row = np.asarray(self._flatten(observation), self._dtype).reshape(self._row_shape)
        answer = self._run(row[None] if self._is_batched else row)
        return answer.reshape(-1)

    def batch(self, observations: Sequence[Any] | Array) -> Array:
        """Compute the outputs for `num_rows` observations, shape (num_rows, numbers)."""
        rows = np.array([self._flatten(each) for each in observations], self._dtype)
        return self._run(rows.reshape(-1, *self._row_shape)).reshape(len(rows), -1)

    def _run(self, rows: Array) -> Array:
        return np.asarray(self._session.run((self._output,), {self._input: rows})[0])

    def _fit_input(
        self, given: Any, space: Space, num_rows: int
    ) -> tuple[Any, tuple[int, ...], bool]:
        """Return type and shape of an input row, and whether there is a batch axis before it."""
        dtype = _DTYPES.get(given.type)
        shapes: list[tuple[int, ...]] = [(num_inputs(space, self._path),)]
        offered: Any = spaces.flatten_space(space).dtype
        if isinstance(space, gymnasium.spaces.Box):
            shapes = [space.shape, *shapes]
        wanted = " or ".join(_shown((None, *shape)) for shape in dict.fromkeys(shapes))
        has = f"{given.name}: {given.type} with shape {_shown(given.shape)}"
        if dtype is None or not np.can_cast(offered, dtype, "same_kind"):
            raise self._refused(f"its input is {has}, the environment's observations are {offered}")
        for shape in shapes:
            if _matches(given.shape[1:], shape) and given.shape:
                batch = given.shape[0]
                if isinstance(batch, int) and batch != num_rows:
                    raise self._refused(
                        f"its input is {has}: {batch} observations at once; "
                        f"it should take {num_rows}, or any number"
                    )
                return dtype, shape, True
            if num_rows == 1 and _matches(given.shape, shape):
                return dtype, shape, False
        raise self._refused(f"its input is {has}; it should have shape {wanted}")

    def _flattener(self, space: Space) -> Callable[[Any], Any]:
        if isinstance(space, gymnasium.spaces.Box):
            return lambda observation: observation
        return lambda observation: spaces.flatten(space, observation)

    def _fit_output(self, space: Space, num_rows: int) -> bool:
        """Compute once on zeros, as the output says more than the file's declarations."""
        scores, whole = num_outputs(space, self._path), _num_whole(space)
        rows = np.zeros((num_rows, *self._row_shape), self._dtype)
        try:
            answer = self._run(rows if self._is_batched else rows[0])
        except Exception as error:
            raise self._refused(
                f"computing zeros raised {type(error).__name__}: {one_line(error)}"
            ) from error
        has = f"its output {self._output} is {answer.dtype} with shape {answer.shape}"
        is_whole = answer.dtype.kind in "iub"
        if self._is_batched and answer.shape[:1] != (num_rows,):
            raise self._refused(f"{has} for {num_rows} observations: the batch axis is missing")
        width = answer.size // num_rows
        if (is_whole and width == whole) or (answer.dtype.kind == "f" and width == scores):
            return is_whole
        raise self._refused(
            f"{has}; for each observation {space} takes {plain.plural(scores, 'number')}, "
            f"or {plain.plural(whole, 'whole number')}: the action itself"
        )

    def _refused(self, why: str) -> FaultError:
        return FaultError(
            Fault(
                f"The ONNX model in {self._path} does not fit the environment",
                why,
                "Export the model for this environment, or choose another one",
                keys=_KEYS,
                bad_input=True,
            )
        )


def fixed_rows(path: str | None) -> int | None:
    """Return how many observations a model takes at once; None: any number.

    Raises:
        FaultError: if it can't be loaded.
    """
    inputs = _session(path_of("onnx", path, "an .onnx file")).get_inputs()
    shape = inputs[0].shape if inputs else []
    return shape[0] if shape and isinstance(shape[0], int) else None


def _session(path: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx", "onnxruntime", error) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised as exceptions too
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise FaultError(
            Fault(
                f"The ONNX model in {path} can't be loaded",
                one_line(error),
                "Give a file that was exported as ONNX, with the weights that it names beside it",
                keys=("policy.path",),
                bad_input=True,
            )
        ) from error


def _matches(dimensions: Sequence[Any], shape: Sequence[int]) -> bool:
    """Whether dimensions fit a shape; names and None stand for any size."""
    return len(dimensions) == len(shape) and all(
        have == want or not isinstance(have, int)
        for have, want in zip(dimensions, shape, strict=True)
    )


def _num_whole(space: Space) -> int:
    """Return how many whole numbers make an action."""
    return int(np.prod(space.shape, dtype=int)) if space.shape is not None else 0


def _shown(dimensions: Sequence[Any]) -> str:
    names = [str(each) if isinstance(each, int | str) else "any" for each in dimensions]
    return f"({', '.join(names)})"
