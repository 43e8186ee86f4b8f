"""What was measured: samples, figures made of them, and the requirements that they have to meet."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One contender of a figure."""

    title: str
    #: Seconds a run, MB, or GFLOP/s.
    samples: list[float] = field(default_factory=list)
    #: Of its outputs against this library's, over rms.
    error: float | None = None
    #: Why there are no samples.
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def json(self) -> dict[str, Any]:
        found = self.samples
        numbers = {"median": self.median, "min": min(found), "max": max(found)} if found else {}
        found_out = {"error": self.error, "failure": self.failure}
        return {"title": self.title, "samples": found, **numbers, **found_out}


@dataclass
class Figure:
    title: str
    #: "s", "MB" or "GFLOP/s".
    unit: str
    #: Images a run, 0 where that means nothing.
    images: int = 0
    #: By contender.
    rows: dict[str, Row] = field(default_factory=dict)
    note: str = ""

    def median(self, key: str) -> float | None:
        row = self.rows.get(key)
        return row.median if row and row.samples else None

    def json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "unit": self.unit,
            "images": self.images,
            "note": self.note,
            "rows": {key: row.json() for key, row in self.rows.items()},
        }


Figures = dict[str, Figure]


# ---- Operations of the direct definition, a multiplication and an addition counted as two


def _encoder_layers() -> list[int]:
    """Of one image: c0 to c3, each 4x4, then l1."""
    sides, channels = (29, 26, 23, 20), (3, 64, 128, 256, 512)
    convolutions = [2 * channels[i + 1] * channels[i] * 16 * sides[i] ** 2 for i in range(4)]
    return [*convolutions, 2 * 512 * 20 * 20 * 64]


def encode_operations(images: int) -> int:
    """2.44e9 an image."""
    return images * sum(_encoder_layers())


def train_operations(images: int) -> int:
    """Forward, and twice that backward but for the images' own gradient; each discriminator on both pairs,
    the prior discriminator on both vectors."""
    layers = _encoder_layers()
    local = 2 * 26 * 26 * (192 * 512 + 512 * 512 + 512)
    convolutions = 2 * (64 * 128 * 9 * 24**2 + 32 * 64 * 9 * 22**2)
    global_ = convolutions + 2 * ((32 * 22 * 22 + 64) * 512 + 512 * 512 + 512)
    prior = 2 * (64 * 1000 + 1000 * 200 + 200)
    return images * (3 * (sum(layers) + 2 * local + 2 * global_ + 2 * prior) - layers[0])


# ---- Requirements


@dataclass(frozen=True)
class Requirement:
    text: str
    needed: float
    #: The measured number, None where a figure is missing.
    measured: Callable[[Figures], float | None]
    #: Whether more is better.
    at_least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.needed if self.at_least else value <= self.needed


#: Which of a figure's contenders compute in float32 and return what this library returns.
FLOAT32_PEERS = ("torch", "torch-last", "torch-compile", "ort", "openvino")


def times(figure: str, *peers: str, ours: str = "dim") -> Callable[[Figures], float | None]:
    """How many times as long the best of the peers takes."""

    def measured(figures: Figures) -> float | None:
        return _quotient(figures, (figure, *peers), (figure, ours))

    return measured


def quotient(upper: tuple[str, str], lower: tuple[str, str]) -> Callable[[Figures], float | None]:
    """Median over median, each of (figure, contender); of seconds an image where the figure counts images."""
    return lambda figures: _quotient(figures, upper, lower)


def _quotient(figures: Figures, upper: tuple[str, ...], lower: tuple[str, ...]) -> float | None:
    values = []
    for figure, *contenders in (upper, lower):
        if figure not in figures:
            return None
        found = [value for key in contenders if (value := figures[figure].median(key)) is not None]
        if not found:
            return None
        per_image = figures[figure].unit == "s" and figures[figure].images
        values.append(min(found) / (per_image or 1))
    return values[0] / values[1]


def flatness(figures: Figures) -> float | None:
    """Peak memory of the largest n over that of the smallest, without the caller's own arrays."""
    figure = figures.get("memory.flat")
    found = [row.median for row in figure.rows.values() if row.samples] if figure else []
    return found[-1] / found[0] if len(found) > 1 else None


REQUIREMENTS = (
    Requirement("encode, batch 64, against PyTorch eager", 5, times("encode.64", "torch")),
    Requirement("encode, batch 64, against the best float32 peer", 4, times("encode.64", *FLOAT32_PEERS)),
    Requirement("encode, batch 64, against OpenVINO bf16", 2, times("encode.64", "openvino-bf16")),
    Requirement("encode, batch 8, against the best float32 peer", 4, times("encode.8", *FLOAT32_PEERS)),
    Requirement("encode, batch 1, against the best float32 peer", 2.5, times("encode.1", *FLOAT32_PEERS)),
    Requirement(
        "encode, AVX2, against PyTorch held to AVX2", 4, times("avx2", "torch-avx2", ours="dim-avx2")
    ),
    Requirement("training step, batch 64, against PyTorch eager", 5, times("train.64", "torch")),
    Requirement("training step, batch 64, against torch.compile", 3, times("train.64", "torch-compile")),
    Requirement("training step, batch 64, against bf16 autocast", 1.5, times("train.64", "torch-bf16")),
    Requirement(
        "peak memory of training, batch 64, over PyTorch's", 0.45,
        quotient(("memory.train", "dim"), ("memory.train", "torch")), at_least=False,
    ),
    Requirement(
        "peak memory of encoding 1,024 images, vectors only, over PyTorch's at batch 64", 0.5,
        quotient(("memory.encode", "dim-1024"), ("memory.encode", "torch")), at_least=False,
    ),
    Requirement(
        "the same, most images over fewest (the caller's arrays apart)", 1.05, flatness, at_least=False
    ),
    Requirement(
        "encode, batch 64: 2 threads over 1", 1.85,
        quotient(("threads.encode", "1"), ("threads.encode", "2")),
    ),
    Requirement(
        "training step, batch 64: 2 threads over 1", 1.85,
        quotient(("threads.train", "1"), ("threads.train", "2")),
    ),
    Requirement(
        "encode, images a second: batch 1024 over batch 64, vectors only", 1,
        quotient(("sizes", "dim-vectors.many"), ("sizes", "dim-vectors.one")),
    ),
    Requirement(
        "the same, with features", 1, quotient(("sizes", "dim.many"), ("sizes", "dim.one"))
    ),
    Requirement(
        "opening a weights file, first vector included, over h5py reading the bytes", 1.5,
        quotient(("open", "dim"), ("open", "h5py")), at_least=False,
    ),
)  # fmt: skip
