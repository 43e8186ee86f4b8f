"""Damaged image data sets, one after another: each is read, or refused with a DataError.

    PYTHONPATH=bindings/python:Tests/python python Tests/fuzz/data_mutants.py --count 1000 --seed 1 [--first I] [--trace]

Mutant i depends on the seed, on i and on the versions of the packages that write the valid files. The process ends at the
first mutant that ends in anything else: an exception of another type, a reading without sense, or more than a minute.
"""

import argparse
import faulthandler
import gzip
import io
import json
import pickle
import random
import resource
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from data_fixtures import cifar_records, png, random_images, write_archive, write_cifar, write_mnist
from deepinfomax.data import DataError, open_dataset

IMAGES, LABELS = random_images(6, seed=3), np.arange(6) % 3
SECONDS = 60


# ---- Valid files: name -> bytes; what is opened is the file, or the folder for names with a slash


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(**arrays):
    return {f"{name}.npy": _npy(array) for name, array in arrays.items()}


def _hdf5(libver, **options):
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        file.create_dataset("images", data=IMAGES, **options)
        file.create_dataset("labels", data=LABELS)
        file.create_dataset("classes", data=np.array([b"cat", b"dog", b"owl"]))
    return buffer.getvalue()


def _image(image, kind):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def valid():
    """Kind -> (name, content): bytes of a file, or {member: bytes} of an archive or a folder."""
    floats = (IMAGES / 255).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cifar"
        write_cifar(folder, batches=2, records=2)
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        write_archive(Path(name) / "c.tar.gz", folder)
        archive = gzip.decompress((Path(name) / "c.tar.gz").read_bytes())
        write_mnist(Path(name) / "mnist")
        mnist = {path.name: path.read_bytes() for path in sorted((Path(name) / "mnist").iterdir())}
    pictures = {f"class{i % 2}/{i}.{kind}": _image(IMAGES[i], kind) for i, kind in enumerate(("jpeg", "gif", "bmp", "tiff"))}
    pictures |= {"class1/4.png": png(IMAGES[4]), "class0/5.webp": _image(IMAGES[5], "webp")}
    rows = np.moveaxis(IMAGES, -1, 1).reshape(6, -1)
    batch = {b"data": rows, b"labels": LABELS.tolist(), b"filenames": [b"x.png"] * 6}
    hundred = {"data": rows, "fine_labels": LABELS.tolist(), "coarse_labels": LABELS.tolist()}
    names = {"fine_label_names": [str(i) for i in range(100)], "coarse_label_names": [str(i) for i in range(20)]}
    stl = {"train_X.bin": bytes(27648 * 2), "train_y.bin": b"\1\2", "class_names.txt": b"a\n" * 10}
    npz = _npz(images=IMAGES, labels=LABELS, classes=np.array(["cat", "dog", "owl"]))
    return {
        "cifar file": ("data_batch_1.bin", cifar_records(IMAGES, LABELS)),
        "cifar folder": ("cifar", files),
        "cifar archive": ("cifar.tar.gz", archive),
        "cifar tar": ("cifar.tar", archive),
        "cifar-10, python": ("python", {"data_batch_1": pickle.dumps(batch, 2), "test_batch": pickle.dumps(batch, 5)}),
        "cifar-100, python": ("python", {"train": pickle.dumps(hundred, 4), "meta": pickle.dumps(names, 4)}),
        "cifar-100, binary": ("hundred", {"train.bin": bytes(3074 * 4), "test.bin": bytes(3074)}),
        "stl-10": ("stl", stl),
        "idx": ("mnist", mnist),
        "idx, one file": ("images-idx3-ubyte", mnist["t10k-images-idx3-ubyte"]),
        "idx.gz": ("images-idx3-ubyte.gz", mnist["t10k-images-idx3-ubyte"]),
        "pictures": ("pictures", pictures),
        "pictures, resized": ("resized", pictures),
        "npy": ("x.npy", _npy(IMAGES)),
        "npy of floats": ("x.npy", _npy(np.asfortranarray(np.moveaxis(floats, -1, 1)))),
        "npz": ("x.npz", npz),
        "npz, compressed": ("z.npz", npz),
        "npz in two parts": ("x.npz", _npz(x_train=floats, y_train=LABELS, x_test=floats[:2], y_test=LABELS[:2])),
        "hdf5": ("x.h5", _hdf5("earliest")),
        "hdf5, filters": ("x.h5", _hdf5("v110", chunks=(2, 32, 32, 3), compression="gzip", shuffle=True, fletcher32=True)),
    }


# ---- Damage


def damage(content, chooser):
    """Bytes with random changes; seldom cut or longer."""
    content = bytearray(content)
    for _ in range(chooser.choice([1, 1, 2, 4, 8])):
        if not content:
            break
        # Headers stand in front, as a rule.
        at = chooser.randrange(min(len(content), 256) if chooser.random() < 0.6 else len(content))
        kind = chooser.randrange(5)
        if kind == 0:
            content[at] ^= 1 << chooser.randrange(8)
        elif kind == 1:
            content[at] = chooser.choice([0, 1, 9, 10, 0x20, 0x2D, 0x30, 0x39, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            number = chooser.choice([0, 1, 1 << 31, 1 << 40, (1 << 64) - 1, len(content)])
            width = chooser.choice([2, 4, 8])
            order = chooser.choice(["little", "big"])
            content[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, order)
        elif kind == 3:
            other = chooser.randrange(len(content))
            content[at : at + 16] = content[other : other + 16]
        else:
            text = chooser.choice([b"9" * 30, b"-1", b"|O", b"(0,)", b"\xff\xfe", b"../../x", b"\0" * 64])
            content[at : at + len(text)] = text
    if chooser.random() < 0.08:
        del content[chooser.randrange(len(content) + 1) :]
    elif chooser.random() < 0.04:
        content += bytes(chooser.randrange(4096))
    return bytes(content)


def mend_png(content):
    """The right checksum for every chunk that is still one."""
    result, at = bytearray(content), 8
    while at + 12 <= len(result):
        (length,) = struct.unpack(">I", result[at : at + 4])
        if at + 12 + length > len(result):
            break
        result[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(result[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(result)


def mend_tar(content):
    """The right checksum for the first headers."""
    result = bytearray(content)
    for at in range(0, min(len(result) - 511, 8192), 512):
        if result[at + 257 : at + 262] == b"ustar":
            total = sum(result[at : at + 512]) - sum(result[at + 148 : at + 156]) + 8 * 0x20
            result[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(result)


def zip_of(members, compressed):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)
    return buffer.getvalue()


def write_mutant(folder, name, content, chooser):
    """Damages the file or one of its members; before or after they are packed, so that checksums are right or wrong."""
    path = folder / name
    inside = chooser.random() < 0.5
    if isinstance(content, dict):
        members = dict(content)
        chosen = chooser.choice(sorted(members))
        if inside or "." not in name:
            members[chosen] = damage(members[chosen], chooser)
            if chosen.endswith(".png") and chooser.random() < 0.7:
                members[chosen] = mend_png(members[chosen])
        if "." not in name:
            for member, data in members.items():
                (path / member).parent.mkdir(parents=True, exist_ok=True)
                (path / member).write_bytes(data)
            return path
        packed = zip_of(members, compressed=name.startswith("z"))
        path.write_bytes(packed if inside else damage_ends(packed, chooser))
    elif name.endswith(".gz"):
        tar = name.endswith(".tar.gz")
        plain = content
        if inside:
            plain = mend_tar(damage(content, chooser)) if tar else damage(content, chooser)
        packed = gzip.compress(plain, 1, mtime=0)
        path.write_bytes(packed if inside else damage_ends(packed, chooser))
    elif name.endswith(".tar"):
        path.write_bytes(mend_tar(damage(content, chooser)) if inside else damage(content, chooser))
    else:
        path.write_bytes(damage(content, chooser))
    return path


def damage_ends(content, chooser):
    """A zip archive's directory is at its end."""
    half = len(content) - min(len(content), 400)
    if chooser.random() < 0.5:
        return content[:half] + damage(content[half:], chooser)
    return damage(content, chooser)


# ---- Reading


def read_all(path):
    """How many images it has; every one is read. Raises DataError."""
    dataset = open_dataset(path, **({"image": (1, 20, 24), "skip_damaged": True} if path.name == "resized" else {}))
    n = len(dataset)
    some = np.unique(np.linspace(0, n - 1, min(n, 64)).astype(np.int64))
    images = dataset.read(some)
    assert images.shape == (len(some), *dataset.image_size) and images.dtype == np.float32, (images.shape, images.dtype)
    assert np.isfinite(images).all(), "not finite"
    if dataset.labels is not None:
        assert dataset.labels.shape == (n,) and dataset.labels.dtype == np.int64, dataset.labels
        assert all(isinstance(dataset.class_name(int(i)), str) for i in some)
    assert all(isinstance(dataset.ids[int(i)], str) for i in some)
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print what becomes of each mutant")
    parser.add_argument("--go-on", action="store_true", help="count exceptions that got out, do not end at the first")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    warnings.simplefilter("ignore")  # Pillow warns of what it finds odd in a picture.
    sources, outcomes = valid(), Counter()
    kinds = sorted(sources)
    for i in range(options.first, options.first + options.count):
        print(f"mutant {i}", flush=True)
        chooser = random.Random(f"{options.seed} {i}")
        kind = kinds[i % len(kinds)]
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        with tempfile.TemporaryDirectory() as folder:
            path = write_mutant(Path(folder), *sources[kind], chooser)
            try:
                read_all(path)
                outcome = "read"
            except DataError as error:
                outcome = "refused"
                assert str(error).strip(), "no message"
                if options.trace:
                    print(kind, error)
            except Exception as error:
                traceback.print_exc()
                print(f"mutant {i} of seed {options.seed}, {kind}", file=sys.stderr)
                if not options.go_on:
                    return 1
                outcome = f"{type(error).__name__}: {error}"[:120]
        outcomes[f"{kind}: {outcome}"] += 1
        if options.trace:
            print(kind, outcome)
    print(json.dumps(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
