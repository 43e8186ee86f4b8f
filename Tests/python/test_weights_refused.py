"""What is refused, and that the message says what was found, what was expected and what to do (docs/hdf5.md)."""

import pickle

import h5py
import numpy as np
import pytest
from deepinfomax import DimError, Model
from weights_fixtures import state_of, write


def refused(path, status, *fragments):
    with pytest.raises(DimError) as caught:
        Model.open(str(path))
    error = caught.value
    assert error.status_name == status, str(error)
    for fragment in fragments:
        assert fragment in str(error), str(error)
    return str(error)


def changed(tmp_path, change, networks=("prior_d", "classifier"), **options):
    """A file whose state dict `change` has edited in place."""
    state = state_of(*networks)
    change(state)
    return write(tmp_path / "w.h5", state, **options)


# Names


@pytest.mark.parametrize(
    "sign, shown",
    [
        ("\u202e", r"\u202e"),
        ("\u200b", r"\u200b"),
        ("\u2028", r"\u2028"),
        ("\x1b", r"\x1b"),
        ("\x9b", r"\x9b"),
        ("\U000e0041", r"\U000e0041"),
        ("\ue000", r"\ue000"),
    ],
)
def test_names_that_deceive_a_terminal_are_shown_escaped(tmp_path, sign, shown):
    """Characters that turn the direction of writing, cannot be seen, or move the cursor."""

    def add(state):
        state[f"encoder.c9{sign}.weight"] = np.zeros(1, np.float32)

    assert sign not in refused(changed(tmp_path, add), "DIM_FILE_CONTENT", f"encoder.c9{shown}.weight")


def test_missing_keys_are_all_listed(tmp_path):
    def drop(state):
        for key in ("prior_d.l0.weight", "prior_d.l2.bias", "classifier.bn2.running_var"):
            del state[key]

    refused(
        changed(tmp_path, drop),
        "DIM_FILE_CONTENT",
        "3 problems",
        "prior_d.l0.weight: missing",
        "(1000, 64)",
        "prior_d.l2.bias: missing",
        "classifier.bn2.running_var: missing",
    )


def test_similar_extra_key(tmp_path):
    def add(state):
        state["prior_d.l3.weight"] = np.zeros((2, 2), np.float32)

    refused(changed(tmp_path, add), "DIM_FILE_CONTENT", "prior_d.l3.weight", "(2, 2)", "no such parameter")


@pytest.mark.parametrize("typo", ["prior_d.l0.wieght", "piror_d.l0.weight", "prior_d.l0.Weight", "prior.l0.weight"])
def test_misspelt_key(tmp_path, typo):
    def rename(state):
        state[typo] = state.pop("prior_d.l0.weight")

    refused(
        changed(tmp_path, rename), "DIM_FILE_CONTENT", typo, "prior_d.l0.weight: missing", "did you mean prior_d.l0.weight?"
    )


def test_misspelt_network_is_not_lost(tmp_path):
    path = changed(tmp_path, lambda s: None, rename=lambda k: k.replace("classifier", "clasifier"))
    refused(path, "DIM_FILE_CONTENT", "clasifier.l1.weight", "did you mean classifier.l1.weight?")


def test_one_parameter_under_two_names(tmp_path):
    path = changed(tmp_path, lambda s: None)
    with h5py.File(path, "a") as file:
        file["module/prior_d.l0.bias"] = np.zeros(1000, np.float32)
    refused(path, "DIM_FILE_CONTENT", "prior_d.l0.bias", "twice", "module/prior_d.l0.bias", "keep one")


def test_keys_that_fit_two_networks(tmp_path):
    state = {k.split(".", 1)[1]: a for n in ("local_d", "prior_d") for k, a in state_of(n).items()}
    refused(write(tmp_path / "w.h5", state), "DIM_FILE_CONTENT", "local_d or prior_d", "write the network before each key")


def test_incomplete_keys_without_prefix_name_the_network_by_shape(tmp_path):
    state = state_of("prior_d")
    del state["prior_d.l1.weight"]
    path = write(tmp_path / "w.h5", state, rename=lambda k: k.split(".", 1)[1])
    refused(path, "DIM_FILE_CONTENT", "prior_d.l1.weight: missing")


def test_nothing_there(tmp_path):
    path = write(tmp_path / "w.h5", {"x": np.zeros(3), "y": np.zeros(4)})
    refused(path, "DIM_FILE_CONTENT", "no weights found", "encoder.c0.weight", "x, y")
    refused(write(tmp_path / "e.h5", {}), "DIM_FILE_CONTENT", "no weights found", "no datasets")


def test_attributes_in_place_of_datasets(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for key, array in state_of("classifier").items():
            file.attrs[key] = array
    refused(tmp_path / "w.h5", "DIM_FILE_CONTENT", "attributes", "save them as datasets")


@pytest.mark.parametrize("name", ["encoder", "state_dict", "encoder.c0"])
def test_blob(tmp_path, name):
    blob = np.frombuffer(pickle.dumps(state_of("classifier")), np.uint8)
    refused(write(tmp_path / "w.h5", {name: blob}), "DIM_FILE_CONTENT", name, "uint8")


def test_blob_under_a_key(tmp_path):
    def pickled(state):
        state["prior_d.l0.weight"] = np.frombuffer(pickle.dumps(state["prior_d.l0.weight"]), np.uint8)

    refused(changed(tmp_path, pickled), "DIM_FILE_CONTENT", "prior_d.l0.weight", "blob")


def test_keras_names(tmp_path):
    state = {"dense/kernel:0": np.zeros((64, 15), np.float32), "dense/bias:0": np.zeros(15, np.float32)}
    refused(write(tmp_path / "w.h5", state), "DIM_FILE_CONTENT", "dense/kernel:0", "Keras", "PyTorch's state_dict")


# Shapes and types


def test_transposed_kernel(tmp_path):
    def transpose(state):
        state["prior_d.l0.weight"] = state["prior_d.l0.weight"].T.copy()

    refused(
        changed(tmp_path, transpose),
        "DIM_FILE_CONTENT",
        "prior_d.l0.weight",
        "found float32 (64, 1000)",
        "expected float32 (1000, 64)",
        "transposed?",
        "never guessed",
    )


@pytest.mark.parametrize("shape", [(1001,), (1000, 1), (), (1, 1000)], ids=str)
def test_wrong_shapes(tmp_path, shape):
    def reshape(state):
        state["prior_d.l0.bias"] = np.zeros(shape, np.float32)

    found = str(shape)
    refused(changed(tmp_path, reshape), "DIM_FILE_CONTENT", "prior_d.l0.bias", found, "expected float32 (1000,)")


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_bfloat16_as_integers(tmp_path, dtype):
    path = changed(
        tmp_path,
        lambda s: None,
        convert=lambda a: (a.view(np.uint32) >> 16).astype(dtype) if a.dtype == np.float32 and a.ndim else a,
    )
    message = refused(path, "DIM_FILE_CONTENT", "prior_d.l0.weight", "bfloat16?", ".float().numpy()")
    assert "classifier.bn3.running_var" in message


def test_bfloat16_as_a_float_type(tmp_path):
    path = changed(tmp_path, lambda s: s.pop("prior_d.l0.bias"))
    with h5py.File(path, "a") as file:
        brain = h5py.h5t.IEEE_F32LE.copy()
        brain.set_fields(15, 7, 8, 0, 7)
        brain.set_size(2)
        brain.set_ebias(127)
        h5py.h5d.create(file.id, b"prior_d.l0.bias", brain, h5py.h5s.create_simple((1000,)))
    refused(path, "DIM_FILE_CONTENT", "prior_d.l0.bias", "found bfloat16 (1000,)", ".float().numpy()")


@pytest.mark.parametrize("dtype", ["i4", "u1", "c8", "S4", "V4", "?", [("a", "f4")]], ids=str)
def test_other_types(tmp_path, dtype):
    def retype(state):
        state["prior_d.l0.bias"] = np.zeros(1000, dtype)

    refused(changed(tmp_path, retype), "DIM_FILE_CONTENT", "prior_d.l0.bias", "expected float32 (1000,)")


@pytest.mark.parametrize("dtype", ["f4", "i2", "u8"])
def test_counter_of_another_type(tmp_path, dtype):
    def retype(state):
        state["classifier.bn1.num_batches_tracked"] = np.array(3, dtype)

    refused(changed(tmp_path, retype), "DIM_FILE_CONTENT", "bn1.num_batches_tracked", "expected int64 ()")


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 63_999, 31_111])
def test_not_finite(tmp_path, value, dtype, place):
    def spoil(state):
        state["prior_d.l0.weight"] = state["prior_d.l0.weight"].astype(dtype)
        state["prior_d.l0.weight"].flat[place] = value

    refused(changed(tmp_path, spoil), "DIM_FILE_CONTENT", "prior_d.l0.weight: 1 of 64000 values", "NaN")


def test_too_large_for_float32(tmp_path):
    def spoil(state):
        state["prior_d.l0.bias"] = np.full(1000, 1e39)

    refused(changed(tmp_path, spoil), "DIM_FILE_CONTENT", "prior_d.l0.bias: 1000 of 1000", "too large for float32")


def test_negative_variance_and_counter(tmp_path):
    def spoil(state):
        state["classifier.bn1.running_var"][3] = -0.25
        state["classifier.bn2.num_batches_tracked"] = np.array(-1)

    refused(
        changed(tmp_path, spoil),
        "DIM_FILE_CONTENT",
        "classifier.bn1.running_var: -0.25",
        "cannot be negative",
        "classifier.bn2.num_batches_tracked: -1",
    )


# Files


def test_long_lists_are_cut(tmp_path):
    state = {f"encoder.x{i}.weight": np.zeros(1, np.float32) for i in range(500)}
    message = refused(write(tmp_path / "w.h5", state), "DIM_FILE_CONTENT", "500 problems", "and 460 more")
    assert len(message.splitlines()) < 45


def test_no_such_file(tmp_path):
    refused(tmp_path / "absent.h5", "DIM_IO", "absent.h5", "No such file")


def test_directory(tmp_path):
    refused(tmp_path, "DIM_IO", "a directory")


@pytest.mark.parametrize(
    "content, hint",
    [
        (b"", "empty"),
        (b"x", "not an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "torch.save"),
        (pickle.dumps({"a": 1}), "pickle"),
        ((64).to_bytes(8, "little") + b'{"a":' + bytes(100), "safetensors"),
        (bytes(range(256)) * 40, "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(4000), "not an HDF5 file"),
    ],
    ids=["empty", "one byte", "zip", "pickle", "safetensors", "noise", "signature", "signature and zeros"],
)
def test_not_hdf5(tmp_path, content, hint):
    (tmp_path / "w").write_bytes(content)
    refused(tmp_path / "w", "DIM_FILE_FORMAT", hint)


def test_truncated(tmp_path):
    whole = open(changed(tmp_path, lambda s: None), "rb").read()
    for length in range(0, len(whole) - 1, 4099):
        (tmp_path / "cut.h5").write_bytes(whole[:length])
        refused(tmp_path / "cut.h5", "DIM_FILE_FORMAT")


def test_open_for_writing_elsewhere(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", locking=True) as file:
        for key, array in state_of("prior_d").items():
            file[key] = array
        refused(path, "DIM_IO", "open for writing")
    Model.open(str(path))


@pytest.mark.parametrize("name, options", [("lzf", dict(compression="lzf")), ("scaleoffset", dict(scaleoffset=3))])
def test_refused_filters(tmp_path, name, options):
    state = state_of("prior_d")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for key, array in state.items():
            file.create_dataset(key, data=array, **options)
    refused(tmp_path / "w.h5", "DIM_FILE_FORMAT", f"prior_d.l0.weight: compressed with {name}", "gzip")


def test_newer_file_format(tmp_path):
    """HDF5 2.x's latest format with a filter: libhdf5 1.10 cannot open it, a newer one can."""
    state = state_of("prior_d")
    with h5py.File(tmp_path / "w.h5", "w", libver="latest") as file:
        for key, array in state.items():
            file.create_dataset(key, data=array, compression="gzip")
    try:
        Model.open(str(tmp_path / "w.h5"))
    except DimError as error:
        assert error.status_name == "DIM_FILE_FORMAT" and "libver=('v110', 'v110')" in str(error), str(error)
