"""Semi-supervised evaluation: the network trained further, end to end, on the few images that have labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from ..classifier_trainer import ClassifierTrainer
from ..data import Batch, Dataset, Loader
from ..data.adapted import with_classes
from ..evaluation import _check_data
from ..model import Model
from ..trainer import Trainer
from . import vectors

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class FineTuning:
    #: Steps of the classifier; as many of the objective beside them.
    steps: int = 1_000
    batch: int = 64
    #: Of both Adams.
    lr: float = 3e-4

    def __post_init__(self) -> None:
        _arrays.whole_number(self.steps, 1, 2**63, "steps", "1 or more")
        _arrays.whole_number(self.batch, 2, 2**63, "batch", "2 or more")
        if not 0 <= _arrays.number(self.lr, "lr") < math.inf:
            raise ValueError(f"lr: expected a finite value of 0 or more, found {self.lr}")


def labelled_part(labels: Labels, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Numbers of so many images, in order, drawn by chance: equally many of each class, as far as there are."""
    labels = _arrays.integers(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels: expected shape (n,), found {_arrays.shape_text(labels)}")
    seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 or more")
    count = _arrays.whole_number(count, 0, 2**63, "count", "0 or more")
    order = np.random.default_rng(seed).permutation(len(labels))
    ranks = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        ranks[of_class] = np.arange(len(of_class))
    places = np.empty(len(labels), np.int64)
    places[order] = np.arange(len(labels))
    chosen: NDArray[np.int64] = np.sort(np.lexsort((places, ranks))[:count])
    return chosen


def fine_tuned(
    start: Model,
    labelled: Dataset,
    queries: Dataset,
    *,
    unlabelled: Dataset | None = None,
    seed: int = 0,
    settings: FineTuning | None = None,
    on_images: Callable[[int], object] = lambda _: None,
) -> Labels:
    """Labels of the queries, by a copy of `start` whose encoder is trained together with a new classifier.

    labelled: the classifier's images; cross-entropy, and the encoder's weights move (paper, section 4: "semi-supervised").
    unlabelled: between two steps of the classifier one of the Deep InfoMax objective on these, with the architecture's
    default settings. seed: of the classifier's weights, the order of the images, the objective's draws. `start` stays as
    it is. on_images: is called with counts of images, trained on or classified.

    Raises ValueError where fewer than two classes are labelled, or with `unlabelled` if the architecture has no
    discriminator of pairs.
    """
    settings = FineTuning() if settings is None else settings
    _arrays.instance(settings, FineTuning, "settings")
    _check_data(start, labelled, "labelled")
    _check_data(start, queries, "queries")
    if unlabelled is not None:
        _check_data(start, unlabelled, "unlabelled")
    if labelled.labels is None:
        raise ValueError(f"labelled: expected labelled images, found {labelled.name} without labels")
    known = np.unique(labelled.labels)
    if len(known) < 2:
        raise ValueError(f"labelled: expected images of two classes at least, found {len(known)}")
    with ExitStack() as stack:
        model = stack.enter_context(Model(seed, with_classes(start.architecture, len(known))))
        kept = {name: value for name, value in start.state_dict().items() if not name.startswith("classifier.")}
        model.load_state_dict(kept)
        classifier = stack.enter_context(ClassifierTrainer(model, "trained", lr=settings.lr))
        trainer = stack.enter_context(_trainer(model, seed, settings)) if unlabelled is not None else None
        others = _batches(unlabelled, settings.batch, seed) if unlabelled is not None else None
        batches = _batches(labelled, settings.batch, seed)
        for _ in range(settings.steps):
            if trainer is not None and others is not None:
                batch = next(others)
                trainer.step(batch.images)
                on_images(len(batch.images))
            batch = next(batches)
            assert batch.labels is not None
            classifier.step(batch.images, np.searchsorted(known, batch.labels))
            on_images(len(batch.images))
        y = vectors.encoded(model, queries, ["Y"], on_images)["Y"]
        found: Labels = known[model.classify(y).argmax(axis=1)]
    return found


def has_objective(model: Model) -> bool:
    """Whether the architecture has a local or a global discriminator."""
    description = model.architecture.as_dict()
    return description["local"] is not None or description["global"] is not None


def _trainer(model: Model, seed: int, settings: FineTuning) -> Trainer:
    if not has_objective(model):
        raise ValueError("unlabelled: expected an architecture with a local or a global discriminator, found neither")
    if model.architecture.as_dict()["local"] is None:
        return Trainer(model, seed=seed, lr=settings.lr, alpha=1.0, beta=0.0)
    return Trainer(model, seed=seed, lr=settings.lr)


def _batches(data: Dataset, batch: int, seed: int) -> Iterator[Batch]:
    """Shuffled epochs without end."""
    loader = Loader(data, min(batch, len(data)), seed)
    for epoch in itertools.count():
        yield from loader.epoch(epoch)
