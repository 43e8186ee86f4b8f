"""`dim neighbours`: an image, its nearest and its farthest neighbours, as the original's cluster.py shows them."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from .._files import write_whole
from .._text import counted, cut, decimal, shown, table
from ..data import Dataset, randperm
from ..evaluation import Floats, Labels
from ..model import Model
from ..neighbours import Neighbours, neighbours
from ..plots import pictures
from . import UsageError, _output, _vectors
from ._common import (
    add_data,
    add_examples,
    add_general,
    add_weights,
    apply_general,
    check_ending,
    check_writable,
    natural,
    need,
    open_data,
    positive,
)
from ._effects import Effects
from ._last_steps import LastSteps
from ._images import one_image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="numbers of images in the data, or image files (default: one, drawn by --seed)",
    )
    parser.add_argument("--grid", type=positive, metavar="N", help="draw N images, selected by --seed, in one picture")
    add_data(parser, "scikit-learn's sample photographs")
    add_weights(parser)
    _vectors.add_vectors(parser)
    parser.add_argument(
        "--count", type=positive, default=10, metavar="N", help="number of nearest and of farthest images (default: 10)"
    )
    parser.add_argument("--others", action="store_true", help="leave out the image itself, which is its own nearest")
    parser.add_argument("--captions", action="store_true", help="write names and distances under the images (needs Pillow)")
    parser.add_argument("--columns", type=positive, default=2, metavar="N", help="panels side by side (default: 2)")
    parser.add_argument(
        "--scale", type=positive, default=2, metavar="N", help="factor by which images are enlarged (default: 2)"
    )
    parser.add_argument(
        "--gap", type=natural, default=0, metavar="N", help="pixels between images (default: 0, as the original)"
    )
    parser.add_argument(
        "--output", default="neighbours.png", metavar="FILE", help="the picture, a PNG (default: neighbours.png)"
    )
    add_general(parser, "draws images; untrained weights, where --weights names none")
    add_examples(
        parser,
        """
  dim neighbours --weights weights.h5                     one image by chance, in neighbours.png
  dim neighbours 17 400 cat.png --weights weights.h5      images 17 and 400 of the data, and one of your own
  dim neighbours --grid 8 --data photos --output grid.png
  dim neighbours cat.png --data photos --vectors vectors.npz --weights weights.h5    encodes cat.png alone
  dim neighbours 17 --json | jq '.subjects[0].nearest'

A panel has three rows, as in the original: the image, repeated ten times, its 10 nearest and its 10 farthest, by L2
distance of their vectors.
""",
    )


def effects(arguments: argparse.Namespace) -> Effects:
    drawn = not arguments.images
    yield "--seed", drawn or arguments.weights is None, "with IMAGE and --weights"
    yield (
        "--others",
        drawn or any(name.isdecimal() for name in arguments.images),
        "with files alone: none of them is in the data",
    )
    if all(name.isdecimal() for name in arguments.images):  # A file is encoded, by untrained weights where none are named.
        encodes = arguments.vectors is None or arguments.architecture is not None
        yield "--seed", drawn or encodes, "with IMAGE and --vectors alone"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    if arguments.captions:
        need("Pillow", "--captions needs")
    check_ending("--output", arguments.output, ["png"])
    check_writable(arguments.output)
    model = _vectors.model_of(arguments)
    data = open_data(arguments, model)
    panels, beside = len(arguments.images) or arguments.grid or 1, min(arguments.count, len(data))
    side = (max(data.image_size[1:]) * arguments.scale + arguments.gap) * (1 if not arguments.captions else 2)
    pictures.check_size(3 * side * -(-panels // arguments.columns), side * beside * min(panels, arguments.columns))
    chosen = _subjects(arguments, data, model)  # Before the long part: a name may be wrong.
    queries = next((name for name, number, _ in chosen if number is None), None)
    y, weights, model = _vectors.of(arguments, data, model, queries)
    drawn, subjects = [], []
    for name, number, image in chosen:
        vector = y[number] if number is not None else _encode(model, image, name)
        found = _neighbours(vector, y, number, arguments.count, arguments.others)
        subjects.append(_report(name, number, found, data))
        drawn.append(_panel(arguments, image, found, data, subjects[-1]))
    sheet = pictures.stack(_evened(drawn), arguments.columns)
    steps = LastSteps(arguments.command)
    drawn_there = steps.do(lambda: write_whole(arguments.output, pictures.png(sheet)))
    picture = arguments.output if drawn_there else None
    origins = _vectors.origins(arguments, weights)
    report = {"data": data.name, "images": len(data), **origins, "picture": picture, "subjects": subjects}
    _output.result(arguments, report, _text(report, _vectors.origin(arguments, weights)))
    steps.end()
    return 0


def _panel(
    arguments: argparse.Namespace, image: Floats, found: Neighbours, data: Dataset, subject: dict[str, Any]
) -> pictures.Picture:
    nearest, farthest = data.read(found.nearest), data.read(found.farthest)
    if not arguments.captions:  # The original's: the image as often as it has neighbours.
        rows = [np.repeat(image, len(found.nearest), axis=0), nearest, farthest]
        return pictures.panel(rows, arguments.scale, arguments.gap)
    captions = [[[subject["image"], *([subject["class"]] if "class" in subject else [])]]]
    captions += [[_caption(one) for one in subject[which]] for which in ("nearest", "farthest")]
    return pictures.captioned([image, nearest, farthest], captions, arguments.scale, max(arguments.gap, 3))


def _caption(one: dict[str, Any]) -> list[str]:
    return [one["image"], *([one["class"]] if "class" in one else []), f"{one['distance']:.3g}"]


def _evened(panels: list[pictures.Picture]) -> list[pictures.Picture]:
    """All of one size: captions differ in theirs."""
    height, width = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    sheets = [pictures.blank(height, width) for _ in panels]
    for sheet, panel in zip(sheets, panels, strict=True):
        pictures.paste(sheet, panel, 0, 0)
    return sheets


# ---- Subjects


def _subjects(arguments: argparse.Namespace, data: Dataset, model: Model | None) -> list[tuple[str, int | None, Floats]]:
    """Name, number in the data if it is one of it, and pixels (1,c,h,w), of each image that was asked for."""
    if arguments.images and arguments.grid:
        raise UsageError("--grid selects images itself; expected no IMAGE")
    names = arguments.images or [str(n) for n in randperm(len(data), arguments.seed)[: arguments.grid or 1]]
    chosen: list[tuple[str, int | None, Floats]] = []
    for name in names:
        if name.isdecimal():
            number = decimal(name)
            if number >= len(data):
                raise UsageError(f"image {cut(name, 40)}: {data.name} has images 0 to {len(data) - 1}")
            chosen.append((data.ids[number], number, data.read([number])))
        else:
            chosen.append((name, None, one_image(arguments, model, name)))
    return chosen


def _encode(model: Model | None, image: Floats, name: str) -> Floats:
    assert model is not None, name
    # One image has no batch to share statistics with: running ones, which the data has moved if it was asked for.
    vector: Floats = model.eval().encode(image, features=False)[0]
    return vector


def _neighbours(vector: Floats, y: Floats, number: int | None, count: int, others: bool) -> Neighbours:
    if not others or number is None:
        return neighbours(vector, y, count)
    rest = np.delete(np.arange(len(y)), number)
    if len(rest) == 0:
        raise UsageError("--others: the data has no other image")
    found = neighbours(vector, y[rest], count)
    return found._replace(nearest=rest[found.nearest], farthest=rest[found.farthest])


# ---- Reports


def _report(name: str, number: int | None, found: Neighbours, data: Dataset) -> dict[str, Any]:
    report: dict[str, Any] = {"image": name, "number": number}
    if data.labels is not None and number is not None:
        report["class"] = data.class_name(number)
    report["nearest"] = _listed(found.nearest, found.nearest_distances, data)
    report["farthest"] = _listed(found.farthest, found.farthest_distances, data)
    return report


def _listed(numbers: Labels, distances: Any, data: Dataset) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for number, distance in zip(numbers.tolist(), distances.tolist(), strict=True):
        listed.append({"image": data.ids[number], "number": number, "distance": distance})
        if data.labels is not None:
            listed[-1]["class"] = data.class_name(number)
    return listed


def _text(report: dict[str, Any], origin: str) -> str:
    lines = [f"{counted(report['images'], 'image')} of {shown(report['data'])}, {origin}"]
    for subject in report["subjects"]:
        known = "" if subject["number"] is None else f", number {subject['number']}"
        own = f", class {shown(subject['class'])}" if "class" in subject else ""
        lines += ["", f"{shown(subject['image'])}{known}{own}"]
        rows = []
        for which in ("nearest", "farthest"):
            rows += [[which if place == 0 else "", *_cells(one)] for place, one in enumerate(subject[which])]
        lines += [f"  {line}" for line in table(rows, left=3)]
    if report["picture"]:
        lines += ["", f"picture: {shown(report['picture'])}"]
    return "\n".join(lines)


def _cells(one: dict[str, Any]) -> list[str]:
    """Name, class where there are classes, number, distance."""
    return [shown(one["image"]), shown(one.get("class", "")), str(one["number"]), f"{one['distance']:.3g}"]
