"""CIFAR-10 and CIFAR-100, binary and Python version: a folder of their files, the archive as published, or one file.

A record of the binary version is the label 0..9 (CIFAR-100: the coarse label 0..19, then the fine one 0..99), then 1,024
bytes each of red, green and blue, row by row. The Python version's files are pickled dicts; they are read without
running what they name (see `plain_pickle`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import plain_pickle, tar
from .dataset import Dataset, Ids, InMemory, Joined
from .errors import DataError
from .labels import distinct_names, name_of, names_in
from .options import Options
from .parts import Parts
from .rows import Columns, FileRows, Rows

SIZE = (3, 32, 32)
VALUES = 3 * 32 * 32
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
#: Larger than any of the files; a pickle is read whole.
_LARGEST = 1 << 28
#: Records of each of CIFAR-10's published batches.
_PUBLISHED = 10_000


@dataclass(frozen=True)
class _Version:
    """How the files of one version are named."""

    name: str
    train: re.Pattern[str]
    test: str
    meta: tuple[str, ...]
    python: bool
    #: The bytes of labels before each image, or the labels' keys.
    labels: Mapping[str, Any]
    #: How many classes there are.
    classes: Mapping[str, int]
    #: How many files of training images were published.
    batches: int

    def matches(self, name: str) -> bool:
        return name == self.test or bool(self.train.fullmatch(name))

    def wanted(self, name: str) -> bool:
        return self.matches(name) or name in self.meta

    @property
    def record(self) -> int:
        return VALUES + (1 if self.labels["fine"] == 0 else 2)


_TEN, _HUNDRED = {"fine": 10, "coarse": 10}, {"fine": 100, "coarse": 20}
_BINARY_10 = _Version(
    "CIFAR-10",
    re.compile(r"data_batch_([1-9]\d{0,3})\.bin"),
    "test_batch.bin",
    ("batches.meta.txt",),
    False,
    {"fine": 0, "coarse": 0},
    _TEN,
    5,
)
_PYTHON_10 = _Version(
    "CIFAR-10's Python version",
    re.compile(r"data_batch_([1-9]\d{0,3})"),
    "test_batch",
    ("batches.meta",),
    True,
    {"fine": "labels", "coarse": "labels"},
    _TEN,
    5,
)
_BINARY_100 = _Version(
    "CIFAR-100",
    re.compile(r"train()\.bin"),
    "test.bin",
    ("fine_label_names.txt", "coarse_label_names.txt"),
    False,
    {"fine": 1, "coarse": 0},
    _HUNDRED,
    1,
)
_PYTHON_100 = _Version(
    "CIFAR-100's Python version",
    re.compile(r"train()"),
    "test",
    ("meta",),
    True,
    {"fine": "fine_labels", "coarse": "coarse_labels"},
    _HUNDRED,
    1,
)
_VERSIONS = (_BINARY_10, _PYTHON_10, _BINARY_100, _PYTHON_100)


def is_folder(path: Path) -> bool:
    return _version(_names(path)) is not None


def is_read(name: str) -> bool:
    return any(version.wanted(name) for version in _VERSIONS)


def is_file(path: Path) -> bool:
    """A file of the Python version, by its name, which has no ending."""
    return _PYTHON_10.matches(path.name) or _PYTHON_100.matches(path.name)


def open_parts(path: Path, options: Options) -> Parts:
    if path.is_dir():
        return _from_folder(path, options)
    version = next((version for version in _VERSIONS if version.matches(path.name)), None)
    if version is None and path.name.lower().endswith(".bin"):
        fits = [v for v in (_BINARY_10, _BINARY_100) if path.stat().st_size % v.record == 0]
        version = fits[0] if fits else _BINARY_10
    if version is None:
        return _from_archive(path, options)
    content = _whole(path, version, options) if version.python else _mapped(path)
    beside = {name: path.with_name(name) for name in version.meta if path.with_name(name).is_file()}
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    try:
        files = {name: _whole(file, version, options) for name, file in beside.items()}
        classes = _classes(version, str(path.parent), files, options)
    except (DataError, OSError) as error:  # It need not be this data's.
        notes = (f"{path.name}: names of classes are not taken from the file beside it: {error}",)
    found = _dataset(version, path.name, str(path), content, classes, options)
    found.notes += notes
    return Parts(found)


def _names(folder: Path) -> list[str]:
    """Of files that some version has."""
    names = [name for name in os.listdir(folder) if any(version.wanted(name) for version in _VERSIONS)]
    return sorted(name for name in names if (folder / name).is_file())


def _version(names: list[str]) -> _Version | None:
    """Which version's files these are."""
    for version in _VERSIONS:
        found = [name for name in names if version.matches(name)]
        # "train" and "test" are names that other things have, too.
        telling = 1 if version in (_BINARY_10, _PYTHON_10) or set(version.meta) & set(names) else 2
        if len(found) >= telling:
            return version
    return None


def _from_folder(path: Path, options: Options) -> Parts:
    names = _names(path)
    version = _version(names)
    assert version is not None
    files: dict[str, Any] = {}
    for name in filter(version.wanted, names):
        whole = version.python or name in version.meta
        files[name] = _whole(path / name, version, options) if whole else _mapped(path / name)
    return _parts(version, path.name, str(path), files, options)


def _from_archive(path: Path, options: Options) -> Parts:
    """The archive's files in memory, 184 MB for the published one: gzip cannot be read from the middle."""
    names, files = tar.read(path, lambda name: any(version.wanted(name) for version in _VERSIONS), options.max_bytes)
    version = _version(names)
    if version is None:
        if "train_X.bin" in names:
            raise DataError(f"{path}: this is STL-10; unpack it, and name the folder stl10_binary")
        raise DataError(
            f"{path}: expected CIFAR-10 or CIFAR-100 (data_batch_*.bin, train.bin, ...), found none of their files; "
            "unpack other archives"
        )
    return _parts(version, path.name, str(path), files, options)


def _whole(path: Path, version: _Version, options: Options) -> bytes:
    size = path.stat().st_size
    if size > min(_LARGEST, options.max_bytes):
        raise DataError(f"{path}: {size:,} bytes; no file of {version.name} has that size")
    return path.read_bytes()


def _mapped(path: Path) -> Rows:
    return FileRows(path, np.dtype(np.uint8), (path.stat().st_size,))


def _parts(version: _Version, name: str, where: str, files: Mapping[str, Any], options: Options) -> Parts:
    numbers = sorted(int(match[1] or 0) for file in files if (match := version.train.fullmatch(file)))
    batch = {number: file for file in files if (match := version.train.fullmatch(file)) for number in [int(match[1] or 0)]}
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    if missing:
        first, last = (batch[numbers[-1]].replace(str(numbers[-1]), str(n)) for n in (missing[0], numbers[-1]))
        raise DataError(f"{where}: {first} is missing, {last} is there")
    classes = _classes(version, where, files, options)
    batches = [
        _dataset(version, batch[number], f"{where}: {batch[number]}", files[batch[number]], classes, options)
        for number in numbers
    ]
    longest = max(map(len, batches), default=0)
    for number, part in zip(numbers, batches, strict=True):
        # Published batches are all of one length: a file that ends between two records shows in no other way.
        if len(part) < longest:
            raise DataError(f"{where}: {batch[number]} ends after record {len(part) - 1}; other batches have {longest} records")
    test = None
    if version.test in files:
        test = _dataset(version, version.test, f"{where}: {version.test}", files[version.test], classes, options)
    if not batches:
        assert test is not None
        return Parts(test)
    if len(batches) == 1:
        batches[0].name = name
    train = batches[0] if len(batches) == 1 else Joined(name, batches)
    if len(batches) < version.batches and longest == _PUBLISHED:
        train.notes += (f"{where}: {len(batches)} of the {version.batches} published batches are there: the data is a part",)
    return Parts(train, test)


def _dataset(
    version: _Version, file: str, where: str, content: Any, classes: tuple[str, ...] | None, options: Options
) -> Dataset:
    """The records of one file, checked: whole ones, with labels that there are."""
    known = version.classes[options.labels]
    if classes is None:
        classes = CLASSES if known == len(CLASSES) else tuple(map(str, range(known)))
    images, labels = (_pickled if version.python else _records)(version, where, content, options)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(f"{where}: record {wrong[0]} is damaged: label {labels[wrong[0]]}, expected 0 to {len(classes) - 1}")
    form = file.replace("{", "{{").replace("}", "}}") + " record {}"
    return InMemory(file, images, labels.astype(np.int64), classes, Ids(len(labels), form))


def _records(version: _Version, where: str, content: Rows, options: Options) -> tuple[Any, NDArray[Any]]:
    record = version.record
    count, rest = divmod(content.shape[0], record)
    if rest:
        raise DataError(f"{where}: record {count} is cut short: {rest} of {record:,} bytes")
    if count == 0:
        raise DataError(f"{where}: the file is empty")
    rows: Rows
    if isinstance(content, FileRows):
        rows = content.reshaped((count, record))
    else:
        rows = np.asarray(content).reshape(count, record)
    labels = np.ascontiguousarray(rows[:, version.labels[options.labels]])
    return Columns(rows, record - VALUES, SIZE), labels


def _pickled(version: _Version, where: str, content: Any, options: Options) -> tuple[Any, NDArray[Any]]:
    found = _dict(bytes(content), where)
    data, labels = found.get("data"), found.get(version.labels[options.labels])
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != VALUES:
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{where}: expected data of uint8 (n, {VALUES}), found {shape}")
    if len(data) == 0:
        raise DataError(f"{where}: the file is empty")
    key = version.labels[options.labels]
    if not isinstance(labels, (list, np.ndarray)):
        raise DataError(f"{where}: expected {key}, a list of integers, found {type(labels).__name__}")
    other = next((item for item in labels if not isinstance(item, (int, np.integer))), None)
    if other is not None:
        raise DataError(f"{where}: expected {key}, a list of integers, found one that holds {type(other).__name__}")
    if len(labels) != len(data):
        raise DataError(f"{where}: expected {len(data)} labels, one an image, found {len(labels)}")
    beyond = next((number for number, label in enumerate(labels) if not -(2**63) <= label < 2**63), None)
    if beyond is not None:
        raise DataError(f"{where}: record {beyond} is damaged: label {labels[beyond]}")
    return data.reshape(-1, *SIZE), np.array(labels, np.int64)


def _dict(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = plain_pickle.load(content)
    except plain_pickle.NotPlain as error:
        raise DataError(f"{where}: not a pickled dict of arrays, lists and text: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a dict, found {type(found).__name__}")
    return {name_of(key) if isinstance(key, bytes) else str(key): item for key, item in found.items()}


def _classes(version: _Version, where: str, files: Mapping[str, Any], options: Options) -> tuple[str, ...] | None:
    """Their names, from the file that holds them."""
    known = version.classes[options.labels]
    if version.python:
        if (file := version.meta[0]) not in files:
            return None
        key = "label_names" if known == len(CLASSES) else f"{options.labels}_label_names"
        names = _dict(bytes(files[file]), f"{where}: {file}").get(key, [])
        texts = [name_of(item) if isinstance(item, bytes) else str(item) for item in names or ()]
    else:
        file = version.meta[0] if len(version.meta) == 1 else f"{options.labels}_label_names.txt"
        if file not in files:
            return None
        texts = names_in(bytes(files[file]))
    if len(texts) != known:
        raise DataError(f"{where}: {file}: expected {known} names of classes, found {len(texts)}")
    return distinct_names(texts, f"{where}: {file}")
