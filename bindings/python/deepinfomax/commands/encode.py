"""`dim encode`: images to vectors, streamed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .._text import counted, shown
from ..data import Loader
from ..encoded_files import FORMATS, writer
from ..evaluation import BATCH
from ..model import OUTPUTS, Model
from . import UsageError, _output
from ._common import (
    add_data, add_examples, add_general, add_weights, apply_general, check_writable, open_data, open_model, positive,
    weights_name,
)  # fmt: skip
from ._progress import Progress

_EXAMPLES = """
  dim encode --weights weights.h5 --data photos/ --output vectors.npz
  dim encode --weights weights.h5 --data cifar-10-binary.tar.gz --split test --output test.h5 --outputs encoded,features
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
        "--outputs",
        metavar="LIST",
        help="what to write, of encoded, features (the local maps), conv (the last map) and fc (the last hidden layer); "
        ".npy and CSV hold one of them (default: encoded)",
    )
    parser.add_argument("--features", action="store_true", help="the same as --outputs encoded,features")
    add_general(parser, "untrained weights, where --weights names none")
    add_examples(parser, _EXAMPLES)


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    output = Path(arguments.output)
    file_format = next((ending for ending in FORMATS if output.name.lower().endswith(ending)), None)
    if file_format is None:
        raise UsageError(f"--output: expected a name that ends in {', '.join(FORMATS)}, found {arguments.output}")
    names = _outputs(arguments, file_format)
    check_writable(output)
    model = open_model(arguments)
    shapes = _shapes(model, names)
    data = open_data(arguments, model)
    weights = weights_name(arguments)

    began = time.monotonic()
    # The whole of the data once, in its own order; the next batch is decoded meanwhile.
    batches = Loader(data, arguments.batch, shuffle=False, drop_last=False).epoch(0)
    with writer(output, file_format, data, weights, shapes) as file, Progress(
        len(data), shown=_output.speaks(arguments)
    ) as progress:
        for batch in batches:
            # In pieces, between which Ctrl-C is heard.
            for start in range(0, len(batch.images), BATCH):
                piece = batch.images[start : start + BATCH]
                file.write(*model.encode(piece, outputs=names))
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


def _outputs(arguments: argparse.Namespace, file_format: str) -> tuple[str, ...]:
    option = "--features" if arguments.features else "--outputs"
    if arguments.features and arguments.outputs is not None:
        raise UsageError("--features is --outputs encoded,features; give one of them")
    text = "encoded,features" if arguments.features else arguments.outputs or "encoded"
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise UsageError(f"--outputs: expected some of {','.join(OUTPUTS)}, found {unknown[0]!r}")
    if len(set(names)) != len(names):
        raise UsageError(f"--outputs: expected each name once, found {text}")
    if len(names) > 1 and file_format in (".npy", ".csv"):
        raise UsageError(f"{option}: {file_format} files hold one output; use .npz or .h5")
    if names[0] in ("features", "conv") and file_format == ".csv":
        raise UsageError(f"{option}: .csv files hold vectors, not maps; use .npy, .npz or .h5")
    return names


def _shapes(model: Model, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Of one image's outputs. Raises UsageError for those that the architecture does not have."""
    sizes = model.sizes
    there: dict[str, tuple[int, ...] | None] = {
        "encoded": (sizes.encoded,),
        "features": sizes.features,
        "conv": sizes.conv,
        "fc": (sizes.fc,) if sizes.fc else None,
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        shape = there[name]
        if shape is None:
            has = ", ".join(other for other, found in there.items() if found)
            raise UsageError(f"--outputs: the model's architecture has no {name}; it has {has}")
        shapes[name] = shape
    return shapes
