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

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Raises ValueError for fewer than 20 vectors or NaN, FloatingPointError where training diverges.
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
    images = _checked("x", np.asarray(x, np.float32).reshape(len(x), -1) if np.ndim(x) > 1 else x, 1)
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
    found = np.asarray(values, np.float32)
    if found.ndim != 2 or len(found) < 20 or found.shape[1] < least:
        raise ValueError(f"{name}: expected (n, d) with n of 20 and d of {least} at least, found {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: expected finite numbers, found NaN or infinite ones")
    return found


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
    if steps < 1 or batch < 2 or not 0 < held_out < 1:
        raise ValueError(f"expected steps >= 1, batch >= 2, 0 < held_out < 1, found {steps}, {batch}, {held_out}")
    if not 0 < lr <= sys.float_info.max or seed < 0 or any(units < 1 for units in hidden):
        raise ValueError(f"expected lr > 0, seed >= 0, hidden layers of one unit at least, found {lr}, {seed}, {hidden}")
    generator = np.random.default_rng(seed)
    values = values[generator.permutation(len(values))]
    tested = max(2, round(len(values) * held_out))
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
