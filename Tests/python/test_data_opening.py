"""Paths that name no data set, the data without a path, the loader, and pickled data sets."""

import copy
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import deepinfomax
import numpy as np
import pytest
from data_fixtures import random_images, scaled
from deepinfomax.data import DataError, Loader, dataloader_order, open_dataset
from deepinfomax.data.dataset import InMemory, Joined


@pytest.mark.parametrize(
    "name, message",
    [
        ("nothing", "no such file or folder"),
        ("notes.txt", "the name's ending tells the format"),
        ("empty", "no images; expected files"),
        ("/dev/null", "neither a file nor a folder"),
    ],
)
def test_no_data_set(tmp_path, name, message):
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / name)


def test_an_unknown_split():
    with pytest.raises(ValueError, match="split: expected one of"):
        open_dataset(split="half")


def test_the_data_when_none_is_named():
    pytest.importorskip("sklearn")
    photographs, digits = open_dataset(), open_dataset(labelled=True)
    assert (len(photographs), photographs.labels) == (520, None)
    assert (len(digits), digits.classes) == (1797, tuple("0123456789"))
    assert len(open_dataset(split="train")) == 468 and len(open_dataset(split="validation")) == 52
    found = digits.read([0, 1796])
    assert found.shape == (2, 3, 32, 32) and found.min() == 0 and found.max() == 1
    assert np.array_equal(found[:, 0], found[:, 2]) and np.array_equal(found[..., 0], found[..., 3])


@pytest.mark.parametrize("labelled", [False, True])
def test_scikit_learn_missing(labelled):
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.datasets'] = None\n"
        f"from deepinfomax.data import open_dataset; open_dataset(labelled={labelled})"
    )
    package = str(Path(deepinfomax.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": package})
    last = done.stderr.splitlines()[-1]
    assert "scikit-learn, which is not installed: pip install" in last and "data of your own" in last


def test_indices_outside():
    dataset = InMemory("x", random_images(4).transpose(0, 3, 1, 2))
    for wrong in ([4], [-1], [0.5], [[0]]):
        with pytest.raises(IndexError):
            dataset.read(wrong)
    assert dataset.read([]).shape == (0, 3, 32, 32)


# ---- The loader


def small(n=10):
    return InMemory("small", random_images(n).transpose(0, 3, 1, 2), np.arange(n))


def test_batches_in_order():
    batches = list(Loader(small(), 4, seed=3).epoch(1))
    order = dataloader_order(10, 3, 1)
    assert [batch.indices.tolist() for batch in batches] == [order[:4].tolist(), order[4:8].tolist()]
    assert np.array_equal(batches[1].images, scaled(random_images(10))[order[4:8]])
    assert np.array_equal(batches[1].labels, order[4:8])
    again = list(Loader(small(), 4, seed=3).epoch(1, start=1))
    assert np.array_equal(again[0].indices, batches[1].indices) and len(again) == 1


def test_the_last_batch():
    assert [len(batch.indices) for batch in Loader(small(), 4, drop_last=False, shuffle=False).epoch(0)] == [4, 4, 2]
    assert [len(batch.indices) for batch in Loader(small(), 64).epoch(0)] == [10]


def test_the_next_batch_is_read_meanwhile():
    reading = []

    class Slow(InMemory):
        def _pixels(self, indices):
            reading.append(threading.current_thread().name)
            return super()._pixels(indices)

    batches = Loader(Slow("slow", random_images(20).transpose(0, 3, 1, 2)), 4, ahead=1).epoch(0)
    next(batches)
    deadline = time.monotonic() + 10
    while len(reading) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reading == ["dim-loader"] * 3, "one in use, one waiting, one that waits for a place"
    batches.close()
    assert "dim-loader" not in [thread.name for thread in threading.enumerate()]


def test_an_error_comes_in_its_batch_s_turn():
    class Damaged(InMemory):
        def _pixels(self, indices):
            if 5 in indices:
                raise DataError("five")
            return super()._pixels(indices)

    batches = Loader(Damaged("damaged", random_images(8).transpose(0, 3, 1, 2)), 4, shuffle=False).epoch(0)
    assert next(batches).indices.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="five"):
        next(batches)


# ---- Pickles


def _idx(path, images):
    path.write_bytes(struct.pack(">HBBIII", 0, 8, 3, *images.shape) + images.tobytes())


def _h5(path, **arrays):
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


PIXELS = np.random.default_rng(0).integers(0, 255, (50, 16, 16, 3)).astype(np.uint8)
OTHERS = {
    "floats": ("a.npy", np.save, lambda path: np.save(path, (PIXELS / 255).astype(np.float32))),
    "fewer": ("a.npy", np.save, lambda path: np.save(path, PIXELS[:10])),
    "other axes": ("a.npy", np.save, lambda path: np.save(path, PIXELS.transpose(0, 3, 1, 2).copy())),
    "other pixels": ("a.npy", np.save, lambda path: np.save(path, PIXELS[::-1])),
    "empty": ("a.npy", np.save, lambda path: path.write_bytes(b"")),
    "another array first": (
        "a.npz",
        lambda path, images: np.savez(path, images=images),
        lambda path: np.savez(path, a=np.arange(999), images=PIXELS),
    ),
    "compressed": (
        "a.npz",
        lambda path, images: np.savez(path, images=images),
        lambda path: np.savez_compressed(path, images=PIXELS),
    ),
    "idx": (
        "a-images-idx3-ubyte",
        lambda path, images: _idx(path, images[..., 0]),
        lambda path: _idx(path, PIXELS[:, :8, :, 0]),
    ),
    "hdf5 floats": (
        "a.h5",
        lambda path, images: _h5(path, images=images),
        lambda path: _h5(path, images=PIXELS / np.float32(255)),
    ),
    "hdf5 fewer": ("a.h5", lambda path, images: _h5(path, images=images), lambda path: _h5(path, images=PIXELS[:2])),
    "hdf5 other name": ("a.h5", lambda path, images: _h5(path, images=images), lambda path: _h5(path, foo=PIXELS)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_pickled_data_set_is_of_the_file_that_was_opened(tmp_path, kind):
    """Wrong pixels were read in silence, or numpy's own errors came."""
    name, write, rewrite = OTHERS[kind]
    write(tmp_path / name, PIXELS)
    data = open_dataset(tmp_path / name)
    image = data[3][0].copy()
    kept = pickle.dumps(data)
    (tmp_path / "moved").mkdir()
    (tmp_path / name).rename(tmp_path / "moved" / name)
    shutil.copyfile(tmp_path / "moved" / name, tmp_path / name)  # A copy is the same file.
    assert (pickle.loads(kept)[3][0] == image).all() and (copy.deepcopy(data)[3][0] == image).all()
    rewrite(tmp_path / name)
    with pytest.raises(
        DataError, match=rf"{name}: is no longer the file that the data set was opened with.*; open the data set again"
    ):
        pickle.loads(kept)[3]
    assert (data[3][0] == image).all(), "what was open stays open"


def test_a_folder_that_may_be_listed_alone(tmp_path, monkeypatch):
    """A file that nobody has was blamed, train_X.bin. Root may enter any folder, so the answer is made."""
    (tmp_path / "photos").mkdir()
    monkeypatch.setattr("deepinfomax.data.opening.os.access", lambda path, mode: mode & os.X_OK == 0)
    with pytest.raises(DataError, match=r"photos: Permission denied$"):
        open_dataset(tmp_path / "photos")


# ---- Pixels as they are stored


def test_pixels_and_marks_take_what_read_takes(tmp_path):
    """Lists were errors of numpy's, and -1 was the last image."""
    h5py = pytest.importorskip("h5py")
    image = pytest.importorskip("PIL.Image")
    images = random_images(6)
    (tmp_path / "folder" / "cat").mkdir(parents=True)
    for number, one in enumerate(images):
        image.fromarray(one).save(tmp_path / "folder" / "cat" / f"{number}.png")
    np.savez(tmp_path / "a.npz", images=images)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = images
    for source in "folder", "a.npz", "a.h5":
        whole = open_dataset(tmp_path / source)
        resized = open_dataset(tmp_path / source, image=(3, 32, 32), resize="stretch")
        joined = Joined("both", [whole.subset([5, 4, 3]), whole.subset([2, 1, 0])])
        for data, step in (whole, 1), (resized, 1), (whole[::-1], -1), (joined, -1):
            expected = images.transpose(0, 3, 1, 2)[::step]
            for index in [1, 4], (1, 4), np.array([1, 4], np.int32), slice(1, 5, 3):
                assert np.array_equal(data.pixels(index), expected[[1, 4]]), (source, index)
                assert data.marks(index) == [data.marks([1])[0], data.marks([4])[0]]
            assert data.pixels([]).shape == (0, 3, 32, 32) and data.marks([]) == []
            for wrong in [-1], [6], [0.5], 3:
                for read in data.pixels, data.marks, data.read:
                    with pytest.raises(IndexError, match=data.name):
                        read(wrong)
