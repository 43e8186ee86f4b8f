"""Encoder and classifier trained together for `dim classify`. It takes as long as training an encoder: it may be stopped,
and continues bit for bit from a folder with two files a seed.

    end-to-end-0.h5      the newest checkpoint, about 200 MB; a weights file as well
    end-to-end-0.json    what it was started with, and the epochs that are done
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from .. import evaluation
from .._files import write_whole
from .._text import counted, parsed_json
from ..architecture import Architecture
from ..classifier_trainer import ClassifierTrainer
from ..data import Dataset, Loader
from ..evaluation import Epoch, Settings
from ..model import Model
from ..run_data import classes_digest, digest_of
from . import UsageError
from ._common import opened
from ._interrupts import NOTICE, Interrupts
from ._progress import Progress


class Stopped(Exception):
    """The user has stopped the training, and a checkpoint has been written. `exit_code` is the command's."""

    def __init__(self, step: int, exit_code: int) -> None:
        super().__init__(step)
        self.step, self.exit_code = step, exit_code


def needed(architecture: Architecture) -> int:
    """Bytes of two checkpoints: all weights, and two values of Adam beside each that is trained."""
    with Model(0, architecture=architecture) as model:
        entries = model.parameters_info()
    trained = [info for info in entries if info.trainable and info.name.split(".")[0] in ("encoder", "classifier")]
    return 2 * (sum(info.nbytes for info in entries) + 2 * sum(info.nbytes for info in trained))


def train(
    images: Dataset, architecture: Architecture, settings: Settings, kept: Kept | None, *, every: int, shown: bool
) -> tuple[Model, list[Epoch]]:
    """Trains from the weights of the seed, or continues where there is a checkpoint of it. Returns the model, in evaluation mode,
    and its history.

    kept: where checkpoints are. every: epochs between two of them. Raises Stopped, only where they are kept; UsageError for a
    checkpoint of something else.
    """
    if kept is None:
        with _progress(images, settings, 0, shown) as progress:
            with ClassifierTrainer(
                Model(settings.seed, architecture=architecture), "trained", settings.loss, settings.lr
            ) as trainer:
                return trainer.model, evaluation.train_on_images(trainer, images, settings, on_images=progress.advance)
    trainer, history = kept.opened()

    def on_epoch(epoch: Epoch) -> None:
        history.append(epoch)
        if epoch.number % every == 0 or epoch.number == settings.epochs:
            kept.save(trainer, history)

    with trainer, _progress(images, settings, trainer.steps, shown) as progress, Interrupts(NOTICE) as interrupts:

        def stopped() -> bool:
            if interrupts.take_save_request():
                kept.save(trainer, history)
            return interrupts.wanted is not None

        evaluation.train_on_images(trainer, images, settings, on_epoch, progress.advance, stopped)
        if interrupts.wanted is not None:
            kept.save(trainer, history)
            raise Stopped(trainer.steps, interrupts.exit_code)
        return trainer.model, history


def _progress(images: Dataset, settings: Settings, steps: int, shown: bool) -> Progress:
    an_epoch = len(images) // settings.batch * settings.batch
    return Progress(settings.epochs * an_epoch, steps * settings.batch, shown=shown)


@dataclass(frozen=True)
class Kept:
    """The two files of a seed."""

    folder: Path
    images: Dataset
    architecture: Architecture
    settings: Settings

    @property
    def _checkpoint(self) -> Path:
        return self.folder / f"end-to-end-{self.settings.seed}.h5"

    @property
    def _about(self) -> Path:
        return self._checkpoint.with_suffix(".json")

    def check(self) -> list[Epoch]:
        """The epochs that the JSON file names, if it describes a checkpoint of this training. What takes no time: `dim classify` asks
        before it computes anything else."""
        if not self._checkpoint.exists():
            if self._about.exists():
                raise UsageError(
                    f"{self._about}: is there without {self._checkpoint.name}, whose epochs it would hold; name another folder, or "
                    "remove it"
                )
            return []
        try:
            started, epochs = _described(parsed_json(self._about.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise self._not_described(getattr(error, "strerror", None) or str(error)) from error
        for name, value in self._started().items():
            if started.get(name) != value:
                if name == "architecture":
                    self._refuse_architecture()
                before, now = (str(one).replace("_", "-") if name == "loss" else one for one in (started.get(name), value))
                raise UsageError(
                    f"--checkpoint: {self._checkpoint} was started with {name} {before}, now it is {now}; name another folder"
                )
        # Other numbers are compared with the checkpoint's steps, when it is opened.
        if [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1)) and len(epochs) > self.settings.epochs:
            raise self._done_already(counted(len(epochs), "epoch"))
        return epochs

    def opened(self) -> tuple[ClassifierTrainer, list[Epoch]]:
        """A trainer, and the epochs that it has done."""
        epochs = self.check()
        if not self._checkpoint.exists():
            model = Model(self.settings.seed, architecture=self.architecture)
            return ClassifierTrainer(model, "trained", self.settings.loss, self.settings.lr), []
        trainer = ClassifierTrainer.resume(self._checkpoint)
        done, into = divmod(trainer.steps, len(Loader(self.images, self.settings.batch, self.settings.seed)))
        # Some may lack: a process may have been killed between the two files.
        numbers = [epoch.number for epoch in epochs]
        if numbers != sorted(set(numbers)) or not all(1 <= number <= done for number in numbers):
            raise self._not_described(f"its epochs are not those of the {done:,} that the checkpoint has done")
        if done + (into > 0) > self.settings.epochs:
            raise self._done_already(f"{counted(done, 'epoch')}{' and a part' if into else ''}")
        return trainer, epochs

    def _done_already(self, done: str) -> UsageError:
        return UsageError(
            f"--checkpoint: {self._checkpoint} has done {done} already, more than the {self.settings.epochs} that are asked for; "
            "name another folder"
        )

    def _not_described(self, why: str) -> UsageError:
        return UsageError(
            f"{self._about}: does not describe {self._checkpoint.name}: {why}; name another folder, or remove both files to "
            "begin anew"
        )

    def _refuse_architecture(self) -> NoReturn:
        """In the words of any file of another one: two whole descriptions say less."""
        with opened(str(self._checkpoint), self.architecture, False, "name another folder"):
            raise UsageError(f"{self._about}: its architecture is not that of {self._checkpoint.name}; name another folder")

    def save(self, trainer: ClassifierTrainer, history: list[Epoch]) -> None:
        trainer.save(self._checkpoint)
        about = {"started": self._started(), "epochs": [asdict(epoch) for epoch in history]}
        write_whole(self._about, (json.dumps(about, indent=2) + "\n").encode())

    def _started(self) -> dict[str, Any]:
        """What must not change; the number of epochs may."""
        settings = asdict(self.settings)
        del settings["epochs"]
        about = {
            "data": self.images.name,
            "images": len(self.images),
            "architecture": self.architecture.as_dict(),
            "digest of the data": digest_of(self.images),
            "digest of the classes": classes_digest(self.images),
        }
        return {**about, **settings}


def _described(about: Any) -> tuple[dict[str, Any], list[Epoch]]:
    """What `Kept.save` writes. Raises ValueError for anything else."""
    if not isinstance(about, dict):
        raise ValueError("expected an object")
    for name, kind, text in (("started", dict, "an object"), ("epochs", list, "a list")):
        if name not in about:
            raise ValueError(f"{name!r} is missing")
        if not isinstance(about[name], kind):
            raise ValueError(f"{name}: expected {text}")
    return about["started"], [_epoch(value, place) for place, value in enumerate(about["epochs"])]


def _epoch(value: Any, place: int) -> Epoch:
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(Epoch)}:
        raise ValueError(f"epochs[{place}]: expected number, loss and accuracy")
    number, loss, accuracy = value["number"], value["loss"], value["accuracy"]
    if type(number) is not int or not all(type(x) in (int, float) and 0 <= x < 1e300 for x in (loss, accuracy)) or accuracy > 1:
        raise ValueError(f"epochs[{place}]: expected a whole number, a finite loss and an accuracy up to 1")
    return Epoch(number, float(loss), float(accuracy))
