"""`dim train`: the Deep InfoMax objective on a data set."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import report
from .._reading import Reading, has_test_set
from .._text import counted, shell
from ..data import DataError, Dataset, Loader
from ..data.opening import is_sample
from ..errors import FileAccessError, NotFinite
from ..model import Model
from ..run_folder import FILES, RunFolder, Settings
from ..schedule import KINDS, Schedule
from ..trainer import Trainer
from . import UsageError
from ._common import (
    DATA, add_examples, add_general, add_untrusted, apply_general, check_folder, check_room, make_folder, natural, positive,
)  # fmt: skip
from ._images import add_reading, tell
from ._interrupts import Interrupts
from ._places import Places
from ._training_log import TrainingLog

#: What --resume takes from the run's settings, and what is used when a new run does not name it.
_DEFAULTS: dict[str, Any] = {
    "data": None,
    "weights": None,
    "seed": 0,
    "batch": 64,
    "prior": "monolithic",
    "alpha": 0.5,
    "beta": 1.0,
    "gamma": 0.1,
    "lr": 1e-4,
    "schedule": "constant",
    "step_epochs": 10,
    "step_factor": 0.1,
    "validation_images": 1024,
    "checkpoint_every": 1,
    "keep_all": False,
    "resize": "fit",
    "max_pixels": None,
    "skip_damaged": False,
}
_EPOCHS = 10

_EXAMPLES = """
  dim train --epochs 20                            the sample photographs that scikit-learn ships
  dim train --data cifar-10-binary.tar.gz --prior adversarial --schedule cosine --output cifar
  dim train --resume cifar                         after Ctrl-C, bit for bit as if nothing had been
  dim train --resume cifar --epochs 40             longer than it was started for
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="PATH", help=f"{DATA} (default: scikit-learn's sample photographs)")
    add_reading(parser)
    add("--output", metavar="FOLDER", help="the run's folder (default: dim-run, or dim-run-2 and so on)")
    add("--resume", metavar="FOLDER", help="go on with the run of this folder, as it was started")
    add("--epochs", type=positive, metavar="N", help=f"passes over the data, in all (default: {_EPOCHS})")
    add("--batch", type=positive, metavar="N", help="images a step, 2 at least (default: 64)")
    add("--weights", metavar="FILE", help="weights to start from (default: those of the seed)")
    add_untrusted(parser)
    objective = parser.add_argument_group("objective: beta local + alpha global + gamma prior")
    objective.add_argument("--prior", choices=("monolithic", "adversarial"),
                           help="what the encoder does about the prior term: minimise it (the original), or work "
                           "against the discriminator (the paper) (default: monolithic)")  # fmt: skip
    for name, term in (("alpha", "global"), ("beta", "local"), ("gamma", "prior")):
        objective.add_argument(
            f"--{name}", type=float, metavar="X", help=f"weight of the {term} term (default: {_DEFAULTS[name]})"
        )
    rate = parser.add_argument_group("learning rate")
    rate.add_argument("--lr", type=float, metavar="X", help="of both Adams, at the start (default: 1e-4)")
    rate.add_argument("--schedule", choices=KINDS, help="how it changes; cosine ends at 0 (default: constant)")
    rate.add_argument("--step-epochs", type=positive, metavar="N", help="of schedule step: epochs between two changes (default: 10)")
    rate.add_argument("--step-factor", type=float, metavar="X", help="of schedule step: what the rate is multiplied by (default: 0.1)")
    files = parser.add_argument_group("what is written, and how often")
    files.add_argument("--validation-images", type=natural, metavar="N",
                       help="how many of the held-out images the validation losses are of; 0 = none, and nothing is held out "
                       "(default: 1024)")  # fmt: skip
    files.add_argument("--checkpoint-every", type=positive, metavar="K", help="epochs between two checkpoints (default: 1)")
    files.add_argument("--keep-all", action="store_true", default=None, help="keep each epoch's checkpoint, too")
    files.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's event files (needs tensorboard)")
    files.add_argument("--no-plot", action="store_true", help="do not draw the curves")
    files.add_argument("--report", action="store_true", help="write report.html at the end: the run on one page")
    add_general(parser, "weights, order of the images and prior noise", "print a JSON object a line instead of text")
    parser.set_defaults(seed=None)
    add_examples(parser, _EXAMPLES)


def places(arguments: argparse.Namespace) -> Places:
    named = [("--data", arguments.data), ("--weights", arguments.weights), ("--resume", arguments.resume)]
    reads = [(option, path) for option, path in named if path is not None]
    if arguments.resume is not None:
        return Places(reads)  # Its data is named in its folder: `_Training.resumed` looks there.
    if arguments.output is None:
        arguments.output = _free_name("dim-run")
    return Places(reads, folders=[("--output", arguments.output, FILES)])


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    _check(arguments)
    training = _Training.resumed(arguments) if arguments.resume else _Training.started(arguments)
    return training.run()


def _check(arguments: argparse.Namespace) -> None:
    """What can be known to be wrong before any file is opened."""
    if arguments.batch == 1:
        raise UsageError("--batch: expected 2 at least: an image's negative is the next image of its batch")
    for name in ("alpha", "beta", "gamma", "lr", "step_factor"):
        value = getattr(arguments, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--{name.replace('_', '-')}: expected a number that is not negative, found {value}")
    if arguments.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: the package tensorboard is not installed; metrics.csv is written in any case")


class _Training:
    """One run, from its first step or from a checkpoint to its end."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        folder: RunFolder,
        settings: Settings,
        trainer: Trainer,
        train: Dataset,
        validation: Dataset | None,
    ) -> None:
        self.arguments, self.folder, self.settings, self.trainer = arguments, folder, settings, trainer
        self.loader = Loader(train, settings.batch, settings.seed)
        # Always in the same order, which is not the data's: neighbours there may look alike, and they are the negatives.
        self.validation = None if validation is None else Loader(validation, settings.batch, 0, drop_last=False)
        self.steps = settings.epochs * len(self.loader)
        self.schedule = Schedule(
            settings.schedule,
            settings.lr,
            self.steps,
            settings.step_epochs * len(self.loader),
            settings.step_factor,
        )
        #: Where the newest checkpoint stands; None before the first.
        self.saved: int | None = trainer.steps if arguments.resume else None

    # ---- Beginnings

    @classmethod
    def started(cls, arguments: argparse.Namespace) -> _Training:
        given = {name: getattr(arguments, name) for name in _DEFAULTS}
        chosen = {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}
        folder = RunFolder(arguments.output)
        if folder.in_use:
            raise UsageError(
                f"{folder.path}: holds a run already; go on with it by --resume {shell(str(folder.path))}, or name "
                "another folder"
            )
        model = Model(chosen["seed"])
        _check_room(folder, model)
        if chosen["weights"] is not None:
            model.load(chosen["weights"], untrusted=arguments.untrusted)
        reading = Reading(chosen["resize"], chosen["max_pixels"], chosen["skip_damaged"])
        train, validation = _open_data(chosen["data"], chosen["validation_images"], reading)
        tell(arguments, train)
        settings = Settings(
            **{
                **chosen,
                "data": _lasting(chosen["data"]),
                "weights": chosen["weights"] and os.path.abspath(chosen["weights"]),
                "epochs": arguments.epochs or _EPOCHS,
                "images": len(train),
                "validation_images": 0 if validation is None else len(validation),
            }
        )
        trainer = Trainer(
            model,
            settings.prior,  # type: ignore[arg-type]  # argparse has checked it.
            settings.seed,
            settings.lr,
            alpha=settings.alpha,
            beta=settings.beta,
            gamma=settings.gamma,
        )
        _prepare(folder, settings)
        return cls(arguments, folder, settings, trainer, train, validation)

    @classmethod
    def resumed(cls, arguments: argparse.Namespace) -> _Training:
        changed = [name for name in (*_DEFAULTS, "output") if getattr(arguments, name) is not None and name != "data"]
        if changed:
            raise UsageError(
                f"--{changed[0].replace('_', '-')}: a resumed run keeps what it was started with; --epochs, --threads, "
                "--json, --quiet, --tensorboard, --no-plot and --report may be given, and --data for data that has moved"
            )
        folder = RunFolder(arguments.resume)
        if not folder.settings_file.is_file():
            raise UsageError(f"{folder.path}: no run to resume: there is no {folder.settings_file.name}")
        if not folder.checkpoint.is_file():
            raise UsageError(
                f"{folder.path}: no run to resume: there is no {folder.checkpoint.name}; it stopped before its first"
            )
        try:
            settings = folder.read_settings()
        except ValueError as error:
            raise UsageError(str(error)) from error
        settings = replace(settings, epochs=arguments.epochs or settings.epochs)
        if arguments.data is not None:
            settings = replace(settings, data=_lasting(arguments.data))
        if settings.data is not None:
            Places([("--data", settings.data)], folders=[("--resume", arguments.resume, ())]).check()
            if arguments.data is None and not is_sample(settings.data) and not os.path.exists(settings.data):
                raise UsageError(f"{settings.data}: the run's data is no longer there; where it has moved, name it with --data")
        train, validation = _open_data(settings.data, settings.validation_images, settings.reading)
        for images, before in ((train, settings.images), (validation, settings.validation_images)):
            found = 0 if images is None else len(images)
            if found != before:
                raise UsageError(
                    f"{settings.data}: not the data that the run was started with: {counted(found, 'image')} "
                    f"{'to train on' if images is train else 'for validation'}, expected {before:,}"
                )
        trainer = Trainer.resume(folder.checkpoint, untrusted=arguments.untrusted)
        done = trainer.steps / len(Loader(train, settings.batch))
        if done >= settings.epochs:
            raise UsageError(
                f"{folder.path}: the run is complete, {counted(settings.epochs, 'epoch')}; --epochs takes it further, "
                f"to {settings.epochs + 1} in all or more"
            )
        _check_room(folder, trainer.model)
        _prepare(folder, settings)
        return cls(arguments, folder, settings, trainer, train, validation)

    # ---- The run

    def run(self) -> int:
        notice = "stopping after this step; Ctrl-C again stops at once, and loses what came after the last checkpoint"
        before = self.folder.read_metrics() if self.arguments.resume else []
        rows = [row for row in before if row.step <= self.trainer.steps]
        batch = min(self.settings.batch, len(self.loader.dataset))
        log = TrainingLog(self.folder, self.arguments, rows, self.trainer.steps, self.steps, batch)
        with Interrupts(notice) as interrupts, log:
            log.begin(self.settings, self.loader.dataset.name, len(self.loader))
            try:
                if self.trainer.steps % len(self.loader) == 0 and not log.has_validation(self.trainer.steps):
                    self._validate(log)
                while self.trainer.steps < self.steps and interrupts.wanted is None:
                    self._epoch(log, interrupts)
                if interrupts.wanted is None:
                    self.trainer.model.save(self.folder.weights)
                elif self.saved != self.trainer.steps:
                    self._save(log)
            except NotFinite as error:
                return log.failed(f"{error}\nTry a smaller --lr. {self._what_is_kept()}")
            except DataError as error:  # The file may be mended, and the run gone on with.
                if self.saved != self.trainer.steps:
                    self._save(log)
                return log.failed(f"{error}\n{self._what_is_kept()}")
            except FileAccessError as error:
                return log.failed(f"{error}\n{self._what_is_kept()}")
            except OSError as error:
                place = error.filename or self.folder.path
                return log.failed(f"{place}: {error.strerror or error}\n{self._what_is_kept()}")
            if interrupts.wanted is not None:
                log.interrupted(self.trainer.steps, self._resume_command())
                return interrupts.exit_code
            page = report.write(self.folder, self.trainer.model) if self.arguments.report else None
            log.finished(page)
        return 0

    def _epoch(self, log: TrainingLog, interrupts: Interrupts) -> None:
        """What is left of the epoch that the trainer stands in."""
        epoch, start = divmod(self.trainer.steps, len(self.loader))
        batches = self.loader.epoch(epoch, start)
        for batch in batches:
            rate = self.schedule.at(self.trainer.steps)
            self.trainer.set_learning_rates(rate, rate)
            began = time.monotonic()
            losses = self.trainer.step(batch.images)
            log.step(self.trainer.steps, len(self.loader), losses, rate, len(batch.images), time.monotonic() - began)
            if interrupts.wanted is not None:
                break
            if interrupts.take_save_request():
                self._save(log)
                log.saved(self.trainer.steps)
        batches.close()
        if interrupts.wanted is not None:
            return
        self._validate(log)
        if (epoch + 1) % self.settings.checkpoint_every == 0 or self.trainer.steps >= self.steps:
            if self.saved != self.trainer.steps:
                self._save(log)
            if self.settings.keep_all:
                _link(self.folder.checkpoint, self.folder.kept_checkpoint(epoch + 1))

    def _validate(self, log: TrainingLog) -> None:
        if self.validation is None:
            return
        began = time.monotonic()
        weights, losses = [], []
        for batch in self.validation.epoch(0):
            if len(batch.images) >= 2:
                losses.append(self.trainer.evaluate(batch.images))
                weights.append(len(batch.images))
        mean = np.average(np.array(losses), axis=0, weights=weights).tolist()
        seconds = time.monotonic() - began
        log.validation(self.trainer.steps, len(self.loader), mean, self.trainer.encoder_lr, sum(weights), seconds)

    def _save(self, log: TrainingLog) -> None:
        """Checkpoint and metrics agree: rows that come after the checkpoint are dropped when a run resumes."""
        log.flush()
        self.trainer.save(self.folder.checkpoint)
        self.saved = self.trainer.steps
        log.checkpoint(self.saved)

    def _what_is_kept(self) -> str:
        if self.saved is None:
            return "There is no checkpoint yet."
        return f"The checkpoint of step {self.saved} is kept; go on from it with: {self._resume_command()}"

    def _resume_command(self) -> str:
        return f"dim train --resume {shell(str(self.folder.path))}"


# ---- Data and folders


def _open_data(source: str | None, validation_images: int, reading: Reading) -> tuple[Dataset, Dataset | None]:
    """Training images, and those for validation: that many, spread over the held-out ones.

    Where nothing is validated nothing is held out; images that the data itself calls its test set are never trained on.
    """
    train = reading.open(source, split="train")
    own_test = has_test_set(train)
    held_out = reading.open(source, split="validation") if validation_images and (own_test or len(train) >= 10) else None
    count = 0 if held_out is None else min(len(held_out), validation_images)
    if count < 2 and not own_test:
        train = reading.open(source)
    if len(train) < 2:
        raise UsageError(f"{source}: one image; training needs two at least")
    if held_out is None or count < 2:
        return train, None
    return train, held_out.subset(np.linspace(0, len(held_out) - 1, count).astype(np.int64))


def _lasting(source: str | None) -> str | None:
    """As settings keep it: a resumed run may be started from another folder."""
    return source if source is None or is_sample(source) else os.path.abspath(source)


def _free_name(name: str) -> str:
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, 10_000))
    return next(candidate for candidate in candidates if not os.path.lexists(candidate))


def _check_room(folder: RunFolder, model: Model) -> None:
    """Finds out before anything is read what would otherwise be found out after hours. Makes nothing."""
    place = check_folder(folder.path)
    # Both Adams keep two values beside each weight.
    checkpoint = 3 * sum(info.nbytes for info in model.parameters_info())
    needed = checkpoint * (1 if folder.checkpoint.exists() else 2) + checkpoint // 3
    check_room(place, needed, "a checkpoint, the next one while it is written, and the weights")


def _prepare(folder: RunFolder, settings: Settings) -> None:
    make_folder(folder.path)
    folder.write_settings(settings)


def _link(existing: Path, new: Path) -> None:
    """A second name; a copy where the file system has no links."""
    new.unlink(missing_ok=True)
    try:
        os.link(existing, new)
    except OSError:
        shutil.copy2(existing, new)
