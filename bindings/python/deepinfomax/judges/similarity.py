"""Structural similarity of images (Wang et al., 2004) and its multi-scale form (Wang et al., 2003).

A Gaussian window of 11x11, sigma 1.5; C1 = (0.01 range)^2, C2 = (0.03 range)^2; between two scales, means of 2x2. As
torchmetrics has it, similarity is the mean over the whole image, mirrored at its border, and contrast, which counts at all
scales but the last, the mean over the positions at which the window is within the image. The paper's code has one scale alone:
not comparable.

uint8 is divided by 255, as everywhere in this package, but where data_range is 255.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arrays

Doubles = NDArray[np.float64]

WINDOW, SIGMA = 11, 1.5
#: Wang et al., 2003.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def scales_of(height: int, width: int) -> int:
    """As many as leave the window room: 2 of 32x32, 3 of 64x64, 5 of 176x176 and more."""
    least = min(
        _arrays.whole_number(side, 0, 2**63, what, "0 or more") for side, what in ((height, "height"), (width, "width"))
    )
    scales = 0
    while scales < len(WEIGHTS) and least >> scales >= WINDOW:
        scales += 1
    return scales


def ms_ssim(images: Any, others: Any, data_range: float = 1.0) -> Doubles:
    """(n,): of each pair of images (n, c, h, w), from 0 to 1; 1 where they are the same.

    With as many scales as the size allows, and the first of the standard weights, scaled to sum 1. Negative means of a
    scale count as 0. data_range: how far apart the least and the largest possible value are. uint8 is divided by 255, but where
    data_range is 255.
    """
    x, y, data_range = _pair(images, others, data_range)
    scales = scales_of(*x.shape[2:])
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    product = np.ones(len(x))
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
        whole, contrast = _terms(x, y, data_range)
        # The luminance counts at the last scale alone.
        product *= np.maximum(whole if scale == scales - 1 else contrast, 0) ** weight
    return product


def ssim(images: Any, others: Any, data_range: float = 1.0) -> Doubles:
    """(n,): of each pair of images (n, c, h, w), on one scale, from -1 to 1. data_range and uint8 as of ms_ssim."""
    return _terms(*_pair(images, others, data_range))[0]


def _pair(images: Any, others: Any, data_range: float) -> tuple[Doubles, Doubles, float]:
    data_range = _arrays.number(data_range, "data_range")
    if not 0 < data_range < math.inf:
        raise ValueError(f"data_range: expected a finite number of more than 0, found {data_range}")
    x, y = _images(images, "images", data_range), _images(others, "others", data_range)
    if x.ndim != 4 or x.shape != y.shape:
        raise ValueError(f"images: expected two arrays (n, c, h, w) of one shape, found {x.shape} and {y.shape}")
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(f"images: expected sides of {WINDOW} at least, the window's, found {x.shape[2]}x{x.shape[3]}")
    largest = max(data_range, *(float(np.abs(one).max(initial=0)) for one in (x, y)))
    if not 2.0**-200 < largest < 2.0**200:  # Whose products may over- or underflow; a power of two changes no digit.
        exponent = -math.frexp(largest)[1]
        x, y, data_range = np.ldexp(x, exponent), np.ldexp(y, exponent), math.ldexp(data_range, exponent)
    return x, y, data_range


def _images(value: Any, what: str, data_range: float) -> Doubles:
    given = _arrays.numbers(value, what)
    wide = np.asarray(_arrays.finite(given, what), np.float64)
    return wide / 255 if given.dtype == np.uint8 and data_range != 255 else wide


def _terms(x: Doubles, y: Doubles, data_range: float) -> tuple[Doubles, Doubles]:
    """(n,), (n,): means over channels and places of luminance x contrast x structure, and of the latter two."""
    least = np.finfo(np.float64).tiny  # Of a range whose square underflows: two equal images have terms of 1, not 0/0.
    c1, c2 = max((0.01 * data_range) ** 2, least), max((0.03 * data_range) ** 2, least)
    border = WINDOW // 2
    x, y = (np.pad(image, ((0, 0), (0, 0), (border, border), (border, border)), "reflect") for image in (x, y))
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x = np.maximum(_blurred(x * x) - mean_x**2, 0)
    variance_y = np.maximum(_blurred(y * y) - mean_y**2, 0)
    covariance = _blurred(x * y) - mean_x * mean_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    whole = contrast * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    within = contrast[:, :, border:-border, border:-border]
    return whole.mean(axis=(1, 2, 3)), within.mean(axis=(1, 2, 3))


def _blurred(x: Doubles) -> Doubles:
    """(n, c, h, w) -> (n, c, h - 10, w - 10)"""
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-((offsets / SIGMA) ** 2) / 2)
    kernel /= kernel.sum()
    rows, columns = x.shape[2] - WINDOW + 1, x.shape[3] - WINDOW + 1
    down = sum(weight * x[:, :, at : at + rows] for at, weight in enumerate(kernel))
    across: Doubles = sum(weight * down[:, :, :, at : at + columns] for at, weight in enumerate(kernel))
    return across


def _halved(x: Doubles) -> Doubles:
    """Means of 2x2; an odd last row or column is dropped."""
    n, c, h, w = x.shape
    even = x[:, :, : h // 2 * 2, : w // 2 * 2]
    halved: Doubles = even.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))
    return halved
