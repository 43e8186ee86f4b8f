"""Published data sets by the names of their folders: as their archives unpack, and as torchvision keeps them below the
folder that it calls `root`."""

from __future__ import annotations

from pathlib import Path

from . import cifar, idx, stl10
from .errors import DataError

#: In a group, the first that is there: versions of the same data.
_BELOW = (
    ("cifar-10-batches-bin", "cifar-10-batches-py"),
    ("cifar-100-binary", "cifar-100-python"),
    ("stl10_binary",),
    ("MNIST/raw",),
    ("FashionMNIST/raw",),
    ("KMNIST/raw",),
    ("QMNIST/raw",),
    ("EMNIST/raw",),
)
_FORMATS = (("cifar", cifar), ("stl10", stl10), ("idx", idx))


def find(path: Path) -> tuple[Path, str] | None:
    """The folder that has the files, and their format; None where there are none. Raises DataError for several."""
    if (kind := _kind(path)) is not None:
        return path, kind
    found = []
    for group in _BELOW:
        there = [(path / name, kind) for name in group if (path / name).is_dir() and (kind := _kind(path / name))]
        found += there[:1]
    # .../MNIST, of which torchvision's files are in .../MNIST/raw.
    if not found and (path / "raw").is_dir() and idx.is_folder(path / "raw"):
        found = [(path / "raw", "idx")]
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder, _ in found)
        raise DataError(f"{path}: several data sets are below it; name one: {names}")
    return found[0] if found else None


def is_read(name: str) -> bool:
    """Whether a published data set has a file of this name: of images, of labels or of the classes' names."""
    return any(module.is_read(name) for _, module in _FORMATS)


def _kind(path: Path) -> str | None:
    return next((name for name, module in _FORMATS if module.is_folder(path)), None)
