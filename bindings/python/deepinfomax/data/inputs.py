"""Images as people hold them - paths, PIL images, tensors, arrays, lists of them - to one float32 array."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from .conversion import Conversion
from .errors import DataError
from .options import Options, Size
from .pictures import Unreadable, converted, decode, error_of


def images(value: Any, item: Size, resize: Callable[[], str]) -> tuple[NDArray[np.float32], bool]:
    """float32 (n, *item), item (c,h,w), and whether `value` was a single image without n.

    Arrays and tensors: as `_arrays.images` has them. Image files and PIL images are read as the data sets read them,
    transparency, orientation and all, and get the size by `resize()`, the architecture's. A list is of such images.
    """
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("images: expected one at least, found an empty list")
        return np.stack([_one(one, item, resize, f"images[{number}]") for number, one in enumerate(value)]), False
    if _is_path(value) or _is_picture(value):
        return _one(value, item, resize, "images")[np.newaxis], True
    return _arrays.images(value, item)


def _one(value: Any, item: Size, resize: Callable[[], str], what: str) -> NDArray[np.float32]:
    if _is_path(value) or _is_picture(value):
        name = os.fsdecode(value) if _is_path(value) else what
        wanted = Conversion(item, resize())
        # Another size, or other channels than grey and RGB, is then an error and no conversion.
        exact = wanted.resize == "none" or item[0] not in (1, 3)
        target = None if exact else wanted
        try:
            pixels = decode(Path(name), Options(), target) if _is_path(value) else converted(value, target)
            if exact:
                wanted.check(pixels.shape, name)
                pixels = wanted.arrays(pixels[np.newaxis])[0]
        except Unreadable as error:
            raise error_of(error, f"{name}:") from error
        scaled: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
        return scaled
    found, single = _arrays.images(value, item, what)
    image: NDArray[np.float32] = found[0] if len(found) else found
    if not single:
        raise ValueError(f"{what}: expected one image in each place of a list, found an array of {len(found)}")
    return image


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, bytes, os.PathLike))


def _is_picture(value: Any) -> bool:
    """A PIL image can only come from a PIL that is already imported."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)
