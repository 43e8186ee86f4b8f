#!/usr/bin/env python3
"""DIM(G), DIM(L) and DIM(L+G) with each measure and dot net, so many steps each on Fashion-MNIST: does anything end badly?

    PYTHONPATH=bindings/python .venv/bin/python Benchmarks/measures.py                 all runs that are not done yet
    PYTHONPATH=bindings/python .venv/bin/python Benchmarks/measures.py --table         the table of those that are

Weights of the terms and optimiser are the paper's: DIM(G) alpha 1, beta 0, gamma 1; DIM(L) 0, 1, 0.1; DIM(L+G) 0.5, 1, 0.1; Adam at
1e-4 with betas 0.5 and 0.999; the adversarial prior behind a sigmoid, without the gradient penalty, which the paper does not have
(--penalty 1: as the authors' code means it). basic32's layers at 28x28 in grey, dot nets of --units. The images are normalised to
[-1,1] as the architecture says.

Each run leaves a line of JSON in build/measures/results.jsonl; a run whose line is there is not made again. `distance` is the
mean over y's numbers of the Wasserstein distance between sigmoid(y) and the uniform distribution, of 1,024 test images in
evaluation mode.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deepinfomax import Architecture, Model, NotFinite, Trainer, build_info, evaluation
from deepinfomax.data import Loader, open_dataset

DATA = "/usr/share/datasets/fashion-mnist"
OBJECTIVES = {"DIM(L)": (0.0, 1.0, 0.1), "DIM(G)": (1.0, 0.0, 1.0), "DIM(L+G)": (0.5, 1.0, 0.1)}
#: e^t of the authors' net, whose scores nothing divides, is no number at the first step.
NETS = {"light": ("jsd", "gan", "nce", "dv", "kl", "rkl", "h2"), "authors": ("jsd", "gan", "nce", "dv")}
JUDGED = 1024
#: Whose e^t may overflow at any step: after it the weights are compared with those before.
EXPONENTIAL = ("kl", "rkl", "h2")


@dataclass(frozen=True)
class Run:
    objective: str
    measure: str
    net: str

    @property
    def key(self) -> str:
        return f"{self.objective} {self.measure} {self.net}"


RUNS = [Run(objective, measure, net) for objective in OBJECTIVES for net in NETS for measure in NETS[net]]


def architecture(run: Run, units: int) -> Architecture:
    head = {"score": "dot", "net": run.net, "units": units}
    alpha, beta, _ = OBJECTIVES[run.objective]
    return Architecture(
        {
            "preset": "basic32",
            "image": {"channels": 1, "height": 28, "width": 28},
            "local": head if beta else None,
            "global": head | {"input": "conv"} if alpha else None,
            "prior": {"hidden": [1000, 200], "squash": "sigmoid"},
        }
    )


def train(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    alpha, beta, gamma = OBJECTIVES[run.objective]
    model = Model(options.seed, architecture=architecture(run, options.units))
    trainer = Trainer(
        model,
        "adversarial",
        options.seed,
        1e-4,
        measure=run.measure,
        negatives="all",
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        gradient_penalty=options.penalty,
        gradient_clip=options.clip,
        betas=(0.5, 0.999),
    )
    judged = open_dataset(DATA, split="test", image=(1, 28, 28)).subset(np.arange(JUDGED))
    loader = Loader(open_dataset(DATA, split="train", image=(1, 28, 28)), options.batch, options.seed)
    found: dict[str, Any] = {
        "run": run.key,
        "batch": options.batch,
        "steps": options.steps,
        "units": options.units,
        "seed": options.seed,
        "penalty": options.penalty,
        "clip": options.clip,
        "distance_before": distance(model, judged),
        "libdim": build_info(),
    }
    reports = []
    epoch, began = 0, time.monotonic()
    while trainer.steps < options.steps:
        for batch in loader.epoch(epoch):
            before = model.state_dict() if run.measure in EXPONENTIAL else None
            try:
                trainer.step(batch.images)
            except NotFinite as error:
                found |= _ends(reports) | {"steps_done": trainer.steps, "error": str(error)}
                if before is not None:
                    found["unchanged"] = all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
                return found
            reports.append(trainer.report())
            if trainer.steps == options.steps:
                break
        epoch += 1
    seconds = time.monotonic() - began
    return (
        found
        | _ends(reports)
        | {"steps_done": trainer.steps, "seconds": round(seconds, 1), "distance_after": distance(model, judged)}
    )


def distance(model: Model, data: Any) -> float:
    return evaluation.prior_distance(evaluation.encode(model, data), "sigmoid")


def _ends(reports: list[Any]) -> dict[str, Any]:
    """Means over the first and the last 50 steps."""
    if not reports:
        return {}
    names = ("total", "local", "global_", "prior", "local_information", "global_information", "gradient_norm")
    found: dict[str, Any] = {
        name: [round(float(np.mean([getattr(r, name) for r in part])), 4) for part in (reports[:50], reports[-50:])]
        for name in names
    }
    scores = [(r.local_score, r.global_score) for r in reports]
    return found | {"largest_score": round(float(np.nanmax(scores)), 1)}


def table(lines: list[dict[str, Any]]) -> str:
    rows = [
        "| objective | measure | net | total: first | last | estimate local | global | largest score | distance before | after |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    done = {line["run"]: line for line in lines}
    for run in RUNS:
        if run.key not in done:
            continue
        line = done[run.key]
        cells = [run.objective, run.measure, run.net]
        if "error" in line:
            rows.append(f"| {' | '.join(cells)} | {line['error']} |||||||")
            continue
        estimates = [line["local_information"][1], line["global_information"][1]]
        cells += [f"{value:.3f}" if abs(value) < 1e6 else f"{value:.1e}" for value in line["total"]]
        cells += ["-" if np.isnan(value) else f"{value:.2f}" if abs(value) < 1e6 else f"{value:.1e}" for value in estimates]
        cells += [f"{line['largest_score']:.0f}", f"{line['distance_before']:.3f}", f"{line['distance_after']:.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--penalty", type=float, default=0.0, help="weight of the gradient penalty (default: 0)")
    parser.add_argument("--clip", type=float, default=0.0, help="largest norm of a step's gradients; 0: any")
    parser.add_argument("--only", default="", help="runs whose name holds this text, 'DIM(L) nce' for instance")
    parser.add_argument("--output", type=Path, default=Path("build/measures"))
    parser.add_argument(
        "--memory", type=int, metavar="BATCH", help="two steps of basic32, light dot 512, nce, and the peak memory"
    )
    parser.add_argument("--table", action="store_true", help="print the table of what is done and end")
    options = parser.parse_args()
    if options.memory:
        model = Model(0, architecture="basic32")
        with Trainer(model, measure="nce", negatives="all") as trainer:
            for step in range(2):
                trainer.step(np.random.default_rng(step).random((options.memory, 3, 32, 32), np.float32))
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        return
    path = options.output / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    wanted = {key: getattr(options, key) for key in ("batch", "steps", "units", "seed", "penalty", "clip")}
    lines = [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]
    if options.table:
        print(table(lines))
        return
    if not os.path.isdir(DATA):
        sys.exit(f"{DATA}: not there; install it with: apt-get install dataset-fashion-mnist")
    options.output.mkdir(parents=True, exist_ok=True)
    done = {line["run"] for line in lines}
    for run in RUNS:
        if run.key in done or options.only not in run.key:
            continue
        found = train(run, options)
        with open(path, "a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)
        lines.append(found)


if __name__ == "__main__":
    main()
