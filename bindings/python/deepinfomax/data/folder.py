"""A folder of image files, decoded by Pillow as they are asked for. Subfolders are classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import IMAGE, Dataset, Indices
from .errors import DataError, MissingPackage
from .parts import Parts

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_SIDE = 32
_TEST_NAMES = ("test", "validation", "val", "valid")
#: So many headers are read on opening, spread over the folder; the others when their turn comes.
_CHECKED = 1000
_LABELS = "put the images of each class into a subfolder of its name"


def open_parts(path: Path) -> Parts:
    _pillow()
    if path.is_file():
        return Parts(Folder(path.name, path.parent, [path.name], None, None), labels_would_be=_LABELS)
    below = {name for name in os.listdir(path) if (path / name).is_dir()}
    test = [name for name in _TEST_NAMES if name in below]
    if "train" in below and test:
        train_set, test_set = _folder(path / "train", path.name), _folder(path / test[0], path.name)
        if train_set.classes != test_set.classes:
            raise DataError(
                f"{path}: train and {test[0]} have different classes: "
                f"{', '.join(train_set.classes or ('none',))}; {', '.join(test_set.classes or ('none',))}"
            )
        return Parts(train_set, test_set, _LABELS)
    return Parts(_folder(path, path.name), labels_would_be=_LABELS)


class Folder(Dataset):
    """Image files, each scaled so that its shorter side has 32 pixels, of which the middle is taken; in RGB."""

    def __init__(
        self,
        name: str,
        root: Path,
        files: Sequence[str],
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...] | None,
    ) -> None:
        self.name, self.labels, self.classes = name, labels, classes
        self.ids = files
        self._root = root
        for number in np.unique(np.linspace(0, len(files) - 1, min(len(files), _CHECKED)).astype(int)):
            self._image(int(number)).close()

    def __len__(self) -> int:
        return len(self.ids)

    def pixels(self, indices: Indices) -> NDArray[Any]:
        result = np.empty((len(indices), *IMAGE), np.uint8)
        for place, index in enumerate(indices):
            result[place] = self._decode(int(index))
        return result

    def _image(self, index: int) -> Any:
        """The file, its header read."""
        image_module = _pillow()
        path = self._root / self.ids[index]
        try:
            return image_module.open(path)
        except (*_DAMAGE, image_module.DecompressionBombError) as error:
            raise DataError(f"{path}: image {index} cannot be read: {_reason(error, path)}") from error

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """uint8 (3,32,32)"""
        from PIL import ImageOps

        path = self._root / self.ids[index]
        with self._image(index) as image:
            try:
                # A JPEG decoder can leave out detail that scaling would drop: several times as fast for photographs.
                image.draft("RGB", (4 * _SIDE, 4 * _SIDE))
                image.load()
                if image.mode.startswith("I"):  # 16 bits of grey; Pillow would cut them off at 255.
                    high = np.asarray(image).astype(np.int64) >> 8
                    image = _pillow().fromarray(np.clip(high, 0, 255).astype(np.uint8))
                elif image.mode == "F":
                    raise DataError(f"{path}: image {index} has floating-point pixels; save it with 8 bits")
                small = ImageOps.fit(image.convert("RGB"), (_SIDE, _SIDE), _pillow().Resampling.BICUBIC)
            except DataError:
                raise
            except (*_DAMAGE, _pillow().DecompressionBombError) as error:
                raise DataError(f"{path}: image {index} is damaged: {_reason(error, path)}") from error
        return np.moveaxis(np.asarray(small, np.uint8), -1, 0)


#: What Pillow's decoders raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, ZeroDivisionError, OverflowError)


def _folder(path: Path, name: str) -> Folder:
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    classes = [entry.name for entry in visible if entry.is_dir()]
    loose = [entry.name for entry in visible if entry.is_file() and _is_image(entry.name)]
    if not classes:
        if not loose:
            raise DataError(f"{path}: no images; expected files *{', *'.join(SUFFIXES)}, or subfolders of them")
        return Folder(name, path, loose, None, None)
    files: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(classes):
        found = sorted(_images_below(path, class_name))
        if not found:
            raise DataError(f"{path / class_name}: no images in the folder of this class")
        files += found
        labels += [label] * len(found)
    if loose:
        raise DataError(
            f"{path / loose[0]}: an image beside the folders of classes ({', '.join(classes[:3])}...): "
            f"move it into one of them"
        )
    return Folder(name, path, files, np.array(labels, np.int64), tuple(classes))


def _images_below(root: Path, folder: str) -> list[str]:
    """Names relative to `root`, of all levels below root/folder."""
    return [
        os.path.relpath(os.path.join(where, name), root)
        for where, _, names in os.walk(root / folder)
        for name in names
        if _is_image(name)
    ]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).replace(repr(str(path)), "it").replace(str(path), "it")
    return text or type(error).__name__


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackage("Pillow", "reading image files needs", advice="or give an .npy file") from error
    return Image
