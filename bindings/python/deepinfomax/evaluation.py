"""How well classes can be predicted from vectors: the linked implementation's classifier, and simpler judges.

Everything here works on encoded vectors y (n, encoded) or on raw pixels (n, c h w); `train_on_images` alone needs the images.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from .classifier_trainer import CONFUSED as CONFUSED
from .classifier_trainer import LOSSES, ClassifierLoss, ClassifierResult, ClassifierTrainer, Evaluation
from .data import Dataset, Loader, randperm
from .data.dataset import numbered_as, numbered_by
from .data.order import dataloader_order
from .model import Model
from .neighbours import vote

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Images a call while encoding: bounds the memory, costs no speed.
BATCH = 128
#: Batches whose statistics a batch norm is calibrated by, at most.
_CALIBRATION = 64
#: By which a batch moves running statistics: PyTorch's default, the library's only one.
_MOMENTUM = 0.1
#: What messages call a Dataset.
_DATASET = "a Dataset, as open_dataset gives it"
#: Neighbours that vote.
K = 5


@dataclass(frozen=True)
class Settings:
    """How the classifier is trained; the defaults are those of the linked implementation's classification.py."""

    epochs: int = 100
    batch: int = 128
    lr: float = 1e-4
    loss: ClassifierLoss = "logits"
    #: Shuffles the batches.
    seed: int = 0

    def __post_init__(self) -> None:
        _arrays.whole_number(self.epochs, 0, 2**32, "epochs", "0 or more")
        if _arrays.whole_number(self.batch, 1, 2**63, "batch", "1 or more") == 1:
            raise ValueError("batch: expected 2 or more, found 1: batch norm has no statistics of one image")
        _arrays.whole_number(self.seed, 0, 2**64, "seed", "0 or more")
        _arrays.one_of(self.loss, LOSSES, "loss")
        if not 0 <= _arrays.number(self.lr, "lr") < math.inf:
            raise ValueError(f"lr: expected a finite number of 0 or more, found {self.lr}")


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history."""

    number: int
    #: Means over the epoch's batches, each before its update.
    loss: float
    accuracy: float


OnEpoch = Callable[[Epoch], object]


# ---- Data


def split(n: int, seed: int, share: float = 0.1) -> tuple[Labels, Labels]:
    """Indices to train and to test on: 90 and 10 percent, drawn as torch.utils.data.random_split draws for the seed."""
    share = _arrays.number(share, "share")
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, found {share}")
    order = randperm(n, seed)
    tested = max(1, round(n * share))
    return order[: n - tested], order[n - tested :]


def encode(model: Model, data: Dataset, on_images: Callable[[int], object] = lambda n: None) -> Floats:
    """y (n, encoded) of a whole data set, read piece by piece. `on_images` is called with the number of images encoded."""
    _arrays.instance(model, Model, "model")
    _arrays.instance(data, Dataset, "data", _DATASET)
    y = np.empty((len(data), model.sizes.encoded), np.float32)
    for start in range(0, len(data), BATCH):
        part = slice(start, min(start + BATCH, len(data)))
        y[part] = model.encode(data.read(part), features=False)
        on_images(part.stop - part.start)
    return y


@contextmanager
def _in_evaluation_mode(model: Model) -> Iterator[None]:
    """Afterwards the model's mode is as it was."""
    mode = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(mode)


def pixels(data: Dataset) -> Floats:
    """(n, c h w): the input of a judge without an encoder."""
    _arrays.instance(data, Dataset, "data", _DATASET)
    return data.read(slice(None)).reshape(len(data), math.prod(data.image_size))


# ---- The classifier


def train_on_vectors(
    model: Model, y: Floats, labels: Labels, settings: Settings, on_epoch: OnEpoch = lambda epoch: None
) -> list[Epoch]:
    """Trains the model's classifier on encoded vectors, the encoder frozen in evaluation mode; the model's mode stays as it was."""
    y, labels = _labelled(model, y, labels)
    _arrays.instance(settings, Settings, "settings")
    history: list[Epoch] = []
    with ClassifierTrainer(model, "frozen", settings.loss, settings.lr) as trainer:
        for number in range(settings.epochs):
            order = dataloader_order(len(y), settings.seed, number)
            results = [trainer.step_encoded(y[batch], labels[batch]) for batch in _batches(order, settings.batch)]
            history.append(_epoch(number, results))
            on_epoch(history[-1])
    return history


def train_on_images(
    trainer: ClassifierTrainer,
    data: Dataset,
    settings: Settings,
    on_epoch: OnEpoch = lambda epoch: None,
    on_images: Callable[[int], object] = lambda n: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Epoch]:
    """Trains on labelled images from the trainer's current step to the end of the last epoch; returns the epochs done.

    With a trainer of encoder="trained" that is end to end. The trainer was made with its loss and learning rate; of the
    settings epochs, batch and seed count. Classes are matched with the model's by name, if it has
    names. `on_images` hears of each batch, `stopped` is asked after it.
    """
    _arrays.instance(trainer, ClassifierTrainer, "trainer")
    _arrays.instance(settings, Settings, "settings")
    _check_data(trainer.model, data)
    if data.labels is None:
        raise ValueError(f"data: expected labelled images, found {data.name} without labels")
    history: list[Epoch] = []
    data = numbered_by(data, trainer.model.class_names, "the model")
    loader = Loader(data, settings.batch, settings.seed)
    while trainer.steps < settings.epochs * len(loader):
        number, start = divmod(trainer.steps, len(loader))
        results = []
        for batch in loader.epoch(number, start):
            assert batch.labels is not None
            results.append(trainer.step(batch.images, batch.labels))
            on_images(len(batch.images))
            if stopped():
                break
        if trainer.steps % len(loader) == 0:
            history.append(_epoch(number, results))
            on_epoch(history[-1])
        if stopped():
            break
    return history


def test_on_vectors(model: Model, y: Floats, labels: Labels) -> Evaluation:
    """How the model's classifier does on encoded vectors, in evaluation mode.

    An image's loss is at most 87.3: a probability below float32's least normal number, 1.2e-38, counts as that number.
    """
    y, labels = _labelled(model, y, labels)
    with _in_evaluation_mode(model):
        probabilities = np.concatenate([model.classify(y[start : start + 4096]) for start in range(0, len(y), 4096)])
    # The loss is that of the logits: softmax and its logarithm undo each other.
    own = probabilities[np.arange(len(y)), labels]
    loss = float(-np.log(np.maximum(own, np.finfo(np.float32).tiny), dtype=np.float64).mean())
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    counts = confusion(labels, predicted, classes) if classes <= CONFUSED else np.zeros((0, 0), np.int64)
    return Evaluation(loss, counts, int((predicted == labels).sum()), len(labels))


def _labelled(model: Model, y: Any, labels: Any) -> tuple[Floats, Labels]:
    """Vectors that the classifier takes, one at least, and a class of its for each."""
    _arrays.instance(model, Model, "model")
    vectors = _arrays.finite(_arrays.shaped(y, ("n", model.sizes.encoded), "y"), "y")
    found = _arrays.labels(labels, len(vectors), False)
    _arrays.check_class_range(found, model.sizes.classes)
    return _arrays.to_float32(vectors, "y"), found


def confusion(labels: Labels, predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: row = label, column = prediction."""
    classes = _arrays.whole_number(classes, 1, 2**31, "classes", "1 or more")
    sides = [_arrays.integers(values, name) for name, values in (("labels", labels), ("predicted", predicted))]
    for name, values in zip(("labels", "predicted"), sides, strict=True):
        if values.ndim != 1:
            raise ValueError(f"{name}: expected shape (n,), found {_arrays.shape_text(values)}")
        _arrays.check_class_range(values, classes, name)
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"predicted: expected {len(sides[0]):,}, one for each label, found {len(sides[1]):,}")
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (sides[0].astype(np.int64), sides[1].astype(np.int64)), 1)
    return counts


# ---- Simpler judges


def linear_probe(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> float:
    """Accuracy of scikit-learn's logistic regression on standardised vectors. Raises ImportError without it."""
    from sklearn.linear_model import LogisticRegression

    train, train_labels, test, test_labels = _sides(train, train_labels, test, test_labels)
    if (train_labels == train_labels[0]).all():  # One class alone, which a small split may leave: there is one answer.
        return float(np.mean(test_labels == train_labels[0]))
    train, test = _standardised(train, test)
    with warnings.catch_warnings():  # Of classes of one or two images each: they are the user's.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        probe = LogisticRegression(max_iter=1000).fit(train, train_labels)
    return float(np.mean(probe.predict(test) == test_labels))


def nearest_neighbours(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels, k: int = K) -> float:
    """Accuracy of the vote of the k nearest vectors, by L2 distance."""
    train, train_labels, test, test_labels = _sides(train, train_labels, test, test_labels)
    return float(np.mean(vote(train, train_labels, test, k) == test_labels))


def _sides(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> tuple[Floats, Labels, Floats, Labels]:
    """Vectors of one length and a label for each, one at least on each side."""
    train = _arrays.finite(_arrays.shaped(train, ("n", "d"), "train"), "train")
    test = _arrays.finite(_arrays.shaped(test, ("m", train.shape[1]), "test"), "test")
    return train, _arrays.labels(train_labels, len(train), False), test, _arrays.labels(test_labels, len(test), False)


# ---- An encoder while it is trained


def calibrate(model: Model, data: Dataset, batch: int = BATCH, on_images: Callable[[int], object] = lambda count: None) -> None:
    """Sets the encoder's running statistics to the data's: their means over batches in training mode. No weight changes.

    A new model has initial running statistics, and its vectors in evaluation mode are worse than they need be: next
    to it nearly every training would look good. The means are those of PyTorch's momentum=None, over at most 64 batches from
    all over the data, which may be sorted by class; a last batch of a few images alone, whose statistics say little, is left out.
    An error leaves the model as it was, to the last byte.
    """
    with _calibrated(model, data, batch, on_images) as copy:
        found = copy.state_dict()
    model.load_state_dict({name: value for name, value in found.items() if name.startswith("encoder.")})


def _calibrated(model: Model, data: Dataset, batch: int, on_images: Callable[[int], object]) -> Model:
    _check_data(model, data)
    parts = _calibration(len(data), batch)
    if "encoder" not in model.networks:
        raise ValueError(f"model: expected one with an encoder, found {', '.join(model.networks)}")
    copy = Model(0, architecture=model.architecture)
    try:
        copy.load_state_dict(model.state_dict())
        copy.class_names = model.class_names
        _calibrate(copy, data, parts, on_images)
        return copy.eval()
    except BaseException:
        copy.close()
        raise


def _calibrate(model: Model, data: Dataset, parts: list[NDArray[np.int64]], on_images: Callable[[int], object]) -> None:
    encoder = {name: value for name, value in model.state_dict().items() if name.startswith("encoder.")}
    entries = [info for info in model.parameters_info() if info.name in encoder and "running_" in info.name]
    # From 0 a batch moves them to a part of its own statistics, however small, without rounding beside 1.
    model.load_state_dict(encoder | {info.name: np.zeros_like(encoder[info.name]) for info in entries})
    before = [np.zeros(info.shape) for info in entries]
    sums = [np.zeros(info.shape) for info in entries]
    model.train()
    for part in parts:
        images = data.read(part)
        model.encode(images, features=False)
        on_images(len(images))
        after = [model._parameter(info).astype(np.float64) for info in entries]
        for total, old, new in zip(sums, before, after, strict=True):
            total += old + (new - old) / _MOMENTUM
        before = after
    encoder = {name: value for name, value in model.state_dict().items() if name.startswith("encoder.")}
    for info, total in zip(entries, sums, strict=True):
        mean = total / len(parts)
        encoder[info.name] = (mean if info.name.endswith("mean") else np.maximum(mean, 0)).astype(np.float32)
    model.load_state_dict(encoder)


def calibration_images(count: int, batch: int = BATCH) -> int:
    """How many of `count` images `calibrate` encodes."""
    return sum(map(len, _calibration(count, batch)))


def _calibration(count: int, batch: int) -> list[NDArray[np.int64]]:
    count = _arrays.whole_number(count, 0, sys.maxsize, "count", "0 or more")
    batch = _arrays.whole_number(batch, 1, 2**63, "batch", "1 or more")
    every = max(1, count // batch)
    parts = min(every, _CALIBRATION)
    return [np.arange(number * every // parts, count, every)[:batch] for number in range(parts)]


def calibrated(model: Model, data: Dataset, batch: int) -> Model:
    """A copy of the model in evaluation mode, calibrated on the data."""
    return _calibrated(model, data, batch, lambda count: None)


@dataclass(frozen=True)
class ProbeResult:
    """Accuracies on the held-out images."""

    linear: float
    nearest_neighbours: float


class Probe:
    """How well classes can be predicted from vectors, fitted on some training images and tested on held-out ones.

    Classes are matched by name.
    """

    #: Of the training images at most so many are encoded.
    MOST = 5000

    def __init__(self, train: Dataset, held_out: Dataset) -> None:
        _arrays.instance(train, Dataset, "train", _DATASET)
        _arrays.instance(held_out, Dataset, "held_out", _DATASET)
        if train.labels is None or held_out.labels is None:
            raise ValueError("expected data sets with labels: a probe predicts them")
        self.train = train if len(train) <= self.MOST else train.subset(np.sort(randperm(len(train), 0)[: self.MOST]))
        self.held_out = numbered_as(held_out, train)

    def judge(self, model: Model) -> ProbeResult:
        """In the model's mode. Raises ImportError without scikit-learn."""
        return self.judged(encode(model, self.train), encode(model, self.held_out))

    def judged(self, train: Floats, held_out: Floats) -> ProbeResult:
        """From the vectors."""
        assert self.train.labels is not None and self.held_out.labels is not None
        sides = (train, self.train.labels, held_out, self.held_out.labels)
        return ProbeResult(linear_probe(*sides), nearest_neighbours(*sides))


def is_worse(accuracy: float, untrained: float, images: int) -> bool:
    """Whether it is below the untrained encoder's by more than two standard errors of an accuracy over so many images."""
    images = _arrays.whole_number(images, 1, 2**63, "images", "1 or more")
    accuracy, untrained = _arrays.number(accuracy, "accuracy"), _arrays.number(untrained, "untrained")
    share = min(max(untrained, 1 / (images + 2)), 1 - 1 / (images + 2))
    return accuracy < untrained - 2 * float(np.sqrt(share * (1 - share) / images))


def prior_distance(y: Floats, squash: str) -> float:
    """The mean over y's numbers of the Wasserstein distance between their values and the uniform distribution on [0,1).

    squash: "sigmoid" where the prior's discriminator sees sigmoid(y), "none" where it sees y.
    """
    if not isinstance(squash, str) or squash not in ("sigmoid", "none"):  # An array would compare each of its numbers.
        raise ValueError(f"squash: expected sigmoid or none, found {_arrays.briefly(squash)}")
    values = _arrays.doubles(_arrays.numbers(y, "y"), ("n", "d"), "y")
    if squash == "sigmoid":
        values = 0.5 * (1 + np.tanh(values / 2))
    uniform = (np.arange(len(values)) + 0.5) / len(values)
    return float(np.abs(np.sort(values, axis=0) - uniform[:, np.newaxis]).mean())


# ---- Parts


def _check_data(model: Model, data: Dataset, what: str = "data") -> None:
    """Before anything is done with its images."""
    _arrays.instance(model, Model, "model")
    _arrays.instance(data, Dataset, what, _DATASET)
    expected, found = model.sizes.image, tuple(data.image_size)
    if found != expected:
        raise ValueError(f"{what}: expected images of {expected}, found {found}; open_dataset(image=...)")
    if not len(data):
        raise ValueError(f"{what}: expected one image at least, found none")


def _batches(order: Labels, size: int) -> Iterator[Labels]:
    """Whole batches alone, as the linked implementation's drop_last; the lot where it does not fill one."""
    size = min(size, len(order))
    for start in range(0, len(order) - size + 1, size):
        yield order[start : start + size]


def _epoch(number: int, results: list[ClassifierResult]) -> Epoch:
    images = sum(result.count for result in results)
    loss = sum(result.loss * result.count for result in results) / images
    return Epoch(number + 1, loss, sum(result.correct for result in results) / images)


def _standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Mean 0 and variance 1 on the training set; what does not vary there becomes 0."""
    if train.dtype == np.float16:  # Whose spread may have no inverse.
        train = train.astype(np.float32)
    train, test = _arrays.middling(train, test)
    mean, deviation = train.mean(0), train.std(0)
    # The mean of equal numbers is not exactly theirs.
    varies = (train.max(0) > train.min(0)) & (deviation > 1e-12)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
    return _arrays.standardised(train - mean, scale), _arrays.standardised(test - mean, scale)
