"""HDF5 files, by h5py: rows are read when they are asked for, a chunk at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import images
from .errors import DataError, MissingPackage, Shortage
from .labels import check_longest, check_text
from .options import Options
from .parts import Parts
from .rows import check_mark, mark

#: Decoded chunks that h5py keeps for each array: a shuffled epoch comes back to them. One that is larger is kept alone.
_CHUNK_CACHE = 64 << 20
#: Of texts of varying length: bytes that a piece of them may take, each of which may be as long as the file.
_PIECE = 256 << 20


def open_parts(path: Path, options: Options) -> Parts:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackage("h5py", "reading HDF5 files needs") from error
    try:
        file = _open(path)
        names = [name for name in file if file.get(name, getclass=True, getlink=True) is h5py.HardLink]
        arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not an HDF5 file, or damaged: {error}") from error
    wanted = images.choose(arrays, str(path), [name for name in file if name not in names])
    found: dict[str, Array] = {}
    notes: list[str] = []
    for key in wanted.keys:
        _check(file[key], f"{path}: {key}", options, whole=key not in (wanted.images, wanted.test_images))
        if (held := _chunk_bytes(file[key])) > _CHUNK_CACHE and key in (wanted.images, wanted.test_images):
            notes.append(
                f"{path.name}: {key}: to read an image, {held / 1e6:,.0f} MB are decoded, a chunk, which stay in memory; save it "
                "in chunks of one image or a few"
            )
    largest = max(_chunk_bytes(file[key]) for key in wanted.keys)
    if largest > _CHUNK_CACHE:  # Or each image would be decoded with all others of its chunk.
        file.close()
        file = _open(path, largest)
    for key in wanted.keys:
        text = h5py.check_string_dtype(file[key].dtype)
        varying = text is not None and text.length is None
        labels = key in (wanted.labels, wanted.test_labels) and wanted.classes is None
        values = h5py.check_enum_dtype(file[key].dtype) if labels else None
        if varying:
            found[key] = Texts(path, key, file[key], options)
        elif values is not None:
            found[key] = Named(path, key, file[key], values)
        else:
            found[key] = Array(path, key, file[key])
    parts = images.parts(path.name, str(path), found, wanted, options)
    parts.train.notes += tuple(notes)
    return parts


def _open(path: Path, cache: int = _CHUNK_CACHE) -> Any:
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=max(cache, _CHUNK_CACHE))


def _chunk_bytes(array: Any) -> int:
    return math.prod(array.chunks or (0,)) * int(array.dtype.itemsize)


def _mark(path: str) -> tuple[int, str]:
    with open(path, "rb") as file:
        return mark(file)


def _check(array: Any, where: str, options: Options, *, whole: bool) -> None:
    """What the header promises against what the file holds, and against what may be held in memory."""
    if array.is_virtual or array.external:
        raise DataError(f"{where}: its values are in other files, which are not read")
    size = int(array.size or 0)
    held = size if whole else math.prod(array.chunks or ())
    if held * array.dtype.itemsize > options.max_bytes:
        what = "is read whole" if whole else "is read in chunks of that size; save it in smaller ones"
        raise DataError(
            f"{where}: {held * array.dtype.itemsize:,} bytes, {options.max_bytes:,} are allowed; it {what}; "
            "or, in Python, allow more: max_bytes="
        )
    if whole:
        check_text(array.dtype, where)
    try:
        if size and array.id.get_storage_size() == 0:
            raise DataError(f"{where}: nothing was ever written to it")
        if array.chunks and size:
            parts = [-(-length // chunk) for length, chunk in zip(array.shape, array.chunks, strict=True)]
            written = array.id.get_num_chunks()
            if written != math.prod(parts):
                raise DataError(f"{where}: {written:,} of {math.prod(parts):,} chunks were ever written")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: damaged: {error}") from error


class Array:
    """An h5py.Dataset as `Rows`, whose errors name the file and the records. Opened anew in another process, where the file has to
    be the same."""

    def __init__(self, path: Path, key: str, array: Any) -> None:
        self._path, self._key, self._where = os.path.abspath(path), key, f"{path}: {key}"
        self.shape: tuple[int, ...] = array.shape or ()
        self.dtype: np.dtype[Any] = array.dtype
        self._array, self._process = array, os.getpid()
        self._mark, self._cache = _mark(self._path), _chunk_bytes(array)

    def __getitem__(self, index: Any) -> Any:
        return self._read(index)

    def _read(self, index: Any) -> Any:
        if self._process != os.getpid():
            # libhdf5 shares the file's place with the parent's process.
            self._array, self._process = self._again(), os.getpid()
        try:
            return self._array[index]
        except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
            if not isinstance(index, slice):
                raise DataError(f"{self._where}: cannot be read: {error}") from error
            start, stop, _ = index.indices(self.shape[0] if self.shape else 0)
            if stop - start > 1 and not isinstance(error, MemoryError):  # Which of them?
                middle = (start + stop) // 2
                self._read(slice(start, middle))
                self._read(slice(middle, stop))
            records = f"record {start}" if stop - start == 1 else f"records {start} to {stop - 1}"
            kind = Shortage if isinstance(error, MemoryError) else DataError
            raise kind(f"{self._where}: {records} cannot be read: {error}") from error

    def _again(self) -> Any:
        try:
            check_mark(self._path, self._mark, _mark(self._path))
            return _open(Path(self._path), self._cache)[self._key]
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{self._where}: cannot be read: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None, "_process": None}


class Named(Array):
    """Labels whose type is an enumeration, as its names."""

    def __init__(self, path: Path, key: str, array: Any, values: Mapping[str, int]) -> None:
        super().__init__(path, key, array)
        check_longest(max(map(len, values)), self._where)
        self._names = {value: name for name, value in values.items()}
        self.dtype = np.dtype(np.str_)

    def __getitem__(self, index: Any) -> Any:
        """All of them, whatever the index, as Python's: an array of text has each in the length of the longest."""
        values = np.asarray(self._read(()))
        names = np.empty(values.size, object)
        for number, value in enumerate(values.flat):
            if (name := self._names.get(int(value))) is None:
                raise DataError(
                    f"{self._where}: damaged: record {number} has the value {value}, which its enumeration does not name"
                )
            names[number] = name
        return names.reshape(values.shape)


class Texts(Array):
    """Texts of varying length, as h5py writes lists of str. Any number of places may share one long text: they are read piece
    by piece, and what they take together is bounded."""

    def __init__(self, path: Path, key: str, array: Any, options: Options) -> None:
        super().__init__(path, key, array)
        self.dtype = np.dtype(np.str_)
        self._most = options.max_bytes
        self._step = min(4096, max(16, _PIECE // max(os.path.getsize(path), 1)))

    def __getitem__(self, index: Any) -> Any:
        """All of them, whatever the index, as Python's."""
        count, found, longest = self.shape[0] if self.shape else 1, [], 1
        for start in range(0, count, self._step):
            piece = self._read(slice(start, start + self._step) if self.shape else ())
            for one in np.asarray(piece, object).ravel().tolist():
                try:
                    found.append(one.decode() if isinstance(one, bytes) else str(one))
                except UnicodeDecodeError as error:
                    raise DataError(f"{self._where}: record {len(found)} is not UTF-8: {error}") from error
                longest = max(longest, len(found[-1]))
                if 4 * longest * count > self._most:
                    raise DataError(
                        f"{self._where}: {count:,} texts of up to {longest:,} characters, {self._most:,} bytes are allowed for them; "
                        "or, in Python, allow more: max_bytes="
                    )
        check_longest(longest, self._where)
        return np.array(found, object).reshape(self.shape)
