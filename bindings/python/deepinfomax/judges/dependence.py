"""Two neural estimates: how far the numbers of a vector are from independent (NDM), and what a vector says of its image.

A network learns to tell vectors from such whose numbers are each shuffled over the batch, which have the same marginals and
are independent. It is trained on the KL form of the f-divergence bound, E[t] - E'[exp(t - 1)], and its figure is the
Donsker-Varadhan one, E[t] - log E'[exp(t)], on vectors that it was not trained on: a lower bound of the total correlation,
in nats. 64 - 1000 - 200 - 1 with ReLU, Adam at 1e-4, a tenth of it after half and after three quarters of the steps.

MINE's estimate of I(X;Y) is the same with pairs of an image and its vector against such whose vectors are another image's.
A lower bound, and with a finite sample at most about the logarithm of the held-out images' number; unstable where it is
large, as the paper's own code is (its issue 40).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arrays

Floats = NDArray[np.float32]
HIDDEN = (1000, 200)


@dataclass(frozen=True)
class Dependency:
    """In nats; 0 for independent numbers."""

    #: Donsker-Varadhan, on held-out vectors. A weak network can make it negative by chance.
    value: float
    #: The same on the training vectors, where a network that learns by heart finds more.
    training: float
    steps: int


def neural_dependency(
    y: Any,
    seed: int = 0,
    *,
    steps: int = 1000,
    batch: int = 10_000,
    lr: float = 1e-4,
    held_out: float = 0.2,
    hidden: tuple[int, ...] = HIDDEN,
    on_step: Callable[[int], object] = lambda step: None,
) -> Dependency:
    """Of vectors y (n, d), as they are: apply the sigmoid before, if it is the prior's view that is asked for.

    Standardised, which changes no dependency and suits the network. held_out: the share that the figure is from.
    hidden: of the network, for quick looks.
    Raises ValueError for fewer than 20 vectors, NaN or numbers beyond float32's range, FloatingPointError where training diverges.
    """
    values = _checked("y", y, 2)
    return _estimated(values, _shuffled, seed, steps, batch, lr, held_out, hidden, on_step)


def mutual_information(
    x: Any,
    y: Any,
    seed: int = 0,
    *,
    steps: int = 1000,
    batch: int = 1000,
    lr: float = 1e-4,
    held_out: float = 0.2,
    hidden: tuple[int, ...] = HIDDEN,
    on_step: Callable[[int], object] = lambda step: None,
) -> Dependency:
    """MINE's estimate of I(X;Y), of images x (n, ...) and their vectors y (n, d). Arguments as of neural_dependency."""
    vectors = _checked("y", y, 1)
    given = _arrays.numbers(x, "x")
    images = _checked("x", given.reshape(len(given), -1) if given.ndim > 2 and given.size else given, 1)
    if len(images) != len(vectors):
        raise ValueError(f"expected as many images as vectors, found {len(images)} and {len(vectors)}")
    length = images.shape[1]

    def of_others(pairs: Floats, generator: np.random.Generator) -> Floats:
        found = pairs.copy()
        found[:, length:] = pairs[generator.permutation(len(pairs)), length:]
        return found

    pairs = np.concatenate([images, vectors], 1)
    return _estimated(pairs, of_others, seed, steps, batch, lr, held_out, hidden, on_step)


def _checked(name: str, values: Any, least: int) -> Floats:
    found = _arrays.numbers(values, name)
    if found.ndim != 2 or len(found) < 20 or found.shape[1] < least:
        raise ValueError(f"{name}: expected (n, d) with n of 20 and d of {least} at least, found {found.shape}")
    found = _arrays.finite(found, name)
    return _arrays.to_float32(found if found.dtype.kind == "f" else found.astype(np.float32), name)


#: Samples of the joint distribution -> as many of the one that they are compared with.
Apart = Callable[[Floats, np.random.Generator], Floats]


def _estimated(
    values: Floats,
    apart: Apart,
    seed: int,
    steps: int,
    batch: int,
    lr: float,
    held_out: float,
    hidden: tuple[int, ...],
    on_step: Callable[[int], object],
) -> Dependency:
    generator = np.random.default_rng(_checked_options(seed, steps, batch, lr, hidden))
    values = values[generator.permutation(len(values))]
    tested = _held_out(len(values), held_out)
    train, test = values[tested:], values[:tested]
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    # Constant columns stay constant; one step of float32 is 1e-7 of a value.
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * np.abs(mean))
    train, test = (((part - mean) * scale).astype(np.float32) for part in (train, test))

    network = Network((values.shape[1], *hidden, 1), generator)
    for step in range(steps):
        rate = lr * (0.1 if step >= steps // 2 else 1) * (0.1 if step >= steps * 3 // 4 else 1)
        chosen = generator.choice(len(train), min(batch, len(train)), replace=False)
        network.step(train[chosen], apart(train[chosen], generator), rate)
        on_step(step)
    return Dependency(_bound(network, test, apart, generator), _bound(network, train, apart, generator), steps)


def _checked_options(seed: int, steps: int, batch: int, lr: float, hidden: tuple[int, ...]) -> int:
    """The seed."""
    _arrays.whole_number(steps, 1, 2**63, "steps", "1 or more")
    _arrays.whole_number(batch, 2, 2**63, "batch", "2 or more")
    rate = math.inf if isinstance(lr, int) and lr > sys.float_info.max else _arrays.number(lr, "lr")
    if not 0 < rate < math.inf:
        raise ValueError(f"lr: expected a finite number of more than 0, found {rate}")
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise TypeError(f"hidden: expected a tuple of layers' units, found {hidden!r}")
    for units in hidden:
        _arrays.whole_number(units, 1, 2**31, "hidden", "layers of 1 unit or more")
    return _arrays.whole_number(seed, 0, 2**64, "seed", "0 or more")


def _held_out(count: int, share: float) -> int:
    """Of so many vectors, the number of the held-out ones."""
    share = _arrays.number(share, "held_out")
    if not 0 < share < 1:
        raise ValueError(f"held_out: expected a share between 0 and 1, found {share}")
    found = max(2, round(count * share))
    if found > count - 2:
        raise ValueError(f"held_out: expected to leave 2 training vectors of {count:,} at least, found a share of {share}")
    return found


def _shuffled(y: Floats, generator: np.random.Generator) -> Floats:
    """Each column in an order of its own."""
    return np.asarray(generator.permuted(y, axis=0))


def _bound(network: Network, y: Floats, apart: Apart, generator: np.random.Generator) -> float:
    """Donsker-Varadhan; the mean over ten shufflings of the exponentials."""
    joint = float(np.mean(network.scores(y), dtype=np.float64))
    scores = np.concatenate([network.scores(apart(y, generator)) for _ in range(10)]).astype(np.float64)
    top = float(scores.max())
    return joint - top - float(np.log(np.mean(np.exp(scores - top))))


class Network:
    """Linear layers with ReLU between them, PyTorch's initial distribution, Adam; forward and backward by hand."""

    def __init__(self, sizes: tuple[int, ...], generator: np.random.Generator) -> None:
        self.parameters: list[Floats] = []  # Weight (out, in), bias (out), layer by layer.
        for inputs, outputs in zip(sizes, sizes[1:], strict=False):
            bound = 1 / np.sqrt(inputs)
            self.parameters.append(generator.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
            self.parameters.append(generator.uniform(-bound, bound, outputs).astype(np.float32))
        self._moments = [(np.zeros_like(value), np.zeros_like(value)) for value in self.parameters]
        self._steps = 0

    def scores(self, x: Floats) -> Floats:
        """(n, d) -> (n,)"""
        return self._forward(x)[-1][:, 0]

    def _forward(self, x: Floats) -> list[Floats]:
        """The input of every layer, then the output."""
        found = [x]
        for at in range(0, len(self.parameters), 2):
            out = found[-1] @ self.parameters[at].T + self.parameters[at + 1]
            found.append(np.maximum(out, 0) if at + 2 < len(self.parameters) else out)
        return found

    def gradients(self, joint: Floats, apart: Floats) -> tuple[float, list[Floats]]:
        """Loss E'[exp(t - 1)] - E[t], and its gradients in the order of `parameters`."""
        inputs = self._forward(np.concatenate([joint, apart]))
        t = inputs[-1][:, 0]
        with np.errstate(over="ignore"):
            weights = np.exp(t[len(joint) :] - 1)
        loss = float(weights.mean() - t[: len(joint)].mean())
        if not np.isfinite(loss):
            raise FloatingPointError("the network's scores overflow: take a smaller lr")
        up: Floats = np.concatenate([np.full(len(joint), -1 / len(joint), np.float32), weights / len(apart)])[:, np.newaxis]
        found: list[Floats] = []
        for at in range(len(self.parameters) - 2, -1, -2):
            found[:0] = [up.T @ inputs[at // 2], up.sum(0)]
            if at:
                up = (up @ self.parameters[at]) * (inputs[at // 2] > 0)
        return loss, found

    def step(self, joint: Floats, apart: Floats, lr: float) -> float:
        """One of Adam, betas 0.9 and 0.999. Returns the loss."""
        loss, gradients = self.gradients(joint, apart)
        self._steps += 1
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for value, gradient, (mean, square) in zip(self.parameters, gradients, self._moments, strict=True):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            value -= np.float32(lr / first) * mean / (np.sqrt(square / np.float32(second)) + np.float32(1e-8))
        return loss
