"""The training runs that are compared with PyTorch: what they are made of, and libdim's side of each.

PyTorch's side is `objective.py`, or `recorded/training.npz`, what it gave when Tests/golden/record.py was last run.
Every run starts from seeds alone. `deviations.py` judges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier_trainer import ClassifierLoss, ClassifierTrainer, EncoderUse
from ..model import Model
from ..trainer import Prior, Trainer
from . import recordings

RECORDING = Path(__file__).parent / "recorded" / "training.npz"

PRIORS: tuple[Prior, ...] = ("monolithic", "adversarial")
CLASSIFIER_RUNS: tuple[tuple[EncoderUse, ClassifierLoss], ...] = (
    ("frozen", "logits"),
    ("frozen", "softmax_twice"),
    ("frozen_batch_statistics", "softmax_twice"),
    ("trained", "softmax_twice"),
)
GRADIENT_BATCHES = (2, 3, 8)
#: Steps of a recorded run.
STEPS = 20
#: After which of them the weights are recorded. Adam divides by the gradient's size: what is all rounding noise moves as
#: fast as the rest, and a float32 run leaves the float64 run in a few steps. The early ones tell more.
KEPT = (1, 2, 5, 20)
BATCH = 8
MODEL_SEED = 0
NOISE_SEED = 3

Floats = NDArray[np.float32]


def batch(step: int) -> NDArray[np.int64]:
    """Which of the 64 photographs step 0, 1... trains on."""
    return (BATCH * step + np.arange(BATCH)) % 64


def labels(photographs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some class for each of the photographs with these numbers: any will do."""
    return (photographs * 7 % 10).astype(np.int64)


# ---- What a run gives


@dataclass(frozen=True)
class Outcome:
    """Arrays by name, and a row of numbers a step.

    Of a run: how far each entry of the state_dict has moved, "step<k>/<entry>"; of gradients: "<parameter>". The rows
    are total, local, global, prior; or of a classifier's run loss and correct.
    """

    arrays: dict[str, NDArray[Any]]
    history: list[list[float]]


@dataclass(frozen=True)
class Expected:
    """What PyTorch gives: an Outcome in float64, and several in float32."""

    #: As `arrays` of an Outcome; each Summary holds float32's largest deviation.
    arrays: Mapping[str, recordings.Summary]
    #: (steps, numbers)
    history: NDArray[np.float64]
    #: (runs, steps, numbers)
    history32: NDArray[np.float64]


def follow(
    state: Callable[[], Mapping[str, NDArray[Any]]], step: Callable[[int], list[float]], steps: int, kept: Collection[int]
) -> Outcome:
    """Takes `steps` steps, number 0 first, and keeps how far the entries of `state()` have moved after those `kept`."""
    before = {name: np.array(value, np.float64) for name, value in state().items()}
    outcome = Outcome({}, [])
    for number in range(steps):
        outcome.history.append(step(number))
        if number + 1 in kept:
            for name, change in _moved(before, state()):
                outcome.arrays[f"step{number + 1}/{name}"] = change
    return outcome


def _moved(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """after - before in float64, of the entries that are not as they were."""
    for name, value in before.items():
        change = np.asarray(after[name], np.float64) - value
        if np.any(change):
            yield name, change


class Recorded:
    """recorded/training.npz."""

    @cached_property
    def _recording(self) -> recordings.Recording:
        return recordings.Recording(RECORDING)

    @property
    def version(self) -> str:
        return str(self._recording.arrays["version"])

    @property
    def photographs(self) -> NDArray[np.uint8]:
        """What all runs train on: 64 patches (64,32,32,3)."""
        return self._recording.arrays["photographs"]

    def expected(self, key: str) -> Expected:
        """key: "gradients/<prior>/batch<n>", "run/<prior>" or "classifier/<encoder>/<loss>"."""
        arrays = {
            name.removeprefix(key + "/"): summary
            for name, summary in self._recording.outputs.items()
            if name.startswith(key + "/")
        }
        history, history32 = (self._recording.arrays[f"{key}/{name}"] for name in ("history", "history32"))
        return Expected(arrays, history, history32)


# ---- libdim's side


def gradients(photos: Floats, prior: Prior, n: int) -> Outcome:
    """Of every parameter, for the first n photographs."""
    with Trainer(Model(MODEL_SEED), prior, NOISE_SEED) as trainer:
        losses = trainer.accumulate(photos[:n])
        return Outcome(dict(trainer.gradients()), [list(losses)])


def objective_run(photos: Floats, prior: Prior, steps: int, kept: Collection[int]) -> Outcome:
    with Trainer(Model(MODEL_SEED), prior, NOISE_SEED) as trainer:
        return follow(trainer.model.state_dict, lambda step: list(trainer.step(photos[batch(step)])), steps, kept)


def classifier_run(photos: Floats, encoder: EncoderUse, loss: ClassifierLoss, steps: int, kept: Collection[int]) -> Outcome:
    with ClassifierTrainer(Model(MODEL_SEED), encoder, loss) as trainer:

        def step(number: int) -> list[float]:
            result = trainer.step(photos[batch(number)], labels(batch(number)))
            return [result.loss, float(result.correct)]

        return follow(trainer.model.state_dict, step, steps, kept)
