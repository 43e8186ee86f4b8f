"""The contenders, each in a process of its own, as the driver sees them.

A process a contender: no thread pool meets another, memory is its own, and the environment (instruction set,
threads) is set before anything is loaded. Only the one that was asked works; the others wait for a line.
Nothing heavy is imported here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: Weights, logs, compiled graphs: all that the benchmark leaves behind.
SCRATCH = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Contender:
    key: str
    title: str
    #: What must be importable.
    packages: tuple[str, ...]
    #: "float32", "winograd" (float32, by tiles that round more) or "bf16": how close to this library's outputs it has to be.
    precision: str = "float32"
    #: Set before its process starts.
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        return [package for package in self.packages if importlib.util.find_spec(package) is None]


_TORCH = ("torch", "numpy", "h5py")
_ONNX = ("onnx", "numpy", "h5py")
_AVX2 = {"DIM_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}

CONTENDERS: dict[str, Contender] = {
    contender.key: contender
    for contender in (
        Contender("dim", "libdim", ("numpy",)),
        Contender("dim-vectors", "libdim, vectors only", ("numpy",)),
        Contender("dim-avx2", "libdim, DIM_ISA=avx2", ("numpy",), environment=_AVX2),
        Contender("dim-mixed", "libdim, mixed precision", ("numpy",), "bf16"),
        Contender("torch", "PyTorch eager", _TORCH),
        Contender("torch-avx2", "PyTorch eager, held to AVX2", _TORCH, environment=_AVX2),
        Contender("torch-last", "PyTorch channels_last", _TORCH),
        # Weights become constants of the compiled graph, packed once: inductor's best for inference.
        Contender("torch-compile", "torch.compile", _TORCH, environment={"TORCHINDUCTOR_FREEZING": "1"}),
        Contender("torch-bf16", "PyTorch bf16 autocast", _TORCH, "bf16"),
        Contender("torch-compile-bf16", "torch.compile, bf16 autocast", _TORCH, "bf16"),
        Contender("ort", "ONNX Runtime", ("onnxruntime", *_ONNX)),
        Contender("openvino", "OpenVINO float32", ("openvino", *_ONNX)),
        Contender("openvino-bf16", "OpenVINO bf16 hint", ("openvino", *_ONNX), "bf16"),
        Contender("mnn", "MNN", ("MNN", *_ONNX), "winograd"),
        Contender("h5py", "h5py, bytes alone", ("h5py", "numpy")),
    )
}


class ContenderFailed(Exception):
    """A contender that could not start, gave wrong outputs, or died. The others continue without it."""


def environment(threads: int, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a contender's process: the same threads for every library, whatever the caller's shell has set."""
    choices = ("DIM_ISA", "DIM_CONV", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_WAIT_POLICY")
    inherited = {name: value for name, value in os.environ.items() if name not in choices}
    pools = ("DIM_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **inherited,
        **{name: str(threads) for name in pools},
        "DIM_LIBRARY": str(ROOT / "build" / "libdim.so"),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "bindings" / "python"), str(HERE))),
        "TORCHINDUCTOR_CACHE_DIR": str(SCRATCH / "inductor"),
        **(changes or {}),
    }


class Worker:
    """contenders.py in a child process: one line asks, one line answers."""

    def __init__(self, contender: Contender, threads: int) -> None:
        self.contender = contender
        self._log = SCRATCH / f"{contender.key}.log"
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "contenders.py"), contender.key, str(SCRATCH), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(threads, contender.environment),
            )

    def ask(self, *words: object, patience: float = 600) -> str:
        """What it answers. A contender that takes longer than `patience` seconds is ended."""
        assert self._process.stdin and self._process.stdout
        timer = threading.Timer(patience, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        outcome, _, value = answer.strip().partition(" ")
        if outcome != "ok":
            raise ContenderFailed(value or f"its process ended; see {self._log.relative_to(ROOT)}")
        return value

    def run(self, calls: int) -> float:
        """Seconds a call."""
        return float(self.ask("run", calls))

    def close(self) -> None:
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
