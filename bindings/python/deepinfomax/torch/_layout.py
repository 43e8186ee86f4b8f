"""Names, shapes and multiply-adds of an expanded description, in the order of the state_dict. Needs no torch.

It is written without a look at `networks.py`, so that each can be tested by the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ._description import Description, classifier_names, pair

#: (c, h, w) of a map, (c,) of a vector.
Shape = tuple[int, ...]


@dataclass
class Stack:
    """Of a list of layers: shapes after each named layer, entries in order, multiply-adds of an image."""

    shape: Shape
    outputs: dict[str, Shape] = field(default_factory=dict)
    entries: list[tuple[str, Shape]] = field(default_factory=list)
    multiply_adds: int = 0


@dataclass(frozen=True)
class Layout:
    """Of all networks. Multiply-adds are those of one image's forward pass with its own pair, everything included."""

    entries: dict[str, Shape]
    multiply_adds: int
    #: Of a vector (c, 1, 1).
    features: Shape
    conv: Shape | None
    fc: Shape | None
    encoded: int

    @property
    def parameters(self) -> int:
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        return sum(math.prod(s) for name, s in self.entries.items() if name.rpartition(".")[2] not in statistics)


def layout(description: Description) -> Layout:
    """Raises ValueError with the place where a layer does not fit what comes before it."""
    image, about = description["image"], description["encoder"]
    pixels = image["channels"], image["height"], image["width"]
    encoder = stack(about["layers"], pixels, "encoder.layers", about["norms"] == "last")
    maps = [pixels, *(s for s in encoder.outputs.values() if len(s) == 3)]
    features = as_map(encoder.outputs[about["features"]])
    conv = encoder.outputs[about["conv"]] if about["conv"] is not None else maps[-1]
    fc = encoder.outputs[about["fc"]] if about["fc"] is not None else None
    y = encoder.shape[0]

    networks = {"encoder": encoder}
    if description["global"] is not None:
        read = conv if description["global"]["input"] == "conv" else encoder.outputs[about["features"]]
        networks["global_d"] = _global(description, read, y)
    if description["local"] is not None:
        networks["local_d"] = _local(description["local"], features, y)
    if description["prior"] is not None:
        networks["prior_d"] = _dense("l", [y, *description["prior"]["hidden"], 1])
    if description["classifier"] is not None:
        networks["classifier"] = _classifier(description["classifier"], y)
    if description["coordinates"] is not None:
        networks["coordinates_d"] = _coordinates(description["coordinates"], features, y)
    entries = {f"{prefix}.{name}": shape for prefix, net in networks.items() for name, shape in net.entries}
    return Layout(entries, sum(net.multiply_adds for net in networks.values()), features, conv, fc, y)


def as_map(shape: Shape) -> Shape:
    """A vector is a map of one location to whatever reads maps: (c, 1, 1)."""
    return shape if len(shape) == 3 else (*shape, 1, 1)


def stack(layers: list[Description], shape: Shape, place: str, norms_last: bool = False) -> Stack:
    """norms_last: all norms behind all layers; in a residual block, behind the block's."""
    found = Stack(shape)
    late: list[tuple[str, Shape]] = []
    for i, layer in enumerate(layers):
        _operator(found, layer, f"{place}[{i}]", norms_last)
        (late if norms_last else found.entries).extend(_norm(layer, found.shape[0]))
        found.outputs[layer["name"] or f"#{i}"] = found.shape
    found.entries += late
    return found


def _operator(found: Stack, layer: Description, place: str, norms_last: bool) -> None:
    op, shape = layer["op"], found.shape
    if op == "dropout":
        return
    if op == "residual":
        _residual(found, layer, place, norms_last)
        return
    if op != "flatten" and (op == "linear") != (len(shape) == 1):
        raise ValueError(f"{place}: expected a {'vector' if op == 'linear' else 'map'} in front of {op}, found {shape}")
    if op == "flatten":
        found.shape = (math.prod(shape),)
    elif op == "linear":
        found.entries += _weights(layer["name"], (layer["out"], shape[0]), layer["bias"])
        found.multiply_adds += layer["out"] * shape[0]
        found.shape = (layer["out"],)
    elif op in ("conv", "maxpool", "avgpool"):
        kernel, stride, padding = (pair(layer[key]) for key in ("kernel", "stride", "padding"))
        sides = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)]
        if any(n + 2 * p < k for n, k, p in zip(shape[1:], kernel, padding, strict=True)):
            raise ValueError(f"{place}.kernel: expected at most the padded map's size, found {kernel} for {shape}")
        if op == "conv":
            weight = (layer["out"], shape[0], *kernel)
            found.entries += _weights(layer["name"], weight, layer["bias"])
            found.multiply_adds += math.prod(weight) * math.prod(sides)
        elif any(2 * p > k for k, p in zip(kernel, padding, strict=True)):
            raise ValueError(f"{place}.padding: expected at most half the kernel, found {padding} for {kernel}")
        found.shape = (layer["out"] if op == "conv" else shape[0], *sides)
    else:
        raise ValueError(f"{place}: the layout of {op} is not known")


def _residual(found: Stack, layer: Description, place: str, norms_last: bool) -> None:
    shape, shortcut = found.shape, layer["shortcut"]
    inner = stack(layer["layers"], shape, f"{place}.layers", norms_last)
    by = stack([] if shortcut is None else [shortcut], shape, f"{place}.shortcut")
    if inner.shape != by.shape:
        raise ValueError(f"{place}: expected layers and shortcut of one shape, found {inner.shape} and {by.shape}")
    entries = inner.entries + by.entries
    if norms_last and shortcut is not None:
        norms = [name for one in (*layer["layers"], shortcut) for name, _ in _norm(one, 0)]
        entries.sort(key=lambda entry: entry[0] in norms)  # Stable: only behind the others.
    prefix = "" if layer["name"] is None else f"{layer['name']}."
    found.entries += [(prefix + name, s) for name, s in entries]
    found.multiply_adds += inner.multiply_adds + by.multiply_adds
    found.shape = inner.shape


def _weights(name: str, weight: Shape, bias: bool) -> list[tuple[str, Shape]]:
    return [(f"{name}.weight", weight), *([(f"{name}.bias", weight[:1])] if bias else [])]


def _norm(layer: Description, channels: int) -> list[tuple[str, Shape]]:
    if layer["norm"] is None:
        return []
    return _norm_entries(layer["norm"], layer["norm_name"], channels)


def _norm_entries(kind: str, name: str, channels: int) -> list[tuple[str, Shape]]:
    entries: list[tuple[str, Shape]] = [(f"{name}.{leaf}", (channels,)) for leaf in ("weight", "bias")]
    if kind == "batch":
        entries += [(f"{name}.{leaf}", (channels,)) for leaf in ("running_mean", "running_var")]
        entries += [(f"{name}.num_batches_tracked", ())]
    return entries


def _dense(letter: str, sizes: list[int], cells: int = 1, kernel: Shape = ()) -> Stack:
    """Linear layers, or with kernel (1, 1) convolutions on so many cells."""
    found = Stack(())
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        found.entries += _weights(f"{letter}{i}", (b, a, *kernel), True)
        found.multiply_adds += a * b * cells
    return found


def _local(head: Description, features: Shape, y: int) -> Stack:
    channels, cells = features[0], features[1] * features[2]
    if head["score"] == "concat":
        return _dense("c", [channels + y, *head["hidden"], 1], cells, (1, 1))
    return _dot(head, channels, y, cells, (1, 1))


def _dot(head: Description, inputs: int, y: int, cells: int, kernel: Shape) -> Stack:
    found, units, authors = Stack(()), head["units"], head["net"] == "authors"
    for letter, inputs, kernel, times in ("f", inputs, kernel, cells), ("y", y, (), 1):
        first = _weights(f"{letter}0", (units, inputs, *kernel), not authors)
        second = _weights(f"{letter}1", (units, units, *kernel), True)
        by = _weights(f"{letter}s0", (units, inputs, *kernel), not authors)
        if authors:
            first += _norm_entries("batch", f"{letter}0_norm", units)
            by += _norm_entries("layer", f"{letter}n0", units)
        found.entries += first + second + by
        found.multiply_adds += times * units * (2 * inputs + units)
    found.multiply_adds += cells * units
    return found


def _global(description: Description, read: Shape, y: int) -> Stack:
    """read: as the encoder has it, a vector or a map."""
    head, about, shape = description["global"], description["encoder"], as_map(read)
    if head["score"] == "concat":
        found = stack(head["layers"], shape, "global.layers")
        dense = _dense("l", [math.prod(found.shape) + y, *head["hidden"], 1])
        found.entries += dense.entries
        found.multiply_adds += dense.multiply_adds
        return found
    if head["net"] != "copy":
        return _dot(head, math.prod(shape), y, 1, ())
    found = stack(copied_layers(description), read, "encoder.layers", about["norms"] == "last")
    found.entries += _weights("y0", (head["units"], y), True)
    found.multiply_adds += head["units"] * (y + 1)
    return found


def copied_layers(description: Description) -> list[Description]:
    """Of a global head with `net` "copy": the encoder's layers behind the map that it reads, the last to `units`."""
    head, about = description["global"], description["encoder"]
    layers: list[dict[str, Any]] = about["layers"]
    flatten = next(i for i, layer in enumerate(layers) if layer["op"] == "flatten")
    name = about[head["input"]]
    last = next((i for i, layer in enumerate(layers) if name is not None and layer["name"] == name), flatten - 1)
    behind = layers[last + 1 :]
    return [*behind[:-1], behind[-1] | {"out": head["units"]}]


def _classifier(about: Description, y: int) -> Stack:
    found, sizes = Stack(()), [y, *about["hidden"], about["classes"]]
    for names, a, b in zip(classifier_names(about), sizes, sizes[1:]):
        found.entries += _weights(names[0], (b, a), True)
        for norm in names[1:]:
            found.entries += _norm_entries("batch", norm, b)
        found.multiply_adds += a * b
    return found


def _coordinates(about: Description, features: Shape, y: int) -> Stack:
    channels, h, w = features
    return _dense("c", [channels + y, *about["hidden"], h + w], h * w, (1, 1))
