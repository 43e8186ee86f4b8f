"""Signals as a request to stop after the step, or to save."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

#: Ctrl-C, `kill` and Slurm's end of a job, a terminal that is closed.
_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: What a training with checkpoints prints.
NOTICE = "stopping after this step; a second Ctrl-C or signal stops at once, and loses what came after the last checkpoint"


class Interrupts:
    """While it is entered, the first signal only sets `wanted`, and the second ends the command at once. SIGUSR1, which
    Slurm can send some time before the end (--signal=USR1@300), asks for a checkpoint and does not stop.

    Signals that the parent ignores, as nohup does with SIGHUP, stay ignored.
    """

    def __init__(self, message: str, others_end: Callable[[], bool] = lambda: False) -> None:
        """`message`: what the first signal prints to stderr; "" for nothing. others_end: whether that signal comes because another
        process ends all, and has told why."""
        self._others_end = others_end
        self._message = message
        self._before: dict[int, Any] = {}
        self._save = False
        #: The signal that has come, or None.
        self.wanted: int | None = None

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + (self.wanted or 0)

    def take_save_request(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        asked, self._save = self._save, False
        return asked

    def __enter__(self) -> Interrupts:
        for number in (*_STOP, signal.SIGUSR1):
            try:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._came)
            except ValueError:  # Not in the main thread: signals are somebody else's.
                break
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._save = True
            return
        if self.wanted is not None:
            raise KeyboardInterrupt(number)
        self.wanted = number
        if not self._message or self._others_end():
            return
        try:
            print(f"\n{self._message}", file=sys.stderr, flush=True)
        except OSError:  # The terminal is gone, which is what SIGHUP tells.
            pass
