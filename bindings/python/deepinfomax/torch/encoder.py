"""This library's encoder as an nn.Module inside a torch program."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn as nn

from ..model import Model


class Encoder(nn.Module):
    """Images -> vectors, computed by libdim on the CPU.

        encoder = Encoder("weights.h5")                 # or a deepinfomax.Model
        y = encoder(images)                             # (n, d) float32
        y, fc = Encoder(model, outputs=("encoded", "fc"))(images)

    images: floating point (n, c, h, w), pixels in [0,1], or uint8 (n, c, h, w) or (n, h, w, c). A CPU tensor of contiguous
    float32 is read in place, without a copy; others are converted. Results are new tensors, on the images' device.

    Autograd stops here: libdim computes no gradient for torch, and the module has no parameters. Results never require a
    gradient; images that do are refused while gradients are recorded: call it under torch.no_grad(), or detach them.
    For a network that torch trains, load the weights into `deepinfomax.torch.modules(architecture)`.

    It computes in evaluation mode whatever `train()` says, and `state_dict()` is empty: the weights are the model's.
    """

    def __init__(self, weights: Any, outputs: tuple[str, ...] = ("encoded",)) -> None:
        """weights: a path, or a Model, which is shared and is put into evaluation mode at each call."""
        super().__init__()
        self.model = weights if isinstance(weights, Model) else Model.open(weights)
        if "encoder" not in self.model.networks:
            raise ValueError(f"weights: expected an encoder, found {', '.join(self.model.networks) or 'no network'}")
        self.model._shapes(outputs)  # What is wrong is said here, not by the first batch.
        self.outputs = tuple(outputs)

    def forward(self, images: torch.Tensor) -> Any:
        if not isinstance(images, torch.Tensor):
            raise TypeError(f"images: expected a tensor, found {type(images).__name__}")
        if images.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(
                "images: require a gradient, and none comes back through libdim; call the encoder under torch.no_grad(), "
                "or with images.detach()"
            )
        if self.model.training:
            self.model.eval()
        found = self.model.encode(images, outputs=self.outputs)
        results = tuple(torch.from_numpy(np.ascontiguousarray(array)).to(images.device) for array in found)
        return results[0] if len(results) == 1 else results

    def extra_repr(self) -> str:
        if self.model._handle.closed:
            return f"closed, outputs={self.outputs!r}"
        return f"{self.model.architecture!r}, outputs={self.outputs!r}"
