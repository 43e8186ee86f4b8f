"""A dozen objectives on basic32's layers whose gradients and ten steps are recorded in objectives.npz. Needs numpy and the package alone.

A case's key is its name. Recorded are, by PyTorch in float64 and beside it in float32: every gradient at a batch of 5, and the
losses of ten steps of 8 images and of one more, which tells how far float32 is by then (deepinfomax/compare/deviations.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 0
TRAINING_SEED = 3
GRADIENT_BATCH = 5
BATCH = 8
STEPS = 10

LIGHT = {"score": "dot", "net": "light", "units": 64}
AUTHORS = {"score": "dot", "net": "authors", "units": 64}
COPY = {"score": "dot", "net": "copy", "units": 64}
CONCAT = {"score": "concat", "hidden": [64]}
ADVERSARIAL = {"prior": "adversarial", "gamma": 0.1, "gradient_penalty": 1.0}

#: Name -> local head, global head, what differs from nce over all pairs of the local term.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any]]] = {
    "jsd light": (LIGHT, None, {"measure": "jsd", **ADVERSARIAL}),
    "gan concat rotation": (CONCAT, CONCAT, {"measure": "gan", "negatives": "rotation", "prior": "monolithic", "gamma": 0.1}),
    "kl light drawn": (LIGHT, None, {"measure": "kl", "negatives": 2}),
    "rkl light rotation": (LIGHT, None, {"measure": "rkl", "negatives": "rotation", "prior": "monolithic", "gamma": 0.1}),
    "h2 light": (LIGHT, None, {"measure": "h2", **ADVERSARIAL}),
    "dv authors copy": (AUTHORS, COPY, {"measure": "dv", **ADVERSARIAL}),
    "nce authors copy drawn": (AUTHORS, COPY, {"negatives": 2, "prior": "monolithic", "gamma": 0.1}),
    "nce concat": (CONCAT, CONCAT, {}),
    "absolute": (LIGHT, None, {"coordinates": "absolute"}),
    "relative": (LIGHT, None, {"coordinates": "relative", "coordinates_weight": 0.2, "negatives": 2}),
    "occlusion": (AUTHORS, COPY, {"measure": "jsd", "occlusion": True, **ADVERSARIAL}),
    "everything": (LIGHT, COPY, {"occlusion": True, "coordinates": "relative", "locations": 7, **ADVERSARIAL}),
}


def description(name: str) -> dict[str, Any]:
    local, global_, _ = CASES[name]
    prior = {"hidden": [100, 50], "squash": "sigmoid"}
    return {"preset": "basic32", "local": local, "global": global_, "prior": prior, "coordinates": {"hidden": [64]}}


def settings(name: str) -> dict[str, Any]:
    """Of `deepinfomax.Trainer` and of `deepinfomax.torch.Settings` alike."""
    _, global_, changes = CASES[name]
    return {"measure": "nce", "negatives": "all", "prior": "none", "alpha": 0.5 if global_ else 0.0, "beta": 1.0, **changes}


def images(n: int, number: int) -> NDArray[np.float32]:
    """Smooth noise in [0,1), of step `number`."""
    noise = np.random.RandomState(number).rand(n, 3, 32, 32)
    return ((noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3) + np.roll(noise, (1, 1), (2, 3))) / 4).astype(np.float32)
