"""deepinfomax.evaluation: what its measures and trainings refuse, and that a refusal changes nothing."""

from pathlib import Path

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax import evaluation, judges
from deepinfomax.data.dataset import InMemory
from deepinfomax.neighbours import elected, vote
from deepinfomax.search import Index, encoder_digest

MASKED = np.ma.array(np.ones((40, 2)), mask=np.eye(40, 2))


def pictures(n, side=8):
    images = np.random.default_rng(0).integers(0, 255, (n, 1, side, side)).astype(np.uint8)
    return InMemory("noise", images, np.arange(n) % 2, ("a", "b"))


@pytest.fixture
def small(file=Path(__file__).with_name("digits8.json")):
    with dim.Model(0, dim.Architecture(file.read_text())) as model:
        yield model


def test_a_calibration_that_fails_changes_nothing(small):
    """Running statistics stayed at 0."""
    data = pictures(40)

    def stop(count):
        raise KeyboardInterrupt

    class Broken(InMemory):
        def read(self, part):
            raise OSError("no such image")

    before = {name: value.tobytes() for name, value in small.state_dict().items()}
    for images, options, error, text in (
        (data, {"batch": 0}, ValueError, "^batch: expected 1 or more, found 0"),
        (data, {"batch": 1}, dim.InvalidArgument, "more than one value"),
        (data.subset([]), {}, ValueError, "^data: expected one image at least, found none"),
        (data.subset([0]), {}, dim.InvalidArgument, "more than one value"),
        (pictures(40, side=16), {}, ValueError, r"^data: expected images of \(1, 8, 8\), found \(1, 16, 16\)"),
        ("data.npz", {}, TypeError, "^data: expected a Dataset, as open_dataset gives it, found str"),
        (Broken("broken", data.pixels(slice(None)), data.labels), {}, OSError, "no such image"),
        (data, {"on_images": stop}, KeyboardInterrupt, None),
    ):
        with pytest.raises(error, match=text):
            evaluation.calibrate(small, images, **options)
        assert {name: value.tobytes() for name, value in small.state_dict().items()} == before and not small.training


def test_a_classifier_in_training_mode_is_evaluated(small):
    """It was run as it was: with the batch's statistics, and its running ones moved."""
    y, labels = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32), np.arange(40) % 4
    expected = evaluation.test_on_vectors(small.eval(), y, labels)
    before = {name: value.tobytes() for name, value in small.state_dict().items()}
    found = evaluation.test_on_vectors(small.train(), y, labels)
    assert small.training and found.loss == expected.loss and np.array_equal(found.confusion, expected.confusion)
    assert before == {name: value.tobytes() for name, value in small.state_dict().items()}
    assert evaluation.test_on_vectors(small, y[:1], labels[:1]).count == 1
    small.eval()


def test_what_the_classifier_s_measures_refuse(small):
    """NaN counted as class 0; other mistakes ended in numpy's or Python's words, or in the middle of a training."""
    y, labels = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32), np.arange(40) % 4
    before = {name: value.tobytes() for name, value in small.state_dict().items()}

    def train(y, labels):
        return evaluation.train_on_vectors(small, y, labels, evaluation.Settings(epochs=1))

    def test(y, labels):
        return evaluation.test_on_vectors(small, y, labels)

    for function in train, test:
        for given, known, error, text in (
            (y * np.nan, labels, ValueError, "y: expected finite numbers, found NaN"),
            (y, labels + 10, ValueError, "labels: expected 0 to 9, found 10 to 13"),
            (y, labels[:5], ValueError, r"labels: expected shape \(40,\), one for each image, found \(5,\)"),
            (y[:0], labels[:0], ValueError, r"y: expected shape \(n,16\), found \(0,16\)"),
            (y[0], labels[:1], ValueError, r"y: expected shape \(n,16\), found \(16,\)"),
            (None, labels, TypeError, "y: expected numbers, found object"),
            (y > 0, labels, TypeError, "y: expected float32, found bool"),
        ):
            with pytest.raises(error, match=f"^{text}"):
                function(given, known)
    assert {name: value.tobytes() for name, value in small.state_dict().items()} == before
    assert test(y, labels.tolist()).count == 40 and len(train(y, labels.tolist())) == 1


def test_what_is_no_setting_of_a_classifier(small):
    for options, error, text in (
        ({"batch": 0}, ValueError, "batch: expected 1 or more, found 0"),
        ({"batch": -3}, ValueError, "batch: expected 1 or more, found -3"),
        ({"epochs": -1}, ValueError, "epochs: expected 0 or more, found -1"),
        ({"epochs": 1.5}, TypeError, "epochs: expected an integer, 0 or more, found float"),
        ({"seed": None}, TypeError, "seed: expected an integer"),
        ({"batch": 1}, ValueError, "batch: expected 2 or more, found 1"),
        ({"lr": "fast"}, TypeError, "lr: expected a number, found 'fast'"),
        ({"lr": -1}, ValueError, "lr: expected a finite number of 0 or more, found -1"),
        ({"lr": float("nan")}, ValueError, "lr: expected a finite number of 0 or more, found nan"),
        ({"loss": 3}, ValueError, "loss: expected one of 'logits', 'softmax_twice', found 3"),
    ):
        with pytest.raises(error, match=f"^{text}"):
            evaluation.Settings(**options)
    with dim.ClassifierTrainer(small) as trainer:
        for data, text in (
            (pictures(4).subset([]), "data: expected one image at least"),
            (InMemory("bare", pictures(4).pixels(slice(None))), "data: expected labelled images, found bare without labels"),
        ):
            with pytest.raises(ValueError, match=f"^{text}"):
                evaluation.train_on_images(trainer, data, evaluation.Settings(epochs=1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: evaluation.confusion(np.zeros((4, 1), int), np.zeros(4, int), 4),
            ValueError,
            r"labels: .*\(n,\), found \(4,1\)",
        ),
        (lambda: evaluation.confusion([0] * 4, np.zeros((4, 1), int), 4), ValueError, r"predicted: .*\(n,\), found \(4,1\)"),
        (lambda: evaluation.confusion(np.zeros((40, 16), "u1"), [0] * 40, 4), ValueError, r"labels: .*found \(40,16\)"),
        (lambda: evaluation.confusion([0], [0], 0), ValueError, "classes: expected 1 or more, found 0"),
        (lambda: evaluation.prior_distance([["a", "b"]], "none"), TypeError, "y: expected numbers, found <U1"),
        (lambda: evaluation.prior_distance(np.ones((4, 2), complex), "none"), TypeError, "y: expected numbers, found complex"),
        (
            lambda: evaluation.prior_distance(np.zeros((4, 2), "M8[s]"), "none"),
            TypeError,
            "y: expected numbers, found datetime",
        ),
        (lambda: evaluation.prior_distance(np.ones((4, 2), bool), "none"), TypeError, "y: expected numbers, found bool"),
        (lambda: evaluation.prior_distance([[1.0], [2.0, 3.0]], "none"), TypeError, "y: expected numbers"),
        (lambda: evaluation.prior_distance(np.full((4, 2), np.nan), "none"), ValueError, "y: expected finite numbers"),
        (lambda: evaluation.prior_distance(np.zeros((4, 2, 1, 1)), "none"), ValueError, r"y: expected shape \(n,d\), found"),
        (lambda: evaluation.prior_distance(MASKED, "none"), ValueError, "y: has masked values"),
        (lambda: evaluation.split(10**400, 0), ValueError, "n: expected 0 or more, at most"),
        (lambda: evaluation.split(10, 0, "x"), TypeError, "share: expected a number, found 'x'"),
        (lambda: evaluation.is_worse(0.5, 10**400, 4), TypeError, "untrained: expected a number, found int"),
        (lambda: evaluation.is_worse(None, 0.5, 4), TypeError, "accuracy: expected a number, found None"),
    ],
)
def test_arguments_of_measures(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_the_vote_on_no_queries():
    found = vote(np.eye(3), [0, 1, 1], np.empty((0, 3)))
    assert found.shape == (0,) and found.dtype == np.int64
    with pytest.raises(ValueError, match=r"^queries: expected shape \(m,3\), found \(0,2\)"):
        vote(np.eye(3), [0, 1, 1], np.empty((0, 2)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [1, 1e30, 3e38, 1e300])
@pytest.mark.parametrize("dtype, size", [(np.float32, 1e-44), (np.float32, 1e-38), (np.float32, 1e37), (np.float64, 1e90)])
def test_vectors_of_quite_another_size_than_those_that_were_learned(dtype, size, far):
    """What was infinite in the unit of the training vectors was an error of scikit-learn's, or a warning of numpy's."""
    labels = np.arange(60) % 3
    train = (np.eye(3, 8)[labels] * 9 + np.random.default_rng(0).normal(size=(60, 8))) * size
    train = train.astype(dtype)
    train[:, 5] = 0  # Which says nothing, whatever the other vectors have there.
    test = np.eye(3, 8).astype(np.float32 if far < 1e39 else np.float64) * far
    test[:, 5] = far
    for name in judges.JUDGES:
        for queries, own in (train, labels), (test, np.arange(3)):
            found = judges.judge(name, train, labels, queries, settings=judges.Settings(mlp_steps=9))
            assert found.shape == own.shape and (name == "mlp" or queries is test or (found == own).all())
    for measure in evaluation.linear_probe, evaluation.nearest_neighbours:
        assert measure(train, labels, train, labels) == 1
        assert 0 <= measure(train, labels, test, np.arange(3)) <= 1
    if far / size > 1e6:  # Far beyond what was learned, on the same side.
        assert evaluation.linear_probe(train, labels, test, np.arange(3)) == 1
    found = judges.fitted.Standardised(train, labels, test)
    assert np.isfinite(found.test).all() and not found.test[:, 5].any() and found.train.any()


def test_pixels_of_no_images():
    none = pictures(4).subset([])
    assert evaluation.pixels(none).shape == (0, 64) and judges.vectors.pixels(none).shape == (0, 64)


NOISE, BARE = pictures(10), InMemory("bare", np.zeros((10, 1, 8, 8), np.uint8))
Y, LABELS = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32), np.arange(30) % 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda m: evaluation.encode(3, NOISE), TypeError, "model: expected a Model, found int"),
        (lambda m: evaluation.encode(m, 3), TypeError, "data: expected a Dataset, as open_dataset gives it, found int"),
        (lambda m: evaluation.pixels(3), TypeError, "data: expected a Dataset"),
        (lambda m: evaluation.calibrate(3, NOISE), TypeError, "model: expected a Model, found int"),
        (lambda m: evaluation.calibration_images(2.5), TypeError, "count: expected an integer"),
        (lambda m: evaluation.calibration_images(-5), ValueError, "count: expected 0 or more, found -5"),
        (lambda m: evaluation.train_on_vectors(3, Y, LABELS, evaluation.Settings()), TypeError, "model: expected a Model"),
        (lambda m: evaluation.train_on_vectors(m, Y, LABELS, 3), TypeError, "settings: expected a Settings, found int"),
        (lambda m: evaluation.train_on_images(3, NOISE, evaluation.Settings()), TypeError, "trainer: expected a ClassifierTr"),
        (lambda m: evaluation.Probe(3, NOISE), TypeError, "train: expected a Dataset"),
        (lambda m: dim.Evaluation(0.0, None), TypeError, "confusion: expected"),
        (lambda m: dim.Evaluation(0.0, np.zeros(3, int)), ValueError, r"confusion: .*\(classes,classes\), found \(3,\)"),
        (lambda m: elected(LABELS), ValueError, r"votes: expected shape \(m,k\), found \(30,\)"),
        (lambda m: vote(None, LABELS, Y), TypeError, "y: expected numbers, found object"),
        (lambda m: vote(Y.astype("g") * np.longdouble("1e400"), LABELS, Y), ValueError, "y: expected finite numbers"),
        (lambda m: judges.judge("knn", Y, LABELS, Y, 0, 3), TypeError, "settings: expected a Settings, found int"),
        (lambda m: judges.judge(["knn"], Y, LABELS, Y), ValueError, "judge: expected one of logistic"),
        (lambda m: judges.judge(Y, LABELS, Y, LABELS), ValueError, r"judge: expected one of logistic, .*, found array\("),
        (lambda m: judges.evaluate([m], NOISE, NOISE, judges=[Y]), ValueError, "judges: expected some of .*, found array"),
        (
            lambda m: judges.evaluate([m], NOISE, NOISE, judges=[["knn"]]),
            ValueError,
            "judges: expected some of .*, found .'knn'",
        ),
        (lambda m: judges.evaluate([m], NOISE, NOISE, rows=np.zeros(0)), ValueError, "rows: expected some of .*, found none"),
        (lambda m: judges.evaluate([m], NOISE, NOISE, seeds=memoryview(Y)), TypeError, "seeds: expected a list, found <memory"),
        (lambda m: evaluation.prior_distance(Y, Y), ValueError, "squash: expected sigmoid or none, found array"),
        (lambda m: judges.fine_tuned(m, BARE, NOISE), ValueError, "labelled: expected labelled images, found bare without"),
        (lambda m: judges.fine_tuned(3, NOISE, NOISE), TypeError, "model: expected a Model, found int"),
        (lambda m: judges.fine_tuned(m, "x", NOISE), TypeError, "labelled: expected a Dataset"),
        (lambda m: judges.fine_tuned(m, NOISE, NOISE.subset([])), ValueError, "queries: expected one image at least"),
        (lambda m: judges.fine_tuned(m, NOISE, pictures(4, 16)), ValueError, r"queries: expected images of \(1, 8, 8\)"),
        (lambda m: judges.fine_tuned(m, NOISE, NOISE, settings=3), TypeError, "settings: expected a FineTuning, found int"),
        (lambda m: judges.evaluate([m], NOISE, NOISE, unlabelled=3), TypeError, "unlabelled: expected a Dataset"),
        (lambda m: judges.evaluate([m], NOISE, NOISE, settings=3), TypeError, "settings: expected a Settings, found int"),
        (lambda m: judges.evaluate([m], NOISE, NOISE, fine_tuning=3), TypeError, "fine_tuning: expected a FineTuning"),
        (lambda m: Index(Y, 3), TypeError, "ids: expected texts, one a vector, found int"),
        (lambda m: Index(Y).check_encoder(3), TypeError, "model: expected a Model, found int"),
        (lambda m: Index(Y).check_images(3), TypeError, "data: expected a Dataset"),
        (lambda m: encoder_digest(3), TypeError, "model: expected a Model, found int"),
    ],
)
def test_things_of_another_kind(small, call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call(small)
