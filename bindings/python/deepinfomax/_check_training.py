"""`dim check --train`: training from seeds alone, here and in PyTorch, and how far they differ."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from . import _training, build_info, num_threads, photographs
from ._deviations import MULTIPLE, Deviation, deviations, worst
from ._training import Expected, Floats, Outcome
from .classifier_trainer import ClassifierLoss, EncoderUse
from .commands import UsageError
from .trainer import Prior

#: Of the runs that are compared.
STEPS = 5
_CLASSIFIER_RUNS = _training.CLASSIFIER_RUNS[0], _training.CLASSIFIER_RUNS[-1]


def run(steps: int, live: bool, recorded: bool, as_json: bool, quiet: bool = False) -> int:
    """live, recorded: which of them was asked for; else PyTorch at work where it is installed. Returns the exit code."""
    have_torch = importlib.util.find_spec("torch") is not None
    if live and not have_torch:
        raise UsageError("--live: PyTorch is not installed")
    there: Reference = Recorded(steps) if recorded or not have_torch else Live(steps)
    report: dict[str, Any] = {
        "libdim": build_info(),
        "reference": there.description,
        "runs": f"{steps} steps on {_training.BATCH} photographs each, weights of seed {_training.MODEL_SEED}",
        "criterion": f"no farther from float64 than {MULTIPLE:g} times PyTorch's float32 is",
        "rows": [],
    }
    show: Callable[..., None] = (lambda *_: None) if as_json or quiet else partial(print, flush=True)
    show(_head(report))
    rows: list[Row] = []
    for row in _rows(there, steps):
        rows.append(row)
        show(row.line())
    failures = sum(not row.passed for row in rows)
    show()
    report |= {"rows": [asdict(row) for row in rows], "passed": not failures}
    largest = max(rows, key=lambda row: row.ratio)
    show(
        f"FAILED: {failures} of {len(rows)} comparisons"
        if failures
        else f"passed: {len(rows)} comparisons, at most {largest.ratio:.2f} times as far as PyTorch's float32 "
        f"({largest.run}, {largest.what})"
    )
    if as_json:
        print(json.dumps(report, indent=2))
    return 1 if failures else 0


# ---- What is compared


@dataclass(frozen=True)
class Row:
    """The worst of one group: a term of the loss over all steps, or a network's parameters."""

    run: str
    #: "loss total", "encoder"...
    what: str
    #: Where it is worst: "step 3", "b2.weight".
    where: str
    #: How far it is from PyTorch's float64, here and in PyTorch's float32 (the scale of _deviations.py).
    here: float
    float32: float
    ratio: float
    passed: bool

    def line(self) -> str:
        verdict = f"{self.ratio:.2f}" if self.passed else "FAIL"
        return _columns(self.run, self.what, self.where, f"{self.here:.1e}", f"{self.float32:.1e}", verdict)


def _rows(there: Reference, steps: int) -> Iterator[Row]:
    photos = there.photographs
    gradients = {
        (prior, n): there.gradients(prior, n) for prior in _training.PRIORS for n in _training.GRADIENT_BATCHES
    }
    for (prior, n), expected in gradients.items():
        found = _training.gradients(photos, prior, n)
        found.history.clear()  # The runs show the losses.
        yield from _summary(f"gradients, {prior}, batch {n}", deviations(found, expected, gradients.values()))
    for prior in _training.PRIORS:
        found = _training.objective_run(photos, prior, steps, {there.kept})
        yield from _summary(f"run, {prior}", deviations(found, there.objective(prior)))
    for encoder, loss in _CLASSIFIER_RUNS:
        found = _training.classifier_run(photos, encoder, loss, steps, {there.kept})
        yield from _summary(f"classifier, encoder {encoder}", deviations(found, there.classifier(encoder, loss)))


def _summary(run: str, found: list[Deviation]) -> Iterator[Row]:
    for d in worst(found):
        yield Row(run, d.group, _short(d.where), d.here, d.scale, d.ratio, d.passed)


def _short(where: str) -> str:
    """Without the network, which stands in the column before."""
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
        self.photographs = photographs.pixels(_training.Recorded().photographs)
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
        if steps > _training.STEPS:
            raise UsageError(
                f"numbers are recorded for {_training.STEPS} steps; to check {steps}, install PyTorch"
            )
        self._recording = _training.Recorded()
        self.description = f"numbers recorded from {self._recording.version} in float64 and float32"
        self.photographs = photographs.pixels(self._recording.photographs)
        self.kept = max(kept for kept in _training.KEPT if kept <= steps)

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


# ---- The table


def _head(report: Mapping[str, Any]) -> str:
    titles = ("run", "of", "worst at", "here", "float32", "ratio")
    return "\n".join(
        (
            f"here        {report['libdim']}",
            f"there       {report['reference']}",
            f"runs        {report['runs']}",
            f"criterion   {report['criterion']}",
            "",
            _columns(*titles),
            _columns(*("-" * len(title) for title in titles)),
        )
    )


def _columns(run: str, what: str, where: str, here: str, float32: str, ratio: str) -> str:
    return f"{run:<33} {what:<22} {where:<24} {here:>8} {float32:>8} {ratio:>5}"
