"""Encoding with Dask: arrays and image files of any number, on any number of workers.

    import dask.array as da
    from deepinfomax.dask import encode

    y = encode(da.from_zarr("images.zarr"), "weights.h5")     # a dask array (n, encoded), computed when it is asked for
    y = encode(db.from_sequence(paths), "weights.h5")         # a bag of vectors, in the order of the paths

Vectors are the bytes that `Model.encode` gives: they depend on no chunk size, worker or retry. Needs dask; this module alone
imports it. A worker that is killed is Dask's matter: its tasks are done again by the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _copies
from .data.errors import MissingPackage
from .model import Model

try:
    import dask
    import dask.array
    import dask.bag
    from dask.base import tokenize
except ImportError as error:
    raise MissingPackage("dask", "deepinfomax.dask needs", extra="dask") from error

__all__ = ["encode"]

#: Images that one call encodes: bounds the memory beside a chunk's own.
_BATCH = 128


class _Weights:
    """A model on its way to the workers: the bytes of its file, opened once in each process that encodes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        if self._model is None:
            self._model = _copies.opened(self._content, Model.open).eval()
        return self._model

    def __reduce__(self) -> Any:
        return _Weights, (self._content,)

    def __dask_tokenize__(self) -> Any:
        return "deepinfomax weights", tokenize(self._content)


def encode(
    images: Any, weights: Model | str | bytes | os.PathLike[str], *, output: str = "encoded", partition: int = 1024
) -> Any:
    """What the encoder makes of images, as a Dask collection.

    images: a dask array (n, c, h, w) of float32, or (n, h, w, c) of bytes, as `Model.encode` takes them; chunks are made whole
    but for the first axis. Or a bag or a sequence of paths of image files, read as `Model.encode` reads them; the sequence in
    parts of `partition`. weights: a model, or a file that this process can read: workers need not.
    output: one of the outputs of `Model.encode`. Returns a dask array (n, ...), or a bag of arrays, of the same name for the same
    images, weights and output.
    """
    partition = _arrays.whole_number(partition, 1, 2**63, "partition", "1 or more")
    if isinstance(weights, Model):
        carried, shape = _Weights(_copies.content(weights.save)), _shape(weights, output)
    elif isinstance(weights, (str, bytes, os.PathLike)):
        with open(weights, "rb") as file:
            carried = _Weights(file.read())
        with Model.open(weights) as model:  # Here, where an error has the file's name.
            shape = _shape(model, output)
    else:
        raise TypeError(f"weights: expected a Model or a file's path, found {type(weights).__name__}")
    # One object of the graph, which a worker fetches once.
    shared = dask.delayed(carried, pure=True)
    if isinstance(images, dask.array.Array):
        if images.ndim != 4:
            raise ValueError(f"images: expected (n, c, h, w) or (n, h, w, c), found {images.ndim} axes")
        whole = images.rechunk({axis: -1 for axis in (1, 2, 3)})
        blocks = [
            dask.array.from_delayed(dask.delayed(_encode, pure=True)(shared, block, output), (size, *shape), np.float32)
            for block, size in zip(whole.to_delayed().ravel(), whole.chunks[0], strict=True)
        ]
        return dask.array.concatenate(blocks)
    if not isinstance(images, dask.bag.Bag):
        images = dask.bag.from_sequence(_paths(images), partition_size=partition)
    return images.map_partitions(_encode_files, shared, output)


def _paths(images: Any) -> Sequence[str]:
    paths = None if isinstance(images, (np.ndarray, Set)) else _arrays.members(images)
    if paths is None:
        raise TypeError(f"images: expected a dask array, or a bag or a sequence of paths, found {type(images).__name__}")
    return [os.fspath(path) for path in paths]


def _shape(model: Model, output: str) -> tuple[int, ...]:
    sizes = model.sizes
    shapes = {
        "encoded": (sizes.encoded,),
        "features": sizes.features,
        "conv": sizes.conv,
        "fc": (sizes.fc,) if sizes.fc else None,
    }
    shape = shapes.get(output) if isinstance(output, str) else None
    if shape is None:
        there = ", ".join(name for name, found in shapes.items() if found)
        raise ValueError(f"output: the model has {there}; found {_arrays.briefly(output)}")
    return tuple(shape)


def _encode(weights: _Weights, images: NDArray[Any], output: str) -> NDArray[np.float32]:
    model = weights.model
    found = np.empty((len(images), *_shape(model, output)), np.float32)
    for start in range(0, len(images), _BATCH):
        found[start : start + _BATCH] = model.encode(images[start : start + _BATCH], outputs=(output,))[0]
    return found


def _encode_files(paths: Iterable[str], weights: _Weights, output: str) -> list[NDArray[np.float32]]:
    """A list, which travels between processes; a generator does not."""
    waiting = iter(paths)
    found: list[NDArray[np.float32]] = []
    while some := list(islice(waiting, _BATCH)):
        found += list(weights.model.encode(some, outputs=(output,))[0])
    return found
