"""PyTorch's side of any architecture: the same networks, weights, objective and training, to compare with and move to.

    import torch
    from deepinfomax.torch import modules

    torch.manual_seed(3)
    networks = modules("basic32")       # the weights of deepinfomax.Model(3, architecture="basic32"), bit for bit
    networks.load_state_dict(state)     # strictly, both ways
    y, M, conv, fc = networks.encoder(images)

torch is imported when one of these names is first asked for; `import deepinfomax` never imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder
    from .networks import Encoded, Networks, modules
    from .objectives import Losses, Settings, losses, train

__all__ = ["Encoded", "Encoder", "Losses", "Networks", "Settings", "losses", "modules", "train"]

_HOME = {"Encoded": "networks", "Encoder": "encoder", "Networks": "networks", "modules": "networks"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME.get(name, 'objectives')}", __name__), name)
