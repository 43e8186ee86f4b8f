"""Writes docs/science.md from the JSONs that runner.py left: Benchmarks/science/document.py"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from rows import ALL

HERE = Path(__file__).resolve().parent
STILL = {
    "calibrated": "untrained, batch norm calibrated",
    "untrained": "untrained, running statistics 0 and 1",
    "pixels": "pixels",
    "pca": "PCA",
    "projection": "random projection",
}
COLUMNS = [("Y", "logistic"), ("Y", "knn"), ("fc", "logistic"), ("fc", "knn")]


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def spread(values: list[float], factor: float = 100, digits: int = 1) -> str:
    if not values:
        return ""
    mean = f"{factor * np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {factor * np.std(values, ddof=1):.{digits}f}"


def cells(results: list[dict[str, Any]], row: str) -> list[str]:
    found = []
    for column, judge in COLUMNS:
        values = [
            one["accuracy"]
            for result in results
            for one in result["figures"]
            if one["row"] == row and one["judge"] == judge and one["column"] in (column, "")
        ]
        found.append(spread(values))
    return found


def line(words: list[str]) -> str:
    return "| " + " | ".join(words) + " |"


def table(results: list[dict[str, Any]]) -> list[str]:
    head = ["", "seeds", "minutes", "steps", "epochs", "Y linear", "Y 5-NN", "fc linear", "fc 5-NN"]
    head += ["NDM (sigmoid)", "I(X;Y)", "MS-SSIM"]
    lines = [line(head), line(["---"] * len(head))]
    for name, row in ALL.items():
        these = [result for result in results if result["row"] == name]
        if not these:
            continue
        seeds = str(len(these))
        if row.kind == "none":
            lines += [line([title, seeds, "", "", "", *cells(these, still), "", "", ""]) for still, title in STILL.items()]
            continue
        ndm = spread([one["ndm"] for one in these if "ndm" in one], 1, 2)
        sigmoid = spread([one["ndm_sigmoid"] for one in these if "ndm_sigmoid" in one], 1, 2)
        means = [np.mean([one[key] for one in these]) for key in ("steps", "epochs")]
        told = [f"{these[0]['budget']['seconds'] / 60:.0f}", f"{means[0]:,.0f}", f"{means[1]:.1f}"]
        intrinsic = [f"{ndm} ({sigmoid})" if ndm else ""]
        intrinsic += [spread([one[key] for one in these if key in one], 1, 2) for key in ("mine", "ms_ssim")]
        lines.append(line([row.title, seeds, *told, *cells(these, "weights"), *intrinsic]))
    return lines


DATA = {"": "Fashion-MNIST", "clipart": "Clip art in colour"}


def gains(results: list[dict[str, Any]]) -> list[str]:
    """How far each trained row is above the better untrained network, where that was judged on as many images."""
    still = [result for result in results if ALL[result["row"]].kind == "none"]
    lines = []
    for name, row in ALL.items():
        these = [result for result in results if result["row"] == name and row.kind != "none"]
        if not these or not still:
            continue
        said = []
        for column, judge in COLUMNS:
            own = any(one["row"] == "untrained" for result in these for one in result["figures"])
            mean = {
                key: np.mean(
                    [
                        one["accuracy"]
                        for result in chosen
                        for one in result["figures"]
                        if (one["row"], one["column"], one["judge"]) == (key, column, judge)
                    ]
                    or [np.nan]
                )
                for key, chosen in (
                    ("weights", these),
                    ("calibrated", these if own else still),
                    ("untrained", these if own else still),
                )
            }
            gain = 100 * (mean["weights"] - max(mean["calibrated"], mean["untrained"]))
            if np.isfinite(gain):
                said.append(f"{column} {'linear' if judge == 'logistic' else '5-NN'} {gain:+.1f}")
        lines.append(f"- {row.title}: {', '.join(said)}")
    return lines


def mean_curves(results: list[dict[str, Any]]) -> dict[str, list[tuple[float, float, float]]]:
    """Seconds, steps and accuracy in %, the mean over seeds, of the rows that have them, by title."""
    found = {}
    for name, row in ALL.items():
        these = [result for result in results if result["row"] == name and result.get("curve")]
        if these:
            second = these[0]["budget"]["seconds"] / these[0]["steps"]
            marks = np.mean([one["curve"] for one in these], axis=0)
            found[row.title] = [(steps * second, steps, 100 * accuracy) for steps, accuracy in marks]
    return found


def curves(results: list[dict[str, Any]]) -> list[str]:
    """Accuracy over time, of rows that have it."""
    lines = [
        line([title, f"{seconds:,.0f}", f"{steps:,.0f}", f"{accuracy:.1f}"])
        for title, marks in mean_curves(results).items()
        for seconds, steps, accuracy in marks
    ]
    if not lines:
        return []
    head = ["", "seconds", "steps", "Y linear"]
    told = "Over time: fitted on Y of 18,000 of the training images, measured on 2,000 others of them, the mean over seeds."
    return [told, "", line(head), line(["---"] * len(head)), *lines, ""]


JUDGES = {"linear judge": "logistic", "5-NN": "knn"}


def draw(results: list[dict[str, Any]], folder: Path, out: Path) -> list[str]:
    """Draws the pictures there are results for; returns what shows them."""
    import pictures

    these = [one for one in results if ALL[one["row"]].data == ""]
    rows: dict[str, dict[str, list[float]]] = {}
    for name, row in ALL.items():
        chosen = [one for one in these if one["row"] == name]
        for kind, title in STILL.items() if row.kind == "none" else [("weights", row.title)]:
            for judge, key in JUDGES.items():
                values = [
                    100 * one["accuracy"]
                    for result in chosen
                    for one in result["figures"]
                    if (one["row"], one["judge"]) == (kind, key) and one["column"] in ("Y", "")
                ]
                if values:
                    rows.setdefault(title, {})[judge] = values
    found = []
    if rows:
        pictures.bars(rows, out / "science-accuracy.png")
        found += ["![Accuracy of a linear judge and of 5-NN on Y](pictures/science-accuracy.png)", ""]
    lines = {title: tuple(map(list, zip(*marks))) for title, marks in mean_curves(these).items()}
    if lines:
        pictures.curves(lines, out / "science-curves.png")
        found += ["![Accuracy over steps and over seconds](pictures/science-curves.png)", ""]
    made = {name: folder / f"{name}-0.npz" for name, row in ALL.items() if (folder / f"{name}-0.npz").exists()}
    if made:
        arrays = {ALL[name].title: np.load(path) for name, path in made.items()}
        originals = next(iter(arrays.values()))["originals"] / 255
        shown = {title: file["reconstructions"] / 255 for title, file in arrays.items()}
        pictures.reconstructions(originals, shown, out / "science-reconstructions.png")
        found += ["![Images above what a decoder makes of their Y](pictures/science-reconstructions.png)", ""]
    return found


def text(results: list[dict[str, Any]], judged_on: str) -> str:
    if not results:
        raise SystemExit(f"no results of {judged_on} images; run runner.py --judge-on {judged_on} first")
    machines = sorted(
        {f"{one['machine']['processor']}, {one['machine']['cores']} cores, {one['machine']['library']}" for one in results}
    )
    load = max(one["machine"]["load"] for one in results)
    budgets = {json.dumps(one["budget"], sort_keys=True) for one in results}
    asked = "the test images" if judged_on == "test" else "every tenth training image; the test images have not been read"
    results = [one for one in results if one["row"] in ALL]
    lines = [
        f"## Judged on {asked}",
        "",
        "Accuracy in %; mean and standard deviation over seeds. Linear: logistic regression. Vectors standardised.",
        "",
    ]
    for data, title in DATA.items():
        these = [one for one in results if ALL[one["row"]].data == data]
        if these:
            lines += [f"### {title}", "", *table(these), "", "Points over the better untrained network:", "", *gains(these), ""]
    lines += [
        *curves(results),
        f"Machine: {'; '.join(machines)}. Load when a row ended: up to {load:.1f}. Budgets:",
        "",
        *(f"    {budget}" for budget in sorted(budgets)),
        "",
    ]
    return "\n".join(lines)


HEAD = """# Does it learn?

Made by `make science`, which trains and judges the rows of `Benchmarks/science/rows.py` on Fashion-MNIST (Debian's
dataset-fashion-mnist: 60,000 + 10,000 grey images, 28x28, resized to 32x32 by the library), one JSON for each row and seed in
`Benchmarks/science/results`. This page is written from these by `Benchmarks/science/document.py`.

- Settings are chosen on the tenth of the training images that judges do not see (`--judge-on validation`); test images are
  looked at once, with all settings fixed (`--judge-on test`). Encoders see all training images and no label.
- The baseline is the better of two untrained networks with the same seed: batch norm's running statistics from a pass over
  the training images, or 0 and 1.
- Minutes are those of training steps alone, on an idle machine: `pace.json` has the time of each row's step, measured by
  `runner.py --measure-pace`, and a row takes as many steps as its minutes hold. So a row is the same whatever else runs.
- NDM and MINE's estimate of I(X;Y) in nats, of 12,500 training images; MS-SSIM of a decoder's reconstructions of images that
  neither it nor a judge has seen, with two scales: not comparable with the paper's column (docs/evaluate.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "science.md")
    options = parser.parse_args()
    notes = options.results / "notes.md"
    parts = [HEAD]
    if notes.exists():  # What a reader has to know about these very results.
        parts.append(notes.read_text())
    folders = [name for name in ("test", "validation") if (options.results / name).is_dir()]
    parts += [text(read(options.results / name), name) for name in folders]
    if folders:
        shown = options.results / folders[0]
        parts.insert(1, "\n".join(draw(read(shown), shown, options.out.parent / "pictures")))
    if not folders and not notes.exists():
        raise SystemExit(f"{options.results}: no results; run runner.py first")
    options.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
