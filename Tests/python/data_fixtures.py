"""Small data sets in every format, for the tests of loaders and commands."""

import gzip
import io
import struct
import tarfile
import zlib

import numpy as np
from deepinfomax.data.cifar import CLASSES

RECORD = 3073


def random_images(n, seed=0):
    """uint8 (n,32,32,3)"""
    return np.random.RandomState(seed).randint(0, 256, (n, 32, 32, 3)).astype(np.uint8)


def cifar_records(images, labels):
    """The bytes of a CIFAR-10 binary file."""
    return b"".join(bytes([label]) + np.moveaxis(image, -1, 0).tobytes() for image, label in zip(images, labels, strict=True))


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


def png_of_zeros(width, height):
    """One bit a pixel, packed: a small file."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def scaled(images):
    """uint8 (n,32,32,3) -> float32 (n,3,32,32) in [0,1]"""
    return np.moveaxis(images, -1, 1).astype(np.float32) / np.float32(255)


def write_idx(path, array, packed=False):
    """An idx file; .gz where `packed`."""
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content, 1) if packed else content)


def write_mnist(folder, packed=False):
    """20 images to train with, 10 to test. Returns images, uint8 (n,28,28), and labels, each by part."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = {}, {}
    for part, count in (("train", 20), ("t10k", 10)):
        images[part] = np.random.RandomState(count).randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels[part] = np.arange(count, dtype=np.uint8)[::-1] % 10
        write_idx(folder / f"{part}-images-idx3-ubyte{'.gz' * packed}", images[part], packed)
        write_idx(folder / f"{part}-labels-idx1-ubyte{'.gz' * packed}", labels[part], packed)
    return images, labels
