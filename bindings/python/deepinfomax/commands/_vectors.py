"""Vectors for the commands that look at them: encoded now, or by `dim encode` before."""

from __future__ import annotations

import argparse

import numpy as np

from .. import evaluation
from .._text import shown
from ..data import Dataset
from ..encoded_files import read_encoded
from ..evaluation import Floats
from ..model import Model
from . import UsageError, _output
from ._common import open_model, weights_name
from ._progress import Progress


def add_vectors(parser: argparse.ArgumentParser) -> None:
    """--vectors and --batch-statistics, beside --weights."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--vectors", metavar="FILE", help="use these vectors of the data, written by `dim encode`, instead of encoding"
    )
    choice.add_argument(
        "--batch-statistics",
        action="store_true",
        help="encode in training mode, in batches of 128, as the original does, which never calls eval()",
    )


def model_of(arguments: argparse.Namespace) -> Model | None:
    """The model that the arguments name; None where there are vectors and no weights beside them."""
    if arguments.vectors is not None and arguments.weights is None and arguments.architecture is None:
        return None
    return open_model(arguments)


def of(
    arguments: argparse.Namespace, data: Dataset, model: Model | None, queries: str | None = None
) -> tuple[Floats, str, Model | None]:
    """y (n, encoded) of the data, what made them, and the model that encodes other images.

    queries: an image that is not of the data, which has to be encoded as the data was; None where there is none, and a
    file of vectors needs no model. Weights that are named beside such a file have to be those that made it.
    """
    if arguments.vectors is not None:
        y = read_encoded(arguments.vectors, numbers=None if model is None else model.sizes.encoded, data=data)
        if queries is None and arguments.weights is None:
            return y, str(arguments.vectors), None
        model = open_model(arguments) if model is None else model
        if model.sizes.encoded != y.shape[1] or not made(model, data, y):
            wanted = "" if queries is None else f", which would encode {queries}"
            raise UsageError(
                f"{arguments.vectors}: not made by {weights_name(arguments)}{wanted}, or not of {data.name}; give the "
                "--weights that made them and the --data that was encoded"
            )
        return y, str(arguments.vectors), model
    model = open_model(arguments) if model is None else model
    model.train(arguments.batch_statistics)
    return encoded(model, data, shown=_output.prints_text(arguments)), weights_name(arguments), model


def origins(arguments: argparse.Namespace, weights: str) -> dict[str, str | None]:
    """The same for JSON: weights, and vectors where they are from a file, of which the weights may not be known."""
    if arguments.vectors is None:
        return {"weights": weights}
    return {"weights": arguments.weights, "vectors": str(arguments.vectors)}


def origin(arguments: argparse.Namespace, weights: str) -> str:
    """For reports: what the vectors are of, `weights` being what `of` returned."""
    return f"{'weights' if arguments.vectors is None else 'vectors of'} {shown(weights)}"


def made(model: Model, data: Dataset, y: Floats) -> bool:
    """Whether the vectors are this model's, of these images: a few from everywhere are encoded again."""
    few = np.unique(np.linspace(0, len(data) - 1, 8).astype(np.int64))
    again = model.eval().encode(data.read(few), features=False)
    return bool(np.abs(again - y[few]).max() <= 1e-3 * max(float(np.abs(again).max()), 1e-6))


def encoded(model: Model, data: Dataset, *, shown: bool) -> Floats:
    """y (n, encoded), with a progress bar."""
    with Progress(len(data), shown=shown) as progress:
        return evaluation.encode(model, data, progress.advance)
