"""`dim neighbours` and `dim map`, end to end on a few images; and the pictures they draw."""

import csv
import importlib.util
import json
import os
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim, write_images
from data_fixtures import random_images
from deepinfomax.evaluation import confusion
from deepinfomax.neighbours import neighbours, vote
from deepinfomax.plots import lettering, maps, pictures

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
    return (
        np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)
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
    done = dim(
        "neighbours",
        "--data",
        data,
        "--vectors",
        name,
        "--grid",
        3,
        "--count",
        2,
        "--others",
        "--seed",
        4,
        "--output",
        "grid.png",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nearest") == 3 and "  0\n" not in done.stdout, "no distance of 0: --others"
    assert read_png(tmp_path / "grid.png").shape == (2 * 192 + 8, 2 * 128 + 8, 3)


def test_an_image_of_ones_own(data, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "own.png")
    done = dim("neighbours", "own.png", 1, "--data", data, "--batch-statistics", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    own, other = json.loads(done.stdout)["subjects"]
    assert own["number"] is None and len(own["nearest"]) == 10 and other["number"] == 1


def test_names_and_distances(data, y, tmp_path):
    done = dim("neighbours", 5, "--data", data, "--count", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    distances = np.linalg.norm(y - y[5], axis=1)
    order = np.argsort(distances, kind="stable")
    expected = [[str(n), str(n % 3), str(n), f"{distances[n]:.3g}"] for n in [*order[:3], *order[-3:]]]
    assert [line[-4:-1] for line in lines] == [line[:3] for line in expected]
    assert np.allclose([float(line[-1]) for line in lines], [float(line[3]) for line in expected], rtol=0.02, atol=1e-3)


def test_captions(data, tmp_path):
    pytest.importorskip("PIL")
    shapes = []
    for more in ([], ["--captions"]):
        done = dim("neighbours", 5, 6, "--data", data, "--count", 3, "--scale", 1, *more, "--output", "a.png", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        shapes.append(read_png(tmp_path / "a.png").shape)
    assert shapes[0] == (96, 2 * 96 + 8, 3) and shapes[1][0] > 150, shapes


def test_a_new_image_against_stored_vectors(data, tmp_path):
    """Image search: the data is not encoded again, the image is."""
    from PIL import Image

    with deepinfomax.Model(5) as model:
        model.save(tmp_path / "w.h5")
    image = random_images(N)[4]
    Image.fromarray(image).save(tmp_path / "own.png")
    assert dim("encode", "--data", data, "--weights", "w.h5", "--output", "y.npy", cwd=tmp_path).returncode == 0
    search = ("neighbours", "own.png", "--data", data, "--vectors", "y.npy", "--json", "--count", 2)
    done = dim(*search, "--weights", "w.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    nearest = json.loads(done.stdout)["subjects"][0]["nearest"]
    assert nearest[0]["number"] == 4 and nearest[0]["distance"] < 1e-3 < nearest[1]["distance"]
    done = dim(*search, cwd=tmp_path)
    assert done.returncode == 2 and "y.npy: not made by seed 0, untrained, which would encode own.png" in done.stderr
    assert "give the --weights that made them" in done.stderr


# ---- map


def test_a_map_has_its_legend(data, tmp_path):
    pytest.importorskip("PIL")
    done = dim("map", "--data", data, "--labelled", "--size", 200, "--thumbnail", 20, "--axes", "equal", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    picture = read_png(tmp_path / "map.png")
    assert dim("map", "--data", data, "--size", 204, "--axes", "equal", "--output", "b.png", cwd=tmp_path).returncode == 0
    legend = picture[-40:].reshape(-1, 3).tolist()
    assert all(legend.count(pictures.COLOURS[n].tolist()) >= 100 for n in range(3)), "squares of three colours"
    assert [0, 0, 0] in legend, "letters"


def test_a_size_beyond_memory_is_refused_first(data, tmp_path):
    for arguments, size in (
        (["map", "--size", 100000], "100,000 x 100,000"),
        (["neighbours", 1, "--scale", 1000], "pixels is too large"),
        (["neighbours", 1, "--gap", 100000], "pixels is too large"),
    ):
        done = dim(*arguments, "--data", data, cwd=tmp_path)
        assert done.returncode == 2 and size in done.stderr, done.stderr
        assert done.stdout == "" and os.listdir(tmp_path) == []


def test_a_large_picture_is_written_in_blocks():
    picture = np.zeros((3000, 4000, 3), np.uint8)
    tracemalloc.start()
    try:
        pictures.png(picture)
        assert tracemalloc.get_traced_memory()[1] < 1.6 * picture.nbytes
    finally:
        tracemalloc.stop()


def test_colours_differ():
    for count in (1, 10, 11, 100, 1000):
        colours = pictures.colours(count)
        assert len(np.unique(colours, axis=0)) == len(colours) == count
        assert np.array_equal(colours[:10], pictures.COLOURS[:count])
    near = pictures.colours(30).astype(int)
    apart = np.abs(near[:, np.newaxis] - near).sum(axis=2) + 1000 * np.eye(30, dtype=int)
    assert apart.min() >= 20, "thirty can be told apart"


def test_a_map_of_more_than_ten_classes(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (24, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(24) % 12)
    done = dim("map", "--data", "a.npz", "--labelled", "--size", 300, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    classes = json.loads(done.stdout)["classes"]
    assert list(classes) == [str(n) for n in range(12)] and len(set(classes.values())) == 12


def test_a_strip_is_stretched():
    places = np.stack([np.linspace(0, 100, 20), np.sin(np.arange(20.0))], axis=1)
    fitted, factors = maps.fitted(places)
    extent = np.ptp(fitted, axis=0)
    assert extent[0] == 100 and extent[1] == pytest.approx(50) and factors[0] == 1 and factors[1] > 20
    assert np.array_equal(maps.fitted(places, "equal")[0], places)
    assert np.allclose(maps.fitted(places, "whiten")[0].std(axis=0), 1)
    flat = np.zeros((3, 2))
    assert all(np.array_equal(maps.fitted(flat, axes)[0], flat) for axes in maps.AXES)


def test_axes(data, tmp_path):
    """What is drawn is stretched, and said; coordinates are as they were."""
    x, y = np.linspace(0, 100, N), np.resize([0, 1], N // 2)
    np.save(tmp_path / "strip.npy", np.stack([x, np.concatenate([y, y[::-1]])], axis=1).astype(np.float32))
    how = ("map", "--data", data, "--vectors", "strip.npy", "--size", 400, "--thumbnail", 20, "--coordinates", "c.csv")
    told, shapes, coordinates = {}, {}, set()
    for axes in [], ["--axes", "equal"], ["--axes", "whiten"]:
        done = dim(*how, *axes, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told[axes[-1] if axes else ""] = done.stdout
        shapes[axes[-1] if axes else ""] = read_png(tmp_path / "map.png").shape
        coordinates.add((tmp_path / "c.csv").read_text())
    assert "the y axis is stretched 50 times; --axes equal leaves it as it is" in told[""], told
    assert "stretched" not in told["equal"] and "stretched" in told["whiten"]
    assert shapes[""][0] > 0.5 * shapes[""][1] and shapes["whiten"][0] > 0.5 * shapes["whiten"][1], shapes
    assert shapes["equal"][0] < 0.1 * shapes["equal"][1], shapes
    (text,) = coordinates
    places = np.array([[float(row["x"]), float(row["y"])] for row in csv.DictReader(text.splitlines())])
    assert np.allclose(np.ptp(places, axis=0), [100, 1], rtol=1e-4)


def test_letters_that_no_font_has(monkeypatch):
    """Written as their numbers, not as empty boxes."""
    pytest.importorskip("PIL")
    monkeypatch.setattr(lettering, "FOLDERS", ("/nowhere",))
    lettering.face.cache_clear()
    assert lettering.face("cat") == (None, "cat")
    if importlib.util.find_spec("matplotlib"):  # Which brings a font that has more letters than Pillow's own.
        assert lettering.face("\u00fc \u03b1")[1] == "\u00fc \u03b1"
    assert lettering.face("\u732b")[1] == "\\u732b"
    assert lettering.text("cat").shape[1] < lettering.text("a cat").shape[1] and lettering.text("cat").min() < 50
    lettering.face.cache_clear()


def test_charts_of_any_names():
    """Neither formulas nor boxes, and no warning of a missing glyph."""
    pytest.importorskip("matplotlib")
    from deepinfomax.plots import charts, curves

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts.confusion(
            [("$a", np.eye(3, dtype=np.int64)), ("b", np.eye(3, dtype=np.int64))], ["$a$b\\frac", "\u732b", "caf\udce9"]
        )
        charts.confusion([("many", np.eye(300, dtype=np.int64))], [str(n) for n in range(300)])
        charts.confusion([("\u732b\n$a", np.eye(2, dtype=np.int64))], ["a", "b"])
        curves.draw([], "$a$b \u732b caf\udce9")


@pytest.mark.parametrize("rows", [("weights",), ("weights", "pixels", "untrained")])
def test_the_picture_of_an_evaluation(rows, monkeypatch):
    """Paths of weights have letters of any kind, and the legend is below the axis' words, however few rows there are."""
    pytest.importorskip("matplotlib")
    from deepinfomax.judges import Comparison, Figure, drawing

    monkeypatch.setattr(lettering, "FOLDERS", ("/nowhere",))
    lettering.face.cache_clear()
    counts = np.eye(2, dtype=np.int64)
    figures = [Figure(row, "Y", 64, judge, 20, [0.9], confusion=counts) for row in rows for judge in ("logistic", "knn")]
    names = {"weights": "\u732b$w/w.h5", "pixels": "pixels", "untrained": "untrained"}
    shown = Comparison(figures, []), names, {"logistic": "logistic regression", "knn": "5-NN"}, ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawing.picture(*shown).startswith(b"\x89PNG")
        drawn = drawing.canvas(*shown)
        drawn.draw_without_rendering()
    lettering.face.cache_clear()
    bars, matrix = drawn.axes
    assert bars.get_yticklabels()[0].get_text() == "\\u732b$w/w.h5 Y"
    assert matrix.get_title() == "\\u732b$w/w.h5 Y, logistic regression"
    assert bars.get_legend().get_window_extent().y1 < bars.xaxis.label.get_window_extent().y0


def test_map(data, y, tmp_path):
    done = dim("map", "--data", data, "--labelled", "--size", 200, "--coordinates", "map.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the variance" in done.stdout and "frames:" in done.stdout
    assert 200 in read_png(tmp_path / "map.png").shape
    rows = list(csv.DictReader(open(tmp_path / "map.csv")))
    assert [row["class"] for row in rows] == [str(i % 3) for i in range(N)]
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.allclose(places, maps.pca(y).places, rtol=1e-4, atol=1e-6)


def test_coordinates_are_csv(data, tmp_path):
    done = dim("map", "--data", data, "--size", 200, "--coordinates", "map.json", cwd=tmp_path)
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "--coordinates: writes CSV; expected a name that ends in csv, found map.json" in done.stderr


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
        (["neighbours", "images.npz"], "images.npz: holds 14 images; expected an image file"),
        (["map", "--vectors", "fc.npz"], "fc.npz: holds fc, but not the vectors; expected a file with the output encoded"),
        (["neighbours", "1", "--grid", "2"], "--grid selects images"),
        (["neighbours", "--output", "nothing/a.png"], "there is no folder nothing"),
        (["neighbours", "--vectors", "images.npz"], "images.npz: not a file by `dim encode`"),
        (["neighbours", "--vectors", "nothing.h5"], "nothing.h5: No such file"),
        (["neighbours", "--vectors", "notes.txt"], "whose name ends in .npy"),
        (["map", "--vectors", "notes.csv"], "notes.csv: not a file by `dim encode`"),
        (["map", "--vectors", "notes.h5"], "notes.h5: not a file by `dim encode`"),
        (["map", "--vectors", "few.npy"], "few.npy: holds 3 vectors; the data has 14 images"),
        (
            ["map", "--vectors", "narrow.npy", "--architecture", "notebook"],
            "expected floats of shape (n,64), found float32 (14, 8)",
        ),
        (["map", "--vectors", "nan.npy"], "nan.npy: holds values that are NaN"),
        (["map", "--vectors", "large.npy"], "large.npy: holds values that are NaN, infinite or beyond float32's range"),
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
    np.savez(data.parent / "fc.npz", fc=np.zeros((N, 8), np.float32), ids=np.array(["a"] * N))
    for name in ("notes.txt", "notes.csv", "notes.h5"):
        (data.parent / name).write_text("notes")
    for name, array in (("few", np.zeros((3, 64))), ("narrow", np.zeros((N, 8))), ("nan", np.full((N, 64), np.nan))):
        np.save(data.parent / f"{name}.npy", array.astype(np.float32))
    np.save(data.parent / "large.npy", np.full((N, 64), 1e300))
    done = dim(*arguments, "--data", data.name, cwd=data.parent)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


# ---- Parts


def test_vote_is_that_of_the_nearest():
    y = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    labels = np.array([0, 1, 1, 2, 2])
    assert vote(y, labels, np.array([[0.1], [10.4], [1.9]]), k=3).tolist() == [1, 2, 1]
    assert vote(y, labels, np.array([[0.1]]), k=2).tolist() == [0], "a tie goes to the nearer"
    assert vote(y, labels, np.array([[0.1]]), k=50).tolist() in ([1], [2])


def test_vote_and_confusion_take_what_belongs_together():
    y, labels = np.eye(4), np.arange(4)
    for wrong, message in (
        (lambda: vote(y, labels[:3], y), "labels: expected"),
        (lambda: vote(y, np.arange(5), y), "labels: expected"),
        (lambda: vote(y, labels, y[:, :3]), r"queries: expected shape \(m,4\), found \(4,3\)"),
        (lambda: vote(y * np.nan, labels, y), "y: expected finite numbers"),
        (lambda: confusion(labels[:1], labels[:2], 4), "predicted: expected 1, one for each label, found 2"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


@pytest.mark.parametrize("value", [0, 1, 1e30])
def test_tsne_of_equal_vectors(value):
    """scikit-learn's ended the process."""
    pytest.importorskip("sklearn")
    y = np.full((7, 3), value, np.float32)
    assert np.array_equal(maps.tsne(y).places, np.zeros((7, 2)))
    with pytest.raises(ValueError, match="y: expected finite numbers"):
        maps.tsne(y + [[np.nan, 0, 0]])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tsne_of_vectors_of_any_scale(scale):
    pytest.importorskip("sklearn")
    y = np.random.default_rng(0).normal(size=(12, 3)) + 5 * (np.arange(12) % 2)[:, np.newaxis]
    places = maps.tsne((y * scale).astype(np.float32)).places
    assert np.isfinite(places).all() and np.ptp(places, axis=0).min() > 0


def test_neighbours_of_few():
    found = neighbours(np.zeros(2), np.array([[3.0, 4.0], [0.0, 1.0]]))
    assert found.nearest.tolist() == [1, 0] and found.farthest_distances.tolist() == [1, 5]
    for count in (0, -1):
        with pytest.raises(ValueError, match=f"count: expected 1 or more, found {count}"):
            neighbours(np.zeros(2), np.zeros((3, 2)), count)


def test_pca_of_what_does_not_vary():
    assert np.allclose(maps.pca(np.ones((4, 64))).places, 0)
    line = maps.pca(np.arange(5.0)[:, np.newaxis] * np.ones(64))
    assert line.explained is not None and line.explained[0] == pytest.approx(1) and line.places[4, 0] > 0


# ---- Vectors from others


def test_vectors_that_promise_much(data, tmp_path):
    """A small file of many vectors is refused by its header; a pipe is not waited for."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("encoded.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 64)})
            for _ in range(256):
                member.write(bytes(1 << 20))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "long.csv").write_text("id,y0\n" + "1" * 200000 + "\n")
    for name, message in (
        ("bomb.npz", "holds 1,048,576 vectors; the data has 14 images"),
        ("pipe.npy", "pipe.npy: not a file"),
        ("long.csv", "not a file by `dim encode`"),
    ):
        done = dim("neighbours", 1, "--data", data, "--vectors", name, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_what_a_report_is_of(data, tmp_path):
    """JSON called the file of vectors the weights."""
    weights = ("--architecture", "basic32", "--seed", 3)
    assert dim("encode", "--data", data, *weights, "--output", "y.npy", cwd=tmp_path).returncode == 0
    for command in ["neighbours", 1], ["map"], ["index", "--output", "i.npz"]:
        done = dim(*command, "--data", data, "--vectors", "y.npy", "--json", cwd=tmp_path)
        report = json.loads(done.stdout)
        assert (report["weights"], report["vectors"]) == (None, "y.npy"), done.stderr
        report = json.loads(dim(*command, "--data", data, *weights, "--json", cwd=tmp_path).stdout)
        assert report["weights"] == "seed 3, untrained" and "vectors" not in report


@pytest.mark.parametrize("name", ["y.npz", "y.csv", "y.h5"])
def test_vectors_of_other_images(data, tmp_path, name):
    """As many images of other names or classes were drawn in the places of those that were encoded."""
    from PIL import Image

    images = random_images(N)
    np.savez(tmp_path / "classes.npz", images=images, labels=np.arange(N) % 2)
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "folder" / f"{number:02}.png")
    assert dim("encode", "--data", data, "--output", name, cwd=tmp_path).returncode == 0
    for command in ["neighbours", 1], ["map"], ["index"]:
        for other, message in (
            ("classes.npz", "vector 2 is of an image of class 2, image 2 of the data is of class 0"),
            ("folder", "vector 0 is of an image of name 0, image 0 of the data is of name 00.png"),
        ):
            done = dim(*command, "--data", other, "--vectors", name, cwd=tmp_path)
            assert done.returncode == 2 and f"{name}: of other images than the data: {message}" in done.stderr, done.stderr
    assert sorted(os.listdir(tmp_path)) == sorted(["classes.npz", "folder", name])
    done = dim("map", "--data", data, "--vectors", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["y.npz", "y.h5"])
def test_vectors_of_other_images_with_the_same_names(data, tmp_path, name):
    """Images of arrays have numbers for names, those of cameras too: other images were drawn in their places."""
    images = random_images(N)
    images[-1] = images[0]
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(N) % 3)
    for folder in "folder", "others":
        (tmp_path / folder).mkdir()
        for number, image in enumerate(random_images(N) if folder == "folder" else images):
            (tmp_path / folder / f"{number:02}.ppm").write_bytes(b"P6 32 32 255\n" + image.tobytes())
    for source, other in (data, "other.npz"), ("folder", "others"):
        assert dim("encode", "--data", source, "--architecture", "basic64", "--output", name, cwd=tmp_path).returncode == 0
        for command in ["neighbours", 1], ["map"], ["index"]:
            done = dim(*command, "--data", other, "--vectors", name, cwd=tmp_path)
            message = f"{name}: of other images than the data, with the same names; name the data that was encoded"
            assert done.returncode == 2 and message in done.stderr, done.stderr
            done = dim(*command, "--data", source, "--vectors", name, cwd=tmp_path)
            assert done.returncode == 0, done.stderr


def test_weights_beside_vectors_are_those_that_made_them(data, tmp_path):
    """Also of arrays, whose images have no names: the last one alone is another."""
    images = random_images(N)
    images[-1] = images[0]
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(N) % 3)
    for seed in 5, 6:
        with deepinfomax.Model(seed) as model:
            model.save(tmp_path / f"{seed}.h5")
    for name in "y.npz", "y.csv":  # CSV has no fingerprint.
        assert dim("encode", "--data", data, "--weights", "5.h5", "--output", name, cwd=tmp_path).returncode == 0
    for command in ["neighbours", 1], ["map"]:
        for source, weights, name in (data, "6.h5", "y.npz"), ("other.npz", "5.h5", "y.csv"):
            done = dim(*command, "--data", source, "--vectors", name, "--weights", weights, cwd=tmp_path)
            assert done.returncode == 2 and f"{name}: not made by {weights}, or not of" in done.stderr, done.stderr
        done = dim(*command, "--data", data, "--vectors", "y.npz", "--weights", "5.h5", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_long_names_take_no_longer():
    """One letter less at a time, each measured, took minutes."""
    name = "a" * 70_000 + "end"
    found = lettering.text(name, 11, 150)
    assert 100 < found.shape[1] <= 150 and np.array_equal(found, lettering.text("b" * 200 + name[-200:], 11, 150))
    assert np.array_equal(lettering.text("short", 11, 150), lettering.text("short", 11))


def test_an_axis_of_rounding_is_not_stretched():
    places, factors = maps.fitted(np.array([[0, 1e-17], [1, 0]]))
    assert factors == (1, 1) and np.ptp(places[:, 1]) < 1e-16
    assert maps.fitted(np.array([[0, 0.1], [1, 0]]))[1] == (1, 5)
