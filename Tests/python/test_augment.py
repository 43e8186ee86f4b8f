"""Random crops and mirrored images: by their formulas, and the same whatever the order."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import dim
from deepinfomax import Model, Trainer
from deepinfomax.data import Augmentation, Loader, open_dataset
from deepinfomax.run_folder import RunFolder

TINY = json.loads((Path(__file__).parent / "digits8.json").read_text())


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def words(seed, epoch, image):
    key = mix((mix((mix(seed % 2**64) + epoch) % 2**64) + image) % 2**64)
    return [mix((key + (k + 1) * 0x9E3779B97F4A7C15) % 2**64) for k in range(3)]


def images(n, size=(3, 7, 5)):
    return np.random.default_rng(0).random((n, *size), np.float32)


def test_the_finaliser_is_splitmix64s():
    """The first outputs of SplitMix64 from the state 0, as its authors' program gives them."""
    assert [mix(k * 0x9E3779B97F4A7C15 % 2**64) for k in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_by_the_formula(seed):
    x = images(12)
    indices = np.arange(12) * 5 + 3
    found = Augmentation(crop=2, flip=True).apply(x, indices, seed, 9)
    flipped = 0
    for image, index, changed in zip(x, indices.tolist(), found, strict=True):
        top, left, mirror = words(seed, 9, index)
        around = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        i, j = (top >> 32) * 5 >> 32, (left >> 32) * 5 >> 32
        expected = around[:, i : i + 7, j : j + 5]
        if mirror >> 63:
            flipped += 1
            expected = expected[..., ::-1]
        assert np.array_equal(changed, expected)
    assert 0 < flipped < 12


def test_an_image_is_changed_alike_in_any_company():
    x, change = images(9), Augmentation(crop=3, flip=True)
    order = np.array([4, 0, 8, 2, 6, 1, 7, 3, 5])
    whole = change.apply(x, np.arange(9), 5, 2)
    assert np.array_equal(change.apply(x[order], order, 5, 2), whole[order])
    assert np.array_equal(change.apply(x[3:4], np.array([3]), 5, 2), whole[3:4])
    assert not np.array_equal(change.apply(x, np.arange(9), 5, 3), whole)
    assert not np.array_equal(change.apply(x, np.arange(9), 6, 2), whole)


def test_every_place_is_as_likely():
    """Of 90,000 crops at 9 places each way; a count's standard deviation is 94."""
    x = np.zeros((1, 1, 5, 5), np.float32)
    x[0, 0, 2, 2] = 1
    found = Augmentation(crop=1).apply(np.repeat(x, 90_000, 0), np.arange(90_000), 1, 0)
    counts = found.sum(0)[0, 1:4, 1:4]
    assert counts.sum() == 90_000 and np.abs(counts - 10_000).max() < 6 * 94


@pytest.mark.parametrize("text", ["", "flip", "crop=4", "crop=4,flip", "none", "flip, crop=2"])
def test_texts(text):
    change = Augmentation.parse(text)
    assert Augmentation.parse(str(change)) == change and bool(change) == (text not in ("", "none"))


@pytest.mark.parametrize(
    "text",
    [
        "crop",
        "crop=0",
        "crop=-1",
        "crop=1025",
        "crop=1e3",
        "flip=1",
        "turn",
        "crop=4 flip",
        ",",
        "flip,flip",
        "crop=1,crop=2",
        "crop=" + "9" * 5000,
    ],
)
def test_texts_that_are_none(text):
    with pytest.raises(ValueError, match="expected crop=PIXELS"):
        Augmentation.parse(text)


def test_a_loader_from_the_middle(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(1).integers(0, 256, (20, 8, 8, 1), np.uint8))
    data = open_dataset(tmp_path / "x.npz")
    change = Augmentation(crop=2, flip=True)
    loader = Loader(data, 4, seed=3, augment=change)
    batches = list(loader.epoch(2))
    for batch in batches:
        assert np.array_equal(batch.images, change.apply(data.read(batch.indices), batch.indices, 3, 2))
    again = list(loader.epoch(2, start=3))
    assert [np.array_equal(a.images, b.images) for a, b in zip(batches[3:], again, strict=True)] == [True, True]
    plain = next(Loader(data, 4, seed=3).epoch(2))
    assert np.array_equal(plain.indices, batches[0].indices) and not np.array_equal(plain.images, batches[0].images)


@pytest.mark.parametrize("kind", ["data set", "array", "bytes"])
def test_fit(tmp_path, kind):
    """As by hand, stopped in the middle of an epoch or not; a DataLoader's batches are refused."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels)
    data = open_dataset(tmp_path / "x.npz")
    given = {"data set": data, "array": data.read(slice(None)), "bytes": pixels}[kind]
    with Model(0, architecture=TINY) as model, Trainer(model) as trainer:
        by_hand = [
            trainer.step(batch.images)
            for epoch in range(2)
            for batch in Loader(data, 6, seed=5, augment=Augmentation(2, True)).epoch(epoch)
        ]
        expected = model.state_dict()
    with Model(0, architecture=TINY) as model, Trainer(model) as trainer:
        fitted = trainer.fit(given, 2, batch=6, seed=5, augment="crop=2,flip")
        found = model.state_dict()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert fitted[1].result.total == pytest.approx(np.mean([losses.total for losses in by_hand[4:]]))
    with (
        Model(0, architecture=TINY) as model,
        Trainer(model) as trainer,
        pytest.raises(ValueError, match="augment: dataset gives"),
    ):
        trainer.fit(_Batches(), 1, augment="flip")


class _Batches:
    def __iter__(self):
        yield images(4, (1, 8, 8))


def test_the_command(tmp_path):
    """Interrupted after an epoch and resumed, or not; on one thread or two; and not the run without."""
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(1).integers(0, 256, (40, 8, 8), np.uint8))
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))

    def train(name, *arguments):
        done = dim(
            "train",
            "--data",
            "x.npz",
            "--architecture",
            "tiny.json",
            "--no-plot",
            "--batch",
            8,
            "--output",
            name,
            *arguments,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr

    options = ("--augment", "crop=1,flip", "--coordinates", "absolute", "--occlusion", "--prior", "adversarial")
    train("whole", "--epochs", 3, "--threads", 1, *options)
    train("parts", "--epochs", 2, "--threads", 2, *options)
    done = dim("train", "--resume", "parts", "--epochs", 3, "--no-plot", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "whole" / "weights.h5").read_bytes() == (tmp_path / "parts" / "weights.h5").read_bytes()
    train("config", "--epochs", 3, "--config", "whole/settings.json")
    assert (tmp_path / "whole" / "weights.h5").read_bytes() == (tmp_path / "config" / "weights.h5").read_bytes()
    train("plain", "--epochs", 3, *options[2:])
    rows = [RunFolder(tmp_path / name).read_metrics() for name in ("whole", "plain")]
    assert rows[0][1].total != rows[1][1].total
    steps = [row for row in rows[0] if row.phase == "train"]
    for row in steps:
        names = (
            "coordinates",
            "local_information",
            "local_score",
            "gradient_norm",
            "encoder_norm",
            "coordinates_d_norm",
            "prior_distance",
        )
        assert all(math.isfinite(getattr(row, name)) for name in names)
    validation = [row for row in rows[0] if row.phase == "validation"]
    assert all(math.isfinite(row.coordinates) and math.isnan(row.gradient_norm) for row in validation)
    refused = dim("train", "--augment", "crop=x", cwd=tmp_path)
    assert refused.returncode == 2 and "--augment: expected crop=PIXELS" in refused.stderr
    how = ("--data", "x.npz", "--architecture", "tiny.json", "--output", "wide")
    refused = dim("train", *how, "--augment", "crop=8", cwd=tmp_path)
    assert refused.returncode == 2 and "on each side, 8x8, found crop=8" in refused.stderr, refused.stderr
    assert not (tmp_path / "wide").exists()
