"""--untrusted: every command that reads weights survives a file that ends whoever reads it."""

import random
import shutil

import numpy as np
import pytest
from cli_fixtures import dim, write_images
from deepinfomax import DimError, Model
from weights_fixtures import state_of, write
from weights_mutants import mutants, sources


@pytest.fixture(scope="module")
def deadly(tmp_path_factory):
    """A file that makes libhdf5 divide by zero."""
    folder = tmp_path_factory.mktemp("deadly")
    for path in mutants(folder, random.Random(1), 1000, sources(folder, checksums=True)):
        try:
            Model.open(path, untrusted=True).close()
        except DimError as error:
            if "by signal 8" in str(error):
                return path
    pytest.fail("no mutant divides by zero")


def assert_survived(done):
    assert done.returncode > 0, done
    assert "ended the isolated reader by signal 8" in done.stdout + done.stderr, done
    assert "Traceback" not in done.stderr


def test_without_it_the_process_ends(deadly):
    assert dim("info", deadly).returncode == -8


@pytest.mark.parametrize(
    "command",
    [
        ["info", "FILE"],
        ["encode", "--weights", "FILE", "--data", "DATA", "--output", "y.npy"],
        ["classify", "--weights", "FILE", "--data", "DATA"],
        ["neighbours", "--weights", "FILE", "--data", "DATA"],
        ["map", "--weights", "FILE", "--data", "DATA"],
        ["convert", "FILE", "out.h5"],
        ["train", "--weights", "FILE", "--data", "DATA", "--epochs", "1"],
    ],
    ids=lambda command: command[0],
)
def test_commands(tmp_path, deadly, command):
    names = {"FILE": deadly, "DATA": write_images(tmp_path / "images.npz", 30, labels=True)}
    assert_survived(dim(*(names.get(word, word) for word in command), "--untrusted", cwd=tmp_path))


def test_resume(tmp_path, deadly):
    data = write_images(tmp_path / "images.npz", 4)
    assert (
        dim(
            "train",
            "--data",
            data,
            "--epochs",
            1,
            "--batch",
            2,
            "--output",
            tmp_path / "run",
            "--no-plot",
            "--validation-images",
            0,
        ).returncode
        == 0
    )
    resumed = ["train", "--resume", tmp_path / "run", "--epochs", 2, "--no-plot", "--untrusted"]
    assert dim(*resumed).returncode == 0
    shutil.copy(deadly, tmp_path / "run" / "checkpoint.h5")
    assert_survived(dim("train", "--resume", tmp_path / "run", "--epochs", 3, "--untrusted"))


def test_a_sound_file(tmp_path):
    path = write(tmp_path / "w.h5", state_of("classifier", "encoder"))
    data = write_images(tmp_path / "images.npy", 3)
    for name, options in (("a.npy", []), ("b.npy", ["--untrusted"])):
        done = dim("encode", "--weights", path, "--data", data, "--output", tmp_path / name, *options)
        assert done.returncode == 0, done
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
