"""`dim train --resume` of a run that was stopped beside its end: what is missing is made up for, no more and no less."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import cli_fixtures
import deepinfomax
import numpy as np
import pytest
from deepinfomax import cli
from deepinfomax.commands import _training_log
from deepinfomax.run_folder import RunFolder

TINY = str(Path(__file__).parent / "digits8.json")
#: 36 images to train on, 3 steps an epoch.
RUN = ("--architecture", TINY, "--batch", "12", "--seed", "3")


def small_images(n):
    """uint8 (n,8,8), alike left and right."""
    images = np.random.default_rng(0).integers(0, 255, (n, 8, 8)).astype(np.uint8)
    return np.maximum(images, images[:, ::-1])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Here, with the data, where Ctrl-C is Python's."""
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    np.savez("data.npz", images=small_images(40), labels=np.arange(40) % 2)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def dim(*words):
    return cli.main([str(word) for word in words])


def same(one, other):
    with deepinfomax.Model.open(one) as a, deepinfomax.Model.open(other) as b:
        found = b.state_dict()
        return all(np.array_equal(value, found[name]) for name, value in a.state_dict().items())


def interrupted_at(step, monkeypatch):
    """A context in which Ctrl-C is pressed during this step."""
    usual = deepinfomax.Trainer.step

    def stepping(trainer, images):
        if trainer.steps == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return usual(trainer, images)

    context = monkeypatch.context()
    context.__enter__().setattr(deepinfomax.Trainer, "step", stepping)
    return context


def test_a_longer_run_that_stops_on_its_last_step(place, monkeypatch, capsys):
    """weights.h5 was that of the shorter one for good: the run counted as complete since the file was there."""
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "run") == 0
    shutil.copy("run/weights.h5", "short.h5")
    context = interrupted_at(6, monkeypatch)
    assert dim("train", "--resume", "run", "--epochs", 2, "--no-plot") == 130
    context.__exit__(None, None, None)
    assert same("run/weights.h5", "short.h5") and not same("run/checkpoint.h5", "short.h5")
    assert dim("train", "--resume", "run", "--no-plot") == 0, capsys.readouterr().err
    assert same("run/weights.h5", "run/checkpoint.h5")
    assert dim("train", "--resume", "run") == 2 and "the run is complete, 2 epochs" in capsys.readouterr().err


def test_what_follows_an_epoch_is_made_up_for(place, monkeypatch):
    """An epoch whose last step was interrupted had no probe and no checkpoint of its own."""
    pytest.importorskip("sklearn")
    how = ("--epochs", 2, "--probe", 1, "--keep-all", "--no-plot")
    assert dim("train", "--data", "data.npz", *RUN, *how, "--output", "whole") == 0
    context = interrupted_at(3, monkeypatch)
    assert dim("train", "--data", "data.npz", *RUN, *how, "--output", "run") == 130
    context.__exit__(None, None, None)
    assert dim("train", "--resume", "run", "--no-plot") == 0
    tables = []
    for name in "whole", "run":
        with open(f"{name}/metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        tables.append([(row["step"], row["phase"], row["total"], row["linear_probe"]) for row in rows])
    assert tables[0] == tables[1] and [row[:2] for row in tables[0]].count(("3", "probe")) == 1
    for name in "checkpoint-0001.h5", "checkpoint-0002.h5", "weights.h5":
        assert same(f"whole/{name}", f"run/{name}"), name


def test_early_stopping_counts_from_the_epoch_of_the_best_weights(place, capsys):
    """best.h5 was of an epoch after the checkpoint: those before it, computed again, counted as ones without improvement."""
    how = ("--epochs", 6, "--early-stopping", 50, "--keep-all", "--no-plot", "--lr", 1e-3, "--validation-images", 4)
    assert dim("train", "--data", "data.npz", *RUN, *how, "--output", "run") == 0
    folder = RunFolder("run")
    validations = [row for row in folder.read_metrics() if row.phase == "validation"]
    best = min(validations, key=lambda row: row.total)
    assert best.epoch >= 3, "a run whose best epoch comes late"
    # As a second Ctrl-C leaves it: the checkpoint is older than best.h5 and the rows.
    shutil.copy(f"run/checkpoint-{int(best.epoch) - 2:04}.h5", "run/checkpoint.h5")
    os.remove("run/weights.h5")
    settings = json.loads(Path("run/settings.json").read_text())
    Path("run/settings.json").write_text(json.dumps(settings | {"early_stopping": 1, "kept": None}))
    assert dim("train", "--resume", "run", "--no-plot") == 0
    steps = [row.step for row in folder.read_metrics() if row.phase == "validation"]
    assert steps[-1] >= best.step and same("run/weights.h5", "run/best.h5"), capsys.readouterr()
    assert (best.step in steps) and min(
        (row for row in folder.read_metrics() if row.phase == "validation"), key=lambda row: row.total
    ).step == best.step


def test_an_edited_setting_is_named(place, capsys):
    """Of those that the checkpoint does not have, all but the data and the epochs; files of before they were noted are read."""
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "run") == 0
    settings = json.loads(Path("run/settings.json").read_text())
    for name, value in {
        "weights": "other.h5",
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "step_epochs": 3,
        "early_stopping": 2,
        "validation_images": 3,
        "keep_all": True,
    }.items():
        Path("run/settings.json").write_text(json.dumps(settings | {name: value}))
        assert dim("train", "--resume", "run", "--epochs", 2, "--no-plot") == 2
        assert f"settings.json: was edited: {name} is {json.dumps(value)}, expected what" in capsys.readouterr().err
    # As other programs write the same numbers.
    whole = {name: int(value) for name, value in settings.items() if isinstance(value, float) and value.is_integer()}
    assert "alpha" in whole
    Path("run/settings.json").write_text(json.dumps(settings | whole))
    assert dim("train", "--resume", "run", "--epochs", 2, "--no-plot") == 0, capsys.readouterr().err
    assert settings.pop("kept") and settings.pop("classes")
    Path("run/settings.json").write_text(json.dumps(settings | {"command": "dim train"}))
    assert dim("train", "--resume", "run", "--epochs", 3, "--no-plot") == 0, capsys.readouterr().err
    assert {"kept", "classes"} < set(json.loads(Path("run/settings.json").read_text()))


def test_a_class_with_another_name_is_not_the_data(place, capsys):
    """It was taken for the class that had its number."""
    images, labels = small_images(40), np.arange(40) % 2
    np.savez("data.npz", images=images, labels=labels, classes=np.array(["cat", "dog"]))
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "run") == 0
    np.savez("data.npz", images=images, labels=labels, classes=np.array(["cat", "owl"]))
    assert dim("train", "--resume", "run", "--epochs", 2, "--no-plot") == 2
    assert "not the data that the run was started with: the classes are cat, owl, the run began with" in capsys.readouterr().err


def test_curves_that_cannot_be_written(place, monkeypatch, capsys):
    """The advice was a command that answers that the run is complete."""
    pytest.importorskip("matplotlib")

    def full(folder, rows):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.curves))

    with monkeypatch.context() as patched:
        patched.setattr(_training_log, "draw_curves", full)
        assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--output", "run") == 1
    err = capsys.readouterr().err
    assert "run/curves.png: No space left on device" in err
    assert "The run is complete, and its weights are in run/weights.h5; for what is missing beside them: " in err
    assert "dim train --resume run --report" in err
    assert dim("train", "--resume", "run", "--report") == 0
    assert Path("run/curves.png").exists() and Path("run/report.html").exists()


def test_a_report_without_metrics(place, capsys):
    """It was a traceback, after the page had been written."""
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "run") == 0
    os.remove("run/metrics.csv")
    capsys.readouterr()
    assert dim("train", "--resume", "run", "--report", "--json") == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert end["status"] == "finished" and end["step"] is None and end["curves"] is None


def test_the_end_says_which_step_it_is_of(place, capsys):
    """Of a run that had stopped early it said the step that was planned."""
    how = ("--epochs", 30, "--early-stopping", 1, "--lr", 0.3, "--warmup-epochs", 30, "--no-plot", "--json")
    assert dim("train", "--data", "data.npz", *RUN, *how, "--output", "run") == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert end["step"] == RunFolder("run").read_metrics()[-1].step < 90


def test_a_default_that_small_data_cut_short(place):
    """--config took over that data of 18 images had none for validation, and with it no probe."""
    np.savez("few.npz", images=small_images(18), labels=np.arange(18) % 2)
    assert dim("train", "--data", "few.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "small") == 0
    assert RunFolder("small").read_settings().validation_images == 0
    how = ("--config", "small/settings.json", "--no-plot", "--epochs", 1)
    assert dim("train", "--data", "data.npz", *how, "--output", "large") == 0
    assert RunFolder("large").read_settings().validation_images == 4
    assert dim("train", "--data", "data.npz", *how, "--validation-images", 0, "--output", "none") == 0
    assert RunFolder("none").read_settings().validation_images == 0
    assert (
        dim("train", "--data", "data.npz", "--config", "none/settings.json", "--epochs", 1, "--no-plot", "--output", "asked")
        == 0
    )
    assert RunFolder("asked").read_settings().validation_images == 0


def test_a_report_of_a_run_with_weights(place):
    """It called the encoder that the run began with an untrained one."""
    pytest.importorskip("sklearn")
    how = (*RUN[2:], "--epochs", 1, "--probe", 1, "--no-plot", "--report")
    assert dim("train", "--data", "data.npz", *how, "--architecture", TINY, "--output", "run") == 0
    assert dim("train", "--data", "data.npz", *how, "--weights", "run/weights.h5", "--output", "more") == 0
    pages = [Path(f"{name}/report.html").read_text() for name in ("run", "more")]
    assert "an untrained encoder" in pages[0] and "untrained, batch norm calibrated" in pages[0]
    assert "of the weights that it began with" in pages[1] and "at the start, batch norm calibrated" in pages[1]
    assert "an untrained encoder" not in pages[1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk")
def test_a_full_disk_behind_stdout(place):
    """The run ended with 0, though nothing of what it printed was there."""
    for output, also in ("run", ["--json"]), ("more", []):
        words = ("train", "--data", "data.npz", *RUN, "--epochs", "1", "--no-plot", "--output", output, *also)
        with open("/dev/full", "w") as full:
            done = cli_fixtures.dim(*words, capture_output=False, stdout=full, stderr=subprocess.PIPE, cwd=place)
        assert done.returncode == 2 and "dim train: output: No space left on device" in done.stderr, done.stderr
        assert Path(output, "weights.h5").exists() and RunFolder(output).read_metrics()[-1].step == 3


def test_a_run_whose_folder_is_removed(place, monkeypatch, capsys):
    """It said that its checkpoint was kept."""
    usual = deepinfomax.Trainer.step

    def stepping(trainer, images):
        if trainer.steps == 4:
            shutil.rmtree("run")
        return usual(trainer, images)

    monkeypatch.setattr(deepinfomax.Trainer, "step", stepping)
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 2, "--no-plot", "--output", "run") == 1
    told = capsys.readouterr().err
    assert "run/checkpoint.h5, of step 3, is no longer there" in told and "is kept" not in told, told


def test_what_is_missing_of_a_run_is_told(place, capsys):
    """Of a finished run whose checkpoint was removed, it said that it had stopped before its first."""
    assert dim("train", "--data", "data.npz", *RUN, "--epochs", 1, "--no-plot", "--output", "run") == 0
    folder = RunFolder("run")
    for path in folder.checkpoint, folder.settings_file:
        content = path.read_bytes()
        for make, message in (
            (os.mkfifo, "expected the run's file, found no file"),
            (os.mkdir, "expected the run's file, found a folder"),
            (lambda path: os.symlink("nowhere", path), "expected the run's file, found a link to nothing"),
            (lambda path: None, f"run: no run to resume: there is no {path.name}"),
        ):
            path.unlink()
            make(path)
            capsys.readouterr()
            assert dim("train", "--resume", "run", "--epochs", 2) == 2
            told = capsys.readouterr().err
            assert message in told and "before its first" not in told, told
            if path == folder.checkpoint and message.endswith(path.name):
                assert (
                    "which was removed; to start a run from its weights: dim train --weights run/weights.h5 --output NEW"
                    in told
                )
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif os.path.lexists(path):
                path.unlink()
            path.write_bytes(content)
    folder.weights.unlink()
    folder.checkpoint.unlink()
    assert dim("train", "--resume", "run", "--epochs", 2) == 2
    assert "there is no checkpoint.h5; it stopped before its first checkpoint" in capsys.readouterr().err


def test_metrics_that_are_no_run(place, capsys):
    """A quotation mark swallowed all lines after it; steps of any order were taken."""
    assert (
        dim("train", "--data", "data.npz", *RUN, "--epochs", 2, "--no-plot", "--validation-images", 0, "--output", "run") == 0
    )
    metrics = RunFolder("run").metrics_file
    written = metrics.read_text().splitlines()
    assert [line.partition(",")[0] for line in written] == ["step", *"123456"]
    for number, new, message in (
        (3, '"{}', "line 3 is damaged"),
        (3, '{}"', "line 3 is damaged"),
        (4, "0_{}", "line 4 is damaged"),
        (4, "922337203685477580{}", "line 5 is of step 4, after one of step 9223372036854775803"),
        (4, "1{}", "line 5 is of step 4, after one of step 13"),
        (2, "-{}", "line 2 is of step -1, after one of step 0"),
    ):
        lines = written.copy()
        lines[number - 1] = new.format(lines[number - 1])
        metrics.write_text("\n".join(lines) + "\n")
        capsys.readouterr()
        assert dim("train", "--resume", "run", "--epochs", 3, "--no-plot") == 2
        assert f"metrics.csv: {message}" in capsys.readouterr().err
        assert metrics.read_text().splitlines() == lines


def test_an_image_of_another_size_on_resume(place, capsys):
    """Where no size was asked for, a resumed run made its own of any."""
    from PIL import Image

    (place / "photos").mkdir()
    for number, image in enumerate(small_images(40)):
        Image.fromarray(np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image).save(place / "photos" / f"{number:02}.png")
    train = ("train", "--batch", 8, "--data", "photos", "--probe", 0, "--validation-images", 0)
    assert dim(*train, "--epochs", 1, "--output", "run") == 0
    assert dim(*train, "--epochs", 1, "--output", "resized", "--image-size", 24) == 0
    for path in place.glob("photos/*.png"):
        Image.open(path).resize((30, 20)).save(path)
        break
    # Of the images that are not compared with those that the run began with.
    settings = [json.loads((place / run / "settings.json").read_text()) for run in ("run", "resized")]
    assert [found["one_size"] for found in settings] == [True, False]
    capsys.readouterr()
    assert dim("train", "--resume", "run", "--epochs", 2) == 2
    assert "expected images of" in capsys.readouterr().err


def test_the_advice_on_resume_is_not_refused(place, capsys):
    """It was --skip-damaged, which a resumed run does not take."""
    from PIL import Image

    (place / "photos").mkdir()
    for number, image in enumerate(small_images(40)):
        Image.fromarray(image).save(place / "photos" / f"{number:02}.png")
    train = ("train", "--batch", 8, "--data", "photos", "--probe", 0, "--validation-images", 0, "--image-size", 24)
    assert dim(*train, "--epochs", 1, "--output", "run") == 0
    (place / "photos" / "07.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert dim("train", "--resume", "run", "--epochs", 2) == 2
    said = capsys.readouterr().err
    assert "07.png: image 7 cannot be read" in said and "the run needs the images that it was started with: repair them" in said
    assert "skip" not in said
