"""The library's side of a comparison with PyTorch: from a description and a seed alone. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._description import Description
from ._layout import layout

BATCH = 5
#: Of what a trainer draws.
TRAINING_SEED = 3

Array = NDArray[Any]
#: What of `objectives.Settings` a Trainer takes.
SETTINGS = (
    "measure",
    "negatives",
    "prior",
    "alpha",
    "beta",
    "gamma",
    "gradient_penalty",
    "encoder_lr",
    "discriminator_lr",
    "betas",
    "eps",
    "weight_decay",
    "coordinates",
    "coordinates_weight",
    "occlusion",
    "locations",
)


def images(description: Description, n: int, seed: int, number: int = 0) -> NDArray[np.float32]:
    """Smooth noise in [0,1), as pixels are, each channel of each image of another brightness: (n, c, h, w).

    Noise alone is the same everywhere to a layer that averages: of images that are all but alike there, batch norm makes
    something of rounding.
    """
    image = description["image"]
    shape = n, image["channels"], image["height"], image["width"]
    random = np.random.RandomState((seed * 1000 + number) % 2**32)
    noise, brightness = random.rand(*shape), random.rand(*shape[:2], 1, 1)
    smooth = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3) + np.roll(noise, (1, 1), (2, 3))) / 4
    return ((smooth + brightness) / 2).astype(np.float32)


def has(description: Description, output: str) -> bool:
    return output in ("encoded", "features") or description["encoder"][output] is not None


def outputs(model: Any, description: Description, x: NDArray[np.float32]) -> dict[str, Array]:
    """Every output in both modes, and the statistics behind."""
    found: dict[str, Array] = {}
    conv = layout(description).conv or ()
    for mode in "evaluation", "training":
        model.train() if mode == "training" else model.eval()
        names = [name for name in ("encoded", "features", "conv", "fc") if has(description, name)]
        encoded = dict(zip(names, model.encode(x, outputs=tuple(names)), strict=True))
        if "conv" in encoded:
            encoded["conv"] = encoded["conv"].reshape(len(x), *conv)  # The library gives it as one row an image.
        y = encoded["encoded"]
        found |= {f"{mode}/encoder.{name}": array for name, array in encoded.items()}
        if description["local"] is not None:
            found[f"{mode}/local_d"] = model.score_local(y, encoded["features"])
            found[f"{mode}/local_d.pairs"] = model.score_local_pairs(y, encoded["features"])
        if description["global"] is not None:
            found[f"{mode}/global_d"] = model.score_global(y, encoded[description["global"]["input"]])
        if description["prior"] is not None:
            found[f"{mode}/prior_d"] = model.score_prior(y)
        if description["classifier"] is not None:
            found[f"{mode}/classifier"] = model.classify(y)
    return found | statistics(model.state_dict())


def statistics(state: Mapping[str, Array]) -> dict[str, Array]:
    return {
        f"statistics/{name}": np.array(value)
        for name, value in state.items()
        if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }


def trainer(library: Any, description: Description, seed: int, settings: Mapping[str, Any]) -> Any:
    """A new model's. settings: those of SETTINGS, as far as they are there."""
    return library.Trainer(
        library.Model(seed=seed, architecture=description),
        seed=TRAINING_SEED,
        **{name: settings[name] for name in SETTINGS if name in settings},
    )


def numbers(losses: Any) -> list[float]:
    return [float(term) for term in (losses.total, losses.local, losses.global_, losses.prior)]
