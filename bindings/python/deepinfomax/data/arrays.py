"""numpy's .npy and .npz files. What stands uncompressed in the file is mapped, not read: it may exceed the memory."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from . import images as _images
from .errors import DataError
from .parts import Parts

#: Members up to this size have their checksum verified on opening.
_VERIFIED = 1 << 30


def open_parts(path: Path) -> Parts:
    if path.name.lower().endswith(".npy"):
        return _from_npy(path)
    return _from_npz(path)


def _from_npy(path: Path) -> Parts:
    labels_file = path.with_name(path.stem + "_labels.npy")
    labels = _map(labels_file) if labels_file.is_file() else None
    dataset = _images.dataset(path.name, str(path), _map(path), labels, None, str(labels_file))
    return Parts(dataset, labels_would_be=f"expected them in {labels_file.name} beside it")


def _map(path: Path, offset: int = 0, size: int | None = None, where: str | None = None) -> NDArray[Any]:
    """The array that starts at `offset` of the file, mapped, its length checked."""
    where = where or str(path)
    available = path.stat().st_size - offset if size is None else size
    with open(path, "rb") as file:
        file.seek(offset)
        shape, fortran, dtype, header = _header(file, where)
    # Python's integers: a header may name any size.
    count = 1
    for length in shape:
        count *= length
    needed, found = count * dtype.itemsize, available - header
    if found < needed:
        if shape and shape[0]:
            whole = found // (needed // shape[0])
            raise DataError(f"{where}: record {whole} is cut short; the header names {shape[0]} records")
        raise DataError(f"{where}: {found} bytes of values, the header names {needed}")
    if needed == 0:
        return np.empty(shape, dtype)
    order = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", offset + header, shape, order)  # type: ignore[call-overload,no-any-return]


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
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
        # numpy parses the header as Python's literals, and lets some of the parser's own errors through.
        raise DataError(f"{where}: not an .npy array, or its header is damaged: {error}") from error
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects, which can run code and are not read; save plain numbers")
    if any(length < 0 for length in shape):
        raise DataError(f"{where}: the header is damaged: shape {shape}")
    return shape, fortran, dtype, file.tell() - start


# ---- npz


def _from_npz(path: Path) -> Parts:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            wanted = _images.choose(list(members), str(path))
            arrays = {key: _member(path, archive, members[key]) for key in wanted.keys}
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not an .npz file, or cut short: {error}") from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, struct.error) as error:
        raise DataError(f"{path}: the archive is damaged: {error}") from error
    return _images.parts(path.name, str(path), arrays, wanted)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    where = f"{path}: {info.filename}"
    if info.file_size <= _VERIFIED:
        _verify(archive, info, where)
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        return _map(path, _start(path, info), info.file_size, where)
    # Compressed: there is no reading from the middle.
    with archive.open(info) as file:
        shape, fortran, dtype, _ = _header(file, where)
        content = file.read()
    try:
        flat = np.frombuffer(content, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:
        raise DataError(f"{where}: {len(content)} bytes of values, the header names {dtype} {shape}") from error


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
