"""The data when none is named: what scikit-learn ships. Nothing is downloaded."""

from __future__ import annotations

import numpy as np

from . import photographs as _photographs
from .dataset import Dataset, Ids, Indices, InMemory
from .errors import MissingPackage
from .options import Options


class Sample(InMemory):
    """Its pixels are made for the size that is asked for; its names tell its images from all others."""

    def _marks(self, indices: Indices) -> list[bytes]:
        return [f"{self.name}: {self.ids[index]}".encode() for index in indices.tolist()]


def photographs(options: Options) -> Dataset:
    """The two sample photographs in patches of the size that is asked for; of 32x32: 520 images, without labels."""
    _, height, width = options.image or (3, 32, 32)
    try:
        patches = _photographs.patches(height, width)
    except ImportError as error:
        raise _missing("without data of your own, the sample photographs need", error) from error
    images = np.ascontiguousarray(np.moveaxis(patches, -1, -3))
    return Sample("scikit-learn's sample photographs", images, ids=Ids(len(images), "patch {}"))


def digits(options: Options) -> Dataset:
    """The handwritten digits, 8x8 in 17 greys: 1,797 images of 10 classes, each pixel repeated as often as it fits."""
    try:
        from sklearn.datasets import load_digits

        bunch = load_digits()
    except ImportError as error:
        raise _missing("without data of your own, the sample digits need", error) from error
    channels, height, width = options.image or (3, 32, 32)
    times = max(1, min(height, width) // 8)
    grey = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)  # (n, 8, 8)
    large = grey.repeat(times, axis=1).repeat(times, axis=2)
    images = np.repeat(large[:, np.newaxis], 3 if channels == 3 else 1, axis=1)
    labels = np.asarray(bunch.target).astype(np.int64)
    return Sample("scikit-learn's digits", images, labels, tuple("0123456789"), Ids(len(images), "digit {}"))


def _missing(purpose: str, error: ImportError) -> MissingPackage:
    package = "Pillow" if "pil" in str(error).lower() else "scikit-learn"
    return MissingPackage(package, purpose, advice="or name data of your own")
