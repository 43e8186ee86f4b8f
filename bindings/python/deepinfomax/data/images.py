"""Arrays of images as people save them, by name and by shape: what .npz and HDF5 files have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Ids, Indices
from .errors import DataError
from .parts import Parts

_IMAGES = ("images", "x", "X", "data", "arr_0")
_LABELS = ("labels", "label", "y", "Y", "targets", "arr_1")
_TRAIN_IMAGES = ("x_train", "X_train", "train_images", "images_train")
_TRAIN_LABELS = ("y_train", "Y_train", "train_labels", "labels_train")
_TEST_IMAGES = ("x_test", "X_test", "test_images", "images_test", "x_val", "x_validation")
_TEST_LABELS = ("y_test", "Y_test", "test_labels", "labels_test", "y_val", "y_validation")
_CLASSES = ("classes", "class_names", "label_names")
#: Floats beyond it are surely not pixels in [0,1], and surely not standardised ones either.
_LARGEST = 16.0
#: More classes than this are no classes.
_MOST_CLASSES = 100_000
_SHAPES = "(n,32,32,3), (n,3,32,32), (n,3072), or grey (n,32,32), (n,1,32,32), (n,32,32,1)"


class Rows(Protocol):
    """An array whose rows are read when they are asked for: numpy's, a memory map, an HDF5 data set."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, index: Any) -> Any: ...


# ---- Which arrays


@dataclass(frozen=True)
class Wanted:
    """The names of the arrays to use."""

    images: str
    labels: str | None
    test_images: str | None
    test_labels: str | None
    classes: str | None

    @property
    def keys(self) -> list[str]:
        everything = (self.images, self.labels, self.test_images, self.test_labels, self.classes)
        return [key for key in everything if key is not None]


def choose(names: list[str], where: str) -> Wanted:
    """Among the names of a file's arrays."""

    def first(candidates: tuple[str, ...]) -> str | None:
        return next((name for name in candidates if name in names), None)

    train, classes = first(_TRAIN_IMAGES), first(_CLASSES)
    if train is not None:
        return Wanted(train, first(_TRAIN_LABELS), first(_TEST_IMAGES), first(_TEST_LABELS), classes)
    images = first(_IMAGES)
    if images is None and len(names) == 1:
        images = names[0]
    if images is None:
        found = ", ".join(names[:10]) if names else "none"
        raise DataError(
            f"{where}: no array of images; expected one named {', '.join(_IMAGES[:3])}, or x_train and x_test; "
            f"found {found}"
        )
    return Wanted(images, first(_LABELS), None, None, classes)


def parts(name: str, where: str, arrays: Mapping[str, Rows], wanted: Wanted) -> Parts:
    classes = None
    if wanted.classes is not None:
        names = np.asarray(arrays[wanted.classes][:])
        try:
            classes = tuple(item.decode() if isinstance(item, bytes) else str(item) for item in names.ravel().tolist())
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: {wanted.classes}: the classes' names are not UTF-8: {error}") from error

    def one(images: str, labels: str | None) -> Dataset:
        found = None if labels is None else arrays[labels]
        return dataset(name, f"{where}: {images}", arrays[images], found, classes, f"{where}: {labels}")

    test = None if wanted.test_images is None else one(wanted.test_images, wanted.test_labels)
    return Parts(one(wanted.images, wanted.labels), test, f"expected an array named {', '.join(_LABELS[:3])}")


# ---- How they are read


def dataset(
    name: str,
    where: str,
    images: Rows,
    labels: Rows | None,
    classes: tuple[str, ...] | None,
    labels_where: str,
) -> Dataset:
    """Checks shapes, types and labels. `where` and `labels_where` are for messages."""
    rows = ArrayImages(name, where, images)
    if labels is not None:
        rows.labels, rows.classes = _labels(labels, len(rows), classes, labels_where)
    return rows


class ArrayImages(Dataset):
    """Rows of an array, in whatever of the known layouts it is."""

    def __init__(self, name: str, where: str, images: Rows) -> None:
        self.name, self.labels, self.classes = name, None, None
        self._rows, self._where = images, where
        if not _known(images.shape):
            raise DataError(f"{where}: expected the shape {_SHAPES}, found {images.shape}")
        self.ids = Ids(images.shape[0])
        kind = images.dtype
        if kind != np.uint8 and kind.kind != "f":
            advice = "; save it as uint8" if kind.kind in "iu" else ""
            raise DataError(f"{where}: expected uint8 or floating point, found {kind}{advice}")
        if kind.kind == "f" and len(self):
            self._check_range()

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def pixels(self, indices: Indices) -> NDArray[Any]:
        rows = _take(self._rows, indices)
        if rows.dtype.kind == "f":
            with np.errstate(over="ignore"):  # What overflows is then told as not finite.
                rows = rows.astype(np.float32)
        return _nchw(rows)

    def _check_range(self) -> None:
        """Some images from all over: 0..255 in floating point is a frequent mistake."""
        some = np.unique(np.linspace(0, len(self) - 1, min(len(self), 64)).astype(np.int64))
        largest = np.abs(self.pixels(some)).max(axis=(1, 2, 3))
        beyond = np.flatnonzero(largest > _LARGEST)
        if len(beyond):
            raise DataError(
                f"{self._where}: record {some[beyond[0]]} has values up to {largest[beyond[0]]:g}; floating-point "
                "images are taken as they are and should be in [0,1]: divide by 255, or save uint8"
            )


def _known(shape: tuple[int, ...]) -> bool:
    return shape[1:] in ((32, 32, 3), (3, 32, 32), (3072,), (32, 32), (1, 32, 32), (32, 32, 1))


def _nchw(rows: NDArray[Any]) -> NDArray[Any]:
    """Any known layout -> (n,3,32,32)."""
    item = rows.shape[1:]
    if item in ((32, 32, 3), (32, 32, 1)):
        rows = np.moveaxis(rows, -1, 1)
    elif item == (3072,):
        rows = rows.reshape(-1, 3, 32, 32)
    elif item == (32, 32):
        rows = rows[:, np.newaxis]
    return np.broadcast_to(rows, (len(rows), 3, 32, 32))


def _take(rows: Rows, indices: Indices) -> NDArray[Any]:
    """rows[indices]; of what is not numpy's own, runs of neighbours at a time, in the order of the file."""
    if isinstance(rows, np.ndarray):
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


def _labels(
    labels: Rows, count: int, classes: tuple[str, ...] | None, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if labels.shape not in ((count,), (count, 1)):
        found = f"{labels.shape[0]} labels" if len(labels.shape) == 1 else f"the shape {labels.shape}"
        raise DataError(f"{where}: expected {count} labels, one an image, found {found}")
    values = np.asarray(labels[:]).reshape(-1)
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: expected integers, found {values.dtype}")
    wrong = np.flatnonzero((values < 0) | (values >= (len(classes) if classes else _MOST_CLASSES)))
    if len(wrong):
        known = f"0 to {len(classes) - 1}" if classes else f"0 to {_MOST_CLASSES - 1:,}"
        raise DataError(f"{where}: record {wrong[0]} has the label {values[wrong[0]]}, expected {known}")
    numbers = values.astype(np.int64)
    return numbers, classes or tuple(str(label) for label in range(int(numbers.max(initial=-1)) + 1))
