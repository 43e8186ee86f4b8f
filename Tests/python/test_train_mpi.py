"""bindings/c/train_mpi.c: the bytes of one process, a checkpoint continued, and what it refuses."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mpi_fixtures import needs_mpi, run

from deepinfomax import Architecture, Model, Trainer

pytestmark = [needs_mpi, pytest.mark.skipif(shutil.which("mpicc") is None, reason="needs mpicc: make deps")]


@pytest.fixture(scope="module")
def train_mpi(tmp_path_factory):
    """bindings/c/train_mpi.c, compiled as its first lines say: a function that runs it with `processes`, as `run` does."""
    top = Path(__file__).parents[2]
    library = Path(os.environ.get("DIM_LIBRARY", top / "build" / "libdim.so")).resolve().parent
    program = tmp_path_factory.mktemp("program") / "train_mpi"
    warnings = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [
            "mpicc",
            *warnings,
            f"-I{top}/include",
            str(top / "bindings/c/train_mpi.c"),
            "-o",
            str(program),
            f"-L{library}",
            "-ldim",
            f"-Wl,-rpath,{library}",
        ],
        check=True,
    )

    def start(processes, *arguments, code=0):
        return run(["mpirun", "--oversubscribe", "-n", str(processes), str(program), *map(str, arguments)], code)

    start.program = str(program)
    return start


def test_the_same_bytes(train_mpi, tmp_path):
    """The bytes of 1, 2 and 4 processes, and of Trainer in Python."""
    images = np.random.default_rng(4).random((64, 3, 32, 32), dtype=np.float32)
    images.tofile(tmp_path / "images.f32")
    for processes in (1, 2, 4):
        train_mpi(processes, tmp_path / f"{processes}.h5", tmp_path / "images.f32", 3)
    with Trainer(Model(0, architecture=Architecture.preset("basic32")), micro_batches=4) as trainer:
        for start in (0, 32, 0):
            trainer.step(images[start : start + 32])
        trainer.save(tmp_path / "python.h5")
    for processes in (1, 2, 4):
        assert (tmp_path / f"{processes}.h5").read_bytes() == (tmp_path / "python.h5").read_bytes(), processes


def test_continues_a_checkpoint(train_mpi, tmp_path):
    """A checkpoint of an earlier run was replaced by that of a run from step 0."""
    np.random.default_rng(4).random((64, 3, 32, 32), dtype=np.float32).tofile(tmp_path / "images.f32")
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    train_mpi(1, whole, tmp_path / "images.f32", 3)
    train_mpi(2, parts, tmp_path / "images.f32", 1)
    out, _ = train_mpi(4, parts, tmp_path / "images.f32", 2)
    assert out == f"going on from {parts}, step 1\n"
    assert parts.read_bytes() == whole.read_bytes()


def test_keeps_what_is_no_checkpoint_of_its(train_mpi, tmp_path):
    """Notes became HDF5; and that a checkpoint could not be saved was said after all steps."""
    np.zeros((32, 3, 32, 32), np.float32).tofile(tmp_path / "images.f32")
    notes, other, micro = tmp_path / "notes.txt", tmp_path / "other.h5", tmp_path / "micro.h5"
    notes.write_text("my notes\n")
    for path, name, parts in ((other, "basic28", 4), (micro, "basic32", 2)):
        with Trainer(Model(0, architecture=Architecture.preset(name)), micro_batches=parts) as trainer:
            trainer.save(path)
    for path, words in (
        (notes, "notes.txt is not an HDF5 file"),
        (other, "expected architecture basic32"),
        (micro, "micro.h5: expected a run of 4 micro-batches a step"),
        (tmp_path, "it is a directory, not a regular file"),
    ):
        before = path.read_bytes() if path.is_file() else None
        for processes in (1, 2):
            _, errors = train_mpi(processes, path, tmp_path / "images.f32", 1, code=1)
            assert words in errors, errors
        assert before is None or path.read_bytes() == before
    _, errors = train_mpi(2, tmp_path / "missing" / "run.h5", tmp_path / "images.f32", 10**9, code=1)
    assert f"cannot save in folder {tmp_path}/missing: No such file or directory" in errors


def test_processes_that_see_other_files(train_mpi, tmp_path):
    """As on machines without a shared file system: all end, and the checkpoint stays."""
    np.zeros((32, 3, 32, 32), np.float32).tofile(tmp_path / "images.f32")
    for number, name in enumerate(("first", "second")):
        train_mpi(1, tmp_path / f"{name}.h5", tmp_path / "images.f32", number + 1)
    before = (tmp_path / "first.h5").read_bytes()
    for second, words in (("second", "its step is not that of rank 0's file"), ("third", "No such file or directory")):
        ranks = [["-n", "1", train_mpi.program, f"{name}.h5", "images.f32", "1"] for name in ("first", second)]
        _, errors = run(["mpirun", "--oversubscribe", *ranks[0], ":", *ranks[1]], 1, cwd=tmp_path)
        assert "rank 1 of 2" in errors and words in errors, errors
    assert (tmp_path / "first.h5").read_bytes() == before


def test_refuses(train_mpi, tmp_path):
    """The images' file was replaced by a checkpoint; `x` was 0 steps; a folder was "rank 0 of 1: " and nothing more."""
    images, other, run_file = tmp_path / "images.f32", tmp_path / "other name.f32", tmp_path / "run.h5"
    np.zeros((32, 3, 32, 32), np.float32).tofile(images)
    other.hardlink_to(images)
    (tmp_path / "short.f32").write_bytes(images.read_bytes()[: 8 * 12288 - 1])
    np.full((32, 3, 32, 32), np.nan, np.float32).tofile(tmp_path / "nan.f32")
    before = images.read_bytes()

    def refused(code, words, *arguments, processes=1):
        _, errors = train_mpi(processes, *arguments, code=code)
        assert words in errors and ("usage: mpirun" in errors) == (code == 2), errors

    refused(2, "images.f32: CHECKPOINT names the file of IMAGES", images, images, 1)
    refused(2, "images.f32: CHECKPOINT names the file of IMAGES", images, other, 1)
    for steps in ("x", "-1", "0", "", "1x", "1e3", "9" * 30):
        refused(2, f"{steps}: expected a number of steps, 1 or more", run_file, images, steps)
    refused(2, "expected CHECKPOINT, IMAGES and STEPS", run_file, images)
    refused(2, "expected 1, 2 or 4 of them", run_file, images, 1, processes=3)
    refused(1, f"rank 0 of 1: {tmp_path}: Is a directory", run_file, tmp_path, 1)
    refused(1, "nothing: No such file or directory", run_file, tmp_path / "nothing", 1)
    refused(1, "short.f32: expected 8 images of 3 x 32 x 32 float32, found the end", run_file, tmp_path / "short.f32", 1)
    refused(1, "of 2: step: ", run_file, tmp_path / "nan.f32", 1, processes=2)
    assert images.read_bytes() == before and not run_file.exists()
