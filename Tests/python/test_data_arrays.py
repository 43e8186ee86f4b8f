""".npy, .npz and HDF5."""

import gc
import warnings
import zipfile

import numpy as np
import pytest
from data_fixtures import random_images, scaled
from deepinfomax.data import DataError, Joined, open_dataset
from deepinfomax.search import Index

N = 12


def write(path, **arrays):
    """The arrays, in the format that the path's name tells."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays.pop("images"))
        if "labels" in arrays:
            np.save(path.with_name(path.stem + "_labels.npy"), arrays.pop("labels"))
        assert not arrays
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file.create_dataset(name, data=value, chunks=(1, *value.shape[1:]) if value.ndim > 2 and value.size else None)


FORMATS = ["a.npy", "a.npz", "a.h5"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("layout", ["nhwc", "nchw", "rows", "floats", "doubles", "grey"])
def test_layouts(tmp_path, name, layout):
    images, expected = random_images(N), scaled(random_images(N))
    if layout == "nchw":
        images = np.moveaxis(images, -1, 1)
    elif layout == "rows":
        images = np.moveaxis(images, -1, 1).reshape(N, 3072)
    elif layout in ("floats", "doubles"):
        images = expected.astype(np.float64 if layout == "doubles" else np.float32)
    elif layout == "grey":
        images = images[..., 0]
        expected = expected[:, :1]
    write(tmp_path / name, images=images, labels=np.arange(N) % 3)
    found = open_dataset(tmp_path / name, labelled=True)
    chosen = [11, 3, 4, 5, 3, 0]
    assert found.read(chosen).dtype == np.float32
    assert np.array_equal(found.read(chosen), expected[chosen])
    assert np.array_equal(found.read(slice(2, None, 3)), expected[2::3])
    assert found.classes == ("0", "1", "2") and found.labels[4] == 1


@pytest.mark.parametrize("name", FORMATS[1:])
def test_own_test_set_and_class_names(tmp_path, name):
    images = random_images(N)
    classes = np.array([b"cat", b"dog"])
    labels = np.arange(N) % 2
    parts = {"x_train": images[:8], "y_train": labels[:8], "x_test": images[8:], "y_test": labels[8:]}
    write(tmp_path / name, **parts, classes=classes)
    test, everything = open_dataset(tmp_path / name, split="test"), open_dataset(tmp_path / name)
    assert test.classes == ("cat", "dog") and isinstance(everything, Joined)
    assert np.array_equal(everything.read([9, 0]), scaled(images[[9, 0]]))
    assert np.array_equal(test.labels, labels[8:])


@pytest.mark.parametrize("name", FORMATS[1:])
def test_labels_of_one_part_alone(tmp_path, name):
    """They were left out with both, and the error asked for an array that was there."""
    images = random_images(N)
    write(tmp_path / name, x_train=images[:8], y_train=np.arange(8) % 2, x_test=images[8:])
    assert open_dataset(tmp_path / name, labelled=True, split="train").classes == ("0", "1")
    everything = open_dataset(tmp_path / name)
    assert everything.labels is None and "the test images have no labels" in " ".join(everything.notes)
    with pytest.raises(DataError, match="there are no labels; the test images have none; add them"):
        open_dataset(tmp_path / name, labelled=True)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_no_two_images_have_one_name(tmp_path, name):
    images = random_images(N)
    write(tmp_path / name, x_train=images[:8], x_test=images[8:])
    ids = list(open_dataset(tmp_path / name).ids)
    assert ids[:2] == ["0", "1"] and ids[8] == "x_test 0" and len(set(ids)) == N


def test_parts_without_a_class_in_common(tmp_path):
    """Judges that are fitted on train find none of the test images right, and nothing said why."""
    images = random_images(N)
    write(tmp_path / "a.npz", x_train=images[:8], y_train=np.arange(8) % 2, x_test=images[8:], y_test=5 + np.arange(N - 8) % 2)
    for split in "train", "test":
        notes = open_dataset(tmp_path / "a.npz", split=split).notes
        assert "a.npz: no class of the test part is one of train: 5, 6; train has 0, 1" in notes
    assert open_dataset(tmp_path / "a.npz").classes == ("0", "1", "5", "6")


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_names_of_arrays_in_capitals(tmp_path, name):
    write(tmp_path / name, Images=random_images(N), Labels=np.arange(N) % 3)
    data = open_dataset(tmp_path / name, labelled=True)
    assert data.labels.tolist() == (np.arange(N) % 3).tolist()


def test_the_name_as_listed_goes_before_one_in_capitals(tmp_path):
    write(tmp_path / "a.npz", IMAGES=random_images(N)[:4], images=random_images(N), LABELS=np.zeros(4), targets=np.arange(N))
    assert open_dataset(tmp_path / "a.npz", labelled=True).labels.tolist() == list(range(N))


def test_compressed(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=random_images(N))
    assert np.array_equal(open_dataset(tmp_path / "a.npz").read([N - 1]), scaled(random_images(N))[-1:])


def test_every_tenth_is_held_out(tmp_path):
    np.save(tmp_path / "a.npy", random_images(25))
    train, validation = (open_dataset(tmp_path / "a.npy", split=split) for split in ("train", "validation"))
    assert list(validation.ids) == ["9", "19"] and len(train) == 23 and "9" not in list(train.ids)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.zeros((4, 2, 16, 16, 3), np.uint8)}, "expected the shape (n,h,w,c)"),
        ({"images": np.zeros((4, 0, 16, 3), np.uint8)}, "expected the shape (n,h,w,c)"),
        ({"images": np.zeros((4, 10, 16, 11), np.uint8)}, "neither axis may hold the channels; say which: layout="),
        ({"images": np.zeros((4, 3, 16, 3), np.uint8)}, "either axis may hold the channels; say which: layout="),
        ({"images": np.zeros((4, 3071), np.uint8)}, "rows of 3,071 values are no square image in grey or RGB"),
        ({"images": np.zeros((4, 32, 32, 3), np.int64)}, "expected uint8 or floating point, found int64"),
        ({"images": np.full((4, 32, 32, 3), 255, np.float32)}, "record 0 has values up to 255"),
        ({"images": np.full((4, 32, 32, 3), 1e300)}, "record 0 has values up to 1e+300"),
        ({"images": random_images(4), "labels": np.zeros(3, int)}, "expected 4 labels, one an image, found 3"),
        ({"images": random_images(4), "labels": np.array([0, 1, -1, 0])}, "record 2 has the label -1"),
        ({"images": random_images(4), "labels": np.zeros(4)}, "expected integers or text, found float64"),
    ],
)
def test_unsuitable(tmp_path, name, arrays, message):
    write(tmp_path / name, **arrays)
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path / name, labelled="labels" in arrays)
    assert message in str(error.value) and str(tmp_path / "a") in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
def test_a_value_that_is_not_finite(tmp_path, name):
    images = scaled(random_images(100))
    images[41, 1, 2, 3] = np.nan
    write(tmp_path / name, images=images)
    with pytest.raises(DataError, match=r"image 41 has NaN"):
        open_dataset(tmp_path / name).read(slice(None))


def test_npy_cut_short(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, random_images(N))
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(DataError, match=r"a\.npy: record 10 is cut short; the header names 12 records"):
        open_dataset(path)


def test_npy_with_more_behind_it(tmp_path):
    """Of several arrays in one file the first was taken for the data."""
    with open(tmp_path / "a.npy", "wb") as file:
        for _ in range(2):
            np.save(file, random_images(N))
    with pytest.raises(DataError, match=r"a\.npy: [0-9]+ bytes more than the header names"):
        open_dataset(tmp_path / "a.npy")


def test_npy_with_a_long_header(tmp_path):
    """numpy's advice, to allow pickle, is not passed on."""
    np.save(tmp_path / "a.npy", np.zeros(3, np.dtype([(f"name{n}", "f4") for n in range(2000)])))
    with pytest.raises(DataError, match="Header info length .* is large") as error:
        open_dataset(tmp_path / "a.npy")
    assert "pickle" not in str(error.value)


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        open_dataset(tmp_path / "a.npy")


@pytest.mark.parametrize("write_npz", [np.savez, np.savez_compressed])
def test_npz_with_flipped_bytes(tmp_path, write_npz):
    """Each is reported as damage, or reads as the same values."""
    path = tmp_path / "a.npz"
    write_npz(path, images=random_images(N))
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 997):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert np.array_equal(open_dataset(path).read(slice(None)), scaled(random_images(N))), place
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("name", FORMATS)
def test_cut_short_anywhere(tmp_path, name):
    path = tmp_path / name
    write(path, images=random_images(N))
    content = path.read_bytes()
    for size in [*range(0, 200, 7), *range(200, len(content) - 1, 1999)]:
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"a\."):
            open_dataset(path).read(slice(None))


def test_hdf5_with_a_damaged_record(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=random_images(N), chunks=(1, 32, 32, 3), fletcher32=True)
        offset = images.id.get_chunk_info(5).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 100] ^= 1
    path.write_bytes(content)
    found = open_dataset(path)
    assert found.read([4, 6]).shape == (2, 3, 32, 32)
    with pytest.raises(DataError, match=r"a\.h5: images: record 5 cannot be read"):
        found.read([5])
    with pytest.raises(DataError, match=r"a\.h5: images: record 5 cannot be read"):
        found.read(slice(None))


def test_hdf5_values_in_other_files_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(3072 * 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (2, 3072), np.uint8, external=[(str(tmp_path / "secret"), 0, 6144)])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["images"] = h5py.ExternalLink("a.h5", "images")
    with pytest.raises(DataError, match="in other files"):
        open_dataset(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"b\.h5: images is a link, which is not followed; copy the data into the file"):
        open_dataset(tmp_path / "b.h5")


def test_arrays_that_might_have_been_meant_are_named(tmp_path):
    """Of `images` and `X` one was used without a word."""
    labels = np.arange(N)
    write(tmp_path / "a.npz", images=random_images(N), X=random_images(N), y=labels, labels=labels[::-1], other=labels)
    found = open_dataset(tmp_path / "a.npz")
    assert f"{tmp_path / 'a.npz'}: of the arrays images, labels are used, X, y are not" in found.notes
    write(tmp_path / "b.npz", x_train=random_images(N), x_test=random_images(N), x_val=random_images(N))
    for split in "train", "test", "all":
        notes = open_dataset(tmp_path / "b.npz", split=split).notes
        assert f"{tmp_path / 'b.npz'}: of the arrays x_train, x_test are used, x_val is not" in notes
    write(tmp_path / "c.npz", images=random_images(N), labels=labels, other=labels)
    assert open_dataset(tmp_path / "c.npz").notes == ()


def test_hdf5_links_are_named(tmp_path):
    """Images behind one were none, and labels were left out without a word."""
    h5py = pytest.importorskip("h5py")
    for name in "images", "labels":
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["there/images"], file["there/labels"] = random_images(N), np.arange(N)
            for other in "images", "labels":
                file[other] = h5py.SoftLink(f"/there/{other}") if other == name else file["there"][other]
        with pytest.raises(DataError, match=rf"{name}\.h5: {name} is a link, which is not followed"):
            open_dataset(tmp_path / f"{name}.h5")
    with h5py.File(tmp_path / "images.h5", "a") as file:
        file["x"] = file["there/images"]
    assert len(open_dataset(tmp_path / "images.h5")) == N, "the array that is there is used"


def test_what_is_joined_are_data_sets():
    with pytest.raises(ValueError, match="parts: expected one data set or several"):
        Joined("none", [])
    for parts in ([None], "ab", [np.zeros((2, 3, 4, 4))]):
        with pytest.raises(TypeError, match="parts: expected data sets"):
            Joined("odd", parts)


def test_what_is_joined_has_the_same_classes(tmp_path):
    """A fox became an emu: labels are numbers, and names were the longer list's."""
    names = np.array(["cat", "dog", "emu", "fox"])
    write(tmp_path / "all.npz", images=random_images(N), labels=np.arange(N) % 4, classes=names)
    write(tmp_path / "few.npz", images=random_images(N), labels=np.arange(N) % 2, classes=names[:2])
    write(tmp_path / "last.npz", images=random_images(N), labels=names[2:][np.arange(N) % 2])
    everything, few, last = (open_dataset(tmp_path / f"{name}.npz") for name in ("all", "few", "last"))
    assert Joined("both", [few, everything]).classes == tuple(names)
    with pytest.raises(DataError, match="different classes: class 0 is cat in one, emu in last.npz; expected the same names"):
        Joined("both", [last, everything])


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_files_are_closed(tmp_path, name):
    write(tmp_path / name, images=random_images(N))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        open_dataset(tmp_path / name).read([0])
        gc.collect()
    assert not told, told[0]


def with_header(path, header, content=b""):
    """An .npy of this header's text."""
    text = header.encode("latin-1")
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    return path


@pytest.mark.parametrize("shape", ["(True,8,8)", "(" + "1," * 100 + ")", "(2,False)"])
def test_shapes_that_are_none(tmp_path, shape):
    path = with_header(tmp_path / "x.npy", f"{{'descr':'|u1','fortran_order':False,'shape':{shape}}}", bytes(64))
    with pytest.raises(DataError, match=r"x\.npy: the header is damaged: shape \("):
        open_dataset(path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "images.npy")
    with pytest.raises(DataError, match=r"x\.npz: images\.npy: the header is damaged: shape \("):
        open_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize("packed", [False, True])
def test_text_of_no_letters(tmp_path, packed):
    """Of which Python makes no text: SystemError."""
    images = np.zeros((2, 8, 8), np.uint8)
    bad = np.array([0xFFFFFFFF, 65], np.uint32).view("<U1")
    (np.savez_compressed if packed else np.savez)(tmp_path / "x.npz", images=images, labels=bad)
    with pytest.raises(DataError, match=r"x\.npz: labels\.npy: damaged: text with a character of the number 0xffffffff"):
        open_dataset(tmp_path / "x.npz")
    np.savez(tmp_path / "i.npz", vectors=np.ones((2, 3), np.float32), ids=bad, metric="l2", made_by="", version=2)
    with pytest.raises(ValueError, match=r"i\.npz: ids\.npy: damaged: text"):
        Index.open(tmp_path / "i.npz")


def test_an_archive_that_names_places_outside_of_it(tmp_path):
    """zipfile's own words were "Invalid argument", of no file."""
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.arange(2))
    whole = (tmp_path / "x.npz").read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    for at in range(directory, len(whole)):
        (tmp_path / "x.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            open_dataset(tmp_path / "x.npz")
        except DataError as error:
            assert "x.npz" in str(error), at


def test_three_grey_images_that_may_be_one_in_colour(tmp_path):
    """np.save of one image (c,h,w)."""
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    found = open_dataset(tmp_path / "x.npy")
    (note,) = found.notes
    assert len(found) == 3 and "x.npy: the shape (3, 8, 8) is taken for 3 grey images; if it is one image (c,h,w), save" in note
    for said in {"layout": "nchw"}, {"image": (1, 8, 8)}:
        assert open_dataset(tmp_path / "x.npy", **said).notes == ()
    for size in (3, 8, 8), (3, 16, 16):  # As the commands say it: that of the networks.
        assert note in open_dataset(tmp_path / "x.npy", image=size).notes
    np.save(tmp_path / "x_labels.npy", np.arange(3))
    assert open_dataset(tmp_path / "x.npy").notes == ()


def test_two_arrays_of_one_name(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for _ in range(2):
            archive.write(tmp_path / "x.npy", "images.npy")
    with pytest.raises(DataError, match="has two arrays called images"):
        open_dataset(tmp_path / "x.npz")
