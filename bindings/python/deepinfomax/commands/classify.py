"""`dim classify`: how well an encoder serves a classifier, beside an untrained one, training end to end, and pixels."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import evaluation
from .._files import write_whole
from .._text import class_names, counted, csv_text, shell, shown, table
from ..architecture import Architecture
from ..classifier_trainer import Evaluation
from ..data import adapted
from ..data import Dataset
from ..data.dataset import numbered_by
from ..errors import NotFinite
from ..evaluation import Epoch, Floats, Labels, Settings
from ..model import Model, other_format
from ..plots import charts
from . import UsageError, _end_to_end, _output, _vectors
from ._common import (
    add_architecture,
    add_data,
    add_examples,
    number,
    add_general,
    add_untrusted,
    apply_general,
    check_csv,
    check_ending,
    check_room,
    check_writable,
    claimed,
    listed_names,
    make_folder,
    natural,
    need,
    open_data,
    open_model,
    positive,
    seeds_of,
)
from ._images import reading, tell
from ._effects import Effects
from ._last_steps import LastSteps
from ._places import Places
from ._progress import Progress

#: Labels below it are classes as they are; larger numbers only where there are nearly as many classes.
_FEW = 10
ARMS = ("frozen", "untrained", "end-to-end", "pixels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_data(parser, "scikit-learn's digits")
    add(
        "--weights",
        metavar="FILE",
        help="weights file or checkpoint of the encoder to evaluate (default: none, only untrained)",
    )
    add_architecture(parser)
    add_untrusted(parser)
    add("--arms", default=",".join(ARMS), metavar="LIST", help=f"what to compare (default: {','.join(ARMS)})")
    add("--seeds", metavar="LIST", help="repeat for each of these seeds, 0,1,2 for instance, and print the mean")
    add("--predict", metavar="PATH", help="images to label with the trained classifier; with --epochs 0 no --data is needed")
    training = parser.add_argument_group("training of the classifier; defaults are the original's")
    add = training.add_argument
    add(
        "--epochs",
        type=natural,
        default=100,
        metavar="N",
        help="passes over the vectors; 0 = use the classifier of --weights unchanged (default: 100)",
    )
    add(
        "--end-to-end-epochs",
        type=positive,
        default=3,
        metavar="N",
        help="passes over the images, which take as long as training the encoder (default: 3)",
    )
    add("--batch", type=positive, default=128, metavar="N", help="images per step, at least 2 (default: 128)")
    add("--lr", type=number, default=1e-4, metavar="X", help="learning rate of Adam (default: 1e-4)")
    add(
        "--loss",
        choices=("logits", "softmax-twice"),
        default="logits",
        help="cross-entropy of the logits or, as in the original, of the softmax output (default: logits)",
    )
    files = parser.add_argument_group("output files")
    files.add_argument("--picture", metavar="FILE", help="the confusion matrices: .png, .svg or .pdf (needs matplotlib)")
    files.add_argument("--predictions", metavar="FILE", help="write the labels of --predict as CSV instead of printing them")
    files.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="save the end-to-end training there, also on Ctrl-C; the same command then continues it",
    )
    files.add_argument(
        "--checkpoint-every", type=positive, default=1, metavar="K", help="epochs between two checkpoints (default: 1)"
    )
    files.add_argument("--save", metavar="FILE", help="weights file with the trained classifier")
    add_general(parser, "the split in 90 and 10 percent, untrained weights, order of the batches")
    add_examples(
        parser,
        """
  dim classify                                            the digits: an untrained encoder, end to end, pixels
  dim classify --weights weights.h5 --seeds 0,1,2 --picture confusion.png
  dim classify --weights weights.h5 --data cifar-10-binary.tar.gz --split train --arms frozen,untrained
  dim classify --arms end-to-end --end-to-end-epochs 100 --data cifar-10-binary.tar.gz --split train --checkpoint run
  dim classify --weights weights.h5 --predict photos --save classifier.h5
  dim classify --weights classifier.h5 --epochs 0 --predict photos       without training again
""",
    )


def places(arguments: argparse.Namespace) -> Places:
    found = Places.of(arguments)
    if arguments.checkpoint is not None:
        found.folders.append(("--checkpoint", arguments.checkpoint, ("end-to-end-*.h5", "end-to-end-*.json")))
    return found


def effects(arguments: argparse.Namespace) -> Effects:
    arms = set(listed_names("--arms", arguments.arms, ARMS))
    trains, alone = arguments.epochs > 0, arguments.epochs == 0 and arguments.data is None and arguments.predict is not None
    end_to_end = trains and "end-to-end" in arms
    yield from ((option, not alone, "without --data") for option in ("--arms", "--seed", "--seeds", "--limit", "--split"))
    yield "--epochs", not trains or bool(arms - {"end-to-end", "pixels"}), "on the arms end-to-end and pixels alone"
    for option in "--lr", "--batch", "--loss":
        yield option, trains and arms != {"pixels"}, "with --epochs 0" if not trains else "on the arm pixels"
    for option in "--end-to-end-epochs", "--checkpoint", "--checkpoint-every":
        yield option, end_to_end, "with --epochs 0" if not trains else "without the arm end-to-end"
    yield "--checkpoint-every", arguments.checkpoint is not None, "without --checkpoint"
    yield "--weights", not trains or "frozen" in arms, "without the arm frozen"
    yield "--seed", arguments.seeds is None, "with --seeds"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    arms, seeds = _checked(arguments)
    judged = None if arguments.weights is None else open_model(arguments)
    base = Model(0, architecture=arguments.architecture or "notebook") if judged is None else judged
    unlabelled = None if arguments.predict is None else tell(arguments, reading(arguments, base).open(arguments.predict))
    if arguments.epochs == 0 and unlabelled is not None and arguments.data is None:
        return _predict_alone(arguments, base, unlabelled)
    data = _with_classes(open_data(arguments, base, labelled=True), base, kept=arguments.epochs == 0)
    assert data.classes is not None
    if arguments.epochs == 0:
        _check_trained(arguments, base)
    names = data.classes
    architecture = _architecture(base, len(names), kept=arguments.epochs == 0)
    _check_picture(arguments, architecture)
    if arguments.checkpoint is not None:
        make_folder(arguments.checkpoint)
        check_room(arguments.checkpoint, _end_to_end.needed(architecture), "a checkpoint, and the next one while it is written")

    if arguments.save is not None:
        with Model(0, architecture=architecture) as model:
            weights = sum(info.nbytes for info in model.parameters_info())
        check_room(Path(arguments.save).parent, weights, f"the weights, {arguments.save}")

    comparisons = [Comparison(arguments, data, architecture, judged, seed) for seed in seeds]
    runs: list[Run] = []
    overflow = None
    with nullcontext() if arguments.checkpoint is None else claimed(arguments.checkpoint):
        if "end-to-end" in arms:
            for comparison in comparisons:
                comparison.check_checkpoint()
        try:
            for comparison in comparisons:
                for run in comparison.runs(arms):
                    runs.append(run)
        except _end_to_end.Stopped as stopped:
            return _stopped(arguments, stopped)
        except NotFinite as error:
            overflow = f"{error.message}; start again with a smaller --lr"
    if overflow is not None and not runs:
        _output.error(arguments.command, overflow)
        return 1
    models = [run for run in runs if run.model is not None]
    report = _report(arguments, data, names, runs)
    steps = LastSteps(arguments.command)

    def save() -> None:
        saved = _model(models[0])
        saved.class_names = class_names(names, saved.sizes.classes)  # The notebook has ten, also where the data has fewer.
        saved.save(arguments.save)
        report["saved"] = {"file": arguments.save, "arm": models[0].arm, "seed": models[0].seed}

    def predict() -> None:
        assert unlabelled is not None
        answers = names if arguments.epochs else _answers(base, names)
        found = _predict(_model(models[0]), unlabelled, answers, _output.prints_text(arguments))
        _keep_predictions(arguments, report, found)

    if arguments.save:
        steps.do(save)
    if arguments.picture:
        steps.do(lambda: _draw(arguments.picture, [run for run in models if run.seed == seeds[0]], names))
    if unlabelled is not None:
        steps.do(predict)
    _output.result(arguments, report, _text(report))
    if overflow is not None:
        _output.error(arguments.command, f"not all of it: {overflow}")
    steps.end()
    return 0 if overflow is None else 1


def _check_picture(arguments: argparse.Namespace, architecture: Architecture) -> None:
    classes = (architecture.as_dict()["classifier"] or {"classes": 0})["classes"]
    if arguments.picture and classes > evaluation.CONFUSED:
        most = f"{evaluation.CONFUSED:,}"
        raise UsageError(f"--picture: confusion matrices have at most {most} classes, the classifier has {classes:,}")


def _predict_alone(arguments: argparse.Namespace, model: Model, images: Dataset) -> int:
    """`--epochs 0 --predict` without --data: no labelled images, so nothing is compared; the weights may name classes."""
    _needs(arguments, model, ("classifier",))
    _check_trained(arguments, model)
    names = _answers(model)
    report: dict[str, Any] = {"data": None, "classes": names, "weights": arguments.weights}
    steps = LastSteps(arguments.command)
    found = _predict(model, images, names, _output.prints_text(arguments))
    steps.do(lambda: _keep_predictions(arguments, report, found))
    unnamed = "" if model.class_names else "; classes by number: --data names them"
    text = [
        f"{counted(len(images), 'image')} of {shown(images.name)}, weights {shown(arguments.weights)}{unnamed}",
        *_prediction_lines(report),
    ]
    _output.result(arguments, report, "\n".join(text))
    steps.end()
    return 0


def _answers(model: Model, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a classifier that stays as it is may answer, whatever `names` the data beside it has: its own names; of one without,
    those of the data or, where these are numbers, all numbers of its classes."""
    numbers = tuple(map(str, range(model.sizes.classes)))
    return tuple(model.class_names) or (numbers if names == numbers[: len(names)] else names)


def _check_trained(arguments: argparse.Namespace, model: Model) -> None:
    """dim train leaves the classifier as the seed made it: its answers are chance. Training moves its running statistics."""
    state = model.state_dict()
    first = {"running_mean": 0, "running_var": 1}
    found = [
        (state[name], first[name.rpartition(".")[2]])
        for name in state
        if name.startswith("classifier.") and name.rpartition(".")[2] in first
    ]
    if found and all((np.asarray(values) == start).all() for values, start in found):
        raise UsageError(
            f"{arguments.weights}: its classifier was never trained; train it on labelled images first: dim classify --data "
            f"IMAGES --weights {shell(str(arguments.weights))} --save classifier.h5"
        )


def _keep_predictions(arguments: argparse.Namespace, report: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """In the file that is named for them, else in the report: also where that file cannot be written."""
    report["predictions"] = found
    if arguments.predictions:
        header = ("image", "label", "probability")
        rows = [[prediction[key] for key in header] for prediction in found]
        write_whole(arguments.predictions, csv_text(header, rows).encode())
        del report["predictions"]


def _stopped(arguments: argparse.Namespace, stopped: _end_to_end.Stopped) -> int:
    found = {"status": "interrupted", "step": stopped.step, "checkpoint": arguments.checkpoint}
    text = f"interrupted after step {stopped.step}, which is saved in {arguments.checkpoint}; the same command continues from there"
    _output.result(arguments, found, text, indent=None)
    return stopped.exit_code


def _checked(arguments: argparse.Namespace) -> tuple[list[str], list[int]]:
    """Arms and seeds, after a look at all that can be known to be wrong."""
    arms = listed_names("--arms", arguments.arms, ARMS)
    seeds = seeds_of(arguments)
    if arguments.batch < 2:
        raise UsageError("--batch: expected 2 at least: batch norm has no statistics of one image")
    if not (math.isfinite(arguments.lr) and arguments.lr >= 0):
        raise UsageError(f"--lr: expected a finite number of at least 0, found {arguments.lr}")
    if arguments.epochs == 0:
        if arguments.weights is None:
            raise UsageError("--epochs 0: uses the classifier of --weights; name them")
        if arguments.save:
            raise UsageError("--save: --epochs 0 trains no classifier to save")
        if arguments.predict and arguments.data is None and arguments.picture:
            raise UsageError("--picture: a confusion matrix needs labelled images; name them with --data")
        arms = [arm for arm in arms if arm in ("frozen", "pixels")]
    if arguments.weights is None:
        arms = [arm for arm in arms if arm != "frozen"]
    if (arguments.predict or arguments.save) and arms == ["pixels"]:
        raise UsageError(f"--{'predict' if arguments.predict else 'save'}: needs an arm with a classifier")
    if not arms:
        raise UsageError("--arms: nothing is left to compare; frozen needs --weights")
    if arguments.predictions and not arguments.predict:
        raise UsageError("--predictions: needs --predict")
    if arguments.picture:
        check_ending("--picture", arguments.picture, charts.FORMATS)
        need("matplotlib", "--picture needs", extra="plot")
    if arguments.predictions:
        check_csv("--predictions", arguments.predictions)
    if arguments.save and (other := other_format(arguments.save, ".h5 or .safetensors")):
        raise UsageError(f"--save: {other}")
    for path in (arguments.picture, arguments.predictions, arguments.save):
        if path is not None:
            check_writable(path, weights=path == arguments.save)
    return arms, seeds


def _with_classes(data: Dataset, model: Model, *, kept: bool) -> Dataset:
    """The data with labels that a classifier takes, from 0 on, and a name for each.

    kept: the model's classifier stays as it is: labels become its classes, by their names or, where it has none, their numbers.
    """
    assert data.labels is not None
    known = np.unique(data.labels)
    names = [data.class_name(int(np.argmax(data.labels == label))) for label in known]
    most = model.sizes.classes if kept else adapted.MOST_CLASSES
    if len(known) > most:
        raise UsageError(f"{data.name}: {len(known):,} classes; the classifier has {most:,} at most")
    if len(known) < 2:
        raise UsageError(f"{data.name}: one class, {names[0]}; expected at least two")
    if len(data) < 10:
        raise UsageError(f"{data.name}: {counted(len(data), 'image')}; ten at least are needed, to train and to test")
    found = data.subset(np.arange(len(data)))
    there = model.class_names if kept else []
    if there and data.classes is not None and there[: len(data.classes)] != class_names(data.classes):
        found = numbered_by(data, there, "the classifier of --weights")
    elif kept and not there and data.classes is not None and all(_is_number(name, most) for name in names):
        numbers = np.array([int(name) for name in names], np.int64)
        found.labels = numbers[np.searchsorted(known, data.labels)]
        found.classes = tuple(map(str, range(int(numbers.max()) + 1)))
    elif known[0] >= 0 and known[-1] < (most if kept else max(_FEW, 2 * len(known))):
        # As they are, so that a saved classifier's classes stay.
        count = int(known[-1]) + 1
        found.classes = tuple(map(str, range(count))) if data.classes is None else data.classes[:count]
    else:
        found.labels = np.searchsorted(known, data.labels).astype(np.int64)
        found.classes = tuple(names)
    return found


def _is_number(name: str, below: int) -> bool:
    """Whether a class's name is a label in an array: data with the labels 0 and 9 has two classes of these names."""
    return name.isdecimal() and name.isascii() and len(name) < 8 and str(int(name)) == name and int(name) < below


def _architecture(base: Model, classes: int, *, kept: bool) -> Architecture:
    """The base's, with a classifier of so many classes. The notebook's has ten, and keeps them where they suffice."""
    architecture = base.architecture
    if kept or (adapted.is_notebook(architecture) and classes <= base.sizes.classes):
        return architecture
    return adapted.with_classes(architecture, classes)


# ---- The comparison


@dataclass
class Run:
    """One arm with one seed."""

    arm: str
    seed: int
    #: Of the classifier on the test images; None for pixels, which have none.
    test: Evaluation | None
    history: list[Epoch]
    #: Accuracies on the test images; None where scikit-learn is missing.
    linear: float | None
    knn: float | None
    model: Model | None


class Comparison:
    """The arms on one split of the data."""

    def __init__(
        self, arguments: argparse.Namespace, data: Dataset, architecture: Architecture, judged: Model | None, seed: int
    ) -> None:
        assert data.labels is not None
        self.architecture = architecture
        self.arguments, self.data, self.judged, self.seed = arguments, data, judged, seed
        self.labels = data.labels
        self.train, self.test = evaluation.split(len(data), seed)
        loss: Any = arguments.loss.replace("-", "_")
        batch = min(arguments.batch, len(self.train))
        self.settings = Settings(arguments.epochs, batch, arguments.lr, loss, seed)
        self.shown = _output.prints_text(arguments)

    def runs(self, arms: list[str]) -> Iterator[Run]:
        """One after the other, as they are asked for."""
        makers = {"frozen": self._frozen, "untrained": self._untrained, "end-to-end": self._end_to_end, "pixels": self._pixels}
        return (makers[arm]() for arm in ARMS if arm in arms)

    def check_checkpoint(self) -> None:
        if (kept := self._kept()) is not None:
            kept.check()

    def _frozen(self) -> Run:
        assert self.judged is not None
        model = self._new()
        kept = ("encoder",) if self.arguments.epochs else ("encoder", "classifier")
        _needs(self.arguments, self.judged, kept)
        state = self.judged.state_dict()
        model.load_state_dict({name: value for name, value in state.items() if name.split(".")[0] in kept})
        return self._on_vectors("frozen", model)

    def _untrained(self) -> Run:
        """Batch norm knows the data, as `dim evaluate` has it: else nearly every training would look good beside it."""
        batch = min(32, len(self.train))
        self._say(f"untrained: batch norm is calibrated on {counted(len(self.train), 'image')}")
        return self._on_vectors("untrained", evaluation.calibrated(self._new(), self.data.subset(self.train), batch))

    def _new(self) -> Model:
        return Model(self.seed, architecture=self.architecture)

    def _on_vectors(self, arm: str, model: Model) -> Run:
        self._say(f"{arm}: encoding {counted(len(self.data), 'image')}")
        y = _vectors.encoded(model, self.data, shown=self.shown)
        train, test = y[self.train], self.labels[self.test]
        if self.settings.epochs:
            self._say(f"{arm}: {counted(self.settings.epochs, 'epoch')} of {counted(len(train), 'vector')}")
        with Progress(self.settings.epochs * len(train), shown=self.shown) as progress:
            history = evaluation.train_on_vectors(
                model, train, self.labels[self.train], self.settings, lambda epoch: progress.advance(len(train))
            )
        return self._judged(arm, y, evaluation.test_on_vectors(model, y[self.test], test), history, model)

    def _kept(self) -> _end_to_end.Kept | None:
        """Where the training of encoder and classifier is kept, if it is."""
        if self.arguments.checkpoint is None:
            return None
        settings = replace(self.settings, epochs=self.arguments.end_to_end_epochs)
        return _end_to_end.Kept(Path(self.arguments.checkpoint), self.data.subset(self.train), self.architecture, settings)

    def _end_to_end(self) -> Run:
        epochs = self.arguments.end_to_end_epochs
        self._say(f"end-to-end: {counted(epochs, 'epoch')} of {counted(len(self.train), 'image')}")
        model, history = _end_to_end.train(
            self.data.subset(self.train),
            self.architecture,
            replace(self.settings, epochs=epochs),
            self._kept(),
            every=self.arguments.checkpoint_every,
            shown=self.shown,
        )
        y = _vectors.encoded(model, self.data, shown=self.shown)
        test = evaluation.test_on_vectors(model, y[self.test], self.labels[self.test])
        return self._judged("end-to-end", y, test, history, model)

    def _pixels(self) -> Run:
        self._say("pixels: linear probe and nearest neighbours")
        return self._judged("pixels", evaluation.pixels(self.data), None, [], None)

    def _judged(self, arm: str, x: Floats, test: Evaluation | None, history: list[Epoch], model: Model | None) -> Run:
        sides = (x[self.train], self.labels[self.train], x[self.test], self.labels[self.test])
        try:
            linear = evaluation.linear_probe(*sides)
        except ImportError:
            linear = None
        return Run(arm, self.seed, test, history, linear, evaluation.nearest_neighbours(*sides), model)

    def _say(self, text: str) -> None:
        _output.say(self.arguments, f"seed {self.seed}, {text}")


# ---- What comes of it


def _model(run: Run) -> Model:
    assert run.model is not None
    return run.model


def _needs(arguments: argparse.Namespace, model: Model, networks: Sequence[str]) -> None:
    missing = [network for network in networks if network not in model.networks]
    if missing:
        raise UsageError(f"{arguments.weights}: has no {missing[0]}, which --epochs 0 uses")


def _predict(model: Model, images: Dataset, names: tuple[str, ...], shown: bool) -> list[dict[str, Any]]:
    """Label and probability of each image; of these classes, the likeliest."""
    probabilities = model.classify(_vectors.encoded(model, images, shown=shown))
    found: Labels = probabilities[:, : len(names)].argmax(axis=1)
    return [
        {"image": images.ids[n], "label": names[label], "probability": float(probabilities[n, label])}
        for n, label in enumerate(found.tolist())
    ]


def _draw(path: str, runs: list[Run], names: tuple[str, ...]) -> None:
    matrices = [(f"{run.arm}\n{run.test.accuracy:.1%} right", run.test.confusion) for run in runs if run.test is not None]
    write_whole(path, charts.confusion(matrices, names, Path(path).suffix.lower().lstrip(".")))


def _report(arguments: argparse.Namespace, data: Dataset, names: tuple[str, ...], runs: list[Run]) -> dict[str, Any]:
    settings = {key: getattr(arguments, key) for key in ("epochs", "end_to_end_epochs", "batch", "lr", "loss")}
    trained, tested = (len(part) for part in evaluation.split(len(data), 0))
    settings["batch"] = min(arguments.batch, trained)  # Of fewer images all are one batch.
    return {
        "data": data.name,
        "images": {"train": trained, "test": tested},
        "classes": names,
        "weights": arguments.weights,
        "settings": settings,
        "runs": [_run(run, len(names)) for run in runs],
    }


def _run(run: Run, classes: int) -> dict[str, Any]:
    report: dict[str, Any] = {"arm": run.arm, "seed": run.seed, "linear_probe": run.linear, "nearest_neighbours": run.knn}
    if run.test is not None:
        confused = run.test.confusion.size > 0  # Not above 1,000 classes.
        precision = [None if math.isnan(value) else value for value in run.test.precision[:classes].tolist()]
        report |= {
            "accuracy": run.test.accuracy,
            "loss": run.test.loss,
            "precision": precision if confused else None,
            "confusion": run.test.confusion[:classes, :classes].tolist() if confused else None,
            "history": [{"epoch": e.number, "loss": e.loss, "accuracy": e.accuracy} for e in run.history],
        }
    return report


def _text(report: dict[str, Any]) -> str:
    runs = report["runs"]
    arms = list(dict.fromkeys(run["arm"] for run in runs))
    images = report["images"]
    if report["settings"]["epochs"]:
        how = f"trained on {counted(images['train'], 'image')}, tested on {images['test']:,}"
    else:
        how = (
            f"tested on {counted(images['test'], 'image')}, on which the classifier may have been trained; linear probe and "
            f"{evaluation.K}-NN fitted on the other {images['train']:,}"
        )
    weights = f"; weights {shown(report['weights'])}" if report["weights"] else ""
    lines = ["", f"{shown(report['data'])}: {how}{weights}", ""]
    rows = [["", "classifier", "linear probe", f"{evaluation.K}-NN"]]
    for arm in arms:
        mine = [run for run in runs if run["arm"] == arm]
        rows.append(
            [arm, *(_mean([run.get(key) for run in mine]) for key in ("accuracy", "linear_probe", "nearest_neighbours"))]
        )
    lines += table(rows)
    with_precision = [arm for arm in arms if any(run["arm"] == arm and run.get("precision") for run in runs)]
    if with_precision:
        rows = [["precision", *with_precision]]
        for number, name in enumerate(report["classes"]):
            values = [[run["precision"][number] for run in runs if run["arm"] == arm] for arm in with_precision]
            rows.append([shown(name), *map(_mean, values)])
        lines += ["", *table(rows)]
    if report.get("saved"):
        saved = report["saved"]
        lines += ["", f"{shown(saved['file'])}: encoder and classifier of the arm {saved['arm']}, seed {saved['seed']}"]
    if report.get("predictions"):
        lines += ["", *_prediction_lines(report)]
    return "\n".join(lines)


def _prediction_lines(report: dict[str, Any]) -> list[str]:
    """Between tabs, for other programs; none where they are in a file."""
    return [f"{shown(p['image'])}\t{shown(p['label'])}\t{p['probability']:.3f}" for p in report.get("predictions", ())]


def _mean(values: list[float | None]) -> str:
    """ "93.4%", with the spread where there are several; "-" where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" +- {np.std(known, ddof=1) * 100:.1f}" if len(known) > 1 else ""
    return f"{np.mean(known) * 100:.1f}%{spread}"
