"""Real photographs that a well-kept package already ships: the images when none are named. No download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIDE = 32


def patches(height: int = _SIDE, width: int = _SIDE) -> NDArray[np.uint8]:
    """scikit-learn's two sample photographs (china.jpg, then flower.jpg) cut into patches, row by row: (520,32,32,3).

    Of another size: (n, height, width, 3). The right and bottom margins, narrower than a patch, are left out; patches
    larger than a photograph are cut as large as it is (427x640).
    Raises ImportError where scikit-learn, or the Pillow that decodes its JPEG files, is missing.
    """
    from sklearn.datasets import load_sample_images

    return np.concatenate([_cut(photograph, height, width) for photograph in load_sample_images().images])


def spread(n: int) -> NDArray[np.uint8]:
    """`n` patches from all over the two photographs, (n,32,32,3): number k is patch (109 + 37 k) mod 520.

    The first ones show something; the skies, which are nearly of one colour, come later. The first m of spread(n)
    are spread(m). Raises ImportError as `patches` does.
    """
    everything = patches()
    return everything[(109 + 37 * np.arange(n)) % len(everything)]


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, h, w, 3) bytes -> (n, 3, h, w) in [0,1], as torchvision's ToTensor and `Model.encode` do it."""
    return np.divide(np.moveaxis(images, -1, -3), np.float32(255), dtype=np.float32, order="C")


def _cut(photograph: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(h, w, 3) -> (rows * columns, height, width, 3)."""
    height, width = min(height, photograph.shape[0]), min(width, photograph.shape[1])
    rows, columns = photograph.shape[0] // height, photograph.shape[1] // width
    grid = photograph[: rows * height, : columns * width].reshape(rows, height, columns, width, 3)
    return grid.swapaxes(1, 2).reshape(-1, height, width, 3)
