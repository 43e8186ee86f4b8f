"""Which state_dicts of a PyTorch file are taken, and what is said of the others: with a stand-in for torch, whose `load` gives
what it is given. Beside PyTorch itself: test_cli_info_convert.py."""

import random
import sys
import tracemalloc
import zipfile
from io import BytesIO
from types import ModuleType, SimpleNamespace

import deepinfomax
import numpy as np
import pytest
from deepinfomax import torch_files

pytest.importorskip("h5py")


class Tensor:
    """What is asked of a tensor."""

    def __init__(self, values, dtype="float32", device="cpu", layout="strided", is_quantized=False):
        self._values = np.asarray(values)
        self.dtype, self.layout, self.is_quantized = f"torch.{dtype}", f"torch.{layout}", is_quantized
        self.device = SimpleNamespace(type=device)

    def numel(self):
        return self._values.size

    def element_size(self):
        return self._values.itemsize

    def numpy(self):
        return self._values

    def detach(self):
        return self

    cpu = resolve_conj = resolve_neg = float = detach


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Reads a file that holds these objects, and has so many bytes."""
    monkeypatch.chdir(tmp_path)

    def load(content, entry=None, size=1 << 28):
        with open("a.pt", "wb") as file:
            file.truncate(size)
        torch = ModuleType("torch")
        torch.Tensor, torch.strided, torch.bfloat16 = Tensor, "torch.strided", "torch.bfloat16"
        torch.load = lambda path, map_location, weights_only: content if weights_only else pytest.fail("it would run code")
        monkeypatch.setitem(sys.modules, "torch", torch)
        return torch_files.read("a.pt", entry)

    return load


@pytest.fixture(scope="module")
def encoders():
    """State_dicts of two small encoders."""
    found = []
    for seed in 1, 2:
        with deepinfomax.Model(seed, "basic28") as model:
            state = model.state_dict()
        found.append({name[8:]: Tensor(value) for name, value in state.items() if name.startswith("encoder.")})
    return found


def is_encoder(found, state):
    return found.keys() == {f"encoder.{name}" for name in state} and all(
        np.array_equal(found[f"encoder.{name}"], value.numpy()) for name, value in state.items()
    )


def test_an_optimiser_is_no_state_dict(load, encoders):
    """By what it holds: a name that holds "optim" is no optimiser, and one may have any name."""
    moments = {"exp_avg": Tensor(np.zeros(3))}
    for name in "optimizer", "second":
        content = {"optimal_model": encoders[0], name: {"state": {0: moments, "a": moments}, "param_groups": [{"lr": 1}]}}
        assert is_encoder(load(content), encoders[0])


def test_of_two_state_dicts_an_entry_takes_one(load, encoders):
    content = {"model": encoders[0], "averaged": {"ema": encoders[1]}, "epoch": 3}
    with pytest.raises(torch_files.TorchFileError) as told:
        load(content)
    assert "'model' and 'averaged.ema'; choose one of them with --entry" in str(told.value)
    assert is_encoder(load(content, "model"), encoders[0])
    assert is_encoder(load(content, "averaged"), encoders[1]) and is_encoder(load(content, "averaged.ema"), encoders[1])
    for wrong in "ema", "mod", "epoch":
        with pytest.raises(torch_files.TorchFileError) as told:
            load(content, wrong)
        assert str(told.value) == f"a.pt: no entry {wrong!r} with a state_dict; there are 'model', 'averaged.ema'"


@pytest.mark.parametrize(
    "how, message",
    [
        ({"layout": "sparse_coo"}, "a.pt: {}: a sparse tensor (sparse_coo); save its to_dense()"),
        ({"dtype": "float8_e4m3fn"}, "a.pt: {}: a tensor of float8_e4m3fn; save it as float32 (float())"),
        ({"dtype": "qint8", "is_quantized": True}, "a.pt: {}: a tensor of qint8; save it as float32 (dequantize())"),
        ({"device": "meta"}, "a.pt: {}: a tensor on the device meta, which has a shape and no values; save the loaded weights"),
    ],
    ids=["sparse", "float8", "quantized", "meta"],
)
def test_tensors_that_have_no_values_in_numpy(load, encoders, how, message):
    name = next(iter(encoders[0]))
    with pytest.raises(torch_files.TorchFileError) as told:
        load(encoders[0] | {name: Tensor(encoders[0][name].numpy(), **how)})
    assert str(told.value) == message.format(name)
    with pytest.raises(torch_files.TorchFileError) as told:
        load({"model": encoders[0] | {name: Tensor(encoders[0][name].numpy(), **how)}})
    assert str(told.value) == message.format(f"model.{name}")


def test_a_tensor_of_many_values_is_refused_by_its_shape(load, encoders):
    name = next(iter(encoders[0]))
    many = Tensor(np.broadcast_to(np.float32(0), 1 << 34))  # 64 GB of one value.
    with pytest.raises(torch_files.TorchFileError, match="a state_dict has 536,870,912 at most"):
        load(encoders[0] | {name: many})


def test_tensors_of_more_bytes_than_are_stored(load, encoders, monkeypatch):
    """One value that is shown as many took their memory, and as much in the folder for temporary files."""
    name = next(iter(encoders[0]))
    wide = encoders[0] | {name: Tensor(np.broadcast_to(np.float64(0), 1 << 27))}
    tracemalloc.start()
    try:
        with pytest.raises(torch_files.TorchFileError) as told:
            load(wide, size=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 27
    finally:
        tracemalloc.stop()
    held = sum(value.numel() * value.element_size() for value in wide.values())
    assert str(told.value) == (
        f"a.pt: tensors of {held / 1e6:,.1f} MB, the file has 1.0 MB: some of their values are stored once for many; save clone() "
        "of expanded tensors"
    )
    monkeypatch.setattr(torch_files, "_SLACK", 0)
    own = sum(value.numel() * value.element_size() for value in encoders[0].values())
    assert is_encoder(load(encoders[0], size=-(-own // 4)), encoders[0]), "tied weights"
    with pytest.raises(torch_files.TorchFileError, match="clone"):
        load(encoders[0], size=(own - 1) // 4)


class Damage(Exception):
    """Of no kind that is known."""


@pytest.mark.parametrize(
    "error", [IndexError, AssertionError, AttributeError, TypeError, OverflowError, EOFError, KeyError, RecursionError, Damage]
)
def test_whatever_torch_raises_of_a_damaged_file(load, monkeypatch, error):
    """Of one in thirteen the commands printed a traceback."""
    with pytest.raises(torch_files.TorchFileError):
        load([])

    def damaged(path, **options):
        raise error("damaged\nat 3")

    monkeypatch.setattr(sys.modules["torch"], "load", damaged)
    said = str(error("damaged\nat 3")).splitlines()[0]
    with pytest.raises(torch_files.TorchFileError) as told:
        torch_files.read("a.pt")
    assert str(told.value).startswith("a.pt: torch cannot read it: ") and said[:7] in str(told.value)
    for other in MemoryError(), FileNotFoundError(2, "No such file", "a.pt"), KeyboardInterrupt():
        monkeypatch.setattr(sys.modules["torch"], "load", lambda path, other=other, **options: (_ for _ in ()).throw(other))
        with pytest.raises(type(other)):
            torch_files.read("a.pt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(load, monkeypatch):
    with pytest.raises(torch_files.TorchFileError):
        load([])
    monkeypatch.setattr(sys.modules["torch"], "load", lambda path, **options: pytest.fail("it would be unpacked"))
    with zipfile.ZipFile("a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"x")
        archive.writestr("a/data/0", b"x")
    content = bytearray(open("a.pt", "rb").read())
    place = content.index(b"PK\1\2") + 24
    content[place : place + 4] = (2**31 - 1 + len(content)).to_bytes(4, "little")  # Two bytes more than 2 GiB with the other's.
    open("a.pt", "wb").write(content)
    with pytest.raises(pytest.fail.Exception, match="it would be unpacked"):
        torch_files.read("a.pt")
    content[place : place + 4] = (2**31 + len(content)).to_bytes(4, "little")
    open("a.pt", "wb").write(content)
    with pytest.raises(
        torch_files.TorchFileError, match="a.pt: unpacks to 2,147.5 MB, the file has .* bytes; 2,147.5 MB more than"
    ):
        torch_files.read("a.pt")
    open("a.pt", "wb").write(content[:-5])  # Whose directory cannot be read: torch says so.
    with pytest.raises(pytest.fail.Exception, match="it would be unpacked"):
        torch_files.read("a.pt")


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "pickles"])
def test_damaged_files_of_torch_itself(tmp_path, is_archive):
    torch = pytest.importorskip("torch")
    chance, written, kinds = random.Random(0), BytesIO(), set()
    state = {"c0.weight": torch.zeros(4, 1, 2, 2), "c0.bias": torch.nn.Parameter(torch.ones(4)), "n": torch.tensor(3)}
    torch.save({"model": state, "epoch": 3}, written, _use_new_zipfile_serialization=is_archive)
    for _ in range(300):
        if is_archive:
            with zipfile.ZipFile(written) as source, zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
                for name in source.namelist():
                    content = bytearray(source.read(name))
                    if name.endswith("data.pkl"):
                        content[chance.randrange(len(content))] = chance.randrange(256)
                    archive.writestr(name, bytes(content))
        else:
            content = bytearray(written.getvalue())
            content[chance.randrange(len(content))] = chance.randrange(256)
            (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(torch_files.TorchFileError) as told:
            torch_files.read(tmp_path / "a.pt")
        kinds.add(type(told.value.__cause__))
    assert len(kinds) > 3


def test_an_expanded_tensor_of_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    with deepinfomax.Model(1, "basic28") as model:
        state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    torch.save(state | {"encoder.c0.weight": torch.zeros(1, dtype=torch.float64).expand(2**27)}, tmp_path / "a.pt")
    with pytest.raises(torch_files.TorchFileError, match="a.pt: tensors of 1,1.* MB, the file has .* MB: .*clone"):
        torch_files.read(tmp_path / "a.pt")
    torch.save(state, tmp_path / "a.pt")
    assert torch_files.read(tmp_path / "a.pt").keys() == state.keys()


@pytest.mark.parametrize(
    "content, message",
    [
        ([1], "a.pt: expected a state_dict, found list"),
        ({}, "no state_dict in it: it is empty"),
        ({"epoch": 3, "lr": 1}, "no state_dict in it: its keys are epoch, lr"),
        ({"c0.weight": 3, "c0.bias": Tensor(0)}, "no state_dict in it: 'c0.weight' is a int and not a tensor"),
        ({"a": 1, "state_dict": {"b": Tensor(0), "epoch": [3]}}, "in 'state_dict', 'epoch' is a list and not a tensor"),
        ({1: Tensor(0), 2: Tensor(0)}, "its tensors have no names: 1 is of type int"),
        ({"\udce9": Tensor(np.zeros(3))}, "a.pt: '\\\\xe9' is not the name of a network's entry"),
        ({"c0.weight": Tensor(np.zeros((64, 3, 4, 4)))}, "a.pt"),
    ],
    ids=["list", "empty", "keys", "number", "nested", "unnamed", "no text", "part"],
)
def test_what_holds_no_state_dict_is_said(load, content, message):
    with pytest.raises(torch_files.TorchFileError) as told:
        load(content)
    assert message in str(told.value) and "deepinfomax-" not in str(told.value)


def test_dictionaries_that_are_shared_or_hold_themselves(load, encoders):
    """Forty dictionaries of two KB were walked once a path, 2^40 of them; one that holds itself was a RecursionError."""
    shared = {"w": {"x": 1}}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    loop = {"step": 1}
    loop["self"] = loop
    for content in shared, loop:
        with pytest.raises(torch_files.TorchFileError, match="no state_dict in it: its keys are"):
            load(content)
    deep = {"end": encoders[0]}
    for _ in range(2000):
        deep = {"in": deep}
    with pytest.raises(torch_files.TorchFileError, match="no state_dict in it"):
        load(deep)
    assert is_encoder(load({"model": encoders[0], "self": loop}), encoders[0])
    assert is_encoder(load({"model": encoders[0], "ema": encoders[0]}, "ema"), encoders[0])


@pytest.mark.parametrize("names", [("a/b", "a"), ("a", "a/b"), ("c0.weight", "c0.weight/x")])
def test_names_that_stand_in_each_other_s_way(load, names):
    with pytest.raises(
        torch_files.TorchFileError, match="a.pt: '.*' is not the name of (an entry beside the others|a network's entry)"
    ):
        load({name: Tensor(np.zeros(1, np.float32)) for name in names})
