"""What commands print: one JSON object or text on stdout, errors on stderr. Names from data steer no terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from .. import _text


def prepare() -> None:
    r"""A terminal or pipe that cannot take a character gets it as \xNN or \uNNNN instead of ending the command. What was closed
    before the command began, as `>&-` does, is nowhere: a file that got its number would be written to by mistake."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


#: Parts of names on the command line that would end a line or look like a table, and how they are shown.
_escapes: dict[str, str] = {}
#: What repr() makes of a byte that is not text.
_REPR = re.compile(r"\\udc([89a-f][0-9a-f])")


def escape(arguments: Sequence[str]) -> None:
    """From now on line ends and tabs in these are none of a message's own."""
    _escapes.clear()
    parts = {part for word in arguments for part in re.split("[/=]", word) if set("\n\t") & set(part) and part.strip()}
    for part in sorted(parts, key=len, reverse=True):
        _escapes[part] = _escapes[_text.valid(part)] = _text.shown(part)


def plain(text: str) -> str:
    """Of several lines, without what could steer a terminal."""
    for name, shown in _escapes.items():
        text = text.replace(name, shown)
    return _REPR.sub(r"\\x\1", _text.lines(_text.valid(text)))


def prints_text(arguments: argparse.Namespace) -> bool:
    """Whether text goes to stdout and progress to stderr: not with --json, not with --quiet."""
    return not (arguments.json or arguments.quiet)


def say(arguments: argparse.Namespace, text: str) -> None:
    """Prints text, unless --json or --quiet is given."""
    if prints_text(arguments):
        write(plain(text))


def result(arguments: argparse.Namespace, value: Any, text: str, indent: int | None = 2) -> None:
    """What the command found: `value` with --json, else `text`."""
    if arguments.json:
        write(json_text(value, indent))
    else:
        say(arguments, text)


def write(text: str) -> None:
    """A line or several to stdout. A reader that has seen enough, `head` for instance, ends no command: the files that it is to
    write are asked for whole."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        suppress()


def json_text(value: Any, indent: int | None = None) -> str:
    """In ASCII, which every terminal and pipe takes."""
    return json.dumps(_text.json_value(value), indent=indent)


def note(arguments: argparse.Namespace, text: str) -> None:
    """What should be known though all went well, on stderr; not with --quiet."""
    if not arguments.quiet:
        error(arguments.command, f"note: {text}")


def suppress() -> None:
    """What is printed from now on goes nowhere: stdout is closed at its other end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def error(command: str, text: str) -> None:
    with contextlib.suppress(OSError):  # The terminal may be gone.
        print(f"dim {command}: {plain(text)}", file=sys.stderr, flush=True)
