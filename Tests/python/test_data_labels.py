"""Labels as people save them: what the classes are, and what is said of labels that cannot be."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from data_fixtures import write_idx
from deepinfomax.data import DataError, MissingPackage, open_dataset
from weights_fixtures import CHILD


def labelled(path, labels, images=None, **more):
    np.savez(path, images=np.zeros((len(labels), 4, 4), np.uint8) if images is None else images, labels=labels, **more)
    return open_dataset(path, labelled=True)


@pytest.mark.parametrize(
    "labels, classes",
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], tuple(map(str, range(1, 11)))),
        ([3, 60, 3], ("3", "60")),
        ([0, 1, 2, 2], ("0", "1", "2")),
        ([7, 7, 7], ("7",)),
        ([10**15, 5], ("5", str(10**15))),
        (["owl", "cat", "owl", "ärger"], ("cat", "owl", "ärger")),
    ],
)
def test_the_values_that_are_there_are_the_classes(tmp_path, labels, classes):
    """1 to 10 were called eleven classes, {3, 60} sixty-one."""
    found = labelled(tmp_path / "x.npz", np.array(labels))
    assert found.classes == classes
    assert [found.class_name(i) for i in range(len(labels))] == list(map(str, labels))
    assert sorted(set(found.labels.tolist())) == list(range(len(classes)))


def test_kinds_of_integers(tmp_path):
    for kind in ("u1", ">i2", "<u8", ">u4", "S3"):
        labels = np.array([3, 60, 3]).astype(kind)
        assert labelled(tmp_path / "x.npz", labels).classes == ("3", "60"), kind
        assert labelled(tmp_path / "x.npz", labels.reshape(-1, 1)).labels.tolist() == [0, 1, 0]
    assert labelled(tmp_path / "x.npz", np.array([2**64 - 1, 0], np.uint64)).classes == ("0", str(2**64 - 1))


def test_texts_of_varying_length(tmp_path):
    """As h5py writes lists of str; they were called no text."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((4, 4, 4), np.uint8)
        file["labels"] = ["owl", "b\u00fcffel", "owl", "a much longer name"]
    data = open_dataset(tmp_path / "x.h5")
    assert data.classes == ("a much longer name", "b\u00fcffel", "owl") and data.labels.tolist() == [2, 1, 2, 0]
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["images"], file["labels"], file["classes"] = np.zeros((4, 4, 4), np.uint8), [0, 1, 1, 0], ["cat", "d\u00f6g"]
    assert open_dataset(tmp_path / "y.h5").classes == ("cat", "d\u00f6g")
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file["images"], file["labels"] = np.zeros((4, 4, 4), np.uint8), [0, 1, 1, 0]
        file.create_dataset("classes", data=[b"cat", b"\xff"], dtype=h5py.string_dtype())
    with pytest.raises(DataError, match="classes: record 1 is not UTF-8"):
        open_dataset(tmp_path / "z.h5")


def test_both_parts_are_numbered_together(tmp_path):
    images = np.zeros((3, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=[3, 60, 60], x_test=images, y_test=[60, 99, 3])
    train, test = (open_dataset(tmp_path / "x.npz", split=split) for split in ("train", "test"))
    assert train.classes == test.classes == ("3", "60", "99")
    assert train.labels.tolist() == [0, 1, 1] and test.labels.tolist() == [1, 2, 0]


def test_names_and_labels(tmp_path):
    names = np.array(["cat", "dog", "owl"])
    assert labelled(tmp_path / "x.npz", np.array([2, 0]), classes=names).class_name(0) == "owl"
    assert labelled(tmp_path / "x.npz", np.array([0, 0]), classes=names).classes == ("cat", "dog", "owl")
    with pytest.raises(DataError, match="record 1 has the label 3, expected 0 to 2; they are counted from 1: subtract 1"):
        labelled(tmp_path / "x.npz", np.array([1, 3]), classes=names)
    with pytest.raises(DataError, match="record 1 has the label 3, expected 0 to 2$"):
        labelled(tmp_path / "x.npz", np.array([0, 3]), classes=names)
    with pytest.raises(DataError, match="record 0 has the label 18446744073709551615, expected 0 to 2"):
        labelled(tmp_path / "x.npz", np.array([2**64 - 1, 0], np.uint64), classes=names)
    with pytest.raises(DataError, match="places among the 3 names of classes, found text"):
        labelled(tmp_path / "x.npz", np.array(["cat", "owl"]), classes=names)
    with pytest.raises(DataError, match="x.npz: classes: classes 0 and 2 have the same name, 'cat'"):
        labelled(tmp_path / "x.npz", np.array([1, 0]), classes=np.array(["cat", "dog", "cat"]))


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([1.0, 2.0]), "expected integers or text, found float64"),
        (np.array([True, False]), "expected integers or text, found bool"),
        (np.array([1, -1]), "record 1 has the label -1, expected 0 or more"),
        (np.array([b"\xff", b"a"]), "a label is not UTF-8, b'.xff' of record 0"),
        (np.zeros((2, 2), int), r"expected 2 labels, one an image, found the shape \(2, 2\)"),
    ],
)
def test_labels_that_cannot_be(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        labelled(tmp_path / "x.npz", labels, np.zeros((2, 4, 4), np.uint8))


def test_integers_in_one_part_and_text_in_another(tmp_path):
    images = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=[1, 2], x_test=images, y_test=["1", "2"])
    with pytest.raises(DataError, match="integers in one part and text in another"):
        open_dataset(tmp_path / "x.npz")


def test_idx_labels_from_one(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((10, 4, 4), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(1, 11, dtype=np.uint8))
    assert len(open_dataset(tmp_path).classes) == 10


# ---- The package


def test_a_missing_package_can_be_pickled():
    error = MissingPackage("h5py", "reading HDF5 files needs", extra="cli", advice="or not")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingPackage and str(again) == str(error) and "[cli]" in str(again)
    assert str(pickle.loads(pickle.dumps(DataError("a\x1b")))) == r"a\x1b"


def test_a_missing_package_does_not_hang_a_pool():
    code = (
        "import multiprocessing\nfrom deepinfomax.data import MissingPackage\n"
        "def work(_): raise MissingPackage('h5py', 'reading needs')\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "        try: pool.map_async(work, [1]).get(20)\n"
        "        except MissingPackage as error: print('it came:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=CHILD, timeout=100)
    assert done.stdout.startswith("it came: reading needs h5py"), done.stderr


def test_importing_the_package_makes_data_reachable():
    code = "import deepinfomax; print(deepinfomax.data.open_dataset.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=CHILD)
    assert done.stdout == "open_dataset\n", done.stderr


def test_data_sets_in_a_pool(tmp_path):
    """HDF5 files are opened anew in a child: the file's place would be shared with the parent."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.arange(64, dtype=np.uint8).repeat(16).reshape(64, 4, 4)
    code = (
        "import multiprocessing, sys\nfrom deepinfomax.data import open_dataset\n"
        "data = open_dataset(sys.argv[1])\n"
        "def work(i): return float(data.read([i])[0, 0, 0, 0]) * 255\n"
        "def other(subset): return len(subset.read(slice(None)))\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        found = pool.map(work, range(64), 1)\n"
        "        print([round(x) for x in found] == list(range(64)), pool.map(other, [data.subset([1, 2]), data[3:6]]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.h5")]
    done = subprocess.run(command, capture_output=True, text=True, env=CHILD, timeout=100)
    assert done.stdout == "True [2, 3]\n", done.stderr


@pytest.mark.parametrize("kind", ["U{}", "S{}", "varying"])
def test_texts_of_more_characters_than_a_name_has(tmp_path, kind):
    """Whatever they are stored as, one bound; up to it they are read."""
    h5py = pytest.importorskip("h5py")
    images = np.zeros((2, 4, 4), np.uint8)
    for count in 4096, 4097:
        names = []
        if kind != "varying":
            labels, names = np.array(["a" * count, "b"], kind.format(count)), ["x.npz", "x.npy"]
            np.savez(tmp_path / "x.npz", images=images, labels=labels)
            np.save(tmp_path / "x.npy", images)
            np.save(tmp_path / "x_labels.npy", labels)
        if kind != "U{}":
            with h5py.File(tmp_path / "x.h5", "w") as file:
                file["images"] = images
                file["labels"] = labels if kind == "S{}" else ["a" * count, "b"]
            names.append("x.h5")
        for name in names:
            if count == 4096:
                assert open_dataset(tmp_path / name).classes == ("a" * count, "b")
                continue
            with pytest.raises(DataError, match="labels.*: expected texts of up to 4,096 characters, found up to 4,097"):
                open_dataset(tmp_path / name)


def test_classes_whose_names_are_written_alike(tmp_path):
    """The byte 0xE9 and four characters: images of the one were counted for the other."""
    with pytest.raises(DataError, match=r"x\.npz: labels: classes 0 and 1 have names that are both written caf\\xe9"):
        labelled(tmp_path / "x.npz", np.array(["caf\udce9", "caf\\xe9"]))


def test_a_value_that_an_enumeration_does_not_name(tmp_path):
    """It was a class of its own."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((4, 4, 4), np.uint8)
        file.create_dataset("labels", data=[0, 1, 7, 0], dtype=h5py.enum_dtype({"dog": 0, "cat": 1}, basetype="i1"))
    with pytest.raises(DataError, match="labels: damaged: record 2 has the value 7, which its enumeration does not name"):
        open_dataset(tmp_path / "x.h5")


def test_names_of_an_enumeration_in_hdf5(tmp_path):
    """The classes were "0" and "1"."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((4, 4, 4), np.uint8)
        file.create_dataset("labels", data=[0, 1, 1, 0], dtype=h5py.enum_dtype({"dog": 0, "cat": 1}, basetype="i1"))
    found = open_dataset(tmp_path / "x.h5")
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [1, 0, 0, 1]
