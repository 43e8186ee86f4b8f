"""The rows of docs/science.md: what is trained, how, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LIGHT = {"score": "dot", "net": "light", "units": 512}
AUTHORS = {"score": "dot", "net": "authors", "units": 512}
CONCAT = {"score": "concat", "hidden": [512, 512]}
GLOBAL = {"score": "dot", "net": "copy", "units": 512}
LIGHT_GLOBAL = {"score": "dot", "net": "light", "units": 512}


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
    #: Of the learning rate, over the budget: "constant", or "cosine" to 0 after a warm-up of a fiftieth.
    schedule: str = "constant"
    #: Of which data: "" for --data, or "clipart": clipart.py.
    data: str = ""
    #: Whether the accuracy is measured at every eighth of the budget.
    curve: bool = False
    #: Whether images are reconstructed from Y by a decoder that is trained afterwards, in PyTorch.
    decoder: bool = False


ROWS = {  # By make science, in this order.
    "default": Row("DIM(L), nce, light dot head: the default", times=4, decoder=True),
    "first-run": Row("dim train with no settings but --data, at 28x28", kind="command", times=2),
    "nce": Row("DIM(L), nce", curve=True),
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
    "coordinates": Row(
        "DIM(L), nce, absolute coordinates", description={"coordinates": {"hidden": [512]}}, options={"coordinates": "absolute"}
    ),
    "occlusion": Row("DIM(L), nce, occlusion", options={"occlusion": True}),
    "prior": Row("DIM(L), nce, adversarial prior", options={"prior": "adversarial", "gamma": 0.1}),
    "notebook": Row("the notebook's network and objective", preset="notebook"),
    "pytorch": Row("DIM(L), nce, by PyTorch", kind="peer", peer="dim", curve=True),
    "autoencoder": Row("autoencoder, by PyTorch", kind="peer", peer="autoencoder", decoder=True),
    "vae": Row("VAE, by PyTorch", kind="peer", peer="vae", decoder=True),
    "supervised": Row("supervised, end to end", kind="supervised"),
    "still": Row("what needs no training", kind="none"),
    "clipart": Row("colour clip art: DIM(L), nce", data="clipart"),
    "clipart-still": Row("colour clip art: what needs no training", kind="none", data="clipart"),
}

#: Candidates for the defaults, judged on validation images alone: runner.py --rows nce,nce-both,nce-cosine,...
SEARCH = {
    "nce-cosine": Row("DIM(L), nce, cosine schedule", schedule="cosine"),
    "nce-both-cosine": Row(
        "DIM(L+G), nce, light dot heads, cosine schedule",
        description={"global": LIGHT_GLOBAL},
        options={"alpha": 0.5},
        schedule="cosine",
    ),
    "nce-both-fast": Row(
        "DIM(L+G), nce, light dot heads, Adam 1e-3, cosine schedule",
        description={"global": LIGHT_GLOBAL},
        options={"alpha": 0.5, "lr": 1e-3},
        schedule="cosine",
    ),
    "nce-both-faster": Row(
        "DIM(L+G), nce, light dot heads, Adam 3e-3, cosine schedule",
        description={"global": LIGHT_GLOBAL},
        options={"alpha": 0.5, "lr": 3e-3},
        schedule="cosine",
    ),
    "nce-faster": Row("DIM(L), nce, Adam 3e-3, cosine schedule", options={"lr": 3e-3}, schedule="cosine"),
    "nce-both-fastest": Row(
        "DIM(L+G), nce, light dot heads, Adam 1e-2, cosine schedule",
        description={"global": LIGHT_GLOBAL},
        options={"alpha": 0.5, "lr": 1e-2},
        schedule="cosine",
    ),
    "nce-both-1": Row("DIM(L+G), nce, light dot heads, alpha 1", description={"global": LIGHT_GLOBAL}, options={"alpha": 1.0}),
    "nce-128": Row("DIM(L), nce, batches of 128", batch=128),
    "nce-32": Row("DIM(L), nce, batches of 32", batch=32),
    "nce-fast": Row("DIM(L), nce, Adam 1e-3, cosine schedule", options={"lr": 1e-3}, schedule="cosine"),
}
ALL = ROWS | SEARCH
