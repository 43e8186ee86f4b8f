"""The objective and the training loops in PyTorch, as docs/training.md states them: what libdim's are compared with.

Importing this module imports torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from . import recordings, runs
from .notebook import Networks, expand_and_join, networks
from .runs import Expected, Floats, Outcome

ALPHA, BETA, GAMMA = 0.5, 1.0, 0.1
LEARNING_RATE = 1e-4


@dataclass
class Losses:
    """The terms of one batch. `encoder` is what the encoder minimises, `total` what the discriminators do."""

    total: torch.Tensor
    local: torch.Tensor
    global_: torch.Tensor
    prior: torch.Tensor
    encoder: torch.Tensor

    def numbers(self) -> list[float]:
        """As dim_losses: total, local, global, prior."""
        return [term.item() for term in (self.total, self.local, self.global_, self.prior)]


def losses(net: Networks, x: torch.Tensor, prior: str) -> Losses:
    """Draws the prior noise from torch's generator. prior: "monolithic" or "adversarial"."""
    y, M = net.encoder(x)
    M_prime = torch.cat((M[1:], M[0].unsqueeze(0)), dim=0)

    local = F.softplus(-net.local_d(expand_and_join(y, M))).mean()
    local = local + F.softplus(net.local_d(expand_and_join(y, M_prime))).mean()
    global_ = F.softplus(-net.global_d(y, M)).mean() + F.softplus(net.global_d(y, M_prime)).mean()

    u = torch.rand(y.shape, dtype=torch.float32).to(y.dtype)  # In float32 at any precision: the same numbers.
    logit_u, logit_y = net.prior_d.logit(u), net.prior_d.logit(y)
    prior_term = -(F.logsigmoid(logit_u).mean() + F.logsigmoid(-logit_y).mean())

    pairs = BETA * local + ALPHA * global_
    total = pairs + GAMMA * prior_term
    encoder = total if prior == "monolithic" else pairs - GAMMA * F.logsigmoid(logit_y).mean()
    return Losses(total, local, global_, prior_term, encoder)


def gradients(net: Networks, found: Losses) -> dict[str, torch.Tensor]:
    """By name: of the encoder's loss for the encoder, of the total for the discriminators. All at the same weights."""
    encoder, discriminators = objective_parameters(net)
    of_encoder = torch.autograd.grad(found.encoder, list(encoder.values()), retain_graph=True)
    of_discriminators = torch.autograd.grad(found.total, list(discriminators.values()))
    return dict(zip([*encoder, *discriminators], [*of_encoder, *of_discriminators], strict=True))


def objective_parameters(net: Networks) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    named: dict[str, torch.Tensor] = dict(net.named_parameters())
    encoder = {name: p for name, p in named.items() if name.startswith("encoder.")}
    discriminators = {name: p for name, p in named.items() if name.split(".")[0] in ("global_d", "local_d", "prior_d")}
    return encoder, discriminators


def train(net: Networks, batches: Iterable[torch.Tensor], prior: str, seed: int) -> Iterator[list[float]]:
    """One step a batch, yielding its losses. seed: of the prior noise."""
    torch.manual_seed(seed)
    net.train()
    encoder, discriminators = objective_parameters(net)
    optimisers = [torch.optim.Adam(p.values(), lr=LEARNING_RATE) for p in (encoder, discriminators)]
    for x in batches:
        found = losses(net, x, prior)
        named = dict(net.named_parameters())
        for name, gradient in gradients(net, found).items():
            named[name].grad = gradient
        for optimiser in optimisers:
            optimiser.step()
        yield found.numbers()


def classifier_loss(net: Networks, y: torch.Tensor, labels: torch.Tensor, loss: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, probabilities). loss: "logits", or "softmax_twice" as in the implementation that the notebook links to."""
    c = net.classifier
    logits = c.bn3(c.l3(F.relu(c.bn2(c.l2(F.relu(c.bn1(c.l1(y))))))))
    probabilities = F.softmax(logits, dim=1)
    return F.cross_entropy(probabilities if loss == "softmax_twice" else logits, labels), probabilities


def train_classifier(
    net: Networks, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], encoder: str, loss: str
) -> Iterator[list[float]]:
    """One step a batch, yielding its loss and how many were right.

    encoder: "frozen", "frozen_batch_statistics" or "trained", as in `ClassifierTrainer`.
    """
    net.train()
    net.encoder.train(encoder != "frozen")
    parameters = [*net.classifier.parameters(), *(net.encoder.parameters() if encoder == "trained" else ())]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for x, labels in batches:
        with torch.set_grad_enabled(encoder == "trained"):
            y, _ = net.encoder(x)
        value, probabilities = classifier_loss(net, y, labels, loss)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        yield [value.item(), (probabilities.argmax(1) == labels).sum().item()]


# ---- PyTorch's side of the runs that are compared (runs.py)


@dataclass(frozen=True)
class Arithmetic:
    """How PyTorch computes."""

    dtype: torch.dtype
    #: Convolutions by oneDNN, or by PyTorch's own kernels, which sum in another order.
    onednn: bool = True
    #: From weights of which each is the one next to the seed's, in one of several patterns; 0: from the seed's.
    nudged: int = 0


FLOAT64 = Arithmetic(torch.float64)
#: Rounding decides by luck which way a switch (ReLU) goes; one run alone may have had much or little of it.
FLOAT32 = (Arithmetic(torch.float32), Arithmetic(torch.float32, onednn=False), Arithmetic(torch.float32, nudged=1))

Compute = Callable[[Arithmetic], Outcome]


def expected(compute: Compute, runs: Iterable[Arithmetic] = FLOAT32) -> Expected:
    """What `compute` gives in float64, and how far it is from that in float32, run by run."""
    exact = _outcome(compute, FLOAT64)
    float32 = [_outcome(compute, arithmetic) for arithmetic in runs]
    arrays = {name: recordings.summarise(array, *(run.arrays[name] for run in float32)) for name, array in exact.arrays.items()}
    return Expected(arrays, np.array(exact.history), np.array([run.history for run in float32]))


def _outcome(compute: Compute, arithmetic: Arithmetic) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Switching oneDNN warns about Intel's GPUs.
        with torch.backends.mkldnn.flags(enabled=arithmetic.onednn):
            return compute(arithmetic)


def gradients_of(photos: Floats, prior: str, n: int, arithmetic: Arithmetic) -> Outcome:
    net = start(arithmetic)
    torch.manual_seed(runs.NOISE_SEED)
    found = losses(net, torch.tensor(photos[:n], dtype=arithmetic.dtype), prior)
    return Outcome({name: g.numpy() for name, g in gradients(net, found).items()}, [found.numbers()])


def objective_run(photos: Floats, prior: str, steps: int, kept: Collection[int], arithmetic: Arithmetic) -> Outcome:
    net = start(arithmetic)
    batches = (torch.tensor(photos[runs.batch(step)], dtype=arithmetic.dtype) for step in range(steps))
    return _follow(net, train(net, batches, prior, runs.NOISE_SEED), steps, kept)


def classifier_run(
    photos: Floats, encoder: str, loss: str, steps: int, kept: Collection[int], arithmetic: Arithmetic
) -> Outcome:
    net = start(arithmetic)
    chosen = (runs.batch(step) for step in range(steps))
    batches = ((torch.tensor(photos[i], dtype=arithmetic.dtype), torch.tensor(runs.labels(i))) for i in chosen)
    return _follow(net, train_classifier(net, batches, encoder, loss), steps, kept)


def start(arithmetic: Arithmetic) -> Networks:
    """The networks that all runs begin with, in training mode."""
    net = networks(runs.MODEL_SEED, arithmetic.dtype).train()
    if arithmetic.nudged:
        nudge(net, arithmetic.nudged)
    return net


def nudge(net: torch.nn.Module, pattern: int = 1) -> None:
    """Each weight becomes the one above or below it, `pattern` of them in turn."""
    with torch.no_grad():
        for p in net.parameters():
            up = torch.arange(p.numel()) // pattern % 2 == 0
            p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf).view_as(p)))


def _follow(net: Networks, run: Iterator[list[float]], steps: int, kept: Collection[int]) -> Outcome:
    def state() -> dict[str, NDArray[np.float64]]:
        return {name: value.double().numpy() for name, value in net.state_dict().items()}

    return runs.follow(state, lambda _: next(run), steps, kept)
