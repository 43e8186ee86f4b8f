"""How a command or a run reads images: as those of the size that the networks take."""

from __future__ import annotations

from dataclasses import dataclass

from . import Dataset, Subset, open_dataset
from .dataset import Undamaged
from .options import Size


@dataclass(frozen=True)
class Reading:
    """Opens images of whatever size as those of one size."""

    resize: str = "fit"
    max_pixels: int | None = None
    skip_damaged: bool = False
    #: (channels, height, width) that the networks take; None: the size that all images have.
    image: Size | None = None

    def open(self, source: str | None, *, labelled: bool = False, split: str = "all") -> Dataset:
        return open_dataset(
            source,
            labelled=labelled,
            split=split,
            image=self.image,
            resize=self.resize,
            max_pixels=self.max_pixels,
            skip_damaged=self.skip_damaged,
        )


def has_test_set(train: Dataset) -> bool:
    """Of the split "train": whether the data has a test set of its own, or every tenth image was held out of one set."""
    while isinstance(train, Undamaged):
        train = train._whole
    return not isinstance(train, Subset)
