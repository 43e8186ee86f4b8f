#!/usr/bin/env python3
"""Mixed precision beside float32, on a processor that has it: how far losses and gradients are apart after initialisation, and
the time of a step.

    PYTHONPATH=bindings/python .venv/bin/python Benchmarks/mixed.py
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import cases
import numpy as np
from deepinfomax import Architecture, Model, Trainer

BATCH, REPEATS = 64, 5
NOTEBOOK = "notebook"


def trainer(name: str, precision: Any) -> Trainer:
    """Of an objective of cases.py, or of the notebook's."""
    if name == NOTEBOOK:
        return Trainer(Model(0), precision=precision)
    objective = cases.OBJECTIVES[name]
    return Trainer(Model(0, architecture=Architecture(objective.description)), precision=precision, **objective.options)


def differences(name: str, images: np.ndarray) -> None:
    """Of a gradient: the norm of the difference over the norm; of those that are not small beside the network's largest: biases
    before a norm have gradients of rounding alone."""
    found = {}
    for precision in ("float32", "mixed"):
        with trainer(name, precision) as run:
            total = run.accumulate(images).total
            found[precision] = (total, run.gradients())
    (total, wanted), (mixed, gradients) = found["float32"], found["mixed"]
    print(f"{name}: loss {abs(mixed - total) / abs(total):.1e}", end="")
    for network in ("local_d", "encoder"):
        norms = {key: np.linalg.norm(value) for key, value in wanted.items() if key.startswith(network)}
        errors = [
            np.linalg.norm(gradients[key] - wanted[key]) / norm
            for key, norm in norms.items()
            if norm > 1e-3 * max(norms.values())
        ]
        print(f", {network} {min(errors):.3f} to {max(errors):.3f}", end="")
    print()


def times(name: str, images: np.ndarray) -> None:
    """Medians of steps in turn."""
    runs = {precision: trainer(name, precision) for precision in ("float32", "mixed")}
    seconds: dict[str, list[float]] = {precision: [] for precision in runs}
    for repeat in range(REPEATS + 1):
        for precision, run in runs.items():
            start = time.perf_counter()
            run.step(images)
            if repeat:
                seconds[precision].append(time.perf_counter() - start)
    exact, mixed = (statistics.median(seconds[precision]) for precision in runs)
    print(f"{name}: float32 {exact:.3f} s, mixed {mixed:.3f} s a step: {exact / mixed:.2f}x")


def main() -> None:
    images = np.random.default_rng(0).random((BATCH, 3, 32, 32), dtype=np.float32)
    names = (*cases.OBJECTIVES, NOTEBOOK)
    for name in names:
        differences(name, images[:32])
    for name in names:
        times(name, images)


if __name__ == "__main__":
    main()
