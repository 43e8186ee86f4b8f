"""Early stopping of `dim train`: which of a run's weights are the best that are kept, in best.h5, and when the run ends.

What best.h5 holds is asked of the file: metrics.csv may have been moved, and best.h5 removed or replaced, between two parts of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._text import shell
from ..errors import DimError
from ..model import Model
from ..run_folder import Row, RunFolder
from ..trainer import Trainer
from . import UsageError

#: By which two computations of one loss may differ, on two kinds of processor for instance.
_SAME = 1e-4


@dataclass(frozen=True)
class Best:
    """The weights in best.h5."""

    #: Of the validation loss.
    total: float
    #: After which they are; of a file of no known step, where the run was continued.
    step: int
    #: Epochs; None where metrics.csv does not say which.
    epoch: float | None

    @classmethod
    def of(cls, row: Row) -> Best:
        return cls(row.total, row.step, row.epoch)

    def is_beaten(self, row: Row) -> bool:
        """By a validation; one that is the same says which epoch it was."""
        return row.total < self.total or (self.epoch is None and row.total == self.total)

    @property
    def name(self) -> str:
        return "best.h5" if self.epoch is None else f"epoch {self.epoch:g}"


def validations(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.phase == "validation"]


def smallest(rows: Sequence[Row]) -> Best | None:
    """Of all validations; of equals the first."""
    row = min(validations(rows), key=lambda row: row.total, default=None)
    return None if row is None else Best.of(row)


def has_stalled(rows: Sequence[Row], patience: int, best: Best | None) -> bool:
    """Whether so many validations have passed since the best one; never with 0."""
    return bool(patience) and best is not None and sum(row.step > best.step for row in validations(rows)) >= patience


def kept(
    folder: RunFolder, rows: Sequence[Row], trainer: Trainer, total: Callable[[Trainer], float], untrusted: bool
) -> Best | None:
    """What best.h5 of a run to be continued holds; None without such a file. total: the validation loss of a trainer's model.

    Raises UsageError for a file that weights.h5 cannot be made of.
    """
    if not folder.best.is_file():
        return None
    model = _opened(folder.best, trainer.model, untrusted)
    with model, Trainer.resume(folder.checkpoint, untrusted=untrusted) as other:
        other.model.load_state_dict(model.state_dict())
        found = total(other)
    # The same number says which epoch it was; of others that are near, as another processor computes them, it was the smallest.
    known = [row for row in validations(rows) if math.isclose(row.total, found, rel_tol=_SAME)]
    if not known:
        return Best(found, trainer.steps, None)
    return Best.of(next((row for row in known if row.total == found), min(known, key=lambda row: row.total)))


def _opened(path: Path, model: Model, untrusted: bool) -> Model:
    way = f"move it elsewhere to go on without it: mv {shell(str(path))} {shell(f'{path}.old')}"
    try:
        found = Model.open(path, untrusted=untrusted)
    except DimError as error:
        raise UsageError(f"{error}; {way}") from error
    if found.architecture != model.architecture or found.networks != model.networks:
        raise UsageError(f"{path}: holds weights of other networks than checkpoint.h5: they are of different runs; {way}")
    return found


def lost(rows: Sequence[Row], best: Best | None, step: int) -> Best | None:
    """Better weights than these, which the run once had; those after `step` are there."""
    found = smallest(rows)
    if found is None or found.step == step or (best is not None and (best.step == found.step or best.total <= found.total)):
        return None
    return found


def told(best: Best | None, rows: Sequence[Row], step: int) -> str:
    """What the user of a continued run should know of best.h5; "" for nothing."""
    better = lost(rows, best, step)
    if best is None and better is None:
        return (
            ""
            if smallest(rows)
            else "best.h5 is not there: the best weights are those of the smallest validation loss from here on"
        )
    if better is not None:
        place = "is not there" if best is None else f"has a validation total of {best.total:.4f}"
        return (
            f"best.h5 {place}: the weights of {better.name}, validation total {better.total:.4f}, the best so far, are lost; the "
            "best that are left are kept"
        )
    if best is not None and best.epoch is None:
        return f"best.h5 has a validation total of {best.total:.4f}, of an epoch that metrics.csv lacks: it stays until one is better"
    return ""
