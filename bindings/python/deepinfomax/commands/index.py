"""`dim index`: the vectors of a data set, stored with their images' names, for `dim search`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._text import counted, shown
from ..data.dataset import fingerprint
from ..search import METRICS, TRAINING_MODE, Index, encoder_digest
from . import _output, _vectors
from ._common import (
    add_data,
    add_examples,
    add_general,
    add_weights,
    apply_general,
    check_ending,
    check_room,
    check_writable,
    open_data,
)
from ._effects import Effects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "scikit-learn's sample photographs")
    add_weights(parser)
    _vectors.add_vectors(parser)
    parser.add_argument("--metric", choices=METRICS, default="l2", help="distance for searches (default: l2)")
    parser.add_argument("--output", default="index.npz", metavar="FILE", help="the index, an .npz (default: index.npz)")
    add_general(parser, "untrained weights, where --weights names none")
    add_examples(
        parser,
        """
  dim index --data photos --weights weights.h5 --output photos.npz
  dim index --data photos --vectors vectors.npz --metric cosine       encodes nothing again
""",
    )


def effects(arguments: argparse.Namespace) -> Effects:
    yield "--seed", arguments.weights is None, "with --weights"
    yield "--seed", arguments.vectors is None or arguments.architecture is not None, "with --vectors alone"
    encodes = arguments.vectors is None or arguments.weights is not None or arguments.architecture is not None
    yield "--resize", encodes, "with --vectors alone"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    check_ending("--output", arguments.output, ["npz"])
    check_writable(arguments.output)
    model = _vectors.model_of(arguments)
    data = open_data(arguments, model)
    if model is not None:
        check_room(Path(arguments.output).parent, 4 * len(data) * model.sizes.encoded, f"the vectors, {arguments.output}")
    # Weights beside --vectors say what made them, and are checked; searches for other images need to know it.
    queries = None if arguments.vectors is None or model is None else "the images to search for"
    y, weights, encoder = _vectors.of(arguments, data, model, queries)
    made_by = TRAINING_MODE if arguments.batch_statistics else "" if encoder is None else encoder_digest(encoder)
    Index(y, data.ids, arguments.metric, made_by=made_by, made_of=fingerprint(data)).save(arguments.output)
    made = f"weights {shown(weights)}"
    if arguments.vectors is not None:
        made = f"vectors of {shown(arguments.vectors)}" + (f", made by {shown(arguments.weights)}" if arguments.weights else "")
    origins = _vectors.origins(arguments, weights)
    report = {"data": data.name, "images": len(data), **origins, "metric": arguments.metric, "index": arguments.output}
    _output.result(arguments, report, f"{counted(len(data), 'image')} of {shown(data.name)}, {made}: {shown(arguments.output)}")
    return 0
