"""`dim search`: the images of a stored index that are nearest to others, and those that are nearly the same."""

from __future__ import annotations

import argparse
import base64
import functools
import html
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .._files import write_whole
from .._text import counted, cut, decimal, shown, table
from ..data import Dataset
from ..evaluation import Floats
from ..model import Model
from ..plots import pictures
from ..search import TRAINING_MODE, Found, Index
from . import UsageError, _output, _vectors
from ._common import (
    add_data,
    add_examples,
    number,
    add_general,
    add_weights,
    apply_general,
    check_ending,
    check_writable,
    open_data,
    open_model,
    positive,
    weights_name,
)
from ._images import one_image
from ._effects import Effects
from ._last_steps import LastSteps

#: Near-duplicates that a contact sheet shows.
PAIRS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files, or numbers of images in the index")
    parser.add_argument(
        "--index", default="index.npz", metavar="FILE", help="an index written by `dim index` (default: index.npz)"
    )
    parser.add_argument("--count", type=positive, default=10, metavar="N", help="number of nearest images (default: 10)")
    parser.add_argument("--approximate", action="store_true", help="search with hnswlib, and report its recall")
    parser.add_argument(
        "--duplicates",
        type=number,
        metavar="D",
        help="instead of searching, list pairs of the index at most D apart; of equal images, each with the first of them",
    )
    parser.add_argument(
        "--most", type=positive, default=100_000, metavar="N", help="refuse to list more pairs of duplicates (default: 100000)"
    )
    add_data(parser, "none: --picture and --html need the images that were indexed")
    add_weights(parser)
    parser.add_argument(
        "--picture", metavar="FILE", help="write a contact sheet (PNG), a row per image or per pair of duplicates"
    )
    parser.add_argument("--html", metavar="FILE", help="write the same as an HTML page with names and distances")
    add_general(parser, "untrained weights, where --weights names none")
    add_examples(
        parser,
        """
  dim search cat.png dog.png --index photos.npz --weights weights.h5
  dim search 17 --index photos.npz --data photos --html sheet.html --picture sheet.png
  dim search --duplicates 0.05 --index photos.npz
  dim search --duplicates 0.05 --index photos.npz --data photos --html duplicates.html
""",
    )


def effects(arguments: argparse.Namespace) -> Effects:
    for option in "--approximate", "--count":
        yield option, arguments.duplicates is None, "with --duplicates"
    yield "--most", arguments.duplicates is not None, "without --duplicates"
    sheets = arguments.picture is not None or arguments.html is not None
    for option in "--data", "--split", "--limit", "--skip-damaged":
        yield option, sheets, "without --picture or --html"
    # Queries by number have their vectors in the index.
    encodes = sheets or arguments.duplicates is None and not all(name.isdecimal() for name in arguments.images)
    for option in "--weights", "--architecture", "--resize", "--max-pixels", "--seed":
        yield option, encodes, "without an image file, --picture or --html"
    yield "--seed", arguments.weights is None, "with --weights"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    sheets = arguments.picture is not None or arguments.html is not None
    for option, path, endings in ("--picture", arguments.picture, ["png"]), ("--html", arguments.html, ["html", "htm"]):
        if path is not None:
            check_ending(option, path, endings)
            check_writable(path)
    index = Index.open(arguments.index)
    if arguments.duplicates is not None:
        if not 0 <= arguments.duplicates < math.inf:
            raise UsageError(f"--duplicates: expected a finite number of at least 0, found {arguments.duplicates}")
        if arguments.images:
            raise UsageError("--duplicates lists pairs of the index; it takes no images")
        return _duplicates(arguments, index, sheets)
    if not arguments.images:
        raise UsageError("IMAGE: expected image files or numbers of images in the index, found none")
    for name in arguments.images:
        if not name.isdecimal() and not os.path.exists(name):
            raise UsageError(f"{name}: no such file, and no number of an image in the index")
    model = open_model(arguments).eval() if sheets or not all(name.isdecimal() for name in arguments.images) else None
    data = _data(arguments, index, model) if sheets else None
    vectors, drawn = _queries(arguments, index, data, model)
    search = index.search_approximately if arguments.approximate else index.search
    found = search(vectors, arguments.count)
    steps = LastSteps(arguments.command)
    if data is not None:
        _draw(steps, arguments, index, arguments.images, found, lambda: np.concatenate(drawn), data)
    report = {
        "index": arguments.index,
        "images": len(index),
        "metric": index.metric,
        "recall": found.recall,
        "approximate": arguments.approximate,
        "subjects": [
            {
                "image": name,
                "nearest": [
                    {"image": index.ids[number], "number": int(number), "distance": float(distance)}
                    for number, distance in zip(numbers, distances, strict=True)
                ],
            }
            for name, numbers, distances in zip(arguments.images, found.numbers, found.distances, strict=True)
        ],
    }
    _output.result(arguments, report, _text(report))
    steps.end()
    return 0


def _duplicates(arguments: argparse.Namespace, index: Index, sheets: bool) -> int:
    data = _data(arguments, index, None if arguments.weights is None else open_model(arguments)) if sheets else None
    try:
        found = index.duplicates(arguments.duplicates, most=arguments.most)
    except ValueError as error:
        smaller = "give a smaller distance, or " * (arguments.duplicates > 0)
        raise UsageError(
            f"--duplicates: more than {arguments.most:,} pairs are at most {arguments.duplicates:g} apart; {smaller}allow more "
            "with --most"
        ) from error
    pairs: list[dict[str, Any]] = [
        {"images": [index.ids[a], index.ids[b]], "numbers": [int(a), int(b)], "distance": float(distance)}
        for (a, b), distance in zip(found.pairs, found.distances, strict=True)
    ]
    steps = LastSteps(arguments.command)
    if sheets and not pairs:
        _output.note(arguments, "no pairs, so there is no sheet of them: --picture and --html wrote nothing")
    elif data is not None:
        if len(pairs) > PAIRS:
            _output.note(arguments, f"the sheets show {PAIRS} of {len(pairs):,} pairs, the nearest")
        shown_pairs, distances = found.pairs[:PAIRS], found.distances[:PAIRS, np.newaxis]
        names = [index.ids[number] for number in shown_pairs[:, 0]]
        near = Found(shown_pairs[:, 1:], distances, 1.0)
        _draw(steps, arguments, index, names, near, functools.partial(data.read, shown_pairs[:, 0]), data)
    rows = [[*map(shown, pair["images"]), f"{pair['distance']:.3g}"] for pair in pairs]
    text = "\n".join(
        [f"{counted(len(pairs), 'pair')} at most {arguments.duplicates:g} apart", *(table(rows, left=2) if rows else [])]
    )
    _output.result(arguments, {"index": arguments.index, "pairs": pairs}, text)
    steps.end()
    return 0


def _data(arguments: argparse.Namespace, index: Index, model: Model | None) -> Dataset:
    if arguments.data is None:
        raise UsageError("--picture and --html need --data, the images that were indexed")
    data = open_data(arguments, model)
    try:
        index.check_images(data)
    except ValueError as error:
        raise UsageError(f"--data: {arguments.index} {error}; name those that were indexed") from error
    if arguments.weights is not None and index.made_by == TRAINING_MODE:
        _output.note(arguments, f"{arguments.index} was made with --batch-statistics: --weights cannot be compared with it")
    elif model is not None and arguments.weights is not None:
        _check(arguments, index, model, "")
        if not _vectors.made(model, data, index.vectors):
            raise UsageError(
                f"--data: {data.name} has other images than {arguments.index}, or its vectors are not of {arguments.weights}; "
                "name the images that were indexed, and the weights"
            )
    return data


def _queries(
    arguments: argparse.Namespace, index: Index, data: Dataset | None, model: Model | None
) -> tuple[Floats, list[Floats]]:
    """Vectors (m, d) and, where sheets are drawn, images."""
    files = [name for name in arguments.images if not name.isdecimal()]
    if model is not None and files:
        _check(arguments, index, model, files[0])
        if not index.made_by:
            _output.note(
                arguments,
                f"{arguments.index} does not say which weights made its vectors: taken to be those of {arguments.weights}; "
                "`dim index --vectors FILE --weights WEIGHTS` stores and checks it",
            )
    vectors, drawn = [], []
    for name in arguments.images:
        if model is not None and name in files:
            image = one_image(arguments, model, name)
            vectors.append(model.encode(image, features=False))
            drawn.append(image)
            continue
        number = decimal(name)
        if number >= len(index):
            raise UsageError(f"image {cut(name, 40)}: {arguments.index} has images 0 to {len(index) - 1}")
        vectors.append(index.vectors[number : number + 1])
        if data is not None:
            drawn.append(data.read([number]))
    return np.concatenate(vectors), drawn


def _check(arguments: argparse.Namespace, index: Index, model: Model, queried: str) -> None:
    if not index.made_by and arguments.weights is None:
        raise UsageError(
            f"{arguments.index}: does not say which weights made its vectors; name them with --weights, to encode {queried}"
        )
    try:
        index.check_encoder(model)
    except ValueError as error:
        missing = "; name them with --weights" if arguments.weights is None else ""
        raise UsageError(f"{arguments.index}: {error} (found: {weights_name(arguments)}{missing})") from error


def _draw(
    steps: LastSteps,
    arguments: argparse.Namespace,
    index: Index,
    names: list[str],
    found: Found,
    subjects: Callable[[], Floats],
    data: Dataset,
) -> None:
    """The sheets, each a step of its own."""
    rows: list[Floats] = []

    def read() -> None:
        rows.extend(
            np.concatenate((image[np.newaxis], data.read(near))) for image, near in zip(subjects(), found.numbers, strict=True)
        )

    if not steps.do(read):
        return
    if arguments.picture is not None:
        steps.do(lambda: write_whole(arguments.picture, pictures.png(pictures.panel(rows, 2, 4))))
    if arguments.html is not None:
        steps.do(lambda: write_whole(arguments.html, _page(names, index, found, rows).encode()))


def _page(names: list[str], index: Index, found: Found, rows: list[Any]) -> str:
    """One file with all that it shows; names are text, whatever they hold."""
    lines = []
    for name, images, numbers, distances in zip(names, rows, found.numbers, found.distances, strict=True):
        captions = [shown(name), *(f"{shown(index.ids[n])}\n{d:.3g}" for n, d in zip(numbers, distances, strict=True))]
        cells = [
            f'<figure><img alt="" src="data:image/png;base64,{base64.b64encode(pictures.png(image)).decode()}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for image, caption in zip(pictures.to_pixels(images), captions, strict=True)
        ]
        lines.append("<section>" + "\n".join(cells) + "</section>")
    style = (
        "section{display:flex;flex-wrap:wrap;border-bottom:1px solid #ccc}figure{margin:8px;width:100px}"
        "img{width:96px;image-rendering:pixelated}figcaption{font:12px sans-serif;white-space:pre-wrap;overflow-wrap:anywhere}"
        "figure:first-child{font-weight:bold;margin-right:32px}"
    )
    head = f'<!doctype html><meta charset="utf-8"><title>Nearest images</title><style>{style}</style>'
    return head + "\n" + "\n".join(lines) + "\n"


def _text(report: dict[str, Any]) -> str:
    lines = [f"{counted(report['images'], 'image')} in {shown(report['index'])}, {report['metric']} distance"]
    if report["approximate"]:
        lines.append(
            f"approximate, by hnswlib: {report['recall']:.1%} of the nearest found, measured on up to 100 of the queries"
        )
    for subject in report["subjects"]:
        rows = [[shown(one["image"]), str(one["number"]), f"{one['distance']:.3g}"] for one in subject["nearest"]]
        lines += ["", shown(subject["image"]), *(f"  {line}" for line in table(rows, left=1))]
    return "\n".join(lines)
