"""Weights of a policy on disk: plain arrays in an `.npz`, which can't execute code."""

import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from raydash.core.faults import Fault, FaultError
from raydash.core.records import Float64

MAX_LAYERS = 64
_MEAN, _STD = "observation_mean", "observation_std"


@dataclass(frozen=True, slots=True)
class Weights:
    """A feed-forward network: linear layers with tanh between them.

    Attributes:
        layers: Each layer's matrix, shape (inputs, outputs), and bias, shape (outputs,).
        mean: Is subtracted from the flattened observation; shape (inputs of the first layer,).
        std: The difference is divided by this; same shape.
    """

    layers: tuple[tuple[Float64, Float64], ...]
    mean: Float64
    std: Float64

    @property
    def num_inputs(self) -> int:
        """The length of the flattened observation."""
        return int(self.layers[0][0].shape[0])

    @property
    def num_outputs(self) -> int:
        """The length of the last layer's output."""
        return int(self.layers[-1][0].shape[1])


def write_weights(path: Path, weights: Weights) -> None:
    """Write weights to a file whole or not at all.

    Raises:
        OSError: if the file can't be written.
    """
    arrays: dict[str, Float64] = {_MEAN: weights.mean, _STD: weights.std}
    for number, (matrix, bias) in enumerate(weights.layers):
        arrays[f"layer_{number}_weight"] = matrix
        arrays[f"layer_{number}_bias"] = bias
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f"{path.stem}.", suffix=".npz", delete=False
    ) as file:
        try:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub mixes up the keywords
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def read_weights(path: str) -> Weights:
    """Read weights from a file and check them.

    Raises:
        FaultError: if the file is missing or damaged, or holds no chain of layers or numbers that
            are not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in file.files}
    except FileNotFoundError as error:
        _refuse(path, "there is no such file", str(error))
    except OSError as error:
        _refuse(path, error.strerror or "it can't be read", str(error))
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, TypeError, AttributeError) as error:
        _refuse(path, "it is no .npz file of plain arrays", str(error))
    layers: list[tuple[Float64, Float64]] = []
    while (name := f"layer_{len(layers)}_weight") in arrays and len(layers) < MAX_LAYERS:
        matrix = arrays[name]
        bias = arrays.get(f"layer_{len(layers)}_bias")
        if matrix.ndim != 2 or not matrix.size:
            _refuse(path, f"{name} has shape {matrix.shape}, not (inputs, outputs)")
        if bias is None or bias.shape != matrix.shape[1:]:
            _refuse(path, f"layer_{len(layers)}_bias does not have {matrix.shape[1]} numbers")
        if layers and layers[-1][0].shape[1] != matrix.shape[0]:
            before = layers[-1][0].shape[1]
            _refuse(
                path, f"{name} takes {matrix.shape[0]} numbers, the layer before gives {before}"
            )
        layers.append((matrix, bias))
    if not layers:
        _refuse(path, "it holds no layer_0_weight")
    count = layers[0][0].shape[0]
    mean = arrays.get(_MEAN, np.zeros(count))
    std = arrays.get(_STD, np.ones(count))
    if mean.shape != (count,) or std.shape != (count,):
        _refuse(path, f"{_MEAN} and {_STD} do not have {count} numbers each")
    if not all(np.isfinite(array).all() for array in arrays.values()) or not (std > 0).all():
        _refuse(path, f"it holds numbers that are not finite, or an {_STD} that is not above 0")
    return Weights(tuple(layers), mean, std)


def _refuse(path: str, why: str, detail: str = "") -> NoReturn:
    raise FaultError(
        Fault(
            f"The weights in {path} can't be used",
            why,
            "Give a file with arrays layer_0_weight (inputs, outputs), layer_0_bias, and so on",
            detail=detail,
            keys=("policy.path",),
            bad_input=True,
        )
    )
