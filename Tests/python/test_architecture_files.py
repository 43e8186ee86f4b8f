"""Files of any architecture: their description, what names and shapes say, what is refused; checkpoints."""

import copy
import json
import random

import h5py
import numpy as np
import pytest
from deepinfomax import (
    Architecture,
    ClassifierTrainer,
    DimError,
    FileContentError,
    FileFormatError,
    InvalidArgument,
    MissingNetwork,
    Model,
    Trainer,
)

#: 1x12x16 images, 3 classes, a few thousand parameters; residual blocks, both heads, dropout.
SMALL = {
    "image": {"channels": 1, "height": 12, "width": 16, "mean": 0.5, "std": 0.5},
    "encoder": {
        "layers": [
            {"op": "conv", "name": "c0", "out": 8, "kernel": 4, "stride": 2, "norm": "batch", "activation": "relu"},
            {
                "op": "residual",
                "name": "r0",
                "shortcut": None,
                "activation": "relu",
                "layers": [{"op": "conv", "name": "c0", "out": 8, "kernel": 3, "padding": 1, "bias": False, "norm": "batch"}],
            },
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 12, "norm": "batch", "activation": "relu"},
            {"op": "dropout", "name": "d0", "dropout": 0.25},
            {"op": "linear", "name": "l1", "out": 6},
        ],
        "features": "r0",
    },
    "local": {"score": "dot", "net": "authors", "units": 8},
    "global": {"score": "concat", "layers": [], "hidden": [7]},
    "prior": {"hidden": [9], "squash": "sigmoid"},
    "classifier": {"hidden": [5], "dropout": 0.5, "classes": 3},
}
OTHER_CLASSES = {**SMALL, "classifier": {"hidden": [5], "dropout": 0.5, "classes": 4}}
#: basic32 on images that take no time.
BASIC = {"preset": "basic32", "image": {"channels": 1, "height": 12, "width": 16}}
IMAGES = np.random.default_rng(1).random((10, 1, 12, 16), np.float32)
LABELS = np.arange(10) % 3
BOTH = pytest.mark.parametrize("untrusted", [False, True], ids=["here", "untrusted"])


def test_a_file_as_editors_under_windows_save_it(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(SMALL, indent=2).replace("\n", "\r\n"), "utf-8-sig")
    assert Architecture(tmp_path / "a.json") == Architecture(SMALL)


@pytest.fixture(scope="module")
def model():
    made = Model(3, SMALL)
    made.class_names = ["cat", "größer", 'a "b" \\c']
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "w.h5"
    model.save(path)
    return path


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert not [key for key in expected if found[key].tobytes() != expected[key].tobytes()]


def written(path, state, attributes=(), **file):
    with h5py.File(path, "w", **file) as f:
        for key, array in state.items():
            f[key] = array
        for name, value in dict(attributes).items():
            f.attrs[name] = value
    return path


# ---- What a file says of itself


def test_what_is_written(model, saved):
    with h5py.File(saved) as file:
        attribute = h5py.h5a.open(file.id, b"architecture")
        assert dict(file.attrs).keys() == {"architecture", "class_names"}
        assert file.attrs["architecture"].decode() == model.architecture.json()
        assert json.loads(file.attrs["class_names"]) == model.class_names
        kind = attribute.get_type()
        assert (kind.get_cset(), kind.is_variable_str(), attribute.shape) == (h5py.h5t.CSET_UTF8, False, ())
        # Never datasets: what is in the file is a state_dict.
        assert_same({key: file[key][()] for key in file}, {k: np.asarray(v) for k, v in model.state_dict().items()})


def test_the_notebook_says_so_too(tmp_path):
    Model(0).save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert file.attrs["architecture"].decode() == Architecture("notebook").json() and len(file.attrs) == 1


@BOTH
@pytest.mark.parametrize("suffix", ["h5", "safetensors"])
def test_round_trip(model, tmp_path, suffix, untrusted):
    model.save(tmp_path / f"w.{suffix}")
    opened = Model.open(tmp_path / f"w.{suffix}", untrusted=untrusted)
    assert opened.architecture == model.architecture and opened.class_names == model.class_names
    assert_same(opened.state_dict(), model.state_dict())
    np.testing.assert_array_equal(opened.encode(IMAGES)[0], model.encode(IMAGES)[0])
    opened.save(tmp_path / f"again.{suffix}")
    assert (tmp_path / f"again.{suffix}").read_bytes() == (tmp_path / f"w.{suffix}").read_bytes()


@BOTH
@pytest.mark.parametrize("file", [{}, {"libver": ("v110", "v110")}, {"userblock_size": 512}], ids=str)
@pytest.mark.parametrize("convert", [str, lambda text: np.bytes_(text.encode())], ids=["variable", "fixed"])
def test_as_h5py_writes_attributes(model, tmp_path, file, convert, untrusted):
    names = json.dumps(model.class_names, ensure_ascii=False)
    attributes = {"architecture": convert(json.dumps(SMALL)), "class_names": convert(names), "epoch": 3, "note": "more"}
    path = written(tmp_path / "w.h5", model.state_dict(), attributes, **file)
    opened = Model.open(path, untrusted=untrusted)
    assert opened.architecture == model.architecture and opened.class_names == model.class_names
    assert_same(opened.state_dict(), model.state_dict())


@BOTH
def test_many_classes_with_long_names(tmp_path, untrusted):
    """Attributes of more than 64 KB, which default-format files cannot hold."""
    many = {**SMALL, "classifier": {"hidden": [], "classes": 1000}}
    model = Model(0, many)
    model.class_names = [f"{i} " + '\\"é' * 60 for i in range(1000)]
    model.save(tmp_path / "w.h5")
    assert Model.open(tmp_path / "w.h5", untrusted=untrusted).class_names == model.class_names


def test_a_copy_with_more_names_than_a_safetensors_header_takes():
    with Model(0, {**SMALL, "classifier": {"hidden": [], "classes": 20_000}}) as model:
        model.class_names = [f"{i} ".ljust(250, "x") for i in range(20_000)]
        assert copy.deepcopy(model).class_names == model.class_names


def test_names_of_classes_need_the_classifier(model, saved):
    """A file without it would not keep them."""
    with Model.open(saved, networks="encoder") as alone:
        with pytest.raises(MissingNetwork, match="holds no weights for classifier"):
            alone.class_names = ["a", "b", "c"]
        assert alone.class_names == []


@pytest.mark.parametrize(
    ("attributes", "error", "words"),
    [
        ({"architecture": "{"}, FileContentError, 'attribute "architecture": not a description in JSON: byte 1'),
        ({"architecture": '{"preset":"basic33"}'}, FileContentError, "basic33"),
        ({"architecture": " " * 60001}, FileContentError, "at most 60000 bytes, found 60001"),
        ({"architecture": np.bytes_(b" " * 60001)}, FileContentError, "at most 60000 bytes, found 60001"),
        ({"architecture": 7}, FileContentError, "expected a scalar string, found int64"),
        ({"architecture": ["{}", "{}"]}, FileContentError, "expected a scalar string, found an array of"),
        ({"architecture": np.bytes_(b"\xff{}")}, FileContentError, "architecture"),
        ({"architecture": ""}, FileContentError, "the end of the text"),
        ({"class_names": '["a","b"]'}, FileContentError, "2 names, but the classifier has 3 classes"),
        ({"class_names": '["a","b",3]'}, FileContentError, "expected strings, found something else at 2"),
        ({"class_names": '["a","b","a"]'}, FileContentError, "names 0 and 2 are the same: a"),
        ({"class_names": '["a","b",""]'}, FileContentError, "name 2 is empty"),
        ({"class_names": '["a","b","c\\u0007"]'}, FileContentError, "control character"),
        ({"class_names": '{"a":1}'}, FileContentError, "expected a JSON array"),
        ({"class_names": json.dumps(["a", "b", "c" * 256])}, FileContentError, "over 255 bytes"),
    ],
)
def test_labels_that_are_refused(model, tmp_path, attributes, error, words):
    path = written(tmp_path / "w.h5", model.state_dict(), {"architecture": json.dumps(SMALL), **attributes})
    messages = []
    for untrusted in (False, True):
        with pytest.raises(error) as found:
            Model.open(path, untrusted=untrusted)
        messages.append(str(found.value))
    assert words in messages[0] and messages[0] == messages[1]


def test_all_that_disagrees_is_listed(model, tmp_path):
    state = model.state_dict()
    state["encoder.c0.weight"] = state["encoder.c0.weight"][:7]
    del state["local_d.f0.weight"]
    state["encoder.r0.c1.weight"] = state["encoder.r0.c0.weight"]
    path = written(tmp_path / "w.h5", state, {"architecture": json.dumps(SMALL)})
    with pytest.raises(FileContentError) as found:
        Model.open(path)
    for line in (
        "encoder.c0.weight: found float32 (7, 1, 4, 4), expected float32 (8, 1, 4, 4)",
        "local_d.f0.weight: missing",
        "encoder.r0.c1.weight: found float32 (8, 8, 3, 3), but encoder has no such parameter; did you mean encoder.r0.c0.weight",
    ):
        assert line in str(found.value)


# ---- What names and shapes tell


@BOTH
@pytest.mark.parametrize("networks", [["encoder"], ["encoder", "local_d", "prior_d", "classifier"]])
def test_a_preset_without_attribute(tmp_path, networks, untrusted):
    model = Model(1, "basic28")
    state = {key: array for key, array in model.state_dict().items() if key.split(".")[0] in networks}
    if len(networks) == 1:
        state = {key.split(".", 1)[1]: array for key, array in state.items()}
    opened = Model.open(written(tmp_path / "w.h5", state), untrusted=untrusted)
    assert opened.architecture == Architecture("basic28") and opened.networks == tuple(networks)


def test_what_fits_several(tmp_path):
    state = Model(1, "basic28").state_dict()
    for network in ("prior_d", "classifier"):
        part = {key: array for key, array in state.items() if key.startswith(network)}
        path = written(tmp_path / f"{network}.h5", part)
        if network == "prior_d":  # the notebook's has the same
            assert Model.open(path).architecture == Architecture("notebook")
        else:
            with pytest.raises(FileContentError, match="fit several architectures: basic28, basic32, basic64, alex64"):
                Model.open(path)
            assert Model.open(path, architecture="basic64").architecture == Architecture("basic64")


@BOTH
def test_the_caller_says_what_it_is(model, tmp_path, untrusted):
    path = written(tmp_path / "w.h5", model.state_dict())
    with pytest.raises(FileContentError, match="names no architecture|expected"):
        Model.open(path, untrusted=untrusted)
    opened = Model.open(path, architecture=SMALL, untrusted=untrusted)
    assert opened.architecture == model.architecture
    assert_same(opened.state_dict(), model.state_dict())
    loaded = Model(9, SMALL)
    loaded.load(path, untrusted=untrusted)
    assert_same(loaded.state_dict(), model.state_dict())


# ---- What is refused, and what is left out


@BOTH
def test_another_architecture(saved, untrusted):
    for other in ("notebook", OTHER_CLASSES):
        with pytest.raises(FileContentError, match=r"differ in .*classifier"):
            Model.open(saved, architecture=other, untrusted=untrusted)
    for model in (Model(0, "basic28"), Model(0, OTHER_CLASSES)):
        before = {key: array.copy() for key, array in model.state_dict().items()}
        with pytest.raises(FileContentError, match=r"expected architecture .*networks"):
            model.load(saved, untrusted=untrusted)
        assert_same(model.state_dict(), before)


@BOTH
def test_an_encoder_under_another_classifier(model, saved, untrusted):
    mine = Model(8, OTHER_CLASSES)
    kept = mine.state_dict()
    mine.load(saved, networks="encoder", untrusted=untrusted)
    found = mine.state_dict()
    for key, array in found.items():
        expected = model.state_dict()[key] if key.startswith("encoder.") else kept[key]
        assert array.tobytes() == expected.tobytes()
    assert mine.class_names == [] and mine.sizes.classes == 4
    opened = Model.open(saved, networks=["encoder", "local_d"], untrusted=untrusted)
    assert opened.networks == ("encoder", "local_d") and opened.architecture == model.architecture
    with pytest.raises(FileContentError, match="no weights found: the architecture has no coordinates_d$"):
        Model.open(saved, networks="coordinates_d", untrusted=untrusted)
    with pytest.raises(FileContentError, match="no weights found"):
        Model(0, BASIC).load(saved, networks=["coordinates_d"], untrusted=untrusted)


def test_damage_in_networks_that_are_left_out(model, tmp_path):
    state = model.state_dict()
    state["classifier.l0.weight"] = np.full((2, 2), np.nan, np.float32)
    path = written(tmp_path / "w.h5", state, {"architecture": json.dumps(SMALL)})
    with pytest.raises(FileContentError, match="classifier.l0.weight"):
        Model.open(path)
    assert Model.open(path, networks="encoder").networks == ("encoder",)


def test_descriptions_that_json_cannot_hold():
    circle: dict = {}
    circle["encoder"] = circle
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for description in circle, deep:
        with pytest.raises(ValueError, match="architecture: expected a description that JSON can hold"):
            Architecture(description)


def test_wrong_arguments(saved):
    with pytest.raises(ValueError, match="networks: expected some of"):
        Model.open(saved, networks="decoder")
    with pytest.raises(ValueError, match="networks: expected one at least"):
        Model.open(saved, networks=[])
    with pytest.raises(InvalidArgument, match="image.heigth"):
        Model.open(saved, architecture={"preset": "basic32", "image": {"heigth": 3}})


# ---- More than a file can hold


def test_a_small_file_that_promises_much(tmp_path):
    """The isolated reader gets no memory for weights that the file cannot hold."""
    large = {
        "preset": "basic32",
        "encoder": {
            "layers": [
                {"op": "conv", "name": "c0", "out": 8, "kernel": 3},
                {"op": "flatten"},
                {"op": "linear", "name": "l0", "out": 30000},
                {"op": "linear", "name": "l1", "out": 64},
            ],
            "features": "c0",
            "conv": None,
            "fc": None,
        },
    }
    path = written(tmp_path / "w.h5", {}, {"architecture": json.dumps(large)})
    with h5py.File(path, "a") as file:
        file.create_dataset("encoder.c0.weight", (8, 3, 3, 3), "f4")
        file.create_dataset("encoder.c0.bias", (8,), "f4")
        file.create_dataset("encoder.l0.weight", (30000, 7200), "f4", chunks=(1, 7200), compression="gzip")
        file.create_dataset("encoder.l0.bias", (30000,), "f4")
        file.create_dataset("encoder.l1.weight", (64, 30000), "f4")
        file.create_dataset("encoder.l1.bias", (64,), "f4")
    with pytest.raises(FileContentError, match=r"more than a file of \d+ bytes can hold"):
        Model.open(path, untrusted=True)


# ---- Checkpoints


OBJECTIVES = {
    "nce, all": dict(measure="nce", negatives="all", prior="none", alpha=0, gamma=0),
    "jsd, drawn": dict(measure="jsd", negatives=2, prior="monolithic", gamma=0.1),
    "penalty": dict(measure="dv", negatives="rotation", prior="adversarial", gradient_penalty=2.5, gamma=0.3),
    "clipped": dict(measure="nce", negatives=3, prior="none", gamma=0, lr=3e-3, betas=(0.5, 0.9), weight_decay=0.1),
}


def bytes_of(path):
    with h5py.File(path) as file:
        items = {}
        file.visititems(lambda name, item: items.update({name: item[()].tobytes()}) if hasattr(item, "shape") else None)
        return items, dict(file.attrs)


def batch(step):
    return IMAGES[(3 * step) % 5 :][:5]


@pytest.mark.parametrize("architecture", [SMALL, BASIC], ids=["small", "basic32"])
@pytest.mark.parametrize("options", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, architecture, options):
    options = {**({"alpha": 0.25} if architecture is SMALL else {}), **options}
    trainer = Trainer(Model(4, architecture), seed=2**63 + 11, **options)
    expected = [trainer.step(batch(step)) for step in range(4)]
    trainer.save(tmp_path / "whole.h5")

    trainer = Trainer(Model(4, architecture), seed=2**63 + 11, **options)
    trainer.model.class_names = [f"class {i}" for i in range(trainer.model.sizes.classes)]
    found = []
    for step in range(4):
        found.append(trainer.step(batch(step)))
        trainer.save(tmp_path / "c.h5")
        resumed = Trainer.resume(tmp_path / "c.h5", untrusted=step % 2 == 0)
        assert resumed.options == trainer.options and resumed.steps == step + 1
        assert resumed.model.architecture == trainer.model.architecture
        assert resumed.model.class_names == trainer.model.class_names
        trainer = resumed
    assert found == expected
    trainer.model.class_names = []
    trainer.save(tmp_path / "c.h5")
    assert bytes_of(tmp_path / "c.h5") == bytes_of(tmp_path / "whole.h5")


@pytest.mark.parametrize("architecture", [SMALL, BASIC], ids=["small", "basic32"])
@pytest.mark.parametrize("encoder", ["frozen", "frozen_batch_statistics", "trained"])
def test_a_resumed_classifier_is_the_uninterrupted_one(tmp_path, architecture, encoder):
    """Dropout draws continue where they were."""
    trainer = ClassifierTrainer(Model(4, architecture), encoder, weight_decay=0.01)
    expected = [trainer.step(batch(step), LABELS[:5]) for step in range(4)]
    trainer.save(tmp_path / "whole.h5")
    trainer = ClassifierTrainer(Model(4, architecture), encoder, weight_decay=0.01)
    found = []
    for step in range(4):
        found.append(trainer.step(batch(step), LABELS[:5]))
        trainer.save(tmp_path / "c.h5")
        trainer = ClassifierTrainer.resume(tmp_path / "c.h5", untrusted=step % 2 == 0)
    assert found == expected
    trainer.save(tmp_path / "c.h5")
    assert bytes_of(tmp_path / "c.h5") == bytes_of(tmp_path / "whole.h5")


def test_a_checkpoint_opens_as_weights(model, tmp_path):
    trainer = Trainer(model)
    trainer.save(tmp_path / "c.h5")
    opened = Model.open(tmp_path / "c.h5")
    assert opened.architecture == model.architecture
    assert_same(opened.state_dict(), model.state_dict())


# ---- Mutants


@pytest.mark.parametrize("kind", [Model.open, Trainer.resume], ids=["weights", "checkpoint"])
def test_mutants_through_the_isolated_reader(model, tmp_path, kind):
    """Bytes changed at random, in the labels too: an error or the file's own architecture, and this process continues."""
    path = tmp_path / "w.h5"
    if kind is Model.open:
        written(path, model.state_dict(), {"architecture": json.dumps(SMALL), "class_names": '["a","b","c"]'})
    else:
        Trainer(model).save(path)
    whole = path.read_bytes()
    label = whole.index(b'"encoder"') - 200
    chooser = random.Random(11)
    outcomes = set()
    for i in range(40):
        mutant = bytearray(whole)
        for _ in range(chooser.choice([1, 2, 8])):
            at = chooser.randrange(label, label + 1500) if i % 2 else chooser.randrange(len(mutant))
            mutant[at] = chooser.randrange(256)
        path.write_bytes(mutant)
        try:
            found = kind(path, untrusted=True)
        except DimError as error:
            assert isinstance(error, (FileContentError, FileFormatError)), error
            outcomes.add("refused")
        else:
            outcomes.add("taken")
            found.close()
    assert "refused" in outcomes


def test_numbers_of_numpy():
    """They ended in json's words."""
    chosen = {
        "channels": np.int64(3),
        "height": np.uint8(16),
        "width": 16,
        "mean": np.array([0.1, 0.2, 0.3]),
        "std": np.float64(2),
    }
    expected = {"channels": 3, "height": 16, "width": 16, "mean": [0.1, 0.2, 0.3], "std": 2}
    assert Architecture.preset("basic32", **chosen) == Architecture.preset("basic32", **expected)
    with pytest.raises(TypeError, match="description: expected numbers, texts, lists and dicts, found set"):
        Architecture({"preset": "basic32", "image": {"mean": {1}}})
