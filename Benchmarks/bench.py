#!/usr/bin/env python3
"""Measures this library beside PyTorch, ONNX Runtime, OpenVINO and MNN, whichever can be imported; see README.md.

make bench                              everything; writes docs/benchmarks.md and build/bench.json
make bench ARGS="--quick"               fewer runs and contenders
make bench ARGS="--only encode,train"   parts: peak, encode, between, sizes, presets, avx2, train, objectives,
                                        classifier, memory, epoch, cold, open, threads
"""

from __future__ import annotations

import argparse
import math
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cases
import figures as fig
import machine
import report
from figures import Figure, Figures, Row
from workers import CONTENDERS, HERE, ROOT, SCRATCH, ContenderFailed, Worker, environment

#: Largest error over rms against this library's outputs. float32: each side may be 1e-4 off the truth. MNN's Winograd is off
#: by 4e-4 to 2e-3 with the notebook's network, by the processor; what a peer's error is stands in its row.
TOLERANCE = {"float32": 2e-4, "winograd": 5e-3, "bf16": 0.1}
#: Of a loss, after a first and a second step.
LOSS_TOLERANCE = {"float32": 1e-3, "bf16": 5e-2}
#: A turn of a contender lasts about this long, so that short runs are not measured with cold caches.
TURN_SECONDS = 0.25
#: After a turn, for thread pools that spin before they sleep.
PAUSE_SECONDS = 0.03
#: A run that is too long to be repeated.
LONG_SECONDS = 6

ENCODERS = (
    "dim",
    "dim-vectors",
    "torch",
    "torch-last",
    "torch-compile",
    "torch-bf16",
    "ort",
    "openvino",
    "openvino-bf16",
    "mnn",
)
#: Of the presets: all give the vectors alone.
PRESET_ENCODERS = ("dim", "torch", "torch-compile", "ort", "openvino", "mnn")
#: At the largest batch a run of one peer takes a quarter of a minute.
FEW_ENCODERS = ("dim", "dim-vectors", "torch", "ort", "openvino", "openvino-bf16")
EPOCH_DATA = "/usr/share/datasets/fashion-mnist"
#: What --quick leaves out.
SLOW = ("torch-last", "torch-compile", "torch-bf16", "torch-compile-bf16", "openvino-bf16", "dim-mixed")
TRAINERS = ("dim", "dim-mixed", "torch", "torch-compile", "torch-bf16", "torch-compile-bf16")
#: Of the objectives over presets.
STEPPERS = TRAINERS[:4]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    encode: tuple[int, ...]
    train: int
    #: n of the memory figures; PyTorch gets batches of `train`.
    memory: tuple[int, ...]
    repeats: int
    #: Rounds stop after this many seconds, once there are `fewest`.
    budget: float
    fewest: int
    #: Presets, and batches of each.
    presets: tuple[str, ...] = tuple(cases.ENCODERS)
    preset_batches: tuple[int, ...] = (1, 8, 64)
    #: A small and a large batch that are compared.
    sizes: tuple[int, int] = (64, 1024)
    quick: bool = False
    smoke: bool = False


FULL = Plan(encode=(1, 8, 64, 1024), train=64, memory=(256, 1024, 4096), repeats=7, budget=40, fewest=5)
QUICK = Plan(encode=(1, 8, 64), train=64, memory=(256, 1024), repeats=2, budget=4, fewest=1, presets=("basic32",), quick=True)
#: Parts that --quick leaves out unless they are named.
LONG_PARTS = ("sizes", "classifier", "epoch")
#: Proves that every contender and figure works; its numbers mean nothing.
SMOKE = Plan(
    encode=(1, 2), train=4, memory=(1, 2), repeats=1, budget=0, fewest=1, preset_batches=(2,), sizes=(1, 4), smoke=True
)


class Bench:
    def __init__(self, plan: Plan, threads: int) -> None:
        self.plan, self.threads = plan, threads
        self.figures: Figures = {}
        #: Before each part: its name, then what `state` measures.
        self.states: list[tuple[str, list[float | None]]] = []
        self._said: set[str] = set()

    # ---- Contenders in turn

    @contextmanager
    def workers(self, keys: Iterable[str], threads: int | None = None) -> Iterator[dict[str, Worker]]:
        """A process for each contender that can be imported; they end with the block."""
        started: dict[str, Worker] = {}
        try:
            for key in keys:
                contender = CONTENDERS[key]
                if contender.precision == "bf16" and not machine.has_bf16() and not self.plan.smoke:
                    self._say(f"{contender.title}: left out, this processor has no instructions for it")
                elif missing := contender.missing():
                    absent = " and no ".join(missing)
                    self._say(f"{contender.title}: left out, no {absent} here (make bench-deps)")
                else:
                    started[key] = Worker(contender, threads or self.threads)
            yield started
        finally:
            for worker in started.values():
                worker.close()

    def compare(
        self, name: str, figure: Figure, workers: dict[str, Worker], task: str, n: int, long: bool = False, single: bool = False
    ) -> None:
        """Prepares and checks every contender, then measures them in turn: A B C A B C.

        long: slow contenders run once, after the check's run, which is their warm-up; quick ones take every
        turn. single: one call a turn, many turns: each call finds the caches as the others left them.
        """
        titles = ", ".join(worker.contender.title for worker in workers.values())
        self._say(f"{figure.title}: {titles}", again=True)
        self.figures[name] = figure
        reference = SCRATCH / f"{task.replace(':', '-')}-{n}.npz"
        reference.unlink(missing_ok=True)
        training = _trains(task)
        calls: dict[str, int] = {}
        for key, worker in workers.items():
            row = figure.rows[key] = Row(worker.contender.title)
            try:
                row.error, seconds = self._check(worker, task, n, reference)
                if training and self.plan.quick:
                    row.samples.append(seconds)
                elif long or single:
                    calls[key] = 1
                else:  # A training step has run twice by now, another task once, which may have taken longer.
                    seconds = seconds if training else worker.run(1)
                    calls[key] = max(1, min(200, int(TURN_SECONDS / seconds)))
            except ContenderFailed as failure:
                self._fail(row, failure)
            time.sleep(PAUSE_SECONDS)
        reference.unlink(missing_ok=True)
        start = time.monotonic()
        for done in range(self.plan.repeats * (3 if single else 1)):
            if not calls or done >= self.plan.fewest and time.monotonic() - start > self.plan.budget:
                break
            if latency := machine.core_latency():
                figure.latencies.append(latency)
            for key in list(calls):
                if long and done > 0 and figure.rows[key].samples[0] > LONG_SECONDS:
                    continue
                try:
                    figure.rows[key].samples.append(workers[key].run(calls[key]))
                except ContenderFailed as failure:
                    self._fail(figure.rows[key], failure)
                    del calls[key]
                time.sleep(PAUSE_SECONDS)

    def _check(self, worker: Worker, task: str, n: int, reference: Path) -> tuple[float, float]:
        """Whether it computes what this library does: its error, and the seconds of its last run.

        The first of this library's contenders is the reference.
        """
        training = _trains(task)
        tolerance = (LOSS_TOLERANCE if training else TOLERANCE)[worker.contender.precision]
        worker.ask("prepare", task, n)
        error, seconds = worker.ask("check", reference, 2 if training else 1, tolerance).split()
        return float(error), float(seconds)

    def _fail(self, row: Row, failure: Exception) -> None:
        row.failure = f"failed: {failure}"
        row.samples.clear()
        self._say(f"  {row.title} {row.failure}")

    def _say(self, text: str, again: bool = False) -> None:
        if again or text not in self._said:
            print(text, flush=True)
        self._said.add(text)

    def _chosen(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Quickly: without what takes minutes to compile, bf16, and PyTorch's other layout."""
        return tuple(key for key in keys if not self.plan.quick or key not in SLOW)

    def _objectives(self) -> list[tuple[str, cases.Objective]]:
        return list(cases.OBJECTIVES.items())[: 1 if self.plan.quick else None]

    # ---- The parts

    def state(self, part: str) -> None:
        """What the machine gives at this moment: other machines share its caches, its memory and its clock."""
        peaks = [machine.fma_peak(threads) for threads in sorted({1, self.threads})]
        self.states.append((part, [*peaks, machine.core_latency()]))

    def peak(self) -> None:
        figure = self.figures["peak"] = Figure("Fused multiply-adds, the machine's peak", "GFLOP/s")
        for threads in sorted({1, self.threads}):
            if value := machine.fma_peak(threads):
                figure.rows[str(threads)] = Row(f"{threads} thread{'s' * (threads > 1)}", [value])

    def encode(self) -> None:
        with self.workers(self._chosen(ENCODERS)) as workers:
            for n in self.plan.encode:
                large = n > 256
                chosen = workers
                if large:
                    keys = ("dim", "dim-vectors") if self.plan.quick else FEW_ENCODERS
                    chosen = {key: workers[key] for key in keys if key in workers}
                figure = Figure(f"Encoding, batch {n}", "s", n)
                self.compare(f"encode.{n}", figure, chosen, "encode", n, long=large)

    def between(self) -> None:
        """One call of this library, one of PyTorch's, and so on: each finds the caches as the other left them."""
        with self.workers(("dim", "torch")) as workers:
            for n in self.plan.encode[:3]:
                figure = Figure(f"Encoding, batch {n}, with features, one call in turn", "s", n)
                self.compare(f"between.{n}", figure, workers, "encode", n, single=True)

    def presets(self) -> None:
        for name in self.plan.presets:
            with self.workers(self._chosen(PRESET_ENCODERS)) as workers:
                for n in self.plan.preset_batches:
                    figure = Figure(f"Encoding with {name}, vectors, batch {n}", "s", n)
                    self.compare(f"{name}.{n}", figure, workers, f"vectors:{name}", n)
        n = self.plan.sizes[1]
        with self.workers(("dim",)) as workers:
            figure = Figure(f"Encoding with basic32, vectors, batch {n:,}", "s", n)
            self.compare(f"basic32.{n}", figure, workers, "vectors:basic32", n)

    def objectives(self) -> None:
        n = self.plan.train
        for name, objective in self._objectives():
            with self.workers(self._chosen(STEPPERS)) as workers:
                figure = Figure(f"Training step: {objective.title}, batch {n}", "s", n)
                self.compare(f"step.{name}", figure, workers, f"step:{name}", n)

    def sizes(self) -> None:
        """The same number of images in calls of two sizes, by this library alone."""
        small, large = self.plan.sizes
        title = f"Encoding {large:,} images, by {large // small} calls and by one"
        figure = self.figures["sizes"] = Figure(title, "s", large)
        keys = ("dim", "dim-vectors")
        self._say(f"{title}: libdim", again=True)
        with self.workers(keys) as by_many, self.workers(keys) as by_one:
            turns = []
            for key in keys:
                for name, worker, n in (("many", by_many[key], small), ("one", by_one[key], large)):
                    row = figure.rows[f"{key}.{name}"] = Row(f"{worker.contender.title}, {n:,} a call")
                    worker.ask("prepare", "encode", n)
                    worker.run(1)
                    turns.append((row, worker, large // n))
            for _ in range(self.plan.repeats):
                for row, worker, calls in turns:
                    row.samples.append(worker.run(calls) * calls)
                    time.sleep(PAUSE_SECONDS)
        figure.note = (
            "New arrays for the outputs in every call, as in all tables here: with features, one call fills "
            f"{large * 128 * 26 * 26 * 4 / 1e6:.0f} MB that the system has to clear first."
        )

    def avx2(self) -> None:
        n = self.plan.train
        with self.workers(("dim-avx2", "torch-avx2")) as workers:
            self.compare("avx2", Figure(f"Encoding held to AVX2, batch {n}", "s", n), workers, "encode", n)
            figure = Figure(f"Encoding with basic32 held to AVX2, batch {n}", "s", n)
            self.compare("avx2.basic32", figure, workers, "vectors:basic32", n)
            title = cases.OBJECTIVES["nce-512"].title
            figure = Figure(f"Training step held to AVX2: {title}, batch {n}", "s", n)
            self.compare("avx2.step", figure, workers, "step:nce-512", n)

    def train(self) -> None:
        n = self.plan.train
        with self.workers(self._chosen(TRAINERS)) as workers:
            figure = Figure(f"Training step of the whole objective, batch {n}", "s", n)
            self.compare(f"train.{n}", figure, workers, "train", n)

    def classifier(self) -> None:
        n = self.plan.train
        with self.workers(("dim", "torch", "torch-bf16")) as workers:
            for task, title in (("frozen", "encoder frozen"), ("trained", "end to end")):
                figure = Figure(f"Training step of the classifier, {title}, batch {n}", "s", n)
                self.compare(f"classifier.{task}", figure, workers, f"classifier-{task}", n)

    def memory(self) -> None:
        """Each row is a process of its own that does nothing else."""
        batch = self.plan.train
        train = self.figures["memory.train"] = Figure(f"Peak memory of training, batch {batch}", "MB")
        for key in self._chosen(("dim", "torch", "torch-compile", "torch-bf16")):
            # The second step has Adam's moments beside the activations.
            self._weigh(train, key, key, CONTENDERS[key].title, "train", batch, runs=2)
        for name, objective in self._objectives():
            step = Figure(f"Peak memory of training: {objective.title}, batch {batch}", "MB")
            self.figures[f"memory.{name}"] = step
            for key in ("dim", "torch"):
                self._weigh(step, key, key, CONTENDERS[key].title, f"step:{name}", batch, runs=2)
        encode = self.figures["memory.encode"] = Figure("Peak memory of encoding", "MB")
        title = "Peak memory of encoding, without the caller's arrays"
        flat = self.figures["memory.flat"] = Figure(title, "MB")
        for n in self.plan.memory:
            title = f"libdim, vectors only, {n:,} images in one call"
            self._weigh(encode, f"dim-{n}", "dim-vectors", title, "encode", n)
            if samples := encode.rows.get(f"dim-{n}", Row("")).samples:
                arrays = n * 4 * (3 * 32 * 32 + 64) / 1e6
                flat.rows[f"dim-{n}"] = Row(title, [samples[0] - arrays])
        for key in ("torch", "torch-bf16", "ort", "openvino"):
            self._weigh(encode, key, key, f"{CONTENDERS[key].title}, batch {batch}", "encode", batch)
        encode.note = "The whole process: Python and numpy, the weights and the caller's images included."

    def _weigh(self, figure: Figure, row: str, key: str, title: str, task: str, n: int, runs: int = 1) -> None:
        self._say(f"{figure.title}: {title}")
        with self.workers((key,)) as workers:
            for worker in workers.values():
                figure.rows[row] = Row(title)
                try:
                    worker.ask("prepare", task, n)
                    for _ in range(runs):
                        worker.run(1)
                    figure.rows[row].samples.append(float(worker.ask("memory")))
                except ContenderFailed as failure:
                    self._fail(figure.rows[row], failure)

    def cold(self) -> None:
        """From the start of a process to its first vector on standard output."""
        figure = self.figures["cold"] = Figure("Cold start: process start to first vector", "s")
        image = SCRATCH / "image.f32"
        image.write_bytes(struct.pack("3072f", *((i * 7919 % 256) / 255 for i in range(3072))))
        weights, script = SCRATCH / "weights.h5", str(HERE / "cold_start.py")
        programs = {
            "c": ("libdim, C (bindings/c/encode)", "dim", [ROOT / "build/bin/encode", weights, image]),
            "dim": ("libdim, Python", "dim", [sys.executable, script, "dim", weights, image]),
            "torch": ("PyTorch, Python", "torch", [sys.executable, script, "torch", weights, image]),
            "ort": ("ONNX Runtime, Python", "ort", [sys.executable, script, "onnxruntime", SCRATCH / "encoder.onnx", image]),
        }
        figure.rows = {key: Row(p[0]) for key, p in programs.items() if not CONTENDERS[p[1]].missing()}
        self._say(f"{figure.title}: {', '.join(row.title for row in figure.rows.values())}")
        reference: list[float] = []
        for round in range(min(self.plan.repeats, 5) + 1):
            for key, row in figure.rows.items():
                if row.failure:
                    continue
                try:
                    seconds, vector = _first_line(programs[key][2], self.threads)
                    reference = reference or vector
                    row.error = _error(vector, reference)
                    if not row.error <= TOLERANCE["float32"]:
                        raise ContenderFailed(f"its vector is off by {row.error:.2g} of its rms")
                    if round > 0:  # The first brings programs and libraries into the page cache.
                        row.samples.append(seconds)
                except ContenderFailed as failure:
                    self._fail(row, failure)
        figure.note = "Programs, libraries and weights are in the page cache."

    def epoch(self) -> None:
        """Both programs from their start to their end, once: minutes."""
        folder = Path(EPOCH_DATA)
        if self.plan.smoke:
            folder = SCRATCH / "few"
            folder.mkdir(exist_ok=True)
            header = b"\0\0\x08\x03" + struct.pack(">3I", 256, 28, 28)
            (folder / "train-images-idx3-ubyte").write_bytes(header + bytes(i * 7919 % 256 for i in range(256 * 28 * 28)))
        if not folder.is_dir():
            self._say(f"an epoch: left out, no {folder} here (apt-get install dataset-fashion-mnist)")
            return
        run = SCRATCH / "epoch"
        train = [sys.executable, "-m", "deepinfomax", "train", "--data", folder, "--architecture", "basic28", "--channels", 1]
        train += ["--epochs", 1, "--validation-images", 0, "--probe", 0, "--no-plot", "--output", run]
        programs = {
            "dim": ("libdim, dim train", [*train, "--quiet"]),
            "torch": ("PyTorch eager, DataLoader", [sys.executable, HERE / "epoch.py", folder]),
        }
        figure = self.figures["epoch"] = Figure("An epoch of Fashion-MNIST with basic28, nce, light dot 512, from files", "s")
        for key, (title, command) in programs.items():
            if CONTENDERS[key].missing():
                continue
            self._say(f"{figure.title}: {title}")
            row = figure.rows[key] = Row(title)
            shutil.rmtree(run, ignore_errors=True)
            start = time.perf_counter()
            words = [str(word) for word in command]
            done = subprocess.run(words, env=environment(self.threads), capture_output=True, text=True)
            row.samples.append(time.perf_counter() - start)
            if done.returncode != 0:
                self._fail(row, ContenderFailed((done.stderr.strip().splitlines() or ["no message"])[-1]))
        shutil.rmtree(run, ignore_errors=True)
        figure.note = "Whole processes, batches of 64; PyTorch's images come from two processes of its DataLoader."

    def open(self) -> None:
        figure = Figure("Opening a weights file, first vector included", "s")
        size = (SCRATCH / "weights.h5").stat().st_size / 1e6
        figure.note = (
            f"{size:.0f} MB, all five networks, in the page cache. h5py reads the arrays and does nothing "
            "else; PyTorch reads the encoder's."
        )
        with self.workers(("dim", "h5py", "torch")) as workers:
            self.compare("open", figure, workers, "open", 1)

    def threads_(self) -> None:
        n = self.plan.train
        tasks = [("encode", "Encoding", n), ("encode", "Encoding", 8), ("train", "Training step", n)]
        tasks += [(f"vectors:{name}", f"Encoding with {name}", size) for name in self.plan.presets for size in (n, 8)]
        tasks += [(f"step:{name}", f"Training step: {objective.title}", n) for name, objective in self._objectives()]
        for task, title, n in tasks:
            figure = Figure(f"{title} of libdim by threads, batch {n}", "s", n)
            with self.workers(("dim",), 1) as one, self.workers(("dim",), 2) as two:
                self.compare(f"threads.{task}.{n}", figure, {"1": one["dim"], "2": two["dim"]}, task, n)
            for threads, row in figure.rows.items():
                row.title = f"{threads} thread{'s' * (threads != '1')}"

    def efficiency(self) -> None:
        """Operations of the direct definition over time."""
        peak = self.figures["peak"].median(str(self.threads)) if "peak" in self.figures else None
        works = {f"encode.{n}": (f"encoding, batch {n}", fig.encode_operations(n)) for n in self.plan.encode}
        works[f"train.{self.plan.train}"] = ("training step", fig.train_operations(self.plan.train))
        figure = Figure(f"Effective speed, {self.threads} threads", "GFLOP/s")
        if peak:
            figure.rows["peak"] = Row("peak of fused multiply-adds", [peak])
        for name, (title, operations) in works.items():
            for key in ("dim", "torch"):
                row = self.figures[name].rows.get(key) if name in self.figures else None
                if row and row.samples:
                    samples = [operations / seconds / 1e9 for seconds in row.samples]
                    figure.rows[f"{name}.{key}"] = Row(f"{row.title}, {title}", samples)
        figure.note = (
            f"Operations of the direct definition, {fig.encode_operations(1) / 1e9:.2f} GFLOP an image for "
            f"the encoder, {fig.train_operations(1) / 1e9:.2f} for a training step, over the time taken. "
            "Winograd and factored discriminators do fewer, so this can be over the peak."
        )
        if len(figure.rows) > 1:
            self.figures["efficiency"] = figure


def _trains(task: str) -> bool:
    return not task.startswith(("encode", "open", "vectors:"))


def _first_line(command: list[object], threads: int) -> tuple[float, list[float]]:
    start = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(threads)
    ) as process:
        assert process.stdout and process.stderr
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        errors = process.stderr.read().strip().splitlines()
    if process.returncode != 0:
        raise ContenderFailed(errors[-1] if errors else f"exit status {process.returncode}")
    return seconds, [float(word) for word in line.split()]


def _error(found: list[float], reference: list[float]) -> float:
    """Largest error over rms."""
    if len(found) != len(reference):
        return math.inf
    rms = math.sqrt(sum(value**2 for value in reference) / len(reference))
    return max(abs(a - b) for a, b in zip(found, reference)) / rms


def make_files(threads: int) -> None:
    """The weights that all contenders load, and the same encoder in ONNX."""
    weights, onnx = SCRATCH / "weights.h5", SCRATCH / "encoder.onnx"
    for made in (onnx, *SCRATCH.glob("*.mnn")):
        made.unlink(missing_ok=True)
    python, settings = sys.executable, environment(threads)
    make = [python, HERE / "contenders.py", "weights", SCRATCH, str(threads)]
    subprocess.run(make, env=settings, check=True)
    if any(not CONTENDERS[key].missing() for key in ("ort", "openvino", "mnn")):
        subprocess.run([python, HERE / "onnx_model.py", weights, onnx], env=settings, check=True)


PARTS = {
    "peak": Bench.peak,
    "encode": Bench.encode,
    "between": Bench.between,
    "sizes": Bench.sizes,
    "presets": Bench.presets,
    "avx2": Bench.avx2,
    "train": Bench.train,
    "objectives": Bench.objectives,
    "classifier": Bench.classifier,
    "memory": Bench.memory,
    "epoch": Bench.epoch,
    "cold": Bench.cold,
    "open": Bench.open,
    "threads": Bench.threads_,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs and contenders: under 5 minutes on a quiet machine")
    parser.add_argument("--smoke", action="store_true", help="one run of tiny batches: proves that all works")
    parser.add_argument(
        "--only", metavar="PARTS", help=f"separated by commas (default: all; --quick: all but {', '.join(LONG_PARTS)})"
    )
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of each comparison (default 7)")
    parser.add_argument("--threads", type=int, metavar="N", help="of every contender (default: all cores)")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md though parts lack")
    chosen = parser.parse_args()
    chosen.threads = chosen.threads or machine.cores()
    default = [part for part in PARTS if part not in LONG_PARTS or not chosen.quick]
    chosen.only = chosen.only.split(",") if chosen.only else default
    if unknown := [part for part in chosen.only if part not in PARTS]:
        parser.error(f"--only: there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return chosen


def main() -> None:
    chosen = arguments()
    plan = SMOKE if chosen.smoke else QUICK if chosen.quick else FULL
    if chosen.repeats:
        plan = Plan(**{**vars(plan), "repeats": chosen.repeats, "fewest": min(plan.fewest, chosen.repeats)})
    SCRATCH.mkdir(parents=True, exist_ok=True)
    start, load = time.monotonic(), machine.load()
    if load > 0.5:
        print(f"other programs are busy (load {load:.1f}): the numbers will be worse than on a quiet machine")

    make_files(chosen.threads)
    bench = Bench(plan, chosen.threads)
    with bench.workers(("dim",)) as workers:
        facts = machine.facts(chosen.threads, workers["dim"].ask("about"))
    for part in PARTS:
        if part in chosen.only:
            bench.state(part)
            PARTS[part](bench)
    bench.efficiency()

    words = " ".join(sys.argv[1:])
    facts["Command"] = "`make bench" + (f' ARGS="{words}"`' if words else "`")
    facts["Date"] = f"{date.today()}, {(time.monotonic() - start) / 60:.0f} minutes, load before: {load:.1f}"
    checked = () if chosen.smoke else fig.REQUIREMENTS
    text = report.markdown(facts, bench.figures, checked, chosen.threads, bench.states)
    report.write_json(ROOT / "build" / "bench.json", facts, bench.figures, checked, bench.states)
    print("\n" + text)
    complete = not (chosen.quick or chosen.smoke) and set(chosen.only) == set(PARTS)
    if chosen.docs or complete:
        report.write_markdown(ROOT / "docs" / "benchmarks.md", text)
        print("docs/benchmarks.md is written, and build/bench.json")
    else:
        print("build/bench.json is written; docs/benchmarks.md, which a full run changes, is as it was")


if __name__ == "__main__":
    main()
