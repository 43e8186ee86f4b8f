"""Arrays of images as people save them, by name and by shape: what .npz, HDF5 and idx files have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import LARGEST
from .dataset import Dataset, Ids, Indices
from .errors import DataError, listed
from .labels import MOST_CLASSES, Labels, check_length, distinct_names, numbered
from .options import Options, Size, shown
from .parts import Parts
from .rows import Rows, take

_IMAGES = ("images", "x", "X", "data", "arr_0")
_LABELS = ("labels", "label", "y", "Y", "targets", "arr_1")
_TRAIN_IMAGES = ("x_train", "X_train", "train_images", "images_train")
_TRAIN_LABELS = ("y_train", "Y_train", "train_labels", "labels_train")
_TEST_IMAGES = ("x_test", "X_test", "test_images", "images_test", "x_val", "x_validation")
_TEST_LABELS = ("y_test", "Y_test", "test_labels", "labels_test", "y_val", "y_validation")
_CLASSES = ("classes", "class_names", "label_names")
_SHAPES = "(n,h,w,c), (n,c,h,w), grey (n,h,w), or rows of the values of square images in grey or RGB"
#: So many bytes of images are looked at on opening.
_LOOK = 64 << 20


# ---- Which arrays


@dataclass(frozen=True)
class Wanted:
    """The names of the arrays to use."""

    images: str
    labels: str | None
    test_images: str | None
    test_labels: str | None
    classes: str | None
    #: Others that might have been meant.
    unused: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        everything = (self.images, self.labels, self.test_images, self.test_labels, self.classes)
        return [key for key in everything if key is not None]


def choose(names: list[str], where: str, links: Sequence[str] = ()) -> Wanted:
    """Among the names of a file's arrays. links: those of links, which are not followed: an error where one would be used."""

    def first_of(candidates: tuple[str, ...], there: Sequence[str]) -> str | None:
        """As the names are listed; else in letters of another case, as in "Labels"."""
        written = {name.lower(): name for name in reversed(there)}
        exact = (name for name in candidates if name in there)
        return next(exact, next((written[name.lower()] for name in candidates if name.lower() in written), None))

    def first(candidates: tuple[str, ...]) -> str | None:
        found = first_of(candidates, names)
        if found is None and (link := first_of(candidates, links)) is not None:
            raise DataError(f"{where}: {link} is a link, which is not followed; copy the data into the file, by this name")
        return found

    train, classes = first(_TRAIN_IMAGES), first(_CLASSES)
    if train is not None:
        return _noted(Wanted(train, first(_TRAIN_LABELS), first(_TEST_IMAGES), first(_TEST_LABELS), classes), names)
    images = first(_IMAGES)
    if images is None and len(names) == 1:
        images = names[0]
    if images is None:
        found = listed(names) if names else "none"
        raise DataError(
            f"{where}: no array of images; expected one named {', '.join(_IMAGES)}, or x_train and x_test; found {found}"
        )
    return _noted(Wanted(images, first(_LABELS), None, None, classes), names)


def _noted(wanted: Wanted, names: Sequence[str]) -> Wanted:
    """With the other arrays whose names are known."""
    known = (_IMAGES, _LABELS, _TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS, _CLASSES)
    lower = {candidate.lower() for candidates in known for candidate in candidates}
    return replace(wanted, unused=tuple(name for name in names if name.lower() in lower and name not in wanted.keys))


def parts(name: str, where: str, arrays: Mapping[str, Rows], wanted: Wanted, options: Options) -> Parts:
    """Checks shapes, types and labels; the labels of both parts are numbered together."""
    pairs = [(wanted.images, wanted.labels), (wanted.test_images, wanted.test_labels)]
    found = [ArrayImages(name, f"{where}: {key}", arrays[key], options) for key, _ in pairs if key is not None]
    labels = [
        Labels(arrays[key], len(images), f"{where}: {key}") if key is not None else None
        for images, (_, key) in zip(found, pairs, strict=False)
    ]
    if wanted.unused:
        for part in found:
            used, unused = (f"{', '.join(keys)} {'are' if len(keys) > 1 else 'is'}" for keys in (wanted.keys, wanted.unused))
            part.notes += (f"{where}: of the arrays {used} used, {unused} not",)
    label(found, labels, None if wanted.classes is None else _names(arrays[wanted.classes], f"{where}: {wanted.classes}"))
    test = found[1] if len(found) > 1 else None
    if test is not None:  # No two of the data have one name.
        test.ids = Ids(len(test), f"{wanted.test_images} {{}}")
    if test is None or (labels[0] is None) == (labels[1] is None):
        return Parts(found[0], test, f"expected an array named {', '.join(_LABELS)}")
    missing = "training" if labels[0] is None else "test"
    found[0].notes += (f"{where}: the {missing} images have no labels, so those of the others are used with that part alone",)
    return Parts(found[0], test, f"the {missing} images have none; add them, or name the other part alone")


def label(images: list[ArrayImages], labels: list[Labels | None], names: tuple[str, ...] | None) -> None:
    """Gives images their labels, numbered together."""
    for part, own in zip(images, labels, strict=True):
        if own is None:
            part.note_channels()
    there = [(part, own) for part, own in zip(images, labels, strict=True) if own is not None]
    for _, own in there:
        check_length(own)
    if there:
        numbers, classes = numbered([own for _, own in there], names)
        for (part, _), own_numbers in zip(there, numbers, strict=True):
            part.labels, part.classes = own_numbers, classes


def _names(array: Rows, where: str) -> tuple[str, ...]:
    if math.prod(array.shape) > MOST_CLASSES:
        raise DataError(f"{where}: expected {MOST_CLASSES:,} names of classes at most, found the shape {array.shape}")
    names = np.asarray(array[:]) if array.shape else np.asarray(array[()])
    try:
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in names.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: the classes' names are not UTF-8: {error}") from error
    return distinct_names(texts, where)


# ---- How they are read


class ArrayImages(Dataset):
    """Rows of an array, in whatever of the known layouts it is. `where` is for messages."""

    def __init__(self, name: str, where: str, images: Rows, options: Options) -> None:
        self.name, self.labels, self.classes = name, None, None
        self._rows, self._where = images, where
        #: Neither that these are grey images nor that they are one image.
        self._says_nothing = options.layout == "auto" and (options.image is None or options.image[0] == images.shape[0])
        self._layout, self.image_size = _layout(tuple(images.shape), options, where)
        self._count = int(images.shape[0])
        self.ids = Ids(self._count)
        _, height, width = self.image_size
        if height * width > options.pixels:
            raise DataError(
                f"{where}: images of {shown(self.image_size)}, {height * width:,} pixels; "
                f"{options.pixels:,} are read at most; max_pixels= of open_dataset (--max-pixels) allows more"
            )
        kind = images.dtype
        if kind != np.uint8 and kind.kind != "f":
            advice = "; save it as uint8" if kind.kind in "iu" else ""
            raise DataError(f"{where}: expected uint8 or floating point, found {kind}{advice}")
        if kind.kind == "f" and len(self):
            self._check_range()

    def __len__(self) -> int:
        return self._count

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        rows = take(self._rows, indices)
        if rows.dtype.kind == "f":
            with np.errstate(over="ignore"):  # What overflows is then reported as not finite.
                rows = rows.astype(np.float32)
        if self._layout == "nhwc":
            return np.moveaxis(rows, -1, 1)
        return rows.reshape(len(rows), *self.image_size)

    def note_channels(self) -> None:
        """Of images without labels: so many grey ones look like the channels of one."""
        shape = tuple(self._rows.shape)
        if self._says_nothing and self._layout == "grey" and shape[0] in (3, 4):
            self.notes += (
                f"{self._where}: the shape {shape} is taken for {shape[0]} grey images; if it is one image (c,h,w), save "
                "images[numpy.newaxis]",
            )

    def _check_range(self) -> None:
        """Some images from all over: 0..255 in floating point is a frequent mistake."""
        count = max(1, min(64, len(self), _LOOK // (8 * math.prod(self.image_size))))
        some = np.unique(np.linspace(0, len(self) - 1, count).astype(np.int64))
        pixels = take(self._rows, some).reshape(len(some), -1)  # As they are: float32 would make the largest infinite.
        largest = np.abs(pixels).max(axis=1)
        # What is not finite is reported where it is read.
        beyond = np.flatnonzero(np.isfinite(largest) & (largest > LARGEST))
        if len(beyond):
            raise DataError(
                f"{self._where}: record {some[beyond[0]]} has values up to {largest[beyond[0]]:g}; floating-point "
                "images are taken as they are and should be in [0,1]: divide by 255, or save uint8"
            )
        most = largest.max()
        if pixels.min() >= 0 and 1 < most <= LARGEST:  # Standardised ones have values below 0, too.
            self.notes += (
                f"{self._where}: values from 0 up to {most:g} are taken as they are; where that is white, divide by it",
            )


def _layout(shape: tuple[int, ...], options: Options, where: str) -> tuple[str, Size]:
    """How images lie in an array of this shape, and their size."""
    item = shape[1:]
    if not shape or not item or 0 in item:
        raise DataError(f"{where}: expected the shape {_SHAPES}, found {shape}")
    if len(item) == 2:
        # Grey images so narrow are hardly meant.
        narrow = item[1] in (3, 4) and item[0] > 2 * item[1]
        if narrow and options.layout == "auto" and options.image != (1, *item):
            raise DataError(
                f"{where}: the shape {shape} is that of one image (h,w,c), or of grey ones {item[1]} pixels wide; save "
                "images[numpy.newaxis], or, in Python, say layout='nchw' for grey ones"
            )
        return "grey", (1, item[0], item[1])
    if len(item) == 1:
        return "rows", _row(item[0], options, where, shape)
    if len(item) != 3:
        raise DataError(f"{where}: expected the shape {_SHAPES}, found {shape}")
    first, last = (item[0], item[1], item[2]), (item[2], item[0], item[1])
    if options.layout != "auto":
        return (options.layout, first) if options.layout == "nchw" else (options.layout, last)
    fits = [
        (layout, size)
        for layout, size in (("nchw", first), ("nhwc", last))
        # Channels are few; or as many as the caller says, in images of the caller's size.
        if size[0] <= 4 or size == options.image
    ]
    if len(fits) > 1:  # The caller's own size decides, else the more usual numbers of channels.
        exact = [fit for fit in fits if fit[1] == options.image]
        usual = [fit for fit in fits if fit[1][0] in (1, 3)]
        fits = exact or (usual if len(usual) == 1 else fits)
    if len(fits) != 1:
        raise DataError(
            f"{where}: of the shape {shape}, {'either' if fits else 'neither'} axis may hold the channels; "
            "say which: layout='nchw' or layout='nhwc' (Python)"
            + (", or the images' size: image=, --image-size and --channels" if options.image is None else "")
        )
    return fits[0]


def _row(values: int, options: Options, where: str, shape: tuple[int, ...]) -> Size:
    """The size of an image of so many values: the caller's, else that of a square in grey or RGB."""
    if options.image is not None and math.prod(options.image) == values:
        return options.image
    side = math.isqrt(values)
    if side * side == values:
        return 1, side, side
    side = math.isqrt(values // 3)
    if 3 * side * side == values:
        return 3, side, side
    raise DataError(
        f"{where}: rows of {values:,} values are no square image in grey or RGB (found the shape {shape}); "
        "say its size: image=(channels, height, width); commands: --channels and --image-size"
    )
