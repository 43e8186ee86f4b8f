"""MNIST's idx files, plain or .gz: a folder of them, or one file of images with its labels beside it.

Two bytes 0, the type of a value, the number of axes; each axis's length in four bytes, the largest first; the values, all
big-endian. Files are named train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-... those of the test set.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from . import images as _images
from .errors import DataError
from .labels import Labels
from .options import Options
from .parts import Parts
from .rows import FileRows, Rows

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(.*?)(images|labels)([-.]idx)(\d)([-.]ubyte)?(\.gz)?", re.IGNORECASE | re.DOTALL)
_GZIP = b"\x1f\x8b"
#: What `part` may be, and how files of that part are named.
_PARTS = {"train": ("train",), "test": ("t10k", "test"), "t10k": ("t10k", "test")}


def is_folder(path: Path) -> bool:
    return any((match := _NAME.fullmatch(name)) and match[2].lower() == "images" for name in os.listdir(path))


def is_read(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def is_file(path: Path) -> bool:
    """By the first bytes, of what a .gz holds, too."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        if start[:2] == _GZIP:
            with gzip.open(path, "rb") as file:
                start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return bool(_NAME.fullmatch(path.name))
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPES and 1 <= start[3] <= 4


def open_parts(path: Path, options: Options) -> Parts:
    if not path.is_dir():
        own = "test" if _is(path.name, "test") else "train"
        if options.part is not None and _PARTS.get(options.part) != _PARTS[own]:
            raise DataError(f"{path}: no images of the part {options.part!r}; found {own}")
    file = _chosen(path, options.part) if path.is_dir() else path
    # The folder's name says more than the files', which are the same for MNIST and for all that took its place.
    return _open(file, path.name if path.is_dir() else file.name, options)


def _chosen(folder: Path, part: str | None) -> Path:
    """The images of the part that is asked for; train-* unless there is another part only."""
    found = sorted(name for name in os.listdir(folder) if (match := _NAME.fullmatch(name)) and match[2].lower() == "images")
    # A file that was unpacked beside its archive counts once.
    names = [name for name in found if not (name.endswith(".gz") and name[:-3] in found)]
    if part is None:
        part = "train" if any(_is(name, "train") for name in names) or len(names) > 1 else None
    wanted = names if part is None else [name for name in names if _is(name, part)]
    if len(wanted) == 1:
        return folder / wanted[0]
    if not wanted:
        raise DataError(f"{folder}: no images of the part {part!r}; found {', '.join(names)}")
    raise DataError(f"{folder}: expected one file of images, found {', '.join(wanted)}; name one of them")


def _is(name: str, part: str) -> bool:
    words = re.split(r"[-._]", name.lower())
    return any(word in words for word in _PARTS.get(part, ()))


def _open(path: Path, name: str, options: Options) -> Parts:
    match = _NAME.fullmatch(path.name)
    if match and match[2].lower() == "labels":
        raise DataError(f"{path}: these are the labels; name the file of the images, {match[1]}images...")
    array = _array(path, options, "images")
    if len(array.shape) < 3:
        kind = "labels" if len(array.shape) == 1 else f"an array of {len(array.shape)} axes"
        raise DataError(f"{path}: expected images, (n,h,w), found {kind}; name the file of the images")
    found = _images.ArrayImages(name, str(path), array, options)
    beside = _labels(path)
    labels = None
    if beside is not None:
        labels = Labels(_array(beside, options, "labels", len(found)), len(found), str(beside))
    _images.label([found], [labels], None)
    expected = "train-labels-idx1-ubyte" if match is None else f"{match[1]}labels{match[3]}1{match[5] or ''}"
    return Parts(found, labels_advice=f"expected them in {expected} or {expected}.gz beside the images")


def _labels(images: Path) -> Path | None:
    """The file of the labels that belong to these images."""
    match = _NAME.fullmatch(images.name)
    if match is None:
        return None
    for name in os.listdir(images.parent):
        other = _NAME.fullmatch(name)
        if other and other[1] == match[1] and other[2].lower() == "labels":
            plain = images.parent / name.removesuffix(".gz")
            return plain if plain.is_file() else images.parent / name
    return None


def _array(path: Path, options: Options, what: str, expected: int | None = None) -> Rows:
    """Plain files are mapped, .gz unpacked into memory: exactly what the header promises, if that is allowed.

    expected: for labels, how many there are to be; what is more than that is not read.
    """
    with open(path, "rb") as plain:
        packed = plain.read(2) == _GZIP
        plain.seek(0)
        if not packed:
            dtype, shape, header = _header(plain, path)
            needed = math.prod(shape) * dtype.itemsize
            found = path.stat().st_size - header
            if found != needed:
                raise DataError(f"{path}: {_short(found, needed, shape, what)}")
            return FileRows(path, dtype, shape, offset=header)
        try:
            with gzip.open(plain) as file:
                dtype, shape, _ = _header(file, path)
                needed = math.prod(shape) * dtype.itemsize
                if expected is not None and shape != (expected,):
                    raise DataError(f"{path}: expected {expected:,} labels, one an image, found the shape {shape}")
                if needed > options.max_bytes:
                    raise DataError(
                        f"{path}: unpacks to {needed:,} bytes in memory, {options.max_bytes:,} are allowed; unpack it "
                        "(gunzip), plain files are read in place; or, in Python, allow more: max_bytes="
                    )
                content = io.BytesIO()
                while content.tell() < needed and (piece := file.read(min(1 << 20, needed - content.tell()))):
                    content.write(piece)
                if content.tell() != needed or file.read(1):  # At the end the checksum is verified.
                    more = content.tell() == needed
                    raise DataError(f"{path}: {_short(needed + 1 if more else content.tell(), needed, shape, what)}")
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(f"{path}: damaged or cut short: {error}; download it again") from error
    return np.frombuffer(content.getbuffer(), dtype).reshape(shape)


def _header(file: io.BufferedIOBase | gzip.GzipFile, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """Type, shape, and the header's size."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not 1 <= start[3] <= 4:
        raise DataError(f"{path}: not an idx file: it starts with {start.hex(' ') or 'nothing'}, expected 00 00 08 03")
    lengths = file.read(4 * start[3])
    if len(lengths) < 4 * start[3]:
        raise DataError(f"{path}: the header is cut short")
    return np.dtype(_TYPES[start[2]]), struct.unpack(f">{start[3]}I", lengths), 4 + len(lengths)


def _short(found: int, needed: int, shape: tuple[int, ...], what: str) -> str:
    if found > needed:
        return f"more bytes than the header's shape {shape} needs, {needed:,}"
    record = found // (needed // shape[0])
    return f"record {record} is cut short; the header names {shape[0]:,} {what}"
