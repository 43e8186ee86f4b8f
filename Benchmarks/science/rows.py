"""The rows of docs/science.md: what is trained, how, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

LIGHT = {"score": "dot", "net": "light", "units": 512}
AUTHORS = {"score": "dot", "net": "authors", "units": 512}
CONCAT = {"score": "concat", "hidden": [512, 512]}
GLOBAL = {"score": "dot", "net": "copy", "units": 512}
LIGHT_GLOBAL = {"score": "dot", "net": "light", "units": 512}
PRIOR: dict[str, Any] = {"options": {"prior": "adversarial", "gamma": 0.1}}
COORDINATES: dict[str, Any] = {"description": {"coordinates": {"hidden": [512]}}, "options": {"coordinates": "absolute"}}
STRUCTURE: dict[str, Any] = COORDINATES | {"options": COORDINATES["options"] | {"occlusion": True}}
#: At 1e-4 and with these, sigmoid(Y) comes near the uniform distribution: docs/training.md.
BETAS: dict[str, Any] = {"betas": [0.5, 0.999]}


@dataclass(frozen=True)
class Row:
    title: str
    #: "dim": this library's Trainer; "command": `dim train` with no settings but --data; "supervised": its ClassifierTrainer,
    #: end to end; "peer": peers.py, in PyTorch; "none": nothing is trained.
    kind: str = "dim"
    preset: str = "basic32"
    #: What the architecture has beside the preset's.
    description: dict[str, Any] = field(default_factory=dict)
    #: Of Trainer; the preset's where absent.
    options: dict[str, Any] = field(default_factory=dict)
    peer: str = ""
    batch: int = 64
    #: Of the budget of the other rows.
    times: int = 1
    #: Of both Adams, at most; and its schedule over the budget: "constant", or "cosine" to 0 after a warm-up of a fiftieth.
    #: Chosen on validation images (SEARCH): 3e-3 with cosine is better than less and than more.
    lr: float = 3e-3
    schedule: str = "cosine"
    #: Of which data: "" for --data, or "clipart": clipart.py.
    data: str = ""
    #: Whether the accuracy is measured at every eighth of the budget.
    curve: bool = False
    #: Whether images are reconstructed from Y by a decoder that is trained afterwards, in PyTorch.
    decoder: bool = False


def rate(schedule: str, done: float) -> float:
    """The learning rate's factor after this share of the steps."""
    if schedule == "constant":
        return 1.0
    return min(1.0, (done + 0.001) / 0.02) * 0.5 * (1 + math.cos(math.pi * done))


ROWS = {  # By make science, in this order.
    "default": Row(
        "DIM(L), nce, light dot head, absolute coordinates and occlusion: the default", times=4, decoder=True, **STRUCTURE
    ),
    "first-run": Row("dim train with no settings but --data, at 28x28", kind="command", times=2),
    "nce": Row("DIM(L), nce", curve=True),
    "nce-long": Row("DIM(L), nce, for as long as the default", times=4, decoder=True),
    "jsd": Row("DIM(L), jsd", options={"measure": "jsd"}),
    "dv": Row("DIM(L), dv", options={"measure": "dv"}),
    "nce-authors": Row("DIM(L), nce, the authors' dot head", description={"local": AUTHORS}),
    "jsd-concat": Row(
        "DIM(L), jsd, concat head, one negative",
        description={"local": CONCAT},
        options={"measure": "jsd", "negatives": "rotation"},
    ),
    "global": Row(
        "DIM(G), jsd", description={"local": None, "global": GLOBAL}, options={"measure": "jsd", "alpha": 1.0, "beta": 0.0}
    ),
    "both": Row("DIM(L+G), jsd", description={"global": GLOBAL}, options={"measure": "jsd", "alpha": 0.5, "beta": 0.1}),
    "nce-both": Row("DIM(L+G), nce, light dot heads", description={"global": LIGHT_GLOBAL}, options={"alpha": 0.5}, curve=True),
    "coordinates": Row("DIM(L), nce, absolute coordinates", **COORDINATES),
    "occlusion": Row("DIM(L), nce, occlusion", options={"occlusion": True}),
    "structure": Row("DIM(L), nce, absolute coordinates and occlusion", **STRUCTURE),
    "prior": Row("DIM(L), nce, adversarial prior", **PRIOR),
    "nce-1e-4": Row("DIM(L), nce, Adam 1e-4, betas 0.5 and 0.999", lr=1e-4, options=BETAS),
    "prior-1e-4": Row("DIM(L), nce, adversarial prior, likewise", lr=1e-4, options=PRIOR["options"] | BETAS),
    "notebook": Row("the notebook's network and objective", preset="notebook", lr=1e-4, schedule="constant"),
    "pytorch": Row("DIM(L), nce, by PyTorch", kind="peer", peer="dim", curve=True),
    "autoencoder": Row("autoencoder, by PyTorch", kind="peer", peer="autoencoder", decoder=True),
    "vae": Row("VAE, by PyTorch", kind="peer", peer="vae", decoder=True),
    "supervised": Row("supervised, end to end", kind="supervised", lr=3e-4, schedule="constant"),
    "still": Row("what needs no training", kind="none"),
    "clipart": Row("colour clip art: DIM(L), nce", data="clipart"),
    "clipart-still": Row("colour clip art: what needs no training", kind="none", data="clipart"),
}

#: Candidates for the defaults, judged on validation images alone: runner.py --rows nce-3e-4,nce-1e-3,...
BOTH: dict[str, Any] = {"description": {"global": LIGHT_GLOBAL}, "options": {"alpha": 0.5}}
SEARCH = {
    "nce-3e-4-constant": Row("DIM(L), nce, Adam 3e-4, constant", lr=3e-4, schedule="constant"),
    "nce-1e-3": Row("DIM(L), nce, Adam 1e-3", lr=1e-3),
    "nce-3e-3": Row("DIM(L), nce, Adam 3e-3"),
    "both-3e-4": Row("DIM(L+G), nce, Adam 3e-4", lr=3e-4, **BOTH),
    "both-1e-3": Row("DIM(L+G), nce, Adam 1e-3", lr=1e-3, **BOTH),
    "both-3e-3": Row("DIM(L+G), nce, Adam 3e-3", **BOTH),
    "both-1e-2": Row("DIM(L+G), nce, Adam 1e-2", lr=1e-2, **BOTH),
    "prior-1e-4-heavy": Row(
        "DIM(L), nce, adversarial prior of weight 1, Adam 1e-4, betas 0.5 and 0.999",
        lr=1e-4,
        options=PRIOR["options"] | BETAS | {"gamma": 1.0},
    ),
    "prior-3e-4": Row("DIM(L), nce, adversarial prior, Adam 3e-4", lr=3e-4, **PRIOR),
    "vae-1e-3": Row("VAE, by PyTorch, Adam 1e-3", kind="peer", peer="vae", lr=1e-3),
    "autoencoder-1e-3": Row("autoencoder, by PyTorch, Adam 1e-3", kind="peer", peer="autoencoder", lr=1e-3),
}
ALL = ROWS | SEARCH
