"""How far a command is: a bar with rate and time left on a terminal that has tqdm, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds between two plain lines.
INTERVAL = 10.0


class Progress:
    """Of `total` images, `done` of them from before. Writes to stderr, unless `shown` is false."""

    def __init__(self, total: int, done: int = 0, *, shown: bool = True) -> None:
        self._total, self._done, self._first = total, done, done
        self._start = self._last = time.monotonic()
        self._shown = shown
        self._bar: Any = None
        if shown and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            # Some terminals do not tell their size; tqdm would then show nothing.
            known = os.get_terminal_size(sys.stderr.fileno()).columns
            size: dict[str, Any] = {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}
            self._bar = tqdm(total=total, initial=done, unit=" images", leave=False, smoothing=0.1, **size)

    def advance(self, images: int, note: str = "") -> None:
        """`note`: a few words on the state, the loss for instance."""
        self._done += images
        with self._kept_going():
            if self._bar is not None:
                self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(images)
            elif self._shown and time.monotonic() - self._last >= INTERVAL:
                self._last = time.monotonic()
                print(self._line(note), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of its own on stdout, above the bar. Raises OSError where stdout is gone."""
        with self._kept_going():
            if self._bar is not None:
                self._bar.clear()
        print(text, flush=True)
        with self._kept_going():
            if self._bar is not None:
                self._bar.refresh()

    def close(self) -> None:
        with self._kept_going():
            if self._bar is not None:
                self._bar.close()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        """A terminal that is gone shows nothing more; the work continues."""
        try:
            yield
        except OSError:
            self._bar, self._shown = None, False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _line(self, note: str) -> str:
        rate = (self._done - self._first) / max(self._last - self._start, 1e-9)
        left = (self._total - self._done) / rate if rate else 0
        share = 100 * self._done / max(self._total, 1)
        line = f"{share:3.0f}%  {self._done:,} of {self._total:,} images, {rate:.1f} a second, {duration(left)} left"
        return f"{line}  {note}".rstrip()


def duration(seconds: float) -> str:
    """ "1:02:03", or "2:03" below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
