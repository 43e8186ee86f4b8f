# PYTHON_ARGCOMPLETE_OK
"""The command `dim`; also `python -m deepinfomax`."""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Sequence
from types import FrameType, ModuleType
from typing import Any, NoReturn

from . import _starting
from ._text import shown
from ._version import __version__
from .commands import UsageError, _output
from .commands._errors import explained
from .commands._effects import check_effects, effects_of_all
from .commands._places import Places

#: In the order of --help. The summary starts with a verb in lower case and has no full stop. Each command is a module of
#: deepinfomax.commands (`module_of`), imported on use.
COMMANDS = {
    "check": "compare libdim with the original notebook, number by number",
    "train": "train an encoder on images without labels, by the Deep InfoMax objective",
    "encode": "write the vectors of images to a file of numpy, CSV or HDF5",
    "info": "show what a weights file or checkpoint holds, or its faults",
    "convert": "convert weights between HDF5, safetensors and PyTorch; export ONNX",
    "neighbours": "draw images with their nearest and farthest neighbours",
    "index": "store the vectors of a data set for `dim search`",
    "search": "find the nearest images in an index, or near-duplicates; draw contact sheets",
    "map": "draw a map of images, similar ones close together",
    "classify": "train and test the classifier on the encoder; predict labels",
    "evaluate": "measure how well vectors predict classes, compared with an untrained network, pixels and PCA",
}

_FIRST = f"""usage: dim COMMAND ...

First steps, on photographs that scikit-learn ships:

  dim train --epochs 2 --output first                              a folder with weights and curves
  dim encode --weights first/weights.h5 --output vectors.npz       64 numbers an image
  dim map --weights first/weights.h5 --output map.png              the images, similar ones close together
  dim classify --weights first/weights.h5                          how well a classifier does on the vectors

With --data FOLDER they work on your own images; subfolders are classes.
The commands are {", ".join(COMMANDS)}; dim COMMAND --help lists the options of each.
"""
_EPILOG = "exit code: 0 success, 1 a check or a run failed, 2 the command cannot be run as asked (docs/commands.md)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 success, 1 a check or a run failed, 2 the command cannot be run as asked, 70 a defect of dim,
    128 + the signal's number where one ended it."""
    _output.prepare()
    # Without a writable home it logs a warning about its cache.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    if arguments is None:
        arguments = sys.argv[1:]
    _output.escape(arguments)
    if not arguments:
        print(_FIRST, end="", file=sys.stderr)
        return 2
    before: Any = None
    command = arguments[0]
    told, dropped = warnings.showwarning, sys.unraisablehook
    sys.unraisablehook = lambda unraisable: _send_again(unraisable) or dropped(unraisable)
    # Without Python's file and line, which say nothing to who typed a command.
    quiet = False
    warnings.showwarning = lambda message, *where: (
        None if quiet else _output.error(command, f"note: {' '.join(str(message).split())}")
    )
    try:
        _starting.end()
        parsed = _parsed(arguments)
        quiet = parsed.quiet
        command = parsed.command
        before = _on_terminate(command, _terminated)
        module = module_of(command)
        getattr(module, "places", Places.of)(parsed).check()
        _check_effects(parsed, module)
        code = int(module.run(parsed))
        sys.stdout.flush()  # Here, where a full disk behind a > is reported.
        return code
    except BrokenPipeError as error:
        if error.filename is not None:  # An output that is named is asked for whole.
            _output.error(command, str(explained(error)))
            return 2
        sys.stderr.close()  # The reader, `head` for instance, has seen enough.
        return 0
    except KeyboardInterrupt as error:
        print(f"\ndim {command}: interrupted", file=sys.stderr)
        return 128 + _number(error)
    except _Terminated as terminated:
        _output.error(command, f"ended by {signal.Signals(terminated.number).name}")
        return 128 + terminated.number
    except Exception as error:
        message = explained(error)
        if message is None:
            traceback.print_exc()
            _output.error(command, "this is a defect of dim: please report it, with the lines above and `dim info`")
            return 70
        if os.environ.get("DIM_TRACEBACK"):
            traceback.print_exc()
        _output.error(command, message)
        return 2
    finally:
        warnings.showwarning, sys.unraisablehook = told, dropped
        for number, handler in (before or {}).items():
            signal.signal(number, handler)


# ---- Arguments


#: How like a word has to be to what was mistyped, of 1, to be suggested.
_NEAR = 0.7
#: What other programs call these options.
_OF_OTHERS = {
    "learning-rate": "lr",
    "batch-size": "batch",
    "loss": "measure",
    "estimator": "measure",
    "img-size": "image-size",
    "model": "architecture",
    "num-workers": "threads",
    "save": "output",
    "out-dir": "output",
    "checkpoint": "weights",
}


class _Parser(argparse.ArgumentParser):
    """argparse's, with a suggestion for what was mistyped."""

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own passes over a full disk in silence."""
        stream = file or sys.stderr
        stream.write(_output.plain(message))
        stream.flush()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            assert action.choices is not None
            error.message += _meant(str(value), map(str, action.choices))
            raise

    def check_options(self, arguments: Sequence[str]) -> None:
        known = list(self._option_string_actions)
        for word in arguments:
            if word == "--":
                return
            name, _, value = word.partition("=")
            if value == "--":  # Of which argparse makes an empty list.
                self.error(f"argument {name}: expected a value, found --")
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.unknown([word])

    def unknown(self, arguments: Sequence[str]) -> NoReturn:
        """What is no argument of this command."""
        first = arguments[0]
        meant = _meant(first.partition("=")[0], self._option_string_actions) if first.startswith("-") else ""
        many = next((action for action in self._actions if not action.option_strings and action.nargs in ("*", "+")), None)
        if many is not None and not any(word.startswith("-") for word in arguments):
            meant = f"; every {many.metavar or many.dest} stands at one place, before or after the options"
        self.error(f"unrecognized arguments: {' '.join(arguments)}{meant}")


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    if arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    command = arguments[0]
    if not command.startswith("-") and command not in COMMANDS:
        top = parser(())
        top.error(f"there is no command '{shown(command)}'{_meant(command, COMMANDS)}")
    top = parser([command] if command in COMMANDS else ())
    meant = next((word for word in arguments if word in COMMANDS), None)
    if command.startswith("-") and command not in ("-h", "--help", "--version") and meant:
        top.error(f"{command}: expected the command first, then its options: dim {meant} {command} ...")
    if command.startswith("-") and not any(option.startswith(command) for option in top._option_string_actions):
        top.unknown([command])
    if command in COMMANDS:
        subparsers: Any = next(action for action in top._actions if action.dest == "command")
        chosen: _Parser = subparsers.choices[command]
        chosen.check_options(arguments[1:])  # Before argparse asks for what is missing because it was mistyped.
    parsed, unknown = top.parse_known_args(arguments)
    if unknown:
        chosen.unknown(unknown)
    if command in COMMANDS:
        parsed.given = {action.dest for action in chosen._actions if getattr(parsed, action.dest, None) != action.default}
    return parsed


def _check_effects(parsed: argparse.Namespace, module: ModuleType) -> None:
    check_effects(parsed, effects_of_all(parsed))
    if hasattr(module, "effects"):
        check_effects(parsed, module.effects(parsed))


def parser(commands: Iterable[str]) -> _Parser:
    """Of all commands; only those named know their arguments, since each imports what it needs."""
    top = _Parser(prog="dim", description="Deep InfoMax on the CPU.", epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"deepinfomax {__version__}")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in commands:
            module_of(name).add_arguments(subparser)
    return top


def _meant(given: str, known: Iterable[str]) -> str:
    """Dashes in front, which all options share, make nothing alike. What shares a few letters alone, as --split and --limit do,
    is another word."""
    names = {name.lstrip("-"): name for name in known}
    word = given.lstrip("-").replace("_", "-")
    close = [_OF_OTHERS[word]] if _OF_OTHERS.get(word) in names else difflib.get_close_matches(word, list(names), 1, _NEAR)
    return f"; did you mean {names[close[0]]}?" if close else ""


def _complete() -> None:
    """With _ARGCOMPLETE set, argcomplete prints completions and ends the process. Without it, nothing is completed."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser(COMMANDS))


def module_of(command: str) -> ModuleType:
    """Of its name, with _ for each -."""
    return importlib.import_module(f".commands.{command.replace('-', '_')}", __package__)


# ---- Signals


#: Besides Ctrl-C, all that end a process and have a name: of `kill`, terminals, batch systems, limits of time, timers. Ctrl-\
#: is left, which ends what does not react.
_ENDING = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
)


class _Terminated(BaseException):
    """One of these, as an exception: files that are being written are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise _Terminated(number)


def _send_again(unraisable: Any) -> bool:
    """Whether what was dropped is a signal's exception. Python drops what is raised while it calls somebody back, as it does for
    h5py all the time: the signal is sent again, a moment later."""
    if not isinstance(unraisable.exc_value, (_Terminated, KeyboardInterrupt)):
        return False
    again = threading.Timer(0.01, os.kill, (os.getpid(), _number(unraisable.exc_value)))
    again.daemon = True
    again.start()
    return True


def _number(error: _Terminated | KeyboardInterrupt) -> int:
    """The signal's: Python's own KeyboardInterrupt has none, and is Ctrl-C's."""
    return int(error.args[0]) if error.args else signal.SIGINT


def _on_terminate(command: str, handler: Any) -> dict[int, Any]:
    """The previous handlers. Signals that the parent ignores, as under nohup, stay ignored."""
    before: dict[int, Any] = {}
    for number in _ENDING:
        try:
            if signal.getsignal(number) is signal.SIG_DFL:
                # It asks these for a checkpoint, which is of no use before there is anything to save.
                waits = number == signal.SIGUSR1 and command in ("train", "classify")
                before[number] = signal.signal(number, (lambda *_: None) if waits else handler)
        except ValueError:  # Not in the main thread: signals are somebody else's.
            break
    return before
