"""Trainer and ClassifierTrainer: what each call changes, what it refuses, and that a refusal changes nothing."""

import dataclasses
import gc
import weakref

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax import ClassifierTrainer, Losses, Model, Trainer
from training_fixtures import LABELS, PHOTOS, assert_same_state, content


@pytest.fixture
def trainer(model):
    with Trainer(model) as trainer:
        yield trainer


@pytest.fixture
def unchanged(tmp_path):
    """A context manager: after its block the trainer would write the checkpoint that it wrote before."""

    class Unchanged:
        def __init__(self, trainer):
            self.trainer = trainer

        def content(self):
            self.trainer.save(tmp_path / "unchanged.h5")
            return content(tmp_path / "unchanged.h5")

        def __enter__(self):
            self.before = self.content()

        def __exit__(self, *exception):
            assert self.content() == self.before

    return Unchanged


# ---- The objective


def test_a_step(trainer, model):
    before = model.state_dict()
    losses = trainer.step(PHOTOS[:2])
    assert isinstance(losses, Losses) and losses.total == losses[0]
    assert losses.total == pytest.approx(losses.local + 0.5 * losses.global_ + 0.1 * losses.prior)
    assert trainer.steps == 1 and trainer.model is model and not model.training
    after = model.state_dict()
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert {name.split(".")[0] for name in moved} == {"encoder", "global_d", "local_d", "prior_d"}
    assert after["encoder.b2.num_batches_tracked"] == 1 and "encoder.b2.running_var" in moved


def test_evaluate_changes_nothing(trainer, unchanged):
    with unchanged(trainer):
        assert trainer.evaluate(PHOTOS[:3]) == trainer.evaluate(PHOTOS[:3])


def test_bytes_and_tensors_are_taken_as_by_encode(model):
    patches = np.moveaxis(np.round(PHOTOS[:2] * 255).astype(np.uint8), 1, -1)
    with Trainer(model) as trainer:
        assert trainer.evaluate(patches) == trainer.evaluate(PHOTOS[:2])


def test_options(model):
    given = {"alpha": 0.25, "beta": 2.0, "gamma": 0.5, "betas": (0.5, 0.75), "eps": 1e-6, "weight_decay": 0.125}
    with Trainer(model, "adversarial", seed=2**64 - 1, encoder_lr=1e-3, **given) as trainer:
        expected = {"prior": "adversarial", "seed": 2**64 - 1, "encoder_lr": 1e-3, "discriminator_lr": 1e-4} | given
        expected |= {
            "measure": "gan",
            "negatives": "rotation",
            "gradient_penalty": 0.0,
            "gradient_clip": 0.0,
            "micro_batches": 1,
            "precision": "float32",
        }
        expected |= {"coordinates": "none", "coordinates_weight": 1.0, "occlusion": False, "locations": None}
        assert dataclasses.asdict(trainer.options) == expected
        trainer.discriminator_lr = 0.5
        assert (trainer.encoder_lr, trainer.discriminator_lr) == (1e-3, 0.5)
        trainer.set_learning_rates(0.25, 0.125)
        assert (trainer.options.encoder_lr, trainer.options.discriminator_lr) == (0.25, 0.125)
    with Trainer(model, lr=1e-3) as trainer:
        assert (trainer.encoder_lr, trainer.discriminator_lr) == (1e-3, 1e-3)
        trainer.lr = 0.5
        assert (trainer.encoder_lr, trainer.discriminator_lr, trainer.lr) == (0.5, 0.5, 0.5)
        trainer.lr = 1e-3


def test_a_learning_rate_of_0_moves_nothing(model):
    before = model.state_dict()
    with Trainer(model, encoder_lr=0) as trainer:
        trainer.step(PHOTOS[:2])
    after = model.state_dict()
    assert all((before[n] == after[n]).all() for n in before if n.startswith("encoder.c"))
    assert (before["local_d.c0.weight"] != after["local_d.c0.weight"]).any()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"prior": "flat"}, "'monolithic', 'adversarial', 'none', found 'flat'"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"lr": 1e-3, "encoder_lr": 1e-3}, "both learning rates"),
        ({"lr": float("nan")}, "^lr is nan"),
        ({"encoder_lr": float("inf")}, "^encoder_lr is inf"),
        ({"discriminator_lr": -1.0}, "^discriminator_lr is -1"),
        ({"gamma": float("nan")}, "gamma"),
        ({"gradient_penalty": 1.0}, "^gradient_penalty is 1.0; expected 0, since the prior is not adversarial$"),
        ({"betas": (0.9, 1.0)}, r"^betas\[1\] is 1"),
        ({"eps": -1e-8}, "^eps is "),
        ({"weight_decay": float("-inf")}, "weight_decay"),
    ],
)
def test_options_that_are_refused(model, options, error):
    with pytest.raises(ValueError, match=error):
        Trainer(model, **options)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1e-4])
def test_learning_rates_that_are_refused(trainer, rate):
    for name in "lr", "encoder_lr", "discriminator_lr":
        with pytest.raises(dim.InvalidArgument, match=f"^{name} is "):
            setattr(trainer, name, rate)
    with pytest.raises(dim.InvalidArgument):
        trainer.set_learning_rates(1.0, rate)
    assert (trainer.encoder_lr, trainer.discriminator_lr) == (1e-4, 1e-4)


def test_batches_that_are_refused(trainer, unchanged):
    holes = PHOTOS[:2].copy()
    holes[1, 2, 3, 4] = np.nan
    endless = np.full_like(PHOTOS[:2], -np.inf)
    with unchanged(trainer):
        for function in (trainer.step, trainer.accumulate, trainer.evaluate):
            for batch, error in (
                (PHOTOS[:1], "an image.s negatives are the other images"),
                (PHOTOS[0], "an image.s negatives are the other images"),
                (PHOTOS[:0], "n is 0|0"),
                (holes, "image 1 holds nan"),
                (endless, "image 0 holds"),
            ):
                with pytest.raises(dim.InvalidArgument, match=error):
                    function(batch)
            with pytest.raises(ValueError, match="expected shape"):
                function(PHOTOS[:2, :2])
            with pytest.raises(TypeError):
                function(PHOTOS[:2].tolist())


@pytest.mark.parametrize("value", [1e22, 3e38], ids=["a gradient's square", "the loss"])
def test_what_is_not_finite_is_not_applied(model, unchanged, value):
    state = model.state_dict()
    state["local_d.c1.weight"][:] = value
    model.load_state_dict(state)
    with Trainer(model) as trainer, unchanged(trainer):
        with pytest.raises(dim.NotFinite, match="not finite"):
            trainer.step(PHOTOS[:2])
        assert trainer.steps == 0
        assert_same_state(model.state_dict(), state)


def test_a_later_loss_that_is_not_finite(trainer, unchanged, model):
    trainer.step(PHOTOS[:2])
    state = model.state_dict()
    state["global_d.l1.weight"][:] = 3e38
    model.load_state_dict(state)
    with unchanged(trainer), pytest.raises(dim.NotFinite):
        trainer.step(PHOTOS[:2])
    assert trainer.steps == 1


def test_accumulated_gradients_are_averaged(model):
    """Two micro-batches of which the second is the first again, noise apart, have its gradients twice."""
    with Trainer(model, gamma=0.0) as trainer:
        with pytest.raises(dim.InvalidArgument, match="expected some, found none"):
            trainer.gradients()
        with pytest.raises(dim.InvalidArgument, match="nothing to update"):
            trainer.update()
        trainer.accumulate(PHOTOS[:2])
        once = trainer.gradients()
        with pytest.raises(dim.InvalidArgument, match="accumulated gradients: expected none"):
            trainer.step(PHOTOS[:2])
        with pytest.raises(dim.InvalidArgument, match="accumulated gradients: expected none"):
            trainer.save("/nowhere/c.h5")
        trainer.accumulate(PHOTOS[:2])
        twice = trainer.gradients()
        assert set(once) == {i.name for i in model.parameters_info() if i.trainable} - {
            i.name for i in model.parameters_info() if i.name.startswith("classifier")
        }
        seen = []
        trainer.on_gradients = lambda values: seen.append(values.copy())
        trainer.update()
        assert trainer.steps == 1
        averaged = seen[0][: sum(g.size for g in once.values())]
        expected = np.concatenate([g.ravel() for g in once.values()])
        # Sums in another order: the second micro-batch's are added to what is there, term by term.
        assert np.abs(averaged - expected).max() <= 1e-5 * np.abs(expected).max()
        for name, g in once.items():
            assert np.abs(twice[name] - 2 * g).max() <= 1e-4 * np.abs(g).max() + 1e-9, name
        with pytest.raises(dim.InvalidArgument, match="nothing to update"):
            trainer.update()


def test_a_step_is_accumulate_and_update():
    states = []
    for separately in (False, True):
        with Model(0) as model, Trainer(model, seed=5) as trainer:
            if separately:
                losses = trainer.accumulate(PHOTOS[:3])
                trainer.update()
            else:
                losses = trainer.step(PHOTOS[:3])
            states.append((losses, model.state_dict()))
    assert states[0][0] == states[1][0]
    assert_same_state(states[0][1], states[1][1])


def test_a_failed_micro_batch_leaves_the_waiting_ones(trainer):
    trainer.accumulate(PHOTOS[:2])
    before = trainer.gradients()
    holes = np.full_like(PHOTOS[:2], np.nan)
    with pytest.raises(dim.InvalidArgument):
        trainer.accumulate(holes)
    assert_same_state(trainer.gradients(), before)


# ---- The gradient callback


def test_two_that_average_train_as_one():
    """Each of two trainers gets half of the batches and is handed the average: both move as one that accumulates both."""
    halves = PHOTOS[:2], PHOTOS[2:4]
    seen = []
    for half in halves:  # What each would hand to the others.
        with Model(0) as model, Trainer(model, gamma=0.0) as trainer:
            trainer.on_gradients = lambda values: seen.append(values.copy())
            trainer.step(half)
    mean = (seen[0] + seen[1]) / np.float32(2)
    states = []
    for half in halves:
        with Model(0) as model, Trainer(model, gamma=0.0) as trainer:
            trainer.on_gradients = lambda values: np.copyto(values, mean)
            trainer.step(half)
            states.append(model.state_dict())
    assert_same_state(*states)
    count = len(mean) - 2 * (128 + 256 + 512)  # Running statistics come last.
    with Model(0) as model, Trainer(model, gamma=0.0) as trainer:
        trainer.on_gradients = lambda values: seen.append(values.copy())
        for half in halves:
            trainer.accumulate(half)
        trainer.update()
    assert np.abs(seen[-1][:count] - mean[:count]).max() <= 1e-5 * np.abs(mean[:count]).max()


def test_an_exception_of_the_callback_drops_the_step(trainer, unchanged):
    class Stop(BaseException):
        pass

    def stop(values):
        values[:] = 0
        raise Stop("enough")

    trainer.on_gradients = stop
    assert trainer.on_gradients is stop
    with unchanged(trainer):
        with pytest.raises(Stop, match="enough"):
            trainer.step(PHOTOS[:2])
        assert trainer.steps == 0
    trainer.on_gradients = None
    trainer.step(PHOTOS[:2])
    assert trainer.steps == 1 and trainer.on_gradients is None


def test_a_callback_may_raise_what_a_generator_may_not(trainer):
    """Passing through a context manager a StopIteration became a RuntimeError."""
    trainer.on_gradients = lambda values: next(iter(()))
    with pytest.raises(StopIteration):
        trainer.step(PHOTOS[:2])


def test_the_callback_may_not_call_its_trainer(trainer):
    trainer.on_gradients = lambda values: trainer.steps
    with pytest.raises(RuntimeError, match="must not call the trainer"):
        trainer.step(PHOTOS[:2])


def test_a_callback_that_writes_nan_is_reported(trainer, unchanged):
    trainer.on_gradients = lambda values: values.fill(np.nan)
    with unchanged(trainer), pytest.raises(dim.NotFinite):
        trainer.step(PHOTOS[:2])


# ---- The classifier


@pytest.mark.parametrize("encoder", ["frozen", "frozen_batch_statistics", "trained"])
def test_a_step_of_the_classifier(model, encoder):
    before = model.state_dict()
    with ClassifierTrainer(model, encoder) as trainer:
        result = trainer.step(PHOTOS[:4], LABELS[:4])
        assert result.count == 4 and result.accuracy == result.correct / 4 and trainer.steps == 1
    after = model.state_dict()
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert ("encoder.c0.weight" in moved) == (encoder == "trained")
    assert ("encoder.b1.running_mean" in moved) == (encoder != "frozen")
    assert "classifier.l1.weight" in moved and "classifier.bn3.running_var" in moved


def test_a_step_from_encoded_vectors():
    states = []
    for encoded in (False, True):
        with Model(0) as model, ClassifierTrainer(model) as trainer:
            y = model.encode(PHOTOS[:4], features=False)
            result = trainer.step_encoded(y, LABELS[:4]) if encoded else trainer.step(PHOTOS[:4], LABELS[:4])
            states.append((result, model.state_dict()))
    assert states[0][0] == states[1][0]
    assert_same_state(states[0][1], states[1][1])
    with Model(0) as model, ClassifierTrainer(model, "trained") as trainer:
        with pytest.raises(dim.InvalidArgument, match="only where the encoder is 'frozen'$"):
            trainer.step_encoded(y, LABELS[:4])


def test_classifier_options(model):
    with ClassifierTrainer(model, "trained", "softmax_twice", 1e-3, betas=(0.5, 0.75), eps=1e-6, weight_decay=0.5) as t:
        expected = {
            "encoder": "trained",
            "loss": "softmax_twice",
            "lr": 1e-3,
            "betas": (0.5, 0.75),
            "eps": 1e-6,
            "weight_decay": 0.5,
        }
        assert dataclasses.asdict(t.options) == expected
        t.lr = 0.25
        assert t.lr == 0.25
        for rate in (float("nan"), -1.0, float("inf")):
            with pytest.raises(dim.InvalidArgument):
                t.lr = rate
        assert t.lr == 0.25
    for options in ({"encoder": "melted"}, {"loss": "hinge"}, {"lr": float("nan")}, {"betas": (1.0, 0.9)}):
        with pytest.raises(ValueError):
            ClassifierTrainer(model, **options)


def test_evaluation(model):
    with ClassifierTrainer(model) as trainer:
        whole = trainer.evaluate(PHOTOS[:9], LABELS[:9])
        parts = trainer.evaluate(PHOTOS[:5], LABELS[:5]) + trainer.evaluate(PHOTOS[5:9], LABELS[5:9])
        alone = trainer.evaluate(PHOTOS[0], LABELS[0])
    predicted = model.classify(model.encode(PHOTOS[:9], features=False)).argmax(1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (LABELS[:9], predicted), 1)
    assert (whole.confusion == confusion).all() and whole.count == 9
    assert whole.accuracy == (predicted == LABELS[:9]).mean()
    assert (parts.confusion == confusion).all() and parts.loss == pytest.approx(whole.loss)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(whole.precision, confusion.diagonal() / confusion.sum(0))
    assert alone.count == 1


def test_many_classes_are_evaluated_without_a_confusion_matrix():
    """Of 65,536 classes it would be 34 GB, which fit(validation=) needed as well."""
    many = {"preset": "basic32", "classifier": {"hidden": [], "classes": 65_536}}
    with Model(0, many) as model, ClassifierTrainer(model) as trainer:
        labels = model.classify(model.encode(PHOTOS[:4], features=False)).argmax(1)
        labels[3] = 65_535 - labels[3]
        found = trainer.evaluate(PHOTOS[:4], labels)
        assert found.confusion.shape == (0, 0) and found.precision.shape == (0,)
        assert (found.correct, found.count, found.accuracy) == (3, 4, 0.75)
        assert (found + found).accuracy == 0.75 and (found + found).count == 8
        (epoch,) = trainer.fit((PHOTOS[:4], labels), 1, batch=4, validation=(PHOTOS[:4], labels))
        assert epoch.validation.count == 4


def test_sums_of_evaluations():
    few, none = dim.Evaluation(0.5, np.eye(2, dtype=np.int64)), dim.Evaluation(float("nan"), np.zeros((2, 2), np.int64))
    assert np.isnan(none.accuracy) and np.isnan((none + none).accuracy) and np.isnan(dim.ClassifierResult(0.0, 0, 0).accuracy)
    assert (few + none).loss == 0.5 and (none + few).accuracy == 1
    with pytest.raises(ValueError, match=r"equally many classes, found confusion matrices of \(2, 2\) and \(3, 3\)"):
        few + dim.Evaluation(0.0, np.ones((3, 3), np.int64))
    with pytest.raises(TypeError, match="unsupported operand"):
        few + 3
    assert dim.Evaluation(0.1, [[1, 2], [3, 4]]).correct == 5


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([[0], [1, 2]], TypeError, "expected integers, one for each image"),
        ([0, 2**70], ValueError, "labels: expected integers of 64 bits, found 1180591620717411303424"),
        ([], ValueError, r"expected shape \(2,\)"),
        (["a", "b"], TypeError, "expected integers, found <U1; names become numbers by numpy.unique"),
        (np.array([0.0, 1.0]), TypeError, "expected integers, found float64"),
        (np.array([True, False]), TypeError, "expected integers, found bool"),
        (np.array([0]), ValueError, r"expected shape \(2,\)"),
        (np.array([[0], [1]]), ValueError, "expected shape"),
        (np.array([0, 10]), dim.InvalidArgument, r"labels\[1\] is 10; expected 0 to 9"),
        (np.array([-1, 0], np.int8), dim.InvalidArgument, r"labels\[0\] is -1"),
        (np.array([0, 2**64 - 1], np.uint64), ValueError, "beyond the range of int64"),
    ],
)
def test_labels_that_are_refused(model, unchanged, labels, error, message):
    with ClassifierTrainer(model) as trainer, unchanged(trainer):
        for function in (trainer.step, trainer.evaluate):
            with pytest.raises(error, match=message):
                function(PHOTOS[:2], labels)


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i4", "<u8", "i8"])
def test_labels_of_any_integer_type(model, dtype):
    with ClassifierTrainer(model) as trainer:
        expected = trainer.evaluate(PHOTOS[:4], LABELS[:4])
        found = trainer.evaluate(PHOTOS[:4], np.repeat(LABELS[:4], 2).astype(dtype)[::2])
    assert found.loss == expected.loss and (found.confusion == expected.confusion).all()


def test_batches_that_the_classifier_refuses(model, unchanged):
    with ClassifierTrainer(model, "trained") as trainer, unchanged(trainer):
        with pytest.raises(dim.InvalidArgument, match="batch norm has no statistics of one"):
            trainer.step(PHOTOS[:1], LABELS[:1])
        with pytest.raises(dim.InvalidArgument, match="image 0 holds nan"):
            trainer.step(np.full_like(PHOTOS[:2], np.nan), LABELS[:2])


def test_a_classifier_loss_that_is_not_finite(model, unchanged):
    state = model.state_dict()
    state["classifier.bn3.weight"][:] = 3e38
    model.load_state_dict(state)
    with ClassifierTrainer(model) as trainer, unchanged(trainer):
        with pytest.raises(dim.NotFinite):
            trainer.step(PHOTOS[:4], LABELS[:4])


# ---- Lifetime


def test_lifetime(model):
    trainer = Trainer(model)
    trainer.close()
    trainer.close()
    assert repr(trainer) == "<deepinfomax.Trainer, closed>"
    for call in (lambda: trainer.step(PHOTOS[:2]), lambda: trainer.steps, trainer.update, lambda: trainer.options):
        with pytest.raises(dim.InvalidHandle, match="this trainer is closed"):
            call()
    model.encode(PHOTOS[:1])  # The model continues.


def test_the_model_outlives_its_handle():
    model = Model(0)
    with Trainer(model) as trainer:
        model.close()
        trainer.step(PHOTOS[:2])
        assert trainer.model is not model and trainer.model.state_dict()["encoder.b1.num_batches_tracked"] == 1


def test_a_trainer_with_a_callback_is_freed_at_once(model):
    trainer = Trainer(model)
    trainer.on_gradients = print
    gone = weakref.ref(trainer._handle)
    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()


def test_a_model_without_discriminators(model, tmp_path):
    h5py = pytest.importorskip("h5py")
    state = {name: value for name, value in model.state_dict().items() if name.split(".")[0] in ("encoder", "classifier")}
    with h5py.File(tmp_path / "part.h5", "w") as file:
        for name, value in state.items():
            file[name] = value
    with Model.open(tmp_path / "part.h5") as part:
        with pytest.raises(dim.MissingNetwork, match="global_d"):
            Trainer(part)
        ClassifierTrainer(part).close()
