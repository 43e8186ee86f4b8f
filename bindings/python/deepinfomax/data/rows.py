"""Arrays whose rows are read when they are asked for."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from .._arrays import digest
from .errors import DataError

#: Of a file's mark: pieces of so many bytes, and how many of them.
_BLOCK, _BLOCKS = 4096, 32


class Rows(Protocol):
    """numpy's arrays, rows mapped from a file, HDF5 data sets."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, index: Any) -> Any: ...


class FileRows:
    """Rows mapped from a file: only what is read takes memory, and only while it does. Pickled as their place in it, which
    raises DataError where the file there is another by then.

    The file's length is the caller's to check at first. Where the file has become shorter since, as when it is written anew
    while a run reads it, reading raises DataError: what is mapped and no longer there ends the process.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, offset: int = 0, order: str = "C") -> None:
        self.shape, self.dtype = shape, dtype
        self._place = (os.path.abspath(path), offset, order)
        self._array = self._map()

    def __del__(self) -> None:
        if file := self.__dict__.get("_file"):
            file.close()

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if self._file is not None and os.fstat(self._file.fileno()).st_size < self._end:
            raise DataError(
                f"{self._place[0]}: has become shorter since it was opened; open it again, and do not change it while it is read"
            )
        return np.asarray(self._array[index])

    def reshaped(self, shape: tuple[int, ...]) -> FileRows:
        """The same bytes, in other rows."""
        path, offset, order = self._place
        return FileRows(Path(path), self.dtype, shape, offset=offset, order=order)

    def _map(self) -> NDArray[Any]:
        path, offset, order = self._place
        self._file: BinaryIO | None = None
        self._end = offset + math.prod(self.shape) * self.dtype.itemsize
        if 0 in self.shape:  # There is nothing to map.
            return np.empty(self.shape, self.dtype)
        self._file = open(path, "rb")  # Of the bytes that are mapped, whatever takes the name.
        return np.memmap(self._file, self.dtype, "r", offset, self.shape, order)  # type: ignore[call-overload,no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_array", "_file", "_end")}
        return kept | {"_mark": None if self._file is None else mark(self._file, self._place[1])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = state.pop("_mark")
        self.__dict__ |= state
        path, offset, _ = self._place
        if known is not None:  # Before it is mapped: the rows of a shorter file would not be there.
            with open(path, "rb") as file:
                check_mark(path, known, mark(file, offset))
        self._array = self._map()


class Columns:
    """Rows of bytes, of which the first `skip` are labels and the rest an image of `size`; the columns of the image may
    precede its rows (`swapped`)."""

    dtype = np.dtype(np.uint8)

    def __init__(self, rows: Rows, skip: int, size: tuple[int, int, int], *, swapped: bool = False) -> None:
        self.shape = (rows.shape[0], *size)
        self._rows, self._skip, self._swapped = rows, skip, swapped

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows = np.asarray(self._rows[index])[:, self._skip :]
        channels, height, width = self.shape[1:]
        if self._swapped:
            return rows.reshape(-1, channels, width, height).swapaxes(2, 3)
        return rows.reshape(-1, channels, height, width)


def mark(file: BinaryIO, before: int = 0) -> tuple[int, str]:
    """By which a file is known again, also a copy of it elsewhere: its size and some of its bytes from everywhere, the beginning,
    the end and what precedes the place `before`, where headers are, among them."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    last = max(0, size - _BLOCK)
    places = sorted({last * number // (_BLOCKS - 1) for number in range(_BLOCKS)} | {max(0, min(before - _BLOCK, last))})
    return size, digest(*(os.pread(descriptor, _BLOCK, place) for place in places))


def check_mark(path: str, known: tuple[int, str], found: tuple[int, str]) -> None:
    if found != known:
        sizes = f", expected {known[0]:,} bytes, found {found[0]:,}" if found[0] != known[0] else ""
        raise DataError(f"{path}: is no longer the file that the data set was opened with{sizes}; open the data set again")


def take(rows: Rows, indices: NDArray[np.int64]) -> NDArray[Any]:
    """rows[indices]; of an HDF5 data set, runs of neighbours at a time, in the order of the file."""
    if isinstance(rows, (np.ndarray, FileRows)):
        return rows[indices]
    ascending = np.argsort(indices, kind="stable")
    wanted = indices[ascending]
    result = np.empty((len(indices), *rows.shape[1:]), rows.dtype.newbyteorder("="))
    start = 0
    while start < len(wanted):
        stop = start + 1
        while stop < len(wanted) and wanted[stop] == wanted[stop - 1] + 1:
            stop += 1
        result[ascending[start:stop]] = rows[int(wanted[start]) : int(wanted[stop - 1]) + 1]
        start = stop
    return result
