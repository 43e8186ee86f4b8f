"""Ctrl-C while the command `dim` is being imported ends it as the signal does, without a traceback of the imports."""

from __future__ import annotations

import os
import signal
import sys


def _is_command() -> bool:
    """Whether this process is `dim` or `python -m deepinfomax`; every other program has its own way with Ctrl-C."""
    if sys.argv[:1] == ["-m"]:  # While Python looks for the module to run.
        return "deepinfomax" in sys.orig_argv
    return os.path.basename(sys.argv[0] if sys.argv else "") == "dim"


def begin() -> None:
    """Before the imports."""
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        global _has_begun
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _has_begun = True


def end() -> None:
    """Where KeyboardInterrupt is caught."""
    global _has_begun
    if _has_begun:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _has_begun = False


_has_begun = False
