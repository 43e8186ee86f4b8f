"""The runs of `dim check --train`, one after the other: training from seeds alone, here and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from .. import num_threads
from ..classifier_trainer import ClassifierLoss, EncoderUse
from ..data import photographs
from ..trainer import Prior
from . import runs
from .deviations import Deviation, deviations, worst
from .runs import Expected, Floats, Outcome

_CLASSIFIER_RUNS = runs.CLASSIFIER_RUNS[0], runs.CLASSIFIER_RUNS[-1]


@dataclass(frozen=True)
class Row:
    """The worst of one group: a term of the loss over all steps, or a network's parameters."""

    run: str
    #: "loss total", "encoder"...
    what: str
    #: Where it is worst: "step 3", "b2.weight".
    where: str
    #: How far it is from PyTorch's float64, here and in PyTorch's float32 (the scale of deviations.py).
    here: float
    float32: float
    ratio: float
    passed: bool


def rows(there: Reference, steps: int) -> Iterator[Row]:
    """A run is computed when its first row is asked for."""
    photos = there.photographs
    gradients = {(prior, n): there.gradients(prior, n) for prior in runs.PRIORS for n in runs.GRADIENT_BATCHES}
    for (prior, n), expected in gradients.items():
        found = runs.gradients(photos, prior, n)
        found.history.clear()  # The runs show the losses.
        yield from _summary(f"gradients, {prior}, batch {n}", deviations(found, expected, gradients.values()))
    for prior in runs.PRIORS:
        found = runs.objective_run(photos, prior, steps, {there.kept})
        yield from _summary(f"run, {prior}", deviations(found, there.objective(prior)))
    for encoder, loss in _CLASSIFIER_RUNS:
        found = runs.classifier_run(photos, encoder, loss, steps, {there.kept})
        yield from _summary(f"classifier, encoder {encoder}", deviations(found, there.classifier(encoder, loss)))


def _summary(run: str, found: list[Deviation]) -> Iterator[Row]:
    for d in worst(found):
        yield Row(run, d.group, _short(d.where), d.here, d.scale, d.ratio, d.passed)


def _short(where: str) -> str:
    """Without the network, which is in the column before."""
    step, _, entry = where.rpartition("/")
    name = entry.partition(".")[2] if "." in entry else entry
    return f"{name}, {step.replace('step', 'step ')}" if step else name


# ---- What it is compared with


class Reference(Protocol):
    """The other side: PyTorch at work, or what it once computed."""

    description: str
    photographs: Floats
    #: The weights are compared after this many steps.
    kept: int

    def gradients(self, prior: Prior, n: int) -> Expected: ...
    def objective(self, prior: Prior) -> Expected: ...
    def classifier(self, encoder: EncoderUse, loss: ClassifierLoss) -> Expected: ...


class Live:
    """PyTorch in float64 and float32, training beside us, one step farther: the scale of the last loss needs it."""

    def __init__(self, steps: int) -> None:
        import torch

        from . import objective

        torch.set_num_threads(num_threads())
        self._objective = objective
        self.description = f"PyTorch {torch.__version__} in float64 and float32, live"
        self.photographs = photographs.pixels(runs.Recorded().photographs)
        self.kept = steps

    def gradients(self, prior: Prior, n: int) -> Expected:
        return self._expected(self._objective.gradients_of, prior, n)

    def objective(self, prior: Prior) -> Expected:
        return self._expected(self._objective.objective_run, prior, self.kept + 1, {self.kept})

    def classifier(self, encoder: EncoderUse, loss: ClassifierLoss) -> Expected:
        return self._expected(self._objective.classifier_run, encoder, loss, self.kept + 1, {self.kept})

    def _expected(self, compute: Callable[..., Outcome], *arguments: Any) -> Expected:
        return self._objective.expected(partial(compute, self.photographs, *arguments))


class Recorded:
    """What PyTorch computed when Tests/golden/record.py was last run."""

    def __init__(self, steps: int) -> None:
        if steps > runs.STEPS:
            raise ValueError(f"numbers are recorded for {runs.STEPS} steps; to check {steps}, install PyTorch")
        self._recording = runs.Recorded()
        self.description = f"numbers recorded from {self._recording.version} in float64 and float32"
        self.photographs = photographs.pixels(self._recording.photographs)
        self.kept = max(kept for kept in runs.KEPT if kept <= steps)

    def gradients(self, prior: Prior, n: int) -> Expected:
        return self._recording.expected(f"gradients/{prior}/batch{n}")

    def objective(self, prior: Prior) -> Expected:
        return self._of_step(self._recording.expected(f"run/{prior}"))

    def classifier(self, encoder: EncoderUse, loss: ClassifierLoss) -> Expected:
        return self._of_step(self._recording.expected(f"classifier/{encoder}/{loss}"))

    def _of_step(self, run: Expected) -> Expected:
        return Expected(_kept(run.arrays, {self.kept}), run.history, run.history32)


def _kept(arrays: Mapping[str, Any], steps: Collection[int]) -> dict[str, Any]:
    return {name: value for name, value in arrays.items() if name.partition("/")[0] in {f"step{k}" for k in steps}}
