"""CIFAR-10's Python version, CIFAR-100 in both, STL-10, and torchvision's root folder."""

import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from data_fixtures import random_images, scaled, write_archive, write_cifar
from deepinfomax.data import DataError, open_dataset
from deepinfomax.data.plain_pickle import NotPlain, load

FINE = [f"fine{i}" for i in range(100)]
COARSE = [f"coarse{i}" for i in range(20)]


def python_2_pickle(value):
    """As the published files are written: protocol 2 by Python 2, text as bytes."""
    return OldPickler().dump(value)


class OldPickler:
    """Writes dicts, lists, bytes, integers and uint8 arrays by Python 2's opcodes, which Python 3 cannot."""

    def dump(self, value):
        self.memo = 0
        return b"\x80\x02" + self._of(value) + b"."

    def _put(self):
        self.memo += 1
        return b"q" + bytes([self.memo - 1]) if self.memo <= 256 else b"r" + (self.memo - 1).to_bytes(4, "little")

    def _of(self, value):
        if isinstance(value, dict):
            items = b"".join(self._of(key) + self._of(item) for key, item in value.items())
            return b"}" + self._put() + b"(" + items + b"u"
        if isinstance(value, list):
            return b"]" + self._put() + b"(" + b"".join(self._of(item) for item in value) + b"e"
        if isinstance(value, int):
            return b"K" + bytes([value]) if value < 256 else b"J" + value.to_bytes(4, "little", signed=True)
        if isinstance(value, str):
            return self._of(value.encode())
        if isinstance(value, bytes):
            short = len(value) < 256
            return (b"U" + bytes([len(value)]) if short else b"T" + len(value).to_bytes(4, "little")) + value + self._put()
        assert value.dtype == np.uint8
        shape = b"".join(b"M" + length.to_bytes(2, "little") for length in value.shape)
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n"
            + self._put()
            + b"cnumpy\nndarray\n"
            + self._put()
            + b"K\x00\x85"
            + self._put()
            + b"U\x01b"
            + self._put()
            + b"\x87"
            + self._put()
            + b"R"
            + self._put()
            + b"(K\x01"
            + shape
            + b"\x86"
            + self._put()
            + b"cnumpy\ndtype\n"
            + self._put()
            + b"U\x02u1K\x00K\x01\x87"
            + self._put()
            + b"R"
            + self._put()
            + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
            + self._put()
            + b"b"
            + b"\x89"
            + self._of(value.tobytes())
            + b"t"
            + self._put()
            + b"b"
        )


def rows(images):
    """uint8 (n,32,32,3) -> (n,3072)"""
    return np.moveaxis(images, -1, 1).reshape(len(images), -1)


def python_version(folder, dump, batches=2, records=4):
    folder.mkdir(parents=True)
    images = random_images((batches + 1) * records)
    labels = (np.arange(len(images)) % 10).tolist()
    for batch in range(batches + 1):
        part = slice(batch * records, (batch + 1) * records)
        names = [f"image_{i}.png" for i in range(part.start, part.stop)]
        value = {"batch_label": f"batch {batch}", "labels": labels[part], "data": rows(images[part]), "filenames": names}
        (folder / ("test_batch" if batch == batches else f"data_batch_{batch + 1}")).write_bytes(dump(value))
    from deepinfomax.data.cifar import CLASSES

    meta = {"num_cases_per_batch": records, "label_names": list(CLASSES), "num_vis": 3072}
    (folder / "batches.meta").write_bytes(dump(meta))
    return images, np.array(labels)


def hundred(folder, dump=None, n=8):
    """CIFAR-100: the binary version, or the Python version by `dump`."""
    folder.mkdir(parents=True)
    images = random_images(n + 4)
    fine, coarse = (np.arange(n + 4) * 9 % 100).tolist(), (np.arange(n + 4) * 7 % 20).tolist()
    for name, part in (("train", slice(0, n)), ("test", slice(n, n + 4))):
        if dump is None:
            records = np.concatenate([np.array([coarse[part], fine[part]], np.uint8).T, rows(images[part])], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        else:
            value = {
                "filenames": ["x"] * len(fine[part]),
                "batch_label": name,
                "fine_labels": fine[part],
                "coarse_labels": coarse[part],
                "data": rows(images[part]),
            }
            (folder / name).write_bytes(dump(value))
    if dump is None:
        (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
        (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    else:
        (folder / "meta").write_bytes(dump({"fine_label_names": FINE, "coarse_label_names": COARSE}))
    return images, np.array(fine), np.array(coarse)


DUMPS = {
    "python 2": python_2_pickle,
    "protocol 2": lambda value: pickle.dumps(value, 2),
    "protocol 4": lambda value: pickle.dumps(value, 4),
    "protocol 5": lambda value: pickle.dumps(value, 5),
    "protocol 0": lambda value: pickle.dumps(value, 0),
}


def packed(folder):
    path = folder.parent / (folder.name + ".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize("dump", DUMPS)
def test_cifar_10_python(tmp_path, dump):
    folder = tmp_path / "cifar-10-batches-py"
    images, labels = python_version(folder, DUMPS[dump])
    for source in (folder, tmp_path, packed(folder)):
        train, test = open_dataset(source, split="train", labelled=True), open_dataset(source, split="test")
        assert (len(train), len(test)) == (8, 4) and train.classes[9] == "truck"
        assert np.array_equal(train.read([7, 0]), scaled(images[[7, 0]])) and np.array_equal(train.labels, labels[:8])
        assert np.array_equal(test.read(slice(None)), scaled(images[8:]))
    one = open_dataset(folder / "data_batch_2", labelled=True)
    assert np.array_equal(one.read(slice(None)), scaled(images[4:8])) and one.classes[0] == "airplane"


@pytest.mark.parametrize("dump", [None, *DUMPS])
def test_cifar_100(tmp_path, dump):
    folder = tmp_path / ("cifar-100-binary" if dump is None else "cifar-100-python")
    images, fine, coarse = hundred(folder, dump and DUMPS[dump])
    for source in (folder, tmp_path, packed(folder)):
        train, test = open_dataset(source, split="train", labelled=True), open_dataset(source, part="test")
        assert (len(train), len(test), len(open_dataset(source))) == (8, 4, 12)
        assert np.array_equal(train.read([7, 0]), scaled(images[[7, 0]]))
        assert np.array_equal(train.labels, fine[:8]) and train.classes == tuple(FINE)
        assert np.array_equal(test.labels, fine[8:]) and np.array_equal(test.read([3]), scaled(images[11:]))
        grouped = open_dataset(source, labels="coarse", part="train")
        assert np.array_equal(grouped.labels, coarse[:8]) and grouped.classes == tuple(COARSE)
    one = open_dataset(folder / ("train.bin" if dump is None else "train"), labelled=True)
    assert np.array_equal(one.labels, fine[:8]) and one.classes == tuple(FINE), "names are in a file beside it"


def test_the_binary_version_is_taken_where_both_are(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin")
    python_version(tmp_path / "cifar-10-batches-py", DUMPS["protocol 4"])
    assert len(open_dataset(tmp_path)) == 24
    hundred(tmp_path / "cifar-100-binary")
    with pytest.raises(DataError, match="several data sets are below it; name one: cifar-10-batches-bin, cifar-100-binary"):
        open_dataset(tmp_path)


def test_cifar_10_has_one_kind_of_labels(tmp_path):
    write_cifar(tmp_path)
    assert open_dataset(tmp_path, labels="coarse").classes == open_dataset(tmp_path).classes


def test_a_single_bin_of_any_name(tmp_path):
    images, fine, _ = hundred(tmp_path / "x")
    shutil.move(tmp_path / "x" / "train.bin", tmp_path / "mine.bin")
    found = open_dataset(tmp_path / "mine.bin")
    assert np.array_equal(found.labels, fine[:8]) and np.array_equal(found.read([0]), scaled(images[:1]))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "train.bin").write_bytes((f / "train.bin").read_bytes()[:-9]), "train.bin: record 7 is cut short"),
        (
            lambda f: (f / "train.bin").write_bytes(b"\0\x64" + (f / "train.bin").read_bytes()[2:]),
            "record 0 is damaged: label 100",
        ),
        (lambda f: (f / "fine_label_names.txt").write_text("a\nb\n"), "expected 100 names of classes, found 2"),
        (lambda f: (f / "fine_label_names.txt").write_text("a\n" * 100), "classes 0 and 1 have the same name, 'a'"),
    ],
)
def test_damaged_cifar_100(tmp_path, damage, message):
    hundred(tmp_path / "x")
    damage(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "x")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": None}, "expected data of uint8"),
        ({"data": np.zeros((4, 3071), np.uint8)}, r"expected data of uint8 \(n, 3072\), found uint8 \(4, 3071\)"),
        ({"data": np.zeros((4, 3072), np.int64)}, "expected data of uint8"),
        ({"labels": [1, 2, 3]}, "expected 4 labels, one an image, found 3"),
        ({"labels": [1, 2, 3, 10]}, "record 3 is damaged: label 10, expected 0 to 9"),
        ({"labels": [1, 2, 3, 1 << 80]}, "record 3 is damaged: label 1208925819614629174706176"),
        ({"labels": ["a"] * 4}, "expected labels, a list of integers, found one that holds str"),
        ({"labels": 7}, "expected labels, a list of integers, found int"),
    ],
)
def test_unsuitable_dicts(tmp_path, change, message):
    python_version(tmp_path / "x", DUMPS["protocol 4"])
    path = tmp_path / "x" / "data_batch_1"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | change))
    for source in (tmp_path / "x", path):
        with pytest.raises(DataError, match=message):
            open_dataset(source)


# ---- Pickles


class Runs:
    """What an attacker pickles."""

    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


ATTACKS = {
    "os.system": lambda marker: Runs(os.system, f"touch '{marker}'"),
    "open": lambda marker: Runs(open, marker, "w"),
    "eval": lambda marker: Runs(eval, f"open({marker!r}, 'w')"),
    "getattr": lambda marker: Runs(getattr, "x", "upper"),
    "bytes": lambda marker: Runs(bytes, 1 << 40),
    "numpy.zeros": lambda marker: Runs(np.zeros, 1 << 40),
    "numpy.load": lambda marker: Runs(np.load, marker),
    "an array of objects": lambda marker: np.array([Runs(open, marker, "w")], object),
    "a class": lambda marker: Runs,
    "a float": lambda marker: 1.5,
    "a set": lambda marker: {1, 2},
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_run_nothing(tmp_path, attack, protocol):
    marker = str(tmp_path / "it-ran")
    content = pickle.dumps({"data": ATTACKS[attack](marker), "labels": [0]}, protocol)
    with pytest.raises(NotPlain):
        load(content)
    folder = tmp_path / "x"
    python_version(folder, DUMPS["protocol 4"])
    (folder / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_1: not a pickled dict of arrays, lists and text"):
        open_dataset(folder)
    assert not os.path.exists(marker)


def test_what_a_plain_pickle_may_hold():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    value = {
        "a": [1, -5, 1 << 70, True, None, b"x", "é", "\u20ac" * 300, b"y" * 70_000],
        "b": (1, (2, [3])),
        4: {},
        "arrays": [array, np.asfortranarray(array), array.astype(">u2"), np.zeros((0, 3), np.uint8)],
    }
    for protocol in range(6):
        found = load(pickle.dumps(value, protocol))
        assert found["a"] == value["a"] and found["b"] == [1, [2, [3]]] and found[4] == {}
        for one, other in zip(found["arrays"], value["arrays"], strict=True):
            assert np.array_equal(one, other) and one.shape == other.shape


def build(shape, dtype, content):
    """A pickled array of any shape, type and bytes."""
    state = pickle.dumps((1, shape, None, False, content), 2)[2:-1]
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    kind = b"cnumpy\ndtype\nX" + len(dtype).to_bytes(4, "little") + dtype.encode() + b"\x89\x88\x87R"
    return head + state.replace(b"N", kind, 1) + b"b."


def test_arrays_that_promise_more_than_is_there():
    assert np.array_equal(load(build((2, 2), "u1", b"abcd")), [[97, 98], [99, 100]])
    for content in (
        build((1 << 40,), "u1", b"abcd"),
        build((2, -2), "u1", b""),
        build((2,), "O", b"abcd"),
        build((4,), "V1", b"abcd"),
        build(("x",), "u1", b"abcd"),
        build((2, 2), "u1", b"abc"),
    ):
        with pytest.raises(NotPlain):
            load(content)


def test_pickles_nested_deep_and_places_far_out():
    for content in (
        b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x04Nr\xff\xff\xff\xff" + b"0" * 3 + b".",  # A place in a table of 2^32 that nobody makes.
        b"\x80\x02B\xff\xff\xff\x7f" + b"x",
        b"\x80\x04\x8e" + b"\xff" * 8,
        b"I" + b"9" * 100_000 + b"\n.",
        b"(((" + b".",
        b"}}s.",
        b"]N\x85b.",
        b"",
        b".",
    ):
        with pytest.raises(NotPlain):
            load(content)


def test_a_list_that_holds_itself():
    own = []
    own.append(own)
    with pytest.raises(NotPlain, match="holds itself"):
        load(pickle.dumps(own))


def test_lists_that_multiply():
    """10^15 numbers, each list of ten times the one before: they are visited once."""
    value = [1]
    for _ in range(15):
        value = [value] * 10
    found = load(pickle.dumps(value))
    for _ in range(15):
        assert len(found) == 10 and found[0] is found[9]
        found = found[0]
    assert found == [1]


def test_millions_of_empty_lists(monkeypatch):
    from deepinfomax.data import plain_pickle

    monkeypatch.setattr(plain_pickle, "_MOST_STEPS", 10_000)
    content = b"\x80\x02(" + b"]" * 9_990 + b"l."
    assert len(load(content)) == 9_990
    with pytest.raises(NotPlain, match="millions of values"):
        load(b"\x80\x02(" + b"]" * 10_010 + b"l.")


def test_damaged_pickles(tmp_path):
    content = python_2_pickle({"data": rows(random_images(2)), "labels": [1, 2], "name": "x"})
    chooser = np.random.RandomState(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(content)
        for place in chooser.randint(0, len(damaged) - 6144 if chooser.rand() < 0.5 else len(damaged), 3):
            damaged[place] = chooser.randint(256)
        if chooser.rand() < 0.1:
            damaged = damaged[: chooser.randint(len(damaged))]
        try:
            load(bytes(damaged))
        except NotPlain:
            refused += 1
    assert refused > 200


# ---- STL-10


def stl(folder, names=True):
    """Returns images, uint8 (n,96,96,3) by part, and labels."""
    folder.mkdir(parents=True)
    images, labels = {}, {}
    for seed, (part, count) in enumerate((("train", 12), ("test", 6), ("unlabeled", 4))):
        images[part] = np.random.RandomState(seed).randint(0, 256, (count, 96, 96, 3)).astype(np.uint8)
        # (n, channels, columns, rows)
        (folder / f"{part}_X.bin").write_bytes(images[part].transpose(0, 3, 2, 1).tobytes())
        labels[part] = np.arange(count) % 10
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes(bytes((labels[part] + 1).tolist()))
    if names:
        (folder / "class_names.txt").write_text("\n".join(f"name{i}" for i in range(10)) + "\n")
    return images, labels


@pytest.mark.parametrize("names", [True, False])
def test_stl_10(tmp_path, names):
    images, labels = stl(tmp_path / "stl10_binary", names)
    for source in (tmp_path, tmp_path / "stl10_binary"):
        found = open_dataset(source, labelled=True)
        assert found.image_size == (3, 96, 96) and len(found) == 12 and found.classes[9] == ("name9" if names else "truck")
        assert np.array_equal(found.read([11, 0]), scaled(images["train"][[11, 0]]))
        assert np.array_equal(found.labels, labels["train"])
        assert np.array_equal(open_dataset(source, part="test").labels, labels["test"])
        assert len(open_dataset(source, split="test")) == 6 and len(open_dataset(source, split="validation")) == 1
        unlabelled = open_dataset(source, part="unlabeled")
        assert unlabelled.labels is None and np.array_equal(unlabelled.read([3]), scaled(images["unlabeled"][3:]))
        with pytest.raises(DataError, match="there are no labels; expected them in unlabeled_y.bin"):
            open_dataset(source, part="unlabeled", labelled=True)
        with pytest.raises(DataError, match="no images of the part 't10k'; found train, test, unlabeled"):
            open_dataset(source, part="t10k")
    with pytest.raises(DataError, match="test_X.bin: no images of the part 'train'; found test"):
        open_dataset(tmp_path / "stl10_binary" / "test_X.bin", part="train")
    with pytest.raises(DataError, match="these are the labels; name the file of the images, train_X.bin"):
        open_dataset(tmp_path / "stl10_binary" / "train_y.bin")
    one = open_dataset(tmp_path / "stl10_binary" / "test_X.bin", labelled=True)
    assert np.array_equal(one.read([5]), scaled(images["test"][5:]))
    small = open_dataset(tmp_path, image=(1, 32, 32), resize="stretch")
    assert small.read([0]).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda f: (f / "train_X.bin").write_bytes(bytes(27648 * 12 - 1)),
            "train_X.bin: record 11 is cut short: 27,647 of 27,648",
        ),
        (lambda f: (f / "train_y.bin").write_bytes(bytes([1] * 11)), "train_y.bin: expected 12 labels, one an image, found 11"),
        (lambda f: (f / "train_y.bin").write_bytes(bytes([1] * 11 + [0])), "record 11 is damaged: label 0, expected 1 to 10"),
        (lambda f: (f / "class_names.txt").write_text("a\n"), "expected 10 names of classes, found 1"),
        (lambda f: (f / "class_names.txt").write_text("a\n" * 10), "class_names.txt: classes 0 and 1 have the same name, 'a'"),
        (lambda f: (f / "class_names.txt").write_text("a\n" * 99_999), "expected the names of 10 classes, found 199,998 bytes"),
    ],
)
def test_damaged_stl_10(tmp_path, damage, message):
    stl(tmp_path / "x")
    damage(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "x", labelled=True)


def test_other_archives(tmp_path):
    stl(tmp_path / "stl10_binary")
    with pytest.raises(DataError, match="this is STL-10; unpack it, and name the folder stl10_binary"):
        open_dataset(packed(tmp_path / "stl10_binary"))
    with tarfile.open(tmp_path / "two.tar", "w") as archive:  # Of which one was taken.
        for folder in "a", "b":
            archive.addfile(tarfile.TarInfo(f"{folder}/data_batch_1.bin"), io.BytesIO())
    with pytest.raises(DataError, match="holds two files data_batch_1.bin, b/data_batch_1.bin is one of them"):
        open_dataset(tmp_path / "two.tar")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    with pytest.raises(DataError, match="expected CIFAR-10 or CIFAR-100 .* found none of their files"):
        open_dataset(tmp_path / "x.tar")


@pytest.mark.parametrize("names", [("train", "test"), ("test_batch", "other"), ("train", "meta")])
def test_folders_of_classes_with_such_names_are_folders_of_images(tmp_path, names):
    from data_fixtures import png

    pytest.importorskip("PIL")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(random_images(1)[0]))
    assert len(open_dataset(tmp_path)) == 2


@pytest.mark.parametrize("form", ["binary", "archive", "python", "stl10"])
def test_names_of_classes_that_are_not_utf_8(tmp_path, form):
    r"""As names of files: the byte as \xNN. Two names that differ in such a byte were one."""
    names = [b"caf\xe9", b"caf\xe8", "caf\u00e9".encode(), *(b"class %d" % number for number in range(7))]
    source = tmp_path / "x"
    if form == "stl10":
        stl(source)
        (source / "class_names.txt").write_bytes(b"\n".join(names))
    elif form == "python":
        python_version(source, lambda value: pickle.dumps(value, 4))
        (source / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 4))
    else:
        write_cifar(source)
        (source / "batches.meta.txt").write_bytes(b"\r\n".join(names) + b"\n")
        if form == "archive":
            write_archive(tmp_path / "x.tar.gz", source)
            source = tmp_path / "x.tar.gz"
    found = open_dataset(source, labelled=True).classes
    assert found == ("caf\\xe9", "caf\\xe8", "caf\u00e9", *(f"class {number}" for number in range(7)))
