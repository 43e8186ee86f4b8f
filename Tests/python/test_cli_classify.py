"""`dim classify`, end to end on a few images; and its judges."""

import json
import math
import os
import signal
import time
from pathlib import Path

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import PATIENCE, SMALL_NETWORK, dim, start
from data_fixtures import random_images
from deepinfomax import _text, evaluation
from deepinfomax.commands.classify import _answers, _with_classes
from deepinfomax.data import open_dataset
from PIL import Image

N, CLASSES = 40, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """data.npz: images that are dark, half bright or bright, which is their class; weights.h5; photos/."""
    folder = tmp_path_factory.mktemp("classify")
    random = np.random.default_rng(0)
    labels = np.arange(N) % CLASSES
    images = (random.integers(0, 60, (N, 32, 32, 3)) + 95 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(folder / "data.npz", images=images, labels=labels, classes=np.array(["dark", "grey", "bright"]))
    (folder / "photos").mkdir()
    for number in range(CLASSES):
        Image.fromarray(images[number]).save(folder / "photos" / f"{number}.png")
    deepinfomax.Model(5).save(folder / "weights.h5")
    return folder


def classify(folder, *arguments):
    done = dim("classify", "--data", "data.npz", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_comparison(folder):
    pytest.importorskip("matplotlib")
    out = classify(
        folder,
        "--weights",
        "weights.h5",
        "--epochs",
        40,
        "--lr",
        1e-2,
        "--end-to-end-epochs",
        1,
        "--batch",
        18,
        "--picture",
        "c.png",
        "--json",
    )
    report = json.loads(out)
    assert report["images"] == {"train": 36, "test": 4} and report["classes"] == ["dark", "grey", "bright"]
    assert [run["arm"] for run in report["runs"]] == ["frozen", "untrained", "end-to-end", "pixels"]
    frozen, _, end_to_end, pixels = report["runs"]
    assert frozen["accuracy"] == 1 and frozen["nearest_neighbours"] == 1, "brightness is easy"
    assert np.sum(frozen["confusion"]) == 4 and len(frozen["history"]) == 40 and len(end_to_end["history"]) == 1
    assert pixels["nearest_neighbours"] == 1 and "accuracy" not in pixels
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_as_text(folder):
    out = classify(folder, "--arms", "untrained,pixels", "--seeds", "0,1", "--epochs", 3)
    assert "seed 1, untrained" in out and "linear probe" in out and " +- " in out and "bright" in out


def test_the_untrained_encoder_knows_the_data(folder):
    """Its weights are the seed's; its batch norm's statistics are the training images', as in dim evaluate."""
    classify(folder, "--arms", "untrained", "--seed", 3, "--epochs", 1, "--save", "untrained.h5")
    found, fresh = deepinfomax.Model.open(folder / "untrained.h5").state_dict(), deepinfomax.Model(3).state_dict()
    assert found["encoder.b1.num_batches_tracked"] == 1
    for name, value in fresh.items():
        if name.startswith("encoder.") and name.endswith(("weight", "bias")):
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert np.abs(found["encoder.b1.running_mean"]).max() > 1e-3


def test_predictions_with_and_without_training(folder):
    training = ("--weights", "weights.h5", "--arms", "frozen", "--epochs", 80, "--lr", 1e-2, "--batch", 18)
    out = classify(folder, *training, "--predict", "photos", "--save", "classifier.h5")
    first = out.split("\n")[-4:-1]
    assert [line.split("\t")[:2] for line in first] == [["0.png", "dark"], ["1.png", "grey"], ["2.png", "bright"]]
    told = classify(folder, "--weights", "classifier.h5", "--epochs", 0, "--predict", "photos", "--predictions", "labels.csv")
    done = dim(
        *("classify", "--weights", "classifier.h5", "--epochs", 0, "--predict", "photos", "--predictions", "alone.csv"),
        cwd=folder,
    )
    assert "tested on 4 images, on which the classifier may have been trained" in told and "trained on 36" not in told
    assert "classifier.h5: encoder and classifier of the arm frozen, seed 0" in out
    assert "0.png" not in told and done.returncode == 0 and "0.png" not in done.stdout, "they are in the file"
    assert (folder / "alone.csv").read_bytes() == (folder / "labels.csv").read_bytes()
    lines = (folder / "labels.csv").read_text().splitlines()
    assert lines[0] == "image,label,probability" and [line.split(",")[1] for line in lines[1:]] == ["dark", "grey", "bright"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--arms", "frozen"], "frozen needs --weights"),
        (["--arms", "cooked"], "'cooked'"),
        (
            ["--weights", "weights.h5", "--arms", "frozn"],
            "--arms: expected some of frozen,untrained,end-to-end,pixels, found 'frozn'",
        ),
        (["--seeds", "1,x"], "--seeds"),
        (["--seeds", "1,1"], "--seeds: expected different ones, found 1,1"),
        (["--epochs", "0"], "uses the classifier of --weights"),
        (["--batch", "1"], "2 at least"),
        (["--picture", "c.gif"], "ends in png, svg, pdf"),
        (["--picture", "nothing/c.png"], "there is no folder"),
        (["--save", "photos"], "is a folder"),
        (["--save", "/dev/null"], "is a device or a pipe"),
        (["--save", "c.PT"], "--save: c.PT has another format's ending; expected .h5 or .safetensors"),
        (["--predictions", "p.csv"], "needs --predict"),
        (["--predict", "photos", "--predictions", "p.json"], "--predictions: writes CSV; expected a name that ends in csv"),
        (["--predict", "nothing"], "no such file"),
        (["--limit", "5"], "ten at least"),
        (["--weights", "weights.h5", "--arms", "untrained"], "--weights: has no effect without the arm frozen"),
    ],
)
def test_usage(folder, arguments, message):
    done = dim("classify", "--data", "data.npz", *arguments, cwd=folder)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_too_many_classes(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((12, 32, 32, 3), np.uint8), labels=np.arange(12))
    deepinfomax.Model(0).save(tmp_path / "ten.h5")
    done = dim("classify", "--data", tmp_path / "a.npz", "--weights", tmp_path / "ten.h5", "--epochs", 0)
    assert done.returncode == 2 and "12 classes; the classifier has 10 at most" in done.stderr, done.stderr


def test_as_many_classes_as_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=random_images(36), labels=np.arange(36) % 12)
    done = dim(
        "classify",
        "--data",
        tmp_path / "a.npz",
        "--arms",
        "untrained",
        "--epochs",
        1,
        "--save",
        tmp_path / "twelve.h5",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["runs"][0]["confusion"]) == 12
    with deepinfomax.Model.open(tmp_path / "twelve.h5") as model:
        assert model.sizes.classes == 12 and model.class_names == [str(number) for number in range(12)]


# ---- Judges


def test_split_is_of_all_and_repeats():
    train, test = evaluation.split(101, seed=4)
    assert len(test) == 10 and sorted([*train, *test]) == list(range(101))
    assert np.array_equal(test, evaluation.split(101, seed=4)[1]) and not np.array_equal(test, evaluation.split(101, 5)[1])


def test_the_tests_loss_and_confusion_are_the_librarys(model):
    random = np.random.default_rng(0)
    images, labels = random.random((12, 3, 32, 32), np.float32), np.arange(12) % 10
    with deepinfomax.ClassifierTrainer(model) as trainer:
        expected = trainer.evaluate(images, labels)
    found = evaluation.test_on_vectors(model, model.encode(images, features=False), labels)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5) and np.array_equal(found.confusion, expected.confusion)


# ---- End to end, with a checkpoint

END_TO_END = ("classify", "--data", "data.npz", "--arms", "end-to-end", "--end-to-end-epochs", "4", "--batch", "9", "--json")


def test_a_stopped_training_continues_bit_for_bit(folder):
    whole = json.loads(dim(*END_TO_END, cwd=folder).stdout)["runs"][0]
    running = start(*END_TO_END, "--checkpoint", "kept", cwd=folder)
    wait_for((folder / "kept" / "end-to-end-0.json").exists)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130 and "stopping after this step" in err and "Traceback" not in err
    stopped = json.loads(out)
    assert stopped["status"] == "interrupted" and stopped["checkpoint"] == "kept"
    with deepinfomax.ClassifierTrainer.resume(folder / "kept" / "end-to-end-0.h5") as trainer:
        assert 4 <= trainer.steps == stopped["step"] < 16
    done = dim(*END_TO_END, "--checkpoint", "kept", cwd=folder)
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)["runs"][0]
    assert (resumed["loss"], resumed["confusion"]) == (whole["loss"], whole["confusion"])
    assert [epoch["epoch"] for epoch in resumed["history"]] == [1, 2, 3, 4]
    assert resumed["history"][0] == whole["history"][0]
    again = json.loads(dim(*END_TO_END, "--checkpoint", "kept", cwd=folder).stdout)["runs"][0]
    assert again["history"] == resumed["history"] and again["confusion"] == whole["confusion"]

    (folder / "other").mkdir()
    with np.load(folder / "data.npz") as data:
        np.savez(folder / "other" / "data.npz", **{**data, "images": 255 - data["images"]})
    other = dim(*END_TO_END, "--data", "other/data.npz", "--checkpoint", "kept", cwd=folder)
    assert other.returncode == 2 and "was started with digest of the data" in other.stderr, other.stderr
    other = dim(*END_TO_END, "--checkpoint", "kept", "--lr", "1", cwd=folder)
    assert other.returncode == 2 and "was started with lr 0.0001, now it is 1.0" in other.stderr
    other = dim(*END_TO_END, "--checkpoint", "kept", "--architecture", "basic32", cwd=folder)
    assert other.returncode == 2 and "; they differ in " in other.stderr and len(other.stderr) < 500, other.stderr
    assert other.stderr.endswith("; name another folder\n")
    fewer = dim(*END_TO_END, "--checkpoint", "kept", "--end-to-end-epochs", "2", cwd=folder)
    assert fewer.returncode == 2 and "has done 4 epochs already, more than the 2 that are asked for" in fewer.stderr
    described = (folder / "kept" / "end-to-end-0.json").read_text()
    about = json.loads(described)
    lost = {**about, "epochs": about["epochs"][:1]}  # as after a SIGKILL between the two files
    (folder / "kept" / "end-to-end-0.json").write_text(json.dumps(lost))
    fewer = dim(*END_TO_END, "--checkpoint", "kept", "--end-to-end-epochs", "2", cwd=folder)
    assert fewer.returncode == 2 and "has done 4 epochs already" in fewer.stderr
    assert dim(*END_TO_END, "--checkpoint", "kept", cwd=folder).returncode == 0
    first = about["epochs"][0]
    for text, why in (
        ("{}", "'started' is missing;"),
        ("[]", "expected an object;"),
        ("[" * 99999, "too many lists or objects inside one another"),
        (described.replace('"started": {', '"started": null, "was": {'), "started: expected an object;"),
        (json.dumps({**about, "epochs": [{**first, "loss": math.nan}]}), "epochs[0]: expected a whole number, a finite loss"),
        (json.dumps({**about, "epochs": [{**first, "accuracy": "x"}]}), "epochs[0]: expected a whole number, a finite loss"),
        (json.dumps({**about, "epochs": [first, first]}), "its epochs are not those of the 4 that the checkpoint has done;"),
        (json.dumps({**about, "epochs": [{**first, "number": 5}]}), "its epochs are not those of the 4 that the"),
    ):
        (folder / "kept" / "end-to-end-0.json").write_text(text)
        damaged = dim(*END_TO_END, "--checkpoint", "kept", cwd=folder)
        assert damaged.returncode == 2 and f"does not describe end-to-end-0.h5: {why}" in damaged.stderr, damaged.stderr


def test_every_signal_saves(folder):
    """SIGUSR1 and the training goes on, SIGTERM and SIGHUP and it stops; in the end it is as if none had come."""
    (folder / "small.json").write_text(json.dumps(SMALL_NETWORK | {"classifier": {"hidden": [8], "classes": 3}}))
    training = [*END_TO_END, "--architecture", "small.json", "--end-to-end-epochs", "500"]
    whole = json.loads(dim(*training, cwd=folder).stdout)["runs"][0]
    steps, kept = [], folder / "signals" / "end-to-end-0.json"
    for number in signal.SIGTERM, signal.SIGHUP:
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        # It trains once it has saved by itself.
        running = start(*training, "--checkpoint", "signals", "--checkpoint-every", "20", cwd=folder)
        wait_for(lambda: running.poll() is not None or kept.exists() and kept.stat().st_mtime_ns != before)
        if number == signal.SIGTERM:
            running.send_signal(signal.SIGUSR1)
        running.send_signal(number)
        out, err = running.communicate(timeout=PATIENCE)
        assert running.returncode == 128 + number and "stopping after this step" in err and "Traceback" not in err, err
        stopped = json.loads(out)
        assert (stopped["status"], stopped["checkpoint"]) == ("interrupted", "signals")
        steps.append(stopped["step"])
    assert 0 < steps[0] < steps[1] < 2000
    done = dim(*training, "--checkpoint", "signals", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["runs"][0]
    assert (found["loss"], found["confusion"]) == (whole["loss"], whole["confusion"])


# ---- Without labelled data, and with labels of all kinds


def trained(seed, architecture="notebook"):
    """A model whose classifier has seen some vectors."""
    model = deepinfomax.Model(seed, architecture)
    with deepinfomax.ClassifierTrainer(model) as trainer:
        labels = np.arange(8) % model.sizes.classes
        trainer.step_encoded(np.random.default_rng(0).random((8, model.sizes.encoded), np.float32), labels)
    return model


def test_predictions_without_data(folder):
    """--epochs 0 --predict: nothing is trained or compared; names are numbers, of no other data."""
    model = trained(7)
    model.save(folder / "any.h5")
    out = dim("classify", "--weights", "any.h5", "--epochs", 0, "--predict", "photos/0.png", cwd=folder)
    assert out.returncode == 0 and "digit" not in out.stdout and "encoding" not in out.stdout, out
    assert "classes by number: --data names them" in out.stdout
    name, label, probability = out.stdout.splitlines()[-1].split("\t")
    with Image.open(folder / "photos" / "0.png") as image:
        expected = model.classify(model.encode(np.asarray(image), features=False))
    assert name == "0.png" and label == str(expected.argmax()) and float(probability) == pytest.approx(expected.max(), abs=1e-3)
    report = json.loads(
        dim("classify", "--weights", "any.h5", "--epochs", 0, "--predict", "photos", "--json", cwd=folder).stdout
    )
    assert [one["image"] for one in report["predictions"]] == ["0.png", "1.png", "2.png"]


def test_what_a_classifier_may_answer():
    """With data of two classes it answered one of these alone, and another thing without the data."""
    with deepinfomax.Model(7) as model:
        assert _answers(model) == _answers(model, ("0", "1")) == tuple("0123456789")
        assert _answers(model, ("dark", "grey")) == ("dark", "grey")
        model.class_names = names = [f"class {number}" for number in range(10)]
        assert _answers(model) == _answers(model, ("class 0", "class 1")) == tuple(names)


def test_labels_are_the_numbers_of_a_classifier_without_names(tmp_path):
    """9 became 1 where the data has no other label than 0 and 9."""
    np.savez(tmp_path / "two.npz", images=random_images(20), labels=np.arange(20) % 2 * 9)
    found = _with_classes(open_dataset(tmp_path / "two.npz"), trained(7), kept=True)
    assert found.labels.tolist() == [0, 9] * 10 and found.classes == tuple("0123456789")


def test_classes_of_other_data_are_matched_by_name(folder):
    """--epochs 0 with data that numbers the classes in another way, has fewer, or has one that the classifier does not have."""
    random = np.random.default_rng(1)
    images = random.integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(20) % 2
    with trained(7, SMALL_NETWORK | {"classifier": {"hidden": [8], "classes": 4}}) as model:
        model.class_names = _text.class_names(["dark", "grey", "bright"], 4)
        state = model.state_dict()
        last = [name for name in state if name.startswith("classifier.") and state[name].shape == (4,)][-1]
        model.load_state_dict(state | {last: np.float32([0, 0, 9, 0])})
        model.save(folder / "named.h5")
        np.savez(folder / "reversed.npz", images=images, labels=labels, classes=np.array(["bright", "dark"]))
        found = _with_classes(open_dataset(folder / "reversed.npz"), model, kept=True)
        assert found.labels.tolist() == [2, 0] * 10 and found.classes == tuple(model.class_names)
    np.savez(folder / "fewer.npz", images=images, labels=labels, classes=np.array(["dark", "grey"]))
    np.savez(folder / "animals.npz", images=images, labels=labels, classes=np.array(["dark", "\x1byak"]))
    how = ("classify", "--weights", "named.h5", "--epochs", 0, "--predict", "photos", "--predictions")
    done = dim(*how, "none.csv", "--data", "animals.npz", "--arms", "frozen", cwd=folder)
    assert done.returncode == 2 and not done.stdout and not (folder / "none.csv").exists()
    assert (
        r'animals.npz: has the class "\x1byak", which the classifier of --weights does not have; it has dark, grey, bright, unused 3'
        in done.stderr
    ), done.stderr
    for data in [], ["--data", "reversed.npz", "--arms", "frozen"], ["--data", "fewer.npz", "--arms", "frozen"]:
        done = dim(*how, "all.csv", *data, cwd=folder)
        assert done.returncode == 0, done.stderr
        with open(folder / "all.csv") as file:
            assert [line.split(",")[1] for line in file][1:] == ["bright"] * 3, data


def test_a_classifier_that_was_never_trained(folder):
    """As dim train leaves it: --epochs 0 answered by chance, without a word."""
    before = sorted(os.listdir(folder))
    for more in [], ["--data", "data.npz"]:
        done = dim(
            "classify",
            "--weights",
            "weights.h5",
            "--epochs",
            0,
            "--predict",
            "photos",
            "--predictions",
            "p.csv",
            *more,
            cwd=folder,
        )
        assert done.returncode == 2 and "weights.h5: its classifier was never trained; train it" in done.stderr, done.stderr
    assert sorted(os.listdir(folder)) == before


def test_pixels_predict_nothing(folder):
    """Which is said before they are judged."""
    for more in ["--predict", "photos"], ["--save", "out.h5"]:
        done = dim("classify", "--data", "nothing", "--arms", "pixels", *more, cwd=folder)
        assert done.returncode == 2 and f"{more[0]}: needs an arm with a classifier" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "more, message", [(["--save", "out.h5"], "trains no classifier"), (["--picture", "c.png"], "name them with --data")]
)
def test_predictions_without_data_are_all_there_is(folder, more, message):
    done = dim("classify", "--weights", "weights.h5", "--epochs", 0, "--predict", "photos", *more, cwd=folder)
    assert done.returncode == 2 and message in done.stderr, done.stderr


@pytest.mark.parametrize("numbers, classes", [(range(1, 11), [str(n) for n in range(1, 11)]), ((3, 60), ["3", "60"])])
def test_labels_need_not_begin_at_0(tmp_path, numbers, classes):
    labels = np.resize(np.array(numbers), 40)
    np.savez(
        tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8), labels=labels
    )
    done = dim("classify", "--data", tmp_path / "a.npz", "--arms", "untrained", "--epochs", 1, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["classes"] == classes and len(report["runs"][0]["precision"]) == len(classes)
    assert np.sum(report["runs"][0]["confusion"]) == 4
    assert report["settings"]["batch"] == report["images"]["train"] == 36, "all images, where these are fewer than 128"


def test_one_class(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((12, 32, 32, 3), np.uint8), labels=np.full(12, 4))
    done = dim("classify", "--data", tmp_path / "a.npz")
    assert done.returncode == 2 and "one class, 4; expected at least two" in done.stderr and "Traceback" not in done.stderr


def test_a_split_that_leaves_one_class(tmp_path):
    """The only image of the other class is the one that is tested on."""
    test = evaluation.split(12, 0)[1]
    labels = np.zeros(12, np.int64)
    labels[test[0]] = 1
    np.savez(tmp_path / "a.npz", images=np.zeros((12, 32, 32, 3), np.uint8), labels=labels)
    done = dim("classify", "--data", tmp_path / "a.npz", "--arms", "untrained,pixels", "--epochs", 1)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_many_classes_have_neither_matrix_nor_picture(tmp_path):
    """Each was the square of their number."""
    images = np.random.default_rng(0).integers(0, 255, (1001, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(1001))
    given = ["classify", "--data", tmp_path / "a.npz", "--arms", "untrained", "--epochs", 1]
    given += ["--architecture", Path(__file__).with_name("digits8.json")]
    done = dim(*given, "--picture", tmp_path / "a.png")
    assert done.returncode == 2 and "--picture: confusion matrices have at most 1,000 classes" in done.stderr, done.stderr
    done = dim(*given, "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["confusion"] is None and run["precision"] is None and run["accuracy"] == 0
    assert "precision" not in dim(*given).stdout


def test_tables_with_long_names(tmp_path):
    names = np.array(["a class with a very long name indeed", "\u732b\u3068\u72ac", "c"])
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz",
        images=random.integers(0, 255, (40, 32, 32, 3)).astype(np.uint8),
        labels=np.arange(40) % 3,
        classes=names,
    )
    done = dim("classify", "--data", tmp_path / "a.npz", "--arms", "untrained", "--epochs", 3, environment={"PYTHONUTF8": "1"})
    lines = done.stdout.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("precision")) :][:4]
    assert [line.split("  ")[0] for line in table[1:]] == list(names)
    assert len({_text.width(line) for line in table}) == 1, table


def wait_for(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def test_a_checkpoint_of_classes_with_other_names(folder, tmp_path):
    """It went on, and the weights called each class by the name of another."""
    with np.load(folder / "data.npz") as data:
        images, labels = data["images"], data["labels"]
    how = ("classify", "--data", "a.npz", "--arms", "end-to-end", "--batch", 9, "--checkpoint", "kept", "--end-to-end-epochs")
    for names, epochs, message in ("abc", 1, ""), ("cba", 2, "was started with digest of the classes"):
        np.savez(tmp_path / "a.npz", images=images, labels=labels, classes=np.array(list(names)))
        done = dim(*how, epochs, cwd=tmp_path)
        assert done.returncode == (2 if message else 0) and message in done.stderr, done.stderr


@pytest.mark.parametrize("place", ["weights.h5", "weights.h5/kept", "/proc/kept"])
def test_a_checkpoint_that_cannot_be_written_is_found_out_first(folder, place):
    done = dim(*END_TO_END, "--checkpoint", place, cwd=folder)
    assert done.returncode == 2 and f"{place}: cannot be written" in done.stderr and not done.stdout


def test_too_little_room_is_found_out_first(folder, small_disk):
    done = dim(*END_TO_END, "--checkpoint", small_disk / "kept", cwd=folder)
    assert done.returncode == 2 and "MB are needed: a checkpoint" in done.stderr and not done.stdout, done.stderr
    assert os.listdir(small_disk / "kept") == []
    os.rmdir(small_disk / "kept")
    done = dim(*END_TO_END, "--save", small_disk / "w.h5", cwd=folder)
    assert done.returncode == 2 and f"MB are needed: the weights, {small_disk / 'w.h5'}" in done.stderr and not done.stdout, (
        done.stderr
    )
