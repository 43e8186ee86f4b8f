"""`dim encode`, end to end on a few images."""

import csv
import json
import os
import resource
import subprocess
import zipfile

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim, write_images
from data_fixtures import random_images

N = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npz", N, labels=True)


@pytest.fixture(scope="module")
def expected():
    """encoded, features"""
    return deepinfomax.Model(5).encode(random_images(N))


def read(path):
    """Its arrays: encoded, and whatever else."""
    if path.suffix == ".npy":
        return {"encoded": np.load(path)}
    if path.suffix == ".npz":
        with np.load(path) as file:
            return dict(file)
    if path.suffix == ".csv":
        rows = list(csv.DictReader(open(path)))
        encoded = np.array([[row[f"y{i}"] for i in range(64)] for row in rows], np.float32)
        labels = np.array([int(row["label"]) for row in rows])
        return {"encoded": encoded, "labels": labels, "ids": np.array([row["id"] for row in rows])}
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        assert file.attrs["weights"] == "seed 5, untrained" and file.attrs["data"] == "images.npz"
        return {name: file[name].asstr()[:] if file[name].dtype == object else file[name][()] for name in file}


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.h5"])
def test_formats(data, expected, tmp_path, name):
    """In batches that do not divide the data."""
    done = dim("encode", "--data", data, "--seed", "5", "--output", tmp_path / name, "--batch", "4")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = read(tmp_path / name)
    assert np.allclose(found["encoded"], expected[0], rtol=1e-5, atol=1e-6)
    if name != "a.npy":
        assert found["labels"].tolist() == [i % 3 for i in range(N)] and found["ids"].tolist() == list(map(str, range(N)))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_features(data, expected, tmp_path, name):
    done = dim("encode", "--data", data, "--seed", "5", "--output", tmp_path / name, "--batch", "4", "--features", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert json.loads(done.stdout)["images"] == N
    found = read(tmp_path / name)
    assert np.allclose(found["features"], expected[1], rtol=1e-4, atol=1e-5)
    assert np.allclose(found["encoded"], expected[0], rtol=1e-5, atol=1e-6)


def test_split_and_limit(data, tmp_path):
    done = dim("encode", "--data", data, "--split", "train", "--limit", "3", "--output", tmp_path / "a.npy")
    assert done.returncode == 0 and np.load(tmp_path / "a.npy").shape == (3, 64)


# ---- What cannot be done


@pytest.mark.parametrize(
    "output, more, message",
    [
        ("a.txt", [], "--output: expected a name that ends in .npy"),
        ("a.csv", ["--features"], "hold one output"),
        ("a.csv", ["--outputs", "conv"], "hold vectors, not maps"),
        ("a.npz", ["--outputs", "encoded,maps"], "expected some of encoded,features,conv,fc, found 'maps'"),
        ("a.npz", ["--outputs", "fc"], "the model's architecture has no fc; it has encoded, features, conv"),
        ("a.npz", ["--outputs", "conv,conv"], "expected each once"),
        ("nothing/a.npy", [], "there is no folder"),
        ("folder.npy", [], "is a folder"),
        ("a.npy", ["--weights", "nothing.h5"], "nothing.h5"),
        ("a.npy", ["--threads", "-1"], "--threads"),
    ],
)
def test_usage(data, tmp_path, output, more, message):
    (tmp_path / "folder.npy").mkdir()
    done = dim("encode", "--data", data, "--output", output, *more, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["folder.npy"]


def test_a_damaged_record_leaves_the_file_of_before(tmp_path):
    images = random_images(6).astype(np.float32) / 255
    images[4, 0, 0, 0] = np.nan
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "a.npz").write_text("from before")
    done = dim("encode", "--data", tmp_path / "images.npy", "--output", tmp_path / "a.npz", "--batch", "2")
    assert done.returncode == 2 and "images.npy: image 4 has NaN" in done.stderr
    assert (tmp_path / "a.npz").read_text() == "from before"
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "images.npy"]


FULL = pytest.mark.parametrize(
    "name, more",
    [("a.npy", []), ("a.npz", []), ("a.csv", []), ("a.h5", []), ("b.npz", ["--features"]), ("b.h5", ["--features"])],
)


@FULL
def test_too_little_room_is_found_out_first(data, small_disk, name, more):
    (small_disk / name).write_text("from before")
    disk = os.statvfs(small_disk)
    free = disk.f_bavail * disk.f_frsize
    (small_disk / "ballast").write_bytes(bytes(free - (1 << 20 if more else 0)))
    try:
        done = dim("encode", "--data", data, "--output", small_disk / name, *more)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert f"{small_disk / name}: " in done.stderr and " are needed" in done.stderr
        assert (small_disk / name).read_text() == "from before"
        assert sorted(os.listdir(small_disk)) == [name, "ballast"]
    finally:
        (small_disk / "ballast").unlink()
        (small_disk / name).unlink()


@FULL
def test_the_disk_fills_meanwhile(data, tmp_path, name, more):
    """A limit on the size of files takes the place of a full disk."""
    (tmp_path / name).write_text("from before")
    limit = 1 << 20 if more else 2000
    done = dim(
        "encode",
        "--data",
        data,
        "--output",
        tmp_path / name,
        "--batch",
        "2",
        *more,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},  # Half-written modules would stay.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert str(tmp_path / name) in done.stderr and "too large" in done.stderr.lower(), done.stderr
    assert (tmp_path / name).read_text() == "from before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["y.csv", "y.npz", "y.h5"])
def test_a_pipe_that_nobody_reads_to_its_end(tmp_path, name):
    """It was said to be well, with exit code 0; HDF5, which goes to no pipe, was an "output: Illegal seek"."""
    write_images(tmp_path / "images.npy", 600)
    os.mkfifo(tmp_path / name)
    reader = subprocess.Popen(["head", "-c", "1", tmp_path / name], stdout=subprocess.PIPE)
    done = dim("encode", "--data", "images.npy", "--output", name, cwd=tmp_path)
    reader.kill()
    reader.communicate()
    expected = "is a pipe or a device; HDF5 needs a regular file" if name == "y.h5" else "Broken pipe"
    assert done.returncode == 2 and f"dim encode: {name}: {expected}" in done.stderr and done.stdout == "", done


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_a_small_file_of_many_vectors(tmp_path, name):
    """Its header alone said how much memory there had to be."""
    from deepinfomax.encoded_files import read_encoded

    if name == "a.npz":
        with zipfile.ZipFile(tmp_path / name, "w") as archive, archive.open("encoded.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**38, 64)})
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("encoded", (2**38, 64), np.float32, chunks=(1024, 64))
    with pytest.raises(
        ValueError, match=f"{name}: unpacks to 70,368,744.2 MB in memory, 2,147.5 MB more than the file has are allowed"
    ):
        read_encoded(tmp_path / name)
    with pytest.raises(ValueError, match="holds 274,877,906,944 vectors; the data has 3 images"):
        read_encoded(tmp_path / name, count=3)


def test_a_link_to_nothing(data, tmp_path):
    """/dev/null tells no place in it, which an archive was written by."""
    for name in "a.npz", "a.npy", "a.csv":
        (tmp_path / name).symlink_to("/dev/null")
        done = dim("encode", "--data", data, "--output", tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "") and os.readlink(tmp_path / name) == "/dev/null", done.stderr


def test_the_file_that_cannot_be_reached_is_named(tmp_path):
    """It was "weights.h5" within the file."""
    long = "a" * 300
    done = dim("encode", "--data", "digits", "--weights", long, "--output", tmp_path / "a.npz")
    assert done.returncode == 2 and done.stderr.endswith(f" {long}: File name too long\n") and "weights.h5" not in done.stderr
