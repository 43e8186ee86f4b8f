"""Architectures fitted to data: to the size of its images and the number of its classes."""

from __future__ import annotations

import json
import os
from typing import Any

from ..architecture import PRESETS, Architecture, read_file
from .errors import printable
from .options import Size

#: The preset whose layers are taken where the user names none.
DEFAULT = "basic32"
#: What the library takes.
MOST_CLASSES = 65_536


def described(named: Any, *, image: Size | None = None, resize: str | None = None, classes: int | None = None) -> Architecture:
    """The architecture of a name, file, dict or JSON text, with another image size, way to resize or number of classes."""
    base: dict[str, Any] = {"preset": named} if isinstance(named, str) and named in PRESETS else Architecture(named).as_dict()
    changed: dict[str, Any] = {} if image is None else dict(zip(("channels", "height", "width"), image, strict=True))
    if resize is not None:
        changed["resize"] = resize
    if changed:
        base["image"] = {**base.get("image", {}), **changed}
    made = Architecture(base)
    return made if classes is None else with_classes(made, classes)


def with_classes(architecture: Architecture, classes: int) -> Architecture:
    """The same with a classifier of that many classes; one of the default's layers where it has none."""
    description = architecture.as_dict()
    if description["classifier"] is None:
        description["classifier"] = {"hidden": [200], "dropout": 0.1, "classes": classes}
    elif description["classifier"]["classes"] == classes:
        return architecture
    else:
        description["classifier"]["classes"] = classes
    return Architecture(description)


def names_classes(named: Any) -> bool:
    """Whether the user's own JSON text says how many classes there are, not only the preset that it begins with."""
    try:
        return "classes" in (json.loads(named.removeprefix("\ufeff")).get("classifier") or {})
    except (ValueError, TypeError, AttributeError, RecursionError):  # A preset; or what is wrong with it, `described` says.
        return False


def read(named: str) -> str:
    """A preset's name as it is, the text of a file: read once, since it may be a pipe."""
    if named in PRESETS or not os.path.exists(named):  # Of a name that is neither, `described` says what is expected.
        return named
    if os.path.isdir(named):
        raise ValueError(f"{printable(named)}: is a folder, expected a preset or a JSON file")
    text = read_file(named)
    if not text.lstrip()[:1] in (b"{", b""):  # It would be taken for a name.
        raise ValueError(
            f"{printable(named)}: not a description in JSON: expected an object, found a file that begins with {text[:8]!r}"
        )
    return text.decode("utf-8", "surrogateescape") or " "


def is_notebook(architecture: Architecture) -> bool:
    return architecture == Architecture("notebook")


def image_size(architecture: Architecture) -> Size:
    image = architecture.as_dict()["image"]
    return image["channels"], image["height"], image["width"]


def resize(architecture: Architecture) -> str:
    """How images of other sizes become those that it takes."""
    return str(architecture.as_dict()["image"]["resize"])
