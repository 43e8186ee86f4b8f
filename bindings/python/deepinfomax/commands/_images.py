"""The commands' options for reading images: --resize, --max-pixels, --skip-damaged."""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from .._arrays import digest
from ..architecture import Architecture
from ..data import adapted
from ..data import DataError, Dataset
from ..data.options import RESIZES
from ..data.reading import Reading
from ..model import Model
from . import UsageError, _output
from ._common import positive


def add_reading(parser: argparse.ArgumentParser) -> None:
    """--resize, --max-pixels, --skip-damaged; None where they are not given."""
    parser.add_argument(
        "--resize",
        choices=RESIZES,
        help="how images of another size are resized: fit inside, padded with black; crop the middle; stretch; "
        "none: refuse them (default: as the architecture says, fit in all presets)",
    )
    parser.add_argument(
        "--max-pixels", type=positive, metavar="N", help="refuse larger images before they are decoded (default: 67,108,864)"
    )
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        default=None,
        help="read all images once, leave out those that cannot be read, and list them",
    )


def reading(arguments: argparse.Namespace, model: Model | None) -> Reading:
    """For the model's images, or the notebook's where there is none."""
    architecture = Architecture("notebook") if model is None else model.architecture
    way = arguments.resize or adapted.resize(architecture)
    return Reading(way, arguments.max_pixels, bool(arguments.skip_damaged), adapted.image_size(architecture))


def one_image(arguments: argparse.Namespace, model: Model | None, name: str) -> NDArray[np.float32]:
    """(1, c, h, w): of an image file that a user names."""
    data = reading(arguments, model).open(name)
    if len(data) != 1:
        raise UsageError(f"{name}: holds {len(data):,} images; expected an image file, or the number of an image")
    return data.read(slice(0, 1))


def tell(arguments: argparse.Namespace, data: Dataset) -> Dataset:
    """What the user of the data should know, on stderr, each once; returns the data."""
    told = vars(arguments).setdefault("told", set())
    for note in data.notes:
        if note not in told:
            _output.note(arguments, note)
        told.add(note)
    return data
