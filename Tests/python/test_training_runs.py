"""A run is its bytes: whether it was interrupted, on how many threads it ran, and when its checkpoint was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import deepinfomax
from deepinfomax import ClassifierTrainer, DimError, Model, Trainer

h5py = pytest.importorskip("h5py")

BATCH = np.random.default_rng(7).random((4, 3, 32, 32), dtype=np.float32)
LABELS = np.array([3, 1, 4, 1])


def contents(path):
    """Every dataset of a file, by its full name."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()]).tobytes()

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.parametrize("prior", ["monolithic", "adversarial"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, prior):
    whole, half, resumed = (tmp_path / name for name in ("whole.h5", "half.h5", "resumed.h5"))
    with Trainer(Model(1), prior=prior, seed=5) as trainer:
        for step in range(4):
            trainer.step(BATCH)
            if step == 1:
                trainer.save(half)
        trainer.save(whole)
    with Trainer.resume(half) as trainer:
        for _ in range(2):
            trainer.step(BATCH)
        trainer.save(resumed)
    assert contents(resumed) == contents(whole)
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("encoder", ["frozen", "trained"])
def test_a_resumed_classifier_run_is_the_uninterrupted_one(tmp_path, encoder):
    whole, half, resumed = (tmp_path / name for name in ("whole.h5", "half.h5", "resumed.h5"))
    with ClassifierTrainer(Model(1), encoder=encoder) as trainer:
        for step in range(4):
            trainer.step(BATCH, LABELS)
            if step == 1:
                trainer.save(half)
        trainer.save(whole)
    with ClassifierTrainer.resume(half) as trainer:
        for _ in range(2):
            trainer.step(BATCH, LABELS)
        trainer.save(resumed)
    assert contents(resumed) == contents(whole)


def test_one_thread_makes_the_bytes_of_two(tmp_path):
    threads = deepinfomax.num_threads()
    files = []
    try:
        for n in (1, 2, 3):
            deepinfomax.set_num_threads(n)
            path = tmp_path / f"{n}.h5"
            with Trainer(Model(2), seed=9) as trainer:
                for size in (4, 3):
                    trainer.step(BATCH[:size])
                trainer.save(path)
            files.append(path.read_bytes())
    finally:
        deepinfomax.set_num_threads(threads)
    assert files[0] == files[1] == files[2]


KILLED = """
import sys
from deepinfomax import Trainer
with Trainer.resume(sys.argv[1]) as trainer:
    trainer.set_learning_rates(1e-3, 1e-3)
    print("ready", flush=True)
    while True:
        trainer.save(sys.argv[1])
"""


def test_a_kill_during_a_save_leaves_a_whole_checkpoint(tmp_path):
    """Old or new: they differ in the learning rates alone, which are in `settings`."""
    path = tmp_path / "run.h5"
    with Trainer(Model(1)) as trainer:
        trainer.step(BATCH)
        trainer.save(path)
    old = contents(path)
    for attempt in range(5):
        child = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.07 * attempt)
        child.send_signal(signal.SIGKILL)
        child.wait()
        now = contents(path)
        assert {name for name in old if now[name] != old[name]} <= {"checkpoint/settings"}
        with Trainer.resume(path) as trainer:
            assert trainer.steps == 1 and trainer.encoder_lr in (1e-4, 1e-3)
    for stray in Path(tmp_path).iterdir():
        assert stray == path or ".tmp" in stray.name or stray.name.startswith(".")


@pytest.mark.parametrize(
    "name, value, words", [("version", 99, "newer"), ("noise_position", 9999, "noise_position"), ("step", -3, "step")]
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, name, value, words):
    path = tmp_path / "run.h5"
    with Trainer(Model(1)) as trainer:
        trainer.save(path)
    with h5py.File(path, "r+") as file:
        file["checkpoint"][name][()] = value
    with pytest.raises(DimError, match=words) as caught:
        Trainer.resume(path)
    assert caught.value.status_name == "DIM_FILE_CONTENT"
    with Model.open(path) as model:  # Its weights are sound.
        assert len(model.networks) == 5


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "run.h5"
    with Trainer(Model(1)) as trainer:
        trainer.save(path)
    with h5py.File(path, "r+") as file:
        del file["checkpoint"]["first_moment"]
        file["checkpoint"]["first_moment"] = np.zeros(7, np.float32)
    with pytest.raises(DimError, match="first_moment"):
        Trainer.resume(path)
    with pytest.raises(DimError, match="classifier"):
        ClassifierTrainer.resume(path)


def test_a_refused_step_changes_nothing(tmp_path):
    before, after = tmp_path / "before.h5", tmp_path / "after.h5"
    with Trainer(Model(1), seed=3) as trainer:
        trainer.step(BATCH)
        trainer.save(before)
        broken = BATCH.copy()
        broken[2, 1, 5, 5] = np.nan
        for batch in (broken, BATCH[:1]):
            with pytest.raises(DimError):
                trainer.step(batch)
        trainer.on_gradients = lambda values: (_ for _ in ()).throw(KeyError("stop"))
        with pytest.raises(KeyError):
            trainer.step(BATCH)
        trainer.on_gradients = None
        trainer.save(after)
    assert after.read_bytes() == before.read_bytes()
    assert os.path.getsize(after) > 0
