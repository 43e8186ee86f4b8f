"""What all data sets have in common, and data sets made of others."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from .._arrays import digest, integers
from .._text import class_names, counted
from .conversion import Conversion
from .errors import DataError, Shortage, printable
from .options import Size, shown

Indices = NDArray[np.int64]
#: So many bytes of images in other sizes are held at a time.
_PIECE = 64 << 20
#: Images that a fingerprint is of.
_COMPARED = 32


class Dataset(ABC):
    """Images of one size, numbered from 0, read on demand.

    `dataset[i]` is the pair (image, label), as PyTorch's DataLoader expects it; so is what iteration gives. Reading is
    safe from one thread at a time. Data sets can be pickled; those of files then hold the path, not the values,
    and raise DataError where an array's file is another by then, when they are unpickled or (HDF5) read.

    One of your own defines `__len__`, `_pixels` and the attributes below.
    """

    #: What it is called in a report: a file's or folder's name.
    name: str
    #: (channels, height, width) of every image.
    image_size: Size
    #: (n,) int64, the number of each image's class; None where the data has no labels.
    labels: NDArray[np.int64] | None
    #: The classes' names; None where the data has no labels.
    classes: tuple[str, ...] | None
    #: Where each image came from: "cat/0007.png", "data_batch_1.bin record 17", "41". Of data with parts no two are the same:
    #: "test/cat/0007.png", "x_test 41".
    ids: Sequence[str]
    #: What its user should know: files that were left out, and why.
    notes: tuple[str, ...] = ()
    #: With skip_damaged: the images that were left out, each with the reason.
    skipped: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _pixels(self, indices: Indices) -> NDArray[Any]:
        """`pixels` of these indices, each of 0 <= index < len."""

    def pixels(self, index: slice | Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Images as they are stored, uint8 or float32 (n, c, h, w).

        Raises DataError for an image that cannot be read, IndexError for one that is not there.
        """
        indices = self._indices(index)
        return self._pixels(indices) if len(indices) else np.empty((0, *self.image_size), np.uint8)

    def read(self, index: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """Images as float32 (n, c, h, w); bytes become [0,1] by division by 255, floats are taken as they are.

        Raises DataError for an image that cannot be read or is not finite, IndexError for one that is not there.
        """
        indices = self._indices(index)
        if len(indices) == 0:
            return np.empty((0, *self.image_size), np.float32)
        pixels = self._pixels(indices)
        if pixels.dtype == np.uint8:
            scaled: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
            return scaled
        images = np.ascontiguousarray(pixels, np.float32)
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        if not finite.all():
            raise DataError(
                f"{self.name}: image {self.ids[int(indices[~finite][0])]} has NaN or infinite values, or values beyond float32's range"
            )
        return images

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[NDArray[np.float32], int]: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: SupportsIndex | slice) -> tuple[NDArray[np.float32], int] | Dataset:
        """An image, float32 (c, h, w), and the number of its class, -1 where there are no labels; a slice: a subset."""
        if isinstance(index, slice):
            return self.subset(self._indices(index))
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.name}: image {number} of {len(self)}")
        number %= len(self)
        return self.read([number])[0], -1 if self.labels is None else int(self.labels[number])

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        return (self[number] for number in range(len(self)))

    def marks(self, index: slice | Sequence[int] | NDArray[Any]) -> list[bytes]:
        """What tells these images from others, whatever size they are read in: of each its pixels as they are stored, or what
        was made of them. Raises DataError for an image that cannot be read, IndexError for one that is not there."""
        return self._marks(self._indices(index))

    def _marks(self, indices: Indices) -> list[bytes]:
        """`marks` of indices that are there."""
        return [bytes.fromhex(digest(pixels)) for index in indices.tolist() for pixels in self._pixels(np.array([index]))]

    def class_name(self, index: int) -> str:
        """The class of an image: its label as a number if the classes have no names, "" if there are no labels."""
        if self.labels is None:
            return ""
        label = int(self.labels[index])
        return str(label) if self.classes is None else self.classes[label]

    def subset(self, indices: NDArray[Any]) -> Dataset:
        """These images, in this order."""
        return Subset(self, self._indices(indices))

    def _indices(self, index: slice | Sequence[int] | NDArray[Any]) -> Indices:
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)), dtype=np.int64)
        indices = np.asarray(index)
        if indices.size == 0:
            return np.empty(0, np.int64)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise IndexError(f"{self.name}: expected a slice or a list of integers, found {index!r}")
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"{self.name}: image {indices[outside][0]} of {len(self)}")
        return indices.astype(np.int64)

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", {counted(len(self.classes), 'class', 'classes')}"
        return f"<{type(self).__name__} {self.name!r}: {counted(len(self), 'image')} of {shown(self.image_size)}{classes}>"


class Ids(Sequence[str]):
    """A sequence that is computed, no list of a million strings: `form.format(index)`."""

    def __init__(self, count: int, form: str = "{}") -> None:
        self._count, self._form = count, form

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._name(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._name(int(index) % self._count)

    def _name(self, index: int) -> str:
        return self._form.format(index)


class InMemory(Dataset):
    """Images that are an array already, or rows that look like one: (n, c, h, w), uint8 or float32."""

    def __init__(
        self,
        name: str,
        images: Any,
        labels: Any = None,
        classes: tuple[str, ...] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.name, self.classes = name, classes
        self.labels = None if labels is None else integers(labels).astype(np.int64)
        count, *size = images.shape
        self.image_size = (size[0], size[1], size[2])
        self.ids = Ids(count) if ids is None else ids
        self._images, self._count = images, int(count)

    def __len__(self) -> int:
        return self._count

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        return np.asarray(self._images[indices])


class Converted(Dataset):
    """Another data set's images in another size."""

    def __init__(self, whole: Dataset, conversion: Conversion) -> None:
        conversion.check(whole.image_size, whole.name)
        self.name, self.labels, self.classes, self.ids = whole.name, whole.labels, whole.classes, whole.ids
        self.notes, self.skipped = whole.notes, whole.skipped
        self.image_size = conversion.size
        self._whole, self._conversion = whole, conversion

    def __len__(self) -> int:
        return len(self._whole)

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        channels, height, width = self._whole.image_size
        step = max(1, _PIECE // (4 * channels * height * width))
        pieces = [
            self._conversion.arrays(self._whole._pixels(indices[start : start + step]))
            for start in range(0, len(indices), step)
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _marks(self, indices: Indices) -> list[bytes]:
        return self._whole._marks(indices)


def numbered_as(data: Dataset, other: Dataset) -> Dataset:
    """`data` with the classes and numbers of `other`, matched by name; classes that it alone has come behind."""
    if data.labels is None or data.classes is None or other.classes is None:
        return data
    if all(own == name for own, name in zip(data.classes, other.classes, strict=False)):  # The numbers are the same already.
        return data
    names = [*other.classes, *(name for name in data.classes if name not in other.classes)]
    places = {name: place for place, name in reversed([*enumerate(names)])}
    found = data.subset(np.arange(len(data)))
    found.labels = np.array([places[name] for name in data.classes], np.int64)[data.labels]
    found.classes = tuple(names)
    return found


def numbered_by(data: Dataset, names: Sequence[str], whose: str, what: str = "") -> Dataset:
    """`data` with the classes and numbers of a classifier, matched by `names`, which are written as a weights file has them.

    Raises DataError for images of a class that is not among them. whose: of `names`, and `what`: of the data, for messages.
    """
    if data.labels is None or data.classes is None or not names:
        return data
    own = class_names(data.classes)
    if own == list(names[: len(own)]):  # The numbers are the same already.
        return data
    places = {name: place for place, name in enumerate(names)}
    found = data.subset(np.arange(len(data)))
    found.labels = np.array([places.get(name, -1) for name in own], np.int64)[data.labels]
    strange = data.labels[found.labels < 0]
    if len(strange):
        others = ", ".join(names[:20]) + (", .." if len(names) > 20 else "")
        raise DataError(
            f'{what}{data.name}: has the class "{data.classes[int(strange[0])]}", which {whose} does not have; it has {others}'
        )
    found.classes = tuple(names)
    return found


class Subset(Dataset):
    """Some images of another data set."""

    def __init__(self, whole: Dataset, indices: Indices) -> None:
        self.name, self.classes, self.image_size = whole.name, whole.classes, whole.image_size
        self.notes, self.skipped = whole.notes, whole.skipped
        self.labels = None if whole.labels is None else whole.labels[indices]
        self.ids = _SomeIds(whole.ids, indices)
        self._whole, self._chosen = whole, indices

    def __len__(self) -> int:
        return len(self._chosen)

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        return self._whole._pixels(self._chosen[indices])

    def _marks(self, indices: Indices) -> list[bytes]:
        return self._whole._marks(self._chosen[indices])


class Undamaged(Subset):
    """What is left beside damaged images."""


class _SomeIds(Ids):
    def __init__(self, whole: Sequence[str], chosen: Indices) -> None:
        super().__init__(len(chosen))
        self._whole, self._chosen = whole, chosen

    def _name(self, index: int) -> str:
        return self._whole[int(self._chosen[index])]


class Joined(Dataset):
    """Several data sets one after another; labelled if all of them are.

    Labels are numbers of the same classes then: DataError where names differ. One may have more classes than another.
    """

    def __init__(self, name: str, parts: Sequence[Dataset]) -> None:
        if isinstance(parts, str) or not all(isinstance(part, Dataset) for part in parts):
            raise TypeError(f"parts: expected data sets, as open_dataset returns them, found {parts!r:.60}")
        if not parts:
            raise ValueError("parts: expected one data set or several, found none")
        self.name, self.labels, self.classes = name, None, None
        self.image_size = parts[0].image_size
        for part in parts:
            if part.image_size != self.image_size:
                raise DataError(
                    f"{name}: its parts are of different sizes, {shown(self.image_size)} and {shown(part.image_size)}; "
                    "name one: image=(channels, height, width), --image-size and --channels"
                )
        if all(part.labels is not None for part in parts):
            self.labels = np.concatenate([part.labels for part in parts if part.labels is not None])
            self.classes = max((part.classes or () for part in parts), key=len)
            for part in parts:
                own = part.classes or ()
                other = next((number for number, name in enumerate(own) if name != self.classes[number]), None)
                if other is not None:
                    raise DataError(
                        f"{name}: its parts have different classes: class {other} is {printable(self.classes[other])} in one, "
                        f"{printable(own[other])} in {part.name}; expected the same names in the same order"
                    )
        self.notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        self.skipped = tuple(item for part in parts for item in part.skipped)
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.ids = _JoinedIds([part.ids for part in parts], self._starts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        pieces = [(owner, owners == owner) for owner in np.unique(owners)]
        found = [self._parts[owner]._pixels(indices[here] - self._starts[owner]) for owner, here in pieces]
        kinds = {piece.dtype for piece in found}
        if len(kinds) > 1:
            raise DataError(f"{self.name}: its parts are of different types, {' and '.join(map(str, kinds))}")
        pixels = np.empty((len(indices), *self.image_size), found[0].dtype)
        for (_, here), piece in zip(pieces, found, strict=True):
            pixels[here] = piece
        return pixels

    def _marks(self, indices: Indices) -> list[bytes]:
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        return [
            self._parts[owner]._marks(np.array([index - self._starts[owner]]))[0]
            for owner, index in zip(owners.tolist(), indices.tolist(), strict=True)
        ]


class _JoinedIds(Ids):
    def __init__(self, parts: list[Sequence[str]], starts: NDArray[Any]) -> None:
        super().__init__(int(starts[-1]))
        self._parts, self._starts = parts, starts

    def _name(self, index: int) -> str:
        owner = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[owner][index - int(self._starts[owner])]


def fingerprint(dataset: Dataset) -> str:
    """Of the number of images and of some from everywhere: two data sets whose images have the same names differ in it. The same
    in whatever size they are read. "" where one of these cannot be read."""
    few = np.unique(np.linspace(0, len(dataset) - 1, _COMPARED).astype(np.int64))
    try:
        return digest(str(len(dataset)).encode(), *dataset.marks(few))
    except DataError:
        return ""


def without_damaged(dataset: Dataset) -> Dataset:
    """Reads every image once, and leaves out those that cannot be read; `skipped` names them."""
    good = np.ones(len(dataset), bool)
    skipped: list[tuple[str, str]] = []
    channels, height, width = dataset.image_size
    step = max(1, min(256, _PIECE // (4 * channels * height * width)))
    for start in range(0, len(dataset), step):
        some = np.arange(start, min(start + step, len(dataset)))
        try:
            dataset.read(some)
        except DataError:
            for number in some.tolist():
                try:
                    dataset.read([number])
                except Shortage:  # Which is no fault of the image's.
                    raise
                except DataError as error:
                    good[number] = False
                    skipped.append((dataset.ids[number], str(error)))
    if not skipped:
        return dataset
    rest = Undamaged(dataset, np.flatnonzero(good))
    rest.skipped = (*dataset.skipped, *skipped)
    names = ", ".join(name for name, _ in skipped[:5]) + (", ..." if len(skipped) > 5 else "")
    images = "image" if len(skipped) == 1 else "images"
    rest.notes = (*dataset.notes, f"{len(skipped):,} damaged {images} left out: {names}")
    return rest
