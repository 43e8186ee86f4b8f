"""What the commands share: arguments, and opening what they name."""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .. import set_num_threads
from .._files import may_replace, real, size_text
from .._text import cut
from ..data.errors import MissingPackage
from ..architecture import PRESETS
from ..errors import FileContentError, FileFormatError
from ..model import Model
from . import UsageError

if TYPE_CHECKING:
    from ..data import Dataset


# ---- Arguments

#: What --data takes.
DATA = (
    "CIFAR-10's binary files (folder or .tar.gz), a folder of images, .npy, .npz, HDF5; or the sample data by name, "
    "photographs or digits"
)


#: How the library begins its advice for a file of another architecture, in Python's names.
OF_ANOTHER = ". Networks of another architecture are read"


def add_examples(parser: argparse.ArgumentParser, examples: str) -> None:
    """Printed unchanged at the end of --help."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "examples:\n" + examples.strip("\n")


def add_general(parser: argparse.ArgumentParser, seed: str | None, json: str = "print one JSON object instead of text") -> None:
    """--seed, --threads, --json, --quiet. `seed`: the help text, which says what it seeds; None: no such option."""
    if seed is None:
        parser.set_defaults(seed=0)
    else:
        parser.add_argument("--seed", type=whole, default=0, help=f"{seed} (default: 0)")
    parser.add_argument("--threads", type=whole, metavar="N", help="threads; 0 = all cores (default: DIM_NUM_THREADS, or 0)")
    parser.add_argument("--json", action="store_true", help=json)
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print errors only, no progress and no text; --json still prints"
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE", help="weights file or checkpoint (default: the seed's weights, untrained)")
    add_architecture(parser)
    add_untrusted(parser)


#: Of commands that have untrained weights where --weights names none.
_OF_WEIGHTS = (
    "the architecture of --weights if their file does not name it, or of untrained weights (default: that of --weights; "
    "else notebook)"
)


def add_architecture(parser: argparse.ArgumentParser, use: str = _OF_WEIGHTS) -> None:
    parser.add_argument("--architecture", metavar="NAME|FILE", help=f"a preset ({', '.join(PRESETS)}) or a JSON file: {use}")


def add_untrusted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--untrusted", action="store_true", help="read weights files in an isolated process, as untrusted")


def add_data(parser: argparse.ArgumentParser, default: str) -> None:
    """--data, --split, --limit, --resize, --max-pixels, --skip-damaged. `default` says what is used when no data is named."""
    parser.add_argument("--data", metavar="PATH", help=f"{DATA} (default: {default})")
    parser.add_argument(
        "--split",
        default="all",
        choices=("all", "train", "validation", "test"),
        help="the data's own training or test set; if it has none, nine tenths or the held-out tenth; "
        "validation and test are the same (default: all)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="use only the first N images")
    from ._images import add_reading

    add_reading(parser)


def positive(text: str) -> int:
    """For argparse: an integer of at least 1."""
    return _at_least(1, text)


_WHOLE = re.compile("([+-]?)([0-9]+)")


def number(text: str) -> float:
    """For argparse: a number, written as everywhere: Python takes 1_0 for 10."""
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {cut(text, 40)!r}") from None


def seconds(text: str) -> float:
    """For argparse: a time over 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number of seconds over 0, found {text!r}")
    return value


def natural(text: str) -> int:
    """For argparse: an integer of at least 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    value = whole(text)
    if not least <= value < 2**63:
        raise argparse.ArgumentTypeError(
            f"expected at least {least}, found {cut(text, 40)}" if value < least else f"{cut(text, 40)} is too large"
        )
    return value


def whole(text: str) -> int:
    """For argparse: an integer."""
    found = _WHOLE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {cut(text, 40)!r}")
    if len(found[2]) > 640:  # int() takes no more everywhere.
        raise argparse.ArgumentTypeError(f"{cut(text, 40)} is too large")
    return int(found[0])


# ---- What the arguments name


def apply_general(arguments: argparse.Namespace) -> None:
    """Checks --seed, where there is one, and sets --threads."""
    if arguments.seed is not None:
        check_seed(arguments.seed)
    if arguments.threads is not None:
        if not 0 <= arguments.threads <= 1024:
            raise UsageError(f"--threads: expected 0 <= N <= 1024, found {arguments.threads}")
        set_num_threads(arguments.threads)


def check_seed(seed: int, option: str = "--seed") -> None:
    if not 0 <= seed < 2**64:
        raise UsageError(f"{option}: expected 0 <= SEED < 2**64, found {seed}")


def seeds_of(arguments: argparse.Namespace) -> list[int]:
    """Those of --seeds, or the one of --seed."""
    try:
        seeds = [arguments.seed] if arguments.seeds is None else [whole(seed) for seed in arguments.seeds.split(",")]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--seeds: expected numbers between commas: {error}") from None
    for seed in seeds:
        check_seed(seed, "--seed" if arguments.seeds is None else "--seeds")
    if len({seed % 2**32 for seed in seeds}) != len(seeds):  # The same run twice has no spread.
        raise UsageError(f"--seeds: expected different ones, found {arguments.seeds}; the low 32 bits of each count")
    return seeds


def open_model(arguments: argparse.Namespace) -> Model:
    """The networks of --weights, or all of --seed. The command needs an encoder."""
    if arguments.weights is None:
        return Model(arguments.seed, architecture=arguments.architecture or "notebook")
    model = opened(arguments.weights, arguments.architecture, arguments.untrusted)
    if "encoder" not in model.networks:
        raise UsageError(f"{arguments.weights}: holds {', '.join(model.networks)}; an encoder is needed")
    return model


def opened(
    path: str, architecture: object, untrusted: bool, advice: str = "without --architecture, the file's own is used"
) -> Model:
    """The networks of a file. architecture: what they are of; None for what the file says. advice: for files of another."""
    inside = Path(path) / "weights.h5"
    # Unlike Path.is_file, False where the folder may not be entered: the file itself is named below.
    if os.path.isfile(inside):
        raise UsageError(f"{path}: is a folder; its weights are in {inside}")
    try:
        return Model.open(path, architecture=architecture, untrusted=untrusted)
    except FileContentError as error:
        told, other, _ = error.message.partition(OF_ANOTHER)
        if not other:  # That advice is for callers of the function.
            raise
        raise UsageError(f"{told}; {advice}") from error
    except FileFormatError as error:
        told, of_torch, _ = error.message.partition("; convert it in Python: ")
        if not of_torch:
            raise
        raise UsageError(f"{told}; dim convert {path} weights.h5 makes an HDF5 file of PyTorch's") from error


def weights_name(arguments: argparse.Namespace) -> str:
    """For reports."""
    return f"seed {arguments.seed}, untrained" if arguments.weights is None else str(arguments.weights)


def open_data(arguments: argparse.Namespace, model: Model | None, labelled: bool = False, quietly: bool = False) -> Dataset:
    """The images of --data, --split and --limit, as the model takes them; None: at 32x32 in colour, as the notebook's does.

    quietly: without notes.
    """
    import numpy as np

    from ._images import reading, tell

    data = reading(arguments, model).open(arguments.data, labelled=labelled, split=arguments.split)
    if not quietly:
        tell(arguments, data)
    if arguments.limit is not None and arguments.limit < len(data):
        data = data.subset(np.arange(arguments.limit))
    return data


def need(package: str, purpose: str, *, extra: str = "data", advice: str = "") -> None:
    """Says before the work that a package is missing which its end needs: "--picture needs". `package`: as pip has it."""
    module = {"scikit-learn": "sklearn", "Pillow": "PIL"}.get(package, package)
    if importlib.util.find_spec(module) is None:
        raise MissingPackage(package, purpose, extra=extra, advice=advice)


# ---- Files


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes the folder if there is none, and checks that it can be written to."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def claimed(folder: str | os.PathLike[str]) -> Iterator[None]:
    """The folder is this run's alone as long as the block lasts, whatever ends the process. Others are refused."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"{folder}: another run is using it; wait until it ends, or name another folder") from None
    except OSError:
        pass  # The file system has no locks.
    try:
        yield
    finally:
        os.close(descriptor)


def check_folder(path: str | os.PathLike[str]) -> Path:
    """That the folder can be written to, or be made; makes none. Returns it, or what would hold it."""
    place = Path(path).absolute()
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return place


def listed_names(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Names between commas, each known and given once. Before it is asked what options have no effect beside them: of a name
    with a mistake nobody knows."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{option}: expected some of {','.join(known)}, found {unknown[0]!r}")
    if len(set(names)) != len(names):
        raise UsageError(f"{option}: expected each once, found {text}")
    return names


def check_room(folder: str | os.PathLike[str], needed: int, what: str) -> None:
    """Says before a long computation that the disk has no room for `what`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UsageError(f"{folder}: {size_text(free)} are free, {size_text(needed)} are needed: {what}")


def check_ending(option: str, path: str, endings: Sequence[str]) -> None:
    """That a file's name ends as the formats do that it can be written in: "png", "svg"..."""
    if Path(path).suffix.lower().lstrip(".") not in endings:
        raise UsageError(f"{option}: expected a name that ends in {', '.join(endings)}, found {path}")


def check_csv(option: str, path: str) -> None:
    """That a file's name is not one of another format that commands write."""
    if Path(path).suffix.lower() in (".json", ".npy", ".npz", ".h5", ".hdf5", ".safetensors", ".png", ".svg", ".pdf", ".html"):
        raise UsageError(f"{option}: writes CSV; expected a name that ends in csv, found {path}")


def check_writable(path: str | os.PathLike[str], *, weights: bool = False) -> None:
    """Says before a long computation that its result could not be written: no such folder, no permission. weights: which
    replace a file, and are not written to /dev/null or a pipe."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise UsageError(f"{target}: is a folder, expected a file's name")
    if weights and target.exists() and not target.is_file():
        raise UsageError(f"{target}: is a device or a pipe, expected a file's name")
    if target.is_symlink() and not real(target).parent.is_dir():
        raise UsageError(f"{target}: is a link to {real(target)}, and there is no such folder")
    if not folder.is_dir():
        raise UsageError(f"{target}: there is no folder {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    if not may_replace(target):
        raise UsageError(f"{target}: cannot be replaced: it is another user's, in a folder like /tmp where only its owner may")
