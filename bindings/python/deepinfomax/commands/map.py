"""`dim map`: the encoded images in two dimensions, drawn with the images themselves."""

from __future__ import annotations

import argparse
import csv
import io
import json

import numpy as np

from .. import maps, pictures
from .._files import write_whole
from ..data import Dataset, MissingPackage, randperm
from . import UsageError, _vectors
from ._common import (
    add_data, add_examples, add_general, add_weights, apply_general, check_ending, check_writable, open_data, positive,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "scikit-learn's sample photographs; with --labelled its digits")
    parser.add_argument("--labelled", action="store_true", help="frames in the colours of the classes; needs labels")
    add_weights(parser)
    _vectors.add_vectors(parser)
    parser.add_argument("--method", choices=("pca", "tsne"), default="pca", help="tsne needs scikit-learn (default: pca)")
    parser.add_argument("--images", type=positive, default=1000, metavar="N", help="draw N at most (default: 1000)")
    parser.add_argument("--size", type=positive, default=1200, metavar="N", help="longer side of the picture in pixels (default: 1200)")
    parser.add_argument("--thumbnail", type=positive, default=28, metavar="N", help="side of an image in pixels (default: 28)")
    parser.add_argument("--output", default="map.png", metavar="FILE", help="the picture, a PNG (default: map.png)")
    parser.add_argument("--coordinates", metavar="FILE", help="also write image, class, x, y as CSV")
    add_general(parser, "chooses the images drawn, begins t-SNE; untrained weights, where --weights names none")
    add_examples(
        parser,
        """
  dim map --weights weights.h5                            the sample photographs, by PCA
  dim map --weights weights.h5 --labelled --method tsne   the digits, framed in their classes' colours
  dim map --data cifar-10-binary.tar.gz --split test --labelled --coordinates map.csv
""",
    )


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    if arguments.size < 4 * arguments.thumbnail:
        raise UsageError(f"--size: expected four thumbnails at least, {4 * arguments.thumbnail}, found {arguments.size}")
    check_ending("--output", arguments.output, ["png"])
    check_writable(arguments.output)
    if arguments.coordinates:
        check_writable(arguments.coordinates)
    data = open_data(arguments, arguments.labelled)
    if len(data) < 2:
        raise UsageError(f"{data.name}: a map needs two images at least")
    y, weights, _ = _vectors.of(arguments, data)
    shown = np.sort(randperm(len(data), arguments.seed)[: arguments.images])
    projection = _project(arguments, y[shown])
    drawn = data.subset(shown)
    colours = None
    if arguments.labelled and data.labels is not None:
        colours = pictures.COLOURS[data.labels[shown] % len(pictures.COLOURS)]
    order = randperm(len(shown), arguments.seed)  # Which image hides which is nobody's rank.
    sheet = pictures.scatter(
        drawn.read(order),
        projection.places[order],
        None if colours is None else colours[order],
        arguments.size,
        arguments.thumbnail,
    )
    write_whole(arguments.output, pictures.png(sheet))
    if arguments.coordinates:
        write_whole(arguments.coordinates, _csv(drawn, projection.places).encode())
    _report(arguments, drawn, projection, weights)
    return 0


def _project(arguments: argparse.Namespace, y: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> maps.Projection:
    if arguments.method == "pca":
        return maps.pca(y)
    try:
        return maps.tsne(y, arguments.seed)
    except ImportError as error:
        raise MissingPackage("scikit-learn", "--method tsne needs", advice="or take pca") from error


def _csv(data: Dataset, places: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "class", "x", "y"))
    for number, (x, y) in enumerate(places.tolist()):
        table.writerow((data.ids[number], data.class_name(number), repr(x), repr(y)))
    return text.getvalue()


def _report(arguments: argparse.Namespace, drawn: Dataset, projection: maps.Projection, weights: str) -> None:
    classes = None
    if arguments.labelled and drawn.labels is not None:
        names = drawn.classes or tuple(map(str, range(10)))
        classes = {name: "#%02x%02x%02x" % tuple(pictures.COLOURS[n % 10]) for n, name in enumerate(names)}
    if arguments.json:
        points = [
            {"image": drawn.ids[n], "x": x, "y": y} | ({"class": drawn.class_name(n)} if classes else {})
            for n, (x, y) in enumerate(projection.places.tolist())
        ]
        report = {"data": drawn.name, "weights": weights, "method": projection.method, "explained": projection.explained,
                  "picture": arguments.output, "classes": classes, "images": points}  # fmt: skip
        print(json.dumps(report))
        return
    print(f"{len(drawn):,} images of {drawn.name}, weights {weights}, {projection.method}")
    if projection.explained:
        print("the two axes hold {:.0%} and {:.0%} of the variance".format(*projection.explained))
    if classes:
        print("frames: " + ", ".join(f"{name} {colour}" for name, colour in classes.items()))
    print(f"picture: {arguments.output}")
