"""Colour images with labels that Debian has: openclipart-png as two .npz files.

    Benchmarks/science/clipart.py --out build/science

The labels are the package's folders of at least 100 images that name a subject. Links, which put a picture into several
folders, and files of equal bytes after the first are left out before the split: no test image is a training image. A picture
is put on white, fitted into 32x32 and centred. The test part is a fifth of the pictures, drawn by chance.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path("/usr/share/openclipart/png")
CLASSES = (
    "animals",
    "computer",
    "food",
    "geography",
    "office",
    "people",
    "recreation",
    "signs_and_symbols",
    "tools",
    "transportation",
)
SIDE = 32
#: Larger ones, some twenty, are left out: up to 231 million pixels each.
PIXELS = 8_000_000


def picture(path: Path) -> np.ndarray:
    """(32, 32, 3), uint8."""
    with Image.open(path) as image:
        if image.width * image.height > PIXELS:
            raise OSError(f"{path}: {image.width}x{image.height} pixels")
        image = image.convert("RGBA")
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        white = Image.new("RGBA", (SIDE, SIDE), "white")
        white.alpha_composite(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        return np.asarray(white.convert("RGB"))


def prepare(out: Path, source: Path = SOURCE) -> None:
    """Writes clipart-train.npz and clipart-test.npz, where they are not there."""
    if (out / "clipart-train.npz").exists() and (out / "clipart-test.npz").exists():
        return
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is missing; apt-get install openclipart-png")
    Image.MAX_IMAGE_PIXELS = None  # The package's own pictures; picture() has a limit.
    images, labels, seen = [], [], set()
    for label, name in enumerate(CLASSES):
        for path in sorted((source / name).rglob("*.png")):
            if path.is_symlink() or (digest := hashlib.sha256(path.read_bytes()).digest()) in seen:
                continue
            try:
                images.append(picture(path))
            except OSError:
                continue
            seen.add(digest)
            labels.append(label)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = np.stack(images)[order], np.array(labels)[order]
    # Different files may be the same picture at this size.
    _, first = np.unique(x.reshape(len(x), -1), axis=0, return_index=True)
    x, y = x[np.sort(first)], y[np.sort(first)]
    tests = np.arange(len(x)) % 5 == 4
    out.mkdir(parents=True, exist_ok=True)
    for part, chosen in ("train", ~tests), ("test", tests):
        np.savez_compressed(out / f"clipart-{part}.npz", images=x[chosen], labels=y[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    prepare(options.out, options.source)


if __name__ == "__main__":
    main()
