"""Ctrl-C and SIGTERM as a wish to stop in good order."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any


class Interrupts:
    """While it is entered, the first signal only sets `wanted`, and the second ends the command at once."""

    def __init__(self, message: str) -> None:
        """`message`: what the first signal prints to stderr."""
        self._message = message
        self._before: dict[int, Any] = {}
        #: The signal that has come, or None.
        self.wanted: int | None = None

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.wanted or 0)

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._came)
            except ValueError:  # Not in the main thread: signals are somebody else's.
                break
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        if self.wanted is not None:
            raise KeyboardInterrupt
        self.wanted = number
        print(f"\n{self._message}", file=sys.stderr, flush=True)
