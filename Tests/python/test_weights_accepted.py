"""Layouts that people write: each opens and gives the same weights, bit for bit (docs/hdf5.md, Accepted)."""

import h5py
import numpy as np
import pytest
from deepinfomax import Model
from weights_fixtures import SHAPES, assert_same, state_of, write

SMALL = ("prior_d", "classifier")


def without_network(key):
    return key.split(".", 1)[1]


def opens_as(path, state):
    model = Model.open(path)
    assert_same(model.state_dict(), state)
    assert tuple(model.networks) == tuple(n for n in SHAPES if any(k.startswith(n + ".") for k in state))


def test_canonical_all_networks(tmp_path):
    state = state_of(*SHAPES)
    opens_as(write(tmp_path / "w.h5", state), state)


@pytest.mark.parametrize("network", SHAPES)
def test_one_network_without_prefix(tmp_path, network):
    state = state_of(network)
    opens_as(write(tmp_path / "w.h5", state, rename=without_network), state)


def test_the_originals_two_files(tmp_path):
    state = state_of("global_d", "local_d", "prior_d")
    opens_as(write(tmp_path / "loss.h5", state), state)


def test_encoder_without_prefix_beside_prefixed_discriminators(tmp_path):
    state = state_of("encoder", "local_d", "prior_d")
    path = write(tmp_path / "w.h5", state, rename=lambda k: k.removeprefix("encoder."))
    opens_as(path, state)


RENAMES = {
    "by path": lambda k: k.replace(".", "/"),
    "by path, no prefix": None,
    "network as a group": lambda k: k.replace(".", "/", 1),
    "module.": lambda k: "module." + k,
    "_orig_mod.": lambda k: "_orig_mod." + k,
    "state_dict/": lambda k: "state_dict/" + k,
    "model.": lambda k: "model." + k,
    "several wrappers": lambda k: "state_dict/module._orig_mod." + k.replace(".", "/"),
    "one network in DataParallel": lambda k: k.replace(".", ".module.", 1),
    "one network compiled": lambda k: k.replace(".", "._orig_mod.", 1),
}


@pytest.mark.parametrize("layout", RENAMES)
def test_names(tmp_path, layout):
    if layout == "by path, no prefix":
        state = state_of("classifier")
        path = write(tmp_path / "w.h5", state, rename=lambda k: without_network(k).replace(".", "/"))
    else:
        state = state_of(*SMALL)
        path = write(tmp_path / "w.h5", state, rename=RENAMES[layout])
    opens_as(path, state)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", "<f8", ">f8"])
def test_other_float_types(tmp_path, dtype):
    state = state_of(*SMALL)
    path = write(tmp_path / "w.h5", state, convert=lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)
    opens_as(path, state)


def test_every_float16_converts_exactly(tmp_path):
    state = state_of("prior_d")
    finite = np.arange(0x10000, dtype=np.uint16).view(np.float16)
    finite = finite[np.isfinite(finite)]
    halves = {k: a.astype(np.float16) for k, a in state.items()}
    halves["prior_d.l1.weight"] = np.resize(finite, (200, 1000))
    opens_as(write(tmp_path / "w.h5", halves), {k: a.astype(np.float32) for k, a in halves.items()})


def test_float64_rounds_to_nearest(tmp_path):
    random = np.random.default_rng(1)
    state = {k: random.normal(size=a.shape) for k, a in state_of("prior_d").items()}
    opens_as(write(tmp_path / "w.h5", state), {k: a.astype(np.float32) for k, a in state.items()})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        dict(chunks=True),
        dict(compression="gzip"),
        dict(compression="gzip", shuffle=True),
        dict(fletcher32=True),
        dict(compression="gzip", compression_opts=9, shuffle=True, fletcher32=True),
        dict(shuffle=True, fletcher32=True),
    ],
    ids=lambda o: " ".join(o),
)
@pytest.mark.parametrize("libver", ["earliest", ("v110", "v110"), ("v108", "v108")], ids=str)
def test_compression(tmp_path, options, dtype, libver):
    state = state_of("prior_d", "classifier")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver=libver) as file:
        for key, array in state.items():
            stored = array.astype(dtype) if array.dtype.kind == "f" else array
            file.create_dataset(key, data=stored, **(options if array.ndim else {}))
    opens_as(str(path), state)


@pytest.mark.parametrize("options", [{}, dict(compression="gzip", shuffle=True, fletcher32=True)], ids=["plain", "all"])
def test_chunks_that_do_not_divide_the_shape(tmp_path, options):
    state = state_of("local_d", "prior_d")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for key, array in state.items():
            chunks = tuple(max(1, n // 3 - 1) if n > 8 else n for n in array.shape)
            file.create_dataset(key, data=array, chunks=chunks, **options)
    opens_as(str(path), state)


@pytest.mark.parametrize("chunk", [(64, 3, 4, 4), (7, 3, 4, 4), (5, 2, 3, 4), (5, 3, 4, 3), (64, 1, 4, 4), (1, 1, 1, 4)])
def test_chunks_of_four_axes(tmp_path, chunk):
    state = state_of("encoder")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for key, array in state.items():
            file.create_dataset(key, data=array, chunks=chunk if key == "encoder.c0.weight" else None)
    opens_as(str(path), state)


def test_resizable_datasets(tmp_path):
    state = state_of(*SMALL)
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for key, array in state.items():
            file.create_dataset(key, data=array, maxshape=(None,) * array.ndim if array.ndim else None)
    opens_as(str(path), state)


def test_compact_datasets(tmp_path):
    state = state_of("classifier")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for key, array in state.items():
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(array.shape) if array.ndim else h5py.h5s.create(h5py.h5s.SCALAR)
            dtype = h5py.h5t.py_create(array.dtype)
            dataset = h5py.h5d.create(file.id, key.encode(), dtype, space, dcpl=creation)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    opens_as(str(path), state)


@pytest.mark.parametrize("options", [{}, dict(fletcher32=True)], ids=["contiguous", "chunked"])
def test_user_block(tmp_path, options):
    state = state_of(*SMALL)
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in state.items():
            file.create_dataset(key, data=array, **(options if array.ndim else {}))
    opens_as(str(path), state)


@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
def test_file_format_versions(tmp_path, libver, track_order):
    state = state_of(*SMALL)
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver=libver, track_order=track_order) as file:
        for key, array in state.items():
            file[key] = array
    opens_as(str(path), state)


COUNTERS = {
    "(1,)": lambda a: a.reshape(1),
    "int32": lambda a: a.astype(np.int32),
    "(1,) int32": lambda a: a.reshape(1).astype(np.int32),
    "big-endian": lambda a: a.astype(">i8"),
    "big-endian int32": lambda a: a.astype(">i4"),
}


@pytest.mark.parametrize("form", COUNTERS)
def test_counters(tmp_path, form):
    state = state_of("classifier")
    path = write(tmp_path / "w.h5", state, convert=lambda a: COUNTERS[form](a) if a.dtype.kind == "i" else a)
    opens_as(path, state)


@pytest.mark.parametrize("rename", [lambda k: k, without_network], ids=["prefix", "no prefix"])
def test_missing_counters_are_zero(tmp_path, rename):
    state = state_of("classifier")
    stored = {k: a for k, a in state.items() if a.dtype.kind == "f"}
    expected = {k: a if a.dtype.kind == "f" else np.array(0, np.int64) for k, a in state.items()}
    opens_as(write(tmp_path / "w.h5", stored, rename=rename), expected)


def test_what_is_not_weights_is_left_alone(tmp_path):
    state = state_of(*SMALL)
    path = write(tmp_path / "w.h5", state)
    with h5py.File(path, "a") as file:
        file["epoch"] = 3
        file["history/loss"] = np.arange(5.0)
        file["note"] = "trained on a Tuesday"
        file["checkpoint/adam.step"] = 7
        file.attrs["created_by"] = "someone"
        file["prior_d.l0.weight"].attrs["unit"] = "none"
        file.create_group("empty")
    opens_as(path, state)


def test_negative_zero_and_extremes_survive(tmp_path):
    state = state_of("prior_d")
    extremes = [-0.0, 0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38]
    state["prior_d.l2.weight"] = np.resize(np.array(extremes, np.float32), (1, 200))
    opens_as(write(tmp_path / "w.h5", state), state)


def test_same_dataset_under_two_hard_links(tmp_path):
    state = state_of("prior_d")
    path = write(tmp_path / "w.h5", state)
    with h5py.File(path, "a") as file:
        file["best"] = file["prior_d.l0.weight"]
    opens_as(path, state)
