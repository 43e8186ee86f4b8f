"""Search among encoded images: a stored index, exact search, near-duplicates, hnswlib where it is installed.

    index = Index(y, ids=names)                  # y (n, d)
    index.save("photos.index.npz")
    found = Index.open("photos.index.npz").search(model.encode(images, features=False), 10)
    found.numbers, found.distances               # (m, 10), nearest first

A file of an index is numpy's .npz: docs/search.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from ._files import path_text, whole
from ._text import counted, shown, valid
from .data import DataError, Dataset, MissingPackage
from .data.arrays import read_npz
from .data.dataset import fingerprint
from .distributed import weights_digest
from .model import Model

Floats = NDArray[np.float32]
Metric = Literal["l2", "cosine"]
METRICS: tuple[Metric, ...] = ("l2", "cosine")

#: Queries and vectors whose distances are held at once: 32 MB of float32.
_QUERIES, _VECTORS = 256, 32_768
#: Candidates beyond those asked for, by float32's distances, whose order float64 decides; and where float32 was not sure.
_SPARE, _MORE_SPARE = 16, 512
#: Numbers of float64 that are held at once: 32 MB.
_WIDE = 4_000_000
_VERSION = 1
#: Characters of a name: more than a path has. Numpy gives each of the names as much room as the longest needs.
_LONGEST = 4096
#: `made_by` of vectors that no encoder gives again for one image.
TRAINING_MODE = "training mode"


class Found(NamedTuple):
    """Of m queries the k nearest each, nearest first; equal distances in the index's order."""

    numbers: NDArray[np.int64]
    distances: NDArray[np.float64]
    #: The share of the exact nearest that were found: 1 for exact search, measured on a sample of queries for another.
    recall: float


class Duplicates(NamedTuple):
    """Pairs of vectors (p, 2), first < second, in ascending order of distance (p).

    Of vectors that hold the same numbers only the first is compared with others: each of them is in one pair, with that first.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]


def _id(name: Any) -> str:
    """Of text, of bytes as h5py gives them, or of a number."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    if isinstance(name, (str, int, np.integer)) and not isinstance(name, bool):
        text = str(name)
        _check_end(text, "ids")
        if len(text) > _LONGEST:
            raise ValueError(f"ids: expected at most {_LONGEST:,} characters each, found {len(text):,}")
        return text
    raise TypeError(f"ids: expected texts, found {type(name).__name__}")


def _check_end(text: str, what: str) -> None:
    if text.endswith("\0"):
        raise ValueError(f"{what}: found a name that ends in NUL, which an index file would not keep")


class Index:
    """Vectors (n, d) with names, to be searched by "l2" distance or by "cosine" distance, 1 - cos of the angle.

    Equal vectors are at distance 0 by either. A vector of zeros has no direction: its cosine distance to all is 1.

    made_by: what encoded the vectors, an `encoder_digest`; `check_encoder` then refuses another encoder. "" where unknown.
    made_of: the fingerprint of the data set whose images they are of; `check_images` then refuses another. "" where unknown.
    """

    def __init__(
        self, vectors: Any, ids: Sequence[str] | None = None, metric: Metric = "l2", *, made_by: str = "", made_of: str = ""
    ) -> None:
        given = _arrays.as_numpy(vectors, "vectors")
        array = _arrays.to_float32(given, "vectors")
        if np.may_share_memory(array, given):  # What is prepared from it stays true, whatever the caller writes later.
            array = array.copy()
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"vectors: expected (n, d), one vector at least, found shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError("vectors: expected finite numbers, found NaN or infinity")
        _arrays.one_of(metric, METRICS, "metric", ", ".join(METRICS))
        # A text's letters would be names; sets have no order.
        given_ids = None if isinstance(ids, (Set, Mapping)) else _arrays.members(ids)
        if ids is not None and given_ids is None:
            raise TypeError(f"ids: expected texts, one a vector, found {type(ids).__name__}")
        for what, text in (("made_by", made_by), ("made_of", made_of)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{what}: expected a text, found {type(text).__name__}")
            _check_end(text or "", what)
        names = [str(number) for number in range(len(array))] if given_ids is None else [_id(name) for name in given_ids]
        if len(names) != len(array):
            raise ValueError(f"ids: expected {len(array)}, one a vector, found {len(names)}")
        self.vectors, self.ids, self.metric, self.made_by = array, names, metric, made_by or ""
        self.made_of = made_of or ""
        self._mean = array.mean(axis=0, dtype=np.float64) if metric == "l2" else np.zeros(array.shape[1])
        # A power of two, which changes no digit: float32's squares of very large and very small numbers stay numbers.
        spread = float(np.abs(array - self._mean).max()) if metric == "l2" else 0.0
        self._scale = 2.0 ** -math.frexp(spread)[1]
        self._prepared = self._prepare(array)
        self._squares = np.square(self._prepared).sum(axis=1)
        #: Of a float32 distance, beside (|q| + |p|)^2: of d products and sums, at most.
        self._error = (array.shape[1] + 8) * 2.0**-23
        self._graph: Any = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"<deepinfomax.search.Index, {counted(len(self), 'vector')} of {counted(self.vectors.shape[1], 'number')}, {self.metric}>"

    def check_encoder(self, model: Model) -> None:
        """Raises ValueError where the model is known not to be the one that made the vectors: distances would mean nothing."""
        _arrays.instance(model, Model, "model")
        if model.sizes.encoded != self.vectors.shape[1]:
            raise ValueError(f"expected weights that give {self.vectors.shape[1]} numbers, found {model.sizes.encoded}")
        if self.made_by and self.made_by != encoder_digest(model):
            raise ValueError("its vectors were made by another encoder, or in training mode; give the weights that made them")

    def check_images(self, data: Dataset) -> None:
        """Raises ValueError where the vectors are of other images than these, by their names and by what is in them."""
        _arrays.instance(data, Dataset, "data", "a Dataset, as open_dataset gives it")
        own = fingerprint(data) if self.made_of else ""
        if list(map(valid, data.ids)) != list(map(valid, self.ids)) or own != self.made_of and own:
            raise ValueError(f"has the vectors of other images than {shown(data.name)}")

    # ---- The file

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """An .npz of vectors, ids, metric, made_by, made_of and version; it appears whole or not at all."""
        with whole(path_text(path)) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                vectors=self.vectors,
                ids=np.array(self.ids, np.str_),
                metric=np.array(self.metric),
                made_by=np.array(self.made_by),
                made_of=np.array(self.made_of),
                version=np.array(_VERSION),
            )

    @classmethod
    def open(cls, path: str | bytes | os.PathLike[Any]) -> Index:
        """Raises ValueError where the file is no index of this version. Nothing in it is unpickled, and no more is held in
        memory than the file holds."""
        names = ("vectors", "ids", "metric", "made_by", "version")
        path = path_text(path)
        try:
            parts = read_npz(Path(path), names, optional=("made_of",))
        except DataError as error:
            raise ValueError(f"{shown(path)}: expected an index as Index.save writes it: {error}") from error
        if parts["version"].shape != () or parts["version"] != _VERSION:
            raise ValueError(f"{shown(path)}: expected an index of version {_VERSION}, found {parts['version'].tolist()!r:.40}")
        metric: Any = str(parts["metric"])
        count = len(parts["vectors"]) if parts["vectors"].ndim else 1
        if parts["ids"].size != count:  # Each takes more memory as an object of Python's.
            raise ValueError(f"{shown(path)}: ids: expected {count}, one a vector, found {parts['ids'].size}")
        try:
            made_of = str(parts.get("made_of", ""))
            return cls(
                parts["vectors"], parts["ids"].reshape(-1).tolist(), metric, made_by=str(parts["made_by"]), made_of=made_of
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{shown(path)}: {error}") from error

    # ---- Search

    def search(self, queries: Any, k: int = 10) -> Found:
        """The k nearest of each query (m, d), exactly; fewer where the index holds fewer. In blocks of bounded memory."""
        given = self._queries(queries)
        k = self._count(k)
        numbers, distances = np.empty((len(given), k), np.int64), np.empty((len(given), k), np.float64)
        for start in range(0, len(given), _QUERIES):
            rows = np.arange(start, min(start + _QUERIES, len(given)))
            for spare in _SPARE, _MORE_SPARE:
                wide = min(k + spare, len(self))
                prepared = self._prepare(given[rows])
                candidates, beyond = self._candidates(prepared, wide)
                numbers[rows], distances[rows] = self._refined(given[rows], candidates, k)
                sure = self._surely(prepared, distances[rows, -1], beyond)
                rows = rows[~sure] if wide < len(self) else rows[:0]
                if not len(rows):
                    break
            for row in rows:
                numbers[row], distances[row] = self._in_float64(given[row : row + 1], k)
        return Found(numbers, distances, 1.0)

    def search_approximately(
        self, queries: Any, k: int = 10, *, recall: float = 0.95, ef: int = 200, sample: int = 100, seed: int = 0
    ) -> Found:
        """By hnswlib's graph, which the first call builds; recall is measured on `sample` of the queries.

        recall: the required one: where less is measured, the search is repeated with twice as many candidates. ef: how many
        candidates hnswlib keeps at first; more find more and take longer. Raises MissingPackage without hnswlib.
        """
        recall = _arrays.number(recall, "recall")
        if not 0 <= recall <= 1:
            raise ValueError(f"recall: expected 0 to 1, found {recall}")
        ef = _arrays.whole_number(ef, 1, 2**63, "ef", "1 or more")
        sample = _arrays.whole_number(sample, 0, 2**63, "sample", "0 or more")
        seed = _arrays.whole_number(seed, 0, 2**63, "seed", "0 or more")
        given = self._queries(queries)
        k = self._count(k)
        graph = self._hnsw(seed)
        prepared = self._prepare(given)
        chosen = np.random.default_rng(seed).permutation(len(given))[:sample]
        exact = self.search(given[chosen], k).distances[:, -1:]
        ef = max(ef, k + _SPARE)
        while True:
            graph.set_ef(ef)
            try:
                labels, _ = graph.knn_query(prepared, k=min(k + _SPARE, len(self)))
            except RuntimeError:  # It came to fewer vectors than were asked for: where many are equal, the graph has islands.
                if ef >= len(self):
                    return self.search(given, k)
                ef *= 2
                continue
            numbers, distances = self._refined(given, labels.astype(np.int64), k)
            # By distance: of equally near ones any will do.
            found = float((distances[chosen] <= exact * (1 + 1e-9) + 1e-12).mean()) if len(chosen) else 1.0
            if found >= recall or ef >= len(self):
                return Found(numbers, distances, found)
            ef *= 2

    def duplicates(self, threshold: float, *, most: int = 100_000) -> Duplicates:
        """Pairs at a distance of at most `threshold`; of equal vectors, each with the first of them.

        Raises ValueError where there are more than `most`.
        """
        threshold = _arrays.number(threshold, "threshold")
        if not 0 <= threshold < np.inf:
            raise ValueError(f"threshold: expected a finite number of at least 0, found {threshold}")
        most = _arrays.whole_number(most, 0, 2**63, "most", "0 or more")
        first_of = self._first_of()
        numbers = np.arange(len(self))
        firsts, others = numbers[first_of == numbers], numbers[first_of != numbers]
        among = Index(self.vectors[firsts], metric=self.metric) if len(others) else self
        pairs = [np.stack((first_of[others], others), axis=1)]
        count = len(others)
        for some in among._pairs(threshold):
            pairs.append(firsts[some])
            count += len(some)
            if count > most:
                break
        if count > most:
            raise ValueError(
                f"threshold: more than {most} pairs are within {threshold}; give a smaller one, or allow more pairs: most="
            )
        together = np.concatenate(pairs)
        distances = self._distances(self.vectors[together[:, 0]], together[:, 1:])[:, 0]
        order = np.lexsort((together[:, 1], together[:, 0], distances))
        return Duplicates(together[order], distances[order])

    def _first_of(self) -> NDArray[np.int64]:
        """Of each vector, the first that has the same numbers."""
        rows = self.vectors + np.float32(0)  # -0 is 0.
        texts = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
        _, first, own = np.unique(texts, return_index=True, return_inverse=True)
        found = first[own].astype(np.int64)
        if self.metric == "cosine":  # Vectors of zeros, which are at distance 1 from each other.
            found = np.where(rows.any(axis=1), found, np.arange(len(self)))
        return found

    def _pairs(self, threshold: float) -> Iterator[NDArray[np.int64]]:
        """All pairs (p, 2) at a distance of at most `threshold`, block by block."""
        # float32's distances choose generously, float64's decide.
        largest = float(self._squares.max())
        # Beyond 1e150 squares are infinite; no two vectors of float32 are so far apart.
        bound = min(threshold * self._scale, 1e150) ** 2 if self.metric == "l2" else 2 * threshold
        bound += max(1e-5, 4 * self._error) * max(largest, 1e-30)
        bound = min(bound, float(np.finfo(np.float32).max))
        for start in range(0, len(self), _QUERIES):
            block = self._prepared[start : start + _QUERIES]
            for at in range(start, len(self), _VECTORS):
                near = self._block(block, at) <= bound
                first, second = np.nonzero(near)
                first, second = first + start, second + at
                ordered = np.stack((first, second), axis=1)[first < second].astype(np.int64)
                yield ordered[self._distances(self.vectors[ordered[:, 0]], ordered[:, 1:])[:, 0] <= threshold]

    # ---- How

    def _queries(self, queries: Any) -> Floats:
        given = _arrays.to_float32(_arrays.as_numpy(queries, "queries"), "queries")
        if given.ndim != 2 or given.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"queries: expected (m, {self.vectors.shape[1]}), found shape {given.shape}")
        if not np.isfinite(given).all():
            raise ValueError("queries: expected finite numbers, found NaN or infinity")
        return given

    def _count(self, k: int) -> int:
        return min(_arrays.whole_number(k, 1, 2**63, "k", "at least 1"), len(self))

    def _prepare(self, vectors: Floats) -> Floats:
        """Points whose squared L2 distances order as the metric does: unit vectors, or differences from the mean."""
        if self.metric == "cosine":
            return _unit(vectors).astype(np.float32)
        with np.errstate(over="ignore"):  # Of a query far away, which `_surely` tells.
            return ((vectors - self._mean) * self._scale).astype(np.float32)  # Near the origin differences cancel less.

    def _block(self, queries: Floats, at: int) -> Floats:
        """Squared distances, rounded, from prepared queries to the vectors at[: _VECTORS]."""
        points = self._prepared[at : at + _VECTORS]
        with np.errstate(over="ignore", invalid="ignore"):
            found: Floats = queries @ points.T
            found *= -2
            found += self._squares[at : at + _VECTORS]
            found += np.square(queries).sum(axis=1)[:, np.newaxis]
        return found

    def _candidates(self, queries: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """The k nearest by float32's squared distances, in no order, and the largest of these: all others are no nearer."""
        best = np.empty((len(queries), 0), np.float32)
        numbers = np.empty((len(queries), 0), np.int64)
        for at in range(0, len(self), _VECTORS):
            found = self._block(queries, at)
            near = (
                np.argpartition(found, k - 1, axis=1)[:, :k]
                if found.shape[1] > k
                else np.tile(np.arange(found.shape[1]), (len(found), 1))
            )
            best = np.concatenate((best, np.take_along_axis(found, near, axis=1)), axis=1)
            numbers = np.concatenate((numbers, near + at), axis=1)
            if best.shape[1] > k:
                near = np.argpartition(best, k - 1, axis=1)[:, :k]
                best, numbers = np.take_along_axis(best, near, axis=1), np.take_along_axis(numbers, near, axis=1)
        return numbers, best.max(axis=1)

    def _surely(self, queries: Floats, distances: NDArray[np.float64], beyond: Floats) -> NDArray[np.bool_]:
        """Of prepared queries: whether float32, which chose the candidates, was sure of all at these distances.

        Not among many images that are nearly the same: their distances are less than its rounding.
        """
        squares = np.square(distances * self._scale) if self.metric == "l2" else 2 * distances
        lengths = np.sqrt(np.square(queries.astype(np.float64)).sum(axis=1)) + math.sqrt(self._squares.max())
        sure: NDArray[np.bool_] = squares < beyond - self._error * np.square(lengths)  # False of NaN.
        return sure

    def _in_float64(self, query: Floats, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The k nearest of one query (1, d), by all distances."""
        size = max(1, _WIDE // self.vectors.shape[1])
        parts = [np.arange(at, min(at + size, len(self)))[np.newaxis] for at in range(0, len(self), size)]
        distances = np.concatenate([self._distances(query, part)[0] for part in parts])
        numbers = np.argsort(distances, kind="stable")[:k]
        return numbers, distances[numbers]

    def _refined(self, queries: Floats, candidates: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        candidates = np.sort(candidates, axis=1)  # So that equal distances keep the index's order.
        distances = self._distances(queries, candidates)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)

    def _distances(self, queries: Floats, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """In float64: query i to each vector of numbers[i]."""
        found = np.empty(numbers.shape, np.float64)
        rows = max(1, _WIDE // max(1, numbers.shape[1] * self.vectors.shape[1]))
        for start in range(0, len(queries), rows):
            here = slice(start, start + rows)
            points = self.vectors[numbers[here]]
            if self.metric == "cosine":
                # 1 - cos is half the square of what is between unit vectors: exactly 0 of equal ones, and either way the same.
                ours, others = _unit(queries[here])[:, np.newaxis], _unit(points)
                halves = np.square(others - ours).sum(axis=2) / 2
                # A vector of zeros is no unit vector.
                found[here] = np.where(ours.any(axis=2) & others.any(axis=2), halves, 1)
            else:
                apart = points.astype(np.float64, order="C") - queries[here, np.newaxis]
                found[here] = np.sqrt(np.square(apart).sum(axis=2))
        return found

    def _hnsw(self, seed: int) -> Any:
        if self._graph is None:
            try:
                import hnswlib
            except ImportError:
                raise MissingPackage("hnswlib", "approximate search needs", extra="search") from None
            self._graph = hnswlib.Index(space="l2", dim=self.vectors.shape[1])
            self._graph.init_index(max_elements=len(self), ef_construction=200, M=16, random_seed=seed + 100)
            self._graph.add_items(self._prepared, np.arange(len(self)))
        return self._graph


def encoder_digest(model: Model) -> str:
    """The same for two models whose encoders hold the same numbers, whatever file they are from; another for all others."""
    _arrays.instance(model, Model, "model")
    return weights_digest(model, "encoder.")


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64, order="C")  # In which equal vectors have equal sums, however many there are.
    norms = np.sqrt(np.square(wide).sum(axis=-1, keepdims=True))
    unit: NDArray[np.float64] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return unit
