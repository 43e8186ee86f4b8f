"""Folders of image files."""

import os
import pickle
import struct
import zlib

import numpy as np
import pytest
from data_fixtures import png, random_images, scaled, write_folder
from deepinfomax.data import DataError, open_dataset

Image = pytest.importorskip("PIL.Image")


def test_subfolders_are_classes(tmp_path):
    images, labels = random_images(6), [0, 0, 1, 1, 2, 2]
    write_folder(tmp_path, images, labels)
    found = open_dataset(tmp_path, labelled=True)
    assert found.classes == ("class0", "class1", "class2") and found.labels.tolist() == labels
    assert found.ids[3] == "class1/0003.png"
    assert np.array_equal(found.read([5, 0]), scaled(images[[5, 0]]))


def test_without_classes(tmp_path):
    (tmp_path / "b.png").write_bytes(png(random_images(1)[0]))
    (tmp_path / "notes.txt").write_text("not an image")
    found = open_dataset(tmp_path)
    assert found.labels is None and list(found.ids) == ["b.png"]
    with pytest.raises(DataError, match="there are no labels; put the images of each class into a subfolder"):
        open_dataset(tmp_path, labelled=True)


def test_one_image(tmp_path):
    image = random_images(1)
    (tmp_path / "one.png").write_bytes(png(image[0]))
    assert np.array_equal(open_dataset(tmp_path / "one.png").read(slice(None)), scaled(image))


def test_own_test_set(tmp_path):
    images = random_images(6)
    write_folder(tmp_path / "train", images[:4], [0, 0, 1, 1])
    write_folder(tmp_path / "test", images[4:], [0, 1])
    assert np.array_equal(open_dataset(tmp_path, split="test").read([0, 1]), scaled(images[4:]))
    assert len(open_dataset(tmp_path, split="train")) == 4


def test_train_alone(tmp_path):
    """All images were of one class, "train"."""
    images = random_images(4)
    write_folder(tmp_path / "only" / "train", images, [0, 0, 1, 1])
    found = open_dataset(tmp_path / "only")
    assert found.classes == ("class0", "class1") and found.labels.tolist() == [0, 0, 1, 1] and found.name == "only"
    with pytest.raises(DataError, match="no images of the part 'test'; found train"):
        open_dataset(tmp_path / "only", part="test")
    for part in "Train", "Test":  # These were the two classes.
        write_folder(tmp_path / "capital" / part, images, [0, 0, 1, 1])
    found = open_dataset(tmp_path / "capital", part="test")
    assert found.classes == ("class0", "class1") and len(found) == 4
    write_folder(tmp_path / "capital" / "train", images[:2], [0, 1])
    with pytest.raises(DataError, match="holds Train and train, and capital letters do not matter"):
        open_dataset(tmp_path / "capital")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "CMYK", "1"])
def test_kinds_of_pixels(tmp_path, mode):
    grey = np.full((40, 50), 128, np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    found = open_dataset(tmp_path).read(slice(None))
    assert found.shape == (1, 1 if mode in ("L", "I;16", "1") else 3, 40, 50)
    if mode != "1":
        assert np.abs(found - 128 / 255).max() < 0.02


def test_advice_for_many_images_is_given_once(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.png").write_bytes(png(random_images(1)[0]))
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path, max_pixels=5)
    message = str(error.value)
    assert message.count("5 are decoded at most") == 10 and "; and 2 more; max_pixels=" in message
    assert message.endswith("max_pixels= of open_dataset (--max-pixels) allows more") and message.count("--max-pixels") == 1


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "header alone"])
def test_damaged_on_opening(tmp_path, content):
    write_folder(tmp_path, random_images(3), [0, 0, 1])
    path = tmp_path / "class0" / "0001.png"
    path.write_bytes(path.read_bytes()[:20] if content is None else content)
    with pytest.raises(DataError, match=r"class0/0001\.png: image 1 cannot be read"):
        open_dataset(tmp_path)


def test_damaged_behind_the_header(tmp_path):
    write_folder(tmp_path, random_images(3), [0, 0, 1])
    path = tmp_path / "class0" / "0001.png"
    path.write_bytes(path.read_bytes()[:600])
    found = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"class0/0001\.png: image 1 is damaged"):
        found.read(slice(None))
    assert found.read([0, 2]).shape == (2, 3, 32, 32)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "bomb.png").write_bytes(png(random_images(1)[0]))
    with pytest.raises(DataError, match=r"bomb\.png: image 0 has 32x32 = 1,024 pixels, 100 are decoded at most"):
        open_dataset(tmp_path)


def test_an_empty_class_and_a_loose_image(tmp_path):
    write_folder(tmp_path, random_images(2), [0, 1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images in the folder of this class"):
        open_dataset(tmp_path)
    (tmp_path / "empty").rmdir()
    (tmp_path / "loose.png").write_bytes(png(random_images(1)[0]))
    with pytest.raises(DataError, match="loose.png: an image beside the folders"):
        open_dataset(tmp_path)


def test_folders_whose_names_are_written_alike(tmp_path):
    """A file of classes knows both by one name, and images were matched to the wrong one."""
    for name in b"caf\xe9", b"caf\\xe9":
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        with open(folder + b"/a.png", "wb") as file:
            file.write(png(random_images(1)[0]))
    with pytest.raises(DataError, match=r": classes 0 and 1 have names that are both written caf\\xe9"):
        open_dataset(tmp_path)


def test_what_is_beside_train_and_test_is_named(tmp_path):
    """A third part, validation for instance, was left out without a word."""
    for part in "train", "test", "val", "extra":
        write_folder(tmp_path / part, random_images(2), [0, 1])
    (tmp_path / "loose.png").write_bytes(png(random_images(1)[0]))
    for split in "all", "train", "validation":
        (note,) = open_dataset(tmp_path, split=split).notes
        assert note.endswith("left out, since train and test are the data: extra/; val/; loose.png")
    ids = list(open_dataset(tmp_path).ids)
    assert len(set(ids)) == 4 and ids[0].startswith("train/") and ids[3].startswith("test/"), "no two have one name"


@pytest.mark.parametrize("name", ["images", "images/a.png"])
def test_the_working_folder_may_change(tmp_path, monkeypatch, name):
    """Another folder's images of the same names were read instead."""
    for number, place in enumerate(("one", "two")):
        (tmp_path / place / "images").mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 10 + number, np.uint8)).save(tmp_path / place / "images" / "a.png")
    monkeypatch.chdir(tmp_path / "one")
    data = open_dataset(name)
    kept = pickle.dumps(data)
    monkeypatch.chdir(tmp_path / "two")
    for found in (data, pickle.loads(kept)):
        assert found.pixels(np.array([0])).max() == 10
    (tmp_path / "one" / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"^images/a\.png: image 0 cannot be read"):
        data.pixels(np.array([0]))


@pytest.mark.parametrize("name", [".", "..", "sub/.."])
def test_the_name_of_this_folder(tmp_path, monkeypatch, name):
    """It was empty."""
    for place in ("photos", "photos/sub"):
        (tmp_path / place).mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(random_images(1)[0]))
    (tmp_path / "photos" / "sub" / "a.png").write_bytes(png(random_images(1)[0]))
    monkeypatch.chdir(tmp_path / "photos" / ("sub" if name == ".." else ""))
    (tmp_path / "photos" / "a.png").unlink()
    assert open_dataset(name).name == "photos"


@pytest.mark.parametrize("colours", [None, 3])
def test_a_palette_without_the_colour_of_a_pixel(tmp_path, colours):
    """Pillow has such pixels as black."""
    with Image.new("P", (6, 1)) as image:
        image.putdata(range(6))
        image.putpalette([number for colour in range(6) for number in (9 * colour, 0, 0)])
        image.save(tmp_path / "a.png")
    assert np.array_equal(np.rint(open_dataset(tmp_path).read([0])[0, 0, 0] * 255), 9 * np.arange(6))
    content = (tmp_path / "a.png").read_bytes()
    at = content.index(b"PLTE") - 4
    length = struct.unpack(">I", content[at : at + 4])[0]
    part = b"" if colours is None else content[at + 4 : at + 8 + 3 * colours]
    chunk = b"" if colours is None else struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
    (tmp_path / "a.png").write_bytes(content[:at] + chunk + content[at + 12 + length :])
    with pytest.raises(DataError, match=f"image 0 is damaged: it has the colour 5, its palette has {colours or 0}$"):
        open_dataset(tmp_path).read([0])
