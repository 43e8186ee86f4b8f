"""Files that appear whole or not at all, and what is no file."""

import os
import stat

import pytest
from deepinfomax._files import whole, write_whole


def test_new_and_replaced(tmp_path):
    path = tmp_path / "a"
    write_whole(path, b"one")
    mask = os.umask(0)
    os.umask(mask)
    assert path.read_bytes() == b"one" and stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_keeps_what_was_there(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), whole(path) as name:
        with open(name, "wb") as file:
            file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a"]


def test_errors_name_the_file(tmp_path):
    for path in (tmp_path / "nothing" / "a", tmp_path):
        with pytest.raises(OSError) as caught:
            write_whole(path, b"x")
        assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, whole(tmp_path / "a"):
        open(tmp_path / "data")
    assert caught.value.filename == str(tmp_path / "data"), "an error of another file is of that file"
    assert os.listdir(tmp_path) == []


def test_a_link_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/a")
    write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "a").read_bytes() == b"x"


def test_a_device_stays(tmp_path):
    """Root could replace it by a file."""
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make a device")
    write_whole(tmp_path / "null", b"x")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode) and os.listdir(tmp_path) == ["null"]
