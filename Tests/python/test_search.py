"""deepinfomax.search: exact search against brute force in float64, the stored index, near-duplicates, hnswlib."""

import importlib.util
import os
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from deepinfomax import evaluation
from deepinfomax.data import MissingPackage
from deepinfomax.judges import fitted
from deepinfomax.neighbours import neighbours, vote
from deepinfomax.search import Index

METRICS = ("l2", "cosine")


def vectors(n, d=64, seed=0):
    return np.random.default_rng(seed).normal(3, 1, (n, d)).astype(np.float32)


def brute(y, queries, metric):
    """All distances, (m, n), in float64."""
    y, queries = y.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (queries, y)]
        return np.maximum(1 - unit[0] @ unit[1].T, 0)
    return np.stack([np.sqrt(np.square(y - query).sum(axis=1)) for query in queries])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n, k", [(1, 1), (5, 10), (300, 7), (33_000, 20)])
def test_search_is_exact(metric, n, k):
    y, queries = vectors(n, 16), vectors(260 if n < 1000 else 20, 16, seed=1)
    found = Index(y, metric=metric).search(queries, k)
    distances = brute(y, queries, metric)
    np.testing.assert_array_equal(found.numbers, np.argsort(distances, axis=1, kind="stable")[:, :k])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :k], rtol=1e-9, atol=1e-12)
    assert found.recall == 1


def test_vectors_far_from_the_origin_lose_no_precision():
    """Squares of 1e6 leave float32 nothing of differences of 1e-2, but for the mean's subtraction and float64."""
    y = (np.random.default_rng(0).normal(0, 1, (2000, 8)) + 1000).astype(np.float32)
    queries = y[:50] + np.float32(0.01)
    np.testing.assert_array_equal(Index(y).search(queries, 5).numbers, np.argsort(brute(y, queries, "l2"), axis=1)[:, :5])


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("apart", [1e-4, 1e-6, 0])
@pytest.mark.parametrize("of_each", [100, 1000])
def test_many_nearly_equal_vectors(metric, apart, of_each):
    """Frames of a film: their distances are less than float32's rounding, which chose the candidates."""
    y = np.repeat(vectors(4) * 3, of_each, axis=0) + np.float32(apart) * vectors(4 * of_each, seed=1)
    found = Index(y, metric=metric).search(y[:: of_each // 3], 5)
    distances = brute(y, y[:: of_each // 3], metric)
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :5], rtol=1e-6, atol=1e-12)
    if apart == 0 and metric == "l2":
        np.testing.assert_array_equal(found.numbers, np.argsort(distances, axis=1, kind="stable")[:, :5])


@pytest.mark.parametrize("exponent", [-120, -70, 60, 120])
def test_vectors_of_any_scale(exponent):
    """float32's squares of them are 0 or infinite."""
    y, scale = vectors(400, 8), np.float32(2) ** np.float32(exponent)
    index, other = Index(y), Index(y * scale)
    found, scaled = index.search(y[:9] + 1, 5), other.search((y[:9] + 1) * scale, 5)
    np.testing.assert_array_equal(scaled.numbers, found.numbers)
    np.testing.assert_array_equal(scaled.distances, found.distances * float(scale))
    pairs = index.duplicates(1.0).pairs
    assert len(pairs) > 5 and np.array_equal(other.duplicates(float(scale)).pairs, pairs)
    away = np.full((1, 8), min(1e8 * float(scale), 1e38), np.float32)
    far, distances = other.search(away, 3), brute(y * scale, away, "l2")
    np.testing.assert_array_equal(far.numbers, np.argsort(distances, axis=1, kind="stable")[:, :3])


def test_equal_distances_keep_the_order():
    y = np.repeat(vectors(3, 4), 4, axis=0)
    np.testing.assert_array_equal(Index(y).search(y[4:5], 4).numbers, [[4, 5, 6, 7]])


def test_a_thousand_queries_in_a_hundred_thousand_take_seconds():
    y = vectors(100_000)
    index = Index(y)
    start = time.process_time()
    found = index.search(y[:1000], 10)
    assert time.process_time() - start < 60  # Measured: two.
    np.testing.assert_array_equal(found.numbers[:, 0], np.arange(1000))
    assert (found.distances[:, 0] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_stored_index_is_the_same(metric, tmp_path):
    y, names = vectors(50), [f"bild {i}ä" for i in range(50)]
    Index(y, names, metric).save(tmp_path / "a.npz")
    again = Index.open(tmp_path / "a.npz")
    assert again.ids == names and again.metric == metric
    np.testing.assert_array_equal(again.vectors, y)
    np.testing.assert_array_equal(again.search(y, 3).numbers, Index(y, metric=metric).search(y, 3).numbers)


@pytest.mark.parametrize("metric, threshold", [("l2", 0.02), ("cosine", 1e-5)])
def test_near_duplicates(metric, threshold):
    y = vectors(600)
    y[500], y[17], y[599] = y[3], y[400] * np.float32(1.0001), y[0] + np.float32(1)
    found = Index(y, metric=metric).duplicates(threshold)
    np.testing.assert_array_equal(found.pairs, [[3, 500], [17, 400]])
    assert found.distances[0] <= 1e-12 and found.distances[1] <= threshold
    with pytest.raises(ValueError, match="more than 10 pairs"):
        Index(y, metric=metric).duplicates(1000.0, most=10)
    assert len(Index(y, metric=metric).duplicates(0.0 if metric == "l2" else 1e-12).pairs) >= 1


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_vectors_each_has_one_pair(metric):
    """500 equal ones were 124,750 pairs, more than are listed, and no threshold is smaller than 0."""
    y = vectors(600)
    y[50:550] = y[50]
    y[599] = y[50] + np.float32(1e-3)
    y[50:550:2, 0] = y[599, 0] = 0
    y[51:550:2, 0] = -0.0
    found = Index(y, metric=metric).duplicates(0)
    np.testing.assert_array_equal(found.pairs, [[50, other] for other in range(51, 550)])
    assert (found.distances == 0).all()
    found = Index(y, metric=metric).duplicates(0.05 if metric == "l2" else 1e-4)
    np.testing.assert_array_equal(found.pairs, [[50, other] for other in (*range(51, 550), 599)])
    with pytest.raises(ValueError, match="more than 498 pairs .* allow more pairs: most="):
        Index(y, metric=metric).duplicates(0, most=498)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 3, 64, 200])
def test_equal_vectors_are_at_distance_0(metric, d):
    """1 - cos of a vector and itself was up to 6e-16: `duplicates(0)` missed them."""
    y = np.repeat(np.random.default_rng(0).normal(size=(500, d)).astype(np.float32), 2, axis=0)
    if metric == "cosine" and d == 1:
        y = y[:20]  # All of one sign are equal.
    index = Index(np.asfortranarray(y), metric=metric)
    found = index.duplicates(0)
    assert (found.distances == 0).all()
    if d > 1:
        np.testing.assert_array_equal(found.pairs, np.arange(1000).reshape(-1, 2))
    for queries in y, np.asfortranarray(y), y[7:8]:
        assert (index.search(queries, 2).distances == 0).all()
    if d == 64:  # Either way the same, and more than the rounding of 1 - cos leaves where it is small.
        found = index.search(y[::2] + np.float32(1e-4), 1)
        back = Index(y[::2] + np.float32(1e-4), metric=metric).search(y[found.numbers[:, 0]], 1)
        np.testing.assert_array_equal(back.distances, found.distances)
        wide = (y[::2] + np.float32(1e-4)).astype(np.longdouble), y[::2].astype(np.longdouble)
        if metric == "cosine":
            wide = tuple(one / np.sqrt(np.square(one).sum(axis=1, keepdims=True)) for one in wide)
        apart = np.square(wide[0] - wide[1]).sum(axis=1)
        exact = (apart / 2 if metric == "cosine" else np.sqrt(apart)).astype(np.float64)
        np.testing.assert_allclose(found.distances[:, 0], exact, rtol=1e-9)


def test_zeros_are_at_cosine_distance_1():
    y = np.concatenate([np.zeros((2, 8), np.float32), vectors(3, 8), -vectors(1, 8)])
    index = Index(y, metric="cosine")
    np.testing.assert_array_equal(index.search(y[:1], 6).distances, np.ones((1, 6)))
    assert sorted(index.search(y[2:3], 6).distances[0])[-3:-1] == [1, 1] and index.search(y[5:], 6).distances.max() <= 2 + 1e-15
    assert not len(index.duplicates(0).pairs)


@pytest.mark.parametrize("metric", METRICS)
def test_hnswlib_tells_its_recall(metric):
    index = Index(vectors(3000, 16), metric=metric)
    queries = vectors(200, 16, seed=1)
    if importlib.util.find_spec("hnswlib") is None:
        with pytest.raises(MissingPackage, match="hnswlib"):
            index.search_approximately(queries)
        return
    found, exact = index.search_approximately(queries, 10, sample=200), index.search(queries, 10)
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.numbers, exact.numbers, strict=True)])
    assert found.recall == pytest.approx(same, abs=1e-6) and same >= 0.95


def test_more_candidates_until_the_recall_is_there():
    """Of noise in 64 dimensions, where graphs find little at first."""
    pytest.importorskip("hnswlib")
    index, queries = Index(vectors(20_000)), vectors(100, seed=1)
    few = index.search_approximately(queries, 10, ef=26, recall=0)
    assert few.recall < 0.9
    assert index.search_approximately(queries, 10, ef=26).recall >= 0.95
    with pytest.raises(ValueError, match="recall"):
        index.search_approximately(queries, recall=2)


class Islands:
    """hnswlib's graph over many equal vectors: it reaches fewer than are asked for, and says so by RuntimeError."""

    def __init__(self, reached):
        self.reached, self.tried = reached, []

    def set_ef(self, ef):
        self.tried.append(ef)

    def knn_query(self, queries, k):
        if self.tried[-1] < self.reached:
            raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")
        return np.tile(np.arange(k), (len(queries), 1)), None


@pytest.mark.parametrize("reached", [300, 10**9])
def test_a_graph_with_islands(monkeypatch, reached):
    """It was a traceback. More candidates are tried, and in the end all vectors."""
    index, graph = Index(np.zeros((2000, 4))), Islands(reached)
    monkeypatch.setattr(index, "_hnsw", lambda seed: graph)
    found, exact = index.search_approximately(np.zeros((3, 4)), 100), index.search(np.zeros((3, 4)), 100)
    assert np.array_equal(found.distances, exact.distances) and found.recall == 1
    assert graph.tried == ([200, 400] if reached == 300 else [200, 400, 800, 1600, 3200])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((0, 4), np.float32),), "one vector at least"),
        ((np.zeros(4, np.float32),), "expected .n, d."),
        ((np.full((2, 2), np.nan, np.float32),), "finite"),
        ((np.zeros((2, 2), np.float32), ["a"]), "ids"),
        ((np.zeros((2, 2), np.float32), None, "l1"), "metric"),
    ],
)
def test_what_is_wrong_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        Index(*arguments)
    with pytest.raises(TypeError, match="ids: expected texts, one a vector, found str"):
        Index(np.zeros((2, 2), np.float32), "ab")
    with pytest.raises(TypeError, match="made_by: expected a text, found int"):
        Index(np.zeros((2, 2), np.float32), made_by=3)


def test_queries_and_files_that_are_wrong(tmp_path):
    index = Index(vectors(5, 4))
    for queries, k in (np.zeros((1, 5), np.float32), 1), (np.full((1, 4), np.inf, np.float32), 1), (vectors(1, 4), 0):
        with pytest.raises(ValueError, match="expected"):
            index.search(queries, k)
    with pytest.raises(ValueError, match="most: expected 0 or more, found -1"):
        index.duplicates(0, most=-1)
    assert not len(index.duplicates(0, most=0).pairs)
    for wrong in {"recall": 2}, {"ef": 0}, {"sample": -1}, {"seed": -1}:
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            index.search_approximately(vectors(1, 4), **wrong)
    np.savez(tmp_path / "a.npz", encoded=vectors(2))
    (tmp_path / "b.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "c.npz", vectors=np.array([{}], object), ids=["a"], metric="l2", version=1)
    np.savez(tmp_path / "d.npz", vectors=vectors(1), ids=["a"], metric="l2", version=99)
    Index(vectors(50)).save(tmp_path / "whole.npz")
    (tmp_path / "e.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:5000])
    np.savez(tmp_path / "f.npz", vectors=vectors(1), ids=["a"], metric="l2", made_by="", version="1")
    with pytest.raises(ValueError, match="expected an index of version 1, found '1'$"):
        Index.open(tmp_path / "f.npz")
    for name in "abcde":
        with pytest.raises(ValueError, match="index"):
            Index.open(tmp_path / f"{name}.npz")


def test_a_small_file_that_promises_much_is_no_index(tmp_path):
    """By its headers, before anything is unpacked; a pipe is not waited for."""
    Index(vectors(5, 4)).save(tmp_path / "whole.npz")
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb,
        zipfile.ZipFile(tmp_path / "whole.npz") as whole,
    ):
        for name in "ids.npy", "metric.npy", "made_by.npy", "version.npy":
            bomb.writestr(name, whole.read(name))
        with bomb.open("vectors.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 26, 10)})
            for _ in range(2561):
                member.write(bytes(1 << 20))
    with zipfile.ZipFile(tmp_path / "header.npz", "w") as header, zipfile.ZipFile(tmp_path / "whole.npz") as whole:
        for name in whole.namelist():
            content = whole.read(name)
            header.writestr(name, content.replace(b"(5, 4)", b"(5, 9000000000)") if name == "vectors.npy" else content)
    os.mkfifo(tmp_path / "pipe.npz")
    tracemalloc.start()
    for name, message in (("bomb", "unpacks to 2,685,"), ("header", "the header is damaged|cut short"), ("pipe", "not a file")):
        with pytest.raises(ValueError, match=message):
            Index.open(tmp_path / f"{name}.npz")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6


def test_the_length_of_ids():
    """Of a million names one of a million letters took 4 TB."""
    assert len(Index(vectors(1), ["a" * 4096]).ids[0]) == 4096
    with pytest.raises(ValueError, match="^ids: expected at most 4,096 characters each, found 4,097$"):
        Index(vectors(1), ["a" * 4097])


def test_ids_of_bytes_and_numbers_are_texts():
    """h5py gives bytes, which str() would write as their repr."""
    y = vectors(3)
    assert Index(y, [b"a/\xc3\xa9.png", "b", np.int64(3)]).ids == ["a/\u00e9.png", "b", "3"]
    with pytest.raises(TypeError, match="ids: expected texts, found NoneType"):
        Index(y, ["a", None, "c"])
    with pytest.raises(ValueError, match="ends in NUL"):  # numpy's arrays of text drop it: "a" would come back.
        Index(y, ["a\0", "b", "c"])
    for name in "made_by", "made_of":
        with pytest.raises(ValueError, match=f"^{name}: found a name that ends in NUL"):
            Index(y, **{name: "a\0"})


def test_the_caller_s_array_may_change_afterwards():
    """Old candidates had new distances."""
    vectors = np.eye(4, 3, dtype=np.float32)
    index = Index(vectors)
    before = index.search(np.eye(1, 3, dtype=np.float32), 2)
    vectors[:] = 7
    after = index.search(np.eye(1, 3, dtype=np.float32), 2)
    assert np.array_equal(before.numbers, after.numbers) and np.array_equal(before.distances, after.distances)
    assert Index(vectors, made_by=None).made_by == ""


# ---- Votes and neighbours


@pytest.mark.parametrize("offset, scale", [(0, 1), (1e8, 1), (0, 1e200), (0, 1e-250), (-1e300, 1e290), (0, 1e307)])
@pytest.mark.filterwarnings("error")
def test_votes_and_neighbours_of_any_size(offset, scale):
    """Far from the origin all digits were lost, and squares overflowed."""
    y, labels = np.random.default_rng(0).normal(size=(200, 8)) * scale + offset, np.arange(200) % 5
    assert vote(y, labels, y, 1).tolist() == labels.tolist()
    assert evaluation.nearest_neighbours(y, labels, y, labels, 1) == 1
    apart = np.sqrt(np.square((y - y[3]) / scale).sum(axis=1))
    found = neighbours(y[3], y, 5)
    assert (
        found.nearest.tolist() == np.argsort(apart)[:5].tolist() and found.farthest.tolist() == np.argsort(apart)[-5:].tolist()
    )
    np.testing.assert_allclose(found.farthest_distances, np.sort(apart)[-5:] * scale, rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_votes_among_clusters_that_are_far_apart():
    chance = np.random.default_rng(0)
    y = np.concatenate([chance.normal(size=(100, 8)), chance.normal(size=(100, 8)) + 1e8, np.full((1, 8), 1e200)])
    labels = np.arange(len(y))
    assert vote(y, labels, y, 1).tolist() == labels.tolist()
    assert fitted._vote(y, labels, y, 1).tolist() == labels.tolist()
    near = y[:200].astype(np.float32)
    assert fitted._vote(near[:100], labels[:100], near[:100], 1).tolist() == labels[:100].tolist()


@pytest.mark.parametrize("distinct", [1, 10])
def test_votes_among_vectors_that_are_the_same(distinct):
    """They come in the order of y."""
    y = np.random.default_rng(0).normal(size=(distinct, 8))[np.arange(300) % distinct]
    assert vote(y, np.arange(300), y, 1).tolist() == (np.arange(300) % distinct).tolist()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-100, 1e200])
def test_a_probe_of_vectors_of_any_size(scale):
    pytest.importorskip("sklearn")
    labels = np.arange(60) % 2
    y = np.random.default_rng(0).normal(size=(60, 3)) + 8 * labels[:, np.newaxis]
    assert evaluation.linear_probe(y * scale, labels, y * scale, labels) == 1


def test_a_number_that_does_not_vary_in_training():
    """Of float32's 0.3 it did, by the rounding of its mean: in the test data it was a million times as large as all others."""
    random = np.random.default_rng(1)
    labels = np.arange(300) % 3
    train = np.c_[np.eye(3)[labels] + 0.1 * random.standard_normal((300, 3)), np.full(300, 0.3)].astype(np.float32)
    test = train.copy()
    test[:, 3] = 0.31
    assert evaluation.linear_probe(train, labels, test, labels) == 1


def test_an_index_of_more_names_than_vectors(tmp_path):
    """59 kB took 422 MB: each name became a text before they were counted."""
    parts = dict(metric=np.array("l2"), made_by=np.array(""), made_of=np.array(""), version=np.array(1))
    np.savez_compressed(tmp_path / "i.npz", vectors=np.zeros((1, 1), np.float32), ids=np.full(1_000_000, "ab"), **parts)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="i.npz: ids: expected 1, one a vector, found 1000000$"):
            Index.open(tmp_path / "i.npz")
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
