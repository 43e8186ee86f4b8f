"""The judges: classifiers that are fitted on training vectors and tested on others. The encoder is frozen.

All see vectors standardised on the training vectors: mean 0 and variance 1 of each number; a number that does not vary
there, or no more than rounding makes it, is 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from ..architecture import Architecture
from ..classifier_trainer import ClassifierTrainer
from ..data.order import dataloader_order
from ..model import Model
from ..neighbours import _lengths, _nearest, elected

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """How the judges are fitted."""

    #: Neighbours that vote.
    neighbours: int = 5
    #: Of the L2 penalty of scikit-learn's LogisticRegression, and of its SGDClassifier with the hinge loss.
    logistic_c: float = 1.0
    svm_alpha: float = 1e-4
    #: The paper's MLP: Adam, a tenth of the rate after half of the steps, and again after three quarters.
    mlp_steps: int = 10_000
    mlp_batch: int = 128
    mlp_lr: float = 1e-4

    def __post_init__(self) -> None:
        _arrays.whole_number(self.neighbours, 1, 2**63, "neighbours", "1 or more")
        _arrays.whole_number(self.mlp_steps, 1, 2**63, "mlp_steps", "1 or more")
        _arrays.whole_number(self.mlp_batch, 2, 2**63, "mlp_batch", "2 or more")
        for name in "logistic_c", "svm_alpha", "mlp_lr":
            if not 0 < _arrays.number(getattr(self, name), name) < math.inf:
                raise ValueError(f"{name}: expected a finite number of more than 0, found {getattr(self, name)}")


#: A spread below would be divided by to float32's infinity.
_LEAST = 1e-37


class Standardised:
    """Training and other vectors of mean 0 and variance 1 on the training vectors; labels from 0 on, without gaps."""

    def __init__(self, train: Floats, labels: Any, test: Floats) -> None:
        labels = _arrays.integers(labels)
        train, test = _arrays.numbers(train, "vectors"), _arrays.numbers(test, "vectors")
        if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
            raise ValueError(f"vectors: expected (n, d) and (m, d), found {train.shape} and {test.shape}")
        if labels.shape != (len(train),) or len(train) == 0:
            found = f"{len(labels)}" if labels.ndim == 1 else f"shape {_arrays.shape_text(labels)}"
            raise ValueError(f"labels: expected one for each of {len(train)} vectors, found {found}")
        train, test = _arrays.middling(_arrays.finite(train, "vectors"), _arrays.finite(test, "vectors"))
        mean = train.mean(0, dtype=np.float64)
        # Of numbers that do not vary: the spread that rounding gives them, or none.
        rounding = np.finfo(train.dtype).eps * np.abs(mean) if train.dtype.kind == "f" else 0.0
        if train.dtype == np.float64:  # Whose mean has no digits more than they.
            train, test = train - mean, test - mean
            mean = train.mean(0)
        deviation = train.std(0, dtype=np.float64)
        constant = deviation <= np.maximum(rounding, _LEAST)
        kind = np.float64 if train.dtype == np.float64 else np.float32  # float64's may be beyond float32's range.
        scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation)).astype(kind)
        centre = mean.astype(kind)
        rest = mean - centre  # Of numbers that vary little, what the mean lost when rounded is no little part.
        rest = np.where(np.abs(rest) > 1e-3 * deviation, rest, 0).astype(kind)
        self.train: Floats = _arrays.standardised(train - centre - rest, scale)
        self.test: Floats = _arrays.standardised(test - centre - rest, scale)
        self.classes, self.labels = np.unique(labels, return_inverse=True)


def logistic(vectors: Standardised, seed: int, settings: Settings) -> Labels:
    """Multinomial logistic regression, by lbfgs."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # 300 iterations are enough for the accuracy, if not always for the tolerance.
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=settings.logistic_c, max_iter=300, tol=1e-3).fit(vectors.train, vectors.labels)
    return np.asarray(model.predict(vectors.test), np.int64)


def svm(vectors: Standardised, seed: int, settings: Settings) -> Labels:
    """Linear SVM: hinge loss, one class against the rest, averaged stochastic gradient descent; the seed is of its order."""
    from sklearn.linear_model import SGDClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SGDClassifier(loss="hinge", alpha=settings.svm_alpha, average=True, max_iter=20, random_state=seed % 2**32).fit(
            vectors.train, vectors.labels
        )
    return np.asarray(model.predict(vectors.test), np.int64)


def knn(vectors: Standardised, seed: int, settings: Settings) -> Labels:
    """The vote of the nearest training vectors by L2 distance."""
    return _vote(vectors.train, vectors.labels, vectors.test, settings.neighbours)


def knn_cosine(vectors: Standardised, seed: int, settings: Settings) -> Labels:
    """The vote of the training vectors of the smallest angle."""
    return _vote(_unit(vectors.train), vectors.labels, _unit(vectors.test), settings.neighbours)


def mlp(vectors: Standardised, seed: int, settings: Settings) -> Labels:
    """The paper's: linear to 200, dropout 0.1, batch norm, ReLU, linear. By libdim; the seed is of weights and order."""
    n, length = vectors.train.shape
    batch = min(settings.mlp_batch, n)
    if batch < 2:
        raise ValueError("mlp: expected two training vectors at least: batch norm has no statistics of one")
    with Model(seed, _classifier_of(length, max(2, len(vectors.classes)))) as model:
        with ClassifierTrainer(model, "frozen", lr=settings.mlp_lr) as trainer:
            batches: list[Labels] = []
            for step in range(settings.mlp_steps):
                epoch, number = divmod(step, n // batch)
                if number == 0:  # A last partial batch is dropped.
                    order = dataloader_order(n, seed, epoch)
                    batches = [order[start : start + batch] for start in range(0, n - batch + 1, batch)]
                if step in (settings.mlp_steps // 2, settings.mlp_steps * 3 // 4):
                    trainer.lr *= 0.1
                trainer.step_encoded(vectors.train[batches[number]], vectors.labels[batches[number]])
        found = [model.classify(vectors.test[at : at + 4096]).argmax(1) for at in range(0, len(vectors.test), 4096)]
    return np.concatenate(found).astype(np.int64)


#: By name. Each takes (vectors, seed, settings) and gives the numbers of the classes of `vectors.test`.
JUDGES: dict[str, Callable[[Standardised, int, Settings], Labels]] = {
    "logistic": logistic,
    "knn": knn,
    "knn-cosine": knn_cosine,
    "svm": svm,
    "mlp": mlp,
}
#: Those whose answer depends on the seed.
SEEDED = ("svm", "mlp")


def judge(name: str, train: Floats, labels: Labels, test: Floats, seed: int = 0, settings: Settings | None = None) -> Labels:
    """Labels (m,) of the vectors test (m, d), after a look at train (n, d) and their labels. `name`: of JUDGES."""
    _arrays.one_of(name, tuple(JUDGES), "judge", ", ".join(JUDGES))
    seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 or more")
    settings = Settings() if settings is None else settings
    _arrays.instance(settings, Settings, "settings")
    vectors = Standardised(train, labels, test)
    return predicted(name, vectors, seed, settings) if len(vectors.test) else np.empty(0, np.int64)


def predicted(name: str, vectors: Standardised, seed: int, settings: Settings) -> Labels:
    if len(vectors.classes) == 1:  # There is one answer, and solvers refuse the question.
        return np.full(len(vectors.test), vectors.classes[0], np.int64)
    found: Labels = vectors.classes[JUDGES[name](vectors, seed, settings)]
    return found


# ---- Parts


def _vote(points: Floats, labels: Labels, queries: Floats, k: int) -> Labels:
    """The commonest label among the k nearest; on a tie the one whose nearest member is nearer."""
    if k > len(points):
        raise ValueError(f"neighbours: expected at most the {len(points):,} training vectors, found {k:,}")
    found = np.empty(len(queries), np.int64)
    for part, near in _nearest(points, queries, k, 16_000_000):  # 64 MB of distances.
        found[part] = elected(labels[near])
    return found


def _unit(vectors: Floats) -> Floats:
    lengths = _lengths(vectors)[:, np.newaxis]
    unit: Floats = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def _classifier_of(length: int, classes: int) -> Architecture:
    """A model whose classifier takes vectors of this length. Its encoder, of an image of one pixel, is never run."""
    layers = [
        {"op": "conv", "name": "c0", "out": 1, "kernel": 1},
        {"op": "flatten"},
        {"op": "linear", "name": "l0", "out": length},
    ]
    return Architecture(
        {
            "version": 1,
            "image": {"channels": 1, "height": 1, "width": 1},
            "encoder": {"layers": layers, "features": "c0"},
            "classifier": {"hidden": [200], "dropout": 0.1, "classes": classes},
        }
    )
