"""Pickles and copies: an object is the bytes of the file that it would be saved as."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def through(write: Callable[[str], object], read: Callable[[str], T]) -> T:
    """What `read(path)` makes of the file that `write(path)` makes. Of both nothing stays, whatever ends them.

    The library replaces files whole, so the path is in a folder of its own.
    """
    folder = os.path.join(tempfile.gettempdir(), f"deepinfomax-{secrets.token_hex(8)}")
    path = os.path.join(folder, "copy")
    try:
        os.mkdir(folder, 0o700)
        write(path)
        return read(path)
    finally:
        # Python raises KeyboardInterrupt where a call has ended and where a function of Python begins. A function of C that is
        # called here has always run before; one of Python might not, nor might a context manager's.
        try:
            os.unlink(path)
        except OSError:  # It was not made.
            pass
        finally:
            try:
                os.rmdir(folder)
            except OSError:
                pass


def content(save: Callable[[str], object]) -> bytes:
    """What `save(path)` writes."""
    return through(save, _read)


def opened(content: bytes, open_: Callable[[str], T]) -> T:
    """What `open_(path)` makes of a file of these bytes."""

    def write(path: str) -> None:
        with open(path, "wb") as file:
            file.write(content)

    return through(write, open_)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
