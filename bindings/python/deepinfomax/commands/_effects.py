"""Options that would change nothing are refused."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from ..distributed import LAUNCHERS
from . import UsageError

#: What a command's `effects` yields: an option, whether it has an effect beside the others, and if not, why.
Effects = Iterable[tuple[str, bool, str]]


def check_effects(arguments: argparse.Namespace, effects: Effects) -> None:
    """Raises UsageError for the first option that was given and has no effect."""
    for option, has_effect, why in effects:
        if not has_effect and option[2:].replace("-", "_") in arguments.given:
            raise UsageError(f"{option}: has no effect {why}")


def effects_of_all(arguments: argparse.Namespace) -> Effects:
    """Of options that many commands have."""
    if "untrusted" in arguments and "weights" in arguments:
        named = [name for name in ("weights", "resume", "config") if getattr(arguments, name, None)]
        yield "--untrusted", bool(named), "without --weights" + " or --resume" * ("resume" in arguments)
    if "timeout" in arguments:
        yield "--timeout", any(name in os.environ for name in LAUNCHERS), "without mpirun or srun"
