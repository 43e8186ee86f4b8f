"""`dim encode`: images to vectors, streamed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .._text import counted, shown
from ..data import Loader
from ..encoded_files import FORMATS, writer
from ..evaluation import BATCH
from . import UsageError, _output
from ._common import (
    add_data, add_examples, add_general, add_weights, apply_general, check_writable, open_data, open_model, positive,
    weights_name,
)  # fmt: skip
from ._progress import Progress

_EXAMPLES = """
  dim encode --weights weights.h5 --data photos/ --output vectors.npz
  dim encode --data cifar-10-binary.tar.gz --split test --output test.h5 --features
  dim encode --data photos/ --output vectors.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "the sample photographs of scikit-learn")
    add_weights(parser)
    parser.add_argument(
        "--output", required=True, metavar="FILE", help=f"ends in {', '.join(FORMATS)}, which tells the format"
    )
    parser.add_argument("--batch", type=positive, default=256, metavar="N", help="images read at a time (default: 256)")
    parser.add_argument(
        "--features", action="store_true", help="the feature maps M as well, 346 KB an image (.npz and HDF5)"
    )
    add_general(parser, "untrained weights, where --weights names none")
    add_examples(parser, _EXAMPLES)


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    output = Path(arguments.output)
    file_format = next((ending for ending in FORMATS if output.name.lower().endswith(ending)), None)
    if file_format is None:
        raise UsageError(f"--output: expected a name that ends in {', '.join(FORMATS)}, found {arguments.output}")
    if arguments.features and file_format in (".npy", ".csv"):
        raise UsageError(f"--features: {file_format} files hold the vectors alone; use .npz or .h5")
    check_writable(output)
    data = open_data(arguments)
    model = open_model(arguments)
    weights = weights_name(arguments)

    began = time.monotonic()
    # The whole of the data once, in its own order; the next batch is decoded meanwhile.
    batches = Loader(data, arguments.batch, shuffle=False, drop_last=False).epoch(0)
    with writer(output, file_format, data, weights, features=arguments.features) as file, Progress(
        len(data), shown=_output.speaks(arguments)
    ) as progress:
        for batch in batches:
            # In pieces, between which Ctrl-C is heard.
            for start in range(0, len(batch.images), BATCH):
                piece = batch.images[start : start + BATCH]
                if arguments.features:
                    file.write(*model.encode(piece))
                else:
                    file.write(model.encode(piece, features=False))
                progress.advance(len(piece))
    seconds = time.monotonic() - began
    rate = len(data) / seconds
    values = {"images": len(data), "output": str(output), "data": data.name, "weights": weights,
              "seconds": seconds, "images_per_second": rate}  # fmt: skip
    text = (
        f"{counted(len(data), 'image')} of {shown(data.name)}, weights {shown(weights)}: {shown(str(output))} "
        f"({rate:.0f} images a second)"
    )
    _output.result(arguments, values, text, indent=None)
    return 0
