"""STL-10's binary files: train_X.bin, train_y.bin, test_X.bin, test_y.bin, unlabeled_X.bin, class_names.txt.

An image is 3 x 96 x 96 bytes, red, green, blue, each column by column. Labels are bytes 1 to 10.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from .dataset import Dataset, Ids, InMemory
from .errors import DataError
from .labels import distinct_names, names_in
from .options import Options
from .parts import Parts
from .rows import Columns, FileRows

SIZE = (3, 96, 96)
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_ENDING = "_X.bin"
_NAMES = "class_names.txt"
PARTS = ("train", "test", "unlabeled")


def is_folder(path: Path) -> bool:
    return any((path / (part + _ENDING)).is_file() for part in PARTS)


def is_read(name: str) -> bool:
    return name == _NAMES or name in {f"{part}_{kind}.bin" for part in PARTS for kind in "Xy"}


def is_file(path: Path) -> bool:
    return path.name in {f"{part}_{kind}.bin" for part in PARTS for kind in "Xy"}


def open_parts(path: Path, options: Options) -> Parts:
    """The part that is asked for; the training images, unless there are others only."""
    if not path.is_dir():
        if not path.name.endswith(_ENDING):
            raise DataError(
                f"{path}: these are the labels; name the file of the images, {path.name.removesuffix('_y.bin')}{_ENDING}"
            )
        own = path.name.removesuffix(_ENDING)
        if options.part not in (None, own):
            raise DataError(f"{path}: no images of the part {options.part!r}; found {own}")
        return Parts(_dataset(path, path.name))
    there = [part for part in PARTS if (path / (part + _ENDING)).is_file()]
    part = options.part or there[0]
    if part not in there:
        raise DataError(f"{path}: no images of the part {part!r}; found {', '.join(there)}")
    return Parts(_dataset(path / (part + _ENDING), path.name), labels_advice=f"expected them in {part}_y.bin")


def _dataset(path: Path, name: str) -> Dataset:
    record = math.prod(SIZE)
    count, rest = divmod(path.stat().st_size, record)
    if rest:
        raise DataError(f"{path}: record {count} is cut short: {rest:,} of {record:,} bytes")
    rows = FileRows(path, np.dtype(np.uint8), (count, record))
    dataset = InMemory(name, Columns(rows, 0, SIZE, swapped=True), ids=Ids(count))
    beside = path.with_name(path.name.removesuffix(_ENDING) + "_y.bin")
    if beside != path and beside.is_file():
        size = beside.stat().st_size
        if size != count:
            raise DataError(f"{beside}: expected {count:,} labels, one an image, found {size:,}")
        labels = np.fromfile(beside, np.uint8).astype(np.int64) - 1
        classes = _classes(path.with_name(_NAMES))
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            found = int(labels[wrong[0]]) + 1
            raise DataError(f"{beside}: record {wrong[0]} is damaged: label {found}, expected 1 to {len(classes)}")
        dataset.labels, dataset.classes = labels, classes
    return dataset


def _classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return CLASSES
    if os.path.getsize(path) > 1 << 16:
        raise DataError(f"{path}: expected the names of 10 classes, found {os.path.getsize(path):,} bytes")
    names = names_in(path.read_bytes())
    if len(names) != len(CLASSES):
        raise DataError(f"{path}: expected {len(CLASSES)} names of classes, found {len(names)}")
    return distinct_names(names, str(path))
