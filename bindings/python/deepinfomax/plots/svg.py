"""Curves as SVG that is complete in itself: no package, no script, no external style."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 440, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 24, 30
#: A generous guess at a letter's width.
CHARACTER = 6
#: More points than this would be finer than the picture.
POINTS = 400
#: Larger values are left out, as NaN and infinity are: of such the ranges would overflow.
_LARGEST = 1e300


class Curve(NamedTuple):
    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    #: Of the line in pixels.
    width: float
    #: "" a line, "o-" with a dot at each point, "--" dashed: as matplotlib writes them.
    style: str = ""


def chart(title: str, curves: Sequence[Curve], x_label: str) -> str:
    """An <svg> element: the curves over common axes, named in its legend."""
    drawn = [curve for curve in map(_finite, curves) if len(curve.x)]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}" '
        'font-family="sans-serif" font-size="11">',
        f'<text x="{LEFT}" y="15" font-weight="bold">{escape(title)}</text>',
    ]
    if drawn:
        x_range = _range([value for curve in drawn for value in curve.x], 0)
        y_range = _range([value for curve in drawn for value in curve.y], 0.05)
        parts += _axes(x_range, y_range, x_label)
        parts += [_drawn(curve, x_range, y_range) for curve in drawn]
        # The names are above the curves, where they hide none; from the right, in places that are wide enough.
        right = WIDTH - RIGHT
        for curve in reversed([curve for curve in drawn if curve.name]):
            parts.append(f'<text x="{right}" y="15" text-anchor="end" fill="{curve.colour}">{escape(curve.name)}</text>')
            right -= CHARACTER * len(curve.name) + 12
    return "".join([*parts, "</svg>"])


def _finite(curve: Curve) -> Curve:
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    kept = np.flatnonzero((np.abs(x) < _LARGEST) & (np.abs(y) < _LARGEST))
    kept = kept[:: max(1, len(kept) // POINTS)]
    return curve._replace(x=x[kept].tolist(), y=y[kept].tolist())


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * margin or (abs(high) * 0.05 + 1e-9 if low == high else 0)
    return low - room, high + room


def _place(value: float, bounds: tuple[float, float], start: float, end: float) -> float:
    return start + (value - bounds[0]) / (bounds[1] - bounds[0]) * (end - start)


def _x(value: float, bounds: tuple[float, float]) -> float:
    return _place(value, bounds, LEFT, WIDTH - RIGHT)


def _y(value: float, bounds: tuple[float, float]) -> float:
    return _place(value, bounds, HEIGHT - BOTTOM, TOP)


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], x_label: str) -> list[str]:
    parts = []
    for tick in _ticks(y_range):
        y = _y(tick, y_range)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(x_range):
        parts.append(f'<text x="{_x(tick, x_range):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#555"/>')
    return parts


def _ticks(bounds: tuple[float, float]) -> list[float]:
    """Three to six round numbers within the bounds."""
    span = bounds[1] - bounds[0]
    unit = 10.0 ** np.floor(np.log10(span))
    step = next(unit * factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 5) if span / (unit * factor) <= 6)
    first = int(np.ceil(bounds[0] / step - 1e-9))
    last = int(np.floor(bounds[1] / step + 1e-9))
    return [round(number * step, 12) for number in range(first, last + 1)]


def _drawn(curve: Curve, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    points = [(_x(x, x_range), _y(y, y_range)) for x, y in zip(curve.x, curve.y, strict=True)]
    dots = ""
    if curve.style == "o-" or len(points) == 1:
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{curve.colour}"/>' for x, y in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 3"' if curve.style == "--" else ""
    return f'<polyline points="{line}" fill="none" stroke="{curve.colour}" stroke-width="{curve.width:g}"{dash}/>{dots}'
