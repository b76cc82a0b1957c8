"""Small ONNX models, made with onnx's own helper instead of a training framework."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64, UINT8 = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.UINT8,
)
OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime that pyproject allows


def write_affine(
    path: Path,
    matrix: Any,
    *,
    row_shape: Sequence[int] | None = None,
    batch: str | int | None = "batch",
    dtype: int = FLOAT,
    argmax: bool = False,
    num_inputs: int = 1,
) -> str:
    """Write a model that multiplies flattened observations by a matrix; return its path.

    Args:
        path: The file to write.
        matrix: Shape (inputs, outputs).
        row_shape: Shape of one observation; None: a vector.
        batch: Size of the batch axis, or its name if it is free; None: there is none.
        dtype: Type of the input; the output is float32.
        argmax: Output the index of the largest number instead, as int64.
        num_inputs: Number of inputs of the same kind, of which the last one is used.
    """
    matrix = np.asarray(matrix, np.float32)
    row_shape = [matrix.shape[0]] if row_shape is None else list(row_shape)
    shape = row_shape if batch is None else [batch, *row_shape]
    rows = [-1, matrix.shape[0]] if batch is not None else [matrix.shape[0]]
    names = [f"observation_{n}" for n in range(num_inputs - 1)] + ["observation"]
    nodes = [
        helper.make_node("Cast", ["observation"], ["numbers"], to=FLOAT),
        helper.make_node("Reshape", ["numbers", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    output = helper.make_tensor_value_info("scores", FLOAT, None)
    if argmax:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["action"], axis=-1, keepdims=0))
        output = helper.make_tensor_value_info("action", INT64, None)
    graph = helper.make_graph(
        nodes,
        "affine",
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
        [output],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(np.array(rows, np.int64), "rows"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.save(model, str(path))
    return str(path)
