"""deepinfomax.Model: what it accepts, what it gives, what it refuses and how it says so."""

import copy
import ctypes
import gc
import multiprocessing
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax._library import check, library

RNG = np.random.default_rng(5)
IMAGES = RNG.random((3, 3, 32, 32), np.float32)
PIXELS = RNG.integers(0, 256, (3, 32, 32, 3), np.uint8)


# ---- Images


def test_shapes_and_dtypes(model):
    y, M = model.encode(IMAGES)
    results = {
        "y": y,
        "M": M,
        "global": model.score_global(y, M),
        "local": model.score_local(y, M),
        "prior": model.score_prior(y),
        "classes": model.classify(y),
    }
    assert {name: array.shape for name, array in results.items()} == {
        "y": (3, 64),
        "M": (3, 128, 26, 26),
        "global": (3, 1),
        "local": (3, 1, 26, 26),
        "prior": (3, 1),
        "classes": (3, 10),
    }
    assert all(array.dtype == np.float32 and array.flags.owndata for array in results.values())
    assert np.allclose(results["classes"].sum(1), 1)
    assert ((results["prior"] > 0) & (results["prior"] < 1)).all()


def test_outputs_are_names_not_a_name(model):
    """A text is a sequence of letters, of which the first was said to be none."""
    for wrong in "encoded", b"encoded", 5, {"encoded"}:
        with pytest.raises(TypeError, match="outputs: expected a tuple of names, found"):
            model.encode(np.zeros((1, 3, 32, 32), np.float32), outputs=wrong)


def test_features_can_be_left_out(model):
    assert (model.encode(IMAGES, features=False) == model.encode(IMAGES)[0]).all()


def test_one_image_without_n_gives_results_without_n(model):
    y, M = model.encode(IMAGES[0])
    assert y.shape == (64,) and M.shape == (128, 26, 26)
    assert model.encode(IMAGES[0], features=False).shape == (64,)
    assert model.score_global(y, M).shape == (1,)
    assert model.score_local(y, M).shape == (1, 26, 26)
    assert model.score_prior(y).shape == (1,)
    assert model.classify(y).shape == (10,)
    assert (y == model.encode(IMAGES[:1])[0][0]).all()


def test_bytes_are_scaled_to_one_in_either_order(model):
    expected = model.encode(np.moveaxis(PIXELS, -1, 1).astype(np.float32) / np.float32(255), features=False)
    assert (model.encode(PIXELS, features=False) == expected).all()
    assert (model.encode(np.moveaxis(PIXELS, -1, 1), features=False) == expected).all()
    assert (model.encode(PIXELS[1], features=False) == model.encode(PIXELS[1:2], features=False)[0]).all()


def test_a_pil_image_is_an_image(model):
    image = pytest.importorskip("PIL.Image").fromarray(PIXELS[0])
    assert (model.encode(image, features=False) == model.encode(PIXELS[0], features=False)).all()


@pytest.mark.parametrize("dtype", ["f8", "f2", ">f4", ">f8", "g"])
def test_other_floats_are_rounded_to_float32(model, dtype):
    images = IMAGES[:1].astype(dtype)
    expected = model.encode(images.astype(np.float32), features=False)
    assert (model.encode(images, features=False) == expected).all()


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray(IMAGES),
        np.repeat(IMAGES, 2, axis=0)[::2],
        IMAGES[:, ::-1][:, ::-1],
        np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        np.frombuffer(b"x" + IMAGES.tobytes(), np.float32, offset=1).reshape(IMAGES.shape),
    ],
    ids=["fortran", "strided", "reversed", "channels last", "unaligned"],
)
def test_any_strides(model, view):
    assert (model.encode(view, features=False) == model.encode(IMAGES, features=False)).all()


def test_inputs_are_only_read(model):
    images = IMAGES.copy()
    images.flags.writeable = False
    y, M = model.encode(images)
    y.flags.writeable = M.flags.writeable = False
    before = y.copy(), M.copy()
    model.score_global(y, M), model.score_local(y, M), model.score_prior(y), model.classify(y)
    assert (images == IMAGES).all() and (y == before[0]).all() and (M == before[1]).all()


@pytest.mark.parametrize(
    ("images", "error", "says"),
    [
        (np.zeros((3, 32, 31), np.float32), ValueError, r"expected shape \(n,3,32,32\) or \(3,32,32\), found \(3,32,31\)"),
        (np.zeros((32, 32), np.float32), ValueError, r"found \(32,32\)"),
        (np.zeros((1, 1, 3, 32, 32), np.float32), ValueError, r"found \(1,1,3,32,32\)"),
        (np.zeros((), np.float32), ValueError, r"found \(\)"),
        (np.zeros((2, 32, 32, 3), np.float32), ValueError, r"expected float32 in the order \(n,3,32,32\)"),
        (np.zeros((2, 32, 3, 32), np.uint8), ValueError, r"expected uint8 .* found \(2,32,3,32\)"),
        (np.zeros((1, 2, 32, 32, 3), np.uint8), ValueError, "expected uint8"),
        (np.zeros((1, 3, 32, 32), np.int64), TypeError, "expected floating point or uint8, found int64"),
        (np.zeros((1, 3, 32, 32), np.int8), TypeError, "found int8"),
        (np.zeros((1, 3, 32, 32), bool), TypeError, "found bool"),
        (np.zeros((1, 3, 32, 32), np.complex64), TypeError, "found complex64"),
        (np.zeros((1, 3, 32, 32), object), TypeError, "found object"),
        (np.full((1, 3, 32, 32), 1e300), ValueError, "beyond the range of float32"),
        ([[0.0]], TypeError, "images.0.: expected a numpy array or a torch tensor, found list"),
        ([], ValueError, "an empty list"),
        ([IMAGES], ValueError, "one image in each place of a list, found an array of 3"),
        (None, TypeError, "found NoneType"),
        ("image.png", dim.data.DataError, "image.png: cannot be read: No such file"),
        (np.zeros((0, 3, 32, 32), np.float32), ValueError, "n is 0"),
    ],
)
def test_wrong_images(model, images, error, says):
    with pytest.raises(error, match=says):
        model.encode(images)


@pytest.mark.parametrize("method", ["score_prior", "classify"])
@pytest.mark.parametrize(
    ("y", "error"),
    [
        (np.zeros((2, 63), np.float32), ValueError),
        (np.zeros((1, 2, 64), np.float32), ValueError),
        (np.zeros((2, 64), np.uint8), TypeError),
        (np.zeros((2, 64), np.int32), TypeError),
        (np.zeros((0, 64), np.float32), ValueError),
        ([0.0] * 64, TypeError),
    ],
)
def test_wrong_vectors(model, method, y, error):
    with pytest.raises(error):
        getattr(model, method)(y)


@pytest.mark.parametrize("method", ["score_global", "score_local"])
@pytest.mark.parametrize(
    ("y", "M"),
    [
        ((2, 64), (3, 128, 26, 26)),
        ((2, 64), (128, 26, 26)),
        ((64,), (1, 128, 26, 26)),
        ((1, 64), (128, 26, 26)),
        ((2, 64), (2, 26, 26, 128)),
        ((2, 32), (2, 128, 26, 26)),
        ((0, 64), (0, 128, 26, 26)),
    ],
)
def test_wrong_pairs(model, method, y, M):
    with pytest.raises(ValueError):
        getattr(model, method)(np.zeros(y, np.float32), np.zeros(M, np.float32))


def test_nan_is_carried_through(model):
    images = IMAGES.copy()
    images[1, 0, 5, 5] = np.nan
    y = model.encode(images, features=False)
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


# ---- Modes


def test_modes(model):
    assert not model.training
    assert model.train() is model and model.training
    assert model.eval() is model and not model.training
    assert not model.train(False).training


def test_training_mode_moves_running_statistics(model):
    before = model.state_dict()
    model.encode(IMAGES)
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())
    model.train().encode(IMAGES)
    moved = [name for name, value in model.state_dict().items() if (value != before[name]).any()]
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == [name for name in before if name.startswith("encoder.b") and name.endswith(kinds)]
    assert model.state_dict()["encoder.b1.num_batches_tracked"] == 1


def test_one_vector_has_no_batch_statistics(model):
    y = model.encode(IMAGES, features=False)
    model.train()
    before = model.state_dict()
    with pytest.raises(dim.InvalidArgument) as caught:
        model.classify(y[:1])
    assert isinstance(caught.value, ValueError) and caught.value.status == 10
    assert caught.value.status_name == "DIM_INVALID_ARGUMENT" and str(caught.value)
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())
    model.encode(IMAGES[:1])  # 26 x 26 values a channel are statistics enough.


# ---- Weights


def test_state_dict_is_ordered_and_described(model):
    state, infos = model.state_dict(), model.parameters_info()
    assert list(state) == [info.name for info in infos]
    assert len(state) == 68
    assert list(state)[:2] == ["encoder.c0.weight", "encoder.c0.bias"]
    assert list(state)[-1] == "classifier.bn3.num_batches_tracked"
    for info in infos:
        array = state[info.name]
        assert (array.shape, array.dtype, array.nbytes) == (info.shape, info.dtype, info.nbytes)
        assert info.trainable == info.name.endswith(("weight", "bias"))
    assert model.networks == dim.NETWORKS[:5]  # coordinates_d is not the notebook's


def test_state_dict_round_trip(model):
    with dim.Model(seed=1) as other:
        state = other.state_dict()
        model.load_state_dict(state)
        assert equal(model.state_dict(), state)
        assert (model.encode(IMAGES, features=False) == other.encode(IMAGES, features=False)).all()


def test_a_key_of_a_state_dict_that_is_no_name(model):
    with pytest.raises(TypeError, match="state_dict: expected names as keys, found 1"):
        model.load_state_dict({1: np.zeros(3, np.float32)})


def test_state_dict_is_a_copy(model):
    state = model.state_dict()
    state["encoder.c0.bias"][:] = 7
    assert not (model.state_dict()["encoder.c0.bias"] == 7).any()
    model.load_state_dict(state)
    state["encoder.c0.bias"][:] = 8
    assert (model.state_dict()["encoder.c0.bias"] == 7).all()


def test_one_network_alone(model):
    before = model.state_dict()
    with dim.Model(seed=1) as other:
        theirs = other.state_dict()
    prior = {name: value for name, value in theirs.items() if name.startswith("prior_d.")}
    model.load_state_dict(prior)
    assert equal(model.state_dict(), before | prior)
    local = {name.removeprefix("local_d."): value for name, value in theirs.items() if name.startswith("local_d.")}
    model.load_state_dict(local, network="local_d")
    assert equal(model.state_dict(), before | prior | {f"local_d.{key}": value for key, value in local.items()})


def test_load_state_dict_lists_all_that_is_wrong_and_changes_nothing(model):
    before = model.state_dict()
    with dim.Model(seed=1) as other:
        state = other.state_dict()
    del state["encoder.c1.bias"]
    state["encoder.c2.bias"] = np.zeros(255, np.float32)
    state["encoder.c3.bias"] = np.zeros(512, np.int32)
    state["encoder.b1.num_batches_tracked"] = np.array(1.0)
    state["encoder.c7.bias"] = np.zeros(1, np.float32)
    state["prior_d.l2.bias"] = [0.0]
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    for part in (
        "c1.bias: missing",
        "c2.bias: expected shape (256,), found (255,)",
        "c3.bias: expected float32, found int32",
        "tracked: expected int64, found float64",
        "c7.bias: unknown",
        "prior_d.l2.bias: expected a numpy array",
    ):
        assert part in str(caught.value)
    assert equal(model.state_dict(), before)


@pytest.mark.parametrize(
    ("name", "bad"), [("encoder.c3.weight", np.nan), ("classifier.l3.bias", np.inf), ("encoder.b2.running_var", -1.0)]
)
def test_load_state_dict_refuses_values(model, name, bad):
    before = model.state_dict()
    with dim.Model(seed=1) as other:
        state = other.state_dict()
    state[name].flat[-1] = bad
    with pytest.raises(dim.InvalidArgument, match=name):
        model.load_state_dict(state)
    assert equal(model.state_dict(), before)


def test_load_state_dict_refuses_nothing_and_unknown_networks(model):
    with pytest.raises(ValueError, match="found none"):
        model.load_state_dict({})
    with pytest.raises(ValueError, match="network: expected one of encoder, .* found 'decoder'"):
        model.load_state_dict({"c0.bias": np.zeros(64, np.float32)}, network="decoder")


def test_other_floats_as_weights(model):
    state = {name: value.astype(">f8" if value.dtype == np.float32 else np.int32) for name, value in model.state_dict().items()}
    with dim.Model(seed=1) as other:
        other.load_state_dict(state)
        assert equal(other.state_dict(), model.state_dict())


def test_seeds(model):
    with dim.Model(seed=0) as same, dim.Model(seed=2**32) as low_bits, dim.Model(seed=1) as different:
        assert equal(same.state_dict(), model.state_dict())
        assert equal(low_bits.state_dict(), model.state_dict())
        assert (different.state_dict()["encoder.c0.weight"] != model.state_dict()["encoder.c0.weight"]).any()
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed"):
            dim.Model(seed=seed)


# ---- Files: the path alone; what is in them is test_weights_files.py's


def test_paths(model, tmp_path):
    path = tmp_path / "poids é.h5"
    model.save(path)
    for name in (path, str(path), str(path).encode()):
        with dim.Model.open(name) as opened:
            assert equal(opened.state_dict(), model.state_dict())
    with pytest.raises(ValueError, match="null byte"):
        model.save(f"{path}\0.h5")
    with pytest.raises(dim.FileAccessError) as caught:
        dim.Model.open(tmp_path / "nothing.h5")
    assert isinstance(caught.value, OSError) and caught.value.status_name == "DIM_IO"
    assert "nothing.h5" in str(caught.value)


# ---- Lifetime


def test_a_closed_model_says_so(model):
    model.close()
    model.close()
    assert "closed" in repr(model)
    for call in (
        lambda: model.encode(IMAGES),
        lambda: model.train(),
        lambda: model.training,
        lambda: model.networks,
        lambda: model.state_dict(),
        lambda: model.save("nowhere.h5"),
    ):
        with pytest.raises(dim.InvalidHandle, match="closed"):
            call()


def test_with_closes():
    with dim.Model() as model:
        assert "encoder" in repr(model) and "evaluation" in repr(model)
    assert "closed" in repr(model)


def test_collection_frees():
    model = dim.Model()
    finalizer = model._handle._finalizer
    del model
    gc.collect()
    assert not finalizer.alive


COPIERS = [copy.copy, copy.deepcopy, *(lambda m, p=p: pickle.loads(pickle.dumps(m, p)) for p in (2, 5))]


@pytest.mark.parametrize(
    "name, kind, number", [("nothing.h5", FileNotFoundError, 2), (".", IsADirectoryError, 21), ("a" * 300, OSError, 36)]
)
def test_errors_of_files_are_python_s_own(tmp_path, name, kind, number):
    path = str(tmp_path / name) if name != "." else str(tmp_path)
    with dim.Model(0, dim.Architecture.preset("basic28", classes=3)) as model:
        for call in (dim.Model.open, model.load, *([] if name == "nothing.h5" else [model.save])):
            with pytest.raises(kind) as caught:
                call(path)
            assert isinstance(caught.value, dim.FileAccessError)
            assert (caught.value.errno, caught.value.filename) == (number, path), str(caught.value)


@pytest.mark.parametrize("copier", COPIERS)
def test_copies_are_the_same_model_and_share_nothing(copier):
    architecture = dim.Architecture.preset("basic28", classes=3)
    with dim.Model(4, architecture) as model:
        model.class_names = ["a", "\u00e9", "c"]
        model.train()
        with copier(model) as other:
            assert other.architecture.json() == model.architecture.json()
            assert (other.class_names, other.training) == (["a", "\u00e9", "c"], True)
            assert equal(other.state_dict(), model.state_dict())
            x = RNG.random((2, 1, 28, 28), np.float32)
            other.encode(x)  # In training mode running statistics move: in the copy alone.
            assert not equal(other.state_dict(), model.state_dict())
        model.encode(x)


@pytest.mark.parametrize("copier", COPIERS[1:3])
def test_copies_hold_the_networks_that_the_model_holds(copier, tmp_path):
    dim.Model(0, "basic28").save(tmp_path / "a.h5")
    with dim.Model.open(tmp_path / "a.h5", networks=["encoder", "prior_d"]) as model, copier(model) as other:
        assert other.networks == model.networks == ("encoder", "prior_d")
        assert equal(other.state_dict(), model.state_dict()) and not other.training


def test_copies_leave_no_file_and_no_pickle_of_a_closed_model(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = dim.Model(0, "basic28")
    content = pickle.dumps(model)
    copy.deepcopy(model)
    with pytest.raises(dim.FileFormatError):
        pickle.loads(content.replace(b"__metadata__", b"__nothing!__"))
    model.close()
    with pytest.raises(dim.InvalidHandle):
        pickle.dumps(model)
    assert not list(tmp_path.iterdir())


def test_a_model_goes_to_another_process(model):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        y = pool.submit(dim.Model.encode, model, IMAGES, features=False).result()
    assert y.tobytes() == model.encode(IMAGES, features=False).tobytes()


def test_errors_survive_pickling():
    missing = dim.data.MissingPackage("x", "this needs")
    missing.__notes__ = ["as well"]
    assert pickle.loads(pickle.dumps(missing)).__notes__ == ["as well"]
    for kind in {*dim.errors.BY_STATUS.values()}:
        error = kind("what is wrong", 30, "DIM_IO")
        error.__notes__ = ["while this was done"]  # As add_note does from Python 3.11 on.
        error.place = 3
        error = pickle.loads(pickle.dumps(error))
        assert error.__notes__ == ["while this was done"] and error.place == 3
        assert type(error) is kind and str(error) == "what is wrong"
        assert (error.status, error.status_name) == (30, "DIM_IO")
        assert type(kind.__new__(kind)) is kind  # As tblib does it, which dask.distributed installs.


def equal(found, expected):
    """The same entries in the same order with the same bytes."""
    return list(found) == list(expected) and all(
        found[name].dtype == value.dtype and found[name].tobytes() == value.tobytes() for name, value in expected.items()
    )


def test_names_in_messages_are_the_model_s_own():
    """They were the notebook's, whatever the model's layers are called."""
    description = (Path(__file__).parent / "digits8.json").read_text().replace('"c0"', '"first0"')
    value = (ctypes.c_float * 1)()
    with dim.Model(0, dim.Architecture(description)) as model, dim.Trainer(model) as trainer:
        trainer.accumulate(np.zeros((2, 1, 8, 8), np.float32))
        for function, handle, message in (
            ("dim_model_get_parameter", model, 'no parameter is named "x"; names look like "encoder.first0.weight"$'),
            (
                "dim_trainer_get_gradient",
                trainer,
                'no gradient of "x"; it trains .* parameters such as "encoder.first0.weight"$',
            ),
        ):
            with pytest.raises(dim.UnknownName, match=message):
                check(getattr(library(), function)(handle._handle.pointer, b"x", value, 4))
