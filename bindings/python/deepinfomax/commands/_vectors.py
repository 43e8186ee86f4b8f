"""Vectors for the commands that look at them: encoded now, or by `dim encode` before."""

from __future__ import annotations

import argparse

from .. import evaluation
from ..data import Dataset
from ..encoded_files import read_encoded
from ..evaluation import Floats
from ..model import Model
from . import UsageError
from ._common import open_model, weights_name
from ._progress import Progress


def add_vectors(parser: argparse.ArgumentParser) -> None:
    """--vectors and --batch-statistics, beside --weights."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--vectors", metavar="FILE", help="the data's vectors as `dim encode` wrote them: encode nothing again"
    )
    choice.add_argument(
        "--batch-statistics",
        action="store_true",
        help="encode in training mode, in batches of 128, as the original does, which never calls eval()",
    )


def of(arguments: argparse.Namespace, data: Dataset) -> tuple[Floats, str, Model | None]:
    """y (n,64) of the data, what made them, and the model, which a file of vectors does not need."""
    if arguments.vectors is not None:
        if arguments.weights is not None:
            raise UsageError("--vectors: they are encoded already; --weights does not go with it")
        return _read(arguments.vectors, len(data)), str(arguments.vectors), None
    model = open_model(arguments)
    model.train(arguments.batch_statistics)
    return encoded(model, data, shown=not arguments.json), weights_name(arguments), model


def encoded(model: Model, data: Dataset, *, shown: bool) -> Floats:
    """y (n,64), with a progress bar."""
    with Progress(len(data), shown=shown) as progress:
        return evaluation.encode(model, data, progress.advance)


def _read(path: str, images: int) -> Floats:
    try:
        y = read_encoded(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if len(y) != images:
        raise UsageError(f"{path}: holds {len(y)} vectors; the data has {images} images")
    return y
