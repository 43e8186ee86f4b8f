"""The original notebook's five networks, in PyTorch: what `dim check` and Tests/golden/record.py compare libdim with.

The classes are the notebook's, line for line. Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from numpy.typing import NDArray


class Encoder(nn.Module):
    """x (n,3,32,32) -> encoded (n,64), features (n,128,26,26)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(3, 64, kernel_size=4, stride=1)
        self.c1 = nn.Conv2d(64, 128, kernel_size=4, stride=1)
        self.c2 = nn.Conv2d(128, 256, kernel_size=4, stride=1)
        self.c3 = nn.Conv2d(256, 512, kernel_size=4, stride=1)
        self.l1 = nn.Linear(512 * 20 * 20, 64)
        self.b1 = nn.BatchNorm2d(128)
        self.b2 = nn.BatchNorm2d(256)
        self.b3 = nn.BatchNorm2d(512)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = F.relu(self.c0(x))
        features = F.relu(self.b1(self.c1(h)))
        h = F.relu(self.b2(self.c2(features)))
        h = F.relu(self.b3(self.c3(h)))
        encoded = self.l1(h.view(x.shape[0], -1))
        return encoded, features


class GlobalDiscriminator(nn.Module):
    """y (n,64), M (n,128,26,26) -> logits (n,1)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(128, 64, kernel_size=3)
        self.c1 = nn.Conv2d(64, 32, kernel_size=3)
        self.l0 = nn.Linear(32 * 22 * 22 + 64, 512)
        self.l1 = nn.Linear(512, 512)
        self.l2 = nn.Linear(512, 1)

    def forward(self, y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.c0(M))
        h = self.c1(h)
        h = h.view(y.shape[0], -1)
        h = torch.cat((y, h), dim=1)
        h = F.relu(self.l0(h))
        h = F.relu(self.l1(h))
        return self.l2(h)


class LocalDiscriminator(nn.Module):
    """cat(M, y expanded) (n,192,26,26) -> logits (n,1,26,26)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(192, 512, kernel_size=1)
        self.c1 = nn.Conv2d(512, 512, kernel_size=1)
        self.c2 = nn.Conv2d(512, 1, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.c0(x))
        h = F.relu(self.c1(h))
        return self.c2(h)


class PriorDiscriminator(nn.Module):
    """y (n,64) -> probabilities (n,1)."""

    def __init__(self) -> None:
        super().__init__()
        self.l0 = nn.Linear(64, 1000)
        self.l1 = nn.Linear(1000, 200)
        self.l2 = nn.Linear(200, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.logit(x))

    def logit(self, x: torch.Tensor) -> torch.Tensor:
        """What the sigmoid is taken of: log D computed from it does not overflow when D saturates."""
        h = F.relu(self.l0(x))
        h = F.relu(self.l1(h))
        return self.l2(h)


class Classifier(nn.Module):
    """(y, M) -> class probabilities (n,10); only y is used."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(64, 15)
        self.bn1 = nn.BatchNorm1d(15)
        self.l2 = nn.Linear(15, 10)
        self.bn2 = nn.BatchNorm1d(10)
        self.l3 = nn.Linear(10, 10)
        self.bn3 = nn.BatchNorm1d(10)

    def forward(self, x: tuple[torch.Tensor, Any]) -> torch.Tensor:
        encoded, _ = x[0], x[1]
        clazz = F.relu(self.bn1(self.l1(encoded)))
        clazz = F.relu(self.bn2(self.l2(clazz)))
        clazz = F.softmax(self.bn3(self.l3(clazz)), dim=1)
        return clazz


def expand_and_join(y: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
    """The notebook's input of LocalDiscriminator: y (n,64), M (n,128,26,26) -> (n,192,26,26)."""
    y_expanded = y.unsqueeze(2).unsqueeze(3).expand(-1, -1, 26, 26)
    return torch.cat((M, y_expanded), dim=1)


class Networks(nn.Module):
    """All five, under the prefixes of a weights file, so that state_dict() has a weights file's keys and order."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.global_d = GlobalDiscriminator()
        self.local_d = LocalDiscriminator()
        self.prior_d = PriorDiscriminator()
        self.classifier = Classifier()


def networks(seed: int, dtype: torch.dtype = torch.float64) -> Networks:
    """The five networks as `torch.manual_seed(seed)` makes them in float32, then converted; in evaluation mode.

    The caller's random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks().to(dtype).eval()


def random_image(seed: int) -> NDArray[np.float32]:
    """The notebook's own input, (1,3,32,32): `torch.manual_seed(seed); torch.randn(1, 3, 32, 32)`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.randn(1, 3, 32, 32).numpy()


class TorchModel:
    """The notebook in PyTorch behind the methods of `deepinfomax.Model`: float32 arrays in, arrays of `dtype` out.

    Between the networks the arrays stay in `dtype`: in float64 nothing is rounded on the way.
    """

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        self.networks = networks(seed, dtype)
        self.dtype = dtype

    @property
    def training(self) -> bool:
        return self.networks.training

    def train(self) -> None:
        self.networks.train()

    def eval(self) -> None:
        self.networks.eval()

    def encode(self, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        with torch.no_grad():
            y, M = self.networks.encoder(self._tensor(images))
        return y.numpy(), M.numpy()

    def score_global(self, y: NDArray[Any], M: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return self._array(self.networks.global_d(self._tensor(y), self._tensor(M)))

    def score_local(self, y: NDArray[Any], M: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return self._array(self.networks.local_d(expand_and_join(self._tensor(y), self._tensor(M))))

    def score_prior(self, y: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return self._array(self.networks.prior_d(self._tensor(y)))

    def classify(self, y: NDArray[Any]) -> NDArray[Any]:
        before = {name: buffer.clone() for name, buffer in self.networks.classifier.named_buffers()}
        try:
            with torch.no_grad():
                return self._array(self.networks.classifier((self._tensor(y), None)))
        except ValueError:
            # PyTorch counts a batch before it refuses it for having one vector alone; libdim changes nothing then.
            self.networks.classifier.load_state_dict(before, strict=False)
            raise

    def state_dict(self) -> dict[str, NDArray[Any]]:
        return {name: value.numpy().copy() for name, value in self.networks.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.networks.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, strict=False)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.tensor(array, dtype=self.dtype)

    def _array(self, tensor: torch.Tensor) -> NDArray[Any]:
        return tensor.numpy()
