"""When training here is as close to PyTorch's float64 as a float32 program can be: the criterion, and why it is this.

Here and PyTorch in float32 both deviate from PyTorch in float64. The rule is that what is found here may deviate
`MULTIPLE` times as far as PyTorch's own float32 does. That needs a scale which is not small by luck:

- "PyTorch's float32" is the farthest of three runs: as it is, with other convolution kernels, and from weights of which
  each is the one next to the seed's (`FLOAT32` in objective.py). All three are float32's rounding and nothing else.
- Rounding is amplified by switches. A pre-activation within rounding of 0 is on in one run and off in the other: with U
  active units in a layer one such flip changes all gradients behind it by about 1/sqrt(U) of their size (U = 307,200 in
  the encoder's last layer at batch 3: 2e-3), a thousand times rounding. A batch has about one flip, or by luck none.
  Likewise Adam's first steps move each weight by the sign of its gradient. Therefore the scale of an array is the
  largest deviation (root mean square) of float32 among the arrays of its network, for gradients over all batches.
- A run multiplies its deviation by ten a step until it saturates, and PyTorch may meet a flip one step later than we
  do; the curves of two runs also cross. Therefore the scale of a loss is float32's largest deviation up to the step
  after, and one unit of float32's resolution of that loss at the least.
- Of a large array a sample is compared. It may by chance hold one of the rare entries that deviate most: of m entries
  such a one adds (float32's largest deviation in that array)^2 / m to the mean square.

Some parameters move by rounding alone: the gradient of a bias in front of a batch norm is 0, and Adam makes steps of
full size of what rounding leaves. In float32 they deviate by more than the true movement; their scale is their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import recordings
from .runs import Expected, Outcome

MULTIPLE = 5.0
LOSSES = ("total", "local", "global", "prior")
_RESOLUTION = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Deviation:
    """How far one array or one number is from PyTorch's float64, and how far PyTorch's float32 is."""

    #: What it counts as in a summary: "loss total", "encoder", "encoder, statistics"...
    group: str
    #: "step 3", "step5/encoder.c0.weight".
    where: str
    here: float
    #: PyTorch's float32, as the module's text has it.
    scale: float

    @property
    def ratio(self) -> float:
        return 0.0 if self.here == 0 else self.here / self.scale if self.scale > 0 else float("inf")

    @property
    def passed(self) -> bool:
        return self.ratio <= MULTIPLE  # Not so of nan.


def deviations(found: Outcome, expected: Expected, related: Iterable[Expected] = ()) -> list[Deviation]:
    """All of one run. related: what else tells how far float32 deviates, other batches' gradients for instance."""
    return [*_of_losses(found, expected), *_of_arrays(found, expected, related)]


def worst(found: Iterable[Deviation]) -> list[Deviation]:
    """Of each group the one with the largest ratio."""
    largest: dict[str, Deviation] = {}
    for deviation in found:
        before = largest.get(deviation.group)
        if before is None or not deviation.ratio <= before.ratio:
            largest[deviation.group] = deviation
    return list(largest.values())


def _of_losses(found: Outcome, expected: Expected) -> Iterator[Deviation]:
    steps = len(found.history)
    names = LOSSES if expected.history.shape[1] == len(LOSSES) else ("of the classifier",)
    for column, name in enumerate(names):
        there = expected.history[:, column]
        float32 = np.maximum.accumulate(np.abs(expected.history32[:, :, column] - there).max(0))
        for step in range(steps):
            here = abs(found.history[step][column] - there[step])
            scale = max(float32[min(step + 1, len(float32) - 1)], _RESOLUTION * abs(there[step]))
            yield Deviation(f"loss {name}", f"step {step + 1}", float(here), float(scale))


def _of_arrays(found: Outcome, expected: Expected, related: Iterable[Expected]) -> Iterator[Deviation]:
    largest: dict[str, float] = {}
    for one in (expected, *related):
        for key, summary in one.arrays.items():
            if summary.float32_rms < 1:
                largest[_pool(key)] = max(largest.get(_pool(key), 0.0), summary.float32_rms)
    for key in found.arrays.keys() - expected.arrays.keys():
        yield Deviation(_group(key), f"{key}, which does not move in PyTorch", float("inf"), 0.0)
    for key, summary in expected.arrays.items():
        # What is not there has not moved: a movement in float64 may be below the resolution of a float32 weight.
        here = _error(found.arrays.get(key, np.zeros(summary.shape)), summary)
        typical = summary.float32_rms if summary.float32_rms >= 1 else largest[_pool(key)]
        scale = float(np.hypot(typical, summary.float32 / np.sqrt(summary.sample.size)))
        yield Deviation(_group(key), key, here, 0.0 if key.endswith("num_batches_tracked") else scale)


def _error(array: NDArray[Any], summary: recordings.Summary) -> float:
    """The error's root mean square over the sample, or the whole array's rms being off, over the rms."""
    if array.shape != summary.shape:
        return float("inf")
    flat = np.asarray(array, np.float64).reshape(-1)
    sample = recordings.rms(flat[recordings.sample_indices(flat.size)] - summary.sample)
    return float(np.max([sample, abs(recordings.rms(flat) - summary.rms)])) / summary.rms


def _group(key: str) -> str:
    """ "step5/encoder.b1.running_mean" -> "encoder, statistics"."""
    network, *_, leaf = key.split("/")[-1].split(".")
    return f"{network}, statistics" if leaf.startswith(("running_", "num_")) else network


def _pool(key: str) -> str:
    """Arrays that share a scale: those of one group after the same number of steps."""
    return f"{key.rpartition('/')[0]}/{_group(key)}"
