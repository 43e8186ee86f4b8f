"""Which state_dicts of a PyTorch file are taken, and what is said of the others: with a stand-in for torch, whose `load` gives
what it is given. Beside PyTorch itself: test_cli_info_convert.py."""

import sys
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

    def numpy(self):
        return self._values

    def detach(self):
        return self

    cpu = resolve_conj = resolve_neg = float = detach


@pytest.fixture
def load(monkeypatch):
    """Reads a file that holds these objects."""

    def load(content, entry=None):
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
    assert message in str(told.value) and "dim-convert-" not in str(told.value)


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
