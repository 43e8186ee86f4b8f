"""Small data sets in every format, for the tests of loaders and commands."""

import io
import tarfile

import numpy as np
from deepinfomax.data.cifar import CLASSES

RECORD = 3073


def random_images(n, seed=0):
    """uint8 (n,32,32,3)"""
    return np.random.RandomState(seed).randint(0, 256, (n, 32, 32, 3)).astype(np.uint8)


def cifar_records(images, labels):
    """The bytes of a CIFAR-10 binary file."""
    return b"".join(
        bytes([label]) + np.moveaxis(image, -1, 0).tobytes() for image, label in zip(images, labels, strict=True)
    )


def write_cifar(folder, batches=5, records=4):
    """A folder as the archive unpacks to. Returns all images, uint8 (n,32,32,3), and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    images = random_images((batches + 1) * records)
    labels = np.arange(len(images)) % 10
    for batch in range(batches + 1):
        name = "test_batch.bin" if batch == batches else f"data_batch_{batch + 1}.bin"
        part = slice(batch * records, (batch + 1) * records)
        (folder / name).write_bytes(cifar_records(images[part], labels[part]))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return images, labels


def write_archive(path, folder):
    """The published archive's layout."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-bin")


def write_folder(root, images, labels):
    """PNG files in one subfolder a class."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:04}.png")


def png(image):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def scaled(images):
    """uint8 (n,32,32,3) -> float32 (n,3,32,32) in [0,1]"""
    return np.moveaxis(images, -1, 1).astype(np.float32) / np.float32(255)
