"""Owning handles: a C object is freed when its owner is closed or collected, at the latest at interpreter exit."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from ctypes import c_void_p
from typing import Any

from . import errors
from ._library import check, library


class OwnedHandle:
    """Owns one C object of libdim.

    After a fork the object belongs to the parent: the child may use its copy, but never frees it, since the lock that
    freeing takes may have been held by a thread that the child does not have.
    """

    def __init__(self, pointer: int, free: Callable[[int], Any], kind: str) -> None:
        self._pointer = pointer
        self._kind = kind
        self._finalizer = weakref.finalize(self, _free, pointer, free, os.getpid())

    @property
    def pointer(self) -> int:
        """What C functions take. Raises InvalidHandle once closed."""
        if self.closed:
            raise errors.InvalidHandle(f"this {self._kind} is closed", errors.INVALID_HANDLE, "DIM_INVALID_HANDLE")
        return self._pointer

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def close(self) -> None:
        """Frees the C object; does nothing the second time."""
        self._finalizer()


def new_handle(kind: str, free: Callable[[int], Any], make: Callable[..., int], *arguments: Any) -> OwnedHandle:
    """Owns what `make(*arguments, &out)` gives; `free` is what C frees it with, `kind` what messages call it."""
    out = c_void_p()
    check(make(*arguments, out))
    assert out.value is not None
    return OwnedHandle(out.value, free, kind)


def model_handle(make: Callable[..., int], *arguments: Any) -> OwnedHandle:
    """The model that `make(*arguments, &out)` gives: dim_model_create, dim_model_open, dim_trainer_model..."""
    return new_handle("model", library().dim_model_free, make, *arguments)


def _free(pointer: int, free: Callable[[int], Any], owner: int) -> None:
    if os.getpid() == owner:
        free(pointer)
