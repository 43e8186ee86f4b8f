"""Images of any size and number of channels, made into others as the caller says; files and arrays by the same rule."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cli_fixtures import ENVIRONMENT
from data_fixtures import scaled, write_folder
from deepinfomax.data import DataError, Joined, Loader, open_dataset

Image = pytest.importorskip("PIL.Image")

BICUBIC = Image.Resampling.BICUBIC


def drawn(height, width, channels=3, seed=0):
    """uint8 (h, w, c) or (h, w): smooth enough that filters differ and rounding does not."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(7 * x + seed) + np.cos(5 * y + k) for k in range(channels)]
    image = np.rint(np.stack(waves, -1) * 60 + 128).astype(np.uint8)
    return image if channels > 1 else image[..., 0]


def expected(image, size, resize):
    """By Pillow's ImageOps, another way than the loader's. uint8 (c, h, w)."""
    from PIL import ImageOps

    channels, height, width = size
    picture = Image.fromarray(image)
    if channels == 1:
        picture = picture.convert("L")
    if resize == "crop":
        picture = ImageOps.fit(picture, (width, height), BICUBIC)
    elif resize == "fit":
        inner = ImageOps.contain(picture, (width, height), BICUBIC)
        picture = Image.new(picture.mode, (width, height))
        picture.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    elif resize == "stretch":
        picture = picture.resize((width, height), BICUBIC)
    pixels = np.asarray(picture)
    pixels = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.broadcast_to(pixels, size)


def save(folder, form, image, n=3):
    """The image n times, in a format. Returns what to open."""
    folder.mkdir(exist_ok=True)
    if form == "png":
        for i in range(n):
            Image.fromarray(image).save(folder / f"{i}.png")
        return folder
    path = folder / f"x.{form}"
    images = np.stack([image] * n)
    if form == "npy":
        np.save(path, images)
    elif form == "npz":
        np.savez(path, images=images)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["images"] = images
    return path


FORMS = ["png", "npy", "npz", "h5"]
SIZES = [(1, 28, 28), (3, 48, 64), (1, 40, 24), (3, 7, 5), (3, 96, 96)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(28, 28), (48, 30), (11, 64)])
def test_the_size_that_all_have(tmp_path, form, channels, shape):
    image = drawn(*shape, channels)
    found = open_dataset(save(tmp_path / "d", form, image))
    assert found.image_size == (channels, *shape)
    layout = image[np.newaxis] if channels == 1 else np.moveaxis(image, -1, 0)
    assert np.array_equal(found.read([1])[0], layout.astype(np.float32) / np.float32(255))
    assert found.read([]).shape == (0, channels, *shape)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_converted(tmp_path, form, resize, size, channels):
    image = drawn(45, 32, channels)
    found = open_dataset(save(tmp_path / "d", form, image), image=size, resize=resize)
    assert found.image_size == size and len(found) == 3
    result = found.read([2, 0])
    assert result.shape == (2, *size) and result.dtype == np.float32
    wanted = expected(image, size, resize).astype(int)
    assert np.array_equal(np.rint(result[0] * 255).astype(int), wanted)


def test_a_file_and_an_array_give_the_same(tmp_path):
    image = drawn(45, 32)
    for size in SIZES:
        for resize in ("fit", "crop", "stretch"):
            one, other = (open_dataset(save(tmp_path / f, f, image), image=size, resize=resize) for f in ("png", "npy"))
            assert np.array_equal(one.read([0]), other.read([0]))


def test_fit_pads_with_black_and_keeps_the_form(tmp_path):
    np.save(tmp_path / "x.npy", np.full((2, 10, 20, 3), 200, np.uint8))
    found = open_dataset(tmp_path / "x.npy", image=(3, 40, 40), resize="fit").read([0])[0]
    assert np.array_equal(np.unique(found), np.float32([0, 200 / 255]))
    assert (found[:, :10] == 0).all() and (found[:, 30:] == 0).all() and (found[:, 10:30] > 0).all()


def test_crop_takes_the_middle(tmp_path):
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 64:128] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert open_dataset(tmp_path, image=(3, 32, 32), resize="crop").read([0])[0][:, :, 2:-2].min() > 0.7


@pytest.mark.parametrize("form", FORMS)
def test_none_refuses_another_size(tmp_path, form):
    path = save(tmp_path / "d", form, drawn(28, 30))
    with pytest.raises(DataError, match=r"expected images of 32x32 in RGB, found 30x28 in RGB; resize= \(--resize\)"):
        open_dataset(path, image=(3, 32, 32), resize="none")
    assert open_dataset(path, image=(3, 28, 30), resize="none").image_size == (3, 28, 30)
    # Channels are no size: grey of the same size is made.
    assert open_dataset(path, image=(1, 28, 30), resize="none").read([0]).shape == (1, 1, 28, 30)


def test_floats_stay_within_their_own_range(tmp_path):
    images = np.random.RandomState(0).rand(4, 1, 20, 20).round().astype(np.float64)
    np.save(tmp_path / "x.npy", images)
    found = open_dataset(tmp_path / "x.npy", image=(3, 33, 47), resize="stretch").read(slice(None))
    assert found.min() == 0 and found.max() == 1 and np.array_equal(found[:, 0], found[:, 2])


def test_floats_of_another_scale_are_told(tmp_path):
    """scikit-learn's digits are 0 to 16; standardised images and those in [0,1] are what they should be."""
    chance = np.random.RandomState(0)
    for images, notes in (
        (chance.randint(0, 17, (40, 8, 8)).astype(np.float64), 1),
        (chance.normal(0, 1, (40, 8, 8)), 0),
        (chance.rand(40, 8, 8), 0),
        (np.full((40, 8, 8), np.inf), 0),
    ):
        np.save(tmp_path / "x.npy", images)
        found = open_dataset(tmp_path / "x.npy", image=(1, 16, 16)).notes
        assert len(found) == notes and all("x.npy: values from 0 up to 16 are taken as they are" in note for note in found)


def test_padding_is_zero_beside_negative_floats(tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 10, 20), -0.5, np.float32))
    found = open_dataset(tmp_path / "x.npy", image=(1, 40, 40)).read([0])[0, 0]
    assert (found[:10] == 0).all() and (found[10:30] == -0.5).all() and (found[30:] == 0).all()
    np.save(tmp_path / "x.npy", np.random.RandomState(0).choice([0.4, 0.6], (1, 10, 20)).astype(np.float32))
    found = open_dataset(tmp_path / "x.npy", image=(1, 40, 40)).read([0])[0, 0]
    assert np.float32(0.4) <= found[10:30].min() and found.max() <= np.float32(0.6)


def test_a_path_of_bytes(tmp_path):
    """Not UTF-8: paths are bytes here."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.npy"
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 4, 4), np.uint8))
    assert len(open_dataset(path)) == len(open_dataset(os.fsdecode(path))) == 2
    with pytest.raises(DataError, match=r"caf\\xe9\.npx: no such file"):
        open_dataset(path[:-1] + b"x")


def test_floats_that_are_not_finite_are_reported_after_resizing(tmp_path):
    images = np.zeros((4, 20, 20), np.float32)
    images[2, 3, 3] = np.nan
    np.save(tmp_path / "x.npy", images)
    found = open_dataset(tmp_path / "x.npy", image=(1, 10, 10))
    assert found.read([1]).max() == 0
    with pytest.raises(DataError, match="image 2 has NaN"):
        found.read(slice(None))


def test_other_channels(tmp_path):
    images = np.arange(2 * 5 * 12 * 16, dtype=np.uint8).reshape(2, 5, 12, 16)
    np.save(tmp_path / "five.npy", images)
    with pytest.raises(DataError, match="neither axis may hold the channels"):
        open_dataset(tmp_path / "five.npy")
    found = open_dataset(tmp_path / "five.npy", layout="nchw")
    assert found.image_size == (5, 12, 16) and np.array_equal(found.read([1])[0] * 255, images[1])
    assert open_dataset(tmp_path / "five.npy", image=(5, 12, 16)).image_size == (5, 12, 16)
    assert open_dataset(tmp_path / "five.npy", layout="nchw", image=(5, 6, 8)).read([0]).shape == (1, 5, 6, 8)
    with pytest.raises(DataError, match="expected 3 channels, found 5; only grey and RGB are converted"):
        open_dataset(tmp_path / "five.npy", layout="nchw", image=(3, 12, 16))


@pytest.mark.parametrize("values, size", [(784, (1, 28, 28)), (3072, (3, 32, 32)), (64, (1, 8, 8)), (27648, (3, 96, 96))])
def test_rows_of_square_images(tmp_path, values, size):
    rows = np.random.RandomState(0).randint(0, 256, (4, values)).astype(np.uint8)
    np.save(tmp_path / "x.npy", rows)
    assert open_dataset(tmp_path / "x.npy").image_size == size
    assert np.array_equal(open_dataset(tmp_path / "x.npy").read([3]) * 255, rows[3].reshape(1, *size))


def test_rows_of_a_given_size(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(120, dtype=np.uint8).reshape(2, 60))
    assert np.array_equal(
        open_dataset(tmp_path / "x.npy", image=(1, 6, 10)).read([1]) * 255, np.arange(60, 120).reshape(1, 1, 6, 10)
    )


def test_one_image_is_not_taken_for_many(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((28, 30, 3), np.uint8))
    with pytest.raises(DataError, match=r"the shape \(28, 30, 3\) is that of one image \(h,w,c\), or of grey ones"):
        open_dataset(tmp_path / "x.npy")
    assert open_dataset(tmp_path / "x.npy", layout="nchw").image_size == (1, 30, 3)
    assert open_dataset(tmp_path / "x.npy", image=(1, 30, 3)).image_size == (1, 30, 3)


def test_parts_that_there_are_not(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((4, 8, 8), np.uint8), x_test=np.zeros((2, 8, 8), np.uint8))
    assert [len(open_dataset(tmp_path / "x.npz", part=part)) for part in ("train", "test", "t10k", None)] == [4, 2, 2, 6]
    assert len(open_dataset(tmp_path / "x.npz", part="train", split="all")) == 4
    with pytest.raises(DataError, match="no images of the part 'unlabeled'; found train, test"):
        open_dataset(tmp_path / "x.npz", part="unlabeled")
    np.save(tmp_path / "x.npy", np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(DataError, match="no images of the part 'test'; found train"):
        open_dataset(tmp_path / "x.npy", part="test")


def test_an_empty_path_is_not_the_folder_one_is_in():
    with pytest.raises(DataError, match="the path is empty"):
        open_dataset("")


def test_sizes_that_differ(tmp_path):
    for i in range(5):
        Image.fromarray(drawn(20, 30 if i < 3 else 31)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path)
    assert "images of different sizes: 3 of 30x20 in RGB (0.png, ...); 2 of 31x20 in RGB (3.png, ...)" in str(error.value)
    assert "image=(channels, height, width)" in str(error.value) and "--image-size" in str(error.value)
    assert open_dataset(tmp_path, image=(3, 20, 20)).read(slice(None)).shape == (5, 3, 20, 20)


def test_grey_among_rgb_becomes_rgb(tmp_path):
    Image.fromarray(drawn(20, 30)).save(tmp_path / "a.png")
    Image.fromarray(drawn(20, 30, 1)).save(tmp_path / "b.png")
    found = open_dataset(tmp_path)
    assert found.image_size == (3, 20, 30)
    grey = found.read([1])[0]
    assert np.array_equal(grey[0], grey[2]) and np.array_equal(grey[0] * 255, drawn(20, 30, 1))


def test_a_size_that_shows_late(tmp_path, monkeypatch):
    """Beyond the headers that are read on opening."""
    from deepinfomax.data import folder

    monkeypatch.setattr(folder, "_CHECKED", 2)
    for i in range(3):
        Image.fromarray(drawn(20, 30 + (i == 1))).save(tmp_path / f"{i}.png")
    found = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"1\.png: image 1 is 31x20 in RGB, others are 30x20 in RGB; say the size"):
        found.read([1])


def test_parts_of_different_sizes(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((4, 8, 8), np.uint8), x_test=np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(DataError, match="its parts are of different sizes, 8x8 in grey and 9x9 in grey"):
        open_dataset(tmp_path / "x.npz")
    assert len(open_dataset(tmp_path / "x.npz", split="test")) == 2
    assert open_dataset(tmp_path / "x.npz", image=(1, 8, 8)).read([0, 5]).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resize": "squeeze"}, "resize: expected one of fit, crop, stretch, none, found 'squeeze'"),
        ({"image": (3, 32)}, r"image: expected \(channels, height, width\), found \(3, 32\)"),
        ({"image": (3, 0, 32)}, "of at least 1 each"),
        ({"image": (3, 1 << 20, 1 << 20)}, "67,108,864 values at most"),
        ({"image": (3, 3.5, 32)}, "image: expected"),
        ({"image": 32}, "image: expected"),
        ({"layout": "nwhc"}, "layout: expected one of"),
        ({"labels": "finest"}, "labels: expected one of fine, coarse"),
        ({"max_pixels": 0}, "max_pixels: expected at least 1"),
        ({"max_bytes": -1}, "max_bytes: expected at least 1"),
    ],
)
def test_options_that_there_are_not(tmp_path, options, message):
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=message) as error:
        open_dataset(tmp_path / "x.npy", **options)
    assert not isinstance(error.value, DataError)


def test_samples_of_other_sizes():
    pytest.importorskip("sklearn")
    with pytest.raises(DataError, match="no images of the part 'test'; found train"):
        open_dataset("digits", part="t10k")
    digits = open_dataset("digits", image=(1, 28, 28))
    assert digits.read([0]).shape == (1, 1, 28, 28) and len(digits) == 1797
    assert open_dataset("digits", image=(1, 8, 8)).read(slice(None)).max() == 1
    photographs = open_dataset("photographs", image=(3, 64, 64))
    assert len(photographs) == 2 * 6 * 10 and photographs.read([119]).shape == (1, 3, 64, 64)
    assert open_dataset("photographs", image=(1, 1000, 700), resize="crop").read([0]).shape == (1, 1, 1000, 700)


def test_many_classes(tmp_path):
    count = 65_536
    np.save(tmp_path / "x.npy", np.zeros((count, 1, 1), np.uint8))
    np.save(tmp_path / "x_labels.npy", np.arange(count)[::-1])
    found = open_dataset(tmp_path / "x.npy", labelled=True)
    assert len(found.classes) == count and found.labels[0] == count - 1 and found.class_name(0) == "65535"
    np.save(tmp_path / "x.npy", np.zeros((count + 1, 1, 1), np.uint8))
    np.save(tmp_path / "x_labels.npy", np.arange(count + 1))
    with pytest.raises(DataError, match="65,537 different labels; expected 65,536 classes at most"):
        open_dataset(tmp_path / "x.npy", labelled=True)


# ---- As a sequence of pairs


def test_as_pytorch_reads_it(tmp_path):
    images, labels = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3)).astype(np.uint8), [0, 0, 1, 1, 2, 2]
    write_folder(tmp_path, images, labels)
    found = open_dataset(tmp_path)
    image, label = found[3]
    assert image.shape == (3, 32, 32) and image.dtype == np.float32 and (label, type(label)) == (1, int)
    assert np.array_equal(image, scaled(images)[3]) and np.array_equal(found[-1][0], scaled(images)[5])
    assert found[np.int64(2)][1] == 1 and len(list(found)) == 6
    assert [label for _, label in found] == labels
    assert np.array_equal(found[1:4].labels, [0, 1, 1]) and found[1:4].ids[0] == "class0/0001.png"
    for outside in (6, -7):
        with pytest.raises(IndexError):
            found[outside]
    with pytest.raises(TypeError):
        found[1.0]


def test_without_labels_the_label_is_minus_one(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
    assert open_dataset(tmp_path / "x.npy")[1][1] == -1


def test_a_dataloader_takes_it(tmp_path):
    torch = pytest.importorskip("torch")
    np.savez(tmp_path / "x.npz", images=np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4), labels=np.arange(10))
    found = open_dataset(tmp_path / "x.npz")
    for workers in (0, 2):
        batches = list(torch.utils.data.DataLoader(found, batch_size=4, num_workers=workers))
        assert [tuple(x.shape) for x, _ in batches] == [(4, 1, 4, 4), (4, 1, 4, 4), (2, 1, 4, 4)]
        assert torch.cat([label for _, label in batches]).tolist() == list(range(10))


@pytest.mark.parametrize("form", FORMS)
def test_pickled(tmp_path, form):
    path = save(tmp_path / "d", form, drawn(28, 30), n=12)
    for whole in (open_dataset(path), open_dataset(path, image=(1, 20, 20))):
        for found in (whole, whole.subset([7, 2]), whole[3:9], Joined("both", (whole, whole[:2]))):
            again = pickle.loads(pickle.dumps(found))
            assert list(again.ids) == list(found.ids) and repr(again) == repr(found)
            assert np.array_equal(again.read(slice(None)), found.read(slice(None)))


def test_a_mapped_file_is_not_pickled_with_its_values(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1000, 32, 32, 3), np.uint8))
    assert len(pickle.dumps(open_dataset(tmp_path / "x.npy"))) < 3000


def test_batches_of_another_size(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10, 28, 28), np.uint8))
    batch = next(Loader(open_dataset(tmp_path / "x.npy", image=(3, 20, 24)), 4).epoch(0))
    assert batch.images.shape == (4, 3, 20, 24)


@pytest.mark.parametrize("form", ["npy", "npz", "idx", "cifar", "stl10"])
def test_a_file_that_is_cut_while_it_is_read(tmp_path, form):
    """What is mapped and no longer there ended the process by SIGBUS, and a training with it."""
    (tmp_path / "stl10_binary").mkdir()
    names = {"idx": "t-images-idx3-ubyte", "cifar": "data_batch_1.bin", "stl10": "stl10_binary/train_X.bin"}
    path = tmp_path / names.get(form, f"a.{form}")
    images = np.zeros((40, 96, 96, 3), np.uint8)
    if form == "npy":
        np.save(path, images)
    elif form == "npz":
        np.savez(path, images=images)
    elif form == "idx":
        path.write_bytes(b"\0\0\x08\x03" + np.array([40, 96, 96], ">u4").tobytes() + bytes(40 * 96 * 96))
    else:
        path.write_bytes(bytes(40 * (3073 if form == "cifar" else 27648)))
    (tmp_path / "stl10_binary" / "train_y.bin").write_bytes(bytes([1]) * 40)
    program = (
        "import os, pickle, sys; from deepinfomax.data import DataError, open_dataset\n"
        "path = sys.argv[1]; first = open_dataset(path); first = [first, pickle.loads(pickle.dumps(first))]; os.truncate(path, 3073)\n"
        "for data in first:\n"
        "    try: data.read([39])\n"
        "    except DataError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and done.stdout.count("has become shorter since it was opened") == 2, done
