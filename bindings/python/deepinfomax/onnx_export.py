"""The encoder as an ONNX model, for whatever runs ONNX: ARM, browsers, GPUs.

    Path("encoder.onnx").write_bytes(deepinfomax.onnx_export.to_onnx(model))     # or: dim convert weights.h5 encoder.onnx

Input `images`: float32 (n, c, h, w), n dynamic, pixels in [0,1]; the architecture's normalisation is inside. Outputs,
those that the architecture has: `encoded` (n, d), `features` and `conv` (n, c, h, w), `fc` (n, d). Opset 17. Features
that are vectors are (n, c, 1, 1), as in `Model.encode`. It computes what the model computes in evaluation mode: batch norm
by running statistics, no dropout.

Importing this module imports the package onnx (`pip install "deepinfomax[onnx]"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from .model import OUTPUTS, Model

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError('deepinfomax.onnx_export needs the package onnx: pip install "deepinfomax[onnx]"') from error

#: The ONNX operator set that the model asks for: the first with LayerNormalization, of 2022.
OPSET = 17
_IR_VERSION = 8  # Of the same time.
_EPSILON = 1e-5  # Of both norms, as PyTorch's.


def to_onnx(model: Model) -> bytes:
    """The encoder of `model`, checked by onnx's own checker, as the bytes of an .onnx file.

    Raises ValueError where the model holds no encoder.
    """
    _arrays.instance(model, Model, "model")
    if "encoder" not in model.networks:
        raise ValueError(f"model: expected one with an encoder, found {', '.join(model.networks) or 'no network'}")
    description = model.architecture.as_dict()
    made = _Graph({name: value for name, value in model.state_dict().items() if name.startswith("encoder.")})
    sizes, about = model.sizes, description["encoder"]

    behind: dict[str, str] = {}
    flat: set[str | None] = set()
    x, axes = made.normalised("images", description["image"]), 3
    for layer in about["layers"]:
        x, axes = made.layer(layer, x, "encoder.", axes, behind)
        if axes == 1:
            flat.add(layer["name"])
    shapes = {"encoded": (sizes.encoded,), "features": sizes.features, "conv": sizes.conv, "fc": (sizes.fc,)}
    values = {"encoded": x} | {name: behind[about[name]] for name in OUTPUTS[1:] if about.get(name) is not None}
    if about["features"] in flat:  # Vectors are maps of one location.
        axes_behind = made.constant("features.axes", np.array([2, 3], np.int64))
        values["features"] = made.add("Unsqueeze", [values["features"], axes_behind])
    for name, value in values.items():
        made.add("Identity", [value], name)
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *sizes.image])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *(shapes[name] or ())]) for name in values]
    graph = helper.make_graph(made.nodes, "encoder", inputs, outputs, made.constants)
    whole = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="deepinfomax"
    )
    helper.set_model_props(whole, {"dim_architecture": model.architecture.json()})
    onnx.checker.check_model(whole, full_check=True)
    content: bytes = whole.SerializeToString()
    return content


def difference(model: Model, content: bytes, seed: int = 0) -> float:
    """The largest difference between ONNX Runtime's outputs of an .onnx file and the model's, on random images.

    In units of an output's root mean square, where that is above 1. Raises ImportError without onnxruntime.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    chance = np.random.default_rng(seed)
    largest = 0.0
    for n in 1, 3:
        images = chance.random((n, *model.sizes.image), np.float32)
        for own, theirs in zip(model.encode(images, outputs=names), session.run(names, {"images": images}), strict=True):
            scale = max(1.0, float(np.sqrt(np.mean(np.square(own, dtype=np.float64)))))
            largest = max(largest, float(np.abs(theirs - own).max()) / scale)
    return largest


class _Graph:
    """Nodes and constants, in the order in which they are computed."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._state = state

    def add(self, op: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self._state[name])

    def normalised(self, x: str, image: Mapping[str, Any]) -> str:
        """(pixel - mean) / std."""
        for op, key, idle in ("Sub", "mean", 0), ("Div", "std", 1):
            values = np.atleast_1d(np.asarray(image[key], np.float32))
            if (values != idle).any():
                x = self.add(op, [x, self.constant(f"image.{key}", values.reshape(-1, 1, 1))])
        return x

    def layer(self, layer: Any, x: str, prefix: str, axes: int, behind: dict[str, str]) -> tuple[str, int]:
        """axes: of one image's value, 3 of a map (c, h, w), 1 of a vector."""
        op, own = layer["op"], f"{prefix}{layer['name']}"
        if op in ("conv", "linear"):
            inputs = [x, self.weight(own + ".weight"), *([self.weight(own + ".bias")] if layer["bias"] else [])]
            x = self.add("Conv", inputs, **_window(layer)) if op == "conv" else self.add("Gemm", inputs, transB=1)
        elif op == "maxpool":
            x = self.add("MaxPool", [x], **_window(layer))
        elif op == "avgpool":
            x = self.add("AveragePool", [x], count_include_pad=1, **_window(layer))
        elif op == "flatten":
            x, axes = self.add("Flatten", [x], axis=1), 1
        elif op == "residual":
            # A block's inner names are its own, except those of a block without a name.
            inner = f"{own}." if layer["name"] is not None else prefix
            shortcut = layer["shortcut"]
            beside = x if shortcut is None else self.layer(shortcut, x, inner, axes, {})[0]
            for one in layer["layers"]:
                x, axes = self.layer(one, x, inner, axes, {})
            x = self.add("Add", [x, beside])
        elif op != "dropout":  # Which does nothing in evaluation mode.
            raise ValueError(f"architecture: expected an operator that ONNX export knows, found {op!r}")
        if layer["norm"] is not None:
            x = self._norm(layer["norm"], prefix + layer["norm_name"], x, axes)
        if layer["activation"] is not None:
            x = self.add({"relu": "Relu", "sigmoid": "Sigmoid"}[layer["activation"]], [x])
        if layer["name"] is not None:
            behind[layer["name"]] = x
        return x, axes

    def _norm(self, kind: str, name: str, x: str, axes: int) -> str:
        of = [self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        if kind == "batch":
            of += [self.weight(f"{name}.running_mean"), self.weight(f"{name}.running_var")]
            return self.add("BatchNormalization", [x, *of], epsilon=_EPSILON)
        # LayerNorm over the channels at each location: ONNX's is over the last axes.
        if axes == 3:
            x = self.add("Transpose", [x], perm=[0, 2, 3, 1])
        x = self.add("LayerNormalization", [x, *of], axis=-1, epsilon=_EPSILON)
        return self.add("Transpose", [x], perm=[0, 3, 1, 2]) if axes == 3 else x


def _window(layer: Any) -> dict[str, Any]:
    kernel, stride, padding = (np.broadcast_to(layer[key], 2).tolist() for key in ("kernel", "stride", "padding"))
    return {"kernel_shape": kernel, "strides": stride, "pads": padding * 2}
