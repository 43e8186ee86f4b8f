"""deepinfomax.dask: the vectors are those of Model.encode, whatever workers do. On Dask's LocalCluster, over the loopback."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("dask.distributed")
import dask.array as da  # noqa: E402
import dask.bag as db  # noqa: E402
from dask.distributed import Client, LocalCluster  # noqa: E402
from deepinfomax import Architecture, Model  # noqa: E402
from deepinfomax.dask import _Weights, encode  # noqa: E402

IMAGES = np.random.default_rng(5).random((300, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def tiny():
    path = os.path.join(os.path.dirname(__file__), "digits8.json")
    with Model(4, architecture=Architecture.from_json(path)) as model:
        yield model


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=str(folder)
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("output", ["encoded", "features"])
def test_an_array(tiny, output, tmp_path):
    expected = tiny.encode(IMAGES, outputs=(output,))[0]
    tiny.save(tmp_path / "weights.h5")
    for chunks in ((77, 1, 8, 8), (300, 1, 3, 8), (1, 1, 8, 8)):
        images = da.from_array(IMAGES[:100] if chunks[0] == 1 else IMAGES, chunks=chunks)
        lazy = encode(images, tmp_path / "weights.h5", output=output)
        assert lazy.shape == (len(images), *expected.shape[1:]) and lazy.dtype == np.float32
        assert lazy.compute(scheduler="threads").tobytes() == expected[: len(images)].tobytes()


def test_an_output_is_one_name(tiny):
    for wrong in ["fc"], None, np.array(["fc", "conv"]):
        with pytest.raises(ValueError, match="^output: the model has encoded, .*; found"):
            encode(["a.png"], tiny, output=wrong)


def test_bytes_in_another_order(tiny):
    pixels = (IMAGES[:20] * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    found = encode(da.from_array(pixels, chunks=(7, 8, 8, 1)), tiny).compute(scheduler="sync")
    assert found.tobytes() == tiny.encode(pixels, features=False).tobytes()


def test_image_files(tiny, tmp_path):
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for number, path in enumerate(paths):
        image.fromarray((IMAGES[number, 0] * 255).astype(np.uint8)).save(path)
    expected = tiny.encode(paths, features=False)
    for images in (paths, db.from_sequence(map(str, paths), npartitions=4)):
        found = encode(images, tiny, partition=2).compute(scheduler="sync")
        assert np.stack(found).tobytes() == expected.tobytes()


def test_the_same_vectors_have_the_same_name(tiny, tmp_path):
    """Those of an array had another one each time: a cluster that held them encoded them again."""
    tiny.save(tmp_path / "w.h5")
    with Model(5, architecture=tiny.architecture) as model:
        model.save(tmp_path / "other.h5")
    for images, others in (
        (da.from_array(IMAGES, chunks=(77, 1, 3, 8)), da.from_array(IMAGES[:9])),
        (db.from_sequence(["a.png", "b.png"]), db.from_sequence(["c.png"])),
    ):
        first = encode(images, tmp_path / "w.h5")
        assert set(encode(images, tmp_path / "w.h5").dask) == set(encode(images, tiny).dask) == set(first.dask)
        different = encode(others, tiny), encode(images, tmp_path / "other.h5"), encode(images, tiny, output="features")
        assert len({one.name for one in (first, *different)}) == 4


def test_refusals(tiny, tmp_path):
    with pytest.raises(ValueError, match="expected .n, c, h, w. or"):
        encode(da.zeros((3, 4)), tiny)
    with pytest.raises(TypeError, match="paths"):
        encode("photo.png", tiny)
    with pytest.raises(TypeError, match="expected a dask array.*found ndarray"):
        encode(IMAGES, tiny)
    for wrong in (0, -1):  # Which gave no vectors at all.
        with pytest.raises(ValueError, match="partition: expected 1 or more"):
            encode(["photo.png"], tiny, partition=wrong)
    with pytest.raises(TypeError, match="weights: expected a Model or a file's path, found int"):  # A file descriptor.
        encode(da.zeros((3, 1, 8, 8)), 3)
    (tmp_path / "junk.h5").write_bytes(b"junk" * 100)
    with pytest.raises(ValueError, match="junk.h5 is not an HDF5 file"):
        encode(da.zeros((3, 1, 8, 8)), tmp_path / "junk.h5")
    with pytest.raises(ValueError, match="output: the model has encoded"):
        encode(da.zeros((3, 1, 8, 8)), tiny, output="colour")
    with pytest.raises(FileNotFoundError):
        encode(da.zeros((3, 1, 8, 8)), tmp_path / "nothing.h5")


def test_weights_travel_as_a_file(tiny):
    from deepinfomax import _copies

    weights = _Weights(_copies.content(tiny.save))
    weights.model  # Opened here: not what travels.
    other = pickle.loads(pickle.dumps(weights))
    assert other._model is None
    assert other.model.encode(IMAGES[:3], features=False).tobytes() == tiny.encode(IMAGES[:3], features=False).tobytes()


def _slow(block):
    time.sleep(0.15)
    return block


def test_image_files_on_a_cluster(tiny, client, tmp_path):
    """Vectors of files travel between processes; a damaged file is named, wherever it was read."""
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for number, path in enumerate(paths):
        image.fromarray((IMAGES[number, 0] * 255).astype(np.uint8)).save(path)
    expected = tiny.encode(paths, features=False)
    found = client.compute(encode(paths, tiny, partition=2)).result(timeout=60)
    assert np.stack(found).tobytes() == expected.tobytes()
    paths[7].write_bytes(paths[7].read_bytes()[:50])
    with pytest.raises(ValueError, match="7.png: is damaged"):
        client.compute(encode(paths, tiny, partition=2)).result(timeout=60)


def test_a_killed_worker(tiny, client):
    """Half-way through, one of two workers gets SIGKILL: the result has the bytes of one process."""
    images = da.from_array(IMAGES, chunks=(10, 1, 8, 8)).map_blocks(_slow)
    future = client.compute(encode(images, tiny))
    time.sleep(1.0)
    workers = client.run(os.getpid)
    assert len(workers) == 2 and not future.done()
    os.kill(sorted(workers.values())[0], signal.SIGKILL)
    assert future.result(timeout=60).tobytes() == tiny.encode(IMAGES, features=False).tobytes()


def test_dask_and_mpi_are_imported_only_on_use():
    script = (
        "import sys, deepinfomax, deepinfomax.distributed, deepinfomax.cli, deepinfomax.commands.train, deepinfomax.commands.encode\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('dask', 'distributed', 'mpi4py')])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
