"""Charts with axes and words, drawn by matplotlib: the confusion matrix. PNG, SVG or PDF by the name's ending."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import one_of
from .._text import cut, shown
from . import lettering

FORMATS = ("png", "svg", "pdf")
#: Matrices of more classes show colours without counts.
NUMBERED = 60


def confusion(matrices: Sequence[tuple[str, NDArray[np.int64]]], classes: Sequence[str], file_format: str = "png") -> bytes:
    """The file's bytes: confusion matrices side by side, each under its title.

    matrices: of (10,10) counts, row = label, column = prediction; only the rows and columns of `classes` are drawn.
    Raises ImportError where matplotlib is missing.
    """
    one_of(file_format, FORMATS, "file_format", ", ".join(FORMATS))
    if not len(matrices) or not len(classes):
        raise ValueError("expected a matrix and a class, or more, found none")
    for title, counts in matrices:
        if np.ndim(counts) != 2 or min(np.shape(counts)) < len(classes):
            raise ValueError(
                f"{title}: expected a row and a column for each of {len(classes)} classes, found {np.shape(counts)}"
            )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    k = len(classes)
    side = min(max(0.42 * k, 1.2), 25)  # Of a matrix, in inches: room for its title; of many classes, a picture of colours.
    figure = Figure(figsize=((side + 0.2) * len(matrices), side))
    FigureCanvasAgg(figure)  # Not pyplot: no window, no global state.
    places = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.2 / side}
    axes = figure.subplots(1, len(matrices), squeeze=False, sharey=True, gridspec_kw=places)[0]
    for axis, (title, counts) in zip(axes, matrices, strict=True):
        _matrix(axis, np.asarray(counts)[:k, :k], classes)
        lettering.write(axis.set_title(""), title, 9)
        axis.set_xlabel("prediction")
    axes[0].set_ylabel("label")
    file = BytesIO()
    figure.savefig(file, format=file_format, dpi=100, bbox_inches="tight", pad_inches=0.1)  # Names may be long.
    return file.getvalue()


def _matrix(axis: Any, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    # Coloured by the share of the label's images: classes of different sizes look alike.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    turned = 90 if max(map(len, classes)) > 2 else 0
    faces = [lettering.face(shown(name)) for name in classes]
    names = [cut(name, 40) for _, name in faces]
    axis.set_xticks(range(len(classes)), names, rotation=turned)
    axis.set_yticks(range(len(classes)), names)
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):  # Axes beside the first show no names of rows.
        for (path, _), label in zip(faces, labels, strict=False):
            lettering.set_font(label, path, 8)
    if len(counts) > NUMBERED:
        return
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
