"""The networks of a description as nn.Modules, whose state_dict has the library's names, shapes and order.

A module registers and constructs its layers in that order, so that `torch.manual_seed(seed)` followed by
`modules(description)` draws the library's weights. Shapes in comments are (n, c, h, w); D is the length of `encoded`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..compare import notebook
from ._description import PRESETS, Description, classifier_names, expanded, pair, same
from ._layout import Shape, as_map, copied_layers, stack


class Networks(nn.ModuleDict):
    """encoder, global_d, local_d, prior_d, classifier, coordinates_d: those of them that the description has."""

    description: Description


def modules(architecture: object, *, notebook_classes: bool = True) -> Networks:
    """The networks of a preset, a dict, JSON text or the path of a JSON file, in training mode and float32.

    Those of the notebook's architecture are the notebook's own classes, with the notebook's signatures: `encoder(x)` is
    (y, M), `local_d` takes cat(M, y), `prior_d` and `classifier` give probabilities. notebook_classes=False asks for
    the general ones, which have the same state_dict.
    """
    description = expanded(architecture)
    if notebook_classes and same(description, expanded("notebook")):
        return _networks(description, notebook.Networks().named_children())
    parts: dict[str, nn.Module] = {}
    encoder = parts["encoder"] = Encoder(description)
    y, (of_features, conv) = encoder.length, encoder.shapes()
    features = as_map(of_features)
    head = description["global"]
    if head is not None:
        read = of_features if head["input"] == "features" else conv
        if head["score"] == "concat":
            parts["global_d"] = GlobalConcat(head, y, as_map(read))
        elif head["net"] == "copy":
            parts["global_d"] = GlobalCopy(description, y, read)
        else:
            parts["global_d"] = Dot(head, y, as_map(read), flat=True)
    head = description["local"]
    if head is not None:
        concat = head["score"] == "concat"
        parts["local_d"] = LocalConcat(head, y, features) if concat else Dot(head, y, features, flat=False)
    if description["prior"] is not None:
        parts["prior_d"] = PriorDiscriminator(description["prior"], y)
    if description["classifier"] is not None:
        parts["classifier"] = Classifier(description["classifier"], y)
    if description["coordinates"] is not None:
        parts["coordinates_d"] = Coordinates(description["coordinates"], y, features)
    return _networks(description, parts.items())


def _networks(description: Description, parts: Any) -> Networks:
    found = Networks(dict(parts))
    found.description = description
    return found


# ---- Layers


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (n, c) or, at each location, of (n, c, h, w)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Contiguous: what comes behind, dropout's mask first of all, would take its order from the memory's.
        return super().forward(x.movedim(1, -1)).movedim(-1, 1).contiguous()


class Stack(nn.Module):
    """Layers one after another, each one's parameters under its own name, then its norm's (or all norms at the end)."""

    def __init__(
        self, layers: list[Description], shape: Shape, norms_last: bool = False, shortcut: Description | None = None
    ) -> None:
        """shortcut: a further layer, from the same input, whose output is not passed on here (class Residual)."""
        super().__init__()
        self.layers = layers
        #: Shapes behind the named layers, without n; of the last map; and at the end.
        self.outputs: dict[str, Shape] = {}
        self.last_map: Shape = shape
        self.shape = self._register(layers, shape, norms_last, shortcut)

    def _register(self, layers: list[Description], shape: Shape, norms_last: bool, shortcut: Description | None) -> Shape:
        """Makes the modules of layers, then of a shortcut; returns the shape behind the layers."""
        late: list[tuple[str, nn.Module]] = []
        start = shape
        for layer in layers:
            shape = self._register_one(layer, shape, norms_last, late)
            if layer["name"] is not None:
                self.outputs[layer["name"]] = shape
            if len(shape) == 3:
                self.last_map = shape
        if shortcut is not None:
            self._register_one(shortcut, start, norms_last, late)
        for name, norm in late:
            self.add_module(name, norm)
        return shape

    def _register_one(self, layer: Description, shape: Shape, norms_last: bool, late: list[tuple[str, nn.Module]]) -> Shape:
        if layer["op"] == "residual" and layer["name"] is None:  # Its layers are registered beside it.
            self._register(layer["layers"], shape, norms_last, layer["shortcut"])
        elif layer["op"] in ("conv", "linear", "residual"):
            self.add_module(layer["name"], _operator(layer, shape, norms_last))
        shape = stack([layer], shape, layer["name"] or layer["op"]).shape
        if layer["norm"] is not None:
            norm = layer["norm_name"], _norm(layer["norm"], shape)
            if norms_last:
                late.append(norm)
            else:
                self.add_module(*norm)
        return shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Description, x: torch.Tensor) -> torch.Tensor:
        match layer["op"]:
            case "residual" if layer["name"] is None:
                x = self._sum(layer, x)
            case "conv" | "linear" | "residual":
                x = self._modules[layer["name"]](x)
            case "maxpool":
                x = F.max_pool2d(x, *(pair(layer[key]) for key in ("kernel", "stride", "padding")))
            case "avgpool":
                x = F.avg_pool2d(x, *(pair(layer[key]) for key in ("kernel", "stride", "padding")))
            case "flatten":
                x = x.flatten(1)
            case "dropout":
                # Contiguous: masks are drawn in memory's order, which is to be (n, c, h, w).
                x = F.dropout(x.contiguous(), layer["dropout"], self.training)
        if layer["norm"] is not None:
            x = self._modules[layer["norm_name"]](x)
        match layer["activation"]:
            case "relu":
                x = F.relu(x)
            case "sigmoid":
                x = torch.sigmoid(x)
        return x

    def _sum(self, residual: Description, x: torch.Tensor) -> torch.Tensor:
        """layers(x) + shortcut(x)"""
        h = x
        for layer in residual["layers"]:
            h = self._layer(layer, h)
        return h + (x if residual["shortcut"] is None else self._layer(residual["shortcut"], x))


class Residual(Stack):
    """layers(x) + shortcut(x). The norm and activation after the sum belong to the layer, not to this module."""

    def __init__(self, layer: Description, shape: Shape, norms_last: bool) -> None:
        super().__init__(layer["layers"], shape, norms_last, layer["shortcut"])
        self.residual = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._sum(self.residual, x)


def _operator(layer: Description, shape: Shape, norms_last: bool) -> nn.Module:
    if layer["op"] == "residual":
        return Residual(layer, shape, norms_last)
    inputs = shape[0]
    if layer["op"] == "linear":
        return nn.Linear(inputs, layer["out"], bias=layer["bias"])
    kernel, stride, padding = (pair(layer[key]) for key in ("kernel", "stride", "padding"))
    return nn.Conv2d(inputs, layer["out"], kernel, stride, padding, bias=layer["bias"])


def _norm(kind: str, shape: Shape) -> nn.Module:
    if kind == "layer":
        return ChannelNorm(shape[0])
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


# ---- The encoder


class Encoded(NamedTuple):
    """What the encoder gives of n images."""

    #: y, (n, D)
    encoded: torch.Tensor
    #: M, (n, c, h, w); (n, c, 1, 1) where the layer gives vectors.
    features: torch.Tensor
    #: The last map, (n, c, h, w); where the first layer flattens, the normalised images.
    conv: torch.Tensor
    #: The last hidden layer, (n, c); None where the description has none.
    fc: torch.Tensor | None


class Encoder(Stack):
    """Images (n, c, h, w), in [0,1] or uint8 -> Encoded."""

    def __init__(self, description: Description) -> None:
        image, about = description["image"], description["encoder"]
        channels = image["channels"]
        super().__init__(about["layers"], (channels, image["height"], image["width"]), about["norms"] == "last")
        self.references: Description = {key: about[key] for key in ("features", "conv", "fc")}
        #: D
        self.length = self.shape[0]
        self.normalises = False
        for key, neutral in ("mean", 0.0), ("std", 1.0):
            values = image[key] if isinstance(image[key], (list, tuple)) else [image[key]] * channels
            if len(values) != channels:
                raise ValueError(f"image.{key}: expected 1 or {channels} numbers, found {len(values)}")
            self.normalises = self.normalises or any(value != neutral for value in values)
            self.register_buffer(f"image_{key}", torch.tensor(values).float().view(1, channels, 1, 1), persistent=False)

    def shapes(self) -> tuple[Shape, Shape]:
        """Of the layers that features and conv name, without n; (c,) of one that gives vectors."""
        conv = self.references["conv"]
        return self.outputs[self.references["features"]], self.last_map if conv is None else self.outputs[conv]

    def forward(self, x: torch.Tensor) -> Encoded:
        if x.dtype == torch.uint8:
            x = x.to(self.image_std.dtype) / 255
        if self.normalises:
            x = (x - self.image_mean) / self.image_std
        found: dict[str, torch.Tensor] = {}
        conv = x
        for layer in self.layers:
            if layer["op"] == "flatten" and x.dim() == 4:
                conv = x
            x = self._layer(layer, x)
            if layer["name"] is not None:
                found[layer["name"]] = x
        features = found[self.references["features"]]
        return Encoded(
            encoded=x,
            features=features if features.dim() == 4 else features[:, :, None, None],
            conv=conv if self.references["conv"] is None else found[self.references["conv"]],
            fc=None if self.references["fc"] is None else found[self.references["fc"]],
        )


# ---- Scores of pairs


class Head(nn.Module):
    """Scores of vectors y (n, D) and maps M (n, c, h, w).

    What depends on the map alone and on the vector alone is computed once each, and so are its batch statistics:
    `maps(M)`, `vectors(y)`. Then `score` is of pairs i, i and `score_pairs` of all pairs i, j.
    """

    def maps(self, M: torch.Tensor) -> torch.Tensor:
        return M

    def vectors(self, y: torch.Tensor) -> torch.Tensor:
        return y

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w), or of a global head (n, 1)."""
        raise NotImplementedError

    def score_pairs(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        """(n, n, h, w), or of a global head (n, n): [i][j] of map i and vector j."""
        columns = [self.score(v[j : j + 1].expand(len(m), *v.shape[1:]), m) for j in range(len(v))]
        return torch.cat(columns, 1)

    def forward(self, y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        return self.score(self.vectors(y), self.maps(M))

    def pairs(self, y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        return self.score_pairs(self.vectors(y), self.maps(M))


class LocalConcat(Head):
    """1x1 convolutions c0, c1, .. on cat(M, y), with ReLU between."""

    def __init__(self, head: Description, y: int, features: Shape) -> None:
        super().__init__()
        self.depth = _dense(self, "c", [features[0] + y, *head["hidden"], 1], kernel=1)

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        everywhere = v[:, :, None, None].expand(-1, -1, *m.shape[2:])
        return _through(self, "c", self.depth, torch.cat((m, everywhere), 1))


class GlobalConcat(Head, Stack):  # type: ignore[misc]  # The forward is the head's, the stack's is called by name.
    """The head's own layers on the map, flatten, then linear layers l0, l1, .. on cat(y, h), with ReLU between."""

    def __init__(self, head: Description, y: int, shape: Shape) -> None:
        Stack.__init__(self, head["layers"], shape)
        self.depth = _dense(self, "l", [y + math.prod(self.shape), *head["hidden"], 1])

    def maps(self, M: torch.Tensor) -> torch.Tensor:
        return Stack.forward(self, M).flatten(1)

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return _through(self, "l", self.depth, torch.cat((v, m), 1))


class Dot(Head):
    """Dot products of a features net's columns and a vector net's vector; a global head's features net reads a flat map.

    light:   f1(relu(f0(M))) + fs0(M), divided by sqrt(units)
    authors: fn0(f1(relu(f0_norm(f0(M)))) + fs0(M)), not divided
    """

    def __init__(self, head: Description, y: int, shape: Shape, flat: bool) -> None:
        super().__init__()
        units = head["units"]
        self.flat = flat
        self.authors = head["net"] == "authors"
        self.scale = 1.0 if self.authors else 1 / math.sqrt(units)

        def net(letter: str, inputs: int, vector: bool) -> None:
            def layer(name: str, inputs: int, bias: bool) -> nn.Module:
                made = nn.Linear(inputs, units, bias) if vector else nn.Conv2d(inputs, units, 1, bias=bias)
                self.add_module(letter + name, made)
                return made

            layer("0", inputs, not self.authors)
            if self.authors:
                self.add_module(f"{letter}0_norm", nn.BatchNorm1d(units) if vector else nn.BatchNorm2d(units))
            layer("1", units, True)
            shortcut = layer("s0", inputs, not self.authors)
            if self.authors:
                if units >= inputs:
                    _like_the_identity(shortcut)
                self.add_module(f"{letter}n0", ChannelNorm(units))

        net("f", math.prod(shape) if flat else shape[0], flat)
        net("y", y, True)

    def maps(self, M: torch.Tensor) -> torch.Tensor:
        return self._net("f", M.flatten(1) if self.flat else M)

    def vectors(self, y: torch.Tensor) -> torch.Tensor:
        return self._net("y", y)

    def _net(self, letter: str, x: torch.Tensor) -> torch.Tensor:
        net = self._modules
        h = net[f"{letter}0"](x)
        if self.authors:
            h = net[f"{letter}0_norm"](h)
        h = net[f"{letter}1"](F.relu(h)) + net[f"{letter}s0"](x)
        return net[f"{letter}n0"](h) if self.authors else h

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        if self.flat:
            return (m * v).sum(1, keepdim=True) * self.scale
        return torch.einsum("nuhw,nu->nhw", m, v)[:, None] * self.scale

    def score_pairs(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        if self.flat:
            return m @ v.T * self.scale
        return torch.einsum("iuhw,ju->ijhw", m, v) * self.scale


class GlobalCopy(Head, Stack):  # type: ignore[misc]
    """Dot products of the map through a copy of the encoder's remaining layers, (n, units), and y0(y)."""

    def __init__(self, description: Description, y: int, shape: Shape) -> None:
        """shape: (c,) where the encoder's remaining layers read a vector, which comes here as a map of one location."""
        Stack.__init__(self, copied_layers(description), shape, description["encoder"]["norms"] == "last")
        self.add_module("y0", nn.Linear(y, description["global"]["units"]))
        self.of_vectors = len(shape) == 1

    def maps(self, M: torch.Tensor) -> torch.Tensor:
        return Stack.forward(self, M.flatten(1) if self.of_vectors else M)

    def vectors(self, y: torch.Tensor) -> torch.Tensor:
        return self.y0(y)

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return (m * v).sum(1, keepdim=True)

    def score_pairs(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return m @ v.T


def _like_the_identity(shortcut: nn.Module) -> None:
    """The authors' start of a shortcut: uniform(-0.01, 0.01), 1 on the diagonal."""
    with torch.no_grad():
        weight: torch.Tensor = shortcut.weight  # (units, inputs) or (units, inputs, 1, 1)
        weight.uniform_(-0.01, 0.01)
        weight.view(len(weight), -1).fill_diagonal_(1.0)


# ---- The other networks


class PriorDiscriminator(nn.Module):
    """y (n, D) -> logits (n, 1): above 0 where squash(y) looks like a sample of the prior."""

    def __init__(self, prior: Description, y: int) -> None:
        super().__init__()
        self.sigmoid = prior["squash"] == "sigmoid"
        self.depth = _dense(self, "l", [y, *prior["hidden"], 1])

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return self.logit(self.squash(y))

    def squash(self, y: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(y) if self.sigmoid else y

    def logit(self, u: torch.Tensor) -> torch.Tensor:
        """Of what is compared with the prior: squash(y), or samples u of the prior as they are."""
        return _through(self, "l", self.depth, u)


class Classifier(nn.Module):
    """y (n, D) -> logits (n, classes)."""

    def __init__(self, about: Description, y: int) -> None:
        super().__init__()
        self.dropout, self.names = about["dropout"], classifier_names(about)
        sizes = [y, *about["hidden"], about["classes"]]
        for names, inputs, outputs in zip(self.names, sizes, sizes[1:]):
            self.add_module(names[0], nn.Linear(inputs, outputs))
            for norm in names[1:]:
                self.add_module(norm, nn.BatchNorm1d(outputs))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        *hidden, last = self.names
        for linear, norm in hidden:
            y = F.dropout(self._modules[linear](y), self.dropout, self.training)
            y = F.relu(self._modules[norm](y))
        y = self._modules[last[0]](y)
        return self._modules[last[1]](y) if last[1:] else y


class Coordinates(nn.Module):
    """Where in the map a location is, predicted from the features there and the image's y.

    1x1 convolutions c0, c1, .. on cat(M, y), with ReLU between, to h + w logits at each location: the first h are those
    of its row, the others those of its column.
    """

    def __init__(self, about: Description, y: int, features: Shape) -> None:
        super().__init__()
        channels, self.h, self.w = features
        self.depth = _dense(self, "c", [channels + y, *about["hidden"], self.h + self.w], kernel=1)

    def forward(self, y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        """(n, h + w, h, w)"""
        everywhere = y[:, :, None, None].expand(-1, -1, *M.shape[2:])
        return _through(self, "c", self.depth, torch.cat((M, everywhere), 1))


def _dense(module: nn.Module, letter: str, sizes: list[int], kernel: int = 0) -> int:
    """Adds <letter>0, <letter>1, ..: linear layers, or convolutions of that kernel. Returns how many."""
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        layer = nn.Conv2d(inputs, outputs, kernel) if kernel else nn.Linear(inputs, outputs)
        module.add_module(f"{letter}{i}", layer)
    return len(sizes) - 1


def _through(module: nn.Module, letter: str, depth: int, x: torch.Tensor) -> torch.Tensor:
    for i in range(depth):
        x = module._modules[f"{letter}{i}"](F.relu(x) if i else x)
    return x


__all__ = ["PRESETS", "Encoded", "Networks", "modules"]
