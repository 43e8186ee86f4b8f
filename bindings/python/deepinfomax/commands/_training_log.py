"""What `dim train` tells: metrics.csv, TensorBoard's files, the bar and lines of a terminal, or JSON for machines."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from .. import build_info
from .._files import write_whole
from .._text import counted, lines, rounded, shown, valid
from ..evaluation import K, ProbeResult, is_worse
from ..run_folder import Row, RunFolder, Settings, advice, append, figures
from ..trainer import Losses, Report
from . import _output
from ._early_stopping import Best
from ._progress import Progress, duration


class TrainingLog:
    """To be entered; `rows` are those of before, of a run that continues."""

    def __init__(
        self,
        folder: RunFolder,
        arguments: argparse.Namespace,
        settings: Settings,
        rows: list[Row],
        step: int,
        steps: int,
        batch: int,
        silent: bool = False,
    ) -> None:
        self._folder, self._arguments, self._settings, self.rows = folder, arguments, settings, rows
        #: Of a process that is not the first: rows alone, nothing is written or shown.
        self._silent = silent
        self._began, self._first = time.monotonic(), step
        self._warned = False
        #: Why lines of stdout are missing.
        self._unprinted: OSError | None = None
        self._seconds = rows[-1].seconds if rows else 0.0
        self._step, self._steps, self._batch = step, steps, batch

    def __enter__(self) -> TrainingLog:
        self._metrics: TextIO = io.StringIO() if self._silent else self._folder.write_metrics(self.rows)
        tells = _output.prints_text(self._arguments) and not self._silent
        self._progress = Progress(self._steps * self._batch, self._step * self._batch, shown=tells)
        self._board = None
        if self._arguments.tensorboard and not self._silent:
            from ._tensorboard import EventFile

            self._board = EventFile(self._folder.path, self._first if self._arguments.resume else None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.close()
        if self._board is not None:
            self._board.close()
        try:
            self._metrics.close()
        except OSError:  # A full disk, which has been told of when a row was written.
            pass

    # ---- Events

    def begin(self, data: str, steps_per_epoch: int) -> None:
        settings = self._settings
        self._event(
            "start",
            step=self._step,
            steps=self._steps,
            output=str(self._folder.path),
            data_name=data,
            steps_per_epoch=steps_per_epoch,
            settings=asdict(settings),
            libdim=build_info(),
        )
        validation = f", {settings.validation_images:,} for validation" if settings.validation_images else ""
        images = counted(settings.images, "image")
        self._say(f"{build_info()}")
        self._say(f"{shown(data)}: {images}{validation}; {counted(steps_per_epoch, 'step')} an epoch")
        if self._step:
            self._say(f"{shown(str(self._folder.path))}: continuing after step {self._step} of {self._steps}")
        else:
            batch = str(settings.batch) if self._batch == settings.batch else f"{self._batch}, which is all images"
            epochs = counted(settings.epochs, "epoch")
            self._say(f"{shown(str(self._folder.path))}: {epochs}, batch {batch}, prior {settings.prior}")
            self._say(f"{_architecture(settings)}; {_objective(settings)}")
        if not (self._arguments.no_plot or _has_matplotlib()):
            self._say('no curves will be drawn: matplotlib is not installed (pip install "deepinfomax[plot]")')

    def step(self, step: int, per_epoch: int, losses: Losses, report: Report, rate: float, images: int, seconds: float) -> None:
        row = self._row(
            "train", step, per_epoch, losses, rate, images, seconds, prior_distance=report.prior_distance, **figures(report)
        )
        self._progress.advance(self._batch, f"epoch {row.epoch:.2f}, total {rounded(row.total, 4):.4f}")

    def validation(
        self,
        step: int,
        per_epoch: int,
        losses: Sequence[float],
        rate: float,
        images: int,
        seconds: float,
        prior_distance: float,
        others: Mapping[str, float],
    ) -> Row:
        """prior_distance: NaN where there is no prior. others: what `figures` gives."""
        row = self._row("validation", step, per_epoch, losses, rate, images, seconds, prior_distance=prior_distance, **others)
        terms = [f"{name.rstrip('_')} {rounded(value, 4):.4f}" for name, value in row.losses._asdict().items()]
        distance = "" if math.isnan(prior_distance) else f", {prior_distance:.3f} from uniform"
        places = "" if math.isnan(row.coordinates) else f", coordinates {row.coordinates:.4f}"
        self._say(
            f"epoch {row.epoch:<4g} validation: {', '.join(terms)}"
            f"{distance}{places}{_information(row)}; {duration(row.seconds)}{self._left(step)}"
        )
        return row

    def _left(self, step: int) -> str:
        """Of the time, by the speed since the command began."""
        done = step - self._first
        if done <= 0 or step >= self._steps:
            return ""
        return f", {duration((time.monotonic() - self._began) / done * (self._steps - step))} left"

    def probe(self, step: int, per_epoch: int, found: ProbeResult, images: int, seconds: float) -> None:
        """At step 0 that of the untrained encoder; of a later one, whether it is worse than that."""
        nothing = [math.nan] * 4
        row = self._row(
            "probe",
            step,
            per_epoch,
            nothing,
            math.nan,
            images,
            seconds,
            linear_probe=found.linear,
            nearest_neighbours=found.nearest_neighbours,
        )
        untrained = next((row for row in self.rows if row.phase == "probe" and row.step == 0), None)
        first = self._settings.beginning
        who = first if step == 0 else "probe"
        text = f"epoch {row.epoch:<4g} {who}: linear {found.linear:.1%}, {K}-NN {found.nearest_neighbours:.1%}"
        if step and untrained is not None:
            text += f"; {first} {untrained.linear_probe:.1%}, {untrained.nearest_neighbours:.1%}"
        self._say(text)
        if step and untrained is not None and is_worse(found.linear, untrained.linear_probe, images) and not self._warned:
            self._warned = True
            message = (
                f"after epoch {row.epoch:g} a linear classifier does worse on the vectors ({found.linear:.1%}) than on "
                f"those of the encoder {first} ({untrained.linear_probe:.1%}). {advice(self._settings)}"
            )
            self._event("warning", step=step, message=message)
            if not self._silent:
                _output.note(self._arguments, message)

    def best(self, best: Best, lost: Best | None, *, stopped: bool) -> None:
        """Of early stopping: the weights that are kept, and better ones that the run has lost."""
        self._event("best", step=None if best.epoch is None else best.step, total=best.total, stopped=stopped)
        text = f"weights of {best.name}, validation total {best.total:.4f}, are the best"
        if lost is not None:
            text += f" that are left: those of {lost.name}, validation total {lost.total:.4f}, are lost"
        self._say(f"stopped early: {text}" if stopped else text)

    def checkpoint(self, step: int) -> None:
        self._event("checkpoint", step=step, path=str(self._folder.checkpoint))

    def saved(self, step: int) -> None:
        """A checkpoint between two epochs, that a signal asked for."""
        self._say(f"checkpoint of step {step} in {shown(str(self._folder.checkpoint))}")

    def finished(self, step: int, report: Path | None) -> None:
        """`report`: its page, where one was written."""
        curves = self._draw()
        self._event(
            "end",
            status="finished",
            step=step,
            weights=str(self._folder.weights),
            checkpoint=str(self._folder.checkpoint),
            curves=curves,
            report=None if report is None else str(report),
        )
        also = [f"{what} in {shown(str(path))}" for what, path in (("curves", curves), ("report", report)) if path is not None]
        self._say(", ".join([f"done: weights in {shown(str(self._folder.weights))}", *also]))

    def interrupted(self, step: int, resume: str) -> None:
        self._event("end", status="interrupted", step=step, checkpoint=str(self._folder.checkpoint), resume=resume)
        self._say(f"interrupted after step {step}, which is saved; continue with: {resume}")

    def failed(self, message: str) -> int:
        """The exit code."""
        self._event("end", status="failed", error=message)
        self._progress.close()
        if not self._silent:
            _output.error("train", message)
        return 1

    @property
    def code(self) -> int:
        """The exit code of a run that is complete: 2 if what it printed is not, which is told at last."""
        if self._unprinted is None:
            return 0
        _output.error("train", f"output: {self._unprinted.strerror}")
        return 2

    def has(self, phase: str, step: int) -> bool:
        """Whether the run had its validation or probe after this step before it was interrupted."""
        return any(row.phase == phase and row.step == step for row in self.rows)

    def flush(self) -> None:
        self._metrics.flush()

    # ---- Where they go

    def _row(
        self,
        phase: str,
        step: int,
        per_epoch: int,
        losses: Sequence[float],
        rate: float,
        images: int,
        seconds: float,
        **others: float,
    ) -> Row:
        self._seconds += seconds
        total, local, global_, prior = map(float, losses)
        row = Row(step, step / per_epoch, phase, total, local, global_, prior, rate, images / seconds, self._seconds, **others)
        try:
            append(self._metrics, row)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder.metrics_file)) from error
        self.rows.append(row)
        if self._board is not None:
            self._board.add(row)
        known = {name: value for name, value in asdict(row).items() if not (isinstance(value, float) and math.isnan(value))}
        values = {name.rstrip("_"): value for name, value in known.items() if name != "phase"}
        self._event("step" if phase == "train" else phase, **values)
        return row

    def _event(self, event: str, **values: Any) -> None:
        if self._arguments.json and not self._silent:
            self._print(_output.json_text({"event": event, **values}))

    def _say(self, text: str) -> None:
        if _output.prints_text(self._arguments) and not self._silent:
            self._print(lines(valid(text)))

    def _print(self, text: str) -> None:
        """Who reads along may go: a closed terminal or pipe ends no run, whose losses are in metrics.csv. Nor does a full disk,
        but of that the run's end tells."""
        try:
            self._progress.say(text)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                self._unprinted = error
            _output.suppress()

    def _draw(self) -> str | None:
        """The picture's path; None where there is none."""
        return None if self._silent or self._arguments.no_plot else draw_curves(self._folder, self.rows)


def draw_curves(folder: RunFolder, rows: Sequence[Row]) -> str | None:
    """Of a run; the picture's path, None without matplotlib."""
    if not _has_matplotlib():
        return None
    from ..plots import curves

    write_whole(folder.curves, curves.draw(rows, valid(str(folder.path))))
    return str(folder.curves)


def _information(row: Row) -> str:
    """What the measure says that vectors tell of their images."""
    found = (("local", row.local_information), ("global", row.global_information))
    parts = [f"{name} {rounded(value, 2):.2f}" for name, value in found if not math.isnan(value)]
    return f", estimates {', '.join(parts)} nats" if parts else ""


def _architecture(settings: Settings) -> str:
    described = settings.architecture
    image = described["image"]
    size = f"{image['channels']}x{image['height']}x{image['width']}"
    return f"architecture {described.get('preset') or 'of its own'}, images {size}"


def _objective(settings: Settings) -> str:
    weights = zip(("local", "global", "prior"), (settings.beta, settings.alpha, settings.gamma), strict=True)
    terms = [f"{weight:g} {term}" for term, weight in weights if weight and (term != "prior" or settings.prior != "none")]
    if settings.coordinates != "none":
        terms.append(f"{settings.coordinates_weight:g} {settings.coordinates} coordinates")
    found = " + ".join(terms) or "nothing"
    if settings.occlusion:
        found += ", vectors of occluded images"
    return f"{settings.measure}, negatives {settings.negatives}: {found}; Adam {settings.lr:g}"


def _has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None
