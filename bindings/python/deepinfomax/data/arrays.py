"""numpy's .npy and .npz files. Uncompressed arrays are memory-mapped: they may exceed the memory."""

from __future__ import annotations

import errno
import math
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .._text import cut
from . import images as _images
from .errors import DataError
from .labels import Labels, check_text
from .options import MAX_BYTES, Options
from .parts import Parts
from .rows import FileRows, Rows

#: Of an array: as many as every version of numpy has.
_MOST_AXES = 32
#: Members up to this size have their checksum verified on opening.
_VERIFIED = 1 << 30


def open_parts(path: Path, options: Options) -> Parts:
    if path.name.lower().endswith(".npy"):
        return _from_npy(path, options)
    return _from_npz(path, options)


def _from_npy(path: Path, options: Options) -> Parts:
    images = _images.ArrayImages(path.name, str(path), _map(path), options)
    beside = path.with_name(path.stem + "_labels.npy")
    labels = Labels(_map(beside), len(images), str(beside)) if beside.is_file() else None
    _images.label([images], [labels], None)
    return Parts(images, labels_advice=f"expected them in {beside.name} beside it")


def _map(path: Path, offset: int = 0, size: int | None = None, where: str | None = None, *, labelled: bool = True) -> Rows:
    """The array that starts at `offset` of the file, mapped, its length checked. labelled: its texts are labels."""
    where = where or str(path)
    available = path.stat().st_size - offset if size is None else size
    with open(path, "rb") as file:
        file.seek(offset)
        shape, fortran, dtype, header = _header(file, where, labelled)
    needed, found = math.prod(shape) * dtype.itemsize, available - header
    if found < needed:
        if shape and shape[0]:
            whole = found // (needed // shape[0])
            raise DataError(f"{where}: record {whole} is cut short; the header names {shape[0]} records")
        raise DataError(f"{where}: {found} bytes of values, the header names {needed}")
    if found > needed:  # Of several arrays in one file the first alone would be read.
        raise DataError(f"{where}: {found - needed} bytes more than the header names")
    return _checked(FileRows(path, dtype, shape, offset=offset + header, order="F" if fortran else "C"), where)


def _header(file: IO[bytes], where: str, labelled: bool) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether the order is Fortran's, dtype, and the header's size."""
    start = file.tell()
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version} is not known")
        # A header of version 3 differs from one of version 2 in its names' encoding alone.
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError, tokenize.TokenError) as error:
        # numpy parses the header as Python's literals, and lets some of the parser's own errors through. The first line alone:
        # of a long header it goes on with advice for its own callers.
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{where}: not an .npy array, or its header is damaged: {told}") from error
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects, which can run code and are not read; save plain numbers")
    if labelled:
        check_text(dtype, where)
    # numpy takes True for a length, and memory maps have their own errors for too many of them.
    if any(isinstance(length, bool) or length < 0 for length in shape) or len(shape) > _MOST_AXES:
        raise DataError(f"{where}: the header is damaged: shape {cut(str(shape), 60)}")
    return shape, fortran, dtype, file.tell() - start


# ---- npz


def _from_npz(path: Path, options: Options) -> Parts:
    with _opened(path) as archive:
        members = _members(path, archive)
        wanted = _images.choose(list(members), str(path))
        _check_room(path, [members[key] for key in wanted.keys], options.max_bytes)
        arrays = {key: _member(path, archive, members[key]) for key in wanted.keys}
    return _images.parts(path.name, str(path), arrays, wanted, options)


def read_npz(
    path: Path, names: Iterable[str], max_bytes: int = MAX_BYTES, *, optional: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file, in memory: no more than the file holds and, of compressed ones, max_bytes. No object is unpickled.
    optional: of these, those that are there.

    Raises DataError, and OSError where the file cannot be opened.
    """
    if path.exists() and not path.is_file():  # A pipe would be waited for.
        raise DataError(f"{path}: not a file")
    with _opened(path) as archive:
        members = _members(path, archive)
        if missing := [name for name in names if name not in members]:
            raise DataError(f"{path}: has no array {', '.join(missing)}")
        names = (*names, *(name for name in optional if name in members))
        _check_room(path, [members[name] for name in names], max_bytes)
        return {name: np.array(_member(path, archive, members[name], labelled=False)[...]) for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not an .npz file, or cut short: {error}") from error
    except DataError:
        raise
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error) as error:
        raise DataError(f"{path}: the archive is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # A place before the file's beginning.
            raise
        raise DataError(f"{path}: the archive is damaged: its directory names a place outside of it") from error


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            name = info.filename.removesuffix(".npy")
            if name in members:
                raise DataError(f"{path}: has two arrays called {cut(name, 40)}")
            members[name] = info
    return members


def _check_room(path: Path, members: Iterable[zipfile.ZipInfo], max_bytes: int) -> None:
    held = sum(info.file_size for info in members if _packed(info))
    if held > max_bytes:
        raise DataError(
            f"{path}: unpacks to {held:,} bytes in memory, {max_bytes:,} are allowed; save it "
            "uncompressed (numpy.savez), which is read in place; or, in Python, allow more: max_bytes="
        )


def _packed(info: zipfile.ZipInfo) -> bool:
    """Compressed or encrypted: there is no reading from the middle."""
    return info.compress_type != zipfile.ZIP_STORED or bool(info.flag_bits & 1)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, labelled: bool = True) -> Rows:
    where = f"{path}: {info.filename}"
    if not _packed(info):
        if info.file_size <= _VERIFIED:
            _verify(archive, info, where)
        return _map(path, _start(path, info), info.file_size, where, labelled=labelled)
    with archive.open(info) as file:
        shape, fortran, dtype, header = _header(file, where, labelled)
        needed = math.prod(shape) * dtype.itemsize
        # Before anything is unpacked; reading to the end then verifies the checksum.
        if info.file_size - header != needed:
            raise DataError(f"{where}: {info.file_size - header} bytes of values, the header names {dtype} {shape}")
        flat = np.empty(needed, np.uint8)
        start = 0
        while content := file.read(1 << 20):
            flat[start : start + len(content)] = np.frombuffer(content, np.uint8)
            start += len(content)
        if start < needed:
            raise DataError(f"{where}: cut short, {needed - start:,} bytes are missing")
    return _checked(_shaped(flat, shape, fortran, dtype), where)


def _shaped(flat: NDArray[np.uint8], shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    if 0 in shape or dtype.itemsize == 0:
        return np.empty(shape, dtype)
    return flat.view(dtype).reshape(shape, order="F" if fortran else "C")


R = TypeVar("R", bound=Rows)


def _checked(rows: R, where: str) -> R:
    """Text whose letters are letters: Python makes no text of other numbers."""
    if rows.dtype.kind == "U" and rows.dtype.itemsize and math.prod(rows.shape):
        letters = np.ascontiguousarray(rows[...]).view(np.dtype(np.uint32).newbyteorder(rows.dtype.byteorder))
        if letters.max() > sys.maxunicode:
            raise DataError(f"{where}: damaged: text with a character of the number {letters.max():#x}")
    return rows


def _verify(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> None:
    try:
        with archive.open(info) as file:
            while file.read(1 << 20):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{where}: damaged: {error}") from error


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes start: behind a header of its own, whose lengths need not be the directory's."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise DataError(f"{path}: {info.filename}: its header is damaged")
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + int(name) + int(extra)
