"""Pickles and copies: an object is the bytes of the file that it would be saved as."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def content(save: Callable[[str], object]) -> bytes:
    """What `save(path)` writes. The library replaces files whole, so the path is in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="deepinfomax-") as folder:
        path = os.path.join(folder, "copy")
        save(path)
        with open(path, "rb") as file:
            return file.read()


def opened(content: bytes, open_: Callable[[str], T]) -> T:
    """What `open_(path)` makes of a file of these bytes."""
    with tempfile.TemporaryDirectory(prefix="deepinfomax-") as folder:
        path = os.path.join(folder, "copy")
        with open(path, "wb") as file:
            file.write(content)
        return open_(path)
