"""Deep InfoMax on the CPU: numpy in, numpy out, PyTorch's weights.

    import deepinfomax as dim

    model = dim.Model(architecture=dim.Architecture.preset("basic32", channels=1))  # or dim.Model.open("weights.h5")
    y, M = model.encode(images)           # float32 (n,c,h,w) or uint8 (n,h,w,c)
    model.score_local(y, M)

    trainer = dim.Trainer(model, prior="adversarial")
    trainer.step(batch).total
    trainer.save("checkpoint.h5")

Deep InfoMax: arXiv:1808.06670. `Model()` is the original notebook's; libdim.so computes everything.
"""

from . import _starting

_starting.begin()

import logging

from . import _library, data
from ._arrays import whole_number as _whole_number
from ._version import __version__
from .architecture import PRESETS, Architecture
from .classifier_trainer import ClassifierOptions, ClassifierResult, ClassifierTrainer, Evaluation
from .errors import (
    Cancelled,
    DimError,
    FileAccessError,
    FileContentError,
    FileFormatError,
    InternalError,
    InvalidArgument,
    InvalidHandle,
    LibraryNotFound,
    MissingNetwork,
    NotFinite,
    OutOfMemory,
    SizeMismatch,
    TooLarge,
    UnknownName,
)
from ._opening import NETWORKS
from .fitting import FittedEpoch
from .distributed import PeerError
from .model import OUTPUTS, Model, ParameterInfo, Sizes
from .trainer import Losses, Report, Trainer, TrainerOptions

__all__ = [
    "NETWORKS",
    "OUTPUTS",
    "PRESETS",
    "Architecture",
    "Cancelled",
    "ClassifierOptions",
    "ClassifierResult",
    "ClassifierTrainer",
    "DimError",
    "Evaluation",
    "FileAccessError",
    "FileContentError",
    "FileFormatError",
    "FittedEpoch",
    "InternalError",
    "InvalidArgument",
    "InvalidHandle",
    "LibraryNotFound",
    "Losses",
    "MissingNetwork",
    "Model",
    "NotFinite",
    "OutOfMemory",
    "ParameterInfo",
    "PeerError",
    "Report",
    "SizeMismatch",
    "Sizes",
    "TooLarge",
    "Trainer",
    "TrainerOptions",
    "UnknownName",
    "__version__",
    "build_info",
    "data",
    "num_threads",
    "set_num_threads",
    "version",
]

#: Silent unless the program sets logging up.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def version() -> str:
    """libdim's version, "0.1.0" for instance; the package's own is `__version__`."""
    return str(_library.library().dim_version().decode())


def build_info() -> str:
    """One line: libdim's version, the kernels it has chosen, convolution algorithm, threads, HDF5 version."""
    return str(_library.library().dim_build_info().decode())


def num_threads() -> int:
    """How many threads one call may use."""
    return int(_library.library().dim_num_threads())


def set_num_threads(n: int) -> None:
    """Sets how many threads one call may use, in the whole process; 0 = all cores.

    Results do not depend on it. Raises ValueError unless 0 <= n <= 1024.
    """
    n = _whole_number(n, 0, 1025, "n", "0 <= n <= 1024")
    _library.check(_library.library().dim_set_num_threads(n))
