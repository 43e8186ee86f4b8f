"""The curves of a training run as a picture, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._text import shown
from ..run_folder import Row
from . import lettering

#: Fields of a Row that are drawn, and their titles: the loss, and its terms and figures where a run has them.
LOSS = ("total", "total")
TERMS = (("local", "local"), ("global_", "global"), ("prior", "prior"))
FIGURES = (
    ("coordinates", "coordinates"),
    ("local_information", "estimate of the local information, nats"),
    ("global_information", "estimate of the global information, nats"),
    ("prior_distance", "distance from the prior"),
    ("gradient_norm", "gradient norm"),
)
#: And of a probe.
PROBES = (("linear_probe", "linear probe"), ("nearest_neighbours", "5 nearest neighbours"))
TRAINING, VALIDATION = "#4477aa", "#cc6633"


class Smoothed(NamedTuple):
    """One loss over the epochs: each step's, and its running mean, drawn in the middle of the steps it is of."""

    #: What the running mean is called in a legend.
    name: str
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    middles: NDArray[np.float64]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Sequence[Row], field: str) -> Smoothed:
        epochs = np.array([row.epoch for row in rows])
        values = np.array([getattr(row, field) for row in rows])
        width = max(1, len(rows) // 40)
        means = np.convolve(values, np.full(width, 1 / width), "valid")
        middles = epochs[(width - 1) // 2 : (width - 1) // 2 + len(means)]
        return cls("training" if width == 1 else f"training, mean of {width} steps", epochs, values, middles, means)


def losses(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """LOSS, the TERMS that are not 0 in all rows, which are those of the objective, and the FIGURES that some row has."""
    terms = [(field, name) for field, name in TERMS if any(getattr(row, field) for row in rows if row.phase != "probe")]
    figures = [(field, name) for field, name in FIGURES if any(not math.isnan(getattr(row, field)) for row in rows)]
    return (LOSS, *terms, *figures)


def draw(rows: Sequence[Row], title: str, file_format: str = "png") -> bytes:
    """The file's bytes: the loss over the epochs, and the terms and figures that the run has; thin the batches, thick their
    running mean, dots the validation; below, where there are probes, their accuracies, dashed the untrained encoder's.

    Raises ImportError where matplotlib is missing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    probes = [row for row in rows if row.phase == "probe"]
    drawn = (*losses(rows), *(PROBES if probes else ()))
    lines = -(-len(drawn) // 2)
    figure = Figure(figsize=(9, 3 * lines), layout="constrained")
    FigureCanvasAgg(figure)  # Not pyplot: no window, no global state.
    lettering.write(figure.suptitle(""), title, 10)
    train = [row for row in rows if row.phase == "train"]
    validation = [row for row in rows if row.phase == "validation"]
    panels = figure.subplots(lines, 2, sharex=True, squeeze=False).flat
    for axis in panels[len(drawn) :]:
        axis.remove()
    for axis, (field, name) in zip(panels, drawn, strict=False):
        if (field, name) in PROBES:
            values = [getattr(row, field) for row in probes]
            axis.plot([row.epoch for row in probes], values, "o-", color=VALIDATION, markersize=4)
            axis.axhline(values[0], color=TRAINING, linestyle="--", linewidth=1)
        else:
            _term(axis, train, validation, field)
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in figure.axes[-2:]:
        axis.set_xlabel("epoch")
        axis.tick_params(labelbottom=True)
    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.axes[0].legend(fontsize=8)
    file = BytesIO()
    figure.savefig(file, format=file_format, dpi=110)
    return file.getvalue()


def _term(axis: Any, train: Sequence[Row], validation: Sequence[Row], field: str) -> None:
    if train:
        steps = Smoothed.of(train, field)
        axis.plot(steps.epochs, steps.values, color=TRAINING, alpha=0.3, linewidth=0.8)
        axis.plot(steps.middles, steps.means, color=TRAINING, linewidth=1.8, label=steps.name)
    if validation and not math.isnan(getattr(validation[-1], field)):
        values = np.array([getattr(row, field) for row in validation])
        axis.plot([row.epoch for row in validation], values, "o-", color=VALIDATION, markersize=4, label="validation")
