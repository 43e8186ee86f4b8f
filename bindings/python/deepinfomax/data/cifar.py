"""CIFAR-10's binary version: a folder of its files, the archive as published, or one file.

A record is 3,073 bytes: the label 0..9, then 1,024 bytes each of red, green and blue, row by row.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Ids, InMemory, Joined
from .errors import DataError
from .parts import Parts

RECORD = 1 + 3 * 32 * 32
FOLDER = "cifar-10-batches-bin"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TRAIN = re.compile(r"data_batch_([1-9]\d*)\.bin")
_TEST, _META = "test_batch.bin", "batches.meta.txt"
#: Larger than any file of the archive; what else is in it is not read.
_MEMBER_LIMIT = 1 << 30


def is_folder(path: Path) -> bool:
    """Whether it holds CIFAR-10, in whatever version: what is not the binary version is then told apart."""
    names = set(os.listdir(path))
    return bool(
        FOLDER in names
        or _TEST in names
        or any(_TRAIN.fullmatch(name) for name in names)
        or {"data_batch_1", "test_batch"} & names
        or {"train.bin", "test.bin"} <= names
    )


def open_parts(path: Path) -> Parts:
    if path.is_dir():
        return _from_folder(path)
    if path.name.lower().endswith(".bin"):
        return Parts(_dataset(path.name, str(path), np.memmap(path, np.uint8, "r") if path.stat().st_size else _empty()))
    return _from_archive(path)


def _from_folder(path: Path) -> Parts:
    if (path / FOLDER).is_dir():
        path = path / FOLDER
    names = sorted(os.listdir(path))
    if not any(_TRAIN.fullmatch(name) for name in names) and _TEST not in names:
        raise DataError(f"{path}: {_other_version(names)}")
    files: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        if _TRAIN.fullmatch(name) or name == _TEST:
            # A map of the file: only what is read takes memory, and only while it does.
            empty = (path / name).stat().st_size == 0
            files[name] = _empty() if empty else np.memmap(path / name, np.uint8, "r")
    meta = (path / _META).read_bytes() if _META in names else None
    return _parts(path.name, str(path), files, meta)


def _from_archive(path: Path) -> Parts:
    """The archive's files in memory, 184 MB for the published one: gzip cannot be read from the middle."""
    files: dict[str, NDArray[np.uint8]] = {}
    meta: bytes | None = None
    names: list[str] = []
    try:
        # tarfile's own way of reading gzip does not verify the checksum; this one does, at the end.
        with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                names.append(name)
                if not member.isfile() or member.size > _MEMBER_LIMIT:
                    continue
                if name == _META or name == _TEST or _TRAIN.fullmatch(name):
                    file = archive.extractfile(member)
                    assert file is not None
                    content = file.read()
                    if name == _META:
                        meta = content
                    else:
                        files[name] = np.frombuffer(content, np.uint8)
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        where = f" after {names[-1]}" if names else ""
        raise DataError(f"{path}: the archive is damaged or cut short{where}: {error}; download it again") from error
    if not files:
        raise DataError(f"{path}: {_other_version(names)}")
    return _parts(path.name, str(path), files, meta)


def _decompressed(path: Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def _other_version(names: list[str]) -> str:
    if {"data_batch_1", "test_batch"} & set(names):
        found = "this is CIFAR-10's Python version, whose pickles can run code and are not read"
    elif {"train.bin", "test.bin"} <= set(names):
        found = "this is CIFAR-100"
    else:
        found = "no data_batch_*.bin or test_batch.bin"
    return f"{found}; expected CIFAR-10's binary version (cifar-10-binary.tar.gz)"


def _parts(name: str, where: str, files: Mapping[str, NDArray[np.uint8]], meta: bytes | None) -> Parts:
    numbers = sorted(int(match[1]) for file in files if (match := _TRAIN.fullmatch(file)))
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    if missing:
        raise DataError(f"{where}: data_batch_{missing[0]}.bin is missing, data_batch_{numbers[-1]}.bin is there")
    classes = CLASSES if meta is None else _classes(meta, f"{where}: {_META}")
    batches = [
        _dataset(file, f"{where}: {file}", files[file], classes) for file in (f"data_batch_{n}.bin" for n in numbers)
    ]
    for number, batch in zip(numbers, batches, strict=True):
        # Published batches are all of one length: a file that ends between two records shows in no other way.
        longest = max(map(len, batches))
        if len(batch) < longest:
            raise DataError(
                f"{where}: data_batch_{number}.bin ends after record {len(batch) - 1}; "
                f"other batches have {longest} records"
            )
    test = _dataset(_TEST, f"{where}: {_TEST}", files[_TEST], classes) if _TEST in files else None
    if not batches:
        assert test is not None
        return Parts(test)
    return Parts(Joined(name, batches), test)


def _dataset(file: str, where: str, content: NDArray[np.uint8], classes: tuple[str, ...] = CLASSES) -> Dataset:
    """The records of one file, checked: whole ones, with labels of 0 to 9."""
    count, rest = divmod(len(content), RECORD)
    if rest:
        raise DataError(f"{where}: record {count} is cut short: {rest} of {RECORD:,} bytes")
    if count == 0:
        raise DataError(f"{where}: the file is empty")
    records = content.reshape(count, RECORD)
    labels = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= len(classes))
    if len(wrong):
        raise DataError(
            f"{where}: record {wrong[0]} is damaged: label {labels[wrong[0]]}, expected 0 to {len(classes) - 1}"
        )
    images = records[:, 1:].reshape(count, 3, 32, 32)
    return InMemory(file, images, labels, classes, Ids(count, f"{file} record {{}}".format))


def _classes(meta: bytes, where: str) -> tuple[str, ...]:
    names = tuple(line.strip() for line in meta.decode("utf-8", "replace").splitlines() if line.strip())
    if len(names) != len(CLASSES):
        raise DataError(f"{where}: expected 10 names of classes, found {len(names)}")
    return names


def _empty() -> NDArray[Any]:
    return np.empty(0, np.uint8)
