"""Which images are alike: distances between encoded vectors."""

from __future__ import annotations

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
    points = _arrays.finite(np.asarray(_arrays.shaped(y, ("n", "d"), "y"), np.float64), "y")
    subject = _arrays.finite(_arrays.shaped(subject, (points.shape[1],), "subject"), "subject")
    distances = np.sqrt(np.square(points - np.asarray(subject, np.float64)).sum(axis=1))
    order = np.argsort(distances, kind="stable")
    near, far = order[:count], order[-count:]
    return Neighbours(near, distances[near], far, distances[far])


def vote(
    y: NDArray[np.floating[Any]], labels: NDArray[np.int64], queries: NDArray[np.floating[Any]], k: int = 5
) -> NDArray[np.int64]:
    """k-nearest-neighbour classification: the commonest label among the k of y (n,d) nearest to each query (m,d).

    On a tie the label whose nearest member is nearer wins. Works through the queries in blocks of bounded memory.
    """
    k = min(_arrays.whole_number(k, 1, 2**63, "k", "1 or more"), len(y))
    points = np.asarray(_arrays.finite(_arrays.shaped(y, ("n", "d"), "y"), "y"), np.float64)
    queries = _arrays.finite(_arrays.shaped(queries, ("m", points.shape[1]), "queries"), "queries")
    labels = _arrays.labels(labels, len(points), False)
    squares = np.square(points).sum(axis=1)
    found = np.empty(len(queries), np.int64)
    block = max(1, 4_000_000 // len(points))
    for start in range(0, len(queries), block):
        these = np.asarray(queries[start : start + block], np.float64)
        distances = squares - 2 * these @ points.T  # Each row lacks the query's own square, which orders nothing.
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        by_distance = np.take_along_axis(distances, near, axis=1).argsort(axis=1, kind="stable")
        found[start : start + block] = elected(labels[np.take_along_axis(near, by_distance, axis=1)])
    return found


def elected(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row of labels (m, k), nearest first, the commonest; of equally common ones that of the nearest."""
    if votes.shape[1] <= _PAIRS:
        counts = (votes[:, :, np.newaxis] == votes[:, np.newaxis, :]).sum(axis=2)
    else:  # Whose pairs would be k times as much again.
        counts = np.empty_like(votes)
        for row, of_row in zip(votes, counts, strict=True):
            _, where, times = np.unique(row, return_inverse=True, return_counts=True)
            of_row[:] = times[where]
    chosen: NDArray[np.int64] = votes[np.arange(len(votes)), counts.argmax(axis=1)]  # argmax takes the first of equal counts.
    return chosen
