"""The evaluation as a picture: bars with error bars, and a confusion matrix. PNG, SVG or PDF; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from .._text import cut, shown
from ..plots import lettering
from ..plots.charts import NUMBERED, _matrix
from .comparison import Comparison, Figure

#: A colour for each judge, told apart by those who see few, too (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")


def picture(
    found: Comparison, names: dict[str, str], judges: dict[str, str], classes: Sequence[str], file_format: str = "png"
) -> bytes:
    """The file's bytes. names, judges: what rows and judges are called there."""
    file = BytesIO()
    canvas(found, names, judges, classes).savefig(file, format=file_format, dpi=100, bbox_inches="tight", pad_inches=0.1)
    return file.getvalue()


def canvas(found: Comparison, names: dict[str, str], judges: dict[str, str], classes: Sequence[str]) -> Any:
    """The same as a figure of matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    kinds = list(dict.fromkeys((one.row, one.column) for one in found.figures))
    shown_judges = list(dict.fromkeys(one.judge for one in found.figures))
    confusing = _confusing(found)
    with_matrix = len(classes) <= NUMBERED
    tall = max(0.16 * len(kinds) * (len(shown_judges) + 1), 0.42 * len(classes) if with_matrix else 0, 2.0)
    drawn = Canvas(figsize=(15 if with_matrix else 9, tall + 1), layout="constrained")
    FigureCanvasAgg(drawn)  # Not pyplot: no window, no global state.
    wide = max(4.0, 0.42 * len(classes))
    axes = drawn.subplots(1, 2, gridspec_kw={"width_ratios": [7, wide]}) if with_matrix else [drawn.subplots()]
    _bars(axes[0], found, kinds, shown_judges, names, judges)
    if with_matrix:
        _matrix(axes[1], confusing.confusion, classes)
        title = f"{names[confusing.row]} {confusing.column}, {judges[confusing.judge]}"
        lettering.write(axes[1].set_title(""), shown(title), 9, 70)
        axes[1].set_xlabel("prediction")
        axes[1].set_ylabel("label")
    return drawn


def _confusing(found: Comparison) -> Figure:
    """Whose confusion matrix is drawn: the first figure, which is of the weights where these are judged."""
    return found.figures[0]


def _bars(
    axis: Any,
    found: Comparison,
    kinds: Sequence[tuple[str, str]],
    shown_judges: Sequence[str],
    names: dict[str, str],
    judges: dict[str, str],
) -> None:
    height = 0.8 / len(shown_judges)
    for number, judge in enumerate(shown_judges):
        places: list[float] = []
        means: list[float] = []
        deviations: list[float] = []
        for place, kind in enumerate(kinds):
            for one in found.figures:
                if (one.row, one.column, one.judge) == (*kind, judge):
                    places.append(place + (number - (len(shown_judges) - 1) / 2) * height)
                    means.append(100 * one.mean)
                    deviations.append(100 * (one.deviation or 0))
        colour = COLOURS[number % len(COLOURS)]
        errors = {"capsize": 2, "error_kw": {"linewidth": 1}}
        bars = deviations if any(deviations) else None
        axis.barh(places, means, height * 0.95, xerr=bars, color=colour, label=judges[judge], **errors)
        for at, mean, deviation in zip(places, means, deviations, strict=True):
            axis.text(mean + deviation + 0.4, at, f"{mean:.1f}", va="center", fontsize=7)
    faces = [lettering.face(shown(f"{names[row]} {column}".strip())) for row, column in kinds]
    axis.set_yticks(range(len(kinds)), [cut(written, 34) for _, written in faces])
    for (path, _), label in zip(faces, axis.get_yticklabels(), strict=True):
        lettering.set_font(label, path, 8)
    axis.invert_yaxis()
    all_means = [100 * one.mean for one in found.figures]
    # Bars from 0 would hide what differs; the axis says where it begins.
    low = max(0.0, float(np.floor(min(all_means) / 10) * 10 - 10))
    axis.set_xlim(low, min(104.0, max(all_means) + 4))
    axis.set_xlabel(f"accuracy in %, from {low:.0f}" if low else "accuracy in %", fontsize=8)
    # Below the axis' numbers and words by lengths of letters: a share of the axis' height is nothing where there is one row.
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5}
    axis.legend(fontsize=8, ncols=len(shown_judges), frameon=False, **below)
