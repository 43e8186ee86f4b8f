"""`dim neighbours` and `dim map`, end to end on a few images; and the pictures they draw."""

import csv
import json
import struct
import zlib

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim, write_images
from data_fixtures import random_images
from deepinfomax import maps
from deepinfomax.neighbours import neighbours, vote

N = 14


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npz", N, labels=True)


@pytest.fixture(scope="module")
def y():
    return deepinfomax.Model(0).encode(random_images(N), features=False)


def read_png(path):
    """(height, width, 3): a reader of what `pictures.png` writes."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, parts = 8, {}
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(kind + body),)
        parts[kind] = body
        at += 12 + length
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    return np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)[:, 1:].reshape(
        height, width, 3
    )


# ---- neighbours


def test_the_originals_picture(data, y, tmp_path):
    done = dim("neighbours", 5, "--data", data, "--scale", 1, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (subject,) = json.loads(done.stdout)["subjects"]
    order = np.argsort(np.linalg.norm(y - y[5], axis=1), kind="stable").tolist()
    assert [one["number"] for one in subject["nearest"]] == order[:10]
    assert [one["number"] for one in subject["farthest"]] == order[-10:]
    assert subject["nearest"][0] == {"image": "5", "number": 5, "distance": 0.0, "class": "2"}
    picture = read_png(tmp_path / "neighbours.png")
    assert picture.shape == (96, 320, 3)
    image = random_images(N)[5]
    assert np.array_equal(picture[:32, 288:], image) and np.array_equal(picture[32:64, :32], image)


@pytest.mark.parametrize("name", ["y.npy", "y.npz", "y.csv", "y.h5"])
def test_a_grid_from_vectors(data, tmp_path, name):
    if name == "y.h5":
        pytest.importorskip("h5py")
    assert dim("encode", "--data", data, "--output", tmp_path / name).returncode == 0
    done = dim("neighbours", "--data", data, "--vectors", name, "--grid", 3, "--count", 2, "--others", "--seed", 4,
               "--output", "grid.png", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nearest") == 3 and "(0)" not in done.stdout
    assert read_png(tmp_path / "grid.png").shape == (2 * 192 + 8, 2 * 128 + 8, 3)


def test_an_image_of_ones_own(data, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "own.png")
    done = dim("neighbours", "own.png", 1, "--data", data, "--batch-statistics", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    own, other = json.loads(done.stdout)["subjects"]
    assert own["number"] is None and len(own["nearest"]) == 10 and other["number"] == 1


# ---- map


def test_map(data, y, tmp_path):
    done = dim("map", "--data", data, "--labelled", "--size", 200, "--coordinates", "map.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the variance" in done.stdout and "frames:" in done.stdout
    assert max(read_png(tmp_path / "map.png").shape) == 200
    rows = list(csv.DictReader(open(tmp_path / "map.csv")))
    assert [row["class"] for row in rows] == [str(i % 3) for i in range(N)]
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.allclose(places, maps.pca(y).places, rtol=1e-4, atol=1e-6)


def test_map_by_tsne(data, tmp_path):
    pytest.importorskip("sklearn")
    arguments = ("map", "--data", data, "--method", "tsne", "--seed", 3, "--images", 12, "--json")
    done, again = dim(*arguments, cwd=tmp_path), dim(*arguments, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert len(report["images"]) == 12 and report["method"] == "t-sne"
    assert done.stdout == again.stdout


# ---- What cannot be done


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["neighbours", "99"], "has images 0 to 13"),
        (["neighbours", "nothing.png"], "no such file"),
        (["neighbours", "1", "--grid", "2"], "--grid draws images"),
        (["neighbours", "--output", "nothing/a.png"], "there is no folder nothing"),
        (["neighbours", "--vectors", "images.npz"], "images.npz: not a file by `dim encode`"),
        (["neighbours", "--vectors", "nothing.h5"], "nothing.h5: No such file"),
        (["neighbours", "--vectors", "notes.txt"], "whose name ends in .npy"),
        (["map", "--vectors", "notes.csv"], "notes.csv: not a file by `dim encode`"),
        (["map", "--vectors", "notes.h5"], "notes.h5: not a file by `dim encode`"),
        (["map", "--vectors", "few.npy"], "few.npy: holds 3 vectors; the data has 14 images"),
        (["map", "--vectors", "narrow.npy"], "expected floats of shape (n,64), found float32 (14, 8)"),
        (["map", "--vectors", "nan.npy"], "nan.npy: holds values that are NaN"),
        (["neighbours", "--weights", "images.npz"], "not an HDF5 file"),
        (["map", "--limit", "1"], "two images at least"),
        (["map", "--size", "50"], "four thumbnails"),
        (["map", "--output", "a.jpg"], "--output: expected a name that ends in png, found a.jpg"),
        (["neighbours", "--output", "a"], "--output: expected a name that ends in png, found a"),
        (["map", "--output", "folder.png"], "is a folder"),
    ],
)
def test_usage(data, arguments, message):
    (data.parent / "folder.png").mkdir(exist_ok=True)
    for name in ("notes.txt", "notes.csv", "notes.h5"):
        (data.parent / name).write_text("notes")
    for name, array in (("few", np.zeros((3, 64))), ("narrow", np.zeros((N, 8))), ("nan", np.full((N, 64), np.nan))):
        np.save(data.parent / f"{name}.npy", array.astype(np.float32))
    done = dim(*arguments, "--data", data.name, cwd=data.parent)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


# ---- Parts


def test_vote_is_that_of_the_nearest():
    y = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    labels = np.array([0, 1, 1, 2, 2])
    assert vote(y, labels, np.array([[0.1], [10.4], [1.9]]), k=3).tolist() == [1, 2, 1]
    assert vote(y, labels, np.array([[0.1]]), k=2).tolist() == [0], "a tie goes to the nearer"
    assert vote(y, labels, np.array([[0.1]]), k=50).tolist() in ([1], [2])


def test_neighbours_of_few():
    found = neighbours(np.zeros(2), np.array([[3.0, 4.0], [0.0, 1.0]]))
    assert found.nearest.tolist() == [1, 0] and found.farthest_distances.tolist() == [1, 5]


def test_pca_of_what_does_not_vary():
    assert np.allclose(maps.pca(np.ones((4, 64))).places, 0)
    line = maps.pca(np.arange(5.0)[:, np.newaxis] * np.ones(64))
    assert line.explained is not None and line.explained[0] == pytest.approx(1) and line.places[4, 0] > 0
