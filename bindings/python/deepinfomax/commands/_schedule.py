"""Learning rates over a run, as a function of the step alone: an interrupted run continues with what it would have had."""

from __future__ import annotations

import math
from dataclasses import dataclass

KINDS = ("constant", "cosine", "step")


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step of a run of `steps` steps.

    constant: `rate`. cosine: from `rate` down to 0 after the last step, along half a cosine. step: times `factor`
    each `every` steps. In the first `warmup` steps the rate rises to `rate` in equal parts; the cosine begins behind them.
    """

    kind: str
    rate: float
    steps: int
    every: int = 1
    factor: float = 0.1
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {self.kind!r}")

    @property
    def last(self) -> float:
        """Of the last step: infinite where the rate grows beyond what a number can be."""
        return self.at(self.steps - 1)

    def at(self, step: int) -> float:
        """Of step number `step`, the first being 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.kind == "cosine":
            done = (step - self.warmup) / max(self.steps - self.warmup, 1)
            return self.rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "step":
            try:
                return self.rate * self.factor ** (step // self.every)
            except OverflowError:
                return math.inf
        return self.rate
