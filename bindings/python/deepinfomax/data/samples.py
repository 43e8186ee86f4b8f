"""The data when none is named: what scikit-learn ships. Nothing is downloaded."""

from __future__ import annotations

import numpy as np

from .. import photographs as _photographs
from .dataset import Dataset, Ids, InMemory
from .errors import MissingPackage


def photographs() -> Dataset:
    """The two sample photographs in patches: 520 images, without labels."""
    try:
        patches = _photographs.patches()
    except ImportError as error:
        raise _missing("without data of your own, the sample photographs need", error) from error
    images = np.ascontiguousarray(np.moveaxis(patches, -1, -3))
    return InMemory("scikit-learn's sample photographs", images, ids=Ids(len(images), "patch {}".format))


def digits() -> Dataset:
    """The handwritten digits, 8x8 in 17 greys: 1,797 images of 10 classes, each pixel as 4x4 pixels in grey."""
    try:
        from sklearn.datasets import load_digits

        bunch = load_digits()
    except ImportError as error:
        raise _missing("without data of your own, the sample digits need", error) from error
    grey = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)  # (n,8,8)
    large = grey.repeat(4, axis=1).repeat(4, axis=2)
    images = np.repeat(large[:, np.newaxis], 3, axis=1)
    labels = np.asarray(bunch.target).astype(np.int64)
    return InMemory("scikit-learn's digits", images, labels, tuple("0123456789"), Ids(len(images), "digit {}".format))


def _missing(purpose: str, error: ImportError) -> MissingPackage:
    package = "Pillow" if "pil" in str(error).lower() else "scikit-learn"
    return MissingPackage(package, purpose, advice="or name data of your own")
