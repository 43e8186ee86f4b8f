"""Trainer.fit, ClassifierTrainer.fit and the log."""

import logging

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax import evaluation
from deepinfomax.data import open_dataset
from deepinfomax.data.dataset import InMemory
from training_fixtures import assert_same_state

RNG = np.random.default_rng(0)
IMAGES = RNG.random((10, 1, 28, 28), np.float32)
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


@pytest.fixture
def small():
    with dim.Model(0, dim.Architecture.preset("basic28", classes=3)) as model, dim.Trainer(model, seed=1) as trainer:
        yield trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    return path


class Batches:
    """As a DataLoader is: may be gone through again and again."""

    def __init__(self, *arrays, size=5):
        self.arrays, self.size, self.times = arrays, size, 0

    def __iter__(self):
        self.times += 1
        for start in range(0, len(self.arrays[0]), self.size):
            some = [array[start : start + self.size] for array in self.arrays]
            yield some if len(some) > 1 else some[0]


def test_it_is_the_loop_that_one_would_write(small, data):
    history = small.fit(data, epochs=2, batch=4, seed=3)
    with dim.Model(0, small.model.architecture) as model, dim.Trainer(model, seed=1) as own:
        loader = dim.data.Loader(open_dataset(data), 4, 3)
        for epoch in range(2):
            losses = [own.step(batch.images) for batch in loader.epoch(epoch)]
            assert history[epoch].result == pytest.approx(np.mean(losses, axis=0), rel=1e-12)
        assert_same_state(small.model.state_dict(), model.state_dict())
    assert [(epoch.number, epoch.steps, epoch.validation) for epoch in history] == [(0, 2, None), (1, 4, None)]


@pytest.mark.parametrize("form", ["path", "data set", "array", "list", "tuple"])
def test_forms_of_data_are_the_same_run(small, data, form):
    images = {"array": IMAGES, "list": list(IMAGES), "tuple": tuple(IMAGES)}
    given = ({"path": str(data), "data set": open_dataset(data)} | images)[form]
    small.fit(given, 1, batch=4)
    with dim.Model(0, small.model.architecture) as model, dim.Trainer(model, seed=1) as own:
        own.fit(data, 1, batch=4)
        assert_same_state(small.model.state_dict(), model.state_dict())


def test_batches_as_a_dataloader_gives_them(small):
    batches = Batches(IMAGES, np.array(LABELS))
    history = small.fit(batches, 3)
    assert batches.times == 3 and [epoch.steps for epoch in history] == [2, 4, 6]
    assert small.fit(Batches(IMAGES), 1)[0].steps == 8
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.tensor(LABELS))
    with pytest.raises(TypeError, match="DataLoader"):
        small.fit(pairs)
    assert small.fit(torch.utils.data.DataLoader(pairs, 5), 1)[0].steps == 10


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("with_labels", [False, True])
def test_a_list_of_batches_is_batches(small, kind, with_labels):
    """It was taken for one of images, each of which was no image."""
    given = kind((some[0], some[1]) if with_labels else some[0] for some in Batches(IMAGES, np.array(LABELS)))
    assert [epoch.steps for epoch in small.fit(given, 2, validation=given)] == [2, 4]
    with dim.Model(0, small.model.architecture) as model, dim.Trainer(model, seed=1) as own:
        own.fit(Batches(IMAGES), 2)
        assert_same_state(small.model.state_dict(), model.state_dict())
    assert small.fit(given[:1], 1)[0].steps == 5, "one batch is no single image"
    with dim.ClassifierTrainer(small.model) as trainer:
        if with_labels:
            assert trainer.fit(given, 1, validation=given)[0].result.count == 10 and trainer.steps == 2
        else:
            with pytest.raises(ValueError, match=r"^dataset: expected \(images, labels\), found images alone in batch 0$"):
                trainer.fit(given, 1)
            assert trainer.steps == 0


class Counted(Batches):
    """As a DataLoader is, which tells how large its batches are."""

    def __init__(self, size, drop_last=False):
        super().__init__(IMAGES, size=size)
        self.dataset, self.batch_size, self.drop_last = IMAGES, size, drop_last


def test_a_last_batch_of_one_image_is_refused_before_the_first_step(small):
    """The epoch ended with an error of its last step, which named neither the batch nor what to do."""
    with pytest.raises(ValueError, match="^dataset: the last batch has 1 image of 10, expected 2 at least: .* drop_last=True"):
        small.fit(Counted(3), 1)
    with pytest.raises(ValueError, match="^dataset: expected a DataLoader of a batch_size of 2 at least, found 1$"):
        small.fit(Counted(1), 1)
    with pytest.raises(ValueError, match="^dataset: batch 1 of the epoch has 1 image, expected 2 .* drop_last=True"):
        small.fit([IMAGES[:4], IMAGES[4:5]], 1)
    assert small.steps == 0
    with pytest.raises(ValueError, match="^dataset: batch 3 of the epoch has 1 image, expected 2 .* drop_last=True"):
        small.fit(Batches(IMAGES, size=3), 1)  # Which tells nothing before.
    assert small.steps == 3
    assert small.fit(IMAGES, 1, batch=5, validation=Counted(3))[0].validation is not None, "evaluated without it"
    torch = pytest.importorskip("torch")
    images = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES))
    with pytest.raises(ValueError, match="drop_last=True"):
        small.fit(torch.utils.data.DataLoader(images, 3, shuffle=True), 1)
    assert small.fit(torch.utils.data.DataLoader(images, 3, drop_last=True), 1)[0].steps == 7
    twice = torch.utils.data.DataLoader(images, 3, collate_fn=lambda some: torch.stack([one for (one,) in some * 2]))
    assert small.fit(twice, 1)[0].steps == 11


def test_a_stopped_fit_continues_in_the_middle_of_an_epoch(small, data, tmp_path):
    class Stop(Exception):
        pass

    calls = []

    def stop(_):
        calls.append(1)
        if len(calls) == 5:
            raise Stop

    small.on_gradients = stop
    with pytest.raises(Stop):
        small.fit(data, 3, batch=3)
    assert small.steps == 4  # One epoch of three, and one batch of the next.
    small.save(tmp_path / "c.h5")
    with dim.Trainer.resume(tmp_path / "c.h5") as again:
        assert [epoch.number for epoch in again.fit(data, 2, batch=3)] == [1, 2] and again.steps == 9
        with dim.Model(0, small.model.architecture) as model, dim.Trainer(model, seed=1) as whole:
            whole.fit(data, 3, batch=3)
            assert_same_state(again.model.state_dict(), model.state_dict())


def test_callbacks_hear_of_each_epoch_and_end_it(small, data):
    heard = []
    history = small.fit(data, 5, [heard.append, lambda epoch: epoch.number == 1, heard.append], batch=4, validation=IMAGES[:3])
    assert history[1].validation == small.evaluate(IMAGES[:3])  # The last epoch's weights.
    assert len(small.fit(data, 2, lambda epoch: True, batch=4)) == 1
    assert len(small.fit(data, 2, lambda epoch: np.float32(1) < 2, batch=4)) == 1  # numpy's own True.
    assert len(small.fit(data, 2, lambda epoch: 1, batch=4)) == 2
    assert len(history) == 2 and heard == [history[0]] * 2 + [history[1]] * 2


@pytest.mark.parametrize("form", ["path", "pair", "list", "batches"])
def test_a_classifier_fits_too(small, data, form):
    given = {"path": data, "pair": (IMAGES, LABELS), "list": (list(IMAGES), tuple(LABELS)), "batches": Batches(IMAGES, LABELS)}
    with dim.ClassifierTrainer(small.model, lr=1e-2) as trainer:
        history = trainer.fit(given[form], 3, batch=5, validation=(IMAGES, LABELS))
        assert [epoch.result.count for epoch in history] == [10, 10, 10] and trainer.steps == 6
        judged = trainer.evaluate(IMAGES, LABELS)
        last = history[-1].validation
        assert (last.correct, last.count) == (judged.correct, 10) and last.loss == pytest.approx(judged.loss)


def test_the_log(small, data, caplog, capfd):
    small.fit(data, 1, batch=4)
    assert capfd.readouterr() == ("", "")  # Silence where nobody has asked.
    with caplog.at_level(logging.INFO, "deepinfomax"):
        small.fit(data, 1, batch=4)
    lines = [record.getMessage() for record in caplog.records if record.name == "deepinfomax.fit"]
    assert len(lines) == 1 and lines[0].startswith("epoch 1: Losses(total=") and "4 steps" in lines[0]
    assert any(record.name == "deepinfomax.data.opening" for record in caplog.records)


@pytest.mark.parametrize(
    "dataset, options, kind, message",
    [
        (IMAGES, {"epochs": -1}, ValueError, "epochs: expected a whole number of at least 0, found -1"),
        (IMAGES, {"epochs": 1.5}, ValueError, "epochs: .* found 1.5"),
        (IMAGES, {"callbacks": [3]}, TypeError, "callbacks: expected functions of one FittedEpoch, found 3"),
        (IMAGES, {"batch": 1}, ValueError, "batch: expected a whole number of at least 2"),
        (IMAGES[:1], {}, ValueError, "dataset: expected 2 images at least, found 1"),
        (5, {}, TypeError, "dataset: expected a path"),
        ((IMAGES, LABELS), {}, TypeError, "dataset: a tuple with arrays .* is one of batches; found list in its place 1"),
        ([IMAGES, IMAGES[0]], {}, TypeError, r"is one of batches; found an array of shape \(1, 28, 28\) in its place 1"),
        (iter([IMAGES]), {}, TypeError, "gone through once only"),
        (Batches(IMAGES[:0]), {}, ValueError, "one batch at least"),
        ("/nowhere", {}, dim.data.DataError, "/nowhere"),
        (np.zeros((4, 3, 32, 32), np.float32), {}, ValueError, "images"),
        (IMAGES, {"validation": IMAGES[:0]}, ValueError, "validation: expected 2 images at least, found 0"),
        (IMAGES, {"callbacks": 3}, TypeError, "^callbacks: expected functions of one FittedEpoch, found 3$"),
        ({"a": IMAGES}, {}, TypeError, "^dataset: expected a path, .*; found dict$"),
        ({"a", "b"}, {}, TypeError, "^dataset: expected a path, .*; found set$"),
        (IMAGES, {"validation": {"a": IMAGES}}, TypeError, "^validation: expected a path, .*; found dict$"),
    ],
)
def test_what_is_wrong_is_said(small, dataset, options, kind, message):
    with pytest.raises(kind, match=message):
        small.fit(dataset, **({"epochs": 1} | options))
    assert small.steps == 0


def spoilt(place, dtype=np.float32):
    images = IMAGES.astype(dtype)
    images[place, 0, 3, 4] = np.nan
    return images


@pytest.mark.parametrize("what", ["dataset", "validation"])
@pytest.mark.parametrize(
    "given, message",
    [
        (spoilt(7), r"images\[7\]: expected finite numbers, found NaN or infinite ones$"),
        (spoilt(7, np.float64), r"images\[7\]: expected finite"),
        (list(spoilt(7)), r"images\[7\]: expected finite"),
        ([IMAGES, spoilt(3)], r"batch 1: images\[3\]: expected finite"),
        (IMAGES * np.float64(1e39), "images: float64 values beyond"),
        (IMAGES[:, :, :27], r"images: expected shape .*found \(10,1,27,28\)$"),
        ([IMAGES, IMAGES[:, :, 1:]], "batch 1: images: expected shape"),
        ([*IMAGES[:4], IMAGES[4][:, 1:]], r"images\[4\]: expected shape"),
        (IMAGES.astype(int), "images: expected floating point or uint8, found int64"),
        (np.float32(3), "images: expected shape"),
    ],
)
def test_images_in_memory_are_looked_at_before_the_first_step(small, what, given, message):
    """A wrong one was found in its batch, after steps; in validation data, after an epoch."""
    with pytest.raises((ValueError, TypeError), match=f"^{what}: {message}"):
        small.fit(**{"dataset": IMAGES} | {what: given}, epochs=1, batch=4)
    assert small.steps == 0


def test_validation_data_with_too_few_images_for_the_negatives(small):
    with dim.Trainer(small.model, negatives=5) as trainer:
        for given in [IMAGES[:3], IMAGES[3:8]], Counted(3), IMAGES[:5]:
            with pytest.raises(ValueError, match="^validation: expected .*6 images at least, found"):
                trainer.fit(IMAGES, 1, batch=8, validation=given)
        assert trainer.steps == 0
        assert trainer.fit(IMAGES, 1, batch=8, validation=Counted(7))[0].validation is not None


@pytest.mark.parametrize("what", ["dataset", "validation"])
@pytest.mark.parametrize("label", [99, 3, -1])
def test_labels_are_looked_at_before_the_first_step(small, what, label):
    """They were found after steps, by their place in a batch in another order."""
    wrong = np.array(LABELS)
    wrong[7] = label
    with dim.ClassifierTrainer(small.model) as trainer:
        for given, place in (
            ((IMAGES, wrong), r"labels\[7\]"),
            ((IMAGES, wrong.tolist()), r"labels\[7\]"),
            ([(IMAGES[:5], wrong[:5]), (IMAGES[5:], wrong[5:])], r"batch 1: labels\[2\]"),
        ):
            with pytest.raises(ValueError, match=f"^{what}: {place}: expected 0 to 2, found {label}$"):
                trainer.fit(**{"dataset": (IMAGES, LABELS)} | {what: given}, epochs=1, batch=4)
        if label < 0:
            with pytest.raises(ValueError, match=rf"^{what}: labels\[7\]: expected 0 to 2, found -1$"):
                trainer.fit(**{"dataset": (IMAGES, LABELS)} | {what: InMemory("d", IMAGES, wrong)}, epochs=1, batch=4)
        assert trainer.steps == 0


def test_a_fit_without_a_step_names_no_classes():
    """The names of data of which nothing was learned stayed."""
    broken = InMemory("d", spoilt(slice(None)), np.array(LABELS), ("a", "b", "c"))
    with dim.Model(0, dim.Architecture.preset("basic28", classes=3)) as model, dim.ClassifierTrainer(model) as trainer:
        with pytest.raises(dim.data.DataError, match="NaN"):
            trainer.fit(broken, 1, batch=4)
        assert model.class_names == [] and trainer.steps == 0
        trainer.fit(InMemory("d", IMAGES, np.array(LABELS), ("a", "b", "c")), 1, None, batch=4)
        assert model.class_names == ["a", "b", "c"]


def test_labels_are_needed(small):
    with dim.ClassifierTrainer(small.model) as trainer:
        for given, message in (IMAGES, "found images alone"), ((IMAGES, [1]), "expected 10 labels"):
            with pytest.raises(ValueError, match=message):
                trainer.fit(given, 1)


def test_a_last_batch_too_small_for_the_drawn_negatives():
    """Of the validation it is left out, as `dim train` does."""
    with dim.Model(0, dim.Architecture.preset("basic28", classes=3)) as model, dim.Trainer(model, negatives=3) as trainer:
        (epoch,) = trainer.fit(IMAGES, epochs=1, batch=4, validation=IMAGES)
        assert np.isfinite(epoch.validation.total)
        with pytest.raises(ValueError, match="batch: expected 4 at least, an image and its 3 negatives, found 3"):
            trainer.fit(IMAGES, epochs=1, batch=3)
        with pytest.raises(ValueError, match="validation: expected 4 images at least, found 3"):
            trainer.fit(IMAGES, epochs=1, batch=4, validation=IMAGES[:3])
        assert trainer.steps == 2


def named(number_of, classes):
    """The images with a class each, whatever its number is in these data."""
    labels = [classes.index(("cat", "dog", "猫")[number_of[i] % 3]) for i in range(len(IMAGES))]
    return InMemory("d", IMAGES, np.array(labels), tuple(classes))


def test_a_classifier_matches_classes_by_name():
    plain, turned = named(LABELS, ["cat", "dog", "猫"]), named(LABELS, ["猫", "zcat", "dog", "cat"])
    architecture = dim.Architecture.preset("basic28", classes=3)
    found = []
    for names, data, validation in [
        ([], plain, plain),
        ([], plain, turned),
        (["cat", "dog", "猫"], turned, turned),
        (["cat", "dog", "猫"], plain, turned),
    ]:
        with dim.Model(0, architecture) as model, dim.ClassifierTrainer(model, lr=0.05) as trainer:
            model.class_names = names
            history = trainer.fit(data, 2, batch=4, validation=validation)
            assert model.class_names == ["cat", "dog", "猫"]
            state = {name: value.copy() for name, value in model.state_dict().items()}
            found.append(([(epoch.result, epoch.validation) for epoch in history], state))
    for history, state in found[1:]:
        assert history == found[0][0]
        assert_same_state(state, found[0][1])


def test_a_class_that_the_model_does_not_have_is_said():
    few = named([0, 1] * 5, ["cat", "dog"])
    other = InMemory("swp", IMAGES, np.arange(10) % 2, ("dog", "zcat"))
    with dim.Model(0, dim.Architecture.preset("basic28", classes=3)) as model, dim.ClassifierTrainer(model) as trainer:
        before = {name: value.copy() for name, value in model.state_dict().items()}
        with pytest.raises(
            dim.data.DataError, match='^validation: swp: has the class "zcat", which dataset does not have; it has cat, dog$'
        ):
            trainer.fit(few, 1, batch=4, validation=other)
        assert model.class_names == []
        model.class_names = ["cat", "dog", "猫"]
        for how in {"dataset": other}, {"dataset": few, "validation": other}:
            with pytest.raises(
                dim.data.DataError, match=': swp: has the class "zcat", which the model does not have; it has cat, dog, 猫$'
            ):
                trainer.fit(epochs=1, batch=4, **how)
        with pytest.raises(dim.data.DataError, match='"zcat", which the model'):
            evaluation.train_on_images(trainer, other, evaluation.Settings(1, 4))
        assert_same_state(model.state_dict(), before)
        model.class_names = []
        with pytest.raises(ValueError, match="^dataset: d has 4 classes, the model's classifier 3; give the model"):
            trainer.fit(InMemory("d", IMAGES, np.arange(10) % 4, tuple("abcd")), 1, batch=4)
        trainer.fit(other, 1, batch=4)
        assert model.class_names == ["dog", "zcat", "unused 2"]
