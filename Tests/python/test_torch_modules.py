"""deepinfomax.torch: names, shapes, order and seeds of every architecture, beside hand-written expectations."""

import ctypes
import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

import torch.nn as nn  # noqa: E402
from deepinfomax import Model, _library  # noqa: E402
from deepinfomax.compare import notebook  # noqa: E402
from deepinfomax.torch import modules  # noqa: E402
from deepinfomax.torch._description import PRESETS, expanded, text  # noqa: E402
from deepinfomax.torch._layout import layout  # noqa: E402
from deepinfomax.torch.random_architectures import random_description  # noqa: E402
from vector_fixtures import VECTORS  # noqa: E402

torch.set_num_threads(1)

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names(prefix, text):
    """ "c0+ l1": c0 has a weight and a batch norm, l1 weight and bias."""
    found = []
    for name in text.split():
        layer = f"{prefix}.{name.rstrip('+')}"
        if name.endswith("+"):
            found += [f"{layer}.weight", *(f"{layer}_norm.{leaf}" for leaf in NORM)]
        else:
            found += [f"{layer}.weight", f"{layer}.bias"]
    return found


LIGHT = names("local_d", "f0 f1 fs0 y0 y1 ys0")
PRIOR = names("prior_d", "l0 l1 l2")
CLASSIFIER = [
    "classifier.l0.weight",
    "classifier.l0.bias",
    *(f"classifier.l0_norm.{leaf}" for leaf in NORM),
    "classifier.l1.weight",
    "classifier.l1.bias",
]
BLOCKS = "r0.c0+ r0.c1+ r0.c2+ r0.s0+ r1.c0+ r1.c1+ r1.c2+ r2.c0+ r2.c1+ r2.c2+ r2.s0+ r3.c0+ r3.c1+ r3.c2+ "
BLOCKS += "r4.c0+ r4.c1+ r4.c2+ r4.s0+ r5.c0+ r5.c1+ r5.c2+"

#: Preset: image, layers of the encoder in order, its parameters (Table of the paper), features, conv, fc.
EXPECTED = {
    "basic28": ((1, 28, 28), "c0+ c1+ l0+ l1", 6_696_960, (128, 7, 7), (128, 7, 7), 1024),
    "basic32": ((3, 32, 32), "c0+ c1+ c2+ l0+ l1", 4_921_280, (128, 8, 8), (256, 4, 4), 1024),
    "basic64": ((3, 64, 64), "c0+ c1+ c2+ c3+ l0+ l1", 11_213_760, (256, 8, 8), (512, 4, 4), 1024),
    "alex64": ((3, 64, 64), "c0+ c1+ c2+ c3+ c4+ l0+ l1+ l2", 58_416_160, (384, 15, 15), (192, 7, 7), 4096),
    "resnet19_32": ((3, 32, 32), f"c0+ {BLOCKS} l0+ l1", 20_281_216, (512, 8, 8), (1024, 4, 4), 1024),
}


@pytest.mark.parametrize("preset", EXPECTED)
def test_presets(preset):
    image, layers, parameters, features, conv, fc = EXPECTED[preset]
    net = modules(preset)
    assert list(net.state_dict()) == names("encoder", layers) + LIGHT + PRIOR + CLASSIFIER
    assert sum(p.numel() for p in net.encoder.parameters()) == parameters
    with torch.no_grad():
        found = net.eval().encoder(torch.rand(2, *image))
    shapes = [tuple(output.shape) for output in found]
    assert shapes == [(2, 64), (2, *features), (2, *conv), (2, fc)]
    assert net.local_d(found.encoded, found.features).shape == (2, 1, *features[1:])
    assert net.local_d.pairs(found.encoded, found.features).shape == (2, 2, *features[1:])
    assert net.prior_d(found.encoded).shape == (2, 1) and net.classifier(found.encoded).shape == (2, 10)


def test_shapes_of_basic32():
    """All of them, by hand."""
    batch = lambda c: [(c,), (c,), (c,), (c,), ()]  # noqa: E731
    expected = [
        *((64, 3, 4, 4), *batch(64), (128, 64, 4, 4), *batch(128), (256, 128, 4, 4), *batch(256)),
        *((1024, 4096), *batch(1024), (64, 1024), (64,)),
        *((512, 128, 1, 1), (512,), (512, 512, 1, 1), (512,), (512, 128, 1, 1), (512,)),
        *((512, 64), (512,), (512, 512), (512,), (512, 64), (512,)),
        *((1000, 64), (1000,), (200, 1000), (200,), (1, 200), (1,)),
        *((200, 64), (200,), *batch(200), (10, 200), (10,)),
    ]
    assert [tuple(value.shape) for value in modules("basic32").state_dict().values()] == expected


AUTHORS = {"preset": "basic32", "local": {"score": "dot", "net": "authors", "units": 130}}
#: What no preset has.
RICH = {
    "image": {"channels": 2, "height": 9, "width": 11, "mean": [0.1, 0.2], "std": 0.5},
    "encoder": {
        "norms": "last",
        "layers": [
            {"op": "conv", "name": "c0", "out": 6, "kernel": [3, 2], "padding": [1, 0], "norm": "layer"},
            {
                "op": "residual",
                "name": "r0",
                "layers": [
                    {"op": "conv", "name": "c0", "out": 8, "kernel": 3, "padding": 1, "norm": "batch"},
                    {"op": "dropout", "dropout": 0.2},
                ],
                "shortcut": {"op": "conv", "out": 8, "kernel": 1, "norm": "batch", "norm_name": "n0"},
                "activation": "sigmoid",
            },
            {
                "op": "residual",
                "layers": [{"op": "conv", "name": "q0", "out": 8, "kernel": 1, "norm": "batch", "activation": "relu"}],
            },
            {"op": "avgpool", "name": "p0", "kernel": 2, "padding": 1},
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 12, "norm": "batch", "activation": "relu"},
            {"op": "linear", "name": "l1", "out": 4},
        ],
        "features": "r0",
    },
    "local": {"score": "dot", "units": 9},
    "global": {"score": "dot", "net": "copy", "units": 7},
    "prior": {"hidden": [5], "squash": "sigmoid"},
    "coordinates": {"hidden": [3]},
    "classifier": {"hidden": [6], "classes": 3, "output_norm": "batch"},
}
HEADS = {
    "global light": {"global": {"score": "dot", "net": "light", "units": 5, "input": "conv"}},
    "global authors": {"global": {"score": "dot", "units": 700}},
    "global copy of conv": {"global": {"score": "dot", "net": "copy", "units": 5, "input": "conv"}},
    "global concat": {"global": {"score": "concat", "hidden": [4], "layers": [{"op": "maxpool", "kernel": 2}]}},
    "local concat": {"local": {"score": "concat", "hidden": [5, 4]}},
    "local light": {"local": {"score": "dot", "net": "light", "units": 5}},
}
#: Features that are vectors.
OF_VECTORS = {
    "vectors": VECTORS,
    "vectors: flatten": VECTORS | {"encoder": VECTORS["encoder"] | {"features": "x0", "norms": None}},
    "vectors: block": VECTORS | {"encoder": VECTORS["encoder"] | {"features": "r0"}, "global": {"score": "dot", "units": 6}},
    "vectors: concat": VECTORS
    | {
        "local": {"score": "concat", "hidden": [5]},
        "global": {"score": "concat", "hidden": [4], "layers": [{"op": "conv", "name": "c0", "out": 5, "kernel": 1}]},
    },
    "vectors behind maps": RICH | {"encoder": RICH["encoder"] | {"features": "l0"}},
}


def test_order_of_the_rest():
    """Norms last, blocks with and without a name, the authors' net, a copy, coordinates."""
    batch = lambda name: [f"{name}.{leaf}" for leaf in NORM]  # noqa: E731
    both = lambda *layers: [f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")]  # noqa: E731
    authors = [
        *("local_d.f0.weight", *batch("local_d.f0_norm"), *both("local_d.f1"), "local_d.fs0.weight"),
        *(*both("local_d.fn0"), "local_d.y0.weight", *batch("local_d.y0_norm"), *both("local_d.y1")),
        *("local_d.ys0.weight", *both("local_d.yn0")),
    ]
    expected = [
        *both("encoder.c0", "encoder.r0.c0", "encoder.r0.s0"),
        *(*batch("encoder.r0.c0_norm"), *batch("encoder.r0.n0")),
        *(*both("encoder.q0"), *batch("encoder.q0_norm")),
        *(*both("encoder.l0", "encoder.l1"), *both("encoder.c0_norm"), *batch("encoder.l0_norm")),
        # The copy of what is behind r0, its norms last, then y0.
        *(*both("global_d.q0"), *batch("global_d.q0_norm")),
        *(*both("global_d.l0", "global_d.l1"), *batch("global_d.l0_norm"), *both("global_d.y0")),
        *authors,
        *both("prior_d.l0", "prior_d.l1"),
        *(*both("classifier.l0"), *batch("classifier.l0_norm")),
        *(*both("classifier.l1"), *batch("classifier.l1_norm")),
        *both("coordinates_d.c0", "coordinates_d.c1"),
    ]
    assert list(modules(RICH).state_dict()) == expected


EVERY = {**{preset: preset for preset in PRESETS}, "authors": AUTHORS, "rich": RICH}
EVERY |= {name: RICH | change for name, change in HEADS.items()} | OF_VECTORS


@pytest.mark.parametrize("name", EVERY)
def test_the_layout_is_the_state_dict(name):
    state = modules(EVERY[name], notebook_classes=False).state_dict()
    expected = layout(expanded(EVERY[name])).entries
    assert list(state) == list(expected)
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def drawn_in_order(entries, seed, authors):
    """The weights that PyTorch's layers draw if they are made one after another in the order of the state_dict."""
    torch.manual_seed(seed)
    keys = list(entries)
    for key in keys:
        layer, leaf = key.rsplit(".", 1)
        shape = entries[key]
        if leaf != "weight" or len(shape) < 2:
            continue
        bias = f"{layer}.bias" in entries
        made = nn.Linear(shape[1], shape[0], bias) if len(shape) == 2 else nn.Conv2d(*shape[1::-1], shape[2:], bias=bias)
        if layer in authors and shape[0] >= shape[1]:
            nn.init.uniform_(made.weight, -0.01, 0.01)
            for i in range(shape[1]):
                made.weight.data[i, i] = 1
        yield key, made.weight
        if bias:
            yield f"{layer}.bias", made.bias


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_draws_in_the_order_of_the_state_dict(name):
    torch.manual_seed(5)
    net = modules(EVERY[name])
    after = torch.rand(1)
    state = net.state_dict()
    shortcuts = [f"{d}.{letter}s0" for d in ("local_d", "global_d") for letter in "fy" if f"{d}.{letter}n0.weight" in state]
    drawn = dict(drawn_in_order({key: tuple(value.shape) for key, value in state.items()}, 5, shortcuts))
    assert torch.equal(torch.rand(1), after)
    assert len(drawn) > 10 and all(torch.equal(state[key], value) for key, value in drawn.items())
    rest = [key for key in state if key not in drawn]
    ones = ("weight", "running_var")
    assert all((state[key] == (key.rsplit(".", 1)[1] in ones)).all() for key in rest)


def test_the_authors_shortcut_has_a_diagonal_where_it_fits():
    state = modules(AUTHORS).state_dict()
    weight = state["local_d.fs0.weight"][:, :, 0, 0]  # (130, 128)
    assert (weight.diagonal() == 1).all() and weight.fill_diagonal_(0).abs().max() <= 0.01
    narrow = modules(AUTHORS | {"local": {"score": "dot", "units": 100}}).state_dict()["local_d.fs0.weight"]
    assert narrow.abs().max() > 0.05


@pytest.mark.parametrize("name", EVERY)
def test_state_dicts_go_both_ways(name):
    torch.manual_seed(1)
    one, other = modules(EVERY[name]), modules(EVERY[name])
    state = {key: value.clone() for key, value in one.state_dict().items()}
    other.load_state_dict(state, strict=True)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    assert not any("image_" in key for key in state)


# ---- The notebook


def test_the_notebook_keeps_its_classes():
    torch.manual_seed(7)
    net = modules("notebook")
    expected = notebook.networks(7, torch.float32)
    assert [type(part) for part in net.values()] == [type(part) for part in expected.children()]
    state, there = net.state_dict(), expected.state_dict()
    assert list(state) == list(there) and all(torch.equal(state[key], there[key]) for key in there)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_general_classes_compute_the_notebook(mode):
    theirs = notebook.networks(2)
    ours = modules("notebook", notebook_classes=False).double()
    ours.load_state_dict(theirs.state_dict())
    getattr(ours, mode)(), getattr(theirs, mode)()
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        y, M, conv, fc = ours.encoder(x)
        expected = theirs.encoder(x)
        close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)  # noqa: E731
        close(y, expected[0]), close(M, expected[1])
        assert conv.shape == (3, 512, 20, 20) and fc is None
        close(ours.global_d(y, M), theirs.global_d(y, M))
        close(ours.local_d(y, M), theirs.local_d(notebook.expand_and_join(y, M)))
        rotated = torch.cat((M[1:], M[:1]))
        close(ours.global_d.pairs(y, M)[[1, 2, 0], [0, 1, 2]], theirs.global_d(y, rotated)[:, 0])
        close(ours.local_d.pairs(y, M)[[1, 2, 0], [0, 1, 2]], theirs.local_d(notebook.expand_and_join(y, rotated))[:, 0])
        close(torch.sigmoid(ours.prior_d(y)), theirs.prior_d(y))
        close(torch.softmax(ours.classifier(y), 1), theirs.classifier((y, M)))


def test_another_notebook_is_general():
    net = modules({"preset": "notebook", "classifier": {"classes": 47}})
    assert net.classifier.l3.weight.shape == (47, 10) and len(net.encoder(torch.rand(2, 3, 32, 32))) == 4


# ---- Forward


@pytest.mark.parametrize("name", ["authors", "rich", *HEADS, *OF_VECTORS])
def test_pairs_are_the_scores_of_pairs(name):
    net = modules(EVERY[name]).double().eval()
    image = net.description["image"]
    with torch.no_grad():
        y, M, conv, _ = net.encoder(torch.rand(4, image["channels"], image["height"], image["width"]).double())
        for key in ("local_d", "global_d"):
            if key not in net:
                continue
            read = conv if key == "global_d" and net.description["global"]["input"] == "conv" else M
            pairs = net[key].pairs(y, read)
            for i, j in (0, 0), (1, 3), (3, 1):
                alone = net[key](y[j : j + 1], read[i : i + 1])
                torch.testing.assert_close(pairs[i, j], alone[0, 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OF_VECTORS)
def test_features_that_are_vectors_are_maps_of_one_location(name):
    """Here, in the layout and in the library; losses and gradients are beside the library's in test_torch_check.py."""
    net, model = modules(OF_VECTORS[name]).eval(), Model(4, OF_VECTORS[name])
    net.load_state_dict({key: torch.from_numpy(value) for key, value in model.state_dict().items()})
    x = torch.rand(3, *model.sizes.image)
    features = layout(net.description).features
    assert features == model.sizes.features and features[1:] == (1, 1)
    with torch.no_grad():
        found = net.encoder(x)
        y, M = model.encode(x.numpy(), outputs=("encoded", "features"))
        assert found.features.shape == M.shape == (3, *features)
        close = lambda a, b: torch.testing.assert_close(a, torch.from_numpy(b), rtol=1e-4, atol=1e-5)  # noqa: E731
        close(found.encoded, y), close(found.features, M)
        close(net.local_d(found.encoded, found.features), model.score_local(y, M))
        close(net.global_d(found.encoded, found.features), model.score_global(y, M))


def test_light_scores_are_divided_and_the_authors_are_not():
    for net, scale in ("light", 4.0), ("authors", 1.0):
        head = modules(RICH | {"local": {"score": "dot", "net": net, "units": 16}}).local_d.double().eval()
        y, M = torch.rand(1, 4).double(), torch.rand(1, 8, 9, 10).double()
        product = (head.maps(M)[0, :, 2, 3] * head.vectors(y)[0]).sum() / scale
        torch.testing.assert_close(head(y, M)[0, 0, 2, 3], product)


def test_images_are_normalised_before_padding():
    net = modules(RICH).eval()
    x = torch.randint(0, 256, (2, 2, 9, 11), dtype=torch.uint8)
    pixels = x.float() / 255
    centred = (pixels - torch.tensor([0.1, 0.2]).view(1, 2, 1, 1)) / 0.5
    plain = modules(RICH | {"image": {"channels": 2, "height": 9, "width": 11}}).eval()
    plain.load_state_dict(net.state_dict())
    expected = plain.encoder(centred).encoded
    for given in x, pixels:
        torch.testing.assert_close(net.encoder(given).encoded, expected)


def test_squash_is_for_the_prior_alone():
    net = modules(RICH)
    y = torch.randn(3, 4)
    assert torch.equal(net.prior_d(y), net.prior_d.logit(torch.sigmoid(y)))


def test_dropout_draws_two_numbers_an_element():
    """What the library does: keeps an element where a double of [0,1), two 32-bit draws, is below 1 - p."""
    torch.manual_seed(4)
    found = nn.functional.dropout(torch.ones(70, 90), 0.3)
    torch.manual_seed(4)
    kept = torch.rand(70, 90, dtype=torch.float64) < 1 - 0.3
    assert torch.equal(found > 0, kept)


# ---- Descriptions


def test_a_description_may_be_a_name_dict_text_path_or_object(tmp_path):
    written = json.dumps({"preset": "basic32", "image": {"channels": 1}})
    (tmp_path / "a.json").write_text(written)

    class Architecture:
        def json(self):
            return written

    given = [json.loads(written), written, tmp_path / "a.json", str(tmp_path / "a.json"), Architecture()]
    found = [expanded(one) for one in given]
    assert all(one == found[0] for one in found) and found[0]["image"]["mean"] == 0.5
    assert expanded(found[0]) == found[0]


def canonical(description):
    """The library's text of a description."""
    loaded = ctypes.CDLL(_library.library()._name)
    loaded.dim_last_error.restype = ctypes.c_char_p
    given, handle, needed = json.dumps(description).encode(), ctypes.c_void_p(), ctypes.c_size_t()
    status = loaded.dim_architecture_parse(given, ctypes.c_size_t(len(given)), ctypes.byref(handle))
    assert status == 0, loaded.dim_last_error().decode()
    loaded.dim_architecture_json(handle, None, ctypes.c_size_t(0), ctypes.byref(needed))
    out = ctypes.create_string_buffer(needed.value)
    assert loaded.dim_architecture_json(handle, out, needed, ctypes.byref(needed)) == 0
    loaded.dim_architecture_free(handle)
    return out.value.decode()


def test_the_expanded_text_is_the_librarys():
    changed = {"preset": "basic32", "image": {"channels": 1, "mean": [0.25]}, "classifier": {"classes": 47}, "prior": None}
    given = [{"preset": name} for name in PRESETS] + [AUTHORS, RICH, changed]
    given += (
        [RICH | change for change in HEADS.values()]
        + [*OF_VECTORS.values()]
        + [random_description(seed) for seed in range(200)]
    )
    for description in given:
        found = text(expanded(description))
        assert found == canonical(description) and found == text(expanded(json.loads(found)))


def test_presets_merge_member_by_member():
    base = expanded("basic32")
    found = expanded(
        {"preset": "basic32", "classifier": {"classes": 47}, "prior": None, "local": {"score": "concat", "hidden": [8]}}
    )
    assert found["classifier"] == base["classifier"] | {"classes": 47}
    assert found["prior"] is None and found["local"] == {"score": "concat", "hidden": [8]}
    assert found["encoder"] == base["encoder"]


@pytest.mark.parametrize(
    "given, message",
    [
        ("basic33", "expected one of notebook, basic28"),
        ({"preset": "basic32", "colour": 1}, "found colour"),
        ({"preset": "basic32", "image": {"mean": [0.5, 10**400, 0]}}, "expected finite numbers, found 100000"),
        ('{"preset": "basic32", "classifier": {"dropout": 1e999}}', "expected finite numbers, found inf"),
        ({"preset": "basic32", "version": 2}, "version: expected 1, found 2"),
        ('{"preset": "basic32", "preset": "basic28"}', "listed twice"),
        ({"image": {"channels": 3, "height": 8, "width": 8}}, "encoder: expected an object"),
        ({"preset": "basic32", "encoder": {"features": "c7"}}, "encoder.features: expected one of c0, c1, c2, l0, found"),
        ({"preset": "basic32", "encoder": {"features": "l1"}}, "encoder.features: expected one of c0, c1, c2, l0, found 'l1'"),
        ({"preset": "basic32", "encoder": {"conv": "l0"}}, "encoder.conv: expected one of c0, c1, c2, found 'l0'"),
        ({"preset": "basic32", "local": {"score": "dot", "net": "copy", "units": 3}}, "local: expected"),
    ],
)
def test_faults(given, message):
    with pytest.raises(ValueError, match=message):
        expanded(given)


def test_a_kernel_larger_than_its_image():
    with pytest.raises(ValueError, match=r"kernel: expected at most"):
        modules({"preset": "basic32", "image": {"height": 2, "width": 2}})


def test_the_package_alone_imports_no_torch():
    code = "import sys, deepinfomax.torch, deepinfomax.torch._description; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
