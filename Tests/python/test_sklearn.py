"""deepinfomax.sklearn: scikit-learn's own checks, the layouts of images, and what a user's cell does."""

import copy
import pickle
import subprocess
import sys
import warnings

import deepinfomax as dim
import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.6")

from deepinfomax.sklearn import DeepInfoMax  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402


@pytest.fixture(scope="module")
def digits():
    """(n,8,8) of 0 to 16, labels."""
    data = load_digits()
    return data.images, data.target


def small(**other):
    return DeepInfoMax(**{"epochs": 1, "random_state": 0} | other)


def images(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_scikit_learns_own_checks_pass():
    failed = [
        f"{result['check_name']}: {result['exception']!r}"
        for result in check_estimator(DeepInfoMax(epochs=2), on_fail=None)
        if result["status"] not in ("passed", "skipped")
    ]
    assert not failed, "\n".join(failed)


def test_importing_the_package_does_not_import_scikit_learn():
    code = "import deepinfomax, sys; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_cell_fits_two_thousand_images_without_a_warning():
    """Stripes of ten directions and random phases and brightness, 28 x 28: no pixel says anything by itself."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 10, 2000)
    row, column = np.mgrid[:28, :28]
    angle = (labels * np.pi / 10)[:, None, None]
    wave = np.sin((np.cos(angle) * row + np.sin(angle) * column) * 0.8 + chance.uniform(0, 6.28, (2000, 1, 1)))
    pictures = (127 + wave * chance.uniform(40, 120, (2000, 1, 1))).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = Pipeline([("encode", DeepInfoMax(epochs=2, random_state=0)), ("classify", LogisticRegression(max_iter=5000))])
        probe.fit(pictures[:1800], labels[:1800])
        again = pickle.loads(pickle.dumps(probe))
        assert probe.score(pictures[1800:], labels[1800:]) > 0.6  # A tenth by chance.
    np.testing.assert_array_equal(again.predict(pictures[1800:]), probe.predict(pictures[1800:]))
    assert clone(probe).get_params()["encode__epochs"] == 2


def test_a_grid_search_in_two_processes(digits):
    pictures, labels = digits
    probe = make_pipeline(small(), LogisticRegression(max_iter=2000))
    grid = {"deepinfomax__lr": [1e-3, 1e-4], "deepinfomax__measure": ["jsd", "nce"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(probe, grid, cv=2, n_jobs=2).fit(pictures[:200], list(labels[:200]))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.3


_SEARCH = """
import numpy as np
from deepinfomax.sklearn import DeepInfoMax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

if __name__ == "__main__":
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 2, 200)
    images = (chance.integers(0, 128, (200, 28, 28)) + 100 * (labels[:, None, None] * (np.arange(28) % 2))).astype(np.uint8)
    pipeline = Pipeline([("encode", DeepInfoMax(epochs=1, random_state=0, n_jobs=1)), ("probe", LogisticRegression(max_iter=5000))])
    search = GridSearchCV(clone(pipeline), {"encode__n_components": [16, 32], "probe__C": [0.1, 1.0]}, cv=2, n_jobs=2)
    print(search.fit(images, labels).best_score_)
"""


def test_a_grid_search_of_a_pipeline_warns_in_no_process(tmp_path):
    (tmp_path / "search.py").write_text(_SEARCH)
    done = subprocess.run([sys.executable, "-W", "always", tmp_path / "search.py"], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "arning" in line and ("deepinfomax" in line or "sklearn" in line)]
    assert done.returncode == 0 and not ours, done.stderr
    assert float(done.stdout) > 0.9


def test_training_lowers_the_loss_and_tells_of_each_epoch(digits, capsys):
    encoder = small(epochs=4, verbose=1).fit(digits[0][:256])
    assert len(encoder.losses_) == 4 and encoder.losses_[-1] < encoder.losses_[0]
    assert encoder.n_steps_ == 16
    assert capsys.readouterr().out.count("epoch") == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_all_layouts_are_the_same_images(channels):
    first = images((12, channels, 8, 10))
    last = np.ascontiguousarray(np.moveaxis(first, 1, 3))
    expected = small().fit_transform(first)
    for array, shape in (
        (last, None),
        (first.reshape(12, -1), (channels, 8, 10)),
        (last.reshape(12, -1), (8, 10, channels)),
        (last, (8, 10, channels)),
        (first, (channels, 8, 10)),
        (first, (8, 10, channels)),
        (last, (channels, 8, 10)),
        *([(first[:, 0], None), (first[:, 0], (8, 10))] if channels == 1 else []),
    ):
        encoder = small(image_shape=shape)
        np.testing.assert_array_equal(encoder.fit_transform(array), expected)
        assert encoder.image_shape_ == (channels, 8, 10)
        for other in first, last:  # transform takes the other order, too.
            np.testing.assert_array_equal(encoder.transform(other), expected)


def test_pixels_of_bytes_floats_and_other_ranges_agree():
    pixels = np.random.default_rng(1).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    pixels[0, 0, :2] = 0, 255
    expected = small().fit_transform(pixels)
    np.testing.assert_allclose(small().fit_transform(pixels / 255), expected, atol=1e-5)
    np.testing.assert_allclose(small().fit_transform(pixels.astype(np.int64)), expected, atol=1e-5)
    np.testing.assert_allclose(small(data_range=(0, 510)).fit_transform(pixels.astype(float) * 2), expected, atol=1e-5)
    fitted = small().fit(pixels)
    assert fitted.data_range_ == (0, 255)
    with pytest.warns(UserWarning, match="X: values up to 1, where fit had bytes up to 255"):
        fitted.transform(pixels / 255)  # Nearly black.
    with pytest.warns(UserWarning, match="images: values up to 255"):
        small().fit(pixels / 255).transform(pixels.astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fitted.transform(pixels[1:].astype(float)), fitted.transform(pixels[1:]))
        fitted.transform((pixels > 100).astype(float))  # Dark, but whole numbers.


def test_bytes_are_divided_by_255_whatever_fit_had():
    """They were taken as they are, with a warning to give uint8."""
    pixels = np.random.default_rng(1).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    halves = small().fit(pixels / 510)  # Which reach one half alone.
    expected = small().fit(pixels / 255).transform(pixels / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(small().fit(pixels / 255).transform(pixels), expected, atol=1e-5)
        np.testing.assert_array_equal(halves.transform(pixels), halves.transform(pixels / np.float32(255)))
        about_0 = small().fit(np.concatenate([pixels[:9] / 127.5 - 1, [np.full((8, 8), 1.0), np.full((8, 8), -1.0)]]))
        np.testing.assert_allclose(about_0.transform(pixels), about_0.transform(pixels / 127.5 - 1), atol=1e-5)
        given = small(data_range=(0, 510)).fit(pixels * 2.0)
        np.testing.assert_array_equal(given.transform(pixels), given.transform(pixels.astype(float)))
        by_parts = small().partial_fit(pixels / np.float32(255)).partial_fit(pixels)
    twice = small().partial_fit(pixels / np.float32(255)).partial_fit(pixels / np.float32(255))
    np.testing.assert_allclose(by_parts.transform(pixels), twice.transform(pixels), atol=1e-4)
    few = np.where(pixels > 99, 16.0, 0.0)
    with pytest.warns(UserWarning, match="X: uint8, which is divided by 255, where fit had other numbers, from 0 to 16"):
        small().fit(few).transform(few.astype(np.uint8))


@pytest.mark.parametrize(
    "shape, layers",
    [((8, 8), 3), ((28, 28), 3), ((3, 32, 32), 3), ((64, 64), 4), ((48, 40), 4), ((1, 20), 2), ((4, 5), 2), ((3, 8, 100), 3)],
)
def test_the_network_fits_the_images(shape, layers):
    encoder = small().fit(images((4, *shape)).reshape(4, -1) if shape[0] == 1 else images((4, *shape)))
    description = encoder.model_.architecture.as_dict()
    assert sum(layer["op"] == "conv" for layer in description["encoder"]["layers"]) == layers
    assert encoder.model_.architecture.as_dict()["encoder"]["layers"][-1]["out"] == 64


def test_at_32_x_32_it_is_basic32_itself():
    assert small(epochs=0).fit(images((2, 3, 32, 32))).model_.architecture == dim.Architecture("basic32")


def test_architectures_by_name_by_dict_and_with_another_length():
    x = images((4, 3, 32, 32))
    named = small(architecture="basic28", n_components=5, epochs=0).fit(x)
    assert named.transform(x).shape == (4, 5) and named.model_.sizes.image == (3, 32, 32)
    assert list(named.get_feature_names_out())[:2] == ["deepinfomax0", "deepinfomax1"]
    assert small(architecture={"preset": "basic32"}, epochs=0).fit(x[:, :1]).model_.sizes.image == (1, 32, 32)
    with pytest.raises(ValueError, match="3x32x32, the data's are 1x8x8"):
        small(architecture=dim.Architecture("basic32")).fit(images((4, 8, 8)))


@pytest.mark.parametrize("output, length", [("encoded", 64), ("fc", 1024), ("conv", 256), ("features", 512)])
def test_outputs(output, length):
    x = images((4, 8, 8))
    encoder = small(output=output).fit(x)
    expected = encoder.model_.encode(x, outputs=(output,))[0].reshape(4, -1)
    np.testing.assert_array_equal(encoder.transform(x), expected)
    assert expected.shape == (4, length) and len(encoder.get_feature_names_out()) == length


def test_pickles_and_copies_are_the_same_encoder_and_go_on():
    x = images((10, 8, 8))
    encoder = small().fit(x)
    for other in pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder):
        np.testing.assert_array_equal(other.transform(x), encoder.transform(x))
        assert other.model_ is not encoder.model_
        before = other.transform(x)
        other.partial_fit(x)
        assert np.abs(other.transform(x) - before).max() > 0
    # Weights alone: the moments of both Adams would be twice as much again.
    weights = sum(info.nbytes for info in encoder.model_.parameters_info())
    assert weights < len(pickle.dumps(encoder)) < 1.1 * weights + 10_000


def test_partial_fit_is_fit_epoch_by_epoch():
    x = images((10, 8, 8))
    by_parts = small()
    for _ in range(3):
        by_parts.partial_fit(x)
    np.testing.assert_array_equal(by_parts.transform(x), small(epochs=3).fit_transform(x))
    with pytest.raises(ValueError, match="as fit had"):
        by_parts.partial_fit(images((10, 9, 9)))


@pytest.mark.parametrize("changed", [{"lr": 0.0}, {"measure": "jsd"}, {"negatives": 1}])
def test_what_set_params_changes_holds_from_the_next_partial_fit_on(changed):
    """It held only once the transformer had been pickled."""
    x = images((10, 8, 8))
    plain, told = small().partial_fit(x), small().partial_fit(x).set_params(**changed)
    plain.partial_fit(x), told.partial_fit(x)
    assert (told.transform(x) != plain.transform(x)).any()
    if changed == {"lr": 0.0}:
        once, now = (one.model_.state_dict()["encoder.l1.weight"] for one in (small().fit(x), told))
        np.testing.assert_array_equal(now, once)


@pytest.mark.parametrize(
    "changed",
    [
        {"n_components": 8},
        {"architecture": "nonsense"},
        {"architecture": {"preset": "basic28"}},
        {"image_shape": (1, 64)},
        {"data_range": (0, 2)},
        {"random_state": 5},
    ],
)
def test_what_the_first_partial_fit_settles_is_not_changed(changed):
    """It was ignored."""
    x = images((10, 8, 8))
    told = small().partial_fit(x)
    (name,) = changed
    for one in told, pickle.loads(pickle.dumps(told)):
        with pytest.raises(ValueError, match=f"^{name}: expected .*, as the first call of partial_fit had, found"):
            one.set_params(**changed).partial_fit(x)
    own = {
        "architecture": dim.Architecture({"preset": "basic28", "image": {"height": 8, "width": 8}}),
        "image_shape": [8, 8],
        "random_state": np.random.RandomState(0),
    }
    same = small(**own).partial_fit(x)
    for one in same, pickle.loads(pickle.dumps(same)):
        one.set_params(image_shape=(8, 8)).partial_fit(x).partial_fit(x)


@pytest.mark.parametrize(
    "wrong", [{"lr": 1e300}, {"lr": -1}, {"measure": "mse"}, {"prior": "x"}, {"negatives": 0}, {"n_jobs": 0}, {"output": "y"}]
)
def test_a_fit_that_fails_leaves_what_was_there(wrong):
    """It left the vectors of networks that nothing had trained."""
    x = images((20, 8, 8))
    new = small(**wrong)
    with pytest.raises((ValueError, ArithmeticError)):
        new.fit(x)
    with pytest.raises(NotFittedError):
        new.transform(x)
    fitted = small().fit(x)
    before, state = fitted.transform(x), dict(vars(fitted))
    fitted.set_params(**wrong)
    with pytest.raises((ValueError, ArithmeticError)):
        fitted.fit(images((20, 9, 9)))
    fitted.set_params(**{name: getattr(small(), name) for name in wrong})
    assert vars(fitted) == state
    np.testing.assert_array_equal(fitted.transform(x), before)


@pytest.mark.parametrize("option", [{"measure": "mse"}, {"lr": -1}, {"prior": "x"}, {"negatives": 0}])
def test_wrong_options_are_noticed_without_an_epoch(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        small(epochs=0, **option).fit(images((4, 8, 8)))


def test_a_partial_fit_that_fails_leaves_what_the_last_one_left():
    x = images((20, 8, 8))
    plain, told = small(batch_size=4).partial_fit(x), small(batch_size=4).partial_fit(x)
    before = told.transform(x)
    for wrong in {"lr": -1}, {"negatives": 0}:
        told.set_params(**wrong)
        with pytest.raises(ValueError):
            told.partial_fit(x)
        np.testing.assert_array_equal(told.transform(x), before)
        told.set_params(lr=None, negatives=None)
    np.testing.assert_array_equal(told.partial_fit(x).transform(x), plain.partial_fit(x).transform(x))
    before, steps, losses = told.transform(x), told.n_steps_, list(told.losses_)
    told.set_params(lr=1e30)  # Whose first step is one, and no more.
    with pytest.raises(ArithmeticError):
        told.partial_fit(x)
    np.testing.assert_array_equal(told.transform(x), before)
    assert (told.n_steps_, told.losses_) == (steps, losses)


class Stop(BaseException):
    pass


def test_a_partial_fit_that_is_stopped_amid_an_epoch(monkeypatch):
    x, calls = images((20, 8, 8)), []
    told = small(batch_size=4).partial_fit(x)
    before = told.transform(x)

    def step(trainer, batch, own=dim.Trainer.step):
        calls.append(1)
        if len(calls) == 3:
            raise Stop
        return own(trainer, batch)

    monkeypatch.setattr(dim.Trainer, "step", step)
    with pytest.raises(Stop):
        told.partial_fit(x)
    np.testing.assert_array_equal(told.transform(x), before)
    assert told.n_steps_ == 5 and told.partial_fit(x).n_steps_ == 10


def test_an_output_that_there_is_not():
    """It was a KeyError."""
    fitted = small().fit(images((4, 8, 8))).set_params(output="zzz")
    for call in fitted.get_feature_names_out, lambda: fitted.transform(images((4, 8, 8))):
        with pytest.raises(ValueError, match="^output: expected one of 'encoded', .*, found 'zzz'$"):
            call()


def test_verbose_is_a_number():
    for wrong in "a", -1, None:
        with pytest.raises(ValueError, match="^verbose: expected a whole number of at least 0, found"):
            small(verbose=wrong).fit(images((4, 8, 8)))


def test_constant_images_and_ranges_beyond_numbers():
    for value in 0, 5, 1e20, -1e20, 1e300:
        assert np.isfinite(small().fit(np.full((4, 8, 8), value)).transform(np.full((4, 8, 8), value))).all()
    with pytest.raises(ValueError, match="whose range is finite, found -1.7e.308 to 1.7e.308"):
        small().fit(np.where(images((4, 8, 8)) > 0.5, 1.7e308, -1.7e308))


def test_threads_change_no_number_and_are_put_back():
    x, before = images((70, 16, 16)), dim.num_threads()
    one = small(n_jobs=1).fit_transform(x)
    np.testing.assert_array_equal(small(n_jobs=-1).fit_transform(x), one)
    assert dim.num_threads() == before
    with pytest.raises(ValueError, match="n_jobs"):
        small(n_jobs=0).fit(x)


def test_a_single_image_left_over_joins_the_last_batch():
    assert small(batch_size=4).fit(images((9, 8, 8))).n_steps_ == 2
    assert small(batch_size=4).fit(images((10, 8, 8))).n_steps_ == 3
    # Two have too few others for two drawn negatives.
    assert small(batch_size=4, negatives=2).fit(images((10, 8, 8))).n_steps_ == 2


@pytest.mark.parametrize(
    "parameters, x, message",
    [
        ({"lr": -1}, np.zeros((8, 64)), "^lr is -1.0; expected a finite value of 0 or more$"),
        ({}, images((4, 192)), "image_shape=.3, 8, 8."),
        ({}, images((4, 3, 8, 3)), "both be the channels"),
        ({}, images((4, 7, 8, 9)), "neither the first nor the last"),
        ({"image_shape": (8, 8)}, images((4, 9, 9)), "image_shape"),
        ({"image_shape": (8,)}, images((4, 64)), "image_shape"),
        ({"image_shape": (8, 9)}, images((4, 64)), "image_shape"),
        ({"image_shape": (8.5, 8)}, images((4, 64)), "image_shape: expected"),
        ({"image_shape": "88"}, images((4, 64)), "image_shape: expected"),
        ({"image_shape": 8}, images((4, 64)), "image_shape: expected"),
        ({"n_jobs": "all"}, images((4, 8, 8)), "n_jobs: expected"),
        ({"n_jobs": 10**9}, images((4, 8, 8)), "n_jobs: expected"),
        ({"data_range": (0, 1, 2)}, images((4, 8, 8)), "data_range: expected two numbers"),
        ({"data_range": (-1e308, 1e308)}, images((4, 8, 8)), "data_range: expected two numbers, .*of a finite difference"),
        ({"data_range": "ab"}, images((4, 8, 8)), "data_range: expected two numbers"),
        ({"data_range": memoryview(np.eye(2))}, images((4, 8, 8)), "data_range: expected two numbers"),
        ({"image_shape": memoryview(np.eye(2))}, images((4, 8, 8)), "image_shape: expected"),
        ({"data_range": (0, 10**400)}, images((4, 8, 8)), "data_range: expected two numbers"),
        ({"epochs": -1}, images((4, 8, 8)), "epochs"),
        ({"batch_size": 1}, images((4, 8, 8)), "batch_size"),
        ({"batch_size": 4, "negatives": 4}, images((9, 8, 8)), "negatives: expected fewer than batch_size, 4, found 4"),
        ({"batch_size": 8, "negatives": 4}, images((4, 8, 8)), "minimum of 5 is required"),
        ({"n_components": 0}, images((4, 8, 8)), "n_components"),
        ({"output": "y"}, images((4, 8, 8)), "output"),
        ({"data_range": (1, 1)}, images((4, 8, 8)), "data_range"),
        ({"measure": "mse"}, images((4, 8, 8)), "measure"),
        ({"architecture": "basic"}, images((4, 8, 8)), "architecture"),
        ({}, images((4, 2, 8, 8, 3)), "found shape"),
        ({}, np.full((4, 8, 8), np.nan), "NaN"),
        ({}, np.ma.masked_less(images((4, 8, 8)), 0.5), "X: has masked values"),
        ({}, np.ma.masked_less(images((4, 64)), 0.5), "X: has masked values"),
    ],
)
def test_what_is_wrong_is_said(parameters, x, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(x)


@pytest.mark.parametrize("kind", ["M8[s]", "m8[s]"])
def test_dates_and_times_are_no_pixels(kind):
    x = (images((4, 8, 8)) * 100).astype(kind)
    for wrong in x, x.reshape(4, 64):
        with pytest.raises(TypeError, match=r"^X: expected numbers, found (datetime|timedelta)64\[s\]"):
            small().fit(wrong)
    fitted = small(epochs=0).fit(images((4, 8, 8)))
    with pytest.raises(TypeError, match="^X: expected numbers, found "):
        fitted.transform(x)


def test_transform_needs_fit_and_the_same_images():
    with pytest.raises(NotFittedError):
        small().transform(images((2, 8, 8)))
    with pytest.raises(ValueError, match="as fit had"):
        small(epochs=0).fit(images((2, 8, 8))).transform(images((2, 3, 8, 8)))
    with pytest.raises(ValueError, match="X: float64 values beyond the range of float32"):
        small(epochs=0).fit(images((2, 8, 8))).transform(images((2, 8, 8)).astype(np.float64) * 1e39)
