"""`dim index` and `dim search`."""

import importlib.util
import json

import numpy as np
import pytest
from cli_fixtures import dim
from deepinfomax import Model
from deepinfomax.search import Index


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 images, the last of which is the fourth again; their index, of untrained weights."""
    folder = tmp_path_factory.mktemp("search")
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    images[39] = images[3]
    np.savez(folder / "data.npz", images=images)
    np.save(folder / "one.npy", images[7:8])
    Index(np.zeros((2, 7), np.float32)).save(folder / "seven.npz")
    done = dim("index", "--data", "data.npz", "--output", "i.npz", cwd=folder)
    assert done.returncode == 0 and "40 images" in done.stdout, done.stderr
    with Model(2) as model:
        model.save(folder / "w.h5")
    for options in ["--weights", "w.h5", "--output", "trained.npz"], ["--batch-statistics", "--output", "batch.npz"]:
        done = dim("index", "--data", "data.npz", *options, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_numbers_and_files_find_themselves(folder):
    done = dim("search", "5", "one.npy", "--index", "i.npz", "--count", "3", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    index = Index.open(folder / "i.npz")
    expected = index.search(index.vectors[[5, 7]], 3)
    for subject, numbers in zip(report["subjects"], expected.numbers, strict=True):
        assert [one["number"] for one in subject["nearest"]] == numbers.tolist()
    assert report["recall"] == 1 and report["subjects"][1]["nearest"][0]["number"] == 7


def test_weights_of_another_file_with_the_same_encoder_are_the_same(folder):
    """An index knows its encoder, not a file's name."""
    with Model.open(folder / "w.h5") as model:
        model.save(folder / "encoder.safetensors")
    done = dim(
        "search", "one.npy", "--index", "trained.npz", "--weights", "encoder.safetensors", "--count", "1", "--json", cwd=folder
    )
    assert done.returncode == 0 and json.loads(done.stdout)["subjects"][0]["nearest"][0]["number"] == 7, done.stderr


def test_vectors_of_a_file_know_their_weights_where_these_are_given(folder):
    done = dim("encode", "--data", "data.npz", "--weights", "w.h5", "--output", "v.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    index = ["index", "--data", "data.npz", "--vectors", "v.npz", "--output", "v.index.npz"]
    assert dim(*index, cwd=folder).returncode == 0 and Index.open(folder / "v.index.npz").made_by == ""
    assert dim(*index, "--weights", "w.h5", cwd=folder).returncode == 0
    assert Index.open(folder / "v.index.npz").made_by == Index.open(folder / "trained.npz").made_by != ""
    done = dim(
        "index", "--data", "data.npz", "--vectors", "v.npz", "--architecture", "notebook", "--output", "x.npz", cwd=folder
    )
    assert done.returncode == 2 and "not made by seed 0, untrained" in done.stderr and not (folder / "x.npz").exists()


def test_near_duplicates(folder):
    done = dim("search", "--duplicates", "0.0001", "--index", "i.npz", "--json", cwd=folder)
    assert [pair["numbers"] for pair in json.loads(done.stdout)["pairs"]] == [[3, 39]], done.stderr


def test_many_equal_images_are_a_list_that_can_be_had(tmp_path):
    """More than 100,000 pairs were within 0, the advice was a smaller one, and the option was called `threshold`."""
    Index(np.ones((500, 7), np.float32)).save(tmp_path / "i.npz")
    done = dim("search", "--duplicates", "0", "--index", "i.npz", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("499 pairs at most 0 apart"), done.stderr
    for distance, advice in ("0", "; allow more with --most"), ("2", "; give a smaller distance, or allow more with --most"):
        done = dim("search", "--duplicates", distance, "--most", "400", "--index", "i.npz", cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert f"--duplicates: more than 400 pairs are at most {distance} apart{advice}" in done.stderr, done.stderr


def test_contact_sheets(folder):
    done = dim("search", "3", "--index", "i.npz", "--data", "data.npz", "--picture", "s.png", "--html", "s.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "s.html").read_text()
    assert page.count("<figure>") == 11 and page.count("data:image/png") == 11
    assert (folder / "s.png").read_bytes().startswith(b"\x89PNG")


def test_contact_sheets_of_near_duplicates(folder):
    done = dim(
        "search",
        "--duplicates",
        "0.0001",
        "--index",
        "i.npz",
        "--data",
        "data.npz",
        "--picture",
        "d.png",
        "--html",
        "d.html",
        cwd=folder,
    )
    assert done.returncode == 0 and "1 pair " in done.stdout, done.stderr
    page = (folder / "d.html").read_text()
    assert page.count("<figure>") == 2 and "39\n0<" in page
    assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")
    done = dim("search", "--duplicates", "0.0001", "--index", "i.npz", "--html", "e.html", cwd=folder)
    assert done.returncode == 2 and "--data" in done.stderr
    sheet = ("--data", "data.npz", "--html", "f.html")
    done = dim("search", "--duplicates", "1e300", "--index", "i.npz", *sheet, cwd=folder)
    assert done.returncode == 0 and "the sheets show 200 of 742 pairs, the nearest" in done.stderr, done.stderr
    assert (folder / "f.html").read_text().count("<figure>") == 400 and "Warning" not in done.stderr
    Index(np.eye(40, 64, dtype=np.float32)).save(folder / "far.npz")
    done = dim("search", "--duplicates", "0.1", "--index", "far.npz", *sheet[:3], "g.html", cwd=folder)
    assert done.returncode == 0 and "no pairs, so there is no sheet" in done.stderr and not (folder / "g.html").exists()


def test_what_was_computed_is_not_lost(folder, tmp_path):
    """Pairs took minutes; then a damaged image, data that was not there, or one file of two took them along."""
    image_module = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    for number in range(
        100
    ):  # The second and the third are the same; the second is not among those that the index knows again.
        image_module.new("RGB", (32, 32), (2 * max(number, 2), 0, 0)).save(tmp_path / "photos" / f"{number:02}.png")
    image_module.new("RGB", (32, 32), (0, 0, 200)).save(tmp_path / "photos" / "00.png")
    done = dim("index", "--data", "photos", "--output", "i.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = (tmp_path / "photos" / "01.png").read_bytes()
    (tmp_path / "photos" / "01.png").write_bytes(whole[: len(whole) // 2])
    pairs = ("search", "--duplicates", "1e-6", "--index", "i.npz")
    done = dim(*pairs, "--data", "photos", "--html", "d.html", cwd=tmp_path)
    assert done.returncode == 2 and "1 pair " in done.stdout and "image 1 is damaged" in done.stderr, done
    (tmp_path / "photos" / "01.png").write_bytes(whole)
    (tmp_path / "full.png").symlink_to("/dev/full")
    for query in pairs, ("search", "1", "--index", "i.npz"):
        done = dim(*query, "--data", "photos", "--html", "d.html", "--picture", "full.png", cwd=tmp_path)
        assert done.returncode == 2 and "No space left" in done.stderr and (tmp_path / "d.html").exists(), done
        (tmp_path / "d.html").unlink()
    # What is wrong with the data is said before the pairs are sought, of which there would be too many.
    done = dim(*pairs[:2], "1e3", *pairs[3:], "--most", "1", "--html", "d.html", "--data", "nowhere", cwd=tmp_path)
    assert done.returncode == 2 and "nowhere" in done.stderr and "pairs" not in done.stderr


def test_hnswlib_is_used_and_its_recall_is_reported(folder):
    done = dim("search", "5", "17", "--index", "i.npz", "--approximate", cwd=folder)
    if importlib.util.find_spec("hnswlib") is None:
        assert done.returncode == 2 and "deepinfomax[search]" in done.stderr
    else:
        assert "approximate, by hnswlib: 100.0% of the nearest found" in done.stdout, done.stderr


def test_an_index_that_does_not_say_whose_vectors_it_has(folder):
    """Distances between two encoders' vectors came without a word."""
    for words in (
        ["encode", "--data", "data.npz", "--weights", "w.h5", "--output", "v.npz"],
        ["index", "--data", "data.npz", "--vectors", "v.npz", "--output", "unsaid.npz"],
    ):
        assert dim(*words, cwd=folder).returncode == 0
    done = dim("search", "one.npy", "--index", "unsaid.npz", "--weights", "w.h5", cwd=folder)
    assert done.returncode == 0 and "does not say which weights made its vectors: taken to be those of w.h5" in done.stderr
    done = dim("search", "--duplicates", "1e300", "--index", "unsaid.npz", cwd=folder)
    assert done.returncode == 0 and done.stdout.startswith("742 pairs"), (done.stdout[:200], done.stderr)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--index", "i.npz"], "IMAGE"),
        (["99", "--index", "i.npz"], "0 to 39"),
        (["nothing.png", "--index", "i.npz"], "nothing.png: no such file, and no number of an image in the index"),
        (["9" * 5000, "--index", "i.npz"], "0 to 39"),
        (["1", "--index", "data.npz"], "index"),
        (["1", "--index", "i.npz", "--html", "a.html"], "--data"),
        (["one.npy", "--index", "seven.npz"], "which weights made its vectors"),
        (["one.npy", "--index", "seven.npz", "--weights", "w.h5"], "give 7 numbers, found 64"),
        (["one.npy", "--index", "i.npz", "--seed", "1"], "give the weights that made them (found: seed 1"),
        (["one.npy", "--index", "trained.npz"], "another encoder"),
        (["one.npy", "--index", "batch.npz"], "in training mode"),
        (["1", "--index", "i.npz", "--html", "a.txt"], "--html"),
        (["data.npz", "--index", "i.npz"], "data.npz: holds 40 images; expected an image file, or the number of an image"),
    ],
)
def test_what_is_wrong_is_said(folder, arguments, message):
    done = dim("search", *arguments, cwd=folder)
    assert done.returncode == 2 and message in done.stderr, done


def test_sheets_are_of_the_images_that_were_indexed(folder):
    """Images of arrays have numbers for names, the same for any data."""
    images = np.load(folder / "data.npz")["images"]
    np.savez(folder / "other.npz", images=images[::-1])
    sheet = ["search", "5", "--index", "trained.npz", "--html", "sheet.html"]
    for data, weights in ("other.npz", "w.h5"), ("data.npz", "wrong.h5"):
        if weights == "wrong.h5":
            with Model(3) as model:
                model.save(folder / weights)
        done = dim(*sheet, "--data", data, "--weights", weights, cwd=folder)
        assert done.returncode == 2 and "trained.npz" in done.stderr and not (folder / "sheet.html").exists(), done.stderr
    for command in ["search", "5"], ["search", "--duplicates", "100"]:
        command += ["--index", "i.npz", "--html", "sheet.html"]
        done = dim(*command, "--data", "other.npz", cwd=folder)
        assert done.returncode == 2 and "i.npz has the vectors of other images than other.npz" in done.stderr, done.stderr
        assert not (folder / "sheet.html").exists()
        assert dim(*command, "--data", "data.npz", cwd=folder).returncode == 0
        (folder / "sheet.html").unlink()
    done = dim(*sheet, "--data", "data.npz", "--weights", "w.h5", cwd=folder)
    assert done.returncode == 0 and (folder / "sheet.html").exists(), done.stderr
    done = dim(
        "search", "5", "--index", "batch.npz", "--data", "data.npz", "--weights", "w.h5", "--html", "batch.html", cwd=folder
    )
    assert done.returncode == 0, done.stderr
