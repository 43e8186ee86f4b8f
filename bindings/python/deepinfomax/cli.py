"""The command `dim`; also `python -m deepinfomax`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from ._version import __version__
from .commands import UsageError
from .commands._places import Places
from .data.errors import DataError, MissingPackage
from .errors import DimError, LibraryNotFound

#: Subcommand -> what it does. Each is the module of its name in deepinfomax.commands, imported when it is asked for.
COMMANDS = {
    "check": "compare libdim with the original notebook, number by number",
    "train": "train the encoder and the discriminators on the Deep InfoMax objective",
    "encode": "images to vectors, in a file of numpy, CSV or HDF5",
    "info": "what a weights file or checkpoint holds, and what is wrong with it",
    "convert": "PyTorch's state_dict files to HDF5 and back",
    "neighbours": "an image, its nearest and its farthest neighbours, as a picture",
    "map": "a map of the encoded images, drawn with the images",
    "classify": "train and test the classifier on the encoder; predict labels",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 well, 1 what was checked failed, 2 the command cannot be run as asked."""
    if arguments is None:
        arguments = sys.argv[1:]
    parser = argparse.ArgumentParser(prog="dim", description="Deep InfoMax on the CPU.")
    parser.add_argument("--version", action="version", version=f"deepinfomax {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in arguments:
            _module(name).add_arguments(subparser)
    parsed = parser.parse_args(arguments)
    try:
        module = _module(parsed.command)
        getattr(module, "places", Places.of)(parsed).check()
        code = int(module.run(parsed))
        sys.stdout.flush()  # Here, where a full disk behind a > is told.
        return code
    except (UsageError, DimError, LibraryNotFound, DataError, MissingPackage) as error:
        print(f"dim {parsed.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # The reader, `head` for instance, has seen enough.
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"dim {parsed.command}: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ndim {parsed.command}: interrupted", file=sys.stderr)
        return 130


def _module(command: str) -> ModuleType:
    return importlib.import_module(f".commands.{command}", __package__)
