"""Which images are alike: distances between encoded vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _arrays


#: Voters up to which all pairs of them are compared.
_PAIRS = 20


class Neighbours(NamedTuple):
    """Indices of images and their distances from the subject, both in ascending order of distance."""

    nearest: NDArray[np.int64]
    nearest_distances: NDArray[np.float64]
    farthest: NDArray[np.int64]
    farthest_distances: NDArray[np.float64]


def neighbours(subject: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], count: int = 10) -> Neighbours:
    """The `count` vectors of y nearest to the subject and the `count` farthest, by L2 distance.

    subject (d,), y (n,d); fewer where n < count. A subject that is one of y is its own nearest neighbour, at
    distance 0, as in the original's picture. Equal distances keep the order of y. Raises ValueError for a count below 1.
    """
    count = _arrays.whole_number(count, 1, 2**63, "count", "1 or more")
    points = _arrays.doubles(y, ("n", "d"), "y")
    subject = _arrays.doubles(subject, (points.shape[1],), "subject")
    # Of numbers near float64's largest differences and distances would be infinite; a power of two changes no digit.
    scale = 2.0**-100 if max(points.max(), -points.min(), subject.max(), -subject.min()) > 2.0**900 else 1.0
    distances = _lengths(points * scale - subject * scale)
    order = np.argsort(distances, kind="stable")
    with np.errstate(over="ignore"):
        distances /= scale
    near, far = order[:count], order[-count:]
    return Neighbours(near, distances[near], far, distances[far])


def vote(
    y: NDArray[np.floating[Any]], labels: NDArray[np.int64], queries: NDArray[np.floating[Any]], k: int = 5
) -> NDArray[np.int64]:
    """k-nearest-neighbour classification: the commonest label among the k of y (n,d) nearest to each query (m,d).

    On a tie the label whose nearest member is nearer wins. Works through the queries in blocks of bounded memory. Of no
    queries there are no labels.
    """
    points = _arrays.doubles(y, ("n", "d"), "y")
    k = min(_arrays.whole_number(k, 1, 2**63, "k", "1 or more"), len(points))
    labels = _arrays.labels(labels, len(points), False)
    if np.shape(queries) == (0, points.shape[1]):
        return np.empty(0, np.int64)
    given = _arrays.doubles(queries, ("m", points.shape[1]), "queries")
    found = np.empty(len(given), np.int64)
    for part, near in _nearest(points, given, k, 4_000_000):
        found[part] = elected(labels[near])
    return found


def _nearest(points: Any, queries: Any, k: int, held: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Of queries (m, d) the k nearest of points (n, d) by L2 distance, nearest first: block by block, as rows (.., k).

    Both of one floating-point type, whose products choose; where what is left of the digits does not suffice, as among points
    that are nearly the same, float64's differences do. held: distances at once.
    """
    if (points == points[0]).all():
        yield slice(0, len(queries)), np.tile(np.arange(k), (len(queries), 1))
        return
    points, queries = _near_origin(*_arrays.middling(points, queries))
    epsilon = float(np.finfo(points.dtype).eps)
    squares = np.square(points).sum(axis=1)
    block = max(1, held // len(points))
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        these = queries[part]
        with np.errstate(over="ignore", invalid="ignore"):  # Of a query that is very far away.
            own = np.square(these).sum(axis=1)
            distances = these @ points.T
            distances *= -2
            distances += squares  # Each row lacks the query's own square, which orders nothing.
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        chosen = np.take_along_axis(distances, near, axis=1)
        near = np.take_along_axis(near, chosen.argsort(axis=1, kind="stable"), axis=1)
        most = chosen.max(axis=1)
        sure = np.isfinite(chosen).all(axis=1) & (most > (epsilon**0.5 - 1) * own)
        slack = 16 * (points.shape[1] + 8) * epsilon * own
        for row in np.flatnonzero(~sure).tolist():
            with np.errstate(invalid="ignore"):  # Of such a query: all of them.
                some = np.flatnonzero(~(distances[row] > most[row] + slack[row]))  # Those that may be among the k.
            alike = points[some]
            if (alike == alike[0]).all():  # Of many that are the same, any order would do.
                near[row] = some[:k]
                continue
            apart = _lengths(alike.astype(np.float64) - these[row])
            near[row] = some[np.argsort(apart, kind="stable")[:k]]
        yield part, near


def _near_origin(points: Any, queries: Any) -> tuple[Any, Any]:
    """Both less one vector, where the points are farther from the origin than from each other: their products lose digits.

    The vector is the points' mean, rounded to a power of two above their spread: 0 of most, and no whole number turns broken.
    """
    mean = points.mean(axis=0, dtype=np.float64)
    spread = float(np.maximum(points.max(axis=0) - mean, mean - points.min(axis=0)).max())
    unit = 2.0 ** int(np.frexp(spread)[1])
    centre = (np.rint(mean / unit) * unit).astype(points.dtype)
    return (points - centre, queries - centre) if centre.any() else (points, queries)


def _lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """L2 lengths along the last axis, of numbers of any size."""
    exponents = np.frexp(np.abs(vectors).max(axis=-1))[1]
    scaled = np.ldexp(vectors, -exponents[..., np.newaxis])
    with np.errstate(over="ignore"):  # Of a length beyond the type's largest number.
        found: NDArray[Any] = np.ldexp(np.sqrt(np.square(scaled).sum(axis=-1)), exponents)
    return found


def elected(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row of labels (m, k), nearest first, the commonest; of equally common ones that of the nearest."""
    votes = _arrays.integers(votes, "votes")
    if votes.ndim != 2 or not votes.shape[1]:
        raise ValueError(f"votes: expected shape (m,k), found {_arrays.shape_text(votes)}")
    if votes.shape[1] <= _PAIRS:
        counts = (votes[:, :, np.newaxis] == votes[:, np.newaxis, :]).sum(axis=2)
    else:  # Whose pairs would be k times as much again.
        counts = np.empty_like(votes)
        for row, of_row in zip(votes, counts, strict=True):
            _, where, times = np.unique(row, return_inverse=True, return_counts=True)
            of_row[:] = times[where]
    chosen: NDArray[np.int64] = votes[np.arange(len(votes)), counts.argmax(axis=1)]  # argmax takes the first of equal counts.
    return chosen
