"""`dim evaluate`: the paper's evaluation of any weights on any labelled data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import evaluation, judges
from .._files import write_whole
from .._text import counted, cut, rounded, shown, table
from ..data import DataError, Dataset, open_dataset
from ..data.dataset import numbered_as
from ..data.opening import HELD_OUT
from ..judges import Comparison, Figure, FineTuning, Settings, drawing
from ..judges import comparison as _comparison
from ..judges.fine_tuning import has_objective
from ..judges.fitted import SEEDED
from ..model import Model
from ..plots import charts
from ..search import encoder_digest
from . import UsageError, _output
from ._common import (
    DATA,
    add_examples,
    add_general,
    add_untrusted,
    apply_general,
    check_ending,
    check_writable,
    listed_names,
    need,
    opened,
    positive,
    seeds_of,
)
from ._images import add_reading, reading, tell
from ._effects import Effects
from ._last_steps import LastSteps
from ._places import Places
from ._progress import Progress

JUDGES = {
    "logistic": "logistic regression",
    "knn": "{k}-NN",
    "knn-cosine": "{k}-NN cosine",
    "svm": "linear SVM",
    "mlp": "MLP 200",
}
ROWS = {
    "weights": "these weights",
    "fine-tuned": "fine-tuned",
    "fine-tuned-dim": "fine-tuned, with DIM's loss",
    "calibrated": "untrained, calibrated",
    "untrained": "untrained, 0 and 1",
    "supervised": "supervised, from the seed",
    "pixels": "pixels",
    "pca": "PCA",
    "projection": "random projection",
}
#: Rows of a network whose outputs judges are fitted on, and those that have as many components as these.
_ENCODED, _REDUCED = {"weights", "calibrated", "untrained"}, {"pca", "projection"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--weights",
        nargs="+",
        action="extend",
        metavar="FILE",
        default=[],
        help="weights to evaluate; several files of one architecture, trained with different seeds, give mean and deviation "
        "(default: none, only the baselines)",
    )
    add(
        "--architecture",
        metavar="NAME|FILE",
        help="without --weights: the architecture of the untrained network, a preset or a JSON file (default: notebook)",
    )
    add_untrusted(parser)
    add("--data", metavar="PATH", help=f"labelled images: {DATA} (default: scikit-learn's digits)")
    add(
        "--validation",
        action="store_true",
        help="test on every tenth training image instead of the data's test images, for choosing settings",
    )
    add("--train-limit", type=positive, metavar="N", help="fit the judges on only N images, drawn at random")
    add(
        "--labels",
        metavar="N|SHARE",
        help="semi-supervised: use the labels of only N training images, or of a share of them (0.01), as many of each class; "
        "also fine-tunes the network on these, with and without Deep InfoMax's loss on all training images",
    )
    add(
        "--fine-tune-steps",
        type=positive,
        metavar="N",
        help="fine-tuning steps per network and seed, 64 images each (default: 1000)",
    )
    add("--limit", type=positive, metavar="N", help="test on only the first N images")
    add_reading(parser)
    add(
        "--columns",
        default="Y,fc",
        metavar="LIST",
        help="of Y (the vectors), fc (last hidden layer), conv (last map) (default: Y,fc)",
    )
    add(
        "--judges",
        default="logistic,knn",
        metavar="LIST",
        help=f"classifiers to fit, of {', '.join(JUDGES)} (default: logistic,knn)",
    )
    add(
        "--rows",
        metavar="LIST",
        help=f"what to compare, of {','.join(ROWS)} (default: all; without --labels all but "
        f"{', '.join(_comparison.FINE_TUNED)})",
    )
    add(
        "--seeds",
        metavar="LIST",
        help="of untrained networks, projections, SVM, MLP; 0,1,2 gives mean and deviation (default: --seed)",
    )
    add(
        "--neighbours",
        type=positive,
        metavar="K",
        help="neighbours that vote in knn (default: 5, or as many images as there are)",
    )
    add(
        "--mlp-steps",
        type=positive,
        default=10_000,
        metavar="N",
        help="training steps of the MLP, 128 images each (default: 10000)",
    )
    add("--picture", metavar="FILE", help="bars and a confusion matrix: .png, .svg or .pdf (needs matplotlib)")
    add_general(parser, "the one seed, where --seeds names none")
    add_examples(
        parser,
        """
  dim evaluate --weights weights.h5                            the digits: Y and fc, logistic regression and 5-NN
  dim evaluate --weights run/weights.h5 --data /usr/share/datasets/fashion-mnist --seeds 0,1,2 --picture bars.png
  dim evaluate --weights a.h5 b.h5 c.h5 --data photos --columns Y,fc,conv --judges logistic,knn,knn-cosine,svm,mlp
  dim evaluate --weights weights.h5 --data photos --validation --rows weights --judges knn --json
  dim evaluate --weights weights.h5 --data photos --labels 0.05 --seeds 0,1,2
""",
    )


def places(arguments: argparse.Namespace) -> Places:
    found = Places.of(arguments)
    if arguments.architecture is not None and arguments.architecture.endswith(".json"):
        found.reads.append(("--architecture", arguments.architecture))
    return found


def effects(arguments: argparse.Namespace) -> Effects:
    _, fitted_judges, compared = _lists(arguments)
    chosen, rows = set(fitted_judges), set(compared)
    yield "--neighbours", bool(chosen & {"knn", "knn-cosine"}), "without knn or knn-cosine in --judges"
    yield "--mlp-steps", "mlp" in chosen, "without mlp in --judges"
    tuned = arguments.labels is not None or arguments.rows is not None and bool(rows & set(_comparison.FINE_TUNED))
    yield "--fine-tune-steps", tuned, "without --labels, or a row that is fine-tuned in --rows"
    with_columns, fitted = rows & (_ENCODED | _REDUCED), rows & set(_comparison.FROZEN)
    yield "--weights", bool(with_columns or rows & set(_comparison.FINE_TUNED)), "on the row pixels"
    yield "--columns", bool(with_columns), "on the row pixels, and on rows that are fine-tuned"
    yield "--judges", bool(fitted), "on rows that are fine-tuned alone"
    seeded = bool(rows - {"weights", "pixels", "pca"} or chosen & set(SEEDED))
    yield "--seeds", seeded, "on these rows and judges, which draw nothing at random"
    drawn = arguments.train_limit is not None or arguments.labels is not None  # By --seed, whatever --seeds are.
    yield "--seed", arguments.seeds is None or drawn, "with --seeds"
    yield "--seed", seeded or drawn, "on these rows and judges, which draw nothing at random"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    need("scikit-learn", "dim evaluate needs")
    chosen_rows = arguments.rows is not None
    columns, chosen, rows = _lists(arguments)
    if not chosen_rows:
        rows = [row for row in ROWS if arguments.labels is not None or row not in _comparison.FINE_TUNED]
    seeds = seeds_of(arguments)
    if arguments.picture:
        check_ending("--picture", arguments.picture, charts.FORMATS)
        need("matplotlib", "--picture needs", extra="plot")
        check_writable(arguments.picture)
    models = _models(arguments)
    if not arguments.weights:
        rows = [row for row in rows if row not in ("weights", "fine-tuned", "fine-tuned-dim")]
        if not rows:
            raise UsageError("--rows: nothing is left to compare; weights needs --weights")
    if not has_objective(models[0]) and "fine-tuned-dim" in rows:
        if chosen_rows:
            raise UsageError(
                "--rows: fine-tuned-dim needs an architecture with a local or a global discriminator; this has neither"
            )
        rows.remove("fine-tuned-dim")
    train, test, held_out = _data(arguments, models[0])
    everything = train
    if arguments.labels is not None:
        train = _labelled(arguments, train)
    _tell_unseen(arguments, train, test)
    if arguments.neighbours is None:
        arguments.neighbours = min(Settings.neighbours, len(train))
    elif arguments.neighbours > len(train):
        raise UsageError(
            f"--neighbours: expected at most {len(train):,}, the images that the judges are fitted on, found {arguments.neighbours:,}"
        )
    settings = Settings(neighbours=arguments.neighbours, mlp_steps=arguments.mlp_steps)
    fine_tuning = FineTuning(steps=arguments.fine_tune_steps or FineTuning.steps)
    passes = _passes(rows, len(models), len(seeds), len(train), len(test))
    passes += _fine_tuning_passes(rows, len(models), len(seeds), len(train), len(everything), len(test), fine_tuning)
    with Progress(passes, shown=_output.prints_text(arguments)) as bar:
        found = judges.evaluate(
            models,
            train,
            test,
            columns=columns,
            judges=chosen,
            rows=rows,
            seeds=seeds,
            settings=settings,
            unlabelled=everything,
            fine_tuning=fine_tuning,
            progress=_Told(bar),
        )
    report = _report(arguments, found, train, test, held_out, seeds, settings)
    report |= {"labelled_images": len(train), "training_images": len(everything)}
    if set(rows).intersection(_comparison.FINE_TUNED):
        report["fine_tuning"] = vars(fine_tuning)
    steps = LastSteps(arguments.command)

    def draw() -> None:
        write_whole(arguments.picture, _picture(arguments, found, train, test))
        report["picture"] = arguments.picture

    if arguments.picture and found.figures:
        steps.do(draw)
    _output.result(arguments, report, _text(arguments, found, report))
    steps.end()
    return 0


# ---- Arguments


def _lists(arguments: argparse.Namespace) -> tuple[list[str], list[str], list[str]]:
    """Columns, judges and rows; without --rows all of these."""
    columns = listed_names("--columns", arguments.columns, judges.COLUMNS)
    chosen = listed_names("--judges", arguments.judges, tuple(JUDGES))
    return columns, chosen, list(ROWS) if arguments.rows is None else listed_names("--rows", arguments.rows, tuple(ROWS))


def _models(arguments: argparse.Namespace) -> list[Model]:
    if not arguments.weights:
        return [Model(0, arguments.architecture or "notebook")]
    if arguments.architecture is not None:
        raise UsageError("--architecture: is only for untrained networks; the files of --weights name theirs")
    models: list[Model] = []
    known: dict[str, str] = {}
    for path in arguments.weights:
        model = opened(path, None, arguments.untrusted)
        if "encoder" not in model.networks:
            raise UsageError(f"{path}: holds {', '.join(model.networks)}; an encoder is needed")
        if models and model.architecture != models[0].architecture:
            raise UsageError(f"{path}: of another architecture than {arguments.weights[0]}; evaluate them one by one")
        other = known.setdefault(encoder_digest(model), path)
        if len(known) == len(models):  # The same weights twice have no spread.
            raise UsageError(f"--weights: the encoders of {other} and {path} are the same; name each once")
        models.append(model)
    return models


def _data(arguments: argparse.Namespace, model: Model) -> tuple[Dataset, Dataset, bool]:
    """Training and test images, and whether the latter are held out of one set."""
    how = reading(arguments, model)
    options: dict[str, Any] = {
        "image": model.sizes.image,
        "resize": arguments.resize or model.architecture.as_dict()["image"]["resize"],
        "max_pixels": how.max_pixels,
        "skip_damaged": how.skip_damaged,
    }
    source = arguments.data
    test = None if arguments.validation else _test_set(source, options)
    held_out = test is None
    if test is not None:
        train = open_dataset(source, labelled=True, part="train", **options)
    else:
        part = "train" if arguments.validation and _test_set(source, options) is not None else None
        train = open_dataset(source, labelled=True, split="train", part=part, **options)
        # Of fewer images none is held out, which is an error of its own.
        test = train.subset(np.arange(0))
        if len(train) >= HELD_OUT - 1:
            test = open_dataset(source, labelled=True, split="validation", part=part, **options)
        if len(test) < 2:
            raise UsageError(
                f"{train.name}: {counted(len(train) + len(test), 'image')}; {2 * HELD_OUT} at least are needed where every tenth is "
                "held out to test: an accuracy is of two at least"
            )
    for data in (train, test):
        tell(arguments, data)
    test = numbered_as(test, train)
    if arguments.train_limit is not None and arguments.train_limit < len(train):
        order = np.random.default_rng(arguments.seed).permutation(len(train))
        train = train.subset(np.sort(order[: arguments.train_limit]))
    if arguments.limit is not None and arguments.limit < len(test):
        test = test.subset(np.arange(arguments.limit))
    assert train.labels is not None
    if len(train) < 2 or len(test) < 2:
        raise UsageError(
            f"{train.name}: {counted(len(train), 'image')} to fit the judges and {len(test):,} to test; expected at least two of each"
        )
    if len(np.unique(train.labels)) < 2:
        raise UsageError(f"{train.name}: one class, {train.class_name(0)}; expected at least two")
    return train, test, held_out


def _labelled(arguments: argparse.Namespace, train: Dataset) -> Dataset:
    """The part whose labels are used."""
    assert train.labels is not None
    text = arguments.labels
    try:
        share = "." in text or "e" in text.lower()
        if share and not 0 < float(text) < 1:
            raise ValueError
        count = round(float(text) * len(train)) if share else int(text)
    except (ValueError, OverflowError):
        raise UsageError(f"--labels: expected a number of images, or a share between 0 and 1, found {text}") from None
    if not 2 <= count <= len(train):
        raise UsageError(
            f"--labels: expected from 2 to the {len(train):,} training images, found {count:,}" + f" ({text})" * share
        )
    part = train.subset(judges.labelled_part(train.labels, count, arguments.seed))
    assert part.labels is not None
    if len(np.unique(part.labels)) < 2:
        raise UsageError(f"--labels: {text} are of one class; expected at least two")
    return part


def _tell_unseen(arguments: argparse.Namespace, train: Dataset, test: Dataset) -> None:
    """Test images that no judge can be right about."""
    assert train.labels is not None and test.labels is not None
    unseen = np.flatnonzero(~np.isin(test.labels, train.labels))
    if len(unseen):
        _output.note(
            arguments,
            f"{len(unseen):,} of the {len(test):,} test images {'are' if len(unseen) > 1 else 'is'} of classes that none "
            f"of the {len(train):,} labelled training images has, such as "
            f"{shown(test.class_name(int(unseen[0])))}: every judge is wrong about them",
        )


def _test_set(source: str | None, options: dict[str, Any]) -> Dataset | None:
    """The data's own, or None where it has none."""
    try:
        return open_dataset(source, labelled=True, part="test", **options)
    except DataError as error:
        if "no images of the part 'test'" in str(error):
            return None
        raise


# ---- Progress


def _passes(rows: Sequence[str], models: int, seeds: int, train: int, test: int) -> int:
    """Images that are encoded, all together."""
    passes = models * (train + test) if "weights" in rows else 0
    passes += seeds * (evaluation.calibration_images(train) + train + test) if "calibrated" in rows else 0
    return passes + (seeds * (train + test) if "untrained" in rows else 0)


def _fine_tuning_passes(
    rows: Sequence[str], models: int, seeds: int, labelled: int, everything: int, test: int, settings: FineTuning
) -> int:
    """Images that are trained on or classified, all together."""
    own, others = (settings.steps * min(settings.batch, count) for count in (labelled, everything))
    passes = {"fine-tuned": models * (own + test), "fine-tuned-dim": models * (own + others + test), "supervised": own + test}
    return seeds * sum(count for row, count in passes.items() if row in rows)


class _Told(_comparison.Progress):
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._note = ""

    def images(self, count: int) -> None:
        self._bar.advance(count, self._note)

    def judged(self, figure: Figure) -> None:
        self._note = f"{figure.row} {figure.column} {figure.judge}: {100 * figure.accuracies[-1]:.1f}%"
        self._bar.advance(0, self._note)


# ---- Results


def _report(
    arguments: argparse.Namespace,
    found: Comparison,
    train: Dataset,
    test: Dataset,
    held_out: bool,
    seeds: Sequence[int],
    settings: Settings,
) -> dict[str, Any]:
    return {
        "data": train.name,
        "training_images": len(train),
        "test_images": len(test),
        "held_out": held_out,
        "classes": _classes(train, test),
        "weights": [str(path) for path in arguments.weights],
        "seeds": list(seeds),
        "settings": vars(settings),
        "figures": [
            {
                "row": one.row,
                "column": one.column or None,
                "numbers": one.numbers,
                "judge": one.judge,
                "images": one.images,
                "accuracy": one.mean,
                "deviation": one.deviation,
                "accuracies": one.accuracies,
                "seconds": round(one.seconds, 2),
                "confusion": one.confusion.tolist() if one.confusion.size else None,
            }
            for one in found.figures
        ],
        "left_out": [vars(one) | {"column": one.column or None} for one in found.left_out],
        "gains": _gains(found),
        "picture": None,
    }


def _gains(found: Comparison) -> list[dict[str, Any]]:
    """How far the weights are above the better untrained network."""
    gains = []
    for one in found.figures:
        baseline = found.baseline(one.column, one.judge)
        if one.row == "weights" and baseline is not None:
            gains.append({"column": one.column, "judge": one.judge, "over": baseline.row, "gain": one.mean - baseline.mean})
    return gains


def _classes(train: Dataset, test: Dataset) -> list[str]:
    """Names of all classes that occur, in the order of the confusion matrices."""
    assert train.labels is not None and test.labels is not None
    names: dict[int, str] = {}
    for data, labels in ((test, test.labels), (train, train.labels)):
        values, first = np.unique(labels, return_index=True)
        names |= {int(value): data.class_name(int(at)) for value, at in zip(values, first, strict=True)}
    return [names[label] for label in sorted(names)]


def _judge_names(arguments: argparse.Namespace) -> dict[str, str]:
    return {name: text.format(k=arguments.neighbours) for name, text in JUDGES.items()} | {_comparison.NETWORK: "network"}


def _row_names(arguments: argparse.Namespace) -> dict[str, str]:
    paths = arguments.weights
    named = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more" if paths else ""
    return ROWS | ({"weights": named} if named else {})


def _text(arguments: argparse.Namespace, found: Comparison, report: dict[str, Any]) -> str:
    names, rows = _judge_names(arguments), _row_names(arguments)
    chosen = list(dict.fromkeys(one.judge for one in found.figures))
    cells = [["", "", "numbers", *(names[judge] for judge in chosen)]]
    by_place = {(one.row, one.column, one.judge): one for one in found.figures}
    for row, column in dict.fromkeys((one.row, one.column) for one in found.figures):
        figures = [by_place.get((row, column, judge)) for judge in chosen]
        numbers = next(f"{figure.numbers:,}" for figure in figures if figure is not None)
        cells.append([shown(rows[row]), column, numbers, *("" if figure is None else _accuracy(figure) for figure in figures)])
    kind = "held out of them" if report["held_out"] else "of the test set"
    lines = [
        f"{counted(report['training_images'], 'training image')} of {shown(report['data'])}, {report['test_images']:,} {kind}; "
        f"accuracy in %",
        *table(cells, left=2),
    ]
    if report["labelled_images"] != report["training_images"]:
        lines.append(f"labels of only {report['labelled_images']:,} training images")
    fewer = {one.images for one in found.figures} - {report["labelled_images"]}
    if fewer:
        lines.append(f"of more than {_comparison.LONG:,} numbers: judges fitted on {max(fewer):,} images")
    for one in found.left_out:
        lines.append(f"left out: {' '.join(filter(None, (shown(rows[one.row]), one.column)))}: {one.reason}")
    for gain in report["gains"]:
        over = ROWS[gain["over"]]
        points = f"{rounded(100 * gain['gain'], 1):+.1f} points"
        lines.append(f"{gain['column']}, {names[gain['judge']]}: {points} over the better untrained network ({over})")
    if len(report["seeds"]) == 1 and any(judge in SEEDED or judge == _comparison.NETWORK for judge in chosen):
        lines.append("one seed: --seeds 0,1,2 gives deviations")
    if report["picture"]:
        lines.append(f"picture: {shown(report['picture'])}")
    return "\n".join(lines)


def _accuracy(figure: Figure) -> str:
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.1f}"
    return f"{100 * figure.mean:.1f}{deviation}"


def _picture(arguments: argparse.Namespace, found: Comparison, train: Dataset, test: Dataset) -> bytes:
    rows = _row_names(arguments)
    rows["weights"] = cut(rows["weights"], 24)
    file_format = arguments.picture.lower().rpartition(".")[2]
    return drawing.picture(found, rows, _judge_names(arguments), _classes(train, test), file_format)
