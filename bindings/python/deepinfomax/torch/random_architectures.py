"""Random descriptions of small networks, to compare libraries over. Needs no torch; a seed gives the same everywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from ._description import Description, expanded
from ._layout import layout

PARAMETERS = 200_000
MULTIPLY_ADDS = 20_000_000

_T = TypeVar("_T")


def random_description(seed: int) -> Description:
    """At most 200,000 parameters and 20M multiply-adds an image; any operator, norm, activation, head.

    No layer is so narrow, and no norm so placed, that rounding alone decides its outputs: LayerNorms have at least four
    channels, batch norms directly follow weights or a sum.
    """
    draw = _Draw(seed)
    while True:
        description = _description(draw)
        try:
            found = layout(expanded(description))
        except ValueError:
            continue  # A window larger than its map.
        if found.parameters <= PARAMETERS and found.multiply_adds <= MULTIPLY_ADDS:
            return description


def with_vector_features(description: Description) -> Description | None:
    """The same with its first hidden linear layer as `features`; None without one. `random_description` draws maps alone, since
    recordings depend on what a seed gives."""
    encoder = description["encoder"]
    hidden = [layer["name"] for layer in encoder["layers"][:-1] if layer["op"] == "linear"]
    return description | {"encoder": encoder | {"features": hidden[0]}} if hidden else None


class _Draw:
    """random.Random.random() is the one method whose numbers Python promises never to change."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, p: float) -> bool:
        return self._random.random() < p

    def number(self, low: int, high: int) -> int:
        """low <= number <= high"""
        return low + int(self._random.random() * (high - low + 1))

    def one(self, of: Sequence[_T]) -> _T:
        return of[self.number(0, len(of) - 1)]

    def decimal(self, low: float, high: float) -> float:
        return round(low + self._random.random() * (high - low), 2)


class _Names:
    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, letter: str) -> str:
        number = self._next.get(letter, 0)
        self._next[letter] = number + 1
        return f"{letter}{number}"


def _description(draw: _Draw) -> Description:
    channels = draw.number(1, 5)
    image: Description = {"channels": channels, "height": draw.number(6, 28), "width": draw.number(6, 28)}
    if draw.chance(0.6):
        for key, low, high in ("mean", 0.2, 0.6), ("std", 0.2, 0.6):
            many = draw.chance(0.5)
            image[key] = [draw.decimal(low, high) for _ in range(channels)] if many else draw.decimal(low, high)
    encoder = _encoder(draw, image)
    description: Description = {"image": image, "encoder": encoder, "local": _local(draw)}
    if draw.chance(0.7):
        description["global"] = _global(draw, encoder)
    if draw.chance(0.7):
        hidden = [draw.number(4, 40) for _ in range(draw.number(1, 2))]
        description["prior"] = {"hidden": hidden, "squash": draw.one(["none", "sigmoid"])}
    if draw.chance(0.8):
        description["classifier"] = {
            "hidden": [draw.number(6, 40) for _ in range(draw.number(0, 2))],
            "classes": draw.one([2, 3, 10, 47]),
            "dropout": draw.one([0, 0.1, 0.5]),
            "output_norm": draw.one([None, "batch"]),
        }
    if draw.chance(0.4):
        description["coordinates"] = {"hidden": [draw.number(4, 40) for _ in range(draw.number(0, 2))]}
    return description


def _encoder(draw: _Draw, image: Description) -> Description:
    names = _Names()
    shape = [image["channels"], image["height"], image["width"]]
    layers: list[Description] = [_conv(draw, names, shape)]
    for _ in range(draw.number(1, 4)):
        kind = draw.one(["conv", "conv", "maxpool", "avgpool", "residual", "residual", "dropout"])
        if kind == "conv":
            layers.append(_conv(draw, names, shape))
        elif kind == "residual":
            layers.append(_residual(draw, names, shape))
        elif kind == "dropout":
            layers.append({"op": "dropout", "dropout": draw.one([0.1, 0.5])})
        elif min(shape[1:]) >= 3:
            layers.append(_pool(draw, names, shape, kind))
    maps = [layer["name"] for layer in layers if "name" in layer]
    layers.append({"op": "flatten"})
    for _ in range(draw.number(0, 2)):
        layers.append(_linear(draw, names, draw.number(6, 48)))
        if draw.chance(0.2):
            layers.append({"op": "dropout", "dropout": draw.one([0.1, 0.5])})
    last: Description = {"op": "linear", "name": names.take("l"), "out": draw.number(3, 24), "bias": draw.chance(0.8)}
    encoder: Description = {"layers": [*layers, last], "features": draw.one(maps), "conv": draw.one(maps)}
    if draw.chance(0.3):
        encoder["norms"] = "last"
    return encoder


def _finish(draw: _Draw, layer: Description, channels: int) -> Description:
    """Norm and activation."""
    kinds = [None, "batch", "batch", "layer"] if channels >= 4 else [None, "batch"]
    norm = draw.one(kinds)
    if norm is not None:
        layer["norm"] = norm
        if draw.chance(0.2):
            layer["norm_name"] = layer["name"].replace("_", "")[:1] + "n" + layer["name"][1:]
    activation = draw.one([None, "relu", "relu", "relu", "sigmoid"])
    if activation is not None:
        layer["activation"] = activation
    return layer


def _sides(draw: _Draw, low: int, high: int) -> Any:
    """One number for rows and columns, or two."""
    return draw.number(low, high) if draw.chance(0.7) else [draw.number(low, high), draw.number(low, high)]


def _two(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value, value]


def _slide(shape: list[int], layer: Description) -> None:
    """The map's sides behind a window."""
    kernel, stride, padding = (_two(layer[key]) for key in ("kernel", "stride", "padding"))
    for side in range(2):
        shape[side + 1] = (shape[side + 1] + 2 * padding[side] - kernel[side]) // stride[side] + 1


def _conv(draw: _Draw, names: _Names, shape: list[int]) -> Description:
    kernel = _sides(draw, 1, min(11 if draw.chance(0.15) else 5, *shape[1:]))
    layer: Description = {
        "op": "conv",
        "name": names.take("c"),
        "out": draw.number(4, 34),
        "kernel": kernel,
        "stride": _sides(draw, 1, 4 if draw.chance(0.2) else 2),
        "padding": [draw.number(0, min(2, side - 1)) for side in _two(kernel)],
        "bias": draw.chance(0.5),
    }
    _slide(shape, layer)
    shape[0] = layer["out"]
    return _finish(draw, layer, shape[0])


def _pool(draw: _Draw, names: _Names, shape: list[int], op: str) -> Description:
    kernel = _sides(draw, 2, 3)
    padding = [draw.number(0, side // 2) for side in _two(kernel)]
    layer: Description = {"op": op, "name": names.take("p"), "kernel": kernel, "padding": padding}
    if draw.chance(0.5):
        layer["stride"] = _sides(draw, 1, 2)
    _slide(shape, {"stride": kernel, **layer})
    return layer


def _residual(draw: _Draw, names: _Names, shape: list[int]) -> Description:
    """Its convolutions keep the map's size, or one of them halves it and the shortcut, too."""
    named = draw.chance(0.7)
    own = _Names() if named else names
    changes = draw.chance(0.5)
    stride = draw.number(1, 2) if changes else 1
    out = draw.number(4, 24) if changes else shape[0]
    depth = draw.number(1, 3)
    layers: list[Description] = []
    for i in range(depth):
        kernel = draw.one([1, 3, 3, 5])
        last = i == depth - 1
        channels = out if last else draw.number(4, 24)
        layer: Description = {"op": "conv", "name": own.take("c"), "out": channels, "kernel": kernel}
        layer |= {"stride": stride if i == 0 else 1, "padding": kernel // 2, "bias": draw.chance(0.5)}
        layers.append(_finish(draw, layer, channels))
        if draw.chance(0.1):
            layers.append({"op": "dropout", "dropout": 0.1})
    block: Description = {"op": "residual", "layers": layers}
    if named:
        block["name"] = names.take("r")
    if changes:
        block["shortcut"] = {"op": "conv", "name": own.take("s"), "out": out, "kernel": 1, "stride": stride}
        if draw.chance(0.6):
            block["shortcut"] |= {"bias": False, "norm": "batch"}
    shape[:] = [out, (shape[1] - 1) // stride + 1, (shape[2] - 1) // stride + 1]
    if named and draw.chance(0.3):
        block["norm"] = "batch"
    if draw.chance(0.7):
        block["activation"] = "relu"
    return block


def _linear(draw: _Draw, names: _Names, out: int) -> Description:
    layer: Description = {"op": "linear", "name": names.take("l"), "out": out, "bias": draw.chance(0.5)}
    return _finish(draw, layer, out)


def _local(draw: _Draw) -> Description:
    kind = draw.one(["light", "authors", "concat"])
    if kind == "concat":
        return {"score": "concat", "hidden": [draw.number(4, 40) for _ in range(draw.number(1, 3))]}
    return {"score": "dot", "net": kind, "units": draw.number(4, 48)}


def _global(draw: _Draw, encoder: Description) -> Description:
    kind = draw.one(["light", "authors", "concat", "copy"])
    source = draw.one(["features", "conv"])
    if kind == "concat":
        layers: list[Description] = []
        if draw.chance(0.5):
            out = draw.number(4, 12)
            layer: Description = {"op": "conv", "name": "c0", "out": out, "kernel": 1, "stride": draw.number(1, 2)}
            layers.append(_finish(draw, layer, out))
        return {"score": "concat", "layers": layers, "hidden": [draw.number(4, 40)], "input": source}
    return {"score": "dot", "net": kind, "units": draw.number(4, 40), "input": source}
