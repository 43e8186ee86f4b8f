"""Two dimensions for the many of an encoded vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import finite, one_of, shaped


class Projection(NamedTuple):
    """Places on a map, (n,2), and what made them."""

    places: NDArray[np.float64]
    #: "pca" or "t-sne".
    method: str
    #: Of PCA: the shares of the variance that the two axes hold.
    explained: tuple[float, float] | None


def pca(y: NDArray[np.floating[Any]]) -> Projection:
    """The two directions of most variance. y (n,d), n >= 2. The same places for the same vectors, signs included."""
    y = finite(shaped(y, ("n", "d"), "y"), "y")
    if len(y) < 2:
        raise ValueError("y: expected two vectors or more, found one")
    centred = np.asarray(y, np.float64) - np.mean(y, axis=0, dtype=np.float64)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, centred.shape[1]))
    axes[: len(directions[:2])] = directions[:2]
    # A direction and its opposite are equally good: take the one whose largest component is positive.
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, np.newaxis], 1) + 1e-300)
    shares = np.zeros(2)
    shares[: len(sizes[:2])] = (np.square(sizes) / max(float(np.square(sizes).sum()), 1e-300))[:2]
    return Projection(centred @ axes.T, "pca", (float(shares[0]), float(shares[1])))


def tsne(y: NDArray[np.floating[Any]], seed: int = 0, perplexity: float = 30.0) -> Projection:
    """scikit-learn's t-SNE, begun from PCA; vectors that are all the same are at one place. Raises ImportError where
    scikit-learn is missing, ValueError for NaN."""
    from sklearn.manifold import TSNE

    y = finite(np.asarray(shaped(y, ("n", "d"), "y"), np.float64), "y")
    extent = float(np.ptp(y, axis=0).max(initial=0))
    if extent == 0:  # It would end the process: without an extent PCA's places are NaN.
        return Projection(np.zeros((len(y), 2)), "t-sne", None)
    if not 1e-12 < extent < 1e12:  # Squares have to be numbers of float32; distances alone count, in proportion.
        y = (y - y.mean(axis=0)) / extent
    at_most = max(1.0, (len(y) - 1) / 3)  # scikit-learn refuses a perplexity that n cannot fill.
    method = TSNE(2, perplexity=min(perplexity, at_most), init="pca", random_state=seed % 2**32)
    return Projection(np.asarray(method.fit_transform(np.asarray(y, np.float32)), np.float64), "t-sne", None)


AXES = ("auto", "equal", "whiten")


def fitted(places: NDArray[np.float64], axes: str = "auto") -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The places as a picture shows them, and what each axis was multiplied by.

    equal: as they are, distances on the map are distances. whiten: both axes of variance 1. auto: as they are, but the
    shorter axis is stretched to half of the longer one: after training one direction may hold nearly all variance, and
    the map would be a strip.
    """
    one_of(axes, AXES, "axes", ", ".join(AXES))
    places = finite(shaped(places, ("n", 2), "places"), "places")
    factors = np.ones(2)
    extent = np.ptp(places, axis=0)
    if axes == "whiten":
        deviation = places.std(axis=0)
        np.divide(1, deviation, out=factors, where=deviation > 1e-12)
    elif axes == "auto" and 1e-9 * extent.max() < extent.min() < extent.max() / 2:  # What is less is rounding.
        factors[extent.argmin()] = extent.max() / 2 / extent.min()
    return places * factors, (float(factors[0]), float(factors[1]))
