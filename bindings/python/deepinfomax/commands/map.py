"""`dim map`: the encoded images in two dimensions, drawn with the images themselves."""

from __future__ import annotations

import argparse

import numpy as np

from .._files import write_whole
from .._text import counted, csv_text, shown
from ..data import Dataset, randperm
from ..plots import lettering, maps, pictures
from . import UsageError, _output, _vectors
from ._common import (
    add_data,
    add_examples,
    add_general,
    add_weights,
    apply_general,
    check_csv,
    check_ending,
    check_writable,
    need,
    open_data,
    positive,
)
from ._last_steps import LastSteps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "scikit-learn's sample photographs; with --labelled its digits")
    parser.add_argument(
        "--labelled", action="store_true", help="frame images in the colours of their classes, with a legend; needs labels"
    )
    add_weights(parser)
    _vectors.add_vectors(parser)
    parser.add_argument(
        "--method", choices=("pca", "tsne"), default="pca", help="projection; tsne needs scikit-learn (default: pca)"
    )
    parser.add_argument("--images", type=positive, default=1000, metavar="N", help="draw at most N images (default: 1000)")
    parser.add_argument(
        "--axes",
        choices=maps.AXES,
        default="auto",
        help="equal: the same scale for both; whiten: variance 1 for both; auto: equal, but the shorter axis is "
        "stretched to at least half of the longer (default: auto)",
    )
    parser.add_argument(
        "--size", type=positive, default=1200, metavar="N", help="longer side of the map in pixels (default: 1200)"
    )
    parser.add_argument("--thumbnail", type=positive, default=28, metavar="N", help="side of an image in pixels (default: 28)")
    parser.add_argument("--output", default="map.png", metavar="FILE", help="the picture, a PNG (default: map.png)")
    parser.add_argument("--coordinates", metavar="FILE", help="also write image, class, x, y as CSV")
    add_general(
        parser,
        "chooses the images drawn and which of them are on top, begins t-SNE; untrained weights, where --weights names none",
    )
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
    pictures.check_size(arguments.size, arguments.size)
    if arguments.method == "tsne":
        need("scikit-learn", "--method tsne needs", advice="or take pca")
    check_ending("--output", arguments.output, ["png"])
    check_writable(arguments.output)
    if arguments.coordinates:
        check_csv("--coordinates", arguments.coordinates)
        check_writable(arguments.coordinates)
    model = _vectors.model_of(arguments)
    data = open_data(arguments, model, arguments.labelled)
    if len(data) < 2:
        raise UsageError(f"{data.name}: a map needs two images at least")
    if arguments.images < 2:
        raise UsageError(f"--images: a map needs two images at least, found {arguments.images}")
    y, weights, _ = _vectors.of(arguments, data, model)
    chosen = np.sort(randperm(len(data), arguments.seed)[: arguments.images])
    projection = _project(arguments, y[chosen])
    drawn = data.subset(chosen)
    classes = _Classes(drawn) if arguments.labelled else None
    places, factors = maps.fitted(projection.places, arguments.axes)
    order = randperm(len(chosen), arguments.seed)  # Which image hides which is nobody's rank.
    sheet = pictures.scatter(
        drawn.read(order),
        places[order],
        None if classes is None else classes.frames[order],
        arguments.size,
        arguments.thumbnail,
    )
    if classes is not None:
        legend = pictures.beside_names(classes.entries, sheet.shape[1])
        sheet = sheet if legend is None else np.concatenate([sheet, legend])
    steps = LastSteps(arguments.command)
    if arguments.coordinates:
        steps.do(lambda: write_whole(arguments.coordinates, _csv(drawn, projection.places).encode()))
    picture = arguments.output if steps.do(lambda: write_whole(arguments.output, pictures.png(sheet))) else None
    _report(arguments, drawn, projection, weights, classes, factors, picture)
    steps.end()
    return 0


class _Classes:
    """The classes of the images that are drawn, and a colour for each."""

    def __init__(self, data: Dataset) -> None:
        assert data.labels is not None
        known = np.unique(data.labels)
        # The first colours are those of the numbers 0 to 9, whichever of them are drawn.
        count = int(known[-1]) + 1 if known[-1] < 1000 else len(known)
        numbers = known if known[-1] < 1000 else np.arange(len(known))
        colours = pictures.colours(count)[numbers]
        self.frames = colours[np.searchsorted(known, data.labels)]
        names = [data.class_name(int(np.argmax(data.labels == label))) for label in known]
        self.entries = list(zip(names, colours, strict=True))


def _project(arguments: argparse.Namespace, y: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> maps.Projection:
    return maps.pca(y) if arguments.method == "pca" else maps.tsne(y, arguments.seed)


def _csv(data: Dataset, places: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    rows = [(data.ids[number], data.class_name(number), x, y) for number, (x, y) in enumerate(places.tolist())]
    return csv_text(("image", "class", "x", "y"), rows)


def _report(
    arguments: argparse.Namespace,
    drawn: Dataset,
    projection: maps.Projection,
    weights: str,
    classes: _Classes | None,
    factors: tuple[float, float],
    picture: str | None,
) -> None:
    colours = None if classes is None else {name: "#%02x%02x%02x" % tuple(colour) for name, colour in classes.entries}
    points = [
        {"image": drawn.ids[n], "x": x, "y": y} | ({"class": drawn.class_name(n)} if classes else {})
        for n, (x, y) in enumerate(projection.places.tolist())
    ]
    report = {
        "data": drawn.name,
        **_vectors.origins(arguments, weights),
        "method": projection.method,
        "explained": projection.explained,
        "stretched": factors,
        "picture": picture,
        "classes": colours,
        "images": points,
    }
    lines = [
        f"{counted(len(drawn), 'image')} of {shown(drawn.name)}, {_vectors.origin(arguments, weights)}, {projection.method}"
    ]
    if projection.explained:
        lines.append("the two axes hold {:.0%} and {:.0%} of the variance".format(*projection.explained))
    if factors[0] != factors[1]:
        axis, ratio = ("y", factors[1] / factors[0]) if factors[1] > factors[0] else ("x", factors[0] / factors[1])
        lines.append(f"the {axis} axis is stretched {ratio:.3g} times; --axes equal leaves it as it is")
    if colours:
        lines.append("frames: " + ", ".join(f"{shown(name)} {colour}" for name, colour in colours.items()))
        if not lettering.available():
            lines.append('no legend in the picture: Pillow is not installed (pip install "deepinfomax[data]")')
    if picture is not None:
        lines.append(f"picture: {shown(picture)}")
    _output.result(arguments, report, "\n".join(lines), indent=None)
