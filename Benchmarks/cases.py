"""The networks and objectives that are measured beside the notebook's: presets, and training steps over basic32."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Encoders, by name: descriptions as `deepinfomax.Architecture` takes them.
ENCODERS: dict[str, dict[str, Any]] = {
    name: {"preset": name} for name in ("basic28", "basic32", "basic64", "alex64", "resnet19_32")
}


@dataclass(frozen=True)
class Objective:
    title: str
    description: dict[str, Any]
    #: Of deepinfomax.Trainer, and of deepinfomax.torch's Settings: both have the same names.
    options: dict[str, Any] = field(default_factory=dict)


def _over_basic32(**local: Any) -> dict[str, Any]:
    return {"preset": "basic32", "local": local}


_LOCAL_ALONE = {"alpha": 0.0, "beta": 1.0, "gamma": 0.0, "prior": "none"}
OBJECTIVES: dict[str, Objective] = {
    "nce-512": Objective(
        "basic32, nce over all pairs, authors' dot net of 512 units",
        _over_basic32(score="dot", net="authors", units=512),
        {"measure": "nce", "negatives": "all"} | _LOCAL_ALONE,
    ),
    "nce-2048": Objective(
        "basic32, nce over all pairs, authors' dot net of 2,048 units",
        _over_basic32(score="dot", net="authors", units=2048),
        {"measure": "nce", "negatives": "all"} | _LOCAL_ALONE,
    ),
    "gan-concat": Objective(
        "basic32, gan, concat net 512-512-1, rotation",
        _over_basic32(score="concat", hidden=[512, 512]),
        {"measure": "gan", "negatives": "rotation"} | _LOCAL_ALONE,
    ),
}


def description(name: str) -> dict[str, Any]:
    """Of an encoder or an objective."""
    return ENCODERS[name] if name in ENCODERS else OBJECTIVES[name].description
