"""A newcomer's path: a folder of pictures of their own, of no size that anything here was made for, to labels by name."""

import csv
import json

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim

pytest.importorskip("PIL")

#: 40 rows of 48 pixels.
IMAGE = (1, 40, 48)
CLASSES = ("chess", "columns", "rows")


def write_pictures(folder, each=16):
    """Grey pictures with stripes and squares at places by chance, a folder a class."""
    from PIL import Image

    chance = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            shift = chance.integers(0, 8)
            pattern = {
                "chess": ((x + shift) // 4 + (y + shift) // 4) % 2,
                "columns": (x + shift) // 4 % 2,
                "rows": (y + shift) // 4 % 2,
            }
            grey = pattern[name] * 160 + chance.normal(40, 10, y.shape)
            Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two epochs, without any option but those that keep it short."""
    folder = tmp_path_factory.mktemp("newcomer")
    write_pictures(folder / "pictures")
    done = dim("train", "--data", "pictures", "--epochs", 2, "--batch", 8, "--output", "run", "--no-plot", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def ran(folder, *arguments):
    done = dim(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_takes_the_data_as_it_is(run):
    folder, done = run
    settings = json.loads((folder / "run" / "settings.json").read_text())
    with deepinfomax.Model.open(folder / "run" / "weights.h5") as model:
        assert model.sizes.image == IMAGE and model.sizes.classes == 3 and model.class_names == list(CLASSES)
        assert model.architecture.as_dict() == settings["architecture"]
    given = {"measure": "nce", "negatives": "all", "prior": "none", "alpha": 0, "beta": 1, "gamma": 0, "lr": 3e-4, "batch": 8}
    assert {name: settings[name] for name in given} == given
    assert settings["architecture"]["local"] == {"score": "dot", "net": "light", "units": 512}
    assert "untrained: linear" in done.stdout and "probe: linear" in done.stdout


def test_vectors_map_and_neighbours(run):
    folder, _ = run
    weights = ("--weights", "run/weights.h5", "--data", "pictures")
    ran(folder, "encode", *weights, "--output", "vectors.npz", "--outputs", "encoded,features,conv,fc")
    with np.load(folder / "vectors.npz") as found:
        shapes = {name: found[name].shape for name in ("encoded", "features", "conv", "fc")}
        labels, names = found["labels"], found["classes"]
    assert shapes == {"encoded": (48, 64), "features": (48, 128, 10, 12), "conv": (48, 256, 5, 6), "fc": (48, 1024)}
    assert labels.tolist() == [0] * 16 + [1] * 16 + [2] * 16 and tuple(names) == CLASSES
    ran(folder, "map", *weights, "--labelled", "--output", "map.png", "--coordinates", "map.csv")
    assert len(list(csv.reader((folder / "map.csv").open()))) == 49
    by_vectors = json.loads(ran(folder, "neighbours", 3, *weights, "--vectors", "vectors.npz", "--json"))
    encoded = json.loads(ran(folder, "neighbours", 3, *weights, "--json"))
    assert by_vectors["subjects"] == encoded["subjects"] and encoded["subjects"][0]["nearest"][0]["image"] == "chess/03.png"
    assert (folder / "map.png").read_bytes()[:4] == (folder / "neighbours.png").read_bytes()[:4] == b"\x89PNG"


def test_a_classifier_gives_names(run):
    folder, _ = run
    report = json.loads(
        ran(
            folder,
            "classify",
            "--weights",
            "run/weights.h5",
            "--data",
            "pictures",
            "--arms",
            "frozen",
            "--lr",
            1e-3,
            "--batch",
            8,
            "--epochs",
            60,
            "--save",
            "classifier.h5",
            "--json",
        )
    )
    assert report["classes"] == list(CLASSES) and len(report["runs"][0]["confusion"]) == 3
    text = ran(
        folder, "classify", "--weights", "classifier.h5", "--epochs", 0, "--predict", "pictures", "--predictions", "found.csv"
    )
    assert "by number" not in text
    rows = list(csv.DictReader((folder / "found.csv").open()))
    assert len(rows) == 48 and {row["label"] for row in rows} <= set(CLASSES)
    right = sum(row["image"].split("/")[0] == row["label"] for row in rows)
    assert right >= 32, f"{right} of 48, of three classes that are easy to tell apart"


def test_info_draws_the_network(run):
    folder, _ = run
    text = ran(folder, "info", "run/weights.h5")
    assert "images 1x40x48" in text and "128x10x12" in text and "3 classes: chess, columns, rows" in text
    drawn = json.loads(ran(folder, "info", "run/weights.h5", "--json"))["files"][0]
    assert drawn["architecture"] == deepinfomax.Architecture(drawn["description"]).summary()


def test_pytorch_and_back(run):
    pytest.importorskip("torch")
    folder, _ = run
    ran(folder, "convert", "run/weights.h5", "weights.pt")
    (folder / "description.json").write_text(json.dumps(json.loads((folder / "run/settings.json").read_text())["architecture"]))
    ran(folder, "convert", "weights.pt", "again.h5", "--architecture", "description.json")
    before, after = (deepinfomax.Model.open(folder / name).state_dict() for name in ("run/weights.h5", "again.h5"))
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


def test_pictures_of_other_sizes(run, tmp_path):
    """A model's commands make them what it takes; training asks for a size."""
    from PIL import Image

    folder, _ = run
    write_pictures(tmp_path / "pictures", each=4)
    Image.new("L", (30, 20)).save(tmp_path / "pictures" / "rows" / "small.png")
    command = ("train", "--data", "pictures", "--epochs", 1, "--batch", 4, "--no-plot", "--output", "run")
    refused = dim(*command, cwd=tmp_path)
    assert refused.returncode == 2 and "images of different sizes" in refused.stderr and "--image-size" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert dim(*command, "--image-size", "24x16", "--resize", "stretch", cwd=tmp_path).returncode == 0
    with deepinfomax.Model.open(tmp_path / "run" / "weights.h5") as model:
        assert model.sizes.image == (1, 16, 24) and model.architecture.as_dict()["image"]["resize"] == "stretch"
    ran(tmp_path, "encode", "--weights", folder / "run" / "weights.h5", "--data", "pictures", "--output", "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (13, 64)
    refused = dim(
        "encode",
        "--weights",
        folder / "run" / "weights.h5",
        "--data",
        "pictures",
        "--output",
        "w.npy",
        "--resize",
        "none",
        cwd=tmp_path,
    )
    assert refused.returncode == 2 and "fit, crop or stretch" in refused.stderr
