"""Draws docs/pictures/science-*.png from what runner.py left: accuracies with their spread, accuracy over time, and
originals above reconstructions. Called by document.py; needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

#: Colours that differ for colour-blind eyes, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def bars(rows: Mapping[str, Mapping[str, list[float]]], path: Path) -> None:
    """rows: title -> judge -> accuracies of the seeds, in %. A horizontal bar for each judge, its standard deviation on it."""
    judges = list(dict.fromkeys(judge for row in rows.values() for judge in row))
    figure, axis = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.2), layout="constrained")
    height = 0.8 / len(judges)
    for k, judge in enumerate(judges):
        means = [float(np.mean(row[judge])) if row.get(judge) else np.nan for row in rows.values()]
        spreads = [float(np.std(row[judge], ddof=1)) if len(row.get(judge, [])) > 1 else 0.0 for row in rows.values()]
        places = np.arange(len(rows)) + (k - (len(judges) - 1) / 2) * height
        axis.barh(places, means, height, xerr=spreads, label=judge, color=COLOURS[k], error_kw={"elinewidth": 1})
    axis.set_yticks(np.arange(len(rows)), list(rows))
    axis.invert_yaxis()
    low = min(np.mean(values) for row in rows.values() for values in row.values() if values)
    axis.set_xlim(left=10 * np.floor(low / 10))
    axis.set_xlabel("accuracy, %")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(judges), frameon=False)
    save(figure, path)


def curves(lines: Mapping[str, tuple[list[float], list[float], list[float]]], path: Path) -> None:
    """lines: title -> seconds, steps, accuracies in %: over the steps on the left, over the time on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for k, (title, (seconds, steps, accuracies)) in enumerate(lines.items()):
        axes[0].plot(steps, accuracies, marker="o", markersize=3, label=title, color=COLOURS[k % 4])
        axes[1].plot(seconds, accuracies, marker="o", markersize=3, label=title, color=COLOURS[k % 4])
    axes[0].set_xlabel("steps of 64 images")
    axes[1].set_xlabel("seconds of training")
    axes[0].set_ylabel("linear judge on Y, %")
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[1].legend(frameon=False)
    save(figure, path)


def reconstructions(originals: np.ndarray, rows: Mapping[str, np.ndarray], path: Path) -> None:
    """(n, c, h, w) in [0,1]: originals above, then a line of reconstructions for each title."""
    lines = {"originals": originals} | dict(rows)
    n = len(originals)
    figure, axes = plt.subplots(len(lines), n, figsize=(0.55 * n + 1.6, 0.6 * len(lines)), squeeze=False, layout="constrained")
    for row, (title, images) in enumerate(lines.items()):
        for column in range(n):
            axis = axes[row, column]
            shown = np.clip(np.asarray(images[column], np.float32), 0, 1).transpose(1, 2, 0)
            axis.imshow(shown.squeeze(), cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            for edge in axis.spines.values():
                edge.set_visible(False)
        axes[row, 0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
