"""Descriptions of architectures, expanded: every key with its value, presets merged in, defaults filled in.

`networks.py` reads the expanded form alone. As text it is the library's canonical JSON, byte for byte (`text`). The
library lists all faults of a description; here the first one raises ValueError with its place. Nothing here needs torch.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Description = dict[str, Any]

_DOT_512: Description = {"score": "dot", "net": "light", "units": 512}
_PAPERS_PRIOR: Description = {"hidden": [1000, 200], "squash": "sigmoid"}
_PAPERS_CLASSIFIER: Description = {"hidden": [200], "dropout": 0.1, "classes": 10}
_BATCH_RELU: Description = {"bias": False, "norm": "batch", "activation": "relu"}
_NAME = re.compile(r"[a-z]{1,8}[0-9]{1,3}(_[a-z]{1,8})?")


def _conv(name: str, out: int, kernel: int, stride: int, padding: int, **other: Any) -> Description:
    layer = {"op": "conv", "name": name, "out": out, "kernel": kernel, "stride": stride, "padding": padding}
    return layer | _BATCH_RELU | other


def _linear(name: str, out: int) -> Description:
    return {"op": "linear", "name": name, "out": out, **_BATCH_RELU}


def _pool(name: str) -> Description:
    return {"op": "maxpool", "name": name, "kernel": 3, "stride": 2}


def _bottleneck(name: str, width: int, stride: int = 1, shortcut: bool = False) -> Description:
    layers = [_conv("c0", width, 1, 1, 0), _conv("c1", width, 3, stride, 1), _conv("c2", 4 * width, 1, 1, 0, activation=None)]
    by = _conv("s0", 4 * width, 1, stride, 0, activation=None) if shortcut else None
    return {"op": "residual", "name": name, "layers": layers, "shortcut": by, "activation": "relu"}


def _papers(channels: int, side: int, layers: list[Description], features: str, conv: str, fc: str) -> Description:
    """What the paper's encoders share: images in [-1,1], 64 numbers an image, and the networks around them."""
    last = {"op": "linear", "name": f"l{sum(layer['op'] == 'linear' for layer in layers)}", "out": 64}
    return {
        "image": {"channels": channels, "height": side, "width": side, "mean": 0.5, "std": 0.5},
        "encoder": {"layers": [*layers, last], "features": features, "conv": conv, "fc": fc},
        "local": _DOT_512,
        "prior": _PAPERS_PRIOR,
        "classifier": _PAPERS_CLASSIFIER,
    }


def _notebook() -> Description:
    def conv(name: str, out: int, norm_name: str) -> Description:
        layer = {"op": "conv", "name": name, "out": out, "kernel": 4, "activation": "relu"}
        return layer | {"norm": "batch", "norm_name": norm_name}

    layers = [
        {"op": "conv", "name": "c0", "out": 64, "kernel": 4, "activation": "relu"},
        conv("c1", 128, "b1"),
        conv("c2", 256, "b2"),
        conv("c3", 512, "b3"),
        {"op": "flatten"},
        {"op": "linear", "name": "l1", "out": 64},
    ]
    on_the_map = [
        {"op": "conv", "name": "c0", "out": 64, "kernel": 3, "activation": "relu"},
        {"op": "conv", "name": "c1", "out": 32, "kernel": 3},
    ]
    return {
        "image": {"channels": 3, "height": 32, "width": 32},
        "encoder": {"norms": "last", "layers": layers, "features": "c1", "conv": "c3", "fc": None},
        "local": {"score": "concat", "hidden": [512, 512]},
        "global": {"score": "concat", "layers": on_the_map, "hidden": [512, 512]},
        "prior": {"hidden": [1000, 200], "squash": "none"},
        "classifier": {
            "hidden": [15, 10],
            "output_norm": "batch",
            "names": [["l1", "bn1"], ["l2", "bn2"], ["l3", "bn3"]],
            "classes": 10,
        },
    }


_FLATTEN: Description = {"op": "flatten"}

PRESETS: Mapping[str, Callable[[], Description]] = {
    "notebook": _notebook,
    "basic28": lambda: _papers(
        1, 28, [_conv("c0", 64, 5, 2, 2), _conv("c1", 128, 5, 2, 2), _FLATTEN, _linear("l0", 1024)], "c1", "c1", "l0"
    ),
    "basic32": lambda: _papers(
        3, 32, [*(_conv(f"c{i}", 64 << i, 4, 2, 1) for i in range(3)), _FLATTEN, _linear("l0", 1024)], "c1", "c2", "l0"
    ),
    "basic64": lambda: _papers(
        3, 64, [*(_conv(f"c{i}", 64 << i, 4, 2, 1) for i in range(4)), _FLATTEN, _linear("l0", 1024)], "c2", "c3", "l0"
    ),
    "alex64": lambda: _papers(
        3,
        64,
        [
            _conv("c0", 96, 3, 1, 1),
            _pool("p0"),
            _conv("c1", 192, 3, 1, 1),
            _pool("p1"),
            _conv("c2", 384, 3, 1, 1),
            _conv("c3", 384, 3, 1, 1),
            _conv("c4", 192, 3, 1, 1),
            _pool("p2"),
            _FLATTEN,
            _linear("l0", 4096),
            _linear("l1", 4096),
        ],
        "c2",
        "p2",
        "l1",
    ),
    "resnet19_32": lambda: _papers(
        3,
        32,
        [
            _conv("c0", 64, 3, 2, 1),
            _bottleneck("r0", 64, shortcut=True),
            _bottleneck("r1", 64),
            _bottleneck("r2", 128, 2, shortcut=True),
            _bottleneck("r3", 128),
            _bottleneck("r4", 256, 2, shortcut=True),
            _bottleneck("r5", 256),
            _FLATTEN,
            _linear("l0", 1024),
        ],
        "r3",
        "r5",
        "l0",
    ),
}


def read(architecture: object) -> Description:
    """A preset's name, a dict, JSON text, the path of a JSON file, or an object whose `json()` gives the text."""
    if isinstance(architecture, Mapping):
        return dict(architecture)
    text = getattr(architecture, "json", None)
    if callable(text):
        return _parse(text())
    if isinstance(architecture, str):
        if architecture in PRESETS:
            return {"preset": architecture}
        if (text := architecture.removeprefix("\ufeff")).lstrip().startswith("{"):  # Which editors under Windows write.
            return _parse(text)
    if isinstance(architecture, (str, bytes, os.PathLike)):
        path = Path(os.fsdecode(architecture))
        if not path.is_file():
            raise ValueError(
                f"architecture: expected one of {', '.join(PRESETS)}, JSON text or a JSON file, found {str(path)!r}"
            )
        return _parse(path.read_text(encoding="utf-8-sig"))
    raise TypeError(f"architecture: expected a name, dict, JSON text or path, found {type(architecture).__name__}")


def expanded(architecture: object) -> Description:
    """The canonical form of whatever `read` takes."""
    given = read(architecture)
    _only(given, "the description", "version preset image encoder local global prior classifier coordinates")
    if given.get("version", 1) != 1:
        raise ValueError(f"version: expected 1, found {given['version']}")
    preset = given.get("preset")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
    base = PRESETS[preset]() if preset is not None else {}
    merged = base | given
    for key in ("image", "encoder", "prior", "classifier"):
        if base.get(key) is not None and given.get(key) is not None:
            merged[key] = base[key] | given[key]
    for key in ("image", "encoder"):
        if merged.get(key) is None:
            raise ValueError(f"{key}: expected an object, found nothing; give it or a preset")

    encoder = _encoder(merged["encoder"])
    return {
        "version": 1,
        "preset": preset,
        "image": _image(merged["image"]),
        "encoder": encoder,
        "local": _local(merged.get("local")),
        "global": _global(merged.get("global")),
        "prior": _prior(merged.get("prior")),
        "classifier": _classifier(merged.get("classifier")),
        "coordinates": _coordinates(merged.get("coordinates")),
    }


def text(description: Description) -> str:
    """Of an expanded description: the canonical text."""
    return json.dumps(description, separators=(",", ":"), ensure_ascii=False)


def same(a: Description, b: Description) -> bool:
    """Whether two expanded descriptions are of one architecture, the preset's name aside."""
    return {k: v for k, v in a.items() if k != "preset"} == {k: v for k, v in b.items() if k != "preset"}


def pair(value: Any) -> tuple[int, int]:
    """A kernel, stride or padding, (rows, columns), given as one number or two."""
    rows, columns = value if isinstance(value, (list, tuple)) else (value, value)
    return rows, columns


def _pair(value: Any) -> Any:
    """One number where rows and columns are alike."""
    rows, columns = pair(value)
    return rows if rows == columns else [rows, columns]


# ---- The parts


def _image(given: Description) -> Description:
    _only(given, "image", "channels height width mean std resize")
    sizes = {key: _need(given, key, "image") for key in ("channels", "height", "width")}
    return sizes | {
        "mean": _numbers(given.get("mean", 0)),
        "std": _numbers(given.get("std", 1)),
        "resize": given.get("resize", "fit"),
    }


def _numbers(value: Any) -> Any:
    """One number, or one per channel; whole ones as integers."""
    if isinstance(value, (list, tuple)):
        return _numbers(value[0]) if len(value) == 1 else [_numbers(one) for one in value]
    if isinstance(value, (int, float)) and not abs(value) <= sys.float_info.max:  # JSON has 1e999, Infinity and NaN.
        raise ValueError(f"architecture: expected finite numbers, found {str(value)[:40]}")
    return int(value) if value == int(value) else float(value)


def _encoder(given: Description) -> Description:
    _only(given, "encoder", "norms layers features conv fc")
    layers = [_layer(layer, f"encoder.layers[{i}]") for i, layer in enumerate(_need(given, "layers", "encoder"))]
    _unique(layers, "encoder.layers")
    if not layers or layers[-1]["op"] != "linear":
        raise ValueError("encoder.layers: expected a linear layer as the last one")
    flatten = [i for i, layer in enumerate(layers) if layer["op"] == "flatten"]
    if not flatten:
        raise ValueError("encoder.layers: expected a flatten, found none")
    maps, vectors = layers[: flatten[0]], layers[flatten[0] : -1]
    hidden = [layer["name"] for layer in vectors if layer["op"] == "linear"]
    result = {
        "layers": layers,
        "norms": given.get("norms"),
        "features": _need(given, "features", "encoder"),
        "conv": given.get("conv", maps[-1]["name"] if maps else None),
        "fc": given.get("fc", hidden[-1] if hidden else None),
    }
    for key, among in ("features", layers[:-1]), ("conv", maps), ("fc", vectors):
        names = [layer["name"] for layer in among if layer["name"] is not None]
        if result[key] is not None and result[key] not in names:
            raise ValueError(f"encoder.{key}: expected one of {', '.join(names) or 'no layer'}, found {result[key]!r}")
    return result


_LAYER_KEYS = {
    "conv": "name out kernel stride padding bias",
    "linear": "name out bias",
    "maxpool": "name kernel stride padding",
    "avgpool": "name kernel stride padding",
    "flatten": "name",
    "residual": "name layers shortcut",
    "dropout": "name dropout",
}


def _layer(given: Description, place: str) -> Description:
    op = _need(given, "op", place)
    if op not in _LAYER_KEYS:
        raise ValueError(f"{place}.op: expected one of {', '.join(_LAYER_KEYS)}, found {op!r}")
    _only(given, place, f"op {_LAYER_KEYS[op]} norm norm_name activation")
    name = given.get("name")
    has_norm = given.get("norm") is not None and given.get("norm_name") is None
    if name is None and (op in ("conv", "linear") or has_norm):
        raise ValueError(f"{place}.name: expected a name, since the layer has parameters")
    layer: Description = {"op": op, "name": name}
    if op in ("conv", "linear"):
        layer["out"] = _need(given, "out", place)
    if op in ("conv", "maxpool", "avgpool"):
        layer["kernel"] = _pair(_need(given, "kernel", place))
        layer["stride"] = _pair(given.get("stride", 1 if op == "conv" else layer["kernel"]))
        layer["padding"] = _pair(given.get("padding", 0))
    if op in ("conv", "linear"):
        layer["bias"] = given.get("bias", True)
    if op == "residual":
        inner = [_layer(one, f"{place}.layers[{i}]") for i, one in enumerate(_need(given, "layers", place))]
        shortcut = given.get("shortcut")
        layer["layers"] = inner
        layer["shortcut"] = None if shortcut is None else _layer({"name": "s0"} | shortcut, f"{place}.shortcut")
        _unique([*inner, *([layer["shortcut"]] if shortcut is not None else [])], f"{place}.layers")
    if op == "dropout":
        layer["dropout"] = _numbers(given.get("dropout", 0))
    norm = given.get("norm")
    if norm not in (None, "batch", "layer"):
        raise ValueError(f'{place}.norm: expected null, "batch" or "layer", found {norm!r}')
    activation = given.get("activation")
    if activation not in (None, "relu", "sigmoid"):
        raise ValueError(f'{place}.activation: expected null, "relu" or "sigmoid", found {activation!r}')
    norm_name = None if norm is None else given.get("norm_name") or f"{name}_norm"
    return layer | {"norm": norm, "norm_name": norm_name, "activation": activation}


def _local(given: Description | None) -> Description | None:
    if given is None:
        return None
    if _need(given, "score", "local") == "concat":
        _only(given, "local", "score hidden")
        return {"score": "concat", "hidden": list(_need(given, "hidden", "local"))}
    _only(given, "local", "score net units")
    net = given.get("net", "authors")
    if given["score"] != "dot" or net not in ("light", "authors"):
        raise ValueError('local: expected score "concat", or "dot" with net "light" or "authors"')
    return {"score": "dot", "net": net, "units": _need(given, "units", "local")}


def _global(given: Description | None) -> Description | None:
    if given is None:
        return None
    source = given.get("input", "features")
    if source not in ("features", "conv"):
        raise ValueError(f'global.input: expected "features" or "conv", found {source!r}')
    if _need(given, "score", "global") == "concat":
        _only(given, "global", "score input layers hidden")
        layers = [_layer(layer, f"global.layers[{i}]") for i, layer in enumerate(given.get("layers") or [])]
        _unique(layers, "global.layers")
        return {"score": "concat", "input": source, "layers": layers, "hidden": list(_need(given, "hidden", "global"))}
    _only(given, "global", "score net units input")
    net = given.get("net", "authors")
    if given["score"] != "dot" or net not in ("light", "authors", "copy"):
        raise ValueError('global: expected score "concat", or "dot" with net "light", "authors" or "copy"')
    return {"score": "dot", "input": source, "net": net, "units": _need(given, "units", "global")}


def _prior(given: Description | None) -> Description | None:
    if given is None:
        return None
    _only(given, "prior", "hidden squash")
    squash = given.get("squash", "none")
    if squash not in ("none", "sigmoid"):
        raise ValueError(f'prior.squash: expected "none" or "sigmoid", found {squash!r}')
    return {"hidden": list(_need(given, "hidden", "prior")), "squash": squash}


def _classifier(given: Description | None) -> Description | None:
    if given is None:
        return None
    _only(given, "classifier", "hidden dropout classes output_norm names")
    hidden, output_norm, names = list(_need(given, "hidden", "classifier")), given.get("output_norm"), given.get("names")
    if output_norm not in (None, "batch"):
        raise ValueError(f'classifier.output_norm: expected null or "batch", found {output_norm!r}')
    result: Description = {
        "hidden": hidden,
        "dropout": _numbers(given.get("dropout", 0)),
        "classes": _need(given, "classes", "classifier"),
        "output_norm": output_norm,
    }
    standard = classifier_names(result | {"names": None})
    if names is not None and [len(one) for one in names] != [len(one) for one in standard]:
        raise ValueError(f"classifier.names: expected names as in {standard}, found {names}")
    return result | {"names": None if names is None or names == standard else [list(one) for one in names]}


def classifier_names(classifier: Description) -> list[list[str]]:
    """Of each layer and, where it has one, of its norm."""
    if classifier["names"] is not None:
        return [list(one) for one in classifier["names"]]
    names = [[f"l{i}", f"l{i}_norm"] for i in range(len(classifier["hidden"]) + 1)]
    return names if classifier["output_norm"] is not None else [*names[:-1], names[-1][:1]]


def _coordinates(given: Description | None) -> Description | None:
    if given is None:
        return None
    _only(given, "coordinates", "hidden")
    return {"hidden": list(_need(given, "hidden", "coordinates"))}


# ---- Checks


def _parse(text: str | bytes) -> Description:
    def once(items: list[tuple[str, Any]]) -> Description:
        found: Description = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"architecture: the key {key!r} is listed twice")
            found[key] = value
        return found

    result = json.loads(text, object_pairs_hook=once)
    if not isinstance(result, dict):
        raise ValueError(f"architecture: expected a JSON object, found {type(result).__name__}")
    return result


def _need(given: Description, key: str, place: str) -> Any:
    if given.get(key) is None:
        raise ValueError(f"{place}.{key}: expected a value, found none")
    return given[key]


def _only(given: Description, place: str, keys: str) -> None:
    unknown = [key for key in given if key not in keys.split()]
    if unknown:
        raise ValueError(f"{place}: expected no other keys than {', '.join(keys.split())}, found {', '.join(unknown)}")


def _unique(layers: list[Description], place: str) -> None:
    names = [name for layer in layers for name in _names(layer)]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{place}: expected names such as c0 or c0_norm, found {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"{place}: the name {name!r} is listed twice")


def _names(layer: Description) -> list[str]:
    """A layer's, its norm's and, of a block without a name, those of its layers."""
    found = [name for name in (layer["name"], layer["norm_name"]) if name is not None]
    if layer["op"] == "residual" and layer["name"] is None:
        inner = [*layer["layers"], *([layer["shortcut"]] if layer["shortcut"] is not None else [])]
        found += [name for one in inner for name in _names(one)]
    return found
