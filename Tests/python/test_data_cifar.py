"""CIFAR-10's binary files: a folder, the archive, one file; and what is reported of damaged ones."""

import os
import tarfile

import numpy as np
import pytest
from data_fixtures import RECORD, scaled, write_archive, write_cifar
from deepinfomax.data import DataError, open_dataset


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cifar-10-batches-bin"


@pytest.mark.parametrize("form", ["folder", "parent", "archive"])
def test_reads(folder, form):
    images, labels = write_cifar(folder)
    source = {"folder": folder, "parent": folder.parent, "archive": folder.parent / "cifar-10-binary.tar.gz"}[form]
    write_archive(folder.parent / "cifar-10-binary.tar.gz", folder)
    train, test = open_dataset(source, labelled=True, split="train"), open_dataset(source, split="test")
    assert (len(train), len(test), len(open_dataset(source))) == (20, 4, 24)
    chosen = [19, 0, 7, 7]
    assert np.array_equal(train.read(chosen), scaled(images[chosen]))
    assert np.array_equal(train.labels, labels[:20])
    assert np.array_equal(test.read(slice(1, None, 2)), scaled(images[21:24:2]))
    assert train.classes[9] == "truck" and train.ids[7] == "data_batch_2.bin record 3"


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
def test_a_link_in_an_archive_is_told(folder, kind):
    """Of two names of one file tar has one as a link: it was left out without a word."""
    write_cifar(folder)
    (folder / "test_batch.bin").unlink()
    if kind == "hard":
        os.link(folder / "data_batch_1.bin", folder / "test_batch.bin")
    else:
        (folder / "test_batch.bin").symlink_to("data_batch_1.bin")
    with tarfile.open(folder.parent / "a.tar.gz", "w:gz") as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(folder / name, f"cifar/{name}")
    with pytest.raises(DataError, match=r"a.tar.gz: cifar/test_batch.bin is a link to .*data_batch_1.bin; unpack the archive"):
        open_dataset(folder.parent / "a.tar.gz")


def test_a_folder_of_one_batch_is_the_folder(folder):
    """Also the test set's images were said to be of data_batch_1.bin."""
    write_cifar(folder)
    for number in range(2, 6):
        (folder / f"data_batch_{number}.bin").unlink()
    found = open_dataset(folder)
    assert len(found) == 8 and found.name == folder.name and found.ids[7] == "test_batch.bin record 3"


@pytest.mark.parametrize("batches, noted", [(3, True), (5, False)])
def test_a_part_of_the_published_batches_is_noted(folder, batches, noted):
    """Of their size: a download that was cut off. Smaller batches are somebody's own."""
    folder.mkdir()
    for number in range(1, batches + 1):
        with open(folder / f"data_batch_{number}.bin", "wb") as file:
            file.truncate(10_000 * RECORD)
    found = open_dataset(folder)
    note = f"{folder}: {batches} of the 5 published batches are there: the data is a part"
    assert len(found) == 10_000 * batches and (note in found.notes) == noted


def test_one_file(folder):
    images, labels = write_cifar(folder)
    one = open_dataset(folder / "data_batch_2.bin", labelled=True)
    assert np.array_equal(one.read(slice(None)), scaled(images[4:8])) and np.array_equal(one.labels, labels[4:8])


def cut(folder, size):
    path = folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:size])


def spoil_label(folder):
    content = bytearray((folder / "data_batch_3.bin").read_bytes())
    content[2 * RECORD] = 77
    (folder / "data_batch_3.bin").write_bytes(content)


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: cut(f, 3 * RECORD + 5), "data_batch_3.bin: record 3 is cut short: 5 of 3,073 bytes"),
        (lambda f: cut(f, 3 * RECORD), "data_batch_3.bin ends after record 2; other batches have 4 records"),
        (lambda f: cut(f, 0), "data_batch_3.bin: the file is empty"),
        (spoil_label, "data_batch_3.bin: record 2 is damaged: label 77, expected 0 to 9"),
        (lambda f: (f / "data_batch_3.bin").unlink(), "data_batch_3.bin is missing, data_batch_5.bin is there"),
        (lambda f: (f / "batches.meta.txt").write_text("cat\n"), "batches.meta.txt: expected 10 names"),
    ],
)
def test_damaged(folder, form, damage, message):
    write_cifar(folder)
    damage(folder)
    source = folder
    if form == "archive":
        source = folder.parent / "cifar-10-binary.tar.gz"
        write_archive(source, folder)
    with pytest.raises(DataError) as error:
        open_dataset(source)
    assert message in str(error.value) and str(source) in str(error.value)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.97])
def test_an_archive_cut_short(folder, keep):
    write_cifar(folder)
    archive = folder.parent / "cifar-10-binary.tar.gz"
    write_archive(archive, folder)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match="cifar-10-binary.tar.gz: the archive is damaged or cut short"):
        open_dataset(archive)


def test_an_archive_with_a_flipped_byte(folder):
    write_cifar(folder)
    archive = folder.parent / "cifar-10-binary.tar.gz"
    write_archive(archive, folder)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cifar-10-binary.tar.gz"):
        open_dataset(archive)
