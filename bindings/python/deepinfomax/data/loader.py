"""Batches, decoded by a thread of their own while the library works on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from .augment import Augmentation
from .dataset import Dataset
from .order import dataloader_order


@dataclass(frozen=True)
class Batch:
    #: float32 (n, c, h, w)
    images: NDArray[np.float32]
    #: int64 (n,), or None where the data has no labels.
    labels: NDArray[np.int64] | None
    #: int64 (n,): the images' numbers in the data set.
    indices: NDArray[np.int64]


class Loader:
    """A data set in batches, epoch by epoch, in an order that follows from the seed and the epoch's number alone.

    shuffle: the order of PyTorch's DataLoader (see `order`); otherwise the data set's own.
    drop_last: leaves out an incomplete last batch, unless it is the only one.
    augment: what is done to each image of an epoch, which follows from the seed, the epoch and the image's number alone.
    part: (i, n) for the i-th of n equal parts of each batch alone, which a process of several reads.
    ahead: how many batches may wait, decoded. A batch of 64 images of 32x32 in RGB takes 0.8 MB.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        seed: int = 0,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        augment: Augmentation | None = None,
        ahead: int = 2,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        batch = _arrays.whole_number(batch, 1, 2**63, "batch", "at least 1")
        seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 <= seed < 2**64")
        ahead = _arrays.whole_number(ahead, 1, 2**31, "ahead", "1 or more")
        if not (isinstance(part, tuple) and len(part) == 2 and all(isinstance(one, int) for one in part)):
            raise TypeError(f"part: expected (i, n), found {_arrays.briefly(part)}")
        if not 0 <= part[0] < part[1]:
            raise ValueError(f"part: expected (i, n) with 0 <= i < n, found {part}")
        shuffle, drop_last = _arrays.flag(shuffle, "shuffle"), _arrays.flag(drop_last, "drop_last")
        if not isinstance(augment, (Augmentation, type(None))):
            raise TypeError(f"augment: expected an Augmentation or None, found {type(augment).__name__}")
        self.dataset = dataset
        self._augment = augment
        self._batch, self._seed, self._shuffle, self._ahead, self._part = batch, seed, shuffle, ahead, part
        whole = len(dataset) // batch
        self._batches = whole if drop_last and whole else -(-len(dataset) // batch)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._batches

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of an epoch, before they are cut into batches."""
        if not self._shuffle:
            return np.arange(len(self.dataset))
        return dataloader_order(len(self.dataset), self._seed, epoch)

    def epoch(self, epoch: int, start: int = 0, step: int = 1) -> Generator[Batch, None, None]:
        """The batches of an epoch from number `start` on, every `step`-th. An error in decoding is raised in its batch's turn."""
        epoch = _arrays.whole_number(epoch, 0, 2**63, "epoch", "0 or more")
        start = _arrays.whole_number(start, 0, 2**63, "start", "0 or more")
        step = _arrays.whole_number(step, 1, 2**63, "step", "1 or more")
        order = self.order(epoch)
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self._ahead)
        stop = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def decode() -> None:
            try:
                part, parts = self._part
                for number in range(start, self._batches, step):
                    if stop.is_set():
                        return
                    indices = order[number * self._batch : (number + 1) * self._batch]
                    own = indices[part * len(indices) // parts : (part + 1) * len(indices) // parts]
                    put(self._read(own, epoch))
                put(None)
            except BaseException as error:  # Whatever it is, it belongs to who waits for the batch.
                put(error)

        thread = threading.Thread(target=decode, name="dim-loader", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:  # Also when the caller has seen enough.
            stop.set()
            thread.join()

    def _read(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        labels = self.dataset.labels
        images = self.dataset.read(indices)
        if self._augment is not None:
            images = self._augment.apply(images, indices, self._seed, epoch)
        return Batch(images, None if labels is None else labels[indices], indices)
