"""`dim encode`: images to vectors, streamed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._text import counted, shown
from ..data import Loader
from ..distributed import Group, Solo
from ..encoded_files import FORMATS, writer
from ..evaluation import BATCH
from ..model import OUTPUTS, Model
from ..trainer import TIMEOUT
from . import UsageError, _output, _processes
from ._common import (
    add_data,
    add_examples,
    add_general,
    add_weights,
    check_writable,
    listed_names,
    open_data,
    open_model,
    positive,
    seconds,
    weights_name,
)
from ._effects import Effects
from ._progress import Progress

_EXAMPLES = """
  dim encode --weights weights.h5 --data photos/ --output vectors.npz
  dim encode --weights weights.h5 --data cifar-10-binary.tar.gz --split test --output test.h5 --outputs encoded,features
  dim encode --data photos/ --output vectors.csv
  mpirun -n 4 dim encode --weights weights.h5 --data photos/ --output vectors.npz      the same file, by four processes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "the sample photographs of scikit-learn")
    add_weights(parser)
    parser.add_argument(
        "--output", required=True, metavar="FILE", help=f"ends in {', '.join(FORMATS)}, which selects the format"
    )
    parser.add_argument("--batch", type=positive, default=256, metavar="N", help="images read at a time (default: 256)")
    parser.add_argument(
        "--outputs",
        metavar="LIST",
        help="what to write: encoded, features (the local maps), conv (the last map), fc (the last hidden layer); "
        ".npy and CSV hold one of them (default: encoded)",
    )
    parser.add_argument("--features", action="store_true", help="the same as --outputs encoded,features")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"with mpirun: how long a process waits for another (default: {TIMEOUT:g})",
    )
    add_general(parser, "untrained weights, where --weights names none")
    add_examples(parser, _EXAMPLES)


def effects(arguments: argparse.Namespace) -> Effects:
    yield "--seed", arguments.weights is None, "with --weights"


def run(arguments: argparse.Namespace) -> int:
    return _processes.run(arguments, lambda group: _run(arguments, group))


def _run(arguments: argparse.Namespace, group: Solo) -> int:
    output = Path(arguments.output)
    file_format, names = group.call(lambda: _asked(arguments))
    group.first(lambda: check_writable(output))
    model = group.call(lambda: open_model(arguments))
    shapes = group.call(lambda: _shapes(model, names))
    data = group.call(lambda: open_data(arguments, model, quietly=group.rank > 0))
    weights = weights_name(arguments)
    if isinstance(group, Group):
        settings = {"outputs": names, "batch": arguments.batch, "output": arguments.output}
        _processes.agree_on(group, model, data, settings)

    began = time.monotonic()
    # The whole of the data once, in its own order; the next batch is decoded meanwhile. Each process has every size-th batch.
    batches = Loader(data, arguments.batch, shuffle=False, drop_last=False).epoch(0, group.rank, group.size)
    if group.rank > 0 and isinstance(group, Group):
        for batch in batches:
            for piece in _pieces(batch.images):
                for array in _arrays_of(model.encode(piece, outputs=names)):
                    group.send(array, 0)
        group.check(None)
        return 0
    with (
        writer(output, file_format, data, weights, shapes) as file,
        Progress(len(data), shown=_output.prints_text(arguments)) as progress,
    ):
        for start in range(0, len(data), arguments.batch):
            source = start // arguments.batch % group.size
            sizes = [len(piece) for piece in _pieces(range(min(arguments.batch, len(data) - start)))]
            own = _pieces(next(batches).images) if source == 0 else iter(())
            # In pieces: Ctrl-C takes effect between them.
            for size in sizes:
                if source == 0:
                    arrays = _arrays_of(model.encode(next(own), outputs=names))
                else:
                    assert isinstance(group, Group)
                    arrays = [np.empty((size, *shape), np.float32) for shape in shapes.values()]
                    for array in arrays:
                        group.receive(array, source)
                file.write(*arrays)
                progress.advance(size)
    group.check(None)
    seconds = time.monotonic() - began
    rate = len(data) / seconds
    values = {
        "images": len(data),
        "output": str(output),
        "data": data.name,
        "weights": weights,
        "seconds": seconds,
        "images_per_second": rate,
    }
    text = (
        f"{counted(len(data), 'image')} of {shown(data.name)}, weights {shown(weights)}: {shown(str(output))} "
        f"({counted(round(rate), 'image')} a second)"
    )
    _output.result(arguments, values, text, indent=None)
    return 0


def _pieces(images: Any) -> Iterator[Any]:
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def _arrays_of(outputs: Any) -> list[Any]:
    """What encode gives for one name is no tuple."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _asked(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """The file's format, and what it is to hold."""
    name = Path(arguments.output).name.lower()
    file_format = next((ending for ending in FORMATS if name.endswith(ending)), None)
    if file_format is None:
        raise UsageError(f"--output: expected a name that ends in {', '.join(FORMATS)}, found {arguments.output}")
    return file_format, _outputs(arguments, file_format)


def _outputs(arguments: argparse.Namespace, file_format: str) -> tuple[str, ...]:
    option = "--features" if arguments.features else "--outputs"
    if arguments.features and arguments.outputs is not None:
        raise UsageError("--features is --outputs encoded,features; give one of them")
    text = "encoded,features" if arguments.features else "encoded" if arguments.outputs is None else arguments.outputs
    names = tuple(listed_names("--outputs", text, OUTPUTS))
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
