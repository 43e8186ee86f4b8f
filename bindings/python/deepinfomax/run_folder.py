"""The folder of a training run: settings, metrics, checkpoint, and in the end weights and curves.

settings.json     what the run was started with: all that `dim train --resume` needs beside the checkpoint, and what
                  `dim train --config` takes
metrics.csv       a row a step, a row a validation and a row a probe; what a row does not have is empty
checkpoint.h5     the newest checkpoint; replaced in one go
best.h5           with early stopping: the weights of the smallest validation loss so far
weights.h5        the weights at the end, or with early stopping the best ones
curves.png        the losses and the probes, drawn
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from ._arrays import digest
from ._files import path_text, write_whole
from ._text import parsed_json, shell, shown
from .data.errors import listed
from .data.reading import Reading
from .trainer import Losses, Report


@dataclass(frozen=True)
class Settings:
    """What determines a run."""

    #: The path of the data, None for the sample photographs; and how many images it had.
    data: str | None
    images: int
    #: Images for validation; 0 for none.
    validation_images: int
    #: The weights file it started from; None for the seed's.
    weights: str | None
    seed: int
    epochs: int
    batch: int
    #: The description of all networks, complete.
    architecture: dict[str, Any]
    measure: str
    #: "all", "rotation" or a number.
    negatives: str | int
    prior: str
    alpha: float
    beta: float
    gamma: float
    gradient_penalty: float
    gradient_clip: float
    lr: float
    betas: Sequence[float]
    weight_decay: float
    schedule: str
    #: Epochs, or a part of one, in which the rate rises to `lr`.
    warmup_epochs: float
    #: Of the schedule "step": epochs between two changes, and what the rate is multiplied by.
    step_epochs: int
    step_factor: float
    #: Epochs without a smaller validation loss after which the run ends; 0: it does not.
    early_stopping: int
    #: Epochs between two probes; 0: none.
    probe: int
    checkpoint_every: int
    keep_all: bool
    #: How images are read: see `open_dataset`.
    max_pixels: int | None = None
    skip_damaged: bool = False
    #: Whether no size was asked for, all images being of one: another is an error, at the start and later.
    one_size: bool = False
    #: The structure terms, and how many locations the local term uses.
    coordinates: str = "none"
    coordinates_weight: float = 1.0
    occlusion: bool = False
    locations: int | None = None
    #: What is done to images: see `data.Augmentation`.
    augment: str = ""
    #: Parts of a batch whose gradients are averaged, and that processes share.
    micro_batches: int = 1
    #: Of the score networks' products.
    precision: str = "float32"
    #: For reports: the command that started the run, and when, in UTC.
    command: str = ""
    started: str = ""
    #: Of labels and of some of the images (`run_data.digest_of`); "" where it is not known.
    digest: str = ""
    #: Of the classes' names; "" where there are none, or they are not known.
    classes: str = ""
    #: Of each setting that a resumed run keeps (`kept_of`), as the run began; None: not known.
    kept: Mapping[str, str] | None = None
    #: Whether `probe` was not asked for, but follows from data and epochs: for other data it is another.
    probe_by_default: bool = False
    #: Likewise `validation_images`, of which small data has fewer.
    validation_by_default: bool = False

    @property
    def beginning(self) -> str:
        """What the encoder is called before the first step."""
        return "untrained" if self.weights is None else "at the start"

    @property
    def reading(self) -> Reading:
        image = self.architecture["image"]
        size = (image["channels"], image["height"], image["width"])
        return Reading("none" if self.one_size else image["resize"], self.max_pixels, self.skip_damaged, size)


#: What a resumed run may change, and what is compared with its checkpoint and its data.
_NOT_KEPT = ("data", "images", "epochs", "architecture", "command", "started", "digest", "classes", "kept")


def kept_of(settings: Settings) -> dict[str, str]:
    """Of each setting that a resumed run keeps, a digest: of an edited file it tells which is another."""
    kept = {name: value for name, value in asdict(settings).items() if name not in _NOT_KEPT}
    return {name: digest(json.dumps(_canonical(value)).encode())[:8] for name, value in kept.items()}


def _canonical(value: Any) -> Any:
    """Programs that write JSON anew may write 0 for 0.0."""
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Row:
    """One line of metrics.csv."""

    step: int
    #: Epochs that are done, a fraction.
    epoch: float
    #: "train": the batch's losses before the update that makes `step` complete; "validation"; "probe", at step 0 that of
    #: the untrained encoder.
    phase: str
    total: float
    local: float
    global_: float
    prior: float
    learning_rate: float
    images_per_second: float
    #: Since the run started, interruptions left out.
    seconds: float
    #: Of a probe: accuracies on held-out images.
    linear_probe: float = math.nan
    nearest_neighbours: float = math.nan
    #: With a prior, how far the vectors are from it: all of a validation's (`evaluation.prior_distance`), or a batch's.
    prior_distance: float = math.nan
    #: See `trainer.Report`.
    coordinates: float = math.nan
    gradient_penalty: float = math.nan
    local_information: float = math.nan
    global_information: float = math.nan
    local_score: float = math.nan
    global_score: float = math.nan
    gradient_norm: float = math.nan
    encoder_norm: float = math.nan
    global_d_norm: float = math.nan
    local_d_norm: float = math.nan
    prior_d_norm: float = math.nan
    coordinates_d_norm: float = math.nan

    @property
    def losses(self) -> Losses:
        return Losses(self.total, self.local, self.global_, self.prior)


#: Of a Report, in a Row.
FIGURES = ("coordinates", "gradient_penalty", "local_information", "global_information", "local_score", "global_score")


def figures(report: Report) -> dict[str, float]:
    """Of a Row: what a report says beside the losses and the distance from the prior."""
    norms = {f"{name}_norm": norm for name, norm in report.gradient_norms.items()}
    return {name: getattr(report, name) for name in FIGURES} | {"gradient_norm": report.gradient_norm} | norms


#: Names of what a run writes into its folder, as patterns.
FILES = ("settings.json", "metrics.csv", "checkpoint*.h5", "best.h5", "weights.h5", "curves.png", "report.html")
_COLUMNS = [field.name.rstrip("_") for field in fields(Row)]
_JUDGED = _COLUMNS.index("linear_probe")


class RunFolder:
    """Names and contents of a run's files. Errors of the operating system are raised as they come, as OSError."""

    def __init__(self, path: str | bytes | os.PathLike[Any]) -> None:
        self.path = Path(path_text(path, "folder"))
        self.settings_file = self.path / "settings.json"
        self.metrics_file = self.path / "metrics.csv"
        self.checkpoint = self.path / "checkpoint.h5"
        self.best = self.path / "best.h5"
        self.weights = self.path / "weights.h5"
        self.curves = self.path / "curves.png"

    def kept_checkpoint(self, epoch: int) -> Path:
        return self.path / f"checkpoint-{epoch:04}.h5"

    @property
    def results(self) -> list[Path]:
        """What it holds that a run has come to."""
        return [path for path in (self.checkpoint, self.weights, self.best, self.curves) if path.is_file()]

    def begins(self, path: Path) -> bool:
        """Whether a run has left this file before its first checkpoint: a new one may begin anew."""
        read = {self.settings_file: self.read_settings, self.metrics_file: self.read_metrics}.get(path)
        if read is None:
            return False
        try:
            read()
        except (ValueError, OSError):
            return False
        return True

    def write_settings(self, settings: Settings) -> None:
        write_whole(self.settings_file, (json.dumps(asdict(settings), indent=2) + "\n").encode())

    def read_settings(self) -> Settings:
        """Raises ValueError for a file that this package did not write."""
        try:
            found = parsed_json(self.settings_file.read_text("utf-8-sig"))
            if not isinstance(found, dict):
                raise ValueError(f"expected an object, found {type(found).__name__}")
            needed = {field.name: field.default is MISSING for field in fields(Settings)}
            strange = [f"{shown(name)} is no setting" for name in found if name not in needed]
            strange += [f"{name} is missing" for name, always in needed.items() if always and name not in found]
            if strange:
                raise ValueError(
                    f"{listed(strange, 5)}. If another version of deepinfomax wrote it, continue with that one, or start a run "
                    f"with --weights {shell(str(self.checkpoint))}"
                )
            return Settings(**found)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{shown(str(self.settings_file))}: not the settings of a run: {error}") from error

    def read_metrics(self) -> list[Row]:
        """All whole rows; none where there is no such file. Raises ValueError for a file that this package did not write."""
        if not self.metrics_file.exists():
            return []
        if not self.metrics_file.is_file():  # A pipe would be waited for.
            raise ValueError(f"{self.metrics_file}: is no file")
        try:
            with open(self.metrics_file, newline="", encoding="utf-8") as file:
                lines = list(csv.reader(file, quoting=csv.QUOTE_NONE))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{self.metrics_file}: not the metrics of a run: {error}") from error
        if not lines or lines[0] != _COLUMNS:
            raise ValueError(
                f"{self.metrics_file}: not the metrics of a run, or those of another version: expected columns "
                f"{', '.join(_COLUMNS)}; move it elsewhere to go on without it"
            )
        rows: list[Row] = []
        damaged = 0
        for number, line in enumerate(lines[1:], 2):
            row = _row(line)
            if row is not None and row.step < (rows[-1].step if rows else 0):
                raise ValueError(
                    f"{self.metrics_file}: line {number} is of step {row.step}, after one of step {rows[-1].step if rows else 0}; "
                    "repair the file, or move it elsewhere to go on without it"
                )
            if row is None:  # What was being written when the machine stopped, if nothing follows.
                damaged = damaged or number
            elif damaged:  # A run that continues writes the file anew: this would be lost.
                raise ValueError(
                    f"{self.metrics_file}: line {damaged} is damaged; repair or remove it, or move the file elsewhere to go on without it"
                )
            else:
                rows.append(row)
        return rows

    def write_metrics(self, rows: Iterable[Row]) -> TextIO:
        """Begins the file anew with these rows. Returns it open: `append` adds to it."""
        text = ",".join(_COLUMNS) + "\n" + "".join(map(_line, rows))
        write_whole(self.metrics_file, text.encode())
        return open(self.metrics_file, "a", newline="", encoding="utf-8", buffering=1)


def _row(line: list[str]) -> Row | None:
    """None for a line that is not whole."""
    try:
        step, epoch, phase, *numbers = line
        if len(line) != len(_COLUMNS) or "_" in step + epoch + "".join(numbers):  # Which Python reads over.
            return None
        return Row(int(step), float(epoch), phase, *(float(number or "nan") for number in numbers))
    except (TypeError, ValueError):
        return None


def advice(settings: Settings) -> str:
    """What to try where training makes the vectors worse."""
    tries = []
    if settings.measure != "nce" or settings.prior == "monolithic":
        tries.append(
            "train without --architecture notebook, --measure and --prior: nce over all pairs and no prior are the defaults"
        )
    tries.append(f"a smaller --lr than {settings.lr:g}, a larger --batch than {settings.batch}, or more epochs")
    return f"Try {'; or '.join(tries)}."


def append(metrics: TextIO, row: Row) -> None:
    """Writes a row, at once."""
    metrics.write(_line(row))


def _line(row: Row) -> str:
    """repr keeps every bit of a loss."""
    losses = ",".join(map(_number, (*row.losses, row.learning_rate)))
    speed = f"{row.images_per_second:.3f},{row.seconds:.3f}"
    others = ",".join(_number(getattr(row, field.name)) for field in fields(Row)[_JUDGED:])
    return f"{row.step},{row.epoch:.6f},{row.phase},{losses},{speed},{others}\n"


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
