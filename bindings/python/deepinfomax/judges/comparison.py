"""The table of the paper's evaluation: rows (networks and what needs none), columns of vectors, judges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import _arrays, evaluation
from .._text import shown
from ..data import Dataset
from ..data.dataset import numbered_as
from ..model import Model
from . import vectors as _vectors
from .fine_tuning import FineTuning, Labels, fine_tuned
from .fitted import JUDGES, SEEDED, Settings, Standardised, predicted
from .vectors import Floats

COLUMNS = ("Y", "fc", "conv")
#: "calibrated" and "untrained" are the same network with the seed's weights: batch norm's running statistics those of
#: the training images (evaluation.calibrate), or 0 and 1.
#: "fine-tuned" and "fine-tuned-dim": the weights trained further on the labelled images (fine_tuning.py), alone or together
#: with the objective on all; "supervised": the untrained network, trained on the labelled images.
ROWS = ("weights", "fine-tuned", "fine-tuned-dim", "calibrated", "untrained", "supervised", "pixels", "pca", "projection")
FINE_TUNED = ("fine-tuned", "fine-tuned-dim", "supervised")
FROZEN = tuple(row for row in ROWS if row not in FINE_TUNED)
#: What figures of FINE_TUNED have as their judge: the network itself.
NETWORK = "network"
#: Judges of more numbers are fitted on fewer images; columns of still more numbers are left out.
LONG, LONG_IMAGES, LONGEST = 4096, 20_000, 16_384


@dataclass
class Figure:
    """What one judge says of one row's column: an accuracy for each network and seed where it depends on them."""

    row: str
    column: str
    #: Of a vector.
    numbers: int
    judge: str
    #: Images that the judge was fitted on.
    images: int
    accuracies: list[float] = field(default_factory=list)
    #: Of the judges' work, all together.
    seconds: float = 0.0
    #: (classes, classes) counts of all runs together: row = label, column = prediction. (0, 0) above 1,000 classes.
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a run; None of one alone."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class LeftOut:
    """A column that no judge has seen."""

    row: str
    column: str
    numbers: int
    reason: str


@dataclass
class Comparison:
    """All figures, in the order of rows, columns and judges."""

    figures: list[Figure]
    left_out: list[LeftOut]

    def figure(self, row: str, column: str, judge: str) -> Figure:
        for found in self.figures:
            if (found.row, found.column, found.judge) == (row, column, judge):
                return found
        raise KeyError(f"{row}, {column}, {judge}")

    def baseline(self, column: str, judge: str) -> Figure | None:
        """The better of the two untrained networks; None where neither was judged."""
        found = [
            one for one in self.figures if one.row in ("calibrated", "untrained") and (one.column, one.judge) == (column, judge)
        ]
        return max(found, key=lambda one: one.mean) if found else None


class Progress:
    """What `evaluate` tells of its way: nothing. To be overridden."""

    def images(self, count: int) -> None:
        """So many more have been encoded."""

    def judged(self, figure: Figure) -> None:
        """One more accuracy."""


def evaluate(
    models: Sequence[Model],
    train: Dataset,
    test: Dataset,
    *,
    columns: Sequence[str] = ("Y", "fc"),
    judges: Sequence[str] = ("logistic", "knn"),
    rows: Sequence[str] = FROZEN,
    seeds: Sequence[int] = (0,),
    settings: Settings | None = None,
    unlabelled: Dataset | None = None,
    fine_tuning: FineTuning | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Fits the judges on the training images' vectors and asks them about the test images. Classes are matched by name.
    Raises ValueError where no test image is of a class that the training images have.

    models: of one architecture, trained from different seeds for instance: the row "weights" has a figure for each, or,
    where the judge depends on a seed, for each with each seed. Untrained networks have their architecture, and the seeds.
    Columns that the architecture does not have, or of more than 16,384 numbers, are in `left_out`.
    Rows of FINE_TUNED are semi-supervised: networks trained on `train`, with fine_tuning's steps, for each model and seed;
    "fine-tuned-dim" with the objective on `unlabelled` beside (None: on `train`). They have no column, and the judge "network".
    """
    _check(models, train, test, columns, judges, rows, seeds)
    if unlabelled is not None:
        evaluation._check_data(models[0], unlabelled, "unlabelled")
    settings, fine_tuning = settings or Settings(), fine_tuning or FineTuning()
    _arrays.instance(settings, Settings, "settings")
    _arrays.instance(fine_tuning, FineTuning, "fine_tuning")
    test = numbered_as(test, train)
    _check_shared(train, test)
    work = _Evaluation(train, test, columns, judges, seeds, settings, progress or Progress())
    found = work.run(models, rows)
    if chosen := [row for row in FINE_TUNED if row in rows]:
        work.fine_tune(models, chosen, unlabelled or train, fine_tuning)
        found = work.comparison()
    return found


@dataclass(frozen=True)
class _Kind:
    """Vectors to be judged."""

    row: str
    column: str
    train: Floats
    test: Floats


class _Evaluation:
    def __init__(
        self,
        train: Dataset,
        test: Dataset,
        columns: Sequence[str],
        judges: Sequence[str],
        seeds: Sequence[int],
        settings: Settings,
        progress: Progress,
    ) -> None:
        assert train.labels is not None and test.labels is not None
        self._train, self._test, self._columns, self._judges = train, test, columns, judges
        self._seeds, self._settings, self._progress = seeds, settings, progress
        self._labels, self._test_labels = train.labels, test.labels
        self._known = np.unique(np.concatenate([train.labels, test.labels]))
        # Of data that is sorted by class, too: some of each.
        self._some = np.sort(np.random.default_rng(0).permutation(len(train))[:LONG_IMAGES])
        self._figures: dict[tuple[str, str, str], Figure] = {}
        self._left_out: list[LeftOut] = []

    def run(self, models: Sequence[Model], rows: Sequence[str]) -> Comparison:
        columns = self._usable(models[0], rows)
        if "weights" in rows:
            for model in models:
                for kind in self._of_network("weights", model, columns):
                    self._judge(kind, self._seeds)
        for row in ("calibrated", "untrained"):
            for seed in self._seeds if row in rows else ():
                with Model(seed, models[0].architecture) as model:
                    if row == "calibrated":
                        evaluation.calibrate(model, self._train, on_images=self._progress.images)
                    for kind in self._of_network(row, model, columns):
                        self._judge(kind, [seed])
        if {"pixels", "pca", "projection"}.intersection(rows):
            self._without_network(rows, _vectors.lengths(models[0]), columns)
        return self.comparison()

    def fine_tune(self, models: Sequence[Model], rows: Sequence[str], unlabelled: Dataset, settings: FineTuning) -> None:
        for row in rows:
            for seed in self._seeds:
                if row == "supervised":
                    with Model(seed, models[0].architecture) as start:
                        self._fine_tune(row, start, seed, None, settings)
                    continue
                for start in models:
                    self._fine_tune(row, start, seed, unlabelled if row == "fine-tuned-dim" else None, settings)

    def _fine_tune(self, row: str, start: Model, seed: int, unlabelled: Dataset | None, settings: FineTuning) -> None:
        began = time.perf_counter()
        found = fine_tuned(
            start, self._train, self._test, unlabelled=unlabelled, seed=seed, settings=settings, on_images=self._progress.images
        )
        figure = Figure(row, "", start.sizes.encoded, NETWORK, len(self._train))
        self._note(self._figures.setdefault((row, "", NETWORK), figure), found, time.perf_counter() - began)

    def comparison(self) -> Comparison:
        order = {row: number for number, row in enumerate(ROWS)}
        figures = sorted(self._figures.values(), key=lambda one: order[one.row])
        return Comparison(figures, sorted(self._left_out, key=lambda one: order[one.row]))

    def _usable(self, model: Model, rows: Sequence[str]) -> list[str]:
        lengths = _vectors.lengths(model)
        # The first of the rows that have columns stands for all: one line, not one a row.
        row = next((row for row in ROWS if row in rows and row not in (*FINE_TUNED, "pixels")), "")
        for column in self._columns if row else ():
            length = lengths.get(column, 0)
            if length == 0:
                self._left_out.append(LeftOut(row, column, 0, "the architecture has none"))
            elif length > LONGEST:
                self._left_out.append(LeftOut(row, column, length, f"more than {LONGEST:,} numbers"))
        return [column for column in self._columns if 0 < lengths.get(column, 0) <= LONGEST]

    def _of_network(self, row: str, model: Model, columns: Sequence[str]) -> Iterator[_Kind]:
        if not columns:
            return
        train = _vectors.encoded(model, self._train, columns, self._progress.images)
        test = _vectors.encoded(model, self._test, columns, self._progress.images)
        for column in columns:
            yield _Kind(row, column, train.pop(column), test.pop(column))

    def _without_network(self, rows: Sequence[str], lengths: dict[str, int], columns: Sequence[str]) -> None:
        length = int(np.prod(self._train.image_size))
        chosen = [row for row in ("pixels", "pca", "projection") if row in rows]
        if length > LONGEST:
            self._left_out += [LeftOut(row, "", length, f"more than {LONGEST:,} pixels") for row in chosen]
            return
        train, test = _vectors.pixels(self._train), _vectors.pixels(self._test)
        if "pixels" in chosen:
            self._judge(_Kind("pixels", "", train, test), self._seeds)
        reductions: list[tuple[str, Callable[..., tuple[Floats, Floats]], Sequence[int]]] = [
            ("pca", _vectors.pca, self._seeds[:1]),
            ("projection", _vectors.projected, self._seeds),
        ]
        for row, function, seeds in reductions:
            for column in columns if row in chosen else ():
                most = min(length, len(train)) if row == "pca" else length
                if lengths[column] >= most:
                    what = "pixels" if most == length else "training images"
                    reason = f"expected fewer numbers than the {most:,} {what}, found {lengths[column]:,}"
                    self._left_out.append(LeftOut(row, column, lengths[column], reason))
                    continue
                for seed in seeds:
                    # PCA is the same for all seeds; judges are not.
                    judged = self._seeds if row == "pca" else [seed]
                    self._judge(_Kind(row, column, *function(train, test, lengths[column], seed)), judged)

    def _judge(self, kind: _Kind, seeds: Sequence[int]) -> None:
        long = kind.train.shape[1] > LONG and len(kind.train) > LONG_IMAGES
        train = kind.train[self._some] if long else kind.train
        labels = self._labels[self._some] if long else self._labels
        standardised = Standardised(train, labels, kind.test)
        for judge in self._judges:
            new = Figure(kind.row, kind.column, train.shape[1], judge, len(train))
            figure = self._figures.setdefault((kind.row, kind.column, judge), new)
            for seed in seeds if judge in SEEDED else seeds[:1]:
                start = time.perf_counter()
                found = predicted(judge, standardised, seed, self._settings)
                self._note(figure, found, time.perf_counter() - start)

    def _note(self, figure: Figure, found: Labels, seconds: float) -> None:
        figure.seconds += seconds
        figure.accuracies.append(float(np.mean(found == self._test_labels)))
        if len(self._known) <= evaluation.CONFUSED:
            if not figure.confusion.size:
                figure.confusion = np.zeros((len(self._known),) * 2, np.int64)
            at = np.searchsorted(self._known, self._test_labels), np.searchsorted(self._known, found)
            np.add.at(figure.confusion, at, 1)
        self._progress.judged(figure)


def _check(
    models: Sequence[Model],
    train: Dataset,
    test: Dataset,
    columns: Sequence[str],
    judges: Sequence[str],
    rows: Sequence[str],
    seeds: Sequence[int],
) -> None:
    if not isinstance(models, Sequence) or not all(isinstance(model, Model) for model in models):
        other = models if not isinstance(models, Sequence) else next(one for one in models if not isinstance(one, Model))
        raise TypeError(f"models: expected a list of models, [model] for one, found {type(other).__name__}")
    for name, listed in ("columns", columns), ("judges", judges), ("rows", rows), ("seeds", seeds):
        if not hasattr(listed, "__len__") or _arrays.members(listed) is None:
            raise TypeError(f"{name}: expected a list, found {_arrays.briefly(listed)}")
    for name, given, known in (("columns", columns, COLUMNS), ("judges", judges, tuple(JUDGES)), ("rows", rows, ROWS)):
        # A text first: an array in the list would compare each of its numbers.
        unknown = [value for value in given if not isinstance(value, str) or value not in known]
        if unknown or not len(given) or len(set(given)) != len(given):
            found = ", ".join(value if isinstance(value, str) else _arrays.briefly(value) for value in given) or "none"
            raise ValueError(f"{name}: expected some of {', '.join(known)}, each once, found {found}")
    for seed in seeds:
        _arrays.whole_number(seed, 0, 2**64, "seeds", "0 or more")
    if len(seeds) == 0 or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected different numbers, one at least, found {list(seeds)}")
    if not models:
        raise ValueError("models: expected one at least")
    if any(model.architecture != models[0].architecture for model in models[1:]):
        raise ValueError("models: expected one architecture, found different ones; evaluate them one by one")
    image = models[0].sizes.image
    for name, data in ("train", train), ("test", test):
        if not isinstance(data, Dataset):
            raise TypeError(f"{name}: expected a Dataset, as open_dataset gives it, found {type(data).__name__}")
        if data.labels is None:
            raise ValueError(f"{name}: expected labelled images, found {data.name} without labels")
        if tuple(data.image_size) != image:
            raise ValueError(f"{name}: expected images of {image}, found {tuple(data.image_size)}; open_dataset(image=...)")
        if len(data) < 2:
            raise ValueError(f"{name}: expected two images at least, found {len(data)}")


def _check_shared(train: Dataset, test: Dataset) -> None:
    """Of test images whose classes no judge has seen every accuracy would be 0, whatever the vectors hold."""
    assert train.labels is not None and test.labels is not None
    if not np.isin(test.labels, train.labels).any():
        raise ValueError(
            f"test: expected images of the classes of train, {_some_classes(train, train.labels)}; found only others, "
            f"{_some_classes(test, test.labels)}"
        )


def _some_classes(data: Dataset, labels: Labels, most: int = 5) -> str:
    known, first = np.unique(labels, return_index=True)
    names = [shown(data.class_name(int(at))) for at in first[:most]]
    return ", ".join(names) + (", .." if len(known) > most else "")
