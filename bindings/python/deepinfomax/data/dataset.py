"""What all data sets have in common, and data sets made of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Indices = NDArray[np.int64]
IMAGE = (3, 32, 32)


class Dataset(ABC):
    """Images of 32x32 pixels, numbered from 0, read when they are asked for.

    Reading is safe from one thread at a time.
    """

    #: What it is called in a report: a file's or folder's name.
    name: str
    #: (n,) int64, the number of each image's class; None where the data has no labels.
    labels: NDArray[np.int64] | None
    #: The classes' names; None where the data has no labels.
    classes: tuple[str, ...] | None
    #: Where each image came from: "cat/0007.png", "data_batch_1.bin record 17", "41".
    ids: Sequence[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pixels(self, indices: Indices) -> NDArray[Any]:
        """(n,3,32,32), uint8 or float32: the images of these indices, each of 0 <= index < len."""

    def read(self, index: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """Images as float32 (n,3,32,32); bytes become [0,1] by division by 255, floats are taken as they are.

        Raises DataError for an image that cannot be read or is not finite, IndexError for one that is not there.
        """
        indices = self._indices(index)
        if len(indices) == 0:
            return np.empty((0, *IMAGE), np.float32)
        pixels = self.pixels(indices)
        if pixels.dtype == np.uint8:
            scaled: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
            return scaled
        images = np.ascontiguousarray(pixels, np.float32)
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        if not finite.all():
            raise DataError(f"{self.name}: image {self.ids[int(indices[~finite][0])]} has NaN or infinite values")
        return images

    def class_name(self, index: int) -> str:
        """Of an image; its label as a number where the classes have no names, "" where there are no labels."""
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
        indices = indices.astype(np.int64)
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"{self.name}: image {indices[outside][0]} of {len(self)}")
        return indices

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"<{type(self).__name__} {self.name!r}: {len(self)} images{classes}>"


class Ids(Sequence[str]):
    """A sequence that is computed: no list of a million strings."""

    def __init__(self, count: int, name: Callable[[int], str] = str) -> None:
        self._count, self._name = count, name

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


class InMemory(Dataset):
    """Images that are an array already, or a memory map that looks like one: (n,3,32,32), uint8 or float32."""

    def __init__(
        self,
        name: str,
        images: NDArray[Any],
        labels: NDArray[np.int64] | None = None,
        classes: tuple[str, ...] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.name, self.labels, self.classes = name, labels, classes
        self.ids = Ids(len(images)) if ids is None else ids
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, indices: Indices) -> NDArray[Any]:
        return self._images[indices]


class Subset(Dataset):
    """Some images of another data set."""

    def __init__(self, whole: Dataset, indices: Indices) -> None:
        self.name, self.classes = whole.name, whole.classes
        self.labels = None if whole.labels is None else whole.labels[indices]
        self.ids = Ids(len(indices), lambda i: whole.ids[int(indices[i])])
        self._whole, self._chosen = whole, indices

    def __len__(self) -> int:
        return len(self._chosen)

    def pixels(self, indices: Indices) -> NDArray[Any]:
        return self._whole.pixels(self._chosen[indices])


class Joined(Dataset):
    """Several data sets one after another; labelled if all of them are, with the first one's class names."""

    def __init__(self, name: str, parts: Sequence[Dataset]) -> None:
        self.name, self.labels, self.classes = name, None, None
        if all(part.labels is not None for part in parts):
            self.labels = np.concatenate([part.labels for part in parts if part.labels is not None])
            self.classes = max((part.classes or () for part in parts), key=len)
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.ids = Ids(int(self._starts[-1]), self._id)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def pixels(self, indices: Indices) -> NDArray[Any]:
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        pieces = [(owner, owners == owner) for owner in np.unique(owners)]
        found = [self._parts[owner].pixels(indices[here] - self._starts[owner]) for owner, here in pieces]
        kinds = {piece.dtype for piece in found}
        if len(kinds) > 1:
            raise DataError(f"{self.name}: its parts are of different types, {' and '.join(map(str, kinds))}")
        pixels = np.empty((len(indices), *IMAGE), found[0].dtype)
        for (_, here), piece in zip(pieces, found, strict=True):
            pixels[here] = piece
        return pixels

    def _id(self, index: int) -> str:
        owner = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[owner].ids[index - int(self._starts[owner])]
