"""deepinfomax.judges: the judges on vectors whose answer is known, the intrinsic measures beside independent numbers."""

import json
import tracemalloc

import deepinfomax as dim
import ms_ssim as recorded
import numpy as np
import pytest
from deepinfomax import evaluation, judges
from deepinfomax.data.dataset import InMemory
from deepinfomax.judges import comparison, fitted
from deepinfomax.judges.dependence import Network
from deepinfomax.judges.vectors import pca
from deepinfomax.neighbours import elected, vote

SETTINGS = judges.Settings(mlp_steps=400, mlp_lr=3e-3)


def clouds(n, seed, spread=0.3, length=12):
    """Vectors (n, length) around the corners of a simplex, and which: three classes, numbered 2, 5 and 9."""
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    places = 3 + 2 * np.eye(3, length, dtype=np.float32)
    return places[labels] + spread * chance.standard_normal((n, length), np.float32), np.array([2, 5, 9])[labels]


# ---- Judges


@pytest.mark.parametrize("name", judges.JUDGES)
def test_a_judge_tells_clouds_apart(name):
    pytest.importorskip("sklearn")
    (train, labels), (test, expected) = clouds(300, 0), clouds(90, 1)
    assert np.mean(judges.judge(name, train, labels, test, 0, SETTINGS) == expected) >= 0.98
    nonsense = np.random.default_rng(2).permutation(labels)
    assert np.mean(judges.judge(name, train, nonsense, test, 0, SETTINGS) == expected) < 0.7


@pytest.mark.parametrize("name", judges.JUDGES)
def test_the_seed_and_only_the_seed(name):
    pytest.importorskip("sklearn")
    (train, labels), (test, _) = clouds(120, 0, spread=2), clouds(300, 1, spread=2)
    few = judges.Settings(mlp_steps=20, mlp_lr=1e-3)
    found = [judges.judge(name, train, labels, test, seed, few) for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    if name == "mlp":
        assert not np.array_equal(found[0], found[2])
    if name not in fitted.SEEDED:
        assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("count, numbers", [(40, 300), (300, 40)])
def test_principal_components(count, numbers):
    """Of few images of many pixels they come another way: from the covariances, 3,072 pixels took 20 seconds of a processor."""
    pytest.importorskip("sklearn")
    images = np.random.default_rng(0).normal(size=(count + 5, numbers)) * 0.9 ** np.arange(numbers)
    found = np.concatenate(pca(images[:count].astype(np.float32), images[count:].astype(np.float32), 8, 0))
    centred = images - images[:count].mean(0)
    expected = centred @ np.linalg.svd(centred[:count], full_matrices=False)[2][:8].T
    expected *= np.sign(expected[0]) * np.sign(found[0])  # A component is as good as its opposite.
    np.testing.assert_allclose(found, expected, atol=numbers * np.finfo(np.float32).eps * np.abs(expected).max())


@pytest.mark.parametrize("name", judges.JUDGES)
def test_one_class_has_one_answer(name):
    train, _ = clouds(20, 0)
    assert judges.judge(name, train, np.full(20, 7), train[:3]).tolist() == [7, 7, 7]


def test_neighbours_by_length_and_by_angle():
    """A far vector of the same direction: the nearest by angle alone."""
    train = np.array([[9, 1], [8, 0], [0, 9], [0.5, 0.6], [0.6, 0.5]], np.float32)
    labels = np.array([0, 0, 1, 2, 2])
    queries = np.array([[1, 0.1]], np.float32)
    assert fitted._vote(train, labels, queries, 1).tolist() == [2]
    assert fitted._vote(fitted._unit(train), labels, fitted._unit(queries), 1).tolist() == [0]
    assert fitted._vote(train, labels, queries, 5).tolist() == [2], "a tie goes to the nearest"


def test_numbers_that_do_not_vary_are_no_information():
    train, labels = clouds(30, 0)
    train[:, 4] = 1e6
    test = train.copy()
    test[:, 4] = -1e6
    found = fitted.Standardised(train, labels, test)
    assert not found.train[:, 4].any() and not found.test[:, 4].any()
    assert np.allclose(found.train.mean(0), 0, atol=1e-5) and np.allclose(np.delete(found.train.std(0), 4), 1, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_vary_little_are_information(dtype):
    """Those whose spread was under a millionth of their mean were left out."""
    train, labels = clouds(30, 0)
    train = train.astype(dtype)
    steps = np.random.default_rng(0).integers(-8, 9, len(train))
    train[:, 4] = 1000 + steps * (dtype(1000) - np.nextafter(dtype(1000), dtype(0)))
    found = fitted.Standardised(train, labels, train)
    assert abs(found.train[:, 4].mean()) < 1e-4 and abs(found.train[:, 4].std() - 1) < 1e-3
    assert np.corrcoef(found.test[:, 4], train[:, 4] - dtype(1000))[0, 1] > 0.9999
    train[:, 4] = np.where(steps > 0, dtype(1000), np.nextafter(dtype(1000), dtype(0)))
    assert not fitted.Standardised(train, labels, train).train[:, 4].any(), "rounding alone"


def test_what_a_judge_refuses():
    train, labels = clouds(30, 0)
    with pytest.raises(ValueError, match="judge: expected one of logistic"):
        judges.judge("oracle", train, labels, train)
    with pytest.raises(ValueError, match="labels: expected one for each of 30"):
        judges.judge("knn", train, labels[:-1], train)
    with pytest.raises(ValueError, match="finite"):
        judges.judge("knn", np.full_like(train, np.nan), labels, train)
    with pytest.raises(ValueError, match="expected .n, d. and .m, d."):
        judges.judge("knn", train, labels, train[:, 1:])
    with pytest.raises(ValueError, match="neighbours: expected at most the 30 training vectors, found 31"):
        judges.judge("knn-cosine", train, labels, train, settings=fitted.Settings(neighbours=31))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"neighbours": 0}, ValueError, "neighbours: expected 1 or more, found 0"),
        ({"mlp_steps": 0}, ValueError, "mlp_steps: expected 1 or more, found 0"),
        ({"mlp_batch": 1}, ValueError, "mlp_batch: expected 2 or more, found 1"),
        ({"logistic_c": -1}, ValueError, "logistic_c: expected a finite number of more than 0, found -1"),
        ({"svm_alpha": np.nan}, ValueError, "svm_alpha: expected a finite number of more than 0, found nan"),
        ({"mlp_lr": "x"}, TypeError, "mlp_lr: expected a number, found 'x'"),
    ],
)
def test_what_is_no_setting_of_a_judge(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        judges.Settings(**options)


def test_what_a_judge_does_not_take():
    train, labels = clouds(30, 0)
    for given, error, text in (
        (
            (train, labels[:, np.newaxis], train),
            ValueError,
            r"labels: expected one for each of 30 vectors, found shape \(30,1\)",
        ),
        ((np.ma.array(train, mask=train > 4), labels, train), ValueError, "vectors: has masked values"),
        ((None, labels, train), TypeError, "vectors: expected numbers, found object"),
        ((train, labels, train, None), TypeError, "seed: expected an integer"),
    ):
        with pytest.raises(error, match=f"^{text}"):
            judges.judge("knn", *given)
    assert judges.judge("knn", train.astype(float) * 1e200, labels, train.astype(float) * 1e200).shape == (30,)


# ---- The comparison


def pictures(n, seed, side=16):
    """Grey images of two classes: bright above or below."""
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = chance.integers(0, 90, (n, 1, side, side)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        half = slice(side // 2, None) if label else slice(0, side // 2)
        image[0, half] += 40
    return InMemory("halves", images, labels.astype(np.int64), ("above", "below"))


@pytest.fixture(scope="module")
def architecture():
    return dim.Architecture.preset("basic32", channels=1, height=16, width=16)


def test_rows_columns_and_seeds(architecture):
    pytest.importorskip("sklearn")
    train, test = pictures(80, 0), pictures(40, 1)
    with dim.Model(0, architecture) as model:
        found = judges.evaluate([model], train, test, columns=("Y", "fc"), judges=("logistic", "svm"), seeds=(0, 1))
        assert not model.training
    runs = {(one.row, one.column, one.judge): len(one.accuracies) for one in found.figures}
    for row in ("weights", "calibrated", "untrained"):
        for column, numbers in (("Y", 64), ("fc", 1024)):
            assert found.figure(row, column, "logistic").numbers == numbers
    assert runs["weights", "Y", "logistic"] == 1, "no seed in it"
    assert runs["weights", "Y", "svm"] == runs["calibrated", "fc", "logistic"] == runs["projection", "Y", "logistic"] == 2
    # The seed's weights are what is judged, in both rows.
    assert found.figure("weights", "Y", "logistic").mean == found.figure("untrained", "Y", "logistic").accuracies[0]
    reasons = {(one.row, one.column): one.reason for one in found.left_out}
    assert reasons == {
        ("pca", "fc"): "expected fewer numbers than the 80 training images, found 1,024",
        ("projection", "fc"): "expected fewer numbers than the 256 pixels, found 1,024",
    }
    pixels = found.figure("pixels", "", "logistic")
    assert pixels.mean >= 0.9 and pixels.deviation is None and pixels.numbers == 256
    assert pixels.confusion.sum(axis=1).tolist() == [20, 20] and pixels.confusion.trace() == round(40 * pixels.mean)
    better = max(("calibrated", "untrained"), key=lambda row: found.figure(row, "Y", "svm").mean)
    assert found.baseline("Y", "svm") is found.figure(better, "Y", "svm")


def test_classes_are_matched_by_name(architecture):
    """Each data set numbers what occurs in it: where the test images lacked the first class every answer was wrong."""
    train, everything = pictures(80, 0), pictures(40, 1)
    train.classes = ("ant", "bee")
    test = everything.subset(np.flatnonzero(everything.labels))
    test.labels, test.classes = np.zeros(len(test), np.int64), ("bee",)
    with dim.Model(0, architecture) as model:
        found = judges.evaluate([model], train, test, rows=("pixels",), judges=("knn",), columns=("Y",))
        test.classes = ("wasp",)
        with pytest.raises(
            ValueError, match="^test: expected images of the classes of train, ant, bee; found only others, wasp$"
        ):
            judges.evaluate([model], train, test, rows=("pixels",), judges=("knn",), columns=("Y",))
    assert found.figure("pixels", "", "knn").mean > 0.9


def test_many_voters_need_no_memory_for_their_pairs():
    """4,000 voters were 16 MB of pairs a query, and 8 GB for 500 queries."""
    chance = np.random.default_rng(0)
    points, queries = chance.normal(size=(4000, 2)).astype(np.float32), chance.normal(size=(500, 2)).astype(np.float32)
    labels = chance.integers(0, 7, 4000) * 10**9
    tracemalloc.start()
    found = fitted._vote(points, labels, queries, 4000), vote(points, labels, queries, 4000)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    for each in found:  # All vote: one class is the commonest.
        assert (each == np.unique(labels)[np.bincount(labels // 10**9).argmax()]).all()


def test_the_elected_is_the_same_however_many_vote():
    votes = np.random.default_rng(0).integers(-3, 4, (200, 24))
    expected = [max(row.tolist(), key=lambda one, row=row.tolist(): (row.count(one), -row.index(one))) for row in votes]
    assert elected(votes).tolist() == expected
    few = votes[:, :9]
    expected = [max(row.tolist(), key=lambda one, row=row.tolist(): (row.count(one), -row.index(one))) for row in few]
    assert elected(few).tolist() == expected


def test_many_classes_have_no_confusion_matrix(architecture):
    """Labels may number things: the square of 65,536 classes is 34 GB for each figure."""
    pytest.importorskip("sklearn")
    images = np.random.default_rng(0).integers(0, 255, (evaluation.CONFUSED + 1, 1, 16, 16)).astype(np.uint8)
    for classes in evaluation.CONFUSED, evaluation.CONFUSED + 1:
        data = InMemory("many", images, np.arange(len(images)) % classes, None)
        with dim.Model(0, architecture) as model:
            found = judges.evaluate([model], data, data.subset(np.arange(40)), rows=("pixels",), judges=("knn",))
        (figure,) = found.figures
        assert figure.confusion.shape == ((classes, classes) if classes == evaluation.CONFUSED else (0, 0))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_images_that_are_all_the_same(architecture):
    """Principal components divided by their variance."""
    pytest.importorskip("sklearn")
    constant = InMemory("black", np.zeros((80, 1, 16, 16), np.uint8), np.arange(80) % 2, ("above", "below"))
    with dim.Model(0, architecture) as model:
        found = judges.evaluate([model], constant, pictures(20, 1), columns=("Y",), judges=("knn", "logistic"))
    assert found.figure("pca", "Y", "knn").mean == found.figure("pca", "Y", "logistic").mean == 0.5


def test_what_is_left_out_is_of_a_row_that_was_asked_for():
    bare = dim.Architecture(
        {
            "image": {"channels": 1, "height": 16, "width": 16},
            "encoder": {
                "layers": [
                    {"op": "conv", "name": "c0", "out": 2, "kernel": 3},
                    {"op": "flatten"},
                    {"op": "linear", "name": "l1", "out": 4},
                ],
                "features": "c0",
            },
        }
    )
    with dim.Model(0, bare) as model:
        for rows, expected in (("pixels", "untrained"), [("untrained", "fc")]), (("pixels",), []):
            found = judges.evaluate([model], pictures(20, 0), pictures(8, 1), columns=("fc",), judges=("knn",), rows=rows)
            assert [(one.row, one.column) for one in found.left_out] == expected


def test_calibration_is_the_mean_of_batches_in_training_mode(architecture):
    """What momentum=None gives in PyTorch; and nothing else changes."""
    data = pictures(256, 0)
    with dim.Model(0, architecture) as model, dim.Model(0, architecture) as other:
        before = model.state_dict()
        evaluation.calibrate(model, data)
        found = model.state_dict()
        batches = []
        for number in range(2):
            other.load_state_dict(before)
            other.train().encode(data.read(np.arange(number, 256, 2)), features=False)
            batches.append(other.state_dict())
        changed = {name for name in found if not np.array_equal(found[name], before[name])}
        assert changed and all("running" in name or "num_batches" in name for name in changed)
        for name in (name for name in changed if "running" in name):
            # momentum 0.1: the batch's own is what remains of the old, taken away, times 10.
            expected = np.mean([10 * batch[name].astype(float) - 9 * before[name].astype(float) for batch in batches], 0)
            np.testing.assert_allclose(
                found[name], expected, rtol=0, atol=64 * np.finfo(np.float32).eps * np.abs(expected).max()
            )
        assert not model.training


def test_calibration_takes_bounded_work_from_all_over_the_data():
    taken = evaluation._calibration(60_000, 128)
    assert len(taken) == 64 and {len(part) for part in taken} == {128} and evaluation.calibration_images(60_000) == 64 * 128
    assert len(np.unique(np.concatenate(taken))) == 64 * 128 and np.concatenate(taken).max() > 59_000
    assert [part.tolist() for part in evaluation._calibration(5, 128)] == [[0, 1, 2, 3, 4]]
    assert evaluation.calibration_images(300) == 256


def test_what_is_long_is_fitted_on_fewer_images(monkeypatch, architecture):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(comparison, "LONG", 100)
    monkeypatch.setattr(comparison, "LONG_IMAGES", 30)
    monkeypatch.setattr(comparison, "LONGEST", 1000)
    with dim.Model(0, architecture) as model:
        found = judges.evaluate(
            [model], pictures(60, 0), pictures(20, 1), columns=("Y", "fc"), judges=("knn",), rows=("weights", "pixels")
        )
    assert {(one.row, one.column, one.images) for one in found.figures} == {("weights", "Y", 60), ("pixels", "", 30)}
    (left,) = found.left_out
    assert (left.column, left.numbers, left.reason) == ("fc", 1024, "more than 1,000 numbers")


def test_what_the_comparison_refuses(architecture):
    train, test = pictures(20, 0), pictures(10, 1)
    with dim.Model(0, architecture) as model, dim.Model(0, "basic28") as other:
        for arguments, options, text in (
            (([], train, test), {}, "models"),
            (([model, other], train, test), {}, "one architecture"),
            (([other], train, test), {}, "expected images of .1, 28, 28."),
            (([model], train, test), {"columns": ("Z",)}, "columns: expected some of Y, fc, conv"),
            (([model], train, test), {"judges": ()}, "judges: expected some of"),
            (([model], train, test), {"seeds": (1, 1)}, "seeds: expected different"),
            (([model], train, test), {"seeds": (-1,)}, "seeds: expected 0 or more, found -1"),
            (([model], train, InMemory("bare", test.pixels(np.arange(3)))), {}, "test: expected labelled"),
        ):
            with pytest.raises(ValueError, match=text):
                judges.evaluate(*arguments, **options)
        for arguments, options, text in (
            ((model, train, test), {}, "models: expected a list of models, .model. for one, found Model"),
            (([model, "w.h5"], train, test), {}, "models: expected a list of models, .* found str"),
            (
                ([model], train.pixels(np.arange(3)), test),
                {},
                "train: expected a Dataset, as open_dataset gives it, found ndarray",
            ),
            (([model], train, test), {"rows": "pixels"}, "rows: expected a list, found 'pixels'"),
            (([model], train, test), {"seeds": 0}, "seeds: expected a list, found 0"),
        ):
            with pytest.raises(TypeError, match=text):
                judges.evaluate(*arguments, **options)
        assert judges.evaluate([model], train, test, rows=["pixels"], judges=["knn"], seeds=np.arange(2)).figures


# ---- Dependence


# ---- Semi-supervised


def test_labels_are_drawn_evenly():
    labels = np.repeat([4, 7, 9], (500, 30, 5)).astype(np.int64)
    chosen = judges.labelled_part(labels, 24, 1)
    assert np.all(np.diff(chosen) > 0) and np.bincount(labels[chosen])[[4, 7, 9]].tolist() in ([10, 9, 5], [9, 10, 5])
    assert (chosen != judges.labelled_part(labels, 24, 2)).any() and (chosen == judges.labelled_part(labels, 24, 1)).all()
    assert len(judges.labelled_part(labels, 535)) == 535
    with pytest.raises(ValueError, match=r"^labels: expected shape \(n,\), found \(535,1\)"):
        judges.labelled_part(labels[:, np.newaxis], 24)
    with pytest.raises(TypeError, match="^seed: expected an integer, 0 or more, found NoneType"):
        judges.labelled_part(labels, 24, None)


def test_fine_tuning_learns_and_leaves_the_start_alone(architecture):
    """Classes whose numbers are not 0 and 1; the objective beside changes what is learnt."""
    train, test = pictures(300, 1), pictures(200, 2)
    assert train.labels is not None and test.labels is not None
    few = train.subset(judges.labelled_part(train.labels, 40))
    settings = judges.FineTuning(steps=60, batch=32, lr=1e-3)
    with dim.Model(0, architecture) as start:
        before = {name: value.tobytes() for name, value in start.state_dict().items()}
        count = []
        alone = judges.fine_tuned(start, few, test, settings=settings, on_images=count.append)
        assert sum(count) == 60 * 32 + 200
        again = judges.fine_tuned(start, few, test, settings=settings)
        count.clear()
        together = judges.fine_tuned(start, few, test, unlabelled=train, settings=settings, on_images=count.append)
        assert sum(count) == 60 * 64 + 200, "a step of the objective for each of the classifier's"
        assert {name: value.tobytes() for name, value in start.state_dict().items()} == before
    known = np.unique(train.labels)
    assert (alone == again).all() and set(alone) <= set(known)
    chance = max(np.mean(test.labels == label) for label in known)
    assert np.mean(alone == test.labels) > chance + 0.3 and np.mean(together == test.labels) > chance + 0.2


def test_semi_supervised_rows(architecture):
    train, test = pictures(200, 3), pictures(100, 4)
    assert train.labels is not None
    few = train.subset(judges.labelled_part(train.labels, 30))
    settings = judges.FineTuning(steps=5)
    with dim.Model(0, architecture) as model:
        found = judges.evaluate(
            [model],
            few,
            test,
            columns=("Y",),
            judges=("knn",),
            rows=("weights", "fine-tuned", "fine-tuned-dim", "supervised"),
            seeds=(0, 1),
            unlabelled=train,
            fine_tuning=settings,
        )
    assert [(one.row, one.judge, len(one.accuracies), one.images) for one in found.figures] == [
        ("weights", "knn", 1, 30),
        ("fine-tuned", "network", 2, 30),
        ("fine-tuned-dim", "network", 2, 30),
        ("supervised", "network", 2, 30),
    ]


def test_what_fine_tuning_refuses(architecture):
    one_class = pictures(50, 5)
    assert one_class.labels is not None
    with dim.Model(0, architecture) as model, pytest.raises(ValueError, match="two classes at least, found 1"):
        judges.fine_tuned(model, one_class.subset(np.flatnonzero(one_class.labels == one_class.labels[0])), one_class)
    bare = architecture.as_dict() | {"local": None, "global": None, "prior": None}
    with dim.Model(0, dim.Architecture(bare)) as model, pytest.raises(ValueError, match="found neither"):
        judges.fine_tuned(model, one_class, one_class, unlabelled=one_class)
    with pytest.raises(ValueError, match="steps: expected 1 or more, found 0"):
        judges.FineTuning(steps=0)
    with pytest.raises(ValueError, match="batch: expected 2 or more, found 1"):
        judges.FineTuning(batch=1)


def test_the_gradients_are_the_losses():
    """Central differences in float64 through the same network."""
    chance = np.random.default_rng(0)
    network = Network((3, 5, 4, 1), chance)
    network.parameters = [value.astype(np.float64) for value in network.parameters]
    joint, apart = chance.standard_normal((7, 3)), chance.standard_normal((6, 3))
    _, gradients = network.gradients(joint, apart)
    for value, gradient in zip(network.parameters, gradients, strict=True):
        for index in np.ndindex(value.shape):
            kept, losses = value[index], []
            for offset in (1e-5, -1e-5):
                value[index] = kept + offset
                losses.append(network.gradients(joint, apart)[0])
            value[index] = kept
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[index], abs=1e-6)


def test_dependence_of_two_normal_numbers():
    """Their total correlation is -log(1 - r^2) / 2: 0.83 for r = 0.9, and none for r = 0."""
    chance = np.random.default_rng(0)
    for r, least, most in ((0.9, 0.65, 0.95), (0.0, -0.05, 0.05)):
        x = chance.standard_normal((4000, 2))
        y = np.stack([x[:, 0], r * x[:, 0] + np.sqrt(1 - r * r) * x[:, 1]], axis=1)
        found = judges.neural_dependency(100 + 50 * y, steps=150, batch=300, lr=3e-3, hidden=(64, 32))
        assert least < found.value < most, (r, found)


def test_mutual_information_of_normal_numbers():
    """-log(1 - r^2) / 2 for each of two pairs of correlation r: 1.66 for r = 0.9, and none for r = 0."""
    chance = np.random.default_rng(0)
    for r, least, most in ((0.9, 1.2, 1.8), (0.0, -0.05, 0.05)):
        x = chance.standard_normal((4000, 2))
        y = r * x + np.sqrt(1 - r * r) * chance.standard_normal((4000, 2))
        found = judges.mutual_information(5 * x + 3, y, steps=300, batch=300, lr=3e-3, hidden=(64, 32))
        assert least < found.value < most, (r, found)
        # Numbers that depend on each other, and not on x, carry none.
        twice = np.repeat(chance.standard_normal((4000, 1)), 2, axis=1)
        assert judges.mutual_information(x, twice, steps=50, batch=300, hidden=(16,)).value < 0.05


def test_what_dependence_refuses():
    for y, text in ((np.zeros((5, 3)), "n of 20"), (np.zeros((50, 1)), "d of 2"), (np.full((50, 2), np.inf), "finite")):
        with pytest.raises(ValueError, match=text):
            judges.neural_dependency(y)
    for wrong, error, text in (
        ({"lr": -1}, ValueError, "lr: expected a finite number of more than 0, found -1.0"),
        ({"lr": np.nan}, ValueError, "lr: expected a finite number of more than 0, found nan"),
        ({"lr": 10**400}, ValueError, "lr: expected a finite number of more than 0, found inf"),
        ({"lr": "x"}, TypeError, "lr: expected a number, found 'x'"),
        ({"hidden": (0,)}, ValueError, "hidden: expected layers of 1 unit or more, found 0"),
        ({"hidden": 5}, TypeError, "hidden: expected a tuple of layers' units, found 5"),
        ({"seed": -1}, ValueError, "seed: expected 0 or more, found -1"),
        ({"seed": None}, TypeError, "seed: expected an integer, 0 or more, found NoneType"),
        ({"steps": 0}, ValueError, "steps: expected 1 or more, found 0"),
        ({"batch": 1}, ValueError, "batch: expected 2 or more, found 1"),
        ({"held_out": 1}, ValueError, "held_out: expected a share between 0 and 1, found 1.0"),
        (
            {"held_out": 0.99},
            ValueError,
            "held_out: expected to leave 2 training vectors of 40 at least, found a share of 0.99",
        ),
    ):
        with pytest.raises(error, match=f"^{text}$"):
            judges.neural_dependency(np.random.default_rng(0).normal(size=(40, 2)), **wrong)
    y = np.random.default_rng(0).normal(size=(40, 2))
    for x, error, text in (
        (y * 1e200, ValueError, r"float64 values beyond the range of float32, 3.4e\+38"),
        (np.ma.array(y, mask=y > 1), ValueError, "has masked values"),
        ([["a", "b"]] * 40, TypeError, "expected numbers, found <U1"),
        (y * 1j, TypeError, "expected numbers, found complex128"),
        (None, TypeError, "expected numbers, found object"),
    ):
        with pytest.raises(error, match=f"^x: {text}"):
            judges.mutual_information(x, y)
        with pytest.raises(error, match=f"^y: {text}"):
            judges.neural_dependency(x)
    with pytest.raises(ValueError, match="y: .* finite"):
        judges.mutual_information(np.zeros((50, 2)), np.full((50, 2), np.nan))
    with pytest.raises(ValueError, match="x: expected"):
        judges.mutual_information(np.zeros(50), np.zeros((50, 2)))
    with pytest.raises(ValueError, match="found 40 and 50"):
        judges.mutual_information(np.zeros((40, 2)), np.zeros((50, 2)))


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_the_dependency_of_vectors_of_any_scale(scale):
    """It was 0 beyond the range of float32's squares."""
    x = np.random.default_rng(0).normal(size=(400, 1))
    y = np.concatenate([x, x], 1) * scale
    assert judges.neural_dependency(y, steps=150, batch=300, lr=3e-3, hidden=(64, 32)).value > 0.5


# ---- Similarity


def test_ms_ssim_is_torchmetrics():
    found = json.loads(recorded.RECORDED.read_text())["cases"]
    assert len(found) == len(recorded.CASES)
    for (shape, noise), scales, case in zip(recorded.CASES, recorded.SCALES, found, strict=True):
        assert tuple(case["shape"]) == shape and judges.scales_of(*shape[1:]) == scales
        x, y = recorded.pair(shape, noise)
        assert np.allclose(judges.ms_ssim(x, y), case["ms_ssim"], rtol=0, atol=1e-4), shape
        assert np.allclose(judges.ssim(x, y), case["ssim"], rtol=0, atol=1e-4), shape
        assert np.allclose(judges.ms_ssim(2 * x - 1, 2 * y - 1, 2), judges.ms_ssim(255 * x - 127.5, 255 * y - 127.5, 255))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("measure", [judges.ssim, judges.ms_ssim])
def test_similarity_in_any_unit(measure):
    """Of a range whose square is no number equal places were 0/0."""
    x = np.random.default_rng(0).random((2, 1, 32, 32))
    y = np.clip(x + 0.1, 0, 1)
    for unit in 1e-300, 1e-165, 1e-60, 1e60, 1e165, 1e300:
        assert np.allclose(measure(x * unit, y * unit, unit), measure(x, y, 1.0), rtol=1e-9), unit
    flat = np.zeros((1, 1, 32, 32))
    assert np.allclose(measure(flat, flat, 1e-165), 1) and np.allclose(measure(flat + 1, flat + 1, 1e-165), 1)


def test_ms_ssim_of_the_same_and_of_opposites():
    x, _ = recorded.pair((1, 32, 32), 0.1)
    assert np.allclose(judges.ms_ssim(x, x), 1)
    assert np.all(judges.ms_ssim(x, 1 - x) == 0), "negative similarity counts as none"
    with pytest.raises(ValueError, match="sides of 11"):
        judges.ms_ssim(x[:, :, :10], x[:, :, :10])
    with pytest.raises(ValueError, match="one shape"):
        judges.ms_ssim(x, x[:2])


def test_similarity_of_uint8():
    """It was taken as 0 to 255 where the range is 1: another figure, without a word."""
    chance = np.random.default_rng(0)
    x, y = (chance.integers(0, 256, (3, 1, 32, 32)).astype(np.uint8) for _ in range(2))
    for measure in judges.ssim, judges.ms_ssim:
        expected = measure(x / 255, y / 255)
        assert np.array_equal(measure(x, y), expected) and np.array_equal(measure(x, y / 255), expected)
        np.testing.assert_allclose(measure(x, y, 255), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(measure(x, y.astype(float), 255), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_what_similarity_refuses():
    x = np.random.default_rng(0).random((2, 1, 16, 16))
    for given, options, error, text in (
        (x * np.nan, {}, ValueError, "others: expected finite numbers"),
        (np.ma.array(x, mask=x > 0.9), {}, ValueError, "others: has masked values"),
        (x > 0.5, {}, TypeError, "others: expected numbers, found bool"),
        ("x", {}, TypeError, "others: expected numbers, found <U1"),
        (x, {"data_range": 0}, ValueError, "data_range: expected a finite number of more than 0, found 0.0"),
        (x, {"data_range": np.inf}, ValueError, "data_range: expected a finite number of more than 0, found inf"),
        (x, {"data_range": "1"}, TypeError, "data_range: expected a number, found '1'"),
    ):
        for measure in judges.ssim, judges.ms_ssim:
            with pytest.raises(error, match=f"^{text}"):
                measure(x, given, **options)
    for size, error, text in ((-1, ValueError, "height: expected 0 or more"), (32.5, TypeError, "height: expected an integer")):
        with pytest.raises(error, match=f"^{text}"):
            judges.scales_of(size, 32)
    assert np.array_equal(judges.ssim(x * 2.0**900, x * 2.0**900, 2.0**900), judges.ssim(x, x)), "squares overflowed"
