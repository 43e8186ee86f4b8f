"""deepinfomax.onnx_export: ONNX Runtime computes what the library computes."""

import deepinfomax as dim
import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
from cli_fixtures import dim as dim_command  # noqa: E402
from deepinfomax.onnx_export import OPSET, difference, to_onnx  # noqa: E402
from vector_fixtures import VECTORS  # noqa: E402

#: Every operator and option that a description may have.
ALL = {
    "image": {"channels": 2, "height": 17, "width": 14, "mean": [0.4, 0.6], "std": [0.3, 0.2]},
    "encoder": {
        "layers": [
            {
                "op": "conv",
                "name": "c0",
                "out": 8,
                "kernel": [3, 2],
                "stride": [1, 2],
                "padding": [1, 0],
                "norm": "layer",
                "activation": "sigmoid",
            },
            {"op": "maxpool", "name": "p0", "kernel": 3, "stride": 1, "padding": 1},
            {
                "op": "residual",
                "name": "r0",
                "activation": "relu",
                "norm": "batch",
                "layers": [
                    {
                        "op": "conv",
                        "name": "c0",
                        "out": 12,
                        "kernel": 3,
                        "stride": 2,
                        "padding": 1,
                        "norm": "batch",
                        "activation": "relu",
                    },
                    {"op": "dropout", "dropout": 0.5},
                    {"op": "conv", "name": "c1", "out": 12, "kernel": 1, "bias": False},
                ],
                "shortcut": {"op": "conv", "out": 12, "kernel": 1, "stride": 2},
            },
            {
                "op": "residual",
                "name": "r1",
                "layers": [{"op": "conv", "name": "c0", "out": 12, "kernel": 3, "padding": 1, "activation": "relu"}],
            },
            {"op": "avgpool", "kernel": [2, 3], "stride": 2, "padding": 1},
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 20, "norm": "layer", "activation": "relu"},
            {"op": "dropout", "dropout": 0.2},
            {"op": "linear", "name": "l1", "out": 9, "norm": "batch", "bias": False},
            {"op": "linear", "name": "l2", "out": 5},
        ],
        "features": "r0",
        "conv": "r1",
        "fc": "l1",
    },
    "local": {"score": "dot", "net": "light", "units": 8},
}
#: Features of a layer behind `flatten`, `fc`'s.
BEHIND_MAPS = ALL | {"encoder": ALL["encoder"] | {"features": "l1"}}
DESCRIPTIONS = {preset: preset for preset in dim.PRESETS}
DESCRIPTIONS |= {"every operator": ALL, "vectors": VECTORS, "vectors behind maps": BEHIND_MAPS}


def trained(architecture):
    """With running statistics that are not those of the start."""
    model = dim.Model(1, architecture=architecture)
    chance = np.random.default_rng(0)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            state[name] = chance.normal(0, 0.1, value.shape).astype(np.float32)
        if name.endswith("running_var"):
            state[name] = chance.uniform(0.5, 2, value.shape).astype(np.float32)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("architecture", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_onnx_runtime_computes_the_same(architecture):
    model = trained(architecture)
    content = to_onnx(model)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    sizes = model.sizes
    assert names == [name for name in dim.OUTPUTS if {"conv": sizes.conv, "fc": sizes.fc}.get(name, True)]
    for n in 1, 3:
        images = np.random.default_rng(n).random((n, *sizes.image), np.float32)
        for name, ours, theirs in zip(names, model.encode(images, outputs=names), session.run(names, {"images": images})):
            assert ours.shape == theirs.shape
            scale = max(1.0, float(np.sqrt(np.mean(np.square(ours)))))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("architecture", [VECTORS, BEHIND_MAPS], ids=["vectors", "vectors behind maps"])
def test_features_that_are_vectors_are_maps_of_one_location(architecture):
    """As the library gives them, in the file's own words, too."""
    model = trained(architecture)
    made = onnx.load_from_string(to_onnx(model))
    shapes = {one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in made.graph.output}
    assert shapes["features"] == ["n", *model.sizes.features] and shapes["features"][2:] == [1, 1]
    assert shapes["fc"] == ["n", model.sizes.fc] and ("conv" in shapes) == (model.sizes.conv is not None)


def test_the_file_says_its_opset_names_and_architecture():
    model = dim.Model(architecture="basic28")
    made = onnx.load_from_string(to_onnx(model))
    assert [(one.domain, one.version) for one in made.opset_import] == [("", OPSET)]
    (images,) = made.graph.input
    assert images.name == "images" and images.type.tensor_type.shape.dim[0].dim_param == "n"
    (entry,) = (one for one in made.metadata_props if one.key == "dim_architecture")
    assert dim.Architecture(entry.value) == model.architecture


def test_weights_reach_the_file():
    """Two models of one architecture differ there, too."""
    architecture = dim.Architecture.preset("basic28")
    images = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    found = [
        onnxruntime.InferenceSession(to_onnx(dim.Model(seed, architecture))).run(["encoded"], {"images": images})[0]
        for seed in (0, 1)
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("preset", ["basic28", "notebook"])
def test_dim_convert_writes_it(preset, tmp_path):
    model = trained(preset)
    model.save(tmp_path / "weights.h5")
    model.save(tmp_path / "weights.safetensors")
    done = dim_command("convert", "weights.h5", "encoder.onnx", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "encoder.onnx: encoder\n", "")
    content = (tmp_path / "encoder.onnx").read_bytes()
    assert content == to_onnx(model) and difference(model, content) < 1e-4
    done = dim_command("convert", "weights.safetensors", "again.onnx", "--network", "encoder", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "again.onnx").read_bytes() == content
    done = dim_command("convert", "weights.h5", "prior.onnx", "--network", "prior_d", cwd=tmp_path)
    assert done.returncode == 2 and "the encoder alone goes to ONNX" in done.stderr and not (tmp_path / "prior.onnx").exists()


def test_a_difference_is_found():
    """Of another model's file."""
    assert difference(trained("basic28"), to_onnx(dim.Model(0, "basic28"))) > 1e-2


def test_a_file_without_an_encoder(tmp_path):
    with dim.Model(0, "basic28") as model:
        model.save(tmp_path / "a.h5")
    dim.Model.open(tmp_path / "a.h5", networks="prior_d").save(tmp_path / "prior.h5")
    done = dim_command("convert", "prior.h5", "encoder.onnx", cwd=tmp_path)
    assert done.returncode == 2 and "no encoder in it" in done.stderr and not (tmp_path / "encoder.onnx").exists()
