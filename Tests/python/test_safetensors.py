"""safetensors files: what opens, what is refused, what is saved. docs/safetensors.md."""

import ctypes
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import dim
from deepinfomax import PRESETS, DimError, Model
from deepinfomax._library import SaveOptions, library
from deepinfomax._opening import options as open_options
from safetensors_fixtures import as_bfloat16, layout, pack, read_safetensors, write_safetensors
from weights_fixtures import SHAPES, assert_same, state_of, write

SMALL = ("classifier",)


def opens_as(path, state):
    assert_same(Model.open(path).state_dict(), state)


def refused(path, status, *fragments, untrusted=False):
    with pytest.raises(DimError) as caught:
        Model.open(path, untrusted=untrusted)
    assert caught.value.status_name == status, str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value), str(caught.value)


def test_thousands_of_names_that_are_not_known(tmp_path):
    """Forty are told, with what they may have meant; the others are counted, and no time goes into wording them."""
    state = {f"encoder.c{i}.wight": np.zeros((), np.uint8) for i in range(9_900)}
    path = write_safetensors(tmp_path / "a.safetensors", state)
    refused(path, "DIM_FILE_CONTENT", "encoder.c0.wight", "did you mean encoder.c0.weight?", "... and 98")


# Accepted


@pytest.mark.parametrize("networks", [tuple(SHAPES), ("encoder",), SMALL])
def test_canonical(tmp_path, networks):
    state = state_of(*networks)
    opens_as(write_safetensors(tmp_path / "w.safetensors", state, {"format": "pt"}), state)


def test_the_content_decides_not_the_name(tmp_path):
    state = state_of(*SMALL)
    opens_as(write_safetensors(tmp_path / "weights.h5", state), state)
    write(tmp_path / "weights.safetensors", state)
    opens_as(tmp_path / "weights.safetensors", state)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_float_types(tmp_path, dtype):
    state = state_of("prior_d", "classifier")
    converted = {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in state.items()}
    opens_as(write_safetensors(tmp_path / "w.safetensors", converted), state)


def test_every_finite_bfloat16(tmp_path):
    state = state_of("prior_d")
    bits = np.arange(1 << 16, dtype=np.uint32)
    values = (bits[(bits & 0x7F80) != 0x7F80] << 16).view(np.float32)
    state["prior_d.l1.weight"] = np.resize(values, (200, 1000))
    brain = {key: as_bfloat16(array) for key, array in state.items()}
    # What the fixture cuts off is cut off of the expectation, too.
    expected = {
        key: (array.view(np.uint32) & 0xFFFF0000).astype(np.uint32).view(np.float32).reshape(array.shape)
        for key, array in state.items()
    }
    opens_as(write_safetensors(tmp_path / "w.safetensors", brain), expected)


@pytest.mark.parametrize(
    "rename",
    [lambda k: k.split(".", 1)[1], lambda k: "module." + k, lambda k: "model._orig_mod." + k, lambda k: k.replace(".", "/")],
    ids=["one network alone", "DataParallel", "compiled", "paths"],
)
def test_names_are_matched_as_in_hdf5_files(tmp_path, rename):
    state = state_of(*SMALL)
    opens_as(write_safetensors(tmp_path / "w.safetensors", {rename(key): array for key, array in state.items()}), state)


def test_order_and_what_is_no_weight(tmp_path):
    state = state_of(*SMALL)
    others = {"epoch": np.array(3, np.uint8), "loss/train": np.zeros(7, np.float16), "nothing": np.zeros((0, 1 << 40), "<i4")}
    backwards = dict(reversed([*state.items(), *others.items()]))
    opens_as(write_safetensors(tmp_path / "w.safetensors", backwards, {"a": '\u00e9\\"', "": ""}), state)


def test_counters(tmp_path):
    state = state_of(*SMALL)
    key = "classifier.bn1.num_batches_tracked"
    for counter in (np.array([7], np.int64), np.array(7, np.int32), None):
        changed = {**state, key: counter}
        if counter is None:
            del changed[key]
        expected = {**state, key: np.array(0 if counter is None else 7, np.int64)}
        opens_as(write_safetensors(tmp_path / "w.safetensors", changed), expected)


def test_header_padded_with_spaces_and_unknown_types_elsewhere(tmp_path):
    state = state_of(*SMALL)
    header, data = layout(state)
    header["quantised"] = {"dtype": "F4", "shape": [6], "data_offsets": [len(data), len(data) + 3]}
    path = tmp_path / "w.safetensors"
    path.write_bytes(pack(json.dumps(header, indent=3).encode() + b" \n\t  ", data + b"abc"))
    opens_as(path, state)


def test_in_a_process_of_its_own(tmp_path):
    state = state_of(*SMALL)
    path = write_safetensors(tmp_path / "w.safetensors", state)
    assert_same(Model.open(path, untrusted=True).state_dict(), state)
    path.write_bytes(pack({"a": 1}, b""))
    refused(path, "DIM_FILE_FORMAT", "a: expected an object", untrusted=True)
    state[WEIGHT][0, 0] = np.nan
    refused(write_safetensors(path, state), "DIM_FILE_CONTENT", "1 of 960 values are NaN", untrusted=True)


# Saved


def saved(model, path, **options):
    model.save(path, **options)
    return path


@pytest.mark.parametrize("networks", [("local_d", "prior_d"), SMALL])
def test_round_trip(tmp_path, networks):
    state = state_of(*networks, seed=3)
    model = Model.open(write_safetensors(tmp_path / "a.safetensors", state))
    path = saved(model, tmp_path / "b.safetensors")
    found, metadata = read_safetensors(path)
    assert_same(found, state)
    assert metadata["format"] == "pt"
    opens_as(path, state)
    model.load(path)
    # The same weights, the same bytes; and nothing is left beside the file.
    assert saved(model, tmp_path / "c.safetensors").read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "b.safetensors", "c.safetensors"]


def test_format_and_name(tmp_path):
    model = Model.open(write_safetensors(tmp_path / "a.safetensors", state_of(*SMALL)))
    for name, format, is_hdf5 in [
        ("w.safetensors", None, False),
        ("w.h5", None, True),
        ("w.safetensors", "hdf5", True),
        ("w.h5", "safetensors", False),
        (b"w\xff.safetensors", None, False),
    ]:
        path = os.fsencode(tmp_path) + b"/" + os.fsencode(name)
        model.save(path, format=format)
        assert (open(path, "rb").read(4) == b"\x89HDF") == is_hdf5
    with pytest.raises(ValueError, match="'onnx'; expected 'hdf5' or 'safetensors'"):
        model.save(tmp_path / "w", format="onnx")


def test_options_in_c(tmp_path):
    path = os.fsencode(tmp_path / "w")
    model = Model.open(write_safetensors(tmp_path / "a.safetensors", state_of(*SMALL)))
    handle, call = model._handle.pointer, library().dim_model_save_with
    size = ctypes.sizeof(SaveOptions)
    assert call(handle, path, None) == 0 and Path(os.fsdecode(path)).read_bytes()[:4] == b"\x89HDF"
    os.unlink(path)
    for wrong, message in [
        (SaveOptions(0, 1), b"struct_size is 0"),
        (SaveOptions(size + 1, 1), b"struct_size"),
        (SaveOptions(size, 2), b"format is 2"),
        (SaveOptions(size, -1), b"format"),
    ]:
        assert call(handle, path, wrong) == 10 and message in library().dim_last_error()
    assert call(None, path, SaveOptions(size, 1)) == 11
    assert call(handle, None, SaveOptions(size, 1)) == 10 and call(handle, b"", SaveOptions(size, 1)) == 10
    assert call(handle, os.fsencode(tmp_path) + b"/no/where", SaveOptions(size, 1)) == 30
    assert not os.path.exists(path)


# Refused


def entry(dtype="F32", shape=(15, 64), offsets=(0, 3840)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


WEIGHT = "classifier.l1.weight"


@pytest.mark.parametrize(
    "header, fragments",
    [
        (b"{", ["header", "found the end"]),
        (b"{]", ["header", "byte 1"]),
        (b"{} x", ["the end of the text"]),
        (b'{"a":1}', ["a: expected an object of dtype, shape and data_offsets, found 1"]),
        (b'{"a":{}}', ["shape and data_offsets, found an empty one"]),
        # Two keys, the same letter.
        ('{"a":{"\u00e9":1,"e\u0301":2,"dtype":"F32"}}'.encode(), ['found one of "?", "e?", "dtype"']),
        (b'{"\xff":{}}', ["UTF-8"]),
        (b'{"a":{"dtype":"F32"}}', ['expected an object of dtype, shape and data_offsets, found one of "dtype"']),
        (json.dumps({"a": {**entry(), "more": 1}}).encode(), ["expected an object of dtype, shape and data_offsets"]),
        (
            b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}',
            ["twice"],
        ),
        (b'{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', ["twice"]),
        ({WEIGHT: entry(dtype=1)}, ["expected a string as dtype, found 1"]),
        ({WEIGHT: entry(shape=(15, -64))}, ["whole numbers", "as shape, found [15, -64]"]),
        ({WEIGHT: entry(shape=(15, 64.0))}, ["whole numbers"]),
        ({WEIGHT: entry(shape=(15, 10**30))}, ["whole numbers"]),
        ({WEIGHT: entry(shape=[1] * 33)}, ["whole numbers"]),
        ({WEIGHT: entry(shape=([15], 64))}, ["at most 3"]),
        ({WEIGHT: entry(offsets=(0, 3841))}, ["its data_offsets end at 3841, and the file has 3840 bytes of data: cut off"]),
        ({WEIGHT: entry(offsets=(0, 2**63 - 1))}, ["data_offsets"]),
        ({WEIGHT: entry(offsets=(3840, 0))}, ["in order, found [3840, 0]"]),
        ({WEIGHT: entry(offsets=(-4, 3836))}, ["data_offsets"]),
        ({WEIGHT: entry(offsets=(0, 1, 2))}, ["two data_offsets", "found [0, 1, 2]"]),
        ({WEIGHT: entry(shape=(15, 63))}, ["3840 bytes, expected 3780 for float32 (15, 63)"]),
        ({WEIGHT: entry(shape=(2**62, 2**62))}, ["expected more than there are"]),
        ({WEIGHT: entry(offsets=(4, 3840), shape=(15, 959 // 15), dtype="F4")}, ["hole"]),
        ({WEIGHT: entry(), "a": entry(shape=(1,), offsets=(8, 12))}, ["inside another tensor's"]),
        ({WEIGHT: entry(), "a": entry(shape=(960,))}, ["inside another tensor's"]),
        ({WEIGHT: entry(shape=(900,), offsets=(0, 3600))}, ["240 bytes at the end belong to no tensor"]),
        ({"__metadata__": [], WEIGHT: entry()}, ["__metadata__: expected an object of strings, found an array"]),
        ({"__metadata__": {"a": 1}, WEIGHT: entry()}, ["__metadata__.a: expected a string, found 1"]),
        ({"__metadata__": {"\x1b[2J": None}, WEIGHT: entry()}, ["__metadata__.\\x1b[2J"]),
    ],
)
def test_damaged_headers(tmp_path, header, fragments):
    path = tmp_path / "w.safetensors"
    path.write_bytes(pack(header, bytes(3840)))
    refused(path, "DIM_FILE_FORMAT", *fragments)


def test_all_faults_are_listed(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(pack({f"t{i}": entry(dtype=i) for i in range(100)}, bytes(3840)))
    refused(path, "DIM_FILE_FORMAT", "100 problems", "t0:", "t39:", "and 60 more")


@pytest.mark.parametrize("length", [0, 1, 7, 100, 10**6, 2**32, 2**55])
def test_wrong_counts(tmp_path, length):
    path = tmp_path / "w.safetensors"
    header, data = layout(state_of(*SMALL))
    path.write_bytes(pack(header, data, length=length))
    refused(path, "DIM_FILE_FORMAT", "header" if length else "safetensors")


def test_a_damaged_length_is_said(tmp_path):
    """Not "not an HDF5 file, or it is damaged": the header behind the length tells what the file is."""
    path = tmp_path / "w.safetensors"
    header, data = layout(state_of(*SMALL))
    path.write_bytes(pack(header, data, length=2**63 + 5))
    refused(path, "DIM_FILE_FORMAT", "safetensors", "the header's length, are damaged")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY" + bytes(100)])
def test_files_that_only_their_name_makes_safetensors(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refused(path, "DIM_FILE_FORMAT", "neither a safetensors nor an HDF5 file")


def test_large_headers(tmp_path):
    path = tmp_path / "w.safetensors"
    header, data = layout(state_of(*SMALL), {"note": "x" * (4 << 20)})
    path.write_bytes(pack(header, data))
    refused(path, "DIM_FILE_FORMAT", "at most 4194304 bytes")
    path.write_bytes(pack(b'{"a":' + b"[" * 2000000, b""))
    refused(path, "DIM_FILE_FORMAT", "at most 3")
    names = {f"t{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(10_002)}
    path.write_bytes(pack(names, b""))
    refused(path, "DIM_FILE_FORMAT", "more than 10000 tensors")


def test_every_length(tmp_path):
    path = tmp_path / "w.safetensors"
    whole = pack(*layout(state_of(*SMALL)))
    for length in [*range(9, 60), *range(60, len(whole), 211), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DimError) as caught:
            Model.open(path)
        assert caught.value.status_name == "DIM_FILE_FORMAT" and "safetensors" in str(caught.value)
    path.write_bytes(whole + b"x")
    refused(path, "DIM_FILE_FORMAT", "1 byte at the end belongs to no tensor")


@pytest.mark.parametrize(
    "change, fragments",
    [
        (lambda s: s.pop(WEIGHT), [WEIGHT + ": missing"]),
        (
            lambda s: s.update({WEIGHT: s[WEIGHT].T.copy()}),
            ["found float32 (64, 15), expected float32 (15, 64)", "transposed?"],
        ),
        (
            lambda s: s.update({WEIGHT: s[WEIGHT].astype(np.int32)}),
            ["found int32 (15, 64), expected float32 (15, 64)", ".float()"],
        ),
        (lambda s: s.update({"classifier.bn1.num_batches_tracked": np.array(1.0)}), ["found float64 (), expected int64 ()"]),
        (lambda s: s.update({"classifier.bn1.num_batches_tracked": np.array(-1)}), ["-1; a count cannot be negative"]),
        (lambda s: s[WEIGHT].__setitem__((3, 4), np.nan), [WEIGHT + ": 1 of 960 values are NaN"]),
        (
            lambda s: s.update({WEIGHT: s[WEIGHT].astype(np.float64) + 1e300}),
            ["960 of 960 values are NaN, infinite or too large"],
        ),
        (lambda s: s["classifier.bn1.running_var"].__setitem__(0, -1), ["a variance cannot be negative"]),
        (lambda s: s.update({"classifier.l9.weight": s[WEIGHT]}), ["classifier has no such parameter"]),
        (lambda s: s.update({"module." + WEIGHT: s[WEIGHT]}), ["listed twice"]),
    ],
)
def test_contents(tmp_path, change, fragments):
    state = state_of(*SMALL)
    change(state)
    refused(write_safetensors(tmp_path / "w.safetensors", state), "DIM_FILE_CONTENT", *fragments)


def test_nothing_of_ours(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)})
    refused(path, "DIM_FILE_CONTENT", "no weights found", "found a")
    path.write_bytes(pack({}, b""))
    refused(path, "DIM_FILE_CONTENT", "no weights found")


def test_no_checkpoint(tmp_path):
    path = os.fsencode(write_safetensors(tmp_path / "w.safetensors", state_of(*SMALL)))
    out = ctypes.c_void_p()
    for name in ("trainer", "classifier_trainer"):
        for options in (open_options(), open_options(untrusted=True)):
            resume = getattr(library(), f"dim_{name}_resume_with")
            assert resume(path, ctypes.byref(options), ctypes.byref(out)) == 32
            assert b"safetensors, which holds weights alone" in library().dim_last_error() and out.value is None


def test_a_failed_load_changes_nothing(tmp_path):
    state = state_of(*SMALL)
    model = Model.open(write_safetensors(tmp_path / "w.safetensors", state))
    other = state_of(*SMALL, seed=1)
    other["classifier.bn3.bias"][0] = np.nan
    with pytest.raises(DimError):
        model.load(write_safetensors(tmp_path / "x.safetensors", other))
    assert_same(model.state_dict(), state)


def test_random_damage(tmp_path):
    """A status each time; weights that come out are those of the file. `make fuzz` has many more."""
    rng = random.Random(1)
    path = tmp_path / "w.safetensors"
    whole = pack(*layout(state_of(*SMALL)))
    (length,) = struct.unpack("<Q", whole[:8])
    opened = 0
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(8 + length) if rng.random() < 0.9 else rng.randrange(len(whole))
            damaged[at] = rng.choice([damaged[at] ^ 1 << rng.randrange(8), rng.choice(b'{}[]:,"0919 ')])
        path.write_bytes(damaged)
        try:
            assert np.isfinite(Model.open(path).state_dict()[WEIGHT]).all()
            opened += 1
        except DimError as error:
            assert error.status_name in ("DIM_FILE_FORMAT", "DIM_FILE_CONTENT"), error
    assert opened < 300


# Beside the format's own library, where it is installed


def safetensors_python():
    """A Python that has torch and safetensors: this one, or DIM_TORCH_PYTHON."""
    for python in [os.environ.get("DIM_TORCH_PYTHON"), sys.executable]:
        if python and subprocess.run([python, "-c", "import safetensors.torch"], capture_output=True).returncode == 0:
            return python
    pytest.skip("neither this Python nor DIM_TORCH_PYTHON has safetensors and torch")


SCRIPT = """
import sys, safetensors.torch, torch
state = safetensors.torch.load_file(sys.argv[1])
with safetensors.safe_open(sys.argv[1], "pt") as file:
    assert file.metadata()["format"] == "pt"
assert state["encoder.c0.weight"].shape == (64, 3, 4, 4) and state["encoder.b1.num_batches_tracked"].dtype == torch.int64
safetensors.torch.save_file(state, sys.argv[2], metadata={"format": "pt"})
safetensors.torch.save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}, sys.argv[3])
"""


def test_beside_the_formats_own_library(tmp_path):
    python = safetensors_python()
    model = Model(seed=5)
    ours, theirs, brain = (tmp_path / f"{name}.safetensors" for name in ("ours", "theirs", "brain"))
    model.save(ours)
    subprocess.run([python, "-c", SCRIPT, ours, theirs, brain], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    opens_as(theirs, model.state_dict())
    rounded = Model.open(brain).state_dict()
    for key, array in model.state_dict().items():
        assert np.allclose(rounded[key], array, rtol=2**-8, atol=0)


PRESETS_SCRIPT = """
import sys, safetensors.torch, torch
import deepinfomax as dim
from deepinfomax.torch import modules
preset, theirs, ours = sys.argv[1:]
torch.manual_seed(5)
networks = modules(preset)
for name, value in networks.state_dict().items():
    if name.endswith(("running_mean", "running_var")):
        value.uniform_(0.5, 2)
    if name.endswith("num_batches_tracked"):
        value.fill_(7)
safetensors.torch.save_file(networks.state_dict(), theirs)
with dim.Model.open(theirs) as model:
    assert model.architecture == dim.Architecture(preset), model.architecture
    found = model.state_dict()
    assert list(found) == list(networks.state_dict())
    for name, value in networks.state_dict().items():
        assert found[name].tobytes() == value.numpy().tobytes(), name
    x = torch.rand(2, *model.sizes.image)
    model.save(ours)
again = modules(preset)
again.load_state_dict(safetensors.torch.load_file(ours), strict=True)
for name, value in again.state_dict().items():
    assert torch.equal(value, networks.state_dict()[name]), name
"""


@pytest.mark.parametrize("preset", PRESETS)
def test_a_torch_programs_state_dict_and_back(preset, tmp_path):
    """`save_file(modules.state_dict())` opens here, without a word on its architecture, and the other way."""
    python = safetensors_python()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-c", PRESETS_SCRIPT, preset, tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_convert_there_and_back(tmp_path):
    state = state_of("prior_d", "classifier")
    write(tmp_path / "a.h5", state)
    for source, target in [("a.h5", "b.safetensors"), ("b.safetensors", "c.h5")]:
        done = dim("convert", tmp_path / source, tmp_path / target)
        assert done.returncode == 0, done.stderr
    assert_same(read_safetensors(tmp_path / "b.safetensors")[0], state)
    opens_as(tmp_path / "c.h5", state)
    done = dim("convert", tmp_path / "b.safetensors", tmp_path / "d.onx")
    assert done.returncode == 2 and ".safetensors" in done.stderr
    done = dim("info", tmp_path / "b.safetensors")
    assert done.returncode == 0 and "prior_d" in done.stdout
