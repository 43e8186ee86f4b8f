"""`dim evaluate`, end to end on the digits."""

import json
import shutil

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import SMALL_NETWORK, dim
from data_fixtures import png, random_images

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate") / "small.json"
    path.write_text(json.dumps(SMALL_NETWORK))
    return path


def test_rows_without_weights(small, tmp_path):
    pytest.importorskip("matplotlib")
    done = dim(
        "evaluate",
        "--architecture",
        small,
        "--columns",
        "Y,fc,conv",
        "--seeds",
        "0,1",
        "--json",
        "--train-limit",
        600,
        "--picture",
        "bars.png",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["training_images"], report["test_images"], report["held_out"]) == (600, 179, True)
    assert report["classes"] == list("0123456789") and report["weights"] == [] and report["gains"] == []
    figures = {(one["row"], one["column"], one["judge"]): one for one in report["figures"]}
    assert {one["numbers"] for key, one in figures.items() if key[1] == "fc"} == {32}
    conv = figures["calibrated", "conv", "knn"]
    assert conv["numbers"] == 8 * 8 * 8 and len(conv["accuracies"]) == 2 and conv["deviation"] is not None
    assert conv["accuracy"] == pytest.approx(np.mean(conv["accuracies"])) and np.sum(conv["confusion"]) == 2 * 179
    pixels = figures["pixels", None, "logistic"]
    assert pixels["accuracy"] > 0.85 and pixels["deviation"] is None and pixels["numbers"] == 256
    assert figures["pca", "Y", "logistic"]["numbers"] == 12 and figures["projection", "Y", "knn"]["accuracy"] > 0.5
    left = {(one["row"], one["column"]) for one in report["left_out"]}
    assert left == {("pca", "conv"), ("projection", "conv")}, "512 numbers of 256 pixels"
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_image_of_a_test_set(tmp_path):
    """What is left of a test set was said to be held out of the training images."""
    pytest.importorskip("PIL")
    for part, count in ("train", 20), ("test", 8):
        for name in "ab":
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "data" / part / name / f"{number}.png").write_bytes(png(random_images(1, seed=number)[0]))
    (tmp_path / "data" / "test" / "a" / "0.png").write_bytes(b"damaged")
    how = ("--rows", "pixels", "--judges", "knn", "--architecture", "basic32", "--skip-damaged", "--json")
    done = dim("evaluate", "--data", "data", *how, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["training_images"], report["test_images"], report["held_out"]) == (40, 15, False)


def test_weights_against_the_untrained(small, tmp_path):
    """A table, and what is gained, of files of any architecture."""
    for seed in range(2):
        with deepinfomax.Model(seed, small) as model:
            model.save(tmp_path / f"{seed}.h5")
    few = ("--train-limit", 40, "--limit", 20, "--columns", "Y", "--judges", "knn", "--neighbours", 3)
    done = dim("evaluate", "--weights", "0.h5", "1.h5", *few, "--rows", "weights,untrained", "--seeds", "0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "40 training images of scikit-learn's digits, 20 held out of them" in done.stdout and "3-NN" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if " Y " in line and " 12 " in line]
    assert rows[0][-3:] == rows[1][-3:] and "±" in rows[0] and rows[0][0] == "0.h5", "the same weights"
    assert "0.h5 and 1 more" in done.stdout
    for twice in "0.h5", "copy.h5":  # The same weights twice had a deviation of 0.
        shutil.copy(tmp_path / "0.h5", tmp_path / "copy.h5")
        refused = dim("evaluate", "--weights", "0.h5", "1.h5", twice, *few, cwd=tmp_path)
        assert refused.returncode == 2 and f"the encoders of 0.h5 and {twice} are the same" in refused.stderr, refused.stderr
    refused = dim("evaluate", "--weights", "0.h5", *few, "--neighbours", 41, cwd=tmp_path)
    assert refused.returncode == 2 and "--neighbours: expected at most 40, the images that" in refused.stderr, refused.stderr
    assert "Y, 3-NN: +0.0 points over the better untrained network (untrained, 0 and 1)" in done.stdout
    with deepinfomax.Model(0, "basic28") as model:
        model.save(tmp_path / "other.h5")
    done = dim("evaluate", "--weights", "0.h5", "other.h5", cwd=tmp_path)
    assert done.returncode == 2 and "other.h5: of another architecture than 0.h5" in done.stderr


def test_a_test_set_of_the_datas_own(small, tmp_path):
    """It is used, unless --validation asks for a tenth of the training images."""
    chance = np.random.default_rng(0)
    arrays = {}
    for name, count in ("train", 60), ("test", 20):
        arrays[f"y_{name}"] = np.arange(count) % 2
        arrays[f"x_{name}"] = chance.integers(0, 99, (count, 16, 16, 1)).astype(np.uint8)
        arrays[f"x_{name}"][arrays[f"y_{name}"] == 1, :8] += 100
    np.savez(tmp_path / "own.npz", **arrays)
    found = []
    for more in ([], ["--validation"]):
        done = dim("evaluate", "--architecture", small, "--data", "own.npz", "--rows", "pixels", "--json", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        found.append((report["training_images"], report["test_images"], report["held_out"]))
        assert report["figures"][0]["accuracy"] == 1
    assert found == [(60, 20, False), (54, 6, True)]
    arrays["y_test"] = np.repeat([1, 7], 10)  # An accuracy of at most a half, with nothing that said why.
    np.savez(tmp_path / "own.npz", **arrays)
    done = dim("evaluate", "--architecture", small, "--data", "own.npz", "--rows", "pixels", cwd=tmp_path)
    assert done.returncode == 0 and (
        "note: 10 of the 20 test images are of classes that none of the 60 labelled training images has, such as 7: every "
        "judge is wrong about them" in done.stderr
    ), done.stderr


@pytest.mark.parametrize("count, told", [(1, "1 image"), (2, "2 images"), (19, "19 images")])
def test_too_few_images_say_how_many_are_needed(small, tmp_path, count, told):
    np.savez(tmp_path / "few.npz", images=np.zeros((20, 16, 16), np.uint8)[:count], labels=np.arange(count) % 2)
    done = dim("evaluate", "--architecture", small, "--data", "few.npz", "--rows", "pixels", cwd=tmp_path)
    assert done.returncode == 2 and f"few.npz: {told}; 20 at least are needed where every tenth" in done.stderr, done.stderr
    np.savez(tmp_path / "few.npz", images=np.zeros((20, 16, 16), np.uint8), labels=np.arange(20) % 2)
    done = dim("evaluate", "--architecture", small, "--data", "few.npz", "--rows", "pixels", "--train-limit", 1, cwd=tmp_path)
    assert "few.npz: 1 image to fit the judges and 2 to test; expected at least two" in done.stderr
    enough = dim("evaluate", "--architecture", small, "--data", "few.npz", "--rows", "pixels", "--judges", "knn", cwd=tmp_path)
    assert enough.returncode == 0, enough.stderr


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--rows", "weihgts", "--weights", "small.h5"], "--rows: expected some of weights,fine-tuned"),
        (["--rows", "", "--weights", "small.h5", "--columns", "fc"], "projection, found ''"),
        (["--judges", "knnn", "--neighbours", "3"], "--judges: expected some of logistic,knn,knn-cosine,svm,mlp, found 'knnn'"),
        (["--rows", "pixels, pixels"], "--rows: expected each once"),
        (["--judges", "oracle"], "--judges: expected some of logistic,knn,knn-cosine,svm,mlp, found 'oracle'"),
        (["--columns", "Y,Y"], "--columns: expected each once"),
        (["--rows", "weights"], "weights needs --weights"),
        (["--seeds", "1,1"], "--seeds: expected different ones"),
        (["--seeds", "7,4294967303"], "--seeds: expected different ones, found 7,4294967303; the low 32 bits of each count"),
        (["--seeds", "one"], "--seeds: expected numbers between commas"),
        (["--seeds", "1,-1"], "--seeds: expected 0 <= SEED < 2**64, found -1"),
        (["--picture", "a.jpg"], "--picture: expected a name that ends in png, svg, pdf"),
        (["--weights", "none.h5", "--architecture", "basic32"], "--architecture: is only for untrained networks"),
        (["--weights", "none.h5"], "none.h5"),
        (["--architecture", "basic33"], "expected one of notebook"),
        (["--data", "none.npz"], "no such file or folder"),
    ],
)
def test_refusals(arguments, text, tmp_path):
    done = dim("evaluate", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and text in done.stderr and done.stdout == "", done.stderr


def test_semi_supervised(small, tmp_path):
    local = tmp_path / "local.json"
    local.write_text(json.dumps(SMALL_NETWORK | {"local": {"score": "dot", "net": "light", "units": 16}}))
    for name, architecture in ("w.h5", local), ("bare.h5", small):
        with deepinfomax.Model(0, architecture) as model:
            model.save(tmp_path / name)
    words = ("evaluate", "--weights", tmp_path / "w.h5", "--labels", "0.05", "--fine-tune-steps", 40, "--judges", "knn")
    done = dim(*words, "--columns", "Y", "--seeds", "0,1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["training_images"], report["labelled_images"]) == (1618, 81) and report["fine_tuning"]["steps"] == 40
    figures = {(one["row"], one["judge"]): one for one in report["figures"]}
    assert figures["weights", "knn"]["images"] == 81
    for row in "fine-tuned", "fine-tuned-dim", "supervised":
        figure = figures[row, "network"]
        assert figure["column"] is None and len(figure["accuracies"]) == 2 and figure["images"] == 81
        assert figure["accuracy"] > 0.3, "chance is 0.1"
    bare = ("evaluate", "--weights", tmp_path / "bare.h5", "--labels", 50, "--fine-tune-steps", 2, "--judges", "knn")
    done = dim(*bare)
    assert done.returncode == 0 and "with DIM's loss" not in done.stdout
    done = dim(*bare[:-2], "--rows", "fine-tuned-dim")
    assert done.returncode == 2 and "fine-tuned-dim needs an architecture" in done.stderr
    done = dim(*words, "--rows", "weights,fine-tuned")
    assert done.returncode == 0 and "labels of only 81 training images" in done.stdout and "network" in done.stdout
    assert "fine-tuned" in done.stdout and "from the seed" not in done.stdout


@pytest.mark.parametrize("labels", ["0", "1", "1.5", "0.0", "-3", "nan", "1e400", "1e3", "1e0", "many", "100000"])
def test_labels_that_are_not_there(labels):
    done = dim("evaluate", f"--labels={labels}")
    assert done.returncode == 2 and "--labels: expected" in done.stderr and not done.stdout
