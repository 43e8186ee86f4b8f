"""What the forward goldens are made of: inputs, weights and the names of the cases. Needs numpy and the package alone.

A case's key is  seed<s>/<state>/<input>/<mode>/<output>,  for instance  seed0/warm/photos7/training/encoder.features.
Every case starts from its state afresh: what a training-mode pass moves does not reach the next case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deepinfomax.data import photographs
from deepinfomax.torch._description import PRESETS
from deepinfomax.torch.random_architectures import random_description

FOLDER = Path(__file__).parent
BATCHES = (1, 2, 3, 7, 64)
#: Random architectures of architectures.npz: small ones that have every operator, head and most measures between them.
RANDOM = (5, 42, 57, 142, 150)


@dataclass(frozen=True)
class Case:
    seed: int
    #: "fresh": the seed's weights. "warm": with the batch norms of `warm<seed>` in inputs.npz, as after some training.
    state: str
    input: str
    mode: str

    @property
    def key(self) -> str:
        return f"seed{self.seed}/{self.state}/{self.input}/{self.mode}"


def forward_cases() -> list[Case]:
    batches = [f"photos{n}" for n in BATCHES]
    fresh = ["notebook", *batches, "sky", "huge"]
    # With fresh batch norms a constant image's features are 0 in training mode, all rounding noise: warm ones only.
    warm = [*fresh, "zeros", "denormal"]
    few = ["notebook", "photos3"]
    return [
        Case(seed, state, name, mode)
        for seed, state, names in ((0, "fresh", fresh), (0, "warm", warm), (1, "fresh", few), (1, "warm", few))
        for name in names
        for mode in ("training", "evaluation")
    ]


def images(inputs: dict[str, np.ndarray], name: str, seed: int) -> np.ndarray:
    """The input `name` as float32 (n,3,32,32); `inputs` are the arrays of inputs.npz."""
    photos = photographs.pixels(inputs["photos"])
    if name == "notebook":
        return inputs[f"notebook{seed}"]
    if name == "sky":
        return photographs.pixels(inputs["sky"])
    if name == "huge":
        return photos[:3] * np.float32(1e6)
    if name == "zeros":
        return np.zeros_like(photos[:2])
    if name == "denormal":
        return photos[:2] * np.float32(1e-39)
    return photos[: int(name.removeprefix("photos"))]


def warm(inputs: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The warm batch norms' entries of the state_dict."""
    prefix = f"warm{seed}/"
    return {name.removeprefix(prefix): value for name, value in inputs.items() if name.startswith(prefix)}


def architectures() -> Iterator[tuple[str, object, int]]:
    """Name, architecture and seed of architectures.npz: every preset and five random ones."""
    yield from ((preset, preset, 0) for preset in PRESETS)
    for seed in RANDOM:
        yield f"random{seed}", random_description(seed), seed
