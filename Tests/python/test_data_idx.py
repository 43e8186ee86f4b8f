"""MNIST's idx files: plain and .gz, a folder or one file."""

import gzip
import shutil
import struct

import numpy as np
import pytest
from data_fixtures import write_idx, write_mnist
from deepinfomax.data import DataError, open_dataset


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder(tmp_path, packed):
    images, labels = write_mnist(tmp_path, packed=packed)
    found = open_dataset(tmp_path, labelled=True)
    assert found.image_size == (1, 28, 28) and len(found) == 20, "train-* alone"
    assert np.array_equal(found.read([3, 19]) * 255, images["train"][[3, 19], np.newaxis])
    assert np.array_equal(found.labels, labels["train"]) and found.classes == tuple("0123456789")
    for options in ({"part": "t10k"}, {"part": "test"}, {"split": "test"}):
        test = open_dataset(tmp_path, **options)
        assert len(test) == 10 and np.array_equal(test.read(slice(None)) * 255, images["t10k"][:, np.newaxis])
    assert len(open_dataset(tmp_path, part="train")) == 20


@pytest.mark.parametrize("packed", [False, True])
def test_the_test_images_are_not_touched_by_the_splits(tmp_path, packed):
    write_mnist(tmp_path, packed=packed)
    assert len(open_dataset(tmp_path, split="train")) == 18 and len(open_dataset(tmp_path, split="validation")) == 2
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / (name + ".gz" * packed)).write_bytes(b"damaged")
    assert len(open_dataset(tmp_path)) == 20


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dots", [False, True])
def test_one_file(tmp_path, packed, dots):
    """Some keep the names of MNIST's first distribution, with a dot before idx."""
    images, labels = write_mnist(tmp_path, packed=packed)
    name, beside = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    ending = ".gz" * packed
    if dots:
        for old in (name, beside):
            shutil.move(tmp_path / (old + ending), tmp_path / (old.replace("-idx", ".idx") + ending))
        name = name.replace("-idx", ".idx")
    found = open_dataset(tmp_path / (name + ending), labelled=True)
    assert np.array_equal(found.read([9])[0, 0] * 255, images["t10k"][9]) and np.array_equal(found.labels, labels["t10k"])


def test_a_part_that_one_file_is_not(tmp_path):
    """The training images were given as the test set."""
    write_mnist(tmp_path)
    for name, own, other in ("train-images-idx3-ubyte", "train", "test"), ("t10k-images-idx3-ubyte", "test", "train"):
        assert len(open_dataset(tmp_path / name, part=own)) == len(open_dataset(tmp_path / name))
        with pytest.raises(DataError, match=f"no images of the part '{other}'; found {own}"):
            open_dataset(tmp_path / name, part=other)


def test_images_plain_and_labels_packed(tmp_path):
    _, labels = write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.decompress((tmp_path / "train-images-idx3-ubyte.gz").read_bytes()))
    assert np.array_equal(open_dataset(tmp_path, labelled=True).labels, labels["train"]), "both are there: one data set"
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    assert np.array_equal(open_dataset(path, labelled=True).labels, labels["train"])


def test_a_file_of_another_name(tmp_path):
    for packed in (False, True):
        write_idx(tmp_path / "mine", np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5), packed=packed)
        found = open_dataset(tmp_path / "mine")
        assert found.image_size == (1, 3, 5) and found.labels is None
        with pytest.raises(DataError, match="there are no labels; expected them in train-labels-idx1-ubyte"):
            open_dataset(tmp_path / "mine", labelled=True)


def test_torchvision_s_root(tmp_path):
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    for source in (tmp_path, tmp_path / "FashionMNIST", tmp_path / "FashionMNIST" / "raw"):
        assert len(open_dataset(source, labelled=True)) == 20
    write_mnist(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataError, match="several data sets are below it; name one: MNIST/raw, FashionMNIST/raw"):
        open_dataset(tmp_path)


def test_only_a_test_set(tmp_path):
    write_mnist(tmp_path)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).unlink()
    assert len(open_dataset(tmp_path)) == 10
    with pytest.raises(DataError, match="no images of the part 'train'; found t10k-images-idx3-ubyte"):
        open_dataset(tmp_path, part="train")


def test_several_of_one_part(tmp_path):
    """As EMNIST's folder has them."""
    for kind in ("letters", "digits"):
        write_idx(tmp_path / f"emnist-{kind}-train-images-idx3-ubyte", np.zeros((4, 28, 28), np.uint8))
        write_idx(tmp_path / f"emnist-{kind}-train-labels-idx1-ubyte", np.arange(1, 5, dtype=np.uint8))
    with pytest.raises(DataError, match="expected one file of images, found emnist-digits-train.*, emnist-letters-train"):
        open_dataset(tmp_path)
    letters = open_dataset(tmp_path / "emnist-letters-train-images-idx3-ubyte")
    assert letters.classes == ("1", "2", "3", "4") and letters.labels.tolist() == [0, 1, 2, 3]


def test_colours_and_floats(tmp_path):
    colours = np.random.RandomState(0).randint(0, 256, (3, 6, 8, 3)).astype(np.uint8)
    write_idx(tmp_path / "a-images-idx4-ubyte", colours)
    found = open_dataset(tmp_path / "a-images-idx4-ubyte")
    assert np.array_equal(found.read(slice(None)) * 255, np.moveaxis(colours, -1, 1))
    floats = np.random.RandomState(0).rand(3, 6, 8).astype(np.float32)
    write_idx(tmp_path / "b.bin0", floats)
    assert np.array_equal(open_dataset(tmp_path / "b.bin0").read(slice(None))[:, 0], floats)


def damage(content, kind):
    if kind == "cut":
        return content[: 16 + 784 * 7 + 5]
    if kind == "long":
        return content + b"x"
    if kind == "magic":
        return b"\0\0\x77" + content[3:]
    if kind == "header":
        return content[:10]
    if kind == "huge":
        return content[:4] + struct.pack(">III", 1 << 31, 1 << 31, 1 << 31) + content[16:]
    return b""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "kind, message",
    [
        ("cut", "record 7 is cut short; the header names 20 images"),
        ("long", r"more bytes than the header's shape \(20, 28, 28\) needs, 15,680"),
        ("magic", "not an idx file: it starts with 00 00 77 03, expected 00 00 08 03"),
        ("header", "the header is cut short"),
        ("huge", None),
        ("empty", "not an idx file: it starts with nothing"),
    ],
)
def test_damaged(tmp_path, packed, kind, message):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    content = damage(path.read_bytes(), kind)
    path.unlink()
    path = path.with_name(path.name + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    message = message or ("unpacks to 9,903,520,314,283,042,199,192,993,792 bytes" if packed else "record 0 is cut short")
    for source in (tmp_path, path):
        with pytest.raises(DataError, match=message) as error:
            open_dataset(source)
        assert path.name in str(error.value)


def test_a_damaged_gz(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-8] + bytes(8)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="train-images-idx3-ubyte.gz: damaged or cut short"):
            open_dataset(tmp_path)


def test_labels_that_do_not_fit(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(DataError, match="these are the labels; name the file of the images, train-images"):
        open_dataset(tmp_path / "train-labels-idx1-ubyte")
    write_idx(tmp_path / "labels", np.arange(4, dtype=np.uint8))
    with pytest.raises(DataError, match=r"expected images, \(n,h,w\), found labels"):
        open_dataset(tmp_path / "labels")
    for packed in (False, True):
        write_idx(tmp_path / ("train-labels-idx1-ubyte" + ".gz" * packed), np.arange(19, dtype=np.uint8), packed=packed)
        with pytest.raises(DataError, match="train-labels-idx1-ubyte.*expected 20 labels, one an image, found"):
            open_dataset(tmp_path)
        (tmp_path / "train-labels-idx1-ubyte").unlink(missing_ok=True)


def test_a_bomb(tmp_path):
    """3 MB of .gz, whose header promises 3 GB: refused by the promise, before anything is unpacked."""
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">III", 1_000_000, 55, 60) + bytes(1 << 20))
    with pytest.raises(DataError, match=r"unpacks to 3,300,000,000 bytes in memory, 2,147,483,648 are allowed; unpack it"):
        open_dataset(tmp_path)
    write_mnist(tmp_path / "small", packed=True)
    with pytest.raises(DataError, match="unpacks to 15,680 bytes in memory, 15,000 are allowed"):
        open_dataset(tmp_path / "small", max_bytes=15_000)


def test_a_header_that_promises_less_than_is_there(tmp_path):
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">III", 2, 28, 28) + bytes(200 << 20))
    with pytest.raises(DataError, match=r"more bytes than the header's shape \(2, 28, 28\) needs"):
        open_dataset(tmp_path)
