"""Training the classifier on labelled images, and how well it does."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _library
from ._library import check, library
from ._run import Run
from ._text import counted
from .fitting import Callback, FittedEpoch, Steps, fit
from .model import Model

EncoderUse = Literal["frozen", "frozen_batch_statistics", "trained"]
ClassifierLoss = Literal["logits", "softmax_twice"]
_ENCODER_USES: tuple[EncoderUse, ...] = ("frozen", "frozen_batch_statistics", "trained")  # dim_encoder_use
LOSSES: tuple[ClassifierLoss, ...] = ("logits", "softmax_twice")  # dim_classifier_loss

#: Classes up to which there are confusion matrices, whose size is their square: labels may be numbers of things.
CONFUSED = 1_000


@dataclass(frozen=True)
class ClassifierResult:
    """How the classifier did on a batch of `count` images, before the update."""

    #: Mean over the batch.
    loss: float
    #: Images whose largest probability is their label's.
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """nan of no images."""
        return self.correct / self.count if self.count else math.nan


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How the classifier does on labelled images. The sum of two is that of both sets of images together."""

    loss: float
    #: (classes, classes) counts: row = label, column = prediction. (0, 0) above 1,000 classes.
    confusion: NDArray[np.int64]
    #: Images, and those of them whose largest probability is their label's; by default the confusion matrix's.
    correct: int = -1
    count: int = -1

    def __post_init__(self) -> None:
        counts = _arrays.integers(self.confusion, "confusion")
        if counts.ndim != 2 or len(counts) != counts.shape[1]:
            raise ValueError(f"confusion: expected shape (classes,classes), found {_arrays.shape_text(counts)}")
        object.__setattr__(self, "confusion", counts)
        if self.correct < 0 or self.count < 0:
            object.__setattr__(self, "correct", int(self.confusion.trace()))
            object.__setattr__(self, "count", int(self.confusion.sum()))

    @property
    def accuracy(self) -> float:
        """nan of no images."""
        return self.correct / self.count if self.count else math.nan

    @property
    def precision(self) -> NDArray[np.float64]:
        """(classes,): of the images predicted as each class, the share that is of it; nan for a class never predicted. (0,)
        without a confusion matrix."""
        predicted = self.confusion.sum(0)
        shares = np.full(len(predicted), np.nan)
        np.divide(self.confusion.diagonal(), predicted, out=shares, where=predicted > 0)
        return shares

    def __add__(self, other: Evaluation) -> Evaluation:
        if not isinstance(other, Evaluation):
            return NotImplemented
        if self.confusion.shape != other.confusion.shape:
            found = f"{self.confusion.shape} and {other.confusion.shape}"
            raise ValueError(f"expected evaluations of equally many classes, found confusion matrices of {found}")
        count = self.count + other.count
        total = sum(one.loss * one.count for one in (self, other) if one.count)  # Of no images the loss may be nan.
        return Evaluation(
            total / count if count else math.nan, self.confusion + other.confusion, self.correct + other.correct, count
        )


@dataclass(frozen=True)
class ClassifierOptions:
    """The options of a ClassifierTrainer, with its current learning rate."""

    encoder: EncoderUse
    loss: ClassifierLoss
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float


class ClassifierTrainer(Run):
    """Trains a model's classifier, alone or together with the encoder, as PyTorch would (docs/training.md).

    Images are taken as `Model.encode` takes them, labels as integers from 0 in an array, a list or a pandas Series, one for
    each image. A step
    needs two images at least: batch norm has no statistics of one.

    An error leaves model and optimiser as they were. `NotFinite` reports a loss or a gradient that has become NaN or
    infinite, before it reaches the weights.
    """

    _PREFIX = "dim_classifier_trainer"

    def __init__(
        self,
        model: Model,
        encoder: EncoderUse = "frozen",
        loss: ClassifierLoss = "logits",
        lr: float = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """The implementation that the notebook links to is encoder="frozen_batch_statistics", loss="softmax_twice".

        encoder: "frozen" uses it in evaluation mode, "frozen_batch_statistics" in training mode (its weights stay, its
        running statistics move), "trained" trains it together with the classifier.
        loss: cross-entropy of the "logits", or of the softmax output taken as logits ("softmax_twice").
        lr, betas, eps, weight_decay: as of torch.optim.Adam.
        """
        _arrays.instance(model, Model, "model")
        options = _library.ClassifierOptions()
        check(library().dim_classifier_options_init(byref(options), ctypes.sizeof(options)))
        options.encoder = _arrays.one_of(encoder, _ENCODER_USES, "encoder")
        options.loss = _arrays.one_of(loss, LOSSES, "loss")
        options.learning_rate = _arrays.number(lr, "lr")
        options.adam_beta1, options.adam_beta2 = _arrays.pair(betas, "betas")
        options.epsilon = _arrays.number(eps, "eps")
        options.weight_decay = _arrays.number(weight_decay, "weight_decay")
        self._start(model, library().dim_classifier_trainer_create, model._handle.pointer, byref(options))

    # ---- Steps

    def step(self, images: Any, labels: Any) -> ClassifierResult:
        """One step of Adam. Returns how the classifier did on the batch before it."""
        x, single = self.model._images(images)
        return self._step("step", x, labels, single)

    def step_encoded(self, y: Any, labels: Any) -> ClassifierResult:
        """The same from y (n, encoded) that `Model.encode` gave: encodes images only once if the encoder is "frozen"."""
        vectors, single = _arrays.vectors(y, (self.model.sizes.encoded,))
        return self._step("step_encoded", vectors, labels, single)

    def _step(self, function: str, inputs: NDArray[np.float32], labels: Any, single: bool) -> ClassifierResult:
        classes = _arrays.labels(labels, len(inputs), single)
        found = _library.ClassifierResult()
        self._call(function, _arrays.pointer(inputs), _labels_pointer(classes), len(inputs), byref(found))
        return ClassifierResult(found.loss, found.correct, found.count)

    def evaluate(self, images: Any, labels: Any) -> Evaluation:
        """Encoder and classifier in evaluation mode on one image or more; nothing changes. Above 1,000 classes without a confusion
        matrix."""
        classes = self.model.sizes.classes
        confusion = np.zeros((classes, classes) if classes <= CONFUSED else (0, 0), np.int64)
        found = self._evaluated(images, labels, confusion)
        return Evaluation(found.loss, confusion, found.correct, found.count)

    def _evaluated(self, images: Any, labels: Any, confusion: NDArray[np.int64] | None = None) -> ClassifierResult:
        """`confusion` is filled, if it has room."""
        x, single = self.model._images(images)
        classes = _arrays.labels(labels, len(x), single)
        found = _library.ClassifierResult()
        counts = None
        if confusion is not None and confusion.size:
            counts = confusion.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))
        self._call("evaluate", _arrays.pointer(x), _labels_pointer(classes), len(x), byref(found), counts)
        return ClassifierResult(found.loss, found.correct, found.count)

    def fit(
        self,
        dataset: Any,
        epochs: int = 10,
        callbacks: Sequence[Callback] | Callback | None = (),
        *,
        batch: int = 128,
        seed: int = 0,
        validation: Any = None,
    ) -> list[FittedEpoch[ClassifierResult]]:
        """As `Trainer.fit`, on labelled images: a path, a data set, (images, labels), or batches of both, of two images at least.

        The classes of a path or data set become the model's by name, in `dataset` and in `validation`; DataError for images of
        a class that `Model.class_names` does not have (set it to [] to begin with other classes). A model without names takes
        those of `dataset`. Labels in arrays and batches, and those of `step` and `evaluate`, are numbers of the model's classes.
        """
        run = Steps(self.model, True, lambda: self.steps, self.step, self._evaluated, _mean)
        return fit(run, dataset, epochs, callbacks, batch, seed, validation)

    # ---- Options

    @property
    def options(self) -> ClassifierOptions:
        """As they are now, the learning rate included."""
        o = _library.ClassifierOptions(struct_size=ctypes.sizeof(_library.ClassifierOptions))
        self._call("get_options", byref(o))
        adam = ((o.adam_beta1, o.adam_beta2), o.epsilon, o.weight_decay)
        return ClassifierOptions(_ENCODER_USES[o.encoder], LOSSES[o.loss], o.learning_rate, *adam)

    @property
    def lr(self) -> float:
        """The learning rate; may be set between steps."""
        return self.options.lr

    @lr.setter
    def lr(self, rate: float) -> None:
        self._call("set_learning_rate", _arrays.number(rate, "lr"))

    def __repr__(self) -> str:
        if self._handle.closed:
            return "<deepinfomax.ClassifierTrainer, closed>"
        options = self.options
        return (
            f"<deepinfomax.ClassifierTrainer, encoder {options.encoder}, {options.loss}, after {counted(self.steps, 'step')}>"
        )


def _mean(results: Sequence[tuple[ClassifierResult, int]]) -> ClassifierResult:
    count = sum(n for _, n in results)
    return ClassifierResult(
        sum(result.loss * n for result, n in results) / count, sum(result.correct for result, _ in results), count
    )


def _labels_pointer(labels: NDArray[np.int64]) -> Any:
    """The address of contiguous int64, to be used while the array lives."""
    return ctypes.cast(labels.ctypes.data, ctypes.POINTER(ctypes.c_int64))
