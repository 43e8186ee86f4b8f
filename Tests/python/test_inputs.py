"""What Model.encode and the trainers take: paths, PIL images, lists; labels as lists and pandas Series; Ctrl-C."""

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax import evaluation, judges, report
from deepinfomax.data import open_dataset
from deepinfomax.data.dataset import InMemory
from deepinfomax.encoded_files import read_encoded
from deepinfomax.search import Index, encoder_digest

RNG = np.random.default_rng(0)
TWO = np.array([1, 0])
#: Of two axes, it says that it can be gone through and cannot.
TABLE = memoryview(np.zeros((2, 2)))
PIXELS = RNG.integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    with dim.Model(0, "basic32") as model:
        yield model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of picture files in several sizes and modes."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("pictures")
    wide = image.fromarray(RNG.integers(0, 256, (40, 70, 3), np.uint8))
    wide.save(folder / "a.png")
    wide.convert("L").save(folder / "b.png")
    wide.convert("P").save(folder / "c.png")
    seen = wide.convert("RGBA")
    seen.putalpha(image.fromarray(RNG.integers(0, 256, (40, 70), np.uint8)))
    seen.save(folder / "d.png")
    turned = wide.getexif()
    turned[274] = 6
    wide.save(folder / "e.jpg", exif=turned)
    return folder


# ---- Images


def test_paths_and_pil_images_are_what_the_data_set_makes_of_them(model, pictures):
    from PIL import Image

    data = open_dataset(pictures, image=(3, 32, 32))
    expected = model.encode(data.read(slice(None)), features=False)
    paths = [pictures / name for name in data.ids]
    assert model.encode(paths, features=False).tobytes() == expected.tobytes()
    assert model.encode([os.fsencode(path) for path in paths], features=False).tobytes() == expected.tobytes()
    opened = [Image.open(path) for path in paths[:4]]  # Of a JPEG file the decoder may leave detail out.
    assert model.encode(opened, features=False).tobytes() == expected[:4].tobytes()
    assert model.encode(str(paths[1]), features=False).tobytes() == expected[1].tobytes()
    y, M = model.encode(opened[2])
    assert y.shape == (64,) and M.ndim == 3 and y.tobytes() == expected[2].tobytes()
    mixed = [paths[0], opened[1], data.read([2])[0]]
    assert model.encode(mixed, features=False).tobytes() == expected[:3].tobytes()


def test_the_architecture_says_how_they_get_their_size(pictures):
    for resize in "fit", "crop", "stretch":
        with dim.Model(0, dim.Architecture.preset("basic32", resize=resize)) as model:
            data = open_dataset(pictures / "a.png", image=(3, 32, 32), resize=resize)
            assert (model.encode(pictures / "a.png", features=False) == model.encode(data.read([0])[0], features=False)).all()
    with dim.Model(0, dim.Architecture.preset("basic32", resize="none")) as model:
        with pytest.raises(dim.data.DataError, match="a.png: expected images of 32x32 in RGB, found 70x40"):
            model.encode(pictures / "a.png")


def test_lists_of_arrays(model):
    expected = model.encode(PIXELS, features=False)
    assert (model.encode(list(PIXELS), features=False) == expected).all()
    floats = np.moveaxis(PIXELS, -1, 1).astype(np.float32) / np.float32(255)
    assert (model.encode(tuple(floats), features=False) == expected).all()
    with dim.Trainer(model) as trainer:
        assert trainer.evaluate(list(PIXELS)) == trainer.evaluate(PIXELS)


def test_files_that_are_no_pictures(model, tmp_path):
    pytest.importorskip("PIL")
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    os.mkfifo(tmp_path / "y.png")
    for name, reason in (
        ("x.png", "expected one of PNG"),
        ("y.png", "neither a file nor a folder"),
        ("", "is a folder, expected an image file"),
    ):
        with pytest.raises(dim.data.DataError, match=reason):
            model.encode([PIXELS[0], tmp_path / name])


# ---- Labels


def labels_of_all_kinds():
    kinds = [[1, 0, 2, 1, 0], (1, 0, 2, 1, 0), np.array([1, 0, 2, 1, 0], np.uint8), range(0, 5)]
    if importlib.util.find_spec("pandas"):
        import pandas

        kinds += [pandas.Series(kinds[0], index=list("abcde")), pandas.Series(kinds[0], dtype="Int64"), pandas.Index(kinds[0])]
    return kinds


class LikeASeries:
    """What numpy knows of a pandas Series."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(
    "labels", [*labels_of_all_kinds(), LikeASeries([1, 0, 2, 1, 0]), LikeASeries(np.array([1, 0, 2, 1, 0], object))]
)
def test_labels(model, labels):
    expected = np.array(list(labels) if not isinstance(labels, LikeASeries) else labels.values, np.int64)
    with dim.ClassifierTrainer(model, lr=1e-9) as trainer:
        assert (trainer.evaluate(PIXELS, labels).confusion == trainer.evaluate(PIXELS, expected).confusion).all()
    y = model.encode(PIXELS, features=False)
    assert evaluation.test_on_vectors(model, y, labels).loss == evaluation.test_on_vectors(model, y, expected).loss
    if importlib.util.find_spec("sklearn"):
        assert evaluation.linear_probe(y, labels, y, labels) == evaluation.linear_probe(y, expected, y, expected)
    assert evaluation.nearest_neighbours(y, labels, y, labels, 1) == 1


@pytest.mark.parametrize("name", ["nearest_neighbours", "linear_probe"])
def test_judges_of_what_is_no_data(name):
    """Of NaN came an accuracy, of others numpy's own words."""
    pytest.importorskip("sklearn")
    judge, y, labels = getattr(evaluation, name), np.random.default_rng(0).random((6, 3)), np.arange(6) % 2
    for sides, message in (
        ((y * np.nan, labels, y, labels), "train: expected finite numbers"),
        ((y, labels[:3], y, labels), "labels: expected shape"),
        ((y[:0], labels[:0], y, labels), "train: expected shape"),
        ((y, labels, y[:, :1], labels), "test: expected shape"),
        ((y, labels, y[:0], labels[:0]), "test: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            judge(*sides)


@pytest.mark.parametrize("labels", [[0.0] * 5, [True] * 5, ["a"] * 5, [None] * 5, [1, 2], [2**64] * 5, LikeASeries([1.5] * 5)])
def test_labels_that_are_none(model, labels):
    with dim.ClassifierTrainer(model) as trainer, pytest.raises((TypeError, ValueError), match="labels"):
        trainer.evaluate(PIXELS, labels)


# ---- Ctrl-C


@pytest.mark.parametrize("architecture", ["basic28", "resnet19_32"])
def test_pieces_are_the_same_bytes_as_one_call(architecture):
    with dim.Model(0, architecture) as model:
        images = RNG.random((70, *model.sizes.image), np.float32)
        found = {}

        def whole():  # Not the main thread: one call.
            found["whole"] = model.encode(images)

        thread = threading.Thread(target=whole)
        thread.start()
        thread.join()
        assert list(model._pieces(70))[0] == (0, 32)
        for a, b in zip(model.encode(images), found["whole"], strict=True):
            assert a.tobytes() == b.tobytes()
        model.train()
        assert list(model._pieces(70)) == [(0, 70)]  # Batch statistics are the whole batch's.


_INTERRUPTED = """
import json, signal, sys, time
import numpy as np
import deepinfomax as dim
signal.signal(signal.SIGINT, signal.default_int_handler)
model = dim.Model(0)
images = np.zeros((3000, 3, 32, 32), np.float32)
began = time.monotonic()
model.encode(images[:32], features=False)
model.encode(images[:32], features=False)
print(time.monotonic() - began, flush=True)
began = time.monotonic()
try:
    model.encode(images, features=False)
except KeyboardInterrupt:
    print(json.dumps({"interrupted": time.time(), "after": time.monotonic() - began}), flush=True)
"""


def test_ctrl_c_ends_an_encode_of_many_images():
    """3,000 images are 94 pieces of 32: it answers after one of them, whose length two measured ones tell."""
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED], stdout=subprocess.PIPE, text=True, env=os.environ | {"DIM_NUM_THREADS": "1"}
    )
    two = float(process.stdout.readline())
    time.sleep(two)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    found = json.loads(out)
    assert found["interrupted"] - sent < 1 + 10 * two, (found, two)


def test_floats_up_to_255_are_warned_of():
    """They were encoded without a word."""
    with dim.Model(0) as model:
        images = np.full((2, 3, 32, 32), 255, np.float32)
        with pytest.warns(
            UserWarning, match=r"images: values up to 255; .* should be in \[0,1\]: divide by 255, or give uint8"
        ) as caught:
            model.encode(images)
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="values up to 255"):
            dim.Trainer(model).step(images)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.encode(images.astype(np.uint8))
            model.encode(np.random.default_rng(0).normal(0, 3, images.shape))


def test_masks_are_no_values():
    with dim.Model(0) as model:
        images = np.ma.masked_less(np.random.default_rng(0).random((2, 3, 32, 32), np.float32), 0.5)
        labels = np.ma.array([0, 1], mask=[True, False])
        with pytest.raises(ValueError, match="labels: has masked values"), dim.ClassifierTrainer(model) as trainer:
            trainer.step(images.data, labels)
        with pytest.raises(ValueError, match="images: has masked values"):
            model.encode(images)
        np.testing.assert_array_equal(model.encode(images.filled(0))[0], model.encode(np.ma.array(images.filled(0)))[0])


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda value: dim.Model(value), "seed"),
        (lambda value: dim.Trainer(dim.Model(0), seed=value), "seed"),
        (lambda value: dim.Trainer(dim.Model(0), micro_batches=value), "micro_batches"),
        (lambda value: dim.Trainer(dim.Model(0)).fit(np.zeros((2, 3, 32, 32)), 0, seed=value), "seed"),
        (lambda value: dim.Trainer(dim.Model(0)).skip(value), "n"),
        (dim.set_num_threads, "n"),
    ],
)
def test_whole_numbers(call, name):
    for value in "a", 1.5, None, True:
        with pytest.raises(TypeError, match=f"{name}: expected an integer, .*, found {type(value).__name__}"):
            call(value)
    for value in -1, 2**64:
        with pytest.raises(ValueError, match=f"{name}: expected .*, found {value}"):
            call(value)


@pytest.mark.parametrize(
    "call, name, wrong",
    [
        (lambda value: dim.Trainer(dim.Model(0), lr=value), "lr", ("a", b"1", True)),
        (lambda value: dim.Trainer(dim.Model(0), encoder_lr=value), "encoder_lr", ("1", [])),
        (lambda value: dim.Trainer(dim.Model(0), alpha=value), "alpha", ("1", 10**400)),
        (lambda value: dim.Trainer(dim.Model(0), betas=value), "betas", (0.9, (0.9,), (0.9, "a"), (1, 2, 3))),
        (lambda value: dim.Trainer(dim.Model(0), occlusion=value), "occlusion", ("no", 2, [])),
        (lambda value: dim.Trainer(dim.Model(0), locations=value), "locations", (1.5, "a", True)),
        (lambda value: dim.Trainer(dim.Model(0), negatives=value), "negatives", (1.5, True)),
        (lambda value: dim.Trainer(dim.Model(0)).set_learning_rates(1, value), "discriminator", ("a", None)),
        (lambda value: setattr(dim.Trainer(dim.Model(0)), "lr", value), "lr", ("a", None, True)),
        (lambda value: setattr(dim.Trainer(dim.Model(0)), "encoder_lr", value), "encoder_lr", ("a", None)),
        (lambda value: setattr(dim.Trainer(dim.Model(0)), "discriminator_lr", value), "discriminator_lr", ("a", None)),
        (lambda value: dim.Trainer(dim.Model(0)).fit(np.zeros((2, 3, 32, 32)), 0, augment=value), "augment", (5, ["flip"])),
        (lambda value: setattr(dim.Trainer(dim.Model(0)), "on_gradients", value), "on_gradients", (5, "print")),
        (lambda value: dim.ClassifierTrainer(dim.Model(0), lr=value), "lr", ("a", None)),
        (lambda value: dim.ClassifierTrainer(dim.Model(0), betas=value), "betas", (0.9, None)),
        (lambda value: setattr(dim.ClassifierTrainer(dim.Model(0)), "lr", value), "lr", ("a",)),
    ],
)
def test_arguments_of_another_kind(call, name, wrong):
    for value in wrong:
        with pytest.raises(TypeError, match=f"^{name}: expected "):
            call(value)


@pytest.mark.parametrize(
    "call, name, wrong",
    [
        (lambda model, value: model.train(value), "mode", ("no", math.nan, None, 1, TWO)),
        (lambda model, value: model.encode(PIXELS, features=value), "features", ("no", 1, None, TWO)),
        (lambda model, value: dim.Model.open("x", untrusted=value), "untrusted", ("no", 1, None, TWO)),
        (lambda model, value: dim.Trainer.resume("x", untrusted=value), "untrusted", ("no", TWO)),
        (lambda model, value: dim.Model.open("x", untrusted=True, timeout=value), "timeout", ("5", True, [], TWO)),
        (
            lambda model, value: dim.Model.open("x", networks=value),
            "networks",
            (3, b"encoder", math.nan, True, TABLE, np.array("a")),
        ),
        (lambda model, value: model.encode(PIXELS, outputs=value), "outputs", (3, b"encoded", bytearray(b"fc"), TABLE)),
        (lambda model, value: setattr(model, "class_names", value), "class_names", (TABLE, np.array("a"), bytearray(b"a"))),
        (lambda model, value: dim.Trainer(model).fit(IMAGES, 1, callbacks=value), "callbacks", (3, TABLE)),
        (lambda model, value: dim.Trainer(model, betas=value), "betas", (3, TABLE)),
        (lambda model, value: dim.Trainer(model, eps=value), "eps", ("x", TWO)),
        (lambda model, value: dim.Trainer(model, negatives=value), "negatives", (TWO, [])),
        (lambda model, value: model.load_state_dict(value), "state_dict", (3, None, [("a", 1)], "ab")),
        (lambda model, value: model.load_state_dict(value, "encoder"), "state_dict", (3, [])),
        (lambda model, value: dim.Architecture.preset(value), "name", (None, 3, b"basic28", TWO)),
        (
            lambda model, value: Index(np.eye(2, dtype=np.float32), value),
            "ids",
            (3, {"a", "b"}, {"a": 1, "b": 2}, frozenset("ab"), TABLE),
        ),
        (lambda model, value: dim.data.Loader(IMAGES, 2, part=value), "part", (3, None, (0, "1"), TWO)),
        (lambda model, value: dim.data.Loader(IMAGES, 2, shuffle=value), "shuffle", ("no", 1)),
        (lambda model, value: dim.data.Loader(IMAGES, 2, drop_last=value), "drop_last", ("no", None)),
        (lambda model, value: open_dataset("digits", part=value), "part", (3, [], TWO)),
        (lambda model, value: model.save(value), "path", (3, None, [])),
        (lambda model, value: model.save(value, "hdf5"), "path", (3, None)),
        (lambda model, value: model.load(value), "path", (3, None)),
        (lambda model, value: dim.Model.open(value), "path", (3, None)),
        (lambda model, value: dim.Trainer(model).save(value), "path", (3, None)),
        (lambda model, value: dim.Trainer.resume(value), "path", (3, None)),
        (lambda model, value: Index(np.eye(2, dtype=np.float32)).save(value), "path", (3, None)),
        (lambda model, value: Index.open(value), "path", (3, None)),
        (lambda model, value: read_encoded(value), "path", (3, None)),
        (lambda model, value: open_dataset(value), "source", (3, [])),
        (lambda model, value: report.write(value), "folder", (3, None)),
        (lambda model, value: Index(np.eye(2, dtype=np.float32)).check_encoder(value), "model", (3, None)),
        (lambda model, value: Index(np.eye(2, dtype=np.float32)).check_images(value), "data", (3, "digits", TWO)),
        (lambda model, value: encoder_digest(value), "model", (3, None)),
    ],
)
def test_arguments_that_were_taken_for_something_else(model, call, name, wrong):
    """Any text was true; of others ctypes, numpy and Python spoke, without the argument's name."""
    before = model.training
    for value in wrong:
        with pytest.raises(TypeError, match=f"^{name}: expected .*, found "):
            call(model, value)
    assert model.training == before


@pytest.mark.parametrize(
    "call, name, wrong",
    [
        *(
            (lambda model, value, name=name: dim.Trainer(model, **{name: value}), name, (TWO, [], 3))
            for name in ("prior", "measure", "coordinates", "precision")
        ),
        (lambda model, value: dim.Trainer(model, timeout=value), "timeout", (math.nan, "x", [], 0, True, None, TWO, 10**400)),
        (lambda model, value: dim.ClassifierTrainer(model, loss=value), "loss", (TWO, [])),
        (lambda model, value: model.encode(PIXELS, outputs=(value,)), "outputs", ([], TWO, 3)),
        (lambda model, value: dim.Model.open("x", networks=[value]), "networks", ([], TWO, 3)),
        (lambda model, value: model.load_state_dict({}, value), "network", ([], TWO, "x")),
        (lambda model, value: Index(np.eye(2, dtype=np.float32), metric=value), "metric", (TWO, [], None)),
        *(
            (lambda model, value, name=name: open_dataset("digits", **{name: value}), name, (TWO, [], None))
            for name in ("split", "resize")
        ),
    ],
)
def test_arguments_that_are_none_of_the_accepted(model, call, name, wrong):
    """Of an array it was "the truth value is ambiguous", of a list "unhashable"."""
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name}: expected .*, found "):
            call(model, value)
    with pytest.raises(ValueError, match="^format is array.*; expected 'hdf5'"):
        model.save("x", TWO)


def test_json_text_that_begins_with_a_mark_of_its_encoding():
    """A file with one was read; the text was taken for a path."""
    assert dim.Architecture('\ufeff{"preset": "basic28"}') == dim.Architecture("basic28")


IMAGES = InMemory("four", np.zeros((4, 1, 8, 8), np.uint8), np.arange(4) % 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: dim.data.Loader(IMAGES, 1.5), TypeError, "batch: expected an integer"),
        (lambda: dim.data.Loader(IMAGES, 2, seed=-1), ValueError, "seed: expected"),
        (lambda: dim.data.Loader(IMAGES, 2, part=(3, 2)), ValueError, "part: expected"),
        (lambda: dim.data.Loader(IMAGES, 2, part=(0, 0)), ValueError, "part: expected"),
        (lambda: dim.data.Loader(IMAGES, 2, ahead=0), ValueError, "ahead: expected"),
        (lambda: dim.data.Loader(IMAGES, 2, augment="flip"), TypeError, "augment: expected"),
        (lambda: next(dim.data.Loader(IMAGES, 2).epoch(-1)), ValueError, "epoch: expected"),
        (lambda: next(dim.data.Loader(IMAGES, 2).epoch(0, -1)), ValueError, "start: expected"),
        (lambda: next(dim.data.Loader(IMAGES, 2).epoch(0, 0, 0)), ValueError, "step: expected"),
        (lambda: dim.data.Augmentation(flip="no"), TypeError, "flip: expected True or False"),
        (lambda: dim.data.Augmentation(crop=-1), ValueError, "crop: expected 0 to 1024 pixels, found -1"),
        (lambda: judges.FineTuning(steps=1.5), TypeError, "steps: expected an integer"),
        (lambda: judges.FineTuning(lr="a"), TypeError, "lr: expected a number"),
        (lambda: judges.FineTuning(lr=-1), ValueError, "lr: expected a finite value"),
        (lambda: judges.labelled_part(IMAGES.labels, -1), ValueError, "count: expected 0 or more"),
        (lambda: Index(np.zeros((2, 3), np.float32)).search(np.zeros((1, 3), np.float32), "a"), TypeError, "k: expected"),
        (lambda: Index(np.zeros((2, 3), np.float32)).duplicates("a"), TypeError, "threshold: expected a number"),
        (lambda: report.write("nowhere", images=0), ValueError, "images: expected 2 or more, found 0"),
        (lambda: report.write("nowhere", images=2.5), TypeError, "images: expected an integer"),
    ],
)
def test_arguments_of_what_is_no_trainer(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_numbers_of_numpy_are_numbers():
    assert dim.data.Augmentation(crop=np.int64(2), flip=np.True_) == dim.data.Augmentation(2, True)
    assert str(dim.data.Augmentation(crop=np.int64(2))) == "crop=2"
    assert judges.labelled_part([0, 1, 0, 1], np.int64(2)).shape == (2,)


def test_an_index_has_any_name(tmp_path):
    """Paths are bytes, as for weights."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.npz"
    Index(np.eye(3, dtype=np.float32)).save(path)
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.npz"] and len(Index.open(path)) == 3


def test_messages_steer_no_terminal(tmp_path):
    """Names of files were in them as they are: escape sequences, and bytes that no text file takes."""
    name = os.fsencode(tmp_path) + b"/\xff\x1b[31m"
    for ending in b".json", b".npz", b".csv", b".h5":
        with open(name + ending, "wb") as file:
            file.write(b"{")
    np.savez(open(name + b"2.npz", "wb"), encoded=np.zeros(3, np.float32))
    data = InMemory(os.fsdecode(name), np.zeros((4, 1, 9, 9), np.uint8), np.arange(4) % 2)
    with dim.Model(0, "basic28") as model, dim.Trainer(model) as trainer, dim.ClassifierTrainer(model) as classifier:
        for call in (
            lambda: model.save(name + b".pt"),
            lambda: trainer.save(name + b".pt"),
            lambda: classifier.save(name + b".safetensors"),
            lambda: dim.Architecture(name + b".json"),
            lambda: Index.open(name + b".npz"),
            lambda: read_encoded(name + b".npz"),
            lambda: read_encoded(name + b"2.npz"),
            lambda: read_encoded(name + b".txt"),
            lambda: report.write(name, path=name + b"/settings.json"),
            lambda: trainer.fit(data, 1),
            lambda: Index(np.eye(3, dtype=np.float32)).check_images(data),
        ):
            with pytest.raises(ValueError) as caught:
                call()
            message = str(caught.value)
            assert message.isprintable() and r"\xff\x1b[31m" in message, ascii(message)


def test_messages_advise_what_python_has():
    """They named functions of C."""
    with dim.Model(0) as model, dim.Trainer(model, micro_batches=2) as trainer:
        images = np.random.default_rng(0).random((4, 3, 32, 32), np.float32)
        with pytest.raises(dim.InvalidArgument, match="call Trainer.accumulate first$"):
            trainer.gradients()
        trainer.accumulate(images[:2])
        with pytest.raises(dim.InvalidArgument, match="call Trainer.update or Trainer.drop before a step$"):
            trainer.step(images)
        with pytest.raises(dim.InvalidArgument, match="call Trainer.update or Trainer.drop first$"):
            trainer.save("x.h5")
        with pytest.raises(dim.InvalidArgument, match=r"\(Model.eval\(\) uses the running ones\)$"):
            model.train().classify(np.zeros((1, 64), np.float32))
    with pytest.raises(dim.FileAccessError, match="cannot open /dim_trainer_update/dim_model_open: "):
        dim.Model.open("/dim_trainer_update/dim_model_open")  # No part of a path.


@pytest.mark.parametrize("kind", [dim.Trainer, dim.ClassifierTrainer])
def test_a_trainer_of_no_model(kind):
    with pytest.raises(TypeError, match="model: expected a Model, found NoneType"):
        kind(None)


def test_a_class_is_named_without_nul():
    """The name ended there, without a word."""
    with dim.Model(0) as model:
        with pytest.raises(ValueError, match="class_names: a name holds a NUL character"):
            model.class_names = ["a\0b", *"cdefghijk"]
        for names in (
            set("0123456789"),
            frozenset("0123456789"),
            None,
            7,
            "0123456789",
            b"0123456789",
            [b"x"] * 10,
            [*"012345678", None],
        ):
            with pytest.raises(TypeError, match="class_names: expected a list of texts, found "):
                model.class_names = names
        with pytest.raises(ValueError, match="class_names: .*is no UTF-8 text"):
            model.class_names = ["\ud800", *"123456789"]
        with pytest.raises(ValueError, match=r"names\[1\] and names\[9\] are the same, b"):
            model.class_names = [*"abcdefghi", "b"]
        assert model.class_names == []
