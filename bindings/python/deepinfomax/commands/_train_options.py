"""What `dim train` takes: its options, a file of settings, and what is used where neither names a value."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .._files import read_start
from .._text import counted, cut, decimal, parsed_json
from ..architecture import PRESETS, Architecture
from ..data import Augmentation
from ..data.options import RESIZES
from ..run_folder import Settings
from ..trainer import COORDINATES, MEASURES, MOST_MICRO_BATCHES, PRECISIONS, PRIORS, TIMEOUT, TrainerOptions
from . import UsageError, _output
from ._effects import Effects
from ._common import DATA, add_examples, add_general, add_untrusted, natural, number, positive, seconds
from ._images import add_reading
from ._schedule import KINDS

EPOCHS = 10
#: Epochs between two probes are such that a run has so many.
_PROBES = 10

#: What a run is made of, and what is used when neither the command line nor --config names it. None: it follows from the
#: architecture's preset, from the data or from the rest.
DEFAULTS: dict[str, Any] = {
    "data": None,
    "weights": None,
    "architecture": None,
    "image_size": None,
    "channels": None,
    "resize": None,
    "seed": 0,
    "batch": 64,
    "micro_batches": 1,
    "precision": "float32",
    "measure": None,
    "negatives": None,
    "prior": None,
    "alpha": None,
    "beta": None,
    "gamma": None,
    "gradient_penalty": None,
    "gradient_clip": None,
    "lr": None,
    "betas": None,
    "weight_decay": None,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "step_epochs": 10,
    "step_factor": 0.1,
    "early_stopping": 0,
    "probe": None,
    "validation_images": None,
    "checkpoint_every": 1,
    "keep_all": False,
    "max_pixels": None,
    "skip_damaged": False,
    "coordinates": None,
    "coordinates_weight": None,
    "occlusion": None,
    "locations": None,
    "augment": "",
}
#: Where they are not asked for.
VALIDATION_IMAGES = 1024
#: Finite numbers of at least 0.
_WEIGHTS = (
    "alpha",
    "beta",
    "gamma",
    "lr",
    "step_factor",
    "warmup_epochs",
    "gradient_penalty",
    "gradient_clip",
    "weight_decay",
    "coordinates_weight",
)

_EXAMPLES = """
  dim train --epochs 20                            the sample photographs that scikit-learn ships
  dim train --data photos --image-size 48          your own images, made 48x48
  dim train --data cifar-10-binary.tar.gz --schedule cosine --warmup-epochs 1 --output cifar
  dim train --data cifar-10-binary.tar.gz --architecture notebook     as the original notebook
  dim train --data other --config cifar/settings.json --lr 1e-3       as that run, with other data and another rate
  dim train --coordinates absolute --occlusion     with the paper's structure terms
  dim train --resume cifar                         after Ctrl-C, bit for bit as if not interrupted
  dim train --resume cifar --epochs 40             longer than it was started for

Defaults: basic32's layers at the size and channels of the data; nce over all pairs of the batch, the local term and
absolute coordinates, no prior. --architecture notebook is for comparison with the original notebook: its networks for 32x32
images in RGB, its measure, prior and rates. Its vectors are often no better than an untrained encoder's.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="PATH", help=f"{DATA} (default: scikit-learn's sample photographs)")
    add_reading(parser)
    add(
        "--image-size",
        type=_size,
        metavar="N|WxH",
        help="resize all images to this size (default: their own, or that of --architecture)",
    )
    add("--channels", type=positive, metavar="N", help="1 for grey, 3 for RGB (default: as in the data, or in --architecture)")
    add("--output", metavar="FOLDER", help="the run's folder (default: dim-run, or dim-run-2 and so on)")
    add("--resume", metavar="FOLDER", help="continue the run in this folder, with its settings")
    add("--config", metavar="FILE", help="settings.json of another run, for all settings that the command line does not give")
    add("--epochs", type=positive, metavar="N", help=f"passes over the data, in total (default: {EPOCHS})")
    add(
        "--batch",
        type=positive,
        metavar="N",
        help="images per step, at least 2; an incomplete last batch is left out (default: 64)",
    )
    add(
        "--micro-batches",
        type=positive,
        metavar="K",
        help="split a batch into K parts with statistics and negatives of their own, to use less memory or several processes "
        "(default: 1)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help="of the score networks' products; mixed: with terms of bfloat16, on processors with AVX-512 BF16 (default: float32)",
    )
    add("--weights", metavar="FILE", help="weights to start from (default: initial weights by --seed)")
    add(
        "--architecture",
        metavar="NAME|FILE",
        help=f"the networks: a preset ({', '.join(PRESETS)}) or a JSON file (docs/architecture.md) (default: basic32's layers at "
        "the data's own size)",
    )
    add_untrusted(parser)
    objective = parser.add_argument_group(
        "objective: beta local + alpha global + gamma prior (+ coordinates)",
        "defaults are the preset's: those shown are for all presets but notebook",
    )
    add = objective.add_argument
    add("--measure", choices=MEASURES, help="how scores become a loss (default: nce; notebook: gan)")
    add(
        "--negatives",
        type=_negatives,
        metavar="all|rotation|K",
        help="what each image is distinguished from: all others of the batch, the next one, or K drawn ones (default: all; notebook: "
        "rotation)",
    )
    add(
        "--prior",
        choices=PRIORS,
        help="none; monolithic: the encoder minimises the prior term (as the original); adversarial: it opposes the discriminator (the "
        "paper) (default: none; notebook: monolithic)",
    )
    for name, term, default in (
        ("alpha", "global", "0; notebook: 0.5"),
        ("beta", "local", "1"),
        ("gamma", "prior", "0; with --prior and for notebook: 0.1"),
    ):
        add(f"--{name}", type=number, metavar="X", help=f"weight of the {term} term (default: {default})")
    add("--gradient-penalty", type=number, metavar="X", help="weight of the adversarial prior's gradient penalty (default: 0)")
    add(
        "--coordinates",
        choices=COORDINATES,
        help="also predict the place of a location in its map: row and column, or the distance to another (default: absolute; "
        "none with --architecture; with --weights, as they were trained)",
    )
    add("--coordinates-weight", type=number, metavar="X", help="weight of the coordinates term (default: 1)")
    add(
        "--occlusion",
        action="store_true",
        default=None,
        help="compute vectors from images with a hidden box, features from whole images",
    )
    add(
        "--locations",
        type=positive,
        metavar="N",
        help="locations of each image that the local term uses, drawn anew each step (default: all)",
    )
    data = parser.add_argument_group("images")
    data.add_argument(
        "--augment",
        type=_augment,
        metavar="crop=N,flip",
        help="each epoch, pad images with N zeros and crop them at random; mirror them with probability 1/2 (default: unchanged)",
    )
    rate = parser.add_argument_group("Adam")
    add = rate.add_argument
    add("--lr", type=number, metavar="X", help="learning rate, at the start (default: 3e-4; notebook: 1e-4)")
    add("--betas", type=_pair, metavar="A,B", help="decay of Adam's means (default: 0.9,0.999)")
    add("--weight-decay", type=number, metavar="X", help="as in torch.optim.Adam (default: 0)")
    add("--gradient-clip", type=number, metavar="X", help="largest norm of all gradients together; 0: no limit (default: 0)")
    add("--schedule", choices=KINDS, help="how the learning rate changes; cosine ends at 0 (default: constant)")
    add("--warmup-epochs", type=number, metavar="X", help="epochs in which the learning rate first rises to --lr (default: 0)")
    add("--step-epochs", type=positive, metavar="N", help="with --schedule step: epochs between changes (default: 10)")
    add("--step-factor", type=number, metavar="X", help="with --schedule step: factor of each change (default: 0.1)")
    judged = parser.add_argument_group("evaluation during training")
    add = judged.add_argument
    add(
        "--validation-images",
        type=natural,
        metavar="N",
        help="held-out images for validation losses and probes; 0 = no validation, and nothing is held out (default: 1024)",
    )
    add(
        "--probe",
        type=natural,
        metavar="K",
        help="every K epochs, test a linear classifier and 5-NN on the vectors, to compare with the untrained encoder; "
        "0: never (default: up to ten per run if the data has labels and scikit-learn is installed)",
    )
    add(
        "--early-stopping",
        type=natural,
        metavar="N",
        help="stop after N epochs without a smaller validation loss, and keep the weights of the smallest; 0: never stop "
        "(default: 0)",
    )
    several = parser.add_argument_group(
        "in several processes: mpirun -n P dim train ... --micro-batches K (docs/distributed.md)"
    )
    several.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help="how long a process waits for another before all end; rank 0 fits probes and writes files meanwhile "
        f"(default: {TIMEOUT:g})",
    )
    files = parser.add_argument_group("output files")
    add = files.add_argument
    add("--checkpoint-every", type=positive, metavar="K", help="epochs between two checkpoints (default: 1)")
    add("--keep-all", action="store_true", default=None, help="keep every checkpoint, not the newest alone")
    add("--tensorboard", action="store_true", help="also write TensorBoard's event files (needs tensorboard)")
    add("--no-plot", action="store_true", help="do not draw the curves")
    add("--report", action="store_true", help="write report.html at the end: the run on one page")
    add_general(
        parser, "weights, order of the images, prior noise and drawn negatives", "print a JSON object a line instead of text"
    )
    parser.set_defaults(seed=None)
    add_examples(parser, _EXAMPLES)


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "48" or "64x48", the width first as in names of sizes everywhere."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and 1 <= decimal(part) <= 1024 for part in parts):
        raise argparse.ArgumentTypeError(f"expected N or WIDTHxHEIGHT, each from 1 to 1024, found {cut(text, 40)!r}")
    return int(parts[-1]), int(parts[0])


def _negatives(text: str) -> str | int:
    if text in ("all", "rotation"):
        return text
    if not (text.isascii() and text.isdecimal() and 1 <= decimal(text) < 2**31):
        raise argparse.ArgumentTypeError(f"expected all, rotation or a number from 1 to {2**31 - 1}, found {cut(text, 40)!r}")
    return int(text)


def _augment(text: str) -> str:
    if not text:  # As a variable of a shell that is not set leaves it.
        raise argparse.ArgumentTypeError("expected crop=PIXELS, flip, both with a comma between, or none, found ''")
    try:
        return str(Augmentation.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None


def _pair(text: str) -> tuple[float, float]:
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected two numbers with a comma between, 0.9,0.999 for instance, found {text!r}"
        ) from None
    return first, second


# ---- From all places


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every setting and `epochs`: the command line's, then --config's, then the default. Checked."""
    found = {**DEFAULTS, "epochs": EPOCHS}
    names = tuple(found)
    if arguments.config is not None:
        found |= _read(arguments.config)
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if "architecture" in given:  # Its own images; those of --config are of --config's.
        found |= {"resize": None}
    found |= given
    if arguments.config is not None:
        _leave_out_idle(arguments, found, given)
    found["validation_by_default"] = found["validation_images"] is None
    if found["validation_images"] is None:
        found["validation_images"] = VALIDATION_IMAGES
    check(found)
    return found


#: What an option of the command line leaves without effect: the option, its values, and settings with what is as good as
#: not naming them.
_IDLE: tuple[tuple[str, tuple[Any, ...], dict[str, tuple[Any, ...]]], ...] = (
    ("prior", ("none", "monolithic"), {"gradient_penalty": (0.0, None)}),
    ("prior", ("none",), {"gamma": (0.0, None)}),
    ("beta", (0.0,), {"locations": (None,)}),
    ("coordinates", ("none",), {"coordinates_weight": (0.0, 1.0, None)}),
    ("schedule", ("constant", "cosine"), {"step_epochs": (10,), "step_factor": (0.1,)}),
)


def _leave_out_idle(arguments: argparse.Namespace, found: dict[str, Any], given: dict[str, Any]) -> None:
    """Settings of --config's that an option of the command line leaves without effect are not taken over."""
    for option, values, idle in _IDLE:
        for name, nothing in idle.items():
            if given.get(option) in values and name not in given and found[name] not in nothing:
                _output.note(
                    arguments,
                    f"{name} {found[name]} of {arguments.config} is left out: it has no effect with --{option} {given[option]}",
                )
                found[name] = DEFAULTS[name]


def check(values: dict[str, Any]) -> None:
    """What can be known to be wrong before any file is opened."""
    if values["batch"] < 2:
        raise UsageError("--batch: expected 2 at least: an image's negatives are the other images of its batch")
    parts = values["micro_batches"]
    if not 1 <= parts <= MOST_MICRO_BATCHES or values["batch"] % parts or values["batch"] // parts < 2:
        raise UsageError(
            f"--micro-batches {parts}: expected a number that divides --batch {values['batch']} into parts of two images at least"
        )
    for name in _WEIGHTS:
        value = values[name]
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--{name.replace('_', '-')}: expected a finite number of at least 0, found {value}")
    if values["betas"] is not None and not all(0 <= beta < 1 for beta in values["betas"]):
        raise UsageError(f"--betas: expected two numbers from 0 to below 1, found {','.join(map(str, values['betas']))}")
    negatives = values["negatives"]
    if isinstance(negatives, int) and negatives >= values["batch"] // parts:
        what = "batch" if parts == 1 else "micro-batch"
        size = values["batch"] // parts
        raise UsageError(f"--negatives {negatives}: a {what} of {size} images has {size - 1} others")
    if values["validation_images"] == 1:
        raise UsageError(
            "--validation-images: expected 0, for none, or 2 at least: an image's negatives are the others of its batch"
        )
    if values["early_stopping"] and not values["validation_images"]:
        raise UsageError("--early-stopping: needs a validation loss; expected --validation-images over 0")
    if values["probe"] and not values["validation_images"]:
        raise UsageError("--probe: needs held-out images; expected --validation-images over 0")
    if values["probe"] and not has_sklearn():
        raise UsageError('--probe: needs scikit-learn, which is not installed: pip install "deepinfomax[data]"')


def probe_every(probe: int | None, epochs: int) -> int:
    """Epochs between two probes; None for the default."""
    if probe is not None:
        return probe
    return -(-epochs // _PROBES) if has_sklearn() else 0


def check_unchanged(arguments: argparse.Namespace) -> None:
    changed = [name for name in (*DEFAULTS, "output", "config") if getattr(arguments, name) is not None and name != "data"]
    if changed:
        raise UsageError(
            f"--{changed[0].replace('_', '-')}: a resumed run keeps its settings; --epochs, --threads, "
            "--json, --quiet, --tensorboard, --no-plot, --report and --untrusted may be given, and --data for data that has moved"
        )


def effects_of(arguments: argparse.Namespace, options: TrainerOptions, schedule: str) -> Effects:
    """Whether what was given on the command line has an effect. What --config has may be a preset's."""
    for option in "--measure", "--negatives":
        yield option, options.alpha > 0 or options.beta > 0, "without a local and a global term (--beta 0)"
    yield "--gamma", options.prior != "none" or not arguments.gamma, "without --prior monolithic or adversarial"
    for option in "--prior", "--gradient-penalty":
        yield option, options.prior == "none" or options.gamma > 0, "with --gamma 0"
    yield (
        "--coordinates-weight",
        options.coordinates != "none" or not arguments.coordinates_weight,
        "without --coordinates absolute or relative",
    )
    yield "--coordinates", options.coordinates == "none" or options.coordinates_weight > 0, "with --coordinates-weight 0"
    for option in "--step-epochs", "--step-factor":
        yield option, schedule == "step", "without --schedule step"


def check_tensorboard(arguments: argparse.Namespace) -> None:
    if arguments.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: the package tensorboard is not installed; metrics.csv is written in any case")


def check_data(values: dict[str, Any], settings: Settings) -> None:
    """Raises UsageError for settings that need other data."""
    if values["probe"] and not settings.probe:
        raise UsageError("--probe: needs labels of two classes at least, and images that are held out")
    if settings.early_stopping and not settings.validation_images:
        raise UsageError("--early-stopping: needs a validation loss, but there are too few images to hold some out")
    if isinstance(settings.negatives, int):
        for count, of, advice in (
            (settings.images, "images to train on", ""),
            (settings.validation_images, "validation images", ", or --validation-images 0"),
        ):
            if 0 < min(count, settings.batch) <= settings.negatives:
                raise UsageError(
                    f"--negatives {settings.negatives}: expected fewer than the {count} {of}, of which an image's negatives are "
                    f"drawn{advice}"
                )
    if settings.micro_batches > 1 and settings.images < settings.batch:
        images = counted(settings.images, "image")
        raise UsageError(
            f"--micro-batches: {images} to train on are less than one batch; expected --batch below {settings.batch}"
        )


def has_sklearn() -> bool:
    return importlib.util.find_spec("sklearn") is not None


@dataclass(frozen=True)
class _Kind:
    expected: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    """Whole numbers of JSON may be larger than any that are computed with."""
    return isinstance(value, float) or isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _is_positive(value: Any) -> bool:
    return _is_natural(value) and value >= 1


def _is_augmentation(value: Any) -> bool:
    try:
        return isinstance(value, str) and Augmentation.parse(value) is not None
    except ValueError:
        return False


def _is_text(value: Any) -> bool:
    """Of paths, whose bytes that are no text Python has as surrogates; of others there is no file."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


_TEXT = _Kind("a text without NUL and lone surrogates", _is_text)
_LARGEST = int(sys.float_info.max)
#: Of a file of settings.
_LONGEST = 1 << 20
_NUMBER = _Kind("a number, 1.8e308 at most", _is_number)
_NATURAL = _Kind("a whole number from 0 on, below 2^64", _is_natural)
_POSITIVE = _Kind("a whole number from 1 on, below 2^64", _is_positive)
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
#: In a run's settings.json, and of no use to another run.
_OF_A_RUN = {
    "images": _POSITIVE,
    "one_size": _FLAG,
    "probe_by_default": _FLAG,
    "validation_by_default": _FLAG,
    "kept": _Kind(
        "an object of texts", lambda value: isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    ),
    **dict.fromkeys(("command", "started", "digest", "classes"), _TEXT),
}
_KINDS = {
    "data": _TEXT,
    "weights": _TEXT,
    "architecture": _Kind("a preset's name, a file or a description", lambda value: isinstance(value, dict) or _is_text(value)),
    "image_size": _Kind(
        "[height, width]", lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_positive, value))
    ),
    "channels": _POSITIVE,
    "resize": _Kind(f"one of {', '.join(RESIZES)}", lambda value: value in RESIZES),
    "seed": _NATURAL,
    "epochs": _POSITIVE,
    "batch": _POSITIVE,
    "micro_batches": _POSITIVE,
    "precision": _Kind(f"one of {', '.join(PRECISIONS)}", lambda value: value in PRECISIONS),
    "measure": _Kind(f"one of {', '.join(MEASURES)}", lambda value: value in MEASURES),
    "negatives": _Kind(
        "all, rotation or a number from 1 on", lambda value: value in ("all", "rotation") or _is_positive(value)
    ),
    "prior": _Kind(f"one of {', '.join(PRIORS)}", lambda value: value in PRIORS),
    "betas": _Kind(
        "[number, number]", lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    ),
    "schedule": _Kind(f"one of {', '.join(KINDS)}", lambda value: value in KINDS),
    "step_epochs": _POSITIVE,
    "checkpoint_every": _POSITIVE,
    "max_pixels": _POSITIVE,
    **dict.fromkeys(("early_stopping", "probe", "validation_images"), _NATURAL),
    **dict.fromkeys(("keep_all", "skip_damaged", "occlusion"), _FLAG),
    **dict.fromkeys(_WEIGHTS, _NUMBER),
    "coordinates": _Kind(f"one of {', '.join(COORDINATES)}", lambda value: value in COORDINATES),
    "locations": _POSITIVE,
    "augment": _Kind("crop=1 to crop=1024, flip, both with a comma between, or nothing", _is_augmentation),
}


def _check_kinds(found: Mapping[str, Any], where: str, optional: Container[str]) -> None:
    """That each value is of its setting's kind; optional: which may be None."""
    faults = []
    for name, value in found.items():
        kind = _KINDS.get(name) or _OF_A_RUN.get(name)
        if kind is None:
            faults.append(f"{name}: there is no such setting")
        elif not kind.fits(value) and not (value is None and name in optional):
            faults.append(f"{name}: expected {kind.expected}, found {json.dumps(value)[:80]}")
    if faults:
        raise UsageError("\n  ".join([f"{where}:", *faults]))


def checked_run(settings: Settings, where: str) -> Settings:
    """The settings of a run that is to go on: its file may have been edited, or damaged."""
    found = asdict(settings)
    _check_kinds(found, where, optional=("data", "weights", "max_pixels", "locations", "kept"))
    try:
        # What it was judged by is no longer asked: scikit-learn may be missing by now.
        check(found | {"probe": 0})
        return replace(settings, architecture=Architecture(settings.architecture).as_dict())
    except (UsageError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error


def _read(path: str) -> dict[str, Any]:
    """The settings of a file; null is as if it were not there."""
    try:
        content = read_start(path, _LONGEST + 1)
        if len(content) > _LONGEST:
            raise UsageError(f"--config: {path}: expected at most {_LONGEST:,} bytes of settings, found more")
        found = parsed_json(content.decode("utf-8-sig"))  # As editors under Windows save it.
    except IsADirectoryError as error:
        raise UsageError(f"--config: {path}: is a folder, expected a file such as a run's settings.json") from error
    except OSError as error:
        raise UsageError(f"--config: {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--config: {path}: expected JSON as a run's settings.json has it: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"--config: {path}: expected an object of settings, found {type(found).__name__}")
    _check_kinds(found, f"--config: {path}", optional=found)
    if found.get("probe_by_default"):  # Other data and epochs have another.
        found.pop("probe", None)
    if found.get("validation_by_default"):
        found.pop("validation_images", None)
    return {name: value for name, value in found.items() if name in _KINDS and value is not None}
