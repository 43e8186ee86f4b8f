"""`dim train`, end to end on a few images."""

import contextlib
import csv
import importlib.util
import json
import math
import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import PATIENCE, Terminal, dim, events, losses, start, write_images
from data_fixtures import random_images
from deepinfomax import cli, evaluation

#: 11 images, 5 steps an epoch. One held out would have no negative: nothing is validated, and nothing held out.
SMALL = ("--batch", "2", "--no-plot")
RUN = ("--epochs", "2", "--seed", "3", "--schedule", "cosine", "--prior", "adversarial", *SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npy", 11)


@contextlib.contextmanager
def quick_folder():
    """In memory where there is room: a checkpoint takes 300 MB, which a disk needs seconds for."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 3 << 30
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:
        yield Path(folder)


@pytest.fixture
def folder():
    with quick_folder() as parent:
        yield parent / "run"


@pytest.fixture(scope="module")
def whole(data):
    """A run of two epochs that nothing interrupted."""
    with quick_folder() as parent:
        yield uninterrupted(data, parent / "run")


def uninterrupted(data, folder):
    done = dim("train", "--data", data, "--output", folder, *RUN)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_without_a_terminal(whole):
    folder, done = whole
    assert "\r" not in done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr
    assert "11 images; 5 steps an epoch" in done.stdout and "done: weights in" in done.stdout
    assert sorted(os.listdir(folder)) == ["checkpoint.h5", "metrics.csv", "settings.json", "weights.h5"]
    rows = list(csv.DictReader(open(folder / "metrics.csv")))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    assert float(rows[0]["learning_rate"]) == 3e-4 and float(rows[5]["learning_rate"]) == pytest.approx(1.5e-4)
    weights = deepinfomax.Model.open(folder / "weights.h5").state_dict()
    checkpoint = deepinfomax.Trainer.resume(folder / "checkpoint.h5")
    assert checkpoint.steps == 10 and checkpoint.options.prior == "adversarial"
    assert all(np.array_equal(value, weights[name]) for name, value in checkpoint.model.state_dict().items())


def test_the_run_is_what_trainer_gives(data, whole):
    """The command adds nothing of its own to the numbers."""
    from deepinfomax.data import Loader, open_dataset

    architecture = {"preset": "basic32", "coordinates": {"hidden": [512]}}
    trainer = deepinfomax.Trainer(deepinfomax.Model(3, architecture=architecture), "adversarial", 3, coordinates="absolute")
    batch = next(Loader(open_dataset(data), 2, 3).epoch(0))
    assert list(map(repr, trainer.step(batch.images))) == losses(whole[0])[1][3:7]


def same_end(folder, whole):
    assert losses(folder) == losses(whole)
    found, expected = (deepinfomax.Model.open(f / "weights.h5").state_dict() for f in (folder, whole))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_an_interrupt_saves_and_a_resumed_run_continues_bit_for_bit(data, whole, folder):
    running = start("train", "--data", data, "--output", folder, *RUN)
    wait_for_rows(folder, 3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "stopping after this step" in err and f"continue with: dim train --resume {folder}" in out
    assert "--epochs" not in out.split("continue with:")[1], "the epochs are those of the run, not as many again"
    assert "Traceback" not in err and not (folder / "weights.h5").exists()
    # Rows of after the checkpoint, as a machine leaves them that stopped without notice.
    with open(folder / "metrics.csv", "a") as metrics:
        metrics.write("9,1.8,train,1,1,1,1,1,1,1\n10,2.0,tra")
    resumed = dim("train", "--resume", folder, "--no-plot")
    assert resumed.returncode == 0, resumed.stderr
    assert "continuing after step" in resumed.stdout
    same_end(folder, whole[0])
    again = dim("train", "--resume", folder)
    assert again.returncode == 2 and "the run is complete, 2 epochs; to continue, set --epochs to 3 or more" in again.stderr
    again = dim("train", "--resume", folder, "--epochs", 1)
    assert again.returncode == 2 and "has done 2 epochs already, more than the 1 asked for" in again.stderr
    (folder / "weights.h5").unlink()  # As of a run that was ended between its last checkpoint and them.
    again = dim("train", "--resume", folder, "--no-plot")
    assert again.returncode == 0 and not again.stderr, again.stderr
    same_end(folder, whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_save_as_well(data, folder, number):
    running = start("train", "--data", data, "--output", folder, "--json", *RUN)
    wait_for_rows(folder, 1)
    running.send_signal(number)
    out, _ = running.communicate(timeout=PATIENCE)
    end = events(out)[-1]
    assert (running.returncode, end["status"]) == (128 + number, "interrupted")
    assert deepinfomax.Trainer.resume(folder / "checkpoint.h5").steps == end["step"] < 10


def test_a_run_that_stops_before_its_first_step(tmp_path, monkeypatch, capsys):
    """Each time that it continued from there the untrained encoder was judged and written down once more; and what to continue
    with lost what is no setting of the run."""
    pytest.importorskip("sklearn")
    np.savez(tmp_path / "data.npz", images=random_images(40), labels=np.arange(40) % 2)
    run, before, usual = str(tmp_path / "run"), signal.signal(signal.SIGINT, signal.default_int_handler), evaluation.calibrated
    try:
        with monkeypatch.context() as patched:
            patched.setattr(evaluation, "calibrated", lambda *given: os.kill(os.getpid(), signal.SIGINT) or usual(*given))
            arguments = ["--data", str(tmp_path / "data.npz"), "--output", run, "--epochs", "1", "--batch", "12"]
            assert cli.main(["train", *arguments, "--no-plot", "--report"]) == 130
        assert f"interrupted after step 0, which is saved; continue with: dim train --resume {run} --no-plot --report" in (
            capsys.readouterr().out
        )
        assert cli.main(["train", "--resume", run, "--no-plot"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file) if row["phase"] == "probe"] == ["0", "3"]


def test_a_closed_window_leaves_a_checkpoint(data, folder):
    """Its terminal is gone: nothing can be printed any more."""
    terminal = Terminal("train", "--data", data, "--output", folder, *RUN)
    try:
        wait_for_rows(folder, 1)
        assert terminal.hang_up() == 129
    finally:
        terminal.close()
    assert 1 <= deepinfomax.Trainer.resume(folder / "checkpoint.h5").steps < 10


def test_a_reader_that_goes_ends_no_run(data, whole, folder):
    """dim train | head"""
    running = start("train", "--data", data, "--output", folder, *RUN)
    running.stdout.readline()
    running.stdout.close()
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0 and "Traceback" not in err, err
    same_end(folder, whole[0])


def test_sigusr1_saves_and_goes_on(data, whole, folder):
    """Slurm: --signal=USR1@300"""
    running = start("train", "--data", data, "--output", folder, *RUN)
    wait_for_rows(folder, 1)
    running.send_signal(signal.SIGUSR1)
    wait_for(lambda: (folder / "checkpoint.h5").exists())
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert "checkpoint of step" in out
    same_end(folder, whole[0])


def test_what_nohup_ignores_stays_ignored(data, whole, folder):
    running = start(
        "train", "--data", data, "--output", folder, *RUN, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_for_rows(folder, 1)
    running.send_signal(signal.SIGHUP)
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    same_end(folder, whole[0])


def test_data_that_moved(tmp_path, data, whole, folder):
    copy_of(whole, folder)
    moved = tmp_path / "moved.npy"
    shutil.copy(data, moved)
    done = dim("train", "--resume", folder, "--data", moved, "--epochs", 3, "--no-plot")
    assert done.returncode == 0, done.stderr
    assert f'"data": "{moved}"' in (folder / "settings.json").read_text()
    moved.rename(tmp_path / "again.npy")
    done = dim("train", "--resume", folder, "--epochs", 4, "--no-plot")
    assert done.returncode == 2 and "is no longer there; if it was moved, name it with --data" in done.stderr, done.stderr
    other = write_images(tmp_path / "other.npy", 30)
    done = dim("train", "--resume", folder, "--data", other, "--epochs", 4, "--no-plot")
    assert done.returncode == 2 and "not the data that the run was started with" in done.stderr, done.stderr


def test_as_many_other_images_are_not_the_data(tmp_path, folder):
    """A resumed run took any data with as many images, and so did one whose file had been written anew."""
    path = write_images(tmp_path / "images.npz", 24, labels=True)
    done = dim("train", "--data", path, "--output", folder, *SMALL, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    with np.load(path) as file:
        images, labels = file["images"], file["labels"]
    others = {
        "reversed": (images[::-1], labels[::-1]),
        "labels": (images, labels[::-1]),
        "brighter": (images // 2 + 128, labels),
    }
    for name, (some, theirs) in others.items():
        np.savez(tmp_path / f"{name}.npz", images=some, labels=theirs)
        done = dim("train", "--resume", folder, "--epochs", 2, "--no-plot", "--data", tmp_path / f"{name}.npz")
        assert done.returncode == 2 and "as many images, but others" in done.stderr, (name, done.stderr)
    np.savez(path, images=images[::-1], labels=labels[::-1])
    done = dim("train", "--resume", folder, "--epochs", 2, "--no-plot")
    assert done.returncode == 2 and "as many images, but others" in done.stderr, done.stderr
    np.savez_compressed(path, images=images, labels=labels)
    done = dim("train", "--resume", folder, "--epochs", 2, "--no-plot")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "setting, value, message",
    [
        ("seed", "x", "seed: expected a whole number from 0 on, below 2^64, found"),
        ("seed", 4, "seed is 4, checkpoint.h5 has 3: they are of different"),
        ("batch", 2.5, "batch: expected"),
        ("batch", 1, "--batch: expected 2"),
        ("checkpoint_every", 0, "checkpoint_every: expected"),
        ("step_epochs", 0, "step_epochs: expected"),
        ("lr", "1", "lr: expected a number"),
        ("lr", -5, "--lr: expected"),
        ("lr", math.nan, "--lr"),
        ("architecture", None, "architecture: expected"),
        ("architecture", {"preset": "basic28"}, "they are of different runs"),
        ("architecture", {"image": 5}, "settings.json: "),
        ("measure", "kl", "measure is kl, checkpoint.h5 has"),
        ("images", "36", "images: expected"),
        ("epochs", 10**400, "epochs: expected"),
        ("data", 5, "data: expected a text"),
        ("nosuch", 1, "not the settings of a run"),
        ("kept", {"lr": 5}, "kept: expected an object of texts"),
        ("lr", 0.5, "settings.json: was edited: lr is 0.5, expected what the run began with; a resumed run keeps its settings"),
        (
            "batch",
            4,
            "settings.json: was edited: batch is 4, expected what the run began with; a resumed run keeps its settings",
        ),
        ("augment", "flip", 'settings.json: was edited: augment is "flip", expected'),
    ],
)
def test_settings_that_were_changed(whole, folder, setting, value, message):
    """Tracebacks, or another run without a word."""
    copy_of(whole, folder)
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | {setting: value}))
    done = dim("train", "--resume", folder, "--epochs", 3, "--no-plot")
    assert done.returncode == 2 and message in done.stderr and "settings.json" in done.stderr, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") < 4


@pytest.mark.parametrize(
    "name, content",
    [
        ("settings.json", b"[1]"),
        ("settings.json", 100_000 * b"["),
        ("settings.json", b"\xff"),
        ("settings.json", b'{"seed": 1, "seed": 2}'),
        ("metrics.csv", b"\xff\xfe"),
        ("metrics.csv", b"step," + 200_000 * b"x"),
    ],
)
def test_damaged_files_of_a_run(whole, folder, name, content):
    copy_of(whole, folder)
    (folder / name).write_bytes(content)
    done = dim("train", "--resume", folder, "--epochs", 3, "--no-plot")
    assert done.returncode == 2 and f"{folder / name}: not the " in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_settings_of_another_version(whole, folder):
    """Python's own words about a constructor, and nothing of what to do."""
    copy_of(whole, folder)
    settings = json.loads((folder / "settings.json").read_text())
    del settings["probe"]
    (folder / "settings.json").write_text(json.dumps(settings | {"colour\x1b": 1}))
    done = dim("train", "--resume", folder, "--epochs", 3, "--no-plot")
    assert done.returncode == 2 and "__init__" not in done.stderr, done.stderr
    assert "colour\\x1b is no setting; probe is missing. If another version of deepinfomax wrote it" in done.stderr


def test_metrics_behind_a_damaged_line_are_not_lost(whole, folder):
    """A resumed run wrote the file anew, as far as the line."""
    copy_of(whole, folder)
    lines = (folder / "metrics.csv").read_text().splitlines()
    lines[2] = lines[2][:20]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    done = dim("train", "--resume", folder, "--epochs", 3, "--no-plot")
    assert done.returncode == 2 and "metrics.csv: line 3 is damaged; repair or remove it" in done.stderr, done.stderr
    assert (folder / "metrics.csv").read_text().splitlines() == lines
    del lines[2]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    done = dim("train", "--resume", folder, "--epochs", 3, "--no-plot")
    assert done.returncode == 0 and "metrics.csv lacks 1 of the" in done.stderr, done.stderr


def test_two_runs_in_one_folder(tmp_path, folder):
    """They wrote over each other's files, and both said that all was well."""
    data = write_images(tmp_path / "images.npy", 12)
    first = start("train", "--data", data, "--output", folder, *SMALL, "--epochs", 50, "--checkpoint-every", 50)
    wait_for(lambda: (folder / "settings.json").exists())
    before = (folder / "settings.json").stat().st_ino
    second = dim("train", "--data", data, "--output", folder, *SMALL, "--epochs", 1)
    assert second.returncode == 2 and f"{folder}: another run is using it" in second.stderr, second.stderr
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130, err
    assert (folder / "settings.json").stat().st_ino == before
    resumed = start("train", "--resume", folder, "--no-plot")
    wait_for(lambda: (folder / "settings.json").stat().st_ino != before)
    again = dim("train", "--resume", folder, "--no-plot")
    assert again.returncode == 2 and "another run is using it" in again.stderr, again.stderr
    resumed.send_signal(signal.SIGKILL)
    resumed.communicate(timeout=PATIENCE)
    before = (folder / "settings.json").stat().st_ino
    after = start("train", "--resume", folder, "--no-plot")
    wait_for(lambda: (folder / "settings.json").stat().st_ino != before)  # What was killed holds nothing.
    after.kill()
    after.communicate(timeout=PATIENCE)


def test_weights_without_an_encoder(tmp_path, folder):
    """They left the encoder as the seed made it, without a word."""
    data = write_images(tmp_path / "images.npy", 12)
    with deepinfomax.Model(5) as model:
        model.save(tmp_path / "all.h5")
    with deepinfomax.Model.open(tmp_path / "all.h5", networks=["classifier"]) as part:
        part.save(tmp_path / "part.h5")
    done = dim("train", "--data", data, "--architecture", "notebook", "--weights", tmp_path / "part.h5", "--output", folder)
    assert done.returncode == 2 and "part.h5: holds classifier; an encoder is needed" in done.stderr, done.stderr
    assert not folder.exists()


# ---- What is reported


def test_a_batch_over_the_data_reports_the_images_that_are_there(tmp_path, folder):
    data = write_images(tmp_path / "images.npy", 6)
    done = dim("train", "--data", data, "--epochs", 1, "--output", folder, "--no-plot", "--validation-images", 0)
    assert done.returncode == 0 and "1 epoch, batch 6, which is all images" in done.stdout, done.stdout
    assert "6 images; 1 step an epoch" in done.stdout
    if importlib.util.find_spec("tqdm") is not None:
        with contextlib.closing(
            Terminal("train", "--data", data, "--epochs", 2, "--output", folder.parent / "b", "--no-plot")
        ) as terminal:
            assert terminal.end() == 0
        assert "/12 [" in terminal.text and "128" not in terminal.text


def test_without_validation_nothing_is_held_out(tmp_path, folder):
    data = write_images(tmp_path / "images.npy", 40)
    done = dim(
        "train",
        "--data",
        data,
        "--epochs",
        1,
        "--batch",
        20,
        "--output",
        folder,
        "--no-plot",
        "--json",
        "--validation-images",
        0,
    )
    assert events(done.stdout)[0]["settings"]["images"] == 40
    again = dim("train", "--resume", folder, "--epochs", 2, "--no-plot")
    assert again.returncode == 0, again.stderr


def test_a_test_set_of_the_data_is_never_trained_on(tmp_path, folder):
    images = np.random.default_rng(0).integers(0, 255, (9, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images[:6], y_train=np.arange(6) % 2, x_test=images[6:], y_test=np.arange(3) % 2)
    done = dim(
        "train",
        "--data",
        tmp_path / "a.npz",
        "--epochs",
        1,
        "--batch",
        2,
        "--output",
        folder,
        "--no-plot",
        "--json",
        "--validation-images",
        0,
    )
    assert events(done.stdout)[0]["settings"]["images"] == 6, done.stderr


def test_the_output_is_looked_at_before_the_data(tmp_path):
    """And before weights are read: both may take minutes."""
    (tmp_path / "file").write_text("in the way")
    done = dim("train", "--data", "nothing", "--weights", "nothing.h5", "--output", "file/run", cwd=tmp_path)
    assert done.returncode == 2 and "file/run: cannot be written" in done.stderr, done.stderr


def wait_for_rows(folder, count):
    metrics = folder / "metrics.csv"
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > count)


def wait_for(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def test_json_validation_checkpoints_curves(tmp_path, folder):
    pytest.importorskip("matplotlib")
    data = write_images(tmp_path / "images.npz", 24)
    done = dim(
        "train",
        "--data",
        data,
        "--epochs",
        "2",
        "--batch",
        "11",
        "--output",
        folder,
        "--json",
        "--keep-all",
        "--schedule",
        "step",
        "--step-epochs",
        "1",
        "--step-factor",
        "0.5",
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = events(done.stdout)
    assert [event["event"] for event in found] == [
        "start",
        "validation",
        "step",
        "step",
        "validation",
        "checkpoint",
        "step",
        "step",
        "validation",
        "checkpoint",
        "end",
    ]
    assert found[0]["settings"]["validation_images"] == 2 and found[-1]["status"] == "finished"
    rates = [event["learning_rate"] for event in found if event["event"] == "step"]
    assert rates == [3e-4, 3e-4, 1.5e-4, 1.5e-4]
    assert {"checkpoint-0001.h5", "checkpoint-0002.h5"} <= set(os.listdir(folder))
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_terminal_shows_a_bar(data, folder):
    pytest.importorskip("tqdm")
    with contextlib.closing(Terminal("train", "--data", data, "--epochs", "1", "--output", folder, *SMALL)) as terminal:
        assert terminal.end() == 0
    text = terminal.text
    assert "\r" in text and " images/s" in text and ", total " in text and "done: weights in" in text


def test_ctrl_c_on_a_terminal(data, folder):
    with contextlib.closing(Terminal("train", "--data", data, "--output", folder, *RUN)) as terminal:
        wait_for_rows(folder, 1)
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "stopping after this step" in terminal.text and "--resume" in terminal.text
    assert (folder / "checkpoint.h5").exists() and "Traceback" not in terminal.text


# ---- What cannot be done


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--batch", "1"], "--batch: expected 2 at least"),
        (["--lr", "nan"], "--lr: expected a finite number of at least 0"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "5000"], "--threads"),
        (["--data", "nothing"], "nothing: no such file or folder"),
        (["--resume", "nothing"], "no run to resume"),
        (["--resume", "run", "--lr", "1"], "--lr: a resumed run keeps its settings"),
        (["--weights", "nothing.h5"], "nothing.h5"),
    ],
)
def test_usage(tmp_path, data, arguments, message):
    named = [] if {"--data", "--resume"} & set(arguments) else ["--data", data]
    done = dim("train", *named, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.startswith("dim train: ")
    assert os.listdir(tmp_path) == []


def test_an_output_that_cannot_be_written_is_found_out_first(tmp_path, data):
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "run", "/proc/run"):
        done = dim("train", "--data", data, "--output", output, *SMALL)
        assert done.returncode == 2 and "cannot be written" in done.stderr, done.stderr


def test_a_run_is_not_overwritten(whole, data):
    before = (whole[0] / "weights.h5").stat().st_mtime_ns
    done = dim("train", "--data", data, "--output", whole[0])
    assert done.returncode == 2 and "holds a run already; continue it with --resume" in done.stderr
    assert (whole[0] / "weights.h5").stat().st_mtime_ns == before


def copy_of(whole, folder):
    folder.mkdir()
    for name in ("settings.json", "metrics.csv", "checkpoint.h5"):
        shutil.copy2(whole[0] / name, folder / name)


def test_changed_data_is_reported(whole, data, folder):
    copy_of(whole, folder)
    settings = (folder / "settings.json").read_text().replace('"images": 11', '"images": 12')
    (folder / "settings.json").write_text(settings)
    done = dim("train", "--resume", folder, "--epochs", "3")
    assert done.returncode == 2 and "11 images to train on, expected 12" in done.stderr


def test_a_full_disk_keeps_the_checkpoint_of_before(whole, folder):
    """A limit on the size of files takes the place of a full disk: a checkpoint has no space."""
    copy_of(whole, folder)
    before = (folder / "checkpoint.h5").stat()
    limit = 50 << 20
    done = dim(
        "train",
        "--resume",
        folder,
        "--epochs",
        "3",
        "--no-plot",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "checkpoint.h5" in done.stderr and "The checkpoint of step 10 is kept" in done.stderr, done.stderr
    after = (folder / "checkpoint.h5").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not [name for name in os.listdir(folder) if name not in ("checkpoint.h5", "metrics.csv", "settings.json")]


def test_a_damaged_image_saves_the_run_first(tmp_path, folder):
    """It is found when its turn comes; with the file mended, the run continues."""
    from deepinfomax.data import dataloader_order

    images = np.random.default_rng(0).random((9, 32, 32, 3), np.float32)
    damaged = images.copy()
    damaged[dataloader_order(9, 0, 0)[5], 0, 0, 0] = np.nan  # Of the third batch.
    np.save(tmp_path / "images.npy", damaged)
    done = dim("train", "--data", tmp_path / "images.npy", "--epochs", "1", "--output", folder, *SMALL)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "images.npy: image" in done.stderr and "The checkpoint of step 2 is kept" in done.stderr, done.stderr
    np.save(tmp_path / "images.npy", images)
    assert dim("train", "--resume", folder, "--no-plot").returncode == 0
    assert [row[0] for row in losses(folder)[1:]] == ["1", "2", "3", "4"]


def test_too_little_room_is_found_out_first(data, small_disk):
    done = dim("train", "--data", data, "--output", small_disk / "run", *SMALL)
    assert os.listdir(small_disk) == []
    assert done.returncode == 2 and "MB are needed: a checkpoint" in done.stderr


def test_space_for_all_checkpoints_is_checked_first(data, tmp_path):
    """A run that keeps each checkpoint filled the disk after days."""
    done = dim(
        "train", "--data", data, "--output", tmp_path / "run", *SMALL, "--epochs", 10**9, "--keep-all", "--checkpoint-every", 10
    )
    assert done.returncode == 2 and "--keep-all keeps 100,000,000 checkpoints" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
