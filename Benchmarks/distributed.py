"""What docs/distributed.md shows: bytes and seconds of a step in several processes, measured and modelled.

.venv/bin/python Benchmarks/distributed.py bytes                        what a step exchanges, for each preset
.venv/bin/python Benchmarks/distributed.py measure basic32 [ROUNDS]     1 process x 2 threads beside 2 x 1, in turn
.venv/bin/python Benchmarks/distributed.py model COMPUTE UPDATE BYTES   seconds of a step on 1 to 256 machines
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bindings" / "python"))

import numpy as np  # noqa: E402

import deepinfomax as dim  # noqa: E402
from deepinfomax.distributed import Group, Solo, launched  # noqa: E402

BATCH, K = 64, 4
STEPS = 4


def trainer(name: str, micro_batches: int = K) -> dim.Trainer:
    return dim.Trainer(dim.Model(0, architecture=dim.Architecture.preset(name)), micro_batches=micro_batches)


def exchanged(name: str, micro_batches: int) -> int:
    """Bytes of the array that processes add up: gradients, and a row of statistics a micro-batch."""
    with trainer(name) as run:
        trained = {network for network, weight in (("global_d", run.options.alpha), ("local_d", run.options.beta)) if weight}
        trained |= {"encoder"} | ({"prior_d"} if run.options.gamma and run.options.prior != "none" else set())
        infos = [info for info in run.model.parameters_info() if info.name.split(".")[0] in trained]
    gradients = sum(info.nbytes for info in infos if info.trainable)
    statistics_ = sum(info.nbytes for info in infos if "running" in info.name)
    return gradients + micro_batches * (4 + 3 * statistics_)


def child(name: str, threads: int) -> None:
    """Prints the median seconds of a step, of its update alone and, where there are several, of adding the arrays."""
    dim.set_num_threads(threads)
    group = Group() if launched() else Solo()
    run = trainer(name)
    if group.size > 1:
        run.share(group)
    channels, height, width = run.model.sizes.image
    images = np.random.default_rng(group.rank).random((BATCH // group.size, channels, height, width), dtype=np.float32)
    run.step(images)
    times = []
    for _ in range(STEPS):
        began = time.monotonic()
        run.step(images)
        times.append(time.monotonic() - began)
    adds = []
    if isinstance(group, Group):
        values = np.zeros(exchanged(name, K) // 4, np.float32)
        for _ in range(5):
            group.check(None)
            began = time.monotonic()
            group.add(values)
            adds.append(time.monotonic() - began)
    updates = []
    with trainer(name, 1) as one:
        for _ in range(3):
            one.accumulate(images[:2])
            began = time.monotonic()
            one.update()
            updates.append(time.monotonic() - began)
    if group.rank == 0:
        print(statistics.median(times), statistics.median(updates), statistics.median(adds) if adds else 0)
    group.check(None)


def measure(name: str, rounds: int) -> None:
    """In turn, so that what else the machine does falls on both."""
    here = [sys.executable, __file__, "child", name]
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    found: dict[str, list[list[float]]] = {"1x2": [], "2x1": []}
    for _ in range(rounds):
        for label, command in (("1x2", [*here, "2"]), ("2x1", ["mpirun", "--oversubscribe", "-n", "2", *here, "1"])):
            out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            found[label].append([float(word) for word in out.split()])
    one, two = ([statistics.median(column) for column in zip(*found[label], strict=True)] for label in ("1x2", "2x1"))
    ratios = [a[0] / b[0] for a, b in zip(found["1x2"], found["2x1"], strict=True)]
    print(f"{name}: 1 x 2 threads {one[0]:.4f} s a step ({BATCH / one[0]:.1f} images a second), update {one[1]:.4f}")
    print(
        f"{name}: 2 x 1 thread  {two[0]:.4f} s a step ({BATCH / two[0]:.1f} images a second), update {two[1]:.4f}, adding {two[2]:.4f}"
    )
    print(
        f"{name}: speed of 2 x 1 over 1 x 2: median of {rounds} pairs {statistics.median(ratios):.3f}, "
        f"from {min(ratios):.3f} to {max(ratios):.3f}"
    )


def step_seconds(machines: int, compute: float, update: float, size: float, bandwidth: float, latency: float = 5e-5) -> float:
    """compute: of forward and backward of the whole batch on one machine; update: Adam, in each of them; bandwidth: bytes a
    second. Each array of partial sums goes out and comes in once, in 2 log2(P) messages; each received half is added."""
    if machines == 1:
        return compute + update
    share = (machines - 1) / machines
    messages = 2 * (machines - 1).bit_length() + 2  # and the two small ones of the status
    return compute / machines + update + 2 * share * size / bandwidth + share * size / 4e9 + messages * latency


def model(compute: float, update: float, size: float) -> None:
    print("| machines | 10 Gbit/s: ms a step | times one machine | 100 Gbit/s: ms a step | times one machine |")
    print("|---:|---:|---:|---:|---:|")
    alone = step_seconds(1, compute, update, size, 1)
    for machines in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        cells = []
        for bandwidth in (1.25e9, 1.25e10):
            seconds = step_seconds(machines, compute, update, size, bandwidth)
            cells += [f"{1000 * seconds:.0f}", f"{alone / seconds:.1f}"]
        print(f"| {machines} | {' | '.join(cells)} |")


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "bytes":
        print("| architecture | gradients, MB | K = 4 | K = 256 |")
        print("|---|---:|---:|---:|")
        for name in dim.PRESETS:
            sizes = [exchanged(name, count) / 1e6 for count in (0, 4, 256)]
            print(f"| {name} | {' | '.join(f'{size:.2f}' for size in sizes)} |")
    elif what == "child":
        child(rest[0], int(rest[1]))
    elif what == "measure":
        measure(rest[0], int(rest[1]) if len(rest) > 1 else 5)
    elif what == "model":
        model(*map(float, rest))


if __name__ == "__main__":
    main()
