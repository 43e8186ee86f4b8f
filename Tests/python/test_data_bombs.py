"""Small files that promise much: refused by what their header says, in a process that may have little memory."""

import gzip
import io
import os
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
from data_fixtures import png, png_of_zeros, random_images
from deepinfomax.data import DataError, open_dataset
from weights_fixtures import CHILD

#: The address space of the process that opens a bomb. numpy, h5py and Pillow take a part of it.
LIMIT = 1 << 30


def refused(path, code="open_dataset(sys.argv[1])", seconds=20):
    """The message with which a process of its own, with little memory, refuses."""
    program = (
        "import sys, resource\n"
        "import numpy, deepinfomax.data\n"
        "from deepinfomax.data import open_dataset, DataError\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))\n"
        f"try:\n    {code}\n"
        "except DataError as error:\n    print(error)\n    sys.exit(3)\n"
    )
    # Each thread of numpy's BLAS takes address space.
    child = {**CHILD, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, env=child, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 3, (done.returncode, done.stdout, done.stderr[-2000:])
    # Of the processor: other programs are not its fault.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < seconds
    return done.stdout


def npz_of_zeros(path, header_shape, promised, size):
    """A member of `size` bytes of zeros behind a header that names a shape; the directory promises another size."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": header_shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("images.npy", "w") as file:
        file.write(header.getvalue())
        file.write(bytes(size))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", len(header.getvalue()) + promised)
    path.write_bytes(content)


def test_an_npz_of_3_gb(tmp_path):
    path = tmp_path / "x.npz"
    npz_of_zeros(path, (1_000_000, 3, 32, 32), 3_072_000_000, 1 << 20)
    message = refused(path)
    assert "unpacks to 3,072,000,128 bytes in memory, 2,147,483,648 are allowed" in message and "max_bytes=" in message


def test_an_npz_whose_header_promises_little(tmp_path):
    path = tmp_path / "x.npz"
    npz_of_zeros(path, (10, 3, 32, 32), 1_500_000_000, 1 << 20)
    assert "images.npy: 1500000000 bytes of values, the header names uint8 (10, 3, 32, 32)" in refused(path)


@pytest.mark.parametrize("size", [1 << 10, 100 << 20])
def test_an_npz_that_holds_another_size(tmp_path, size):
    """Less or more than the directory and the header promise."""
    path = tmp_path / "x.npz"
    npz_of_zeros(path, (10, 3, 32, 32), 30_720, size)
    assert "x.npz" in refused(path)


def test_max_bytes(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", images=random_images(4))
    with pytest.raises(DataError, match="unpacks to 12,416 bytes in memory, 12,000 are allowed"):
        open_dataset(tmp_path / "x.npz", max_bytes=12_000)
    np.savez(tmp_path / "y.npz", images=random_images(4))
    assert len(open_dataset(tmp_path / "y.npz", max_bytes=12_000)) == 4, "it is mapped, not read"


def test_a_tar_gz_over_4_gb(tmp_path):
    """The size of a file that is read is known from its header; what is skipped counts as it is unpacked."""
    path = tmp_path / "x.tar.gz"
    zeros = gzip.compress(bytes(1 << 22), 1)
    for name, code in (
        ("data_batch_1.bin", "open_dataset(sys.argv[1])"),
        ("something else", "open_dataset(sys.argv[1], max_bytes=300 << 20)"),
    ):
        header = tarfile.TarInfo(name)
        header.size = 4_300_000_000
        path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + zeros * 1026)
        assert path.stat().st_size < 30 << 20
        assert "unpacks to more than" in refused(path, code)


def test_an_archive_is_in_memory_once(tmp_path):
    records = 40_000
    header = tarfile.TarInfo("data_batch_1.bin")
    header.size = 3073 * records
    whole = header.tobuf(tarfile.GNU_FORMAT) + bytes(-(-header.size // 512) * 512 + 1024)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(whole, 1))
    code = """
import resource, sys
from deepinfomax.data import open_dataset
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
data = open_dataset(sys.argv[1])
data[0]
print(len(data), peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == records and grown < 1.2 * header.size + (16 << 20)


def test_extended_headers_of_an_archive(tmp_path):
    """tarfile reads them at once, and gives each member a copy of a global one's keys."""

    def header(kind, content):
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, len(content)
        return member.tobuf() + content + bytes(-len(content) % 512)

    keys = b"".join(b"11 %05d=x\n" % number for number in range(16000))
    own = header(tarfile.XHDTYPE, b"11 abcde=x\n") + tarfile.TarInfo("f").tobuf()
    for content, message in (
        (header(tarfile.XGLTYPE, keys) + own * 3000, "an extended header of 176,000 bytes"),
        (header(tarfile.XHDTYPE, bytes(200 << 20)), "an extended header of 209,715,200 bytes"),
        (header(tarfile.GNUTYPE_LONGNAME, b"x" * (1 << 20)), "an extended header of 1,048,576 bytes"),
        (header(tarfile.XHDTYPE, b"11 abcde=x\n") * 5000, "more than 4 extended headers in a row"),
        (b"".join(tarfile.TarInfo(str(number)).tobuf() for number in range(20000)), "holds more than 10,000 files"),
    ):
        path = tmp_path / "x.tar.gz"
        path.write_bytes(gzip.compress(content + bytes(1024), 1))
        assert message in refused(path)


def test_a_sparse_file_in_an_archive(tmp_path):
    """Its zeros are not in the stream."""
    sparse = tarfile.TarInfo("data_batch_1.bin")
    sparse.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "data_batch_1.bin",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": f"{(1 << 40) - 1},1",
    }
    sparse.size = 1
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(sparse, io.BytesIO(b"x"))
    assert "unpacks to more than" in refused(tmp_path / "x.tar")


def test_a_png_of_many_pixels(tmp_path):
    """One bit a pixel in the file, four bytes and more of each in memory: refused by the header."""
    pytest.importorskip("PIL")
    path = tmp_path / "x.png"
    path.write_bytes(png_of_zeros(13_000, 13_000))
    assert path.stat().st_size < 30_000
    message = refused(path)
    assert "x.png: image 0 has 13000x13000 = 169,000,000 pixels, 67,108,864 are decoded at most" in message
    assert "max_pixels= of open_dataset (--max-pixels) allows more" in message


def test_max_pixels(tmp_path):
    """Larger scans are a matter of saying so; Pillow's own limit, which has no word for it, is not in the way."""
    Image = pytest.importorskip("PIL.Image")
    (tmp_path / "x.png").write_bytes(png(random_images(1)[0]))
    with pytest.raises(DataError, match="has 32x32 = 1,024 pixels, 1,000 are decoded at most"):
        open_dataset(tmp_path, max_pixels=1_000)
    limit = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = 100
        assert len(open_dataset(tmp_path, max_pixels=1024)) == 1
        assert Image.MAX_IMAGE_PIXELS == 100
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    np.save(tmp_path / "x.npy", np.zeros((1, 100, 100), np.uint8))
    with pytest.raises(DataError, match="images of 100x100 in grey, 10,000 pixels; 9,999 are read at most"):
        open_dataset(tmp_path / "x.npy", max_pixels=9_999)


def test_a_webp_of_many_pixels(tmp_path):
    """Its decoder takes the memory of the whole canvas when it is opened."""
    pytest.importorskip("PIL")
    features = struct.pack("<I", 0) + (16_382).to_bytes(3, "little") * 2
    pixels = struct.pack("<IB", 5 + 20, 0x2F) + bytes(24)
    chunks = b"VP8X" + struct.pack("<I", 10) + features + b"VP8L" + pixels
    (tmp_path / "x.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)
    assert "x.webp: image 0" in refused(tmp_path / "x.webp")


# ---- HDF5


def hdf5(path, **arrays):
    """Name -> (shape, dtype, options); one chunk of each is written."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, (shape, dtype, options) in arrays.items():
            array = file.create_dataset(name, shape, dtype, **options)
            if shape:
                array[tuple(slice(0, min(length, 1)) for length in shape)] = 1


def test_hdf5_with_2_33_labels(tmp_path):
    path = tmp_path / "x.h5"
    images = ((10, 8, 8), "u1", {})
    hdf5(path, images=images, labels=((1 << 33,), "i8", {"chunks": (1 << 20,), "compression": "gzip"}))
    assert path.stat().st_size < 30_000
    assert "labels: 68,719,476,736 bytes, 2,147,483,648 are allowed; it is read whole" in refused(path)


def test_hdf5_with_2_33_images_and_labels(tmp_path):
    path = tmp_path / "x.h5"
    many = 1 << 33
    packed = {"compression": "gzip"}
    hdf5(
        path,
        images=((many, 8, 8), "u1", {"chunks": (1 << 14, 8, 8), **packed}),
        labels=((many,), "u1", {"chunks": (1 << 20,), **packed}),
    )
    assert path.stat().st_size < 30_000
    assert "images: 1 of 524,288 chunks were ever written" in refused(path)


def test_hdf5_that_was_never_written(tmp_path):
    path = tmp_path / "x.h5"
    hdf5(path, images=((1 << 22, 8, 8), "u1", {"chunks": (1 << 10, 8, 8), "compression": "gzip"}))
    assert "images: 1 of 4,096 chunks were ever written" in refused(path)


def test_hdf5_with_a_huge_chunk(tmp_path):
    path = tmp_path / "x.h5"
    hdf5(path, images=((1 << 12, 256, 256), "u1", {"chunks": (1 << 11, 256, 256 // 2), "compression": "gzip"}))
    assert "67,108,864 bytes, 60,000,000 are allowed; it is read in chunks of that size" in refused(
        path, "open_dataset(sys.argv[1], max_bytes=60_000_000)"
    )


def test_hdf5_with_labels_of_100_mb(tmp_path):
    """5.8 GB of memory."""
    path = tmp_path / "x.h5"
    hdf5(path, images=((1, 8, 8), "u1", {}), labels=((1,), "S100000000", {"chunks": (1,), "compression": "gzip"}))
    assert "labels: expected texts of up to 4,096 characters, found up to 100,000,000" in refused(path)


@pytest.mark.parametrize("name", ["labels", "classes"])
def test_an_npz_with_texts_of_24_mb(tmp_path, name):
    """Six labels of 240 MB took 4.4 GB."""
    path = tmp_path / "x.npz"
    arrays = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.zeros(6, int)}
    arrays[name] = np.array(["a"], "U6000000") if name == "classes" else np.array(["a"] * 6, "U6000000")
    np.savez_compressed(path, **arrays)
    assert f"{name}.npy: expected texts of up to 4,096 characters, found up to 6,000,000" in refused(path)


def test_hdf5_with_many_classes(tmp_path):
    path = tmp_path / "x.h5"
    packed = {"chunks": (1 << 24,), "compression": "gzip"}
    hdf5(path, images=((2, 8, 8), "u1", {}), labels=((2,), "u1", {}), classes=((1 << 24,), "S4", packed))
    assert "classes: expected 65,536 names of classes at most, found the shape (16777216,)" in refused(path)


def test_hdf5_with_long_names_of_classes(tmp_path):
    path = tmp_path / "x.h5"
    hdf5(path, images=((2, 8, 8), "u1", {}), labels=((2,), "u1", {}), classes=((65_536,), "S65536", {"chunks": (1,)}))
    assert "classes: 4,294,967,296 bytes, 2,147,483,648 are allowed; it is read whole" in refused(path)


@pytest.mark.parametrize("name, count", [("classes", 65_536), ("labels", 1 << 20)])
def test_hdf5_with_one_long_text_in_many_places(tmp_path, name, count):
    """Texts of varying length stand elsewhere in the file: each of these is the same one."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=np.zeros((count, 1, 1), np.uint8))
        if name == "classes":
            file.create_dataset("labels", data=np.zeros(count, np.uint8))
        texts = file.create_dataset(name, (count,), h5py.string_dtype())
        texts[0] = "x" * (1 << 20)
        offset = texts.id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset : offset + 16 * count] = content[offset : offset + 16] * count
    path.write_bytes(content)
    assert f"{name}: {count:,} texts of up to 1,048,576 characters, 2,147,483,648 bytes are allowed" in refused(path)


def test_hdf5_finds_a_damaged_record_among_many_quickly(tmp_path, monkeypatch):
    """By halves; one by one, each with a chunk to decode, it took hours for 2^33."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        labels = file.create_dataset("labels", data=np.arange(1 << 16) % 9, chunks=(64,), fletcher32=True)
        file.create_dataset("images", data=np.zeros((1 << 16, 1, 1), np.uint8))
        offset = labels.id.get_chunk_info(700).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 8] ^= 1
    path.write_bytes(content)
    read, reads = h5py.Dataset.__getitem__, []
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *arguments: reads.append(1) or read(*arguments))
    with pytest.raises(DataError, match="labels: record 44800 cannot be read"):
        open_dataset(path)
    assert 16 <= len(reads) <= 2 * 16 + 8, "two for each halving of 2^16"


# ---- Folders


def test_links_that_multiply(tmp_path):
    """2^40 paths to one file: a folder counts once in a class."""
    folder = tmp_path / "a"
    for level in range(40):
        below = folder / "x" if level < 39 else folder
        below.mkdir(parents=True, exist_ok=True)
        if level < 39:
            os.symlink("x", folder / "y")
        folder = below
    (folder / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="leads to a folder that is already in this class"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("skip", [False, True])
def test_too_little_memory_is_no_damage(tmp_path, skip):
    """What --skip-damaged left out depended on the machine's free memory."""
    image_module = pytest.importorskip("PIL.Image")
    for name, side in ("0", 32), ("1", 32), ("large", 6000):
        image_module.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    program = (
        "import PIL.Image; PIL.Image.init(); taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (taken + (100 << 20),) * 2); "
        f"open_dataset(sys.argv[1], image=(3, 32, 32), skip_damaged={skip}).read(slice(None))"
    )
    message = refused(tmp_path, program)
    assert message.endswith("large.png: image 2 cannot be read: there is not enough memory to decode 6000x6000 pixels\n")
    assert len(open_dataset(tmp_path, image=(3, 32, 32), skip_damaged=True)) == 3


def test_too_few_files_are_no_damage(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    for number in range(2):
        image_module.new("RGB", (32, 32)).save(tmp_path / f"{number}.png")
    program = (
        "data = open_dataset(sys.argv[1], skip_damaged=True); from deepinfomax.data.dataset import without_damaged; import os; "
        "kept = [os.dup(0) for _ in range(os.open('/dev/null', 0), 40)]; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); "
        "without_damaged(data)"
    )
    assert refused(tmp_path, program).endswith("0.png: image 0 cannot be read: Too many open files\n")


def test_a_chunk_of_many_images_is_decoded_once(tmp_path):
    """Each of 100 images was decoded with the 99 others: a file of 0.1 MB took a minute."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (100, 1, 1000, 1000), "u1", chunks=(100, 1, 1000, 1000), compression="gzip")[0] = 1
    data = open_dataset(tmp_path / "a.h5")
    assert data.notes == (
        "a.h5: images: to read an image, 100 MB are decoded, a chunk, which stay in memory; save it in chunks of one image or a few",
    )
    before = time.process_time()
    assert [data.read([number]).max() for number in range(0, 100, 3)] == [np.float32(1 / 255)] + 33 * [0]
    assert time.process_time() - before < 5
