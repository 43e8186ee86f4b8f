"""What a command does with what it has computed: several files, then the result on stdout."""

from __future__ import annotations

from collections.abc import Callable

from . import _output
from ._errors import explained


class LastSteps:
    """A step that fails, for a full disk or one damaged image, takes neither the others nor the result along: what was computed may
    have taken hours. It is told after them. Ctrl-C ends the steps, and the result is printed even so."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._failed: list[BaseException] = []

    def do(self, step: Callable[[], None]) -> bool:
        """Whether it was done."""
        if self._failed and not isinstance(self._failed[-1], Exception):
            return False
        try:
            step()
        except BaseException as error:
            self._failed.append(error)
            return False
        return True

    def end(self) -> None:
        """Raises the last error; the others are printed before."""
        for error in self._failed[:-1]:
            message = explained(error) if isinstance(error, Exception) else None
            if message is None:  # A defect: with its traceback.
                raise error
            _output.error(self._command, message)
        if self._failed:
            raise self._failed[-1]
