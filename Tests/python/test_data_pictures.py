"""What the pixels of an image file mean: each is read as documented, or refused with a reason. None is wrong in silence."""

import io
import os
import shutil
import stat
import struct
import zlib

import numpy as np
import pytest
from data_fixtures import png, random_images
from deepinfomax.data import DataError, open_dataset
from deepinfomax.data.reading import Reading, has_test_set
from deepinfomax.run_data import open_data

Image = pytest.importorskip("PIL.Image")

HALVES = np.repeat(np.uint8([[[10, 60, 200]], [[250, 120, 30]]]), 6, axis=1)  # (2, 6, 3)


def read(path, **options):
    """uint8 (c, h, w) of the only image."""
    return np.rint(open_dataset(path, **options).read([0])[0] * 255).astype(int)


# ---- Integers and floating point


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u4", "i4", "i2"])
def test_integers_without_a_scale_are_refused(tmp_path, order, kind):
    """A TIFF of 32-bit integers was read as 0, all of it."""
    values = np.full((4, 5), 30_000).astype(order + kind)
    write_tiff(tmp_path / "a.tif", values, bits=8 * values.itemsize, sample_format=1 if kind == "u4" else 2)
    with pytest.raises(DataError, match=r"a\.tif: image 0 (has 32-bit or signed integers|cannot be read: expected one of)"):
        open_dataset(tmp_path)


def test_signed_bytes_are_refused(tmp_path):
    """Pillow reads -56 as 200."""
    write_tiff(tmp_path / "a.tif", np.arange(24, dtype=np.int8).reshape(4, 6), 8, sample_format=2)
    with pytest.raises(DataError, match="32-bit or signed integers, whose scale is not known"):
        read(tmp_path / "a.tif")


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.full((4, 5), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: image 0 has floating-point pixels"):
        open_dataset(tmp_path)


def test_lab_is_refused(tmp_path):
    Image.new("LAB", (4, 5), (128, 100, 100)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: image 0 has pixels of the kind LAB"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_of_grey(tmp_path, order):
    values = (np.arange(20).reshape(4, 5) * 3000).astype(order + "u2")
    write_tiff(tmp_path / "a.tif", values, bits=16)
    assert np.array_equal(read(tmp_path / "a.tif")[0], values >> 8)
    if order == "<":  # Pillow does not know the other.
        write_tiff(tmp_path / "b.tif", values, bits=16, white_is_zero=True)
        assert np.array_equal(read(tmp_path / "b.tif")[0], 255 - (values >> 8)), "white is 0 here"
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "c.png")
    assert np.array_equal(read(tmp_path / "c.png")[0], values >> 8)
    (tmp_path / "d.pgm").write_bytes(b"P5 5 4 65535\n" + values.astype(">u2").tobytes())
    assert np.array_equal(read(tmp_path / "d.pgm")[0], values >> 8)


def test_12_bits_of_grey(tmp_path):
    values = np.arange(24).reshape(4, 6) * 170
    packed = bytearray()
    for a, b in values.reshape(-1, 2).tolist():
        packed += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    write_tiff(tmp_path / "a.tif", values, bits=12, content=bytes(packed))
    assert np.array_equal(read(tmp_path / "a.tif")[0], values >> 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric, channels", [(2, 3), (2, 4), (5, 4)])
def test_a_plane_for_each_channel(tmp_path, order, photometric, channels):
    """Pillow decodes uncompressed planes of 16 bits to other pixels, in silence: 0x8040, 0x2010, 0x7001 became (64, 128, 64)."""
    values = [0x8040, 0x2010, 0x7001, 0xFFFF][:channels]
    for bits, packed in (16, False), (16, True), (8, False):
        kind = order + "u2" if bits == 16 else "u1"
        planes = [np.full((4, 5), value >> 16 - bits, kind).tobytes() for value in values]
        write_planes(tmp_path / "a.tif", planes, order, bits, photometric, packed)
        if bits == 16 and not packed:
            with pytest.raises(DataError, match="image 0 has 16 bits a channel and a plane for each; save it with"):
                read(tmp_path / "a.tif")
        elif photometric == 2:
            assert read(tmp_path / "a.tif")[:, 2, 3].tolist() == [0x80, 0x20, 0x70], (bits, packed)
        else:
            assert read(tmp_path / "a.tif")[:, 2, 3].tolist() == [0, 0, 0], "black ink alone leaves nothing"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("photometric", [1, 3])
def test_a_plane_for_transparency_is_refused(tmp_path, order, packed, photometric):
    """Pillow leaves it out: opaque grey of 100 was read as white. Uncompressed ones were called damaged."""
    write_planes(tmp_path / "a.tif", [bytes([100] * 20), bytes([255] * 20)], order, 8, photometric, packed)
    with pytest.raises(DataError, match="image 0 has a plane for its transparency; save it with its channels side by side"):
        read(tmp_path / "a.tif")


def test_a_tiff_of_another_kind_is_not_another_format(tmp_path):
    values = np.arange(20, dtype=">u2").reshape(4, 5)
    write_tiff(tmp_path / "a.tif", values, bits=16, white_is_zero=True)
    with pytest.raises(
        DataError, match=r"expected one of the kinds of TIFF that are decoded.*found another kind \(by its bits"
    ):
        read(tmp_path / "a.tif")
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match="expected one of the kinds of BMP that are decoded.* or a damaged header"):
        read(tmp_path / "a.bmp")


def write_planes(path, planes, order, bits, photometric, packed):
    """5x4 pixels, a strip for each plane."""
    planes = [zlib.compress(plane) if packed else plane for plane in planes]
    count = len(planes)
    start = 8 + sum(map(len, planes))
    places = [8 + sum(map(len, planes[:i])) for i in range(count)]
    tags = [(256, "H", [5]), (257, "H", [4]), (258, "H", [bits] * count), (259, "H", [8 if packed else 1])]
    tags += [(262, "H", [photometric]), (273, "I", places), (277, "H", [count]), (278, "H", [4])]
    tags += [(279, "I", list(map(len, planes))), (284, "H", [2])]
    tags += [(320, "H", [1 << 8] * 768)] if photometric == 3 else []
    tags += [(338, "H", [2])] if photometric == 2 and count == 4 or count == 2 else []
    directory, behind = struct.pack(order + "H", len(tags)), b""
    for tag, kind, numbers in tags:
        content = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(content) > 4:
            content, behind = struct.pack(order + "I", start + 6 + 12 * len(tags) + len(behind)), behind + content
        directory += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + content.ljust(4, b"\0")
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    path.write_bytes(header + b"".join(planes) + directory + bytes(4) + behind)


def write_tiff(path, values, bits, sample_format=1, white_is_zero=False, content=None):
    """One strip, uncompressed, as the file format's description has it; Pillow writes fewer kinds."""
    little = values.dtype.byteorder != ">"
    order = "<" if little else ">"
    content = values.tobytes() if content is None else content
    height, width = values.shape
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 0 if white_is_zero else 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(content)),
        (339, 3, sample_format),
    ]
    start = 8 + len(content) + len(content) % 2
    directory = struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
        directory += struct.pack(order + "HHI", tag, kind, 1) + packed
    header = (b"II*\0" if little else b"MM\0*") + struct.pack(order + "I", start)
    path.write_bytes(header + content + b"\0" * (len(content) % 2) + directory + bytes(4))


# ---- Transparency


def expect_white_where_transparent(found, colour):
    """Left half opaque, right half transparent."""
    left, right = found[..., : found.shape[-1] // 2], found[..., found.shape[-1] // 2 :]
    assert np.array_equal(np.unique(right), [255]), np.unique(right)
    assert np.array_equal(left, np.broadcast_to(np.reshape(colour, (-1, 1, 1)), left.shape))


def test_alpha(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., :3] = (40, 80, 120)
    pixels[:, :3, 3] = 255
    for name in ("a.png", "a.tif", "a.webp"):
        Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
        expect_white_where_transparent(read(tmp_path / name), (40, 80, 120))
    pixels[:, :, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "half.png")
    half = 255 - (255 - np.array([40, 80, 120])) * 128 / 255
    assert np.abs(read(tmp_path / "half.png")[:, 0, 0] - half).max() <= 1


def test_grey_with_alpha(tmp_path):
    pixels = np.zeros((4, 6, 2), np.uint8)
    pixels[..., 0], pixels[:, :3, 1] = 90, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png")
    assert found.shape == (1, 4, 6), "grey stays grey"
    expect_white_where_transparent(found, (90,))


def test_16_bits_of_grey_with_alpha(tmp_path):
    """Pillow opens it as RGBA."""
    write_png(tmp_path / "a.png", 4, 16, 4, struct.pack(">8H", *[90 << 8, 0xFFFF] * 2, *[90 << 8, 0] * 2))
    assert open_dataset(tmp_path / "a.png").image_size == (1, 1, 4), "grey stays grey"
    expect_white_where_transparent(read(tmp_path / "a.png"), (90,))


def test_what_the_first_picture_of_a_gif_leaves_free_is_white(tmp_path):
    """It was the colour of the palette's first entry."""
    image = Image.new("P", (3, 2), 0)
    image.putpalette([40, 80, 120] + [0] * 765)
    image.save(tmp_path / "a.gif")
    content = (tmp_path / "a.gif").read_bytes()
    place = content.index(b",\0\0\0\0" + struct.pack("<HH", 3, 2))
    content = content[:6] + struct.pack("<HH", 6, 4) + content[10:]
    (tmp_path / "a.gif").write_bytes(content[:place] + b"," + struct.pack("<HH", 2, 1) + content[place + 5 :])
    found = read(tmp_path / "a.gif")
    assert found[:, 1:3, 2:5].reshape(3, -1).T.tolist() == [[40, 80, 120]] * 6
    assert np.count_nonzero((found == 255).all(axis=0)) == 18


def test_a_palette_with_transparency(tmp_path):
    image = Image.fromarray(np.repeat(np.uint8([[0, 0, 0, 1, 1, 1]]), 4, axis=0)).convert("P")
    image.putpalette([40, 80, 120, 200, 0, 0] + [0] * 762)
    image.info["transparency"] = 1
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name, transparency=1)
        expect_white_where_transparent(read(tmp_path / name), (40, 80, 120))
    image.save(tmp_path / "b.png", transparency=bytes([255, 0]))
    expect_white_where_transparent(read(tmp_path / "b.png"), (40, 80, 120))


def test_a_palette_with_alpha(tmp_path):
    """Mode PA: Pillow writes it in no format that is read here; it comes of others' TIFF files."""
    from deepinfomax.data import pictures

    image = Image.new("PA", (6, 4))
    image.putpalette([40, 80, 120, 200, 0, 0] + [0] * 762)
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[255, 255, 255, 0, 0, 0]]), 4, axis=0)))
    assert image.mode == "PA"
    expect_white_where_transparent(np.moveaxis(np.asarray(pictures._plain(image)), -1, 0), (40, 80, 120))


@pytest.mark.parametrize("mode, colour, transparent", [("RGB", (40, 80, 120), (1, 2, 3)), ("L", (90,), 7)])
def test_a_transparent_colour(tmp_path, mode, colour, transparent):
    image = Image.new(mode, (6, 4), colour if mode == "RGB" else colour[0])
    image.paste(transparent, (3, 0, 6, 4))
    image.save(tmp_path / "a.png", transparency=transparent)
    expect_white_where_transparent(read(tmp_path / "a.png"), colour)


def test_a_transparent_grey_of_16_bits(tmp_path):
    values = np.full((4, 6), 40 << 8, np.uint16)
    values[:, 3:] = 777
    Image.fromarray(values).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    place = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + chunk(b"tRNS", struct.pack(">H", 777)) + content[place:])
    expect_white_where_transparent(read(tmp_path / "a.png"), (40,))


@pytest.mark.parametrize("bits, row, expected", [(1, 0x40, [0, 255]), (2, 0x1B, [0, 255, 170, 255]), (4, 0x01, [0, 255])])
def test_a_transparent_grey_of_few_bits(tmp_path, bits, row, expected):
    """The level 1 is the transparent one, and becomes white."""
    write_png(tmp_path / "a.png", len(expected), bits, 0, bytes([row]), struct.pack(">H", 1))
    assert read(tmp_path / "a.png").ravel().tolist() == expected


def test_a_transparent_colour_of_3_times_16_bits_is_refused(tmp_path):
    """Its neighbours have the same upper bits, which are all that Pillow keeps."""
    pixels = struct.pack(">6H", 50, 60, 70, 0, 0, 0)
    write_png(tmp_path / "a.png", 2, 16, 2, pixels, bytes(6))
    with pytest.raises(DataError, match="16 bits a channel and a transparent colour; save it with an alpha channel"):
        read(tmp_path / "a.png")
    write_png(tmp_path / "a.png", 2, 16, 2, pixels)
    assert read(tmp_path / "a.png").shape == (3, 1, 2)


def write_png(path, width, bits, kind, row, transparent=b"", height=1):
    """One row, or the bytes of several."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    parts += [(b"tRNS", transparent)] if transparent else []
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("width, height", [(2**20 + 1, 1), (1, 2**20 + 1)])
def test_a_side_that_resizing_would_take_gigabytes_for(tmp_path, width, height):
    """8 KB, and fewer pixels than are allowed; refused by its header."""
    row = bytes((width + 7) // 8) if height == 1 else b"\0" * (2 * height - 1)
    write_png(tmp_path / "a.png", width, 1, 0, row, height=height)
    with pytest.raises(DataError, match="pixels; expected at most 1,048,576 in width and height"):
        open_dataset(tmp_path, image=(1, 4, 4))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_resizing_does_not_let_hidden_colours_through(tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read(tmp_path, image=(3, 8, 8)).min() == 255


# ---- Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_orientation(tmp_path, orientation, name):
    """Of a picture as a camera stores it. What is expected is written out, from the standard's table."""
    upright = np.repeat(np.repeat(np.uint8([[10, 60, 110], [160, 210, 250]]), 16, 0), 16, 1)  # (32, 48)
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: a.T[::-1],
        7: lambda a: a.T[::-1, ::-1],
        8: lambda a: a.T[:, ::-1],
    }[orientation](upright)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"exif": exif} | ({"lossless": True} if name == "a.webp" else {})
    if name == "a.tif":
        options = {"tiffinfo": {274: orientation}}
    if name == "a.jpg":
        options |= {"quality": 98}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, **options)
    found = open_dataset(tmp_path)
    assert found.image_size[1:] == (32, 48)
    assert np.abs(read(tmp_path)[0] - upright).max() <= (6 if name == "a.jpg" else 1)
    small = read(tmp_path, image=(1, 4, 6), resize="stretch")[0]
    assert np.abs(small[::3, ::2] - [[10, 60, 110], [160, 210, 250]]).max() < 30


def test_orientation_that_follows_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[274] = 3
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = png(image)
    place = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + chunk(b"eXIf", exif.tobytes()[6:]) + content[place:])
    assert np.array_equal(read(tmp_path)[0], image[::-1, ::-1])
    exif[274] = 6
    (tmp_path / "a.png").write_bytes(content[:place] + chunk(b"eXIf", exif.tobytes()[6:]) + content[place:])
    assert np.array_equal(read(tmp_path)[0], image.T[:, ::-1])


XMP = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("kind", ["XMP", "XMP after other texts"])
def test_orientation_in_the_texts_of_a_png(tmp_path, kind, place):
    """The headers told the size as stored, and the pixels were turned: a set of equal images was one of different sizes."""
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = png(image)
    at = content.index(place) - 4
    texts = chunk(b"tEXt", b"Comment\0" + b"x" * 200) if kind != "XMP" else b""
    (tmp_path / "a.png").write_bytes(content[:at] + texts + chunk(b"iTXt", XMP) + content[at:])
    assert open_dataset(tmp_path).image_size == (1, 4, 3)
    assert np.array_equal(read(tmp_path)[0], image.T[:, ::-1])


def test_orientation_in_the_older_profile_of_a_png(tmp_path):
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    exif = Image.Exif()
    exif[274] = 6
    profile = exif.tobytes().hex()
    content = png(image)
    at = content.index(b"IDAT") - 4
    text = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(profile) // 2, profile.encode())
    (tmp_path / "a.png").write_bytes(content[:at] + chunk(b"tEXt", text) + content[at:])
    assert open_dataset(tmp_path).image_size == (1, 4, 3)
    assert np.array_equal(read(tmp_path)[0], image.T[:, ::-1])


def test_damaged_notes_turn_nothing(tmp_path):
    Image.fromarray(HALVES).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(tmp_path).shape == (3, 2, 6)


# ---- What is in a folder


def fill(folder, names, start=0):
    for number, name in enumerate(names, start):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(random_images(1, seed=number)[0]))


def test_hidden_names_are_left_out_everywhere(tmp_path):
    fill(tmp_path, ["a/1.png", "a/.thumbnails/2.png", "a/deep/.x/3.png", "a/.4.png", ".hidden/5.png", "b/6.png"])
    found = open_dataset(tmp_path)
    assert list(found.ids) == ["a/1.png", "b/6.png"] and found.classes == ("a", "b")


def test_symbolic_links_are_followed_everywhere(tmp_path):
    fill(tmp_path / "elsewhere", ["one/1.png", "two/2.png", "3.png"])
    fill(tmp_path / "data", ["a/0.png"])
    data = tmp_path / "data"
    (data / "b").symlink_to(tmp_path / "elsewhere" / "one")
    (data / "a" / "more").symlink_to(tmp_path / "elsewhere" / "two")
    (data / "a" / "4.png").symlink_to(tmp_path / "elsewhere" / "3.png")
    found = open_dataset(data)
    assert list(found.ids) == ["a/0.png", "a/4.png", "a/more/2.png", "b/1.png"]
    assert found.labels.tolist() == [0, 0, 0, 1] and found.read(slice(None)).shape == (4, 3, 32, 32)


@pytest.mark.parametrize("target", ["..", ".", "deep"])
def test_a_link_that_leads_in_a_circle(tmp_path, target):
    fill(tmp_path, ["a/deep/1.png", "b/2.png"])
    (tmp_path / "a" / "deeper").mkdir()
    (tmp_path / "a" / "again").symlink_to(target)
    if target == "..":  # Out of the class, and into it from above.
        with pytest.raises(DataError, match="already in this class"):
            open_dataset(tmp_path)
        return
    with pytest.raises(DataError, match=r"a/.*: a symbolic link leads to a folder that is already in this class"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("place", ["a/x.png", "a/deep/x.png", "x.png", "a/folder", "folder"])
def test_a_broken_link_is_an_error_everywhere(tmp_path, place):
    fill(tmp_path, ["a/1.png", "a/deep/2.png", "b/3.png"])
    (tmp_path / place).symlink_to("nothing")
    with pytest.raises(DataError, match=rf"{place} is a symbolic link that leads nowhere; skip_damaged=True"):
        open_dataset(tmp_path)
    found = open_dataset(tmp_path, skip_damaged=True)
    assert len(found) == 3 and found.skipped == ((place, "is a symbolic link that leads nowhere"),)
    assert f"left out: {place} is a symbolic link" in found.notes[0]


def test_a_broken_link_beside_images_that_are_held_out(tmp_path):
    """It passed for an image that was left out of a test set: a tenth of the others was neither trained on nor held out."""
    fill(tmp_path, [f"{name}/{number}.png" for name in "ab" for number in range(15)])
    (tmp_path / "zz.png").symlink_to("nothing")
    reading = Reading(skip_damaged=True)
    assert not has_test_set(reading.open(str(tmp_path), split="train"))
    train, validation = open_data(str(tmp_path), 0, reading)
    assert len(train) == 30 and validation is None
    train, validation = open_data(str(tmp_path), 1024, reading)
    assert len(train) == 27 and len(validation) == 3
    (tmp_path / "a" / "0.png").write_bytes(b"damaged")
    train, validation = open_data(str(tmp_path), 0, reading)
    assert len(train) == 29 and validation is None


@pytest.mark.parametrize("place", ["a/x.png", "a/deep/x.jpg", "x.png"])
def test_fifos_are_refused_without_waiting(tmp_path, place):
    fill(tmp_path, ["a/1.png", "a/deep/2.png", "b/3.png"])
    os.mkfifo(tmp_path / place)
    with pytest.raises(DataError, match=rf"{place} is neither a file nor a folder"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, skip_damaged=True)) == 3


def test_devices_are_refused(tmp_path):
    fill(tmp_path, ["a/1.png"])
    try:
        os.mknod(tmp_path / "a" / "zero.png", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        (tmp_path / "a" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"zero\.png is neither a file nor a folder"):
        open_dataset(tmp_path)


def test_what_becomes_a_fifo_later_does_not_hang(tmp_path):
    fill(tmp_path, ["1.png"])
    found = open_dataset(tmp_path)
    (tmp_path / "1.png").unlink()
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"1\.png: image 0 is neither a file nor a folder"):
        found.read([0])


def test_other_endings_are_counted_and_said(tmp_path):
    fill(tmp_path, ["a/1.png", "b/2.png"])
    for name in ("a/1.txt", "a/2.HEIC", "b/3.heic", "b/README", "list.csv"):
        (tmp_path / name).write_text("x")
    found = open_dataset(tmp_path)
    (note,) = found.notes
    assert note.startswith(f"{tmp_path.name}: 5 files left out, whose endings are not images': .heic (2)")
    assert all(part in note for part in (".txt (1)", "no ending (1)", ".csv (1)"))
    assert found.subset([0]).notes == found.notes == open_dataset(tmp_path, image=(1, 8, 8)).notes
    for name in ("a/1.txt", "a/2.HEIC", "b/3.heic", "b/README"):
        (tmp_path / name).unlink()
    assert open_dataset(tmp_path).notes == (f"{tmp_path.name}: 1 file left out, whose ending is not an image's: .csv (1)",)
    shutil.rmtree(tmp_path / "a")
    fill(tmp_path, ["a/x.heic"])
    with pytest.raises(DataError, match=r"a: no images in the folder of this class; 1 file left out.*\.heic"):
        open_dataset(tmp_path)


def test_only_the_formats_that_are_named_are_decoded(tmp_path, monkeypatch):
    """Pillow starts ghostscript for an EPS file, whatever the file's name says."""
    marker = tmp_path / "it-ran"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    buffer = io.BytesIO()
    Image.fromarray(HALVES).save(buffer, "EPS")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.png").write_bytes(buffer.getvalue())
    with Image.open(tmp_path / "data" / "x.png") as image, pytest.raises(OSError):
        image.load()
    assert marker.exists(), "the trap works"
    marker.unlink()
    with pytest.raises(DataError, match=r"x\.png: image 0 cannot be read: expected one of PNG, JPEG"):
        open_dataset(tmp_path / "data").read([0])
    assert not marker.exists()


def test_a_name_is_escaped_in_messages(tmp_path):
    folder = tmp_path / "a\x1b[2Jb\u202e\udce9"
    fill(folder, ["1.png"])
    (folder / "1.png").write_bytes(b"damaged")
    with pytest.raises(DataError) as error:
        open_dataset(folder)
    assert str(error.value).isprintable() and r"a\x1b[2Jb\u202e\xe9" in str(error.value)


# ---- One unreadable image among many


def test_headers_are_all_reported_at_once(tmp_path):
    fill(tmp_path, [f"{i:02}.png" for i in range(40)])
    for i in range(5, 35):
        (tmp_path / f"{i:02}.png").write_bytes(b"nothing")
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path)
    message = str(error.value)
    assert "30 of the 40 images whose headers were read: " in message and "; and 20 more" in message
    assert all(f"{i:02}.png: image {i} cannot be read" in message for i in range(5, 15))
    assert "skip_damaged=True (--skip-damaged) leaves such images out" in message


@pytest.mark.parametrize("where", ["header", "behind it"])
def test_damaged_images_are_left_out(tmp_path, where):
    names = [f"{'ab'[i % 2]}/{i:03}.png" for i in range(300)]
    fill(tmp_path, names)
    for name in ("a/002.png", "b/299.png"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: 20 if where == "header" else 600])
    with pytest.raises(DataError, match=r"a/002\.png: image 1 (cannot be read|is damaged)"):
        open_dataset(tmp_path).read(slice(None))
    found = open_dataset(tmp_path, skip_damaged=True, labelled=True)
    assert len(found) == 298 and found.labels.tolist() == [0] * 149 + [1] * 149
    assert found.read(slice(None)).shape == (298, 3, 32, 32)
    assert [name for name, _ in found.skipped] == ["a/002.png", "b/299.png"]
    assert all("image" in reason for _, reason in found.skipped)
    assert "2 damaged images left out: a/002.png, b/299.png" in found.notes


def test_all_damaged(tmp_path):
    fill(tmp_path, ["1.png", "2.png"])
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:600])
    with pytest.raises(DataError, match="every image is damaged; the first: .*1.png: image 0 is damaged"):
        open_dataset(tmp_path, skip_damaged=True)


def test_damaged_values_of_arrays_are_left_out(tmp_path):
    images = np.zeros((30, 4, 4), np.float32)
    images[7, 1, 1] = np.inf
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(30))
    found = open_dataset(tmp_path / "x.npz", skip_damaged=True)
    assert len(found) == 29 and 7 not in found.labels.tolist() and found.skipped[0][0] == "7"
