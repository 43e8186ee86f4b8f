"""One walk through the notebook's cells, for libdim, for PyTorch and for the recorder alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MODES = ("training", "evaluation")


class Networks(Protocol):
    """What `deepinfomax.Model` and `deepinfomax.compare.notebook.TorchModel` have in common."""

    def train(self) -> object: ...
    def eval(self) -> object: ...
    def encode(self, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def score_global(self, y: NDArray[Any], M: NDArray[Any]) -> NDArray[Any]: ...
    def score_local(self, y: NDArray[Any], M: NDArray[Any]) -> NDArray[Any]: ...
    def score_prior(self, y: NDArray[Any]) -> NDArray[Any]: ...
    def classify(self, y: NDArray[Any]) -> NDArray[Any]: ...
    def state_dict(self) -> Mapping[str, NDArray[Any]]: ...


@dataclass(frozen=True)
class Step:
    """One output of the walk."""

    #: "encoder.encoded", "global_d.rotated", "encoder.running_mean"...
    output: str
    #: None where the network refused the input, as a batch norm in training mode refuses a single vector.
    array: NDArray[Any] | None
    #: Of the call that made it; 0 for what another call made as well.
    seconds: float


def cells(model: Networks, images: NDArray[Any], mode: str) -> Iterator[Step]:
    """The notebook's cells on `images` (n,3,32,32), in `mode`; each network works on what this model's encoder gave.

    In training mode the running statistics that the pass has moved come last. With n > 1 the discriminators also score
    the rotated pairs (y, M'), the last cell's.
    """
    if mode == "training":
        model.train()
    else:
        model.eval()

    (y, M), seconds = _timed(lambda: model.encode(images))
    yield Step("encoder.encoded", y, seconds)
    yield Step("encoder.features", M, 0)
    yield Step("global_d", *_timed(lambda: model.score_global(y, M)))
    yield Step("local_d", *_timed(lambda: model.score_local(y, M)))
    yield Step("prior_d", *_timed(lambda: model.score_prior(y)))
    if len(images) > 1:
        M_prime = rotated(M)
        yield Step("global_d.rotated", *_timed(lambda: model.score_global(y, M_prime)))
        yield Step("local_d.rotated", *_timed(lambda: model.score_local(y, M_prime)))
    try:
        yield Step("classifier", *_timed(lambda: model.classify(y)))
    except ValueError:
        yield Step("classifier", None, 0)
    if mode == "training":
        yield from running_statistics(model)


def walk(model: Networks, inputs: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, Step]]:
    """(input's name, mode, step) of all cells on all inputs; what training mode moves, evaluation mode then uses."""
    for name, images in inputs.items():
        for mode in MODES:
            for step in cells(model, images, mode):
                yield name, mode, step


def running_statistics(model: Networks) -> Iterator[Step]:
    """All running means, variances and counters, one array of each for each network that has them."""
    state = model.state_dict()
    for network in ("encoder", "classifier"):
        for kind in ("running_mean", "running_var", "num_batches_tracked"):
            found = [np.ravel(v) for k, v in state.items() if k.startswith(network + ".") and k.endswith("." + kind)]
            yield Step(f"{network}.{kind}", np.concatenate(found), 0)


def rotated(M: NDArray[Any]) -> NDArray[Any]:
    """M' of the notebook's last cell: features of another image, M'_i = M_{(i+1) mod n}."""
    return np.concatenate((M[1:], M[:1]))


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start
