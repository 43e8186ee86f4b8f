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
    #: The latency between cores before each turn, in ns.
    latencies: list[float] = field(default_factory=list)

    def median(self, key: str) -> float | None:
        row = self.rows.get(key)
        return row.median if row and row.samples else None

    def json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "unit": self.unit,
            "images": self.images,
            "note": self.note,
            "latencies": self.latencies,
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
FLOAT32_PEERS = ("torch", "torch-last", "torch-compile", "ort", "openvino", "mnn")


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


def error_over(figure: str, ours: str, theirs: str) -> Callable[[Figures], float | None]:
    """The error of one contender over another's, both against this library's float32."""

    def measured(figures: Figures) -> float | None:
        rows = figures[figure].rows if figure in figures else {}
        found = [rows[key].error for key in (ours, theirs) if key in rows and rows[key].samples]
        return found[0] / found[1] if len(found) == 2 and found[0] is not None and found[1] else None

    return measured


#: Of a preset, whose contenders all return the vectors alone.
PRESET_PEERS = ("torch", "torch-compile", "ort", "openvino", "mnn")


def least_gain_of_threads(batch: int = 8) -> Callable[[Figures], float | None]:
    """The least gain of a second thread among the figures of `batch` images and more."""

    def measured(figures: Figures) -> float | None:
        found = [
            one / two
            for name, figure in figures.items()
            if name.startswith("threads.")
            and figure.images >= batch
            and (one := figure.median("1")) is not None
            and (two := figure.median("2")) is not None
        ]
        return min(found) if found else None

    return measured


REQUIREMENTS = (
    *(
        Requirement(
            f"notebook, encode, batch {n}, vectors, against the best float32 peer",
            needed,
            times(f"encode.{n}", *FLOAT32_PEERS, ours="dim-vectors"),
        )
        for n, needed in ((64, 1.5), (8, 1.45), (1, 1.6))
    ),
    *(
        Requirement(
            f"notebook, encode, batch {n}, with features, one call in turn with PyTorch eager",
            needed,
            times(f"between.{n}", "torch"),
        )
        for n, needed in ((64, 5.5), (8, 4), (1, 2.5))
    ),
    Requirement("notebook, encode, batch 64, against OpenVINO bf16", 2, times("encode.64", "openvino-bf16")),
    Requirement(
        "notebook, encode, images a second: batch 1024 over batch 64, vectors only",
        1,
        quotient(("sizes", "dim-vectors.many"), ("sizes", "dim-vectors.one")),
    ),
    Requirement("the same, with features", 1, quotient(("sizes", "dim.many"), ("sizes", "dim.one"))),
    *(
        Requirement(f"basic32, encode, batch {n}, against the best peer", needed, times(f"basic32.{n}", *PRESET_PEERS))
        for n, needed in ((64, 1.9), (8, 1.8), (1, 1.1))
    ),
    Requirement(
        "basic32, encode, images a second: batch 1024 over batch 64",
        1,
        quotient(("basic32.64", "dim"), ("basic32.1024", "dim")),
    ),
    Requirement("alex64, encode, batch 64, against the best peer", 1.2, times("alex64.64", *PRESET_PEERS)),
    Requirement("resnet19_32, encode, batch 64, against the best peer", 1.2, times("resnet19_32.64", *PRESET_PEERS)),
    *(
        Requirement(f"step of {title}, against eager and compile", needed, times(f"step.{name}", "torch", "torch-compile"))
        for name, title, needed in (
            ("nce-512", "basic32, nce, authors' dot 512", 1.8),
            ("nce-2048", "basic32, nce, authors' dot 2048", 1.7),
            ("gan-concat", "basic32, gan, concat", 2),
        )
    ),
    Requirement("notebook, training step, batch 64, against PyTorch eager", 3.7, times("train.64", "torch")),
    Requirement("notebook, training step, batch 64, against torch.compile", 2.9, times("train.64", "torch-compile")),
    Requirement("notebook, training step, batch 64, against bf16 autocast", 1.8, times("train.64", "torch-bf16")),
    Requirement("the same with mixed precision, against PyTorch eager", 4.7, times("train.64", "torch", ours="dim-mixed")),
    Requirement(
        "notebook, mixed precision, against torch.compile with bf16 autocast",
        2,
        times("train.64", "torch-compile-bf16", ours="dim-mixed"),
    ),
    Requirement(
        "error of mixed precision over bf16 autocast's", 1, error_over("train.64", "dim-mixed", "torch-bf16"), at_least=False
    ),
    Requirement("notebook, encode 64, AVX2, against PyTorch held to AVX2", 4, times("avx2", "torch-avx2", ours="dim-avx2")),
    Requirement("basic32, encode 64, AVX2, likewise", 1.5, times("avx2.basic32", "torch-avx2", ours="dim-avx2")),
    Requirement("basic32, nce step, AVX2, likewise", 1.6, times("avx2.step", "torch-avx2", ours="dim-avx2")),
    Requirement(
        "peak memory of training, batch 64, over PyTorch's: notebook",
        0.45,
        quotient(("memory.train", "dim"), ("memory.train", "torch")),
        at_least=False,
    ),
    *(
        Requirement(f"the same: {name}", 0.5, quotient((f"memory.{name}", "dim"), (f"memory.{name}", "torch")), at_least=False)
        for name in ("nce-512", "nce-2048", "gan-concat")
    ),
    Requirement(
        "peak memory of encoding 1,024 images, vectors only, over PyTorch's at batch 64",
        0.5,
        quotient(("memory.encode", "dim-1024"), ("memory.encode", "torch")),
        at_least=False,
    ),
    Requirement("the same, most images over fewest (the caller's arrays apart)", 1.05, flatness, at_least=False),
    Requirement("2 threads over 1, the least of all figures of batch 8 and more", 1.85, least_gain_of_threads()),
    Requirement(
        "an epoch of Fashion-MNIST, basic28, nce, from files, over PyTorch's",
        0.5,
        quotient(("epoch", "dim"), ("epoch", "torch")),
        at_least=False,
    ),
    Requirement(
        "opening a weights file, first vector included, over h5py reading the bytes",
        1.5,
        quotient(("open", "dim"), ("open", "h5py")),
        at_least=False,
    ),
)
