"""How files are opened: dim_open_options from Python's arguments."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import sizeof
from typing import Any

from . import _arrays
from ._library import OpenOptions
from .architecture import Architecture

#: The networks' prefixes in a state_dict, in its order; number i is bit i of dim.h's mask.
NETWORKS = ("encoder", "global_d", "local_d", "prior_d", "classifier", "coordinates_d")


def mask(networks: str | Iterable[str] | None) -> int:
    """dim.h's mask of the networks of these names, or of the one of that name; 0 for None."""
    if networks is None:
        return 0
    names = [networks] if isinstance(networks, str) else _arrays.members(networks)
    if names is None:
        raise TypeError(f"networks: expected a name, or several, found {_arrays.briefly(networks)}")
    for name in names:
        if not isinstance(name, str) or name not in NETWORKS:
            raise ValueError(f"networks: expected some of {', '.join(NETWORKS)}, found {_arrays.briefly(name)}")
    if not names:
        raise ValueError("networks: expected one at least, or None for all; found none")
    bits = 0
    for name in names:
        bits |= 1 << NETWORKS.index(name)
    return bits


def options(
    architecture: Any = None, networks: str | Iterable[str] | None = None, untrusted: bool = False, timeout: float | None = None
) -> OpenOptions:
    """The struct: any architecture, unless one is given. It keeps alive what it points to."""
    untrusted = _arrays.flag(untrusted, "untrusted")
    timeout = None if timeout is None else _arrays.number(timeout, "timeout")
    if timeout is not None and not 0 < timeout <= 86400:
        raise ValueError(f"timeout: expected more than 0 and at most 86400 seconds, found {timeout}")
    if timeout is not None and not untrusted:
        raise ValueError("timeout: bounds the process that reads an untrusted file; expected untrusted=True as well")
    made = OpenOptions(struct_size=sizeof(OpenOptions))
    made.untrusted = untrusted
    made.any_architecture = architecture is None
    made.timeout = timeout or 0.0
    made.networks = mask(networks)
    if architecture is not None:
        given = architecture if isinstance(architecture, Architecture) else Architecture(architecture)
        made.architecture = given._handle.pointer
        made.kept = given
    return made
