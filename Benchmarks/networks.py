"""The Deep InfoMax objective in PyTorch, computed the way the implementation that the notebook links to does.

The networks are the notebook's own (deepinfomax/compare/notebook.py). Like there, each discriminator runs twice, on
the pair and on the rotated pair, and the prior term is the logarithm of a probability.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn as nn
import torch.nn.functional as F
from deepinfomax.compare.notebook import Networks, expand_and_join

ALPHA, BETA, GAMMA = 0.5, 1.0, 0.1
LEARNING_RATE = 1e-4


def with_weights(state: Mapping[str, torch.Tensor]) -> Networks:
    """The networks around these tensors; no time goes into random weights that would be overwritten.

    A network whose weights are not among them has none and takes no memory.
    """
    with torch.device("meta"):
        net = Networks()
    missing, unknown = net.load_state_dict(state, strict=False, assign=True)
    loaded = {key.split(".")[0] for key in state}
    if unknown or any(key.split(".")[0] in loaded for key in missing):
        raise ValueError(f"the weights do not fit: {missing + unknown}")
    return net.eval()


class ChannelsLast(nn.Module):
    """The notebook's encoder for the other memory format, which view() refuses and flatten() copies."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        e = self.encoder
        h = F.relu(e.c0(x.contiguous(memory_format=torch.channels_last)))
        features = F.relu(e.b1(e.c1(h)))
        h = F.relu(e.b2(e.c2(features)))
        h = F.relu(e.b3(e.c3(h)))
        return e.l1(h.flatten(1)), features


class Objective(nn.Module):
    """images (n,3,32,32), noise (n,64) -> the total loss.

    The noise comes from outside: a compiled graph would draw other numbers.
    """

    def __init__(self, net: Networks) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        net = self.net
        y, M = net.encoder(x)
        M_prime = torch.cat((M[1:], M[0].unsqueeze(0)), dim=0)

        local = F.softplus(-net.local_d(expand_and_join(y, M))).mean()
        local = local + F.softplus(net.local_d(expand_and_join(y, M_prime))).mean()
        global_ = F.softplus(-net.global_d(y, M)).mean() + F.softplus(net.global_d(y, M_prime)).mean()
        prior = -(torch.log(net.prior_d(u)).mean() + torch.log(1 - net.prior_d(y)).mean())
        return BETA * local + ALPHA * global_ + GAMMA * prior

    def optimisers(self) -> list[torch.optim.Optimizer]:
        """One over the encoder, one over the discriminators. Fused: PyTorch's fastest Adam."""
        net = self.net
        discriminators = [*net.global_d.parameters(), *net.local_d.parameters(), *net.prior_d.parameters()]
        return [adam(list(net.encoder.parameters())), adam(discriminators)]


class ClassifierObjective(nn.Module):
    """images, labels -> cross-entropy of the classifier's softmax output, as in the linked implementation."""

    def __init__(self, net: Networks, frozen: bool) -> None:
        super().__init__()
        self.net = net
        self.frozen = frozen

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(not self.frozen):
            y, M = self.net.encoder(x)
        return F.cross_entropy(self.net.classifier((y, M)), labels)

    def optimisers(self) -> list[torch.optim.Optimizer]:
        trained = list(self.net.classifier.parameters())
        return [adam(trained if self.frozen else [*self.net.encoder.parameters(), *trained])]


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
