"""What a network is, as a value: image, encoder, score networks, prior discriminator, classifier."""

from __future__ import annotations

import codecs
import json
import os
from ctypes import c_char_p, c_size_t
from typing import Any

import numpy as np

from . import _arrays
from ._files import read_start
from ._handles import OwnedHandle, new_handle
from ._library import library, text
from ._text import shown
from .errors import DimError

#: Of a file: more than any description has.
_LONGEST = 1 << 20
#: Editors under Windows begin text with it.
_BOM = codecs.BOM_UTF8.decode()
#: Architectures that the library knows by name.
PRESETS = ("notebook", "basic28", "basic32", "basic64", "alex64", "resnet19_32")


def read_file(path: str | bytes) -> bytes:
    """A description's. Raises OSError, and ValueError for a file that is longer than any."""
    text = read_start(path, _LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(
            f"{shown(os.fsdecode(path))}: expected a description, at most 60,000 bytes, found more than {_LONGEST:,}"
        )
    return text.removeprefix(_BOM.encode())


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays, for json."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"description: expected numbers, texts, lists and dicts, found {type(value).__name__}")


class Architecture:
    """A description of all networks, checked and complete: docs/architecture.md has its grammar.

    Two are equal if they describe the same networks. A value: it does not change, and may be used by several threads.
    """

    def __init__(self, description: Any) -> None:
        """description: a preset's name, a dict, JSON text, the path of a JSON file, or another Architecture.

        Raises InvalidArgument (a ValueError), which lists every fault with its place.
        """
        self._handle = _handle(description)

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        channels: int | None = None,
        height: int | None = None,
        width: int | None = None,
        classes: int | None = None,
        mean: float | list[float] | None = None,
        std: float | list[float] | None = None,
        resize: str | None = None,
    ) -> Architecture:
        """A preset for other images or another number of classes: see PRESETS."""
        if not isinstance(name, str):
            raise TypeError(f"name: expected a preset's, found {_arrays.briefly(name)}")
        image = dict(channels=channels, height=height, width=width, mean=mean, std=std, resize=resize)
        description: dict[str, Any] = {"preset": name}
        if given := {key: value for key, value in image.items() if value is not None}:
            description["image"] = given
        if classes is not None:
            description["classifier"] = {"classes": classes}
        return cls(description)

    @classmethod
    def from_json(cls, text_or_path: str | os.PathLike[str]) -> Architecture:
        """From JSON text, or from the file of that path."""
        return cls(text_or_path)

    @classmethod
    def _of(cls, handle: OwnedHandle) -> Architecture:
        made = cls.__new__(cls)
        made._handle = handle
        return made

    def json(self) -> str:
        """The canonical text: every key with its value, in a fixed order, without spaces."""
        return text(library().dim_architecture_json, self._handle.pointer)

    def as_dict(self) -> dict[str, Any]:
        """The canonical text, parsed."""
        parsed: dict[str, Any] = json.loads(self.json())
        return parsed

    def summary(self) -> dict[str, Any]:
        """A table of the layers: {"layers": [{"network", "name", "op", "output", "parameters", "multiply_adds"}, ...],
        "parameters", "multiply_adds"}; multiply-adds are those of one image's forward pass."""
        parsed: dict[str, Any] = json.loads(text(library().dim_architecture_summary, self._handle.pointer))
        return parsed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return _networks(self.as_dict()) == _networks(other.as_dict())

    def __hash__(self) -> int:
        return hash(json.dumps(_networks(self.as_dict()), sort_keys=True))

    def __repr__(self) -> str:
        d = self.as_dict()
        image = d["image"]
        size = "x".join(str(image[key]) for key in ("channels", "height", "width"))
        name = d.get("preset") or "own layers"
        return f"<deepinfomax.Architecture, {name}, images {size}>"

    def __reduce__(self) -> Any:
        return Architecture, (self.json(),)


def _networks(description: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key != "preset"}


def _handle(description: Any) -> OwnedHandle:
    lib = library()
    free = lib.dim_architecture_free
    where = ""
    if isinstance(description, Architecture):
        description = description.json()
    if isinstance(description, dict):
        try:
            description = json.dumps(description, default=_plain)
        except (RecursionError, ValueError) as error:  # Nested without an end, or deeper than any description.
            raise ValueError(f"architecture: expected a description that JSON can hold: {error}") from error
    if isinstance(description, str) and description.removeprefix(_BOM).lstrip()[:1] == "{":
        description = description.removeprefix(_BOM)
    if isinstance(description, str) and description in PRESETS:
        return new_handle("architecture", free, lib.dim_architecture_preset, description.encode())
    if isinstance(description, str) and description.lstrip()[:1] in ("{", ""):
        text = description.encode("utf-8", "surrogatepass")
    elif isinstance(description, (str, bytes, os.PathLike)):
        path = os.fspath(description)
        if (b"\0" if isinstance(path, bytes) else "\0") in path:
            raise ValueError(f"architecture: expected a name without NUL, found {path!r}")
        if isinstance(path, str) and not os.path.exists(path) and os.sep not in path and not path.endswith(".json"):
            raise ValueError(f"architecture: expected one of {', '.join(PRESETS)}, JSON text or a file, found {path!r}")
        where = shown(os.fsdecode(path))
        text = read_file(path)
    else:
        raise TypeError(
            "architecture: expected a preset's name, a dict, JSON text, a path or an Architecture, found "
            f"{type(description).__name__}"
        )
    try:
        return new_handle("architecture", free, lib.dim_architecture_parse, c_char_p(text), c_size_t(len(text)))
    except DimError as error:
        if not where:
            raise
        raise type(error)(f"{where}: {error.message}", error.status, error.status_name) from None
