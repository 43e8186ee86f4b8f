"""The commands' options for reading images: --resize, --max-pixels, --skip-damaged."""

from __future__ import annotations

import argparse

from .. import _adapted
from .._reading import Reading
from ..architecture import Architecture
from ..data import Dataset
from ..data.options import RESIZES
from ..model import Model
from . import _output
from ._common import positive


def add_reading(parser: argparse.ArgumentParser) -> None:
    """--resize, --max-pixels, --skip-damaged; None where they are not given."""
    parser.add_argument(
        "--resize",
        choices=RESIZES,
        help="how images of another size become those that the networks take: fit inside, with black beside; crop the middle; "
        "stretch; none: refuse them (default: as the architecture says, fit in all presets)",
    )
    parser.add_argument(
        "--max-pixels", type=positive, metavar="N", help="refuse larger images before they are decoded (default: 67,108,864)"
    )
    parser.add_argument(
        "--skip-damaged", action="store_true", default=None, help="leave out images that cannot be read, and say which; reads all once"
    )


def reading(arguments: argparse.Namespace, model: Model | None) -> Reading:
    """For the model's images, or the notebook's where there is none."""
    architecture = Architecture("notebook") if model is None else model.architecture
    way = arguments.resize or _adapted.resize(architecture)
    return Reading(way, arguments.max_pixels, bool(arguments.skip_damaged), _adapted.image_size(architecture))


def tell(arguments: argparse.Namespace, data: Dataset) -> Dataset:
    """What the user of the data should know, on stderr; returns the data."""
    for note in data.notes:
        _output.note(arguments, note)
    return data
