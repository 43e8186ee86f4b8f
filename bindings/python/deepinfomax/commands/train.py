"""`dim train`: the Deep InfoMax objective on a data set."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import evaluation, report
from .._text import counted, shell, shell_word, shown
from ..architecture import Architecture
from ..data import Augmentation, DataError, Dataset, Loader, adapted
from ..data.options import Size
from ..data.reading import Reading
from ..distributed import PeerError, Solo
from ..errors import DimError, FileAccessError, NotFinite
from ..model import Model
from ..run_data import classes_digest, data_of, digest_of, open_data
from ..run_folder import FILES, Row, RunFolder, Settings, figures, kept_of
from ..trainer import Losses, Trainer, smallest_batch
from . import UsageError, _early_stopping, _output, _processes
from ._common import opened
from ._images import tell
from ._interrupts import NOTICE, Interrupts
from ._early_stopping import Best
from ._effects import check_effects
from ._places import Places
from ._schedule import Schedule
from ._train_folder import (
    check_new,
    check_run_room,
    check_same_run,
    free_name,
    lasting,
    link,
    prepare,
    prepare_free,
    settings_of,
)
from ._train_model import model_and_data, tell_classes, trainer_of
from ._train_options import (
    add_arguments,
    check_data,
    check_tensorboard,
    check_unchanged,
    effects_of,
    chosen,
    has_sklearn,
    probe_every,
)
from ._training_log import TrainingLog, draw_curves

__all__ = ["add_arguments", "places", "run"]


def places(arguments: argparse.Namespace) -> Places:
    named = [("--data", arguments.data), ("--weights", arguments.weights), ("--resume", arguments.resume)]
    named += [("--config", arguments.config), ("--architecture", arguments.architecture)]
    reads = [(option, path) for option, path in named if path is not None]
    if arguments.resume is not None:
        return Places(reads)  # Its data is named in its folder: `_Training.resumed` looks there.
    return Places(reads, folders=[("--output", free_name() if arguments.output is None else arguments.output, FILES)])


def run(arguments: argparse.Namespace) -> int:
    return _processes.run(arguments, lambda group: _run(arguments, group))


def _run(arguments: argparse.Namespace, group: Solo) -> int:
    group.first(lambda: check_tensorboard(arguments))
    training = _Training.resumed(arguments, group) if arguments.resume else _Training.started(arguments, group)
    if training is None:
        group.first(lambda: _report_alone(arguments))
        return 0
    with training.held:
        return training.run()


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
        group: Solo,
    ) -> None:
        self.arguments, self.folder, self.settings, self.trainer, self.group = arguments, folder, settings, trainer, group
        augment = group.call(lambda: _augmentation(settings))
        self.loader = Loader(train, settings.batch, settings.seed, augment=augment, part=(group.rank, group.size))
        # Always in the same order, which is not the data's: neighbours there may look alike, and they are the negatives.
        self.validation = None if validation is None else Loader(validation, settings.batch, 0, drop_last=False)
        self.steps = settings.epochs * len(self.loader)
        self.schedule = Schedule(
            settings.schedule,
            settings.lr,
            self.steps,
            settings.step_epochs * len(self.loader),
            settings.step_factor,
            round(min(settings.warmup_epochs, 2.0**53) * len(self.loader)),
        )
        group.call(lambda: _check_rates(self.schedule, settings))
        #: What is let go when the run ends: the folder.
        self.held = ExitStack()
        #: The signal that ends the run after this step, in all processes.
        self.wanted = 0
        _processes.agree(group, trainer, settings, train, validation)
        self.probe = _probe(settings, train, validation) if group.first(has_sklearn) else None
        #: The path of the newest checkpoint; None before the first.
        self.saved: int | None = trainer.steps if arguments.resume else None
        #: Of early stopping: what best.h5 holds.
        self.best: Best | None = None
        #: Whether weights.h5 is written.
        self.has_weights = False

    # ---- Beginnings

    @classmethod
    def started(cls, arguments: argparse.Namespace, group: Solo) -> _Training:
        values = group.call(lambda: chosen(arguments))
        folder = RunFolder(free_name() if arguments.output is None else arguments.output)
        group.first(lambda: check_new(folder))
        if arguments.report:
            group.first(lambda: report.check_target(folder.path / report.NAME, values["data"]))
        model, train, validation, one_size = group.call(lambda: model_and_data(arguments, values))
        group.first(lambda: check_run_room(folder, model, values["epochs"], values))
        if group.rank == 0:
            tell(arguments, train)
            tell_classes(arguments, model, train)
        trainer = group.call(lambda: trainer_of(model, values))
        options = trainer.options
        group.call(lambda: check_effects(arguments, effects_of(arguments, options, values["schedule"])))
        kept = {name: values[name] for name in _AS_GIVEN}
        settings = Settings(
            **kept,
            data=lasting(values["data"]),
            weights=values["weights"] and os.path.abspath(values["weights"]),
            images=len(train),
            validation_images=0 if validation is None else len(validation),
            architecture=model.architecture.as_dict(),
            measure=options.measure,
            negatives=options.negatives,
            prior=options.prior,
            alpha=options.alpha,
            beta=options.beta,
            gamma=options.gamma,
            gradient_penalty=options.gradient_penalty,
            gradient_clip=options.gradient_clip,
            lr=options.encoder_lr,
            betas=list(options.betas),
            weight_decay=options.weight_decay,
            coordinates=options.coordinates,
            coordinates_weight=options.coordinates_weight,
            occlusion=options.occlusion,
            locations=options.locations,
            probe=probe_every(values["probe"], values["epochs"]) if _can_probe(train, validation) else 0,
            probe_by_default=values["probe"] is None,
            validation_by_default=values["validation_by_default"],
            command=" ".join(["dim", *map(shell_word, sys.argv[1:])]),
            started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            digest=digest_of(train, validation),
            classes=classes_digest(train),
            one_size=one_size,
        )
        group.call(lambda: check_data(values, settings))
        # Its classifier is rank 0's, which alone needs scikit-learn.
        settings = replace(settings, probe=group.first(lambda: settings.probe))
        settings = replace(settings, kept=kept_of(settings))
        training = cls(arguments, folder, settings, trainer, train, validation, group)
        if arguments.output is None:
            training.folder = group.first(lambda: prepare_free(settings, training.held))
        else:
            group.first(lambda: prepare(folder, settings, training.held, check_new))
        return training

    @classmethod
    def resumed(cls, arguments: argparse.Namespace, group: Solo) -> _Training | None:
        """None where nothing is left to train, and the report is asked for."""
        group.call(lambda: check_unchanged(arguments))
        folder = RunFolder(arguments.resume)
        settings = group.first(lambda: settings_of(folder, arguments))
        if arguments.report:
            group.first(lambda: report.check_target(folder.path / report.NAME, settings.data))
        trainer = _processes.resumed(group, folder.checkpoint, arguments.untrusted)
        group.call(lambda: check_same_run(folder, settings, trainer))
        train, validation = group.call(
            lambda: data_of(settings, f"; to train on these, start a run with --weights {shell(str(folder.checkpoint))}")
        )
        settings = replace(
            settings,
            digest=settings.digest or digest_of(train, validation),
            classes=settings.classes or classes_digest(train),
            kept=settings.kept or kept_of(settings),
        )
        done = trainer.steps / len(Loader(train, settings.batch))
        if group.first(lambda: _is_complete(folder, settings, trainer, done, arguments)):
            return None
        training = cls(arguments, folder, settings, trainer, train, validation, group)
        if settings.early_stopping:
            training.best = group.first(training._kept)
        group.first(lambda: check_run_room(folder, trainer.model, settings.epochs - int(done), asdict(settings)))
        group.first(lambda: prepare(folder, settings, training.held))
        return training

    # ---- The run

    def run(self) -> int:
        before = self.group.first(self.folder.read_metrics) if self.arguments.resume else []
        rows = [row for row in before if row.step <= self.trainer.steps]
        batch = min(self.settings.batch, len(self.loader.dataset))
        first = self.group.rank == 0
        missing = self.trainer.steps - len({row.step for row in rows if row.phase == "train"})
        if first and missing > 0:
            _output.note(
                self.arguments,
                f"{self.folder.metrics_file} lacks {missing:,} of the {counted(self.trainer.steps, 'step')} so far, and so will "
                "curves and report",
            )
        if first and self.schedule.warmup > self.steps:
            _output.note(
                self.arguments,
                f"--warmup-epochs {self.settings.warmup_epochs:g} is longer than the run: its last step has a learning rate of "
                f"{self.schedule.last:g}, not {self.schedule.rate:g}",
            )
        if first and self.settings.early_stopping and self.arguments.resume:
            if text := _early_stopping.told(self.best, rows, self.trainer.steps):
                _output.note(self.arguments, text)
        log = TrainingLog(
            self.folder, self.arguments, self.settings, rows, self.trainer.steps, self.steps, batch, silent=not first
        )
        with Interrupts(NOTICE if first else "", self.group.ended) as interrupts, log:
            log.begin(self.loader.dataset.name, len(self.loader))
            try:
                if self.probe is not None and self.trainer.steps == 0 and not log.has("probe", 0):
                    model, shown, size = self.trainer.model, self.probe.train, self.settings.batch
                    self._judge(log, self.group.call(lambda: evaluation.calibrated(model, shown, size)))
                if self.trainer.steps % len(self.loader) == 0:
                    self._after_epoch(log)
                if self.settings.early_stopping and self.best is None:  # best.h5 was removed; these weights are there.
                    for row in log.rows:
                        if row.phase == "validation" and row.step == self.trainer.steps:
                            self._keep(row, log)
                while not self._agreed(interrupts) and self.trainer.steps < self.steps and not self._stalled(log):
                    self._epoch(log, interrupts)
                if not self.wanted:
                    self._finish(log)
                    self.has_weights = True
                    log.finished(self.trainer.steps, self.group.first(self._write_report) if self.arguments.report else None)
                elif self.saved != self.trainer.steps:
                    self._save(log)
            except NotFinite as error:
                return log.failed(f"{error}\n{self._what_to_do_instead()}")
            except DataError as error:  # The file may be mended, and the run gone on with.
                if self.saved != self.trainer.steps:
                    self._save(log)
                return log.failed(f"{error}\n{self._what_is_kept()}")
            except PeerError as error:
                if error.kind == "DataError" and self.saved != self.trainer.steps:
                    self._save(log)
                return log.failed(
                    f"{error}\n{self._what_to_do_instead() if error.kind == 'NotFinite' else self._what_is_kept()}"
                )
            except FileAccessError as error:
                return log.failed(f"{error}\n{self._what_is_kept()}")
            except OSError as error:
                place = error.filename or self.folder.path
                return log.failed(f"{place}: {error.strerror or error}\n{self._what_is_kept()}")
            if self.wanted:
                log.interrupted(self.trainer.steps, self._resume_command())
                return 128 + self.wanted
        return log.code

    def _agreed(self, interrupts: Interrupts) -> bool:
        """Whether to stop: all processes do after the same step, whichever got the signal."""
        (self.wanted,) = self.group.highest(interrupts.wanted or 0)
        return self.wanted != 0

    def _epoch(self, log: TrainingLog, interrupts: Interrupts) -> None:
        """The rest of the epoch that the trainer is in."""
        epoch, start = divmod(self.trainer.steps, len(self.loader))
        batches = self.loader.epoch(epoch, start)
        while (batch := self.group.call(lambda: next(batches, None))) is not None:
            rate = self.schedule.at(self.trainer.steps)
            self.trainer.set_learning_rates(rate, rate)
            began = time.monotonic()
            losses = self.trainer.step(batch.images)
            seconds = time.monotonic() - began
            report = self.trainer.report()
            images = len(batch.images) * self.group.size
            failure = None
            try:
                log.step(self.trainer.steps, len(self.loader), losses, report, rate, images, seconds)
            except OSError as error:  # Of rank 0, which writes; the others hear of it.
                failure = error
            self.wanted, save = self.group.highest(interrupts.wanted or 0, interrupts.take_save_request(), error=failure)
            if self.wanted:
                break
            if save:
                self._save(log)
                log.saved(self.trainer.steps)
        batches.close()
        if not self.wanted:
            self._after_epoch(log)

    def _after_epoch(self, log: TrainingLog) -> None:
        """What follows an epoch, as far as it has not been done: a run may have been stopped between. A validation is before the
        first as well."""
        step = self.trainer.steps
        epoch, is_last = step // len(self.loader), step >= self.steps
        if not log.has("validation", step):
            self._validate(log)
        if step == 0:
            return
        if self.probe is not None and (epoch % self.settings.probe == 0 or is_last) and not log.has("probe", step):
            self._judge(log, self.trainer.model)
        if epoch % self.settings.checkpoint_every == 0 or is_last:
            if self.saved != step:
                self._save(log)
            if self.settings.keep_all:
                kept = self.folder.kept_checkpoint(epoch)
                self.group.first(lambda: None if kept.exists() else link(self.folder.checkpoint, kept))

    def _validate(self, log: TrainingLog) -> None:
        if self.validation is None:
            return
        began = time.monotonic()
        own = partial(self._validated, self.trainer, self.group.rank, self.group.size)
        found = sorted(sum(self.group.gather(self.group.call(own)), []), key=lambda one: one[0])
        weights, losses, others = [one[1] for one in found], [one[2] for one in found], [one[3] for one in found]
        mean = np.average(np.array(losses), axis=0, weights=weights).tolist()
        means = {name: float(np.average([one[name] for one in others], weights=weights)) for name in others[0]}
        seconds = time.monotonic() - began
        distance = math.nan
        if self.settings.prior != "none":
            y = self._encode(self.trainer.model, self.validation.dataset)
            distance = evaluation.prior_distance(y, self.settings.architecture["prior"]["squash"])
        rate = self.trainer.encoder_lr
        place = self.trainer.steps, len(self.loader)
        row = self.group.call(lambda: log.validation(*place, mean, rate, sum(weights), seconds, distance, means))
        if self.settings.early_stopping and (self.best is None or self.best.is_beaten(row)):
            self._keep(row, log)

    def _keep(self, row: Row, log: TrainingLog) -> None:
        """The row is in metrics.csv before the weights are in best.h5: it says of which epoch they are."""
        self.group.first(log.flush)
        self.group.first(lambda: self.trainer.model.save(self.folder.best))
        self.best = Best.of(row)

    def _kept(self) -> Best | None:
        """Of rank 0, which goes through all validation images. Its epoch may be one that is computed again."""
        rows = self.folder.read_metrics()
        return _early_stopping.kept(self.folder, rows, self.trainer, self._total, self.arguments.untrusted)

    def _total(self, trainer: Trainer) -> float:
        found = self._validated(trainer, 0, 1)
        return float(np.average([one[2].total for one in found], weights=[one[1] for one in found]))

    def _validated(self, trainer: Trainer, part: int, parts: int) -> list[tuple[int, int, Losses, dict[str, float]]]:
        """Number, images, losses and other figures of the batches of a part."""
        assert self.validation is not None
        found = []
        fewest = smallest_batch(self.settings.negatives)  # The last one may be shorter.
        for number, batch in enumerate(self.validation.epoch(0, part, parts)):
            if len(batch.images) >= fewest:
                losses = trainer.evaluate(batch.images)
                found.append((number * parts + part, len(batch.images), losses, figures(trainer.report())))
        return found

    def _encode(self, model: Model, data: Dataset) -> evaluation.Floats:
        """y (n, encoded), of which each process encodes a part."""
        own = np.arange(len(data))[self.group.part(len(data))]
        return np.concatenate(self.group.gather(self.group.call(lambda: evaluation.encode(model, data.subset(own)))))

    def _judge(self, log: TrainingLog, model: Model) -> None:
        assert self.probe is not None
        began = time.monotonic()
        probe, train, held_out = self.probe, self._encode(model, self.probe.train), self._encode(model, self.probe.held_out)
        found = self.group.first(lambda: probe.judged(train, held_out))
        seconds, place = time.monotonic() - began, (self.trainer.steps, len(self.loader))
        self.group.call(lambda: log.probe(*place, found, len(probe.held_out), seconds))

    def _stalled(self, log: TrainingLog) -> bool:
        return _early_stopping.has_stalled(log.rows, self.settings.early_stopping, self.best)

    def _finish(self, log: TrainingLog) -> None:
        if self.settings.early_stopping:
            best, step = self.best, self.trainer.steps
            assert best is not None
            if self.saved != step:
                self._save(log)
            if not self.group.first(self.folder.best.is_file):  # Removed meanwhile: these are the best that are left.
                best = next(Best.of(row) for row in _early_stopping.validations(log.rows) if row.step == step)
                self.group.first(lambda: self.trainer.model.save(self.folder.best))
            log.best(best, _early_stopping.lost(log.rows, best, best.step), stopped=step < self.steps)
        self.group.first(self._write_weights)

    def _write_weights(self) -> None:
        if self.settings.early_stopping:
            with Model.open(self.folder.best) as model:
                model.save(self.folder.weights)
        else:
            self.trainer.model.save(self.folder.weights)

    def _write_report(self) -> Path:
        return report.write(self.folder, self.trainer.model)

    def _save(self, log: TrainingLog) -> None:
        """Checkpoint and metrics agree: rows that come after the checkpoint are dropped when a run resumes."""
        self.group.first(log.flush)
        self.group.first(lambda: self.trainer.save(self.folder.checkpoint))
        self.saved = self.trainer.steps
        log.checkpoint(self.saved)

    def _what_is_kept(self) -> str:
        if self.saved is None:
            return "There is no checkpoint yet."
        if self.has_weights:
            return (
                f"The run is complete, and its weights are in {shown(str(self.folder.weights))}; for what is missing beside them: "
                f"dim train --resume {shell(str(self.folder.path))} --report"
            )
        if not self.folder.checkpoint.is_file():
            return f"{shown(str(self.folder.checkpoint))}, of step {self.saved}, is no longer there."
        return f"The checkpoint of step {self.saved} is kept; continue from it with: {self._resume_command()}"

    def _what_to_do_instead(self) -> str:
        """Of a run whose loss is no longer finite: resumed, it would come to the same step."""
        smaller = "a smaller --lr" + ", a smaller --weight-decay" * bool(self.settings.weight_decay) + ", or --gradient-clip 1"
        if self.saved is None:
            return f"Start again with {smaller}."
        return (
            f"The checkpoint of step {self.saved} is kept; start a run from it with {smaller}: "
            f"dim train --weights {shell(str(self.folder.checkpoint))} --lr X --output NEW"
        )

    def _resume_command(self) -> str:
        """With what is no setting of the run, and would be asked for in vain otherwise."""
        also = [
            f" --{name}" for name in ("tensorboard", "no-plot", "report") if getattr(self.arguments, name.replace("-", "_"))
        ]
        return f"dim train --resume {shell(str(self.folder.path))}{''.join(also)}"


# ---- Model, data and folders

#: Settings that are kept as they were chosen; others follow from the data and the preset.
_AS_GIVEN = (
    "seed",
    "epochs",
    "batch",
    "micro_batches",
    "precision",
    "schedule",
    "warmup_epochs",
    "step_epochs",
    "step_factor",
    "early_stopping",
    "checkpoint_every",
    "keep_all",
    "max_pixels",
    "skip_damaged",
    "augment",
)


def _augmentation(settings: Settings) -> Augmentation:
    augment, image = Augmentation.parse(settings.augment), settings.architecture["image"]
    try:
        augment.check(image["height"], image["width"])
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    return augment


def _check_rates(schedule: Schedule, settings: Settings) -> None:
    if not math.isfinite(schedule.last):
        raise UsageError(
            f"--step-factor: {settings.lr:g} times {settings.step_factor:g} every {counted(settings.step_epochs, 'epoch')} is no "
            f"finite learning rate after {counted(settings.epochs, 'epoch')}; expected a smaller factor"
        )


def _can_probe(train: Dataset, validation: Dataset | None) -> bool:
    """Whether there are labels of two classes on one side and labels on the other."""
    if validation is None or train.labels is None or validation.labels is None:
        return False
    return len(np.unique(train.labels)) >= 2


def _probe(settings: Settings, train: Dataset, validation: Dataset | None) -> evaluation.Probe | None:
    return evaluation.Probe(train, validation) if settings.probe and validation is not None else None


def _report_alone(arguments: argparse.Namespace) -> None:
    """Of a complete run."""
    folder = RunFolder(arguments.resume)
    rows = folder.read_metrics()
    with opened(str(folder.weights), None, arguments.untrusted) as model:
        page = report.write(folder, model, data=arguments.data)
    drawn = None if arguments.no_plot or not rows or folder.curves.exists() else draw_curves(folder, rows)
    found = {
        "event": "end",
        "status": "finished",
        "step": rows[-1].step if rows else None,
        "weights": str(folder.weights),
        "checkpoint": str(folder.checkpoint),
        "curves": drawn,
        "report": str(page),
    }
    _output.result(arguments, found, f"the run is complete: report in {shown(str(page))}", indent=None)


def _has_its_weights(folder: RunFolder, settings: Settings, trainer: Trainer, untrusted: bool) -> bool:
    """Whether weights.h5 is what the run has come to: of one that went on after its end, it is of before until the new end."""
    if not folder.weights.exists():
        return False
    if settings.early_stopping and not folder.best.exists():  # Removed since: nothing says more.
        return True
    try:
        with Model.open(folder.weights, untrusted=untrusted) as model:
            found = model.state_dict()
        if not settings.early_stopping:
            wanted = trainer.model.state_dict()
        else:
            with Model.open(folder.best, untrusted=untrusted) as model:
                wanted = model.state_dict()
    except FileAccessError:
        raise
    except DimError:  # Damaged: it is written again.
        return False
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in found)


def _is_complete(folder: RunFolder, settings: Settings, trainer: Trainer, done: float, arguments: argparse.Namespace) -> bool:
    """Whether nothing is left to train. Raises UsageError then where no report is asked for, and where more was done than that."""
    epochs = math.floor(done)
    if done > settings.epochs:
        raise UsageError(
            f"{folder.path}: the run has done {done:.4g} epochs already, more than the {settings.epochs} asked for; to continue, "
            f"set --epochs to {epochs + 1} or more; {folder.checkpoint} has its weights"
        )
    if not _has_its_weights(folder, settings, trainer, arguments.untrusted):  # They are still to be written.
        return False
    rows = [row for row in folder.read_metrics() if row.step <= trainer.steps]
    if done == settings.epochs:
        why = f"the run is complete, {counted(epochs, 'epoch')}; to continue, set --epochs to {epochs + 1} or more"
    elif _early_stopping.has_stalled(rows, settings.early_stopping, _early_stopping.smallest(rows)):
        why = (
            f"the run has stopped early: {counted(settings.early_stopping, 'epoch')} had no smaller validation loss; its weights "
            "are in weights.h5"
        )
    else:
        return False
    if not arguments.report:
        raise UsageError(f"{folder.path}: {why}")
    return True
