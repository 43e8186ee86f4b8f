"""`dim info` and `dim convert`, end to end."""

import importlib.util
import json
import os
import shutil

import deepinfomax
import h5py
import numpy as np
import pytest
from cli_fixtures import dim
from safetensors_fixtures import write_safetensors

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="converts PyTorch's files")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """weights.h5 of seed 3, objective.h5 and classifier.h5: checkpoints after one step."""
    folder = tmp_path_factory.mktemp("weights")
    images = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    with deepinfomax.Model(3) as model:
        model.save(folder / "weights.h5")
        with deepinfomax.ClassifierTrainer(model, lr=0.25) as trainer:
            trainer.step(images, np.array([1, 2]))
            trainer.save(folder / "classifier.h5")
        with deepinfomax.Trainer(model, "adversarial", seed=7, encoder_lr=1e-3) as trainer:
            trainer.step(images)
            trainer.save(folder / "objective.h5")
    return folder


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- info


def test_info_without_a_file_is_about_the_library():
    about = json.loads(dim("info", "--json").stdout)
    assert about["libdim"].startswith("libdim 0.") and about["packages"]["numpy"] == np.__version__


def test_info_of_weights(folder):
    done = dim("info", folder / "weights.h5", "--shapes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "15,865,600" in done.stdout and "c3.weight" in done.stdout and "(512,256,4,4)" in done.stdout
    assert "checkpoint" not in done.stdout


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    done = dim("convert", "pipe.h5", "out.h5", cwd=tmp_path)
    assert done.returncode == 2 and "pipe.h5: expected a regular file" in done.stderr, done.stderr


def test_info_of_checkpoints(folder):
    done = dim("info", "--json", folder / "objective.h5", folder / "classifier.h5")
    objective, classifier = json.loads(done.stdout)["files"]
    assert done.returncode == 0 and objective["problem"] is None and classifier["problem"] is None
    training = objective["training"]
    assert (training["kind"], training["step"], training["seed"]) == ("objective", 1, 7)
    assert (training["prior"], training["encoder_lr"]) == ("adversarial", 1e-3)
    assert (classifier["training"]["kind"], classifier["training"]["lr"]) == ("classifier", 0.25)
    assert objective["networks"]["encoder"]["batches"] == 1 and objective["networks"]["prior_d"]["batches"] is None
    # Its running statistics moved for the classifier alone.
    assert classifier["networks"]["classifier"]["batches"] == 1
    lines = dim("info", folder / "objective.h5").stdout.splitlines()
    assert any(line.split() == ["coordinates_weight", "1"] for line in lines), "a blank after the longest name"


def test_the_last_step_that_can_be_counted(folder, tmp_path):
    """2^63 - 1 steps in a checkpoint: told by dim info, and kept by the steps that follow."""
    shutil.copy(folder / "objective.h5", tmp_path / "last.h5")
    with h5py.File(tmp_path / "last.h5", "r+") as file:
        file["checkpoint/step"][...] = 2**63 - 1
    done = dim("info", "--json", tmp_path / "last.h5")
    assert done.returncode == 0 and json.loads(done.stdout)["files"][0]["training"]["step"] == 2**63 - 1, done
    assert f"{2**63 - 1:,}" in dim("info", tmp_path / "last.h5").stdout
    with deepinfomax.Trainer.resume(tmp_path / "last.h5") as trainer:
        trainer.step(np.random.default_rng(0).random((4, 3, 32, 32), np.float32))
        assert trainer.steps == 2**63 - 1


def test_info_tells_what_is_wrong(folder, tmp_path):
    whole = (folder / "weights.h5").read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("weights")
    files = [tmp_path / "short.h5", folder / "weights.h5", tmp_path / "text.h5", tmp_path / "nothing.h5"]
    done = dim("info", "--json", *files)
    found = json.loads(done.stdout)["files"]
    assert done.returncode == 1
    assert [file["problem"] is None for file in found] == [False, True, False, False]
    assert "not an HDF5 file" in found[2]["problem"] and "No such file" in found[3]["problem"]
    assert "PROBLEM" in dim("info", tmp_path / "short.h5").stdout
    # An architecture is for files that name none; a folder among the files ended all.
    deepinfomax.Model(0, "basic28").save(tmp_path / "weights.h5")
    done = dim("info", "--json", "--architecture", "basic32", tmp_path / "weights.h5", tmp_path, "")
    found = json.loads(done.stdout)["files"]
    assert done.returncode == 1 and found[0]["problem"] is None and found[0]["description"]["preset"] == "basic28"
    assert "is a folder; its weights are in" in found[1]["problem"] and "found an empty one" in found[2]["problem"]


# ---- convert


def test_the_output_forgotten(tmp_path):
    """Of a run's weights it was said that they are one of the run's files."""
    for name in "weights.h5", "settings.json":
        (tmp_path / name).write_text("{}")
    done = dim("convert", "weights.h5", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == (
        "dim convert: expected one input or several, then the output; found only weights.h5\n"
    )


@needs_torch
def test_names_of_classes_that_a_format_has_no_place_for(folder, tmp_path):
    with deepinfomax.Model(0, "basic28") as model:
        model.class_names = [f"class {number}" for number in range(model.sizes.classes)]
        model.save(tmp_path / "named.h5")
    done = dim("convert", "named.h5", "a.pt", cwd=tmp_path)
    note = "dim convert: note: a.pt: its format has no place for the classes' names, class 0 and so on\n"
    assert (done.returncode, done.stderr) == (0, note)
    assert dim("convert", "named.h5", "a.pt", "--quiet", cwd=tmp_path).stderr == ""
    assert dim("convert", "named.h5", "e.pt", "--network", "encoder", cwd=tmp_path).stderr == ""
    assert dim("convert", "named.h5", "a.safetensors", cwd=tmp_path).stderr == ""


NAMES = [f"class {number}" for number in range(10)]


@needs_torch
def test_an_architecture_that_a_format_has_no_place_for(tmp_path):
    """A default run has a coordinates network, which no preset has: its .pt was 7 problems, and the advice asked for a file that
    nobody had."""
    own = deepinfomax.Architecture({"preset": "basic28", "coordinates": {"hidden": [16]}})
    with deepinfomax.Model(0, own) as model:
        model.class_names = NAMES
        model.save(tmp_path / "run.h5")
    done = dim("convert", "run.h5", "a.pt", cwd=tmp_path)
    assert done.returncode == 0 and "a.pt: its format has no place for the classes' names, class 0 and so on" in done.stderr
    assert done.stderr.endswith(
        "a.pt: its format has no place for the architecture, which is no preset's: to read it again, give --architecture run.h5\n"
    )
    assert dim("convert", "a.pt", "b.h5", cwd=tmp_path).returncode == 2
    done = dim("convert", "a.pt", "b.h5", "--architecture", "run.h5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    with deepinfomax.Model.open(tmp_path / "b.h5") as again:
        assert again.architecture == own and again.class_names == NAMES
        assert same(again.state_dict(), deepinfomax.Model.open(tmp_path / "run.h5").state_dict())


def test_untrusted_is_of_files_whose_reading_is_isolated(tmp_path):
    """It had no effect on PyTorch's files, which are read in the command's process, and nothing said so."""
    (tmp_path / "w.pt").write_bytes(b"PK\3\4" + bytes(60))
    done = dim("convert", "w.pt", "w.h5", "--untrusted", cwd=tmp_path)
    assert done.returncode == 2 and "--untrusted: isolates the reading of HDF5 and safetensors alone" in done.stderr, (
        done.stderr
    )


def test_a_command_that_takes_no_file_of_pytorch_says_how_to_convert_it(tmp_path):
    """It was seven lines of Python."""
    (tmp_path / "w.pt").write_bytes(b"PK\3\4" + bytes(60))
    done = dim("encode", "--weights", "w.pt", "--data", "digits", "--output", "y.npz", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == (
        "dim encode: w.pt is not an HDF5 file: it is a zip archive, as torch.save writes it or numpy.savez; dim convert w.pt "
        "weights.h5 makes an HDF5 file of PyTorch's\n"
    )


@needs_torch
def test_there_and_back(folder, tmp_path):
    import torch

    assert dim("convert", folder / "weights.h5", tmp_path / "a.pt").returncode == 0
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    original = deepinfomax.Model(3).state_dict()
    assert same({name: value.numpy() for name, value in state.items()}, original)
    done = dim("convert", tmp_path / "a.pt", tmp_path / "a.h5", "--json")
    assert json.loads(done.stdout)["outputs"][0]["networks"] == list(deepinfomax.Model(3).networks)
    assert same(deepinfomax.Model.open(tmp_path / "a.h5").state_dict(), original)
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "a.pt"]


def test_class_names_of_a_part_stay(tmp_path):
    architecture = deepinfomax.Architecture({"preset": "basic28", "classifier": {"classes": 2}})
    with deepinfomax.Model(0, architecture=architecture) as model:
        model.class_names = ["cat", "dog"]
        model.save(tmp_path / "whole.h5")
    for network in ("classifier", "encoder"):
        deepinfomax.Model.open(tmp_path / "whole.h5", networks=[network]).save(tmp_path / f"{network}.h5")
    for arguments in (
        ["whole.h5", "some.h5", "--network", "classifier"],
        ["whole.h5", "some.safetensors", "--network", "classifier"],
        ["classifier.h5", "again.h5"],
        ["classifier.h5", "encoder.h5", "both.h5"],
        ["encoder.h5", "classifier.h5", "both.safetensors"],
    ):
        done = dim("convert", *arguments, cwd=tmp_path)
        output = [name for name in arguments if "." in name][-1]
        assert done.returncode == 0, done.stderr
        assert deepinfomax.Model.open(tmp_path / output).class_names == ["cat", "dog"], arguments


@needs_torch
def test_one_network_loads_into_its_module(folder, tmp_path):
    import torch
    from deepinfomax.compare import notebook

    assert dim("convert", folder / "objective.h5", tmp_path / "e.pt", "--network", "encoder").returncode == 0
    notebook.Encoder().load_state_dict(torch.load(tmp_path / "e.pt", weights_only=True))


@needs_torch
def test_the_originals_two_files(folder, tmp_path):
    import torch

    done = dim("convert", folder / "weights.h5", tmp_path / "run5", "--original", "--epoch", 860)
    assert done.returncode == 0 and "the original's two files have no place for classifier; left out" in done.stderr, (
        done.stderr
    )
    encoder, loss = tmp_path / "run5" / "encoder860.wgt", tmp_path / "run5" / "loss860.wgt"
    assert "c0.weight" in torch.load(encoder, weights_only=True)
    assert {name.split(".")[0] for name in torch.load(loss, weights_only=True)} == {"global_d", "local_d", "prior_d"}
    assert dim("convert", encoder, loss, tmp_path / "one.h5").returncode == 0
    expected = {k: v for k, v in deepinfomax.Model(3).state_dict().items() if not k.startswith("classifier.")}
    assert same(deepinfomax.Model.open(tmp_path / "one.h5").state_dict(), expected)


def _module(state):
    return {f"module.{name}": value for name, value in state.items()}


@needs_torch
@pytest.mark.parametrize(
    "make, networks",
    [
        (lambda n: _module(n.encoder.state_dict()), ["encoder"]),
        (lambda n: {"encoder": n.encoder.state_dict(), "prior_d": n.prior_d.state_dict()}, ["encoder", "prior_d"]),
        (lambda n: {"epoch": 3, "state_dict": n.state_dict()}, list(deepinfomax.NETWORKS)),
        (
            lambda n: (
                {"0." + k: v for k, v in n.encoder.state_dict().items()}
                | {"1." + k: v for k, v in n.classifier.state_dict().items()}
            ),
            ["encoder", "classifier"],
        ),
    ],
    ids=["module", "nested", "checkpoint", "sequential"],
)
def test_how_people_save(tmp_path, make, networks):
    import torch
    from deepinfomax.compare import notebook

    modules = notebook.networks(3, torch.float32)
    torch.save(make(modules), tmp_path / "a.pt")
    done = dim("convert", tmp_path / "a.pt", tmp_path / "a.h5")
    assert done.returncode == 0, done.stderr
    expected = {k: v.numpy() for k, v in modules.state_dict().items() if k.split(".")[0] in networks}
    assert same(deepinfomax.Model.open(tmp_path / "a.h5").state_dict(), expected)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@needs_torch
def test_what_is_refused(tmp_path):
    import torch

    torch.save(Evil(), tmp_path / "evil.pt")
    torch.save({"c0.weight": torch.zeros(64, 3, 4, 4)}, tmp_path / "part.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save({1: torch.zeros(3), 2: torch.zeros(1)}, tmp_path / "numbers.pt")
    torch.save({"c0.weight": torch.zeros(1).expand(1 << 34)}, tmp_path / "large.pt")  # 64 GB of one value.
    (tmp_path / "cut.pt").write_bytes((tmp_path / "part.pt").read_bytes()[:2000])
    (tmp_path / "text.pt").write_text("weights")
    for name, message in [
        ("evil.pt", "found posix.system. Loading a whole module"),
        ("part.pt", "part.pt"),
        ("empty.pt", "its keys are epoch"),
        ("numbers.pt", "numbers.pt: no state_dict in it: its tensors have no names: 1 is of type int"),
        ("large.pt", "tensors of 17,179,869,184 values; a state_dict has 536,870,912 at most"),
        ("cut.pt", "cut.pt: "),
        ("text.pt", "text.pt: expected a file by torch.save, found other content: b'we' at its beginning"),
        ("nothing.pt", "No such file"),
    ]:
        done = dim("convert", name, "out.h5", cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "evil").exists() and not (tmp_path / "out.h5").exists()


@needs_torch
def test_entries_of_a_checkpoint(tmp_path):
    """A name that holds "optim" is no optimiser; of two state_dicts, --entry takes one."""
    import torch
    from deepinfomax.compare import notebook

    one, other = (notebook.networks(seed, torch.float32).encoder for seed in (1, 2))
    adam = torch.optim.Adam(one.parameters())
    torch.save({"optimal_model": one.state_dict(), "optimizer": adam.state_dict()}, tmp_path / "best.pt")
    assert dim("convert", "best.pt", "best.h5", cwd=tmp_path).returncode == 0
    same_network(tmp_path / "best.h5", one)
    torch.save({"model": one.state_dict(), "ema": other.state_dict()}, tmp_path / "two.pt")
    done = dim("convert", "two.pt", "two.h5", cwd=tmp_path)
    assert done.returncode == 2 and "'model' and 'ema'; choose one of them with --entry" in done.stderr, done.stderr
    assert dim("convert", "two.pt", "two.h5", "--entry", "ema", cwd=tmp_path).returncode == 0
    same_network(tmp_path / "two.h5", other)
    done = dim("convert", "two.pt", "two.h5", "--entry", "emma", cwd=tmp_path)
    assert done.returncode == 2 and "no entry 'emma' with a state_dict; there are 'model', 'ema'" in done.stderr, done.stderr


def same_network(path, module):
    found = deepinfomax.Model.open(path).state_dict()
    assert same(
        {name.split(".", 1)[1]: value for name, value in found.items()},
        {name: value.numpy() for name, value in module.state_dict().items()},
    )


@needs_torch
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_have_no_values_in_numpy(tmp_path):
    import torch
    from deepinfomax.compare import notebook

    good = notebook.networks(1, torch.float32).encoder.state_dict()
    weight = good["c0.weight"]
    for value, message in [
        (weight.to_sparse(), "c0.weight: a sparse tensor (sparse_coo); save its to_dense()"),
        (weight.to(torch.float8_e4m3fn), "c0.weight: a tensor of float8_e4m3fn; save it as float32"),
        (weight.to("meta"), "c0.weight: a tensor on the device meta"),
        (torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "c0.weight: a tensor of qint8"),
        (3, "'c0.weight' is a int and not a tensor"),
    ]:
        torch.save(good | {"c0.weight": value}, tmp_path / "a.pt")
        done = dim("convert", "a.pt", "a.h5", cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    torch.save({"model": good | {"\udce9": weight}}, tmp_path / "a.pt")
    done = dim("convert", "a.pt", "a.h5", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    torch.save({"state_dict": good | {"epoch": [3]}}, tmp_path / "a.pt")
    done = dim("convert", "a.pt", "a.h5", cwd=tmp_path)
    assert done.returncode == 2 and "in 'state_dict', 'epoch' is a list and not a tensor" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["out.h5"], "one input or several, then the output"),
        (["weights.h5", "out.foo"], "expected a name that ends in"),
        (["encoder.onnx", "out.h5"], "ONNX is written, not read"),
        (["weights.h5", "nothing/out.h5"], "there is no folder"),
        (["vectors.npz", "out.h5"], "vectors.npz: expected weights in HDF5, in safetensors or of PyTorch, found numpy's"),
        (["network.json", "out.h5"], "found a JSON text; an architecture has no weights, and is named with --architecture"),
        (["weights.h5", "other.h5", "out.h5"], "all inputs are of one architecture, that of weights.h5"),
        (["weights.h5", "weights.h5", "out.h5"], "is also in an earlier input"),
        (["weights.h5", "out.h5", "--entry", "ema"], "--entry: chooses among the state_dicts of a PyTorch file; weights.h5 is"),
    ],
)
def test_usage(folder, arguments, message):
    (folder / "encoder.onnx").write_bytes(b"\x08\x08")
    (folder / "network.json").write_text(' {"preset": "basic28"}')
    (folder / "vectors.npz").write_bytes(b"PK\x05\x06" + bytes(18))
    with deepinfomax.Model(0, "basic28") as model:
        model.save(folder / "other.h5")
        with pytest.raises(ValueError, match="model.pt has another format's ending; expected .h5"):
            model.save(folder / "model.pt")
        with pytest.raises(ValueError, match="picture.PNG has another format's ending"):
            model.save(folder / "picture.PNG")
        model.save(folder / "in_capitals.SAFETENSORS")
    assert (folder / "in_capitals.SAFETENSORS").read_bytes()[8:9] == b"{"
    done = dim("convert", *arguments, cwd=folder)
    assert done.returncode == 2 and message in done.stderr
    assert not (folder / "out.h5").exists()


def test_what_a_file_without_an_architecture_is_near_to(tmp_path):
    """The advice was counted as a problem, and named what is --architecture by its name in Python."""
    with deepinfomax.Model(0, "basic28") as model:
        state = {name: value for name, value in model.state_dict().items() if name.startswith("encoder.")}
    for wrong, counted in ((["encoder.c0.weight"], ""), (["encoder.c0.weight", "encoder.c1.weight"], "2 problems:\n  ")):
        write_safetensors(tmp_path / "a.safetensors", state | {name: state[name][:, :, :1] for name in wrong})
        done = dim("convert", "a.safetensors", "out.h5", cwd=tmp_path)
        advice = (
            "the file names no architecture, and of the presets basic28 is the nearest; for another one give --architecture\n"
        )
        assert done.returncode == 2 and done.stderr.endswith(advice), done.stderr
        assert done.stderr.startswith(f"dim convert: a.safetensors: {counted}encoder.c0.weight: found"), done.stderr


def test_onnx_needs_a_package(folder, tmp_path):
    """Said before anything is read."""
    if importlib.util.find_spec("onnx") is not None:
        pytest.skip("onnx is installed")
    done = dim("convert", folder / "nothing.h5", tmp_path / "encoder.onnx")
    assert done.returncode == 2 and "deepinfomax[onnx]" in done.stderr, done.stderr
    assert not (tmp_path / "encoder.onnx").exists()
