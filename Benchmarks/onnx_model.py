"""The encoder as an ONNX model, from a weights file, without PyTorch: for ONNX Runtime and OpenVINO.

onnx_model.py WEIGHTS.h5 ENCODER.onnx
"""

from __future__ import annotations

import sys

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """weights: the encoder's entries of the state_dict, without prefix. x (n,3,32,32) -> encoded, features.

    Batch norms are kept: both runtimes fold them into the convolutions when they load the model.
    """
    nodes = []
    value = "x"
    for layer in range(4):
        value = _node(nodes, "Conv", [value, f"c{layer}.weight", f"c{layer}.bias"], f"conv{layer}")
        if layer > 0:
            entries = [f"b{layer}.{entry}" for entry in ("weight", "bias", "running_mean", "running_var")]
            value = _node(nodes, "BatchNormalization", [value, *entries], f"norm{layer}")
        value = _node(nodes, "Relu", [value], "features" if layer == 1 else f"relu{layer}")
    value = _node(nodes, "Flatten", [value], "flat")
    _node(nodes, "Gemm", [value, "l1.weight", "l1.bias"], "encoded", transB=1)
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [
            helper.make_tensor_value_info("encoded", TensorProto.FLOAT, ["n", 64]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 128, 26, 26]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if array.ndim],
    )
    # Versions that every runtime of the last years reads; the operators have not changed since.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _node(nodes: list[onnx.NodeProto], operator: str, inputs: list[str], output: str, **attributes: int) -> str:
    """Appends a node; returns its output's name."""
    nodes.append(helper.make_node(operator, inputs, [output], **attributes))
    return output


if __name__ == "__main__":
    with h5py.File(sys.argv[1], "r") as file:
        prefix = "encoder."
        weights = {key.removeprefix(prefix): file[key][()] for key in file if key.startswith(prefix)}
    onnx.save(build(weights), sys.argv[2])
