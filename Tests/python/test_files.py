"""Files that appear whole or not at all, and what is no file."""

import errno
import gc
import inspect
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from deepinfomax import _copies
from deepinfomax._files import whole, write_whole
from deepinfomax.commands import UsageError
from deepinfomax.commands._common import check_writable


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


def deep(folder):
    """A folder below, whose path is as long as the system takes one with a name of five characters."""
    path = str(folder)
    while (left := 4089 - len(os.fsencode(path))) > 1:
        path += "/" + "d" * min(left - 1, 200 if left > 202 or left < 202 else 199)
    os.makedirs(path)
    return path


def test_paths_as_long_as_the_system_takes_them(tmp_path):
    """What is added to the name while it is written was too much."""
    folder = deep(tmp_path)
    path = f"{folder}/a.npz"
    assert len(os.fsencode(path)) == 4095
    for content in b"one", b"two":
        write_whole(path, content)
        assert Path(path).read_bytes() == content and os.listdir(folder) == ["a.npz"]
    with pytest.raises(OSError, match="a.npz") as caught, whole(path):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == path and os.listdir(folder) == ["a.npz"]
    os.symlink(folder, tmp_path / "link")
    opened = os.open(folder, os.O_RDONLY)
    os.mkdir("further below", dir_fd=opened)
    os.close(opened)
    longer = tmp_path / "link" / "further below" / "b"
    write_whole(longer, b"three")
    assert longer.read_bytes() == b"three" and os.listdir(longer.parent) == ["b"]
    os.symlink("link/further below/b", tmp_path / "file")
    write_whole(tmp_path / "file", b"four")
    assert longer.read_bytes() == b"four" and (tmp_path / "file").is_symlink()
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "link" / "nothing" / "b", b"")
    assert caught.value.filename == str(tmp_path / "link" / "nothing" / "b")
    before = set(os.listdir("/proc/self/fd"))
    write_whole(path, b"five")
    assert set(os.listdir("/proc/self/fd")) == before


def test_an_error_keeps_what_was_there(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), whole(path) as name:
        with open(name, "wb") as file:
            file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a"]


def test_a_signal_as_the_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    """A signal's exception comes as the call ends: the file was there, and its name was not yet known."""
    open_ = os.open

    def interrupted(*arguments):
        os.close(open_(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", b"x")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_a_signal_as_a_file_for_what_is_open_is_made_leaves_nothing(tmp_path, monkeypatch):
    """By the name of an open file: its content waits in the folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_ = os.open

    def interrupted(*arguments, **options):
        os.close(open_(*arguments, **options))
        raise KeyboardInterrupt

    with open(os.devnull, "wb") as null, tempfile.TemporaryFile() as opened:
        link = f"/proc/self/fd/{opened.fileno()}"
        with whole(link) as name:
            assert os.listdir(tmp_path) == [os.path.basename(name)] and os.stat(name).st_mode & 0o777 == 0o600, null
        assert os.listdir(tmp_path) == []
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write_whole(link, b"x")
    assert os.listdir(tmp_path) == []


_INTERRUPTED = """
import copy, random, signal, sys, time
import deepinfomax as dim
sys.unraisablehook = lambda what: None  # Of what Python was cleaning up itself.
model = dim.Model(0, "basic28")
copy.deepcopy(model)
signal.signal(signal.SIGINT, signal.default_int_handler)
for _ in range(60):
    until = time.monotonic() + 1
    try:
        print(flush=True)
        while time.monotonic() < until:
            copy.deepcopy(model)
    except KeyboardInterrupt:
        pass
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # One that comes late.
    signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def test_ctrl_c_amid_copies_leaves_nothing(tmp_path):
    """Of one in five a folder stayed."""
    chance = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path), "DIM_NUM_THREADS": "1"},
    ) as process:
        while process.stdout.readline():
            time.sleep(chance.uniform(0.001, 0.04))
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0 and os.listdir(tmp_path) == []


def _written(path):
    with open(path, "wb") as file:
        file.write(b"x")


def _write_open(folder):
    with open(folder / "a", "wb") as file:
        write_whole(f"/proc/self/fd/{file.fileno()}", b"x")


def _fail(folder):
    try:
        with whole(folder / "a"):
            raise KeyError
    except KeyError:
        pass


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: _copies.content(_written),
        lambda folder: _copies.opened(b"x", os.stat),
        lambda folder: write_whole(folder / "a", b"x"),
        _write_open,
        _fail,
    ],
    ids=["content", "opened", "whole", "of an open file", "an error"],
)
def test_ctrl_c_leaves_nothing_whenever_it_comes(tmp_path, monkeypatch, act):
    """Python raises it where a function of its own begins, and where one of C has ended: at each of these places, one by one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    act(tmp_path)
    for place in range(10_000):
        left = place

        def count(frame, event, _function):
            nonlocal left
            # A generator that goes on runs its `finally` for a signal, and not for what a profiler raises there.
            if event == "c_return" or event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt

        before = sys.getprofile()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Of files that were opened and had no name yet.
            try:
                sys.setprofile(count)
                act(tmp_path)
                sys.setprofile(before)
                break
            except KeyboardInterrupt:
                sys.setprofile(before)
            gc.collect()
        assert set(os.listdir(tmp_path)) <= {"a"}, place
    assert 10 < place < 9_999


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


def test_links_that_lead_to_themselves_are_no_place(tmp_path):
    """The link was replaced by a file."""
    (tmp_path / "one").symlink_to("one")
    (tmp_path / "two").symlink_to("three")
    (tmp_path / "three").symlink_to(tmp_path / "two")
    for name in "one", "two", "three":
        with pytest.raises(OSError) as caught:
            write_whole(tmp_path / name, b"x")
        assert caught.value.errno == errno.ELOOP and caught.value.filename == str(tmp_path / name)
    assert all((tmp_path / name).is_symlink() for name in ("one", "two", "three")) and len(os.listdir(tmp_path)) == 3


def test_what_a_process_has_open_stays(tmp_path):
    """dim ... --output /dev/stdout >log: the log is the shell's, and whoever reads it has it open. What was printed there
    stays, and what is printed afterwards comes behind."""
    with open(tmp_path / "log", "w+b", buffering=0) as log:
        log.write(b"before, ")
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{log.fileno()}")
        for name in f"/dev/fd/{log.fileno()}", tmp_path / "link":
            write_whole(name, b"said, ")
            assert os.fstat(log.fileno()).st_ino == (tmp_path / "log").stat().st_ino
        log.write(b"after")
        assert os.pread(log.fileno(), 99, 0) == b"before, said, said, after"
    assert sorted(os.listdir(tmp_path)) == ["link", "log"]


NOBODY = 2**32 - 1


@pytest.mark.skipif(os.geteuid() != 0, reason="files of other users take root")
@pytest.mark.parametrize("groups, found", [([62001], (61002, 62001, 0o660)), ([], (61002, 62002, 0o600))])
def test_the_group_is_kept_or_its_rights_go(groups, found):
    """One of the team, and one outside, replace a file of the team, by mode 0660."""
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lets nobody else pass
        replaces(Path(folder), groups, found)


#: user::rw- user:61002:rw- group::--- mask::rw- other::r--
LIST = struct.pack("<I" + 5 * "HHI", 2, 1, 6, NOBODY, 2, 6, 61002, 4, 0, NOBODY, 16, 6, NOBODY, 32, 4, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of other users take root")
@pytest.mark.parametrize("groups, kept", [([62001], True), ([], False)])
def test_an_access_control_list_is_kept_or_the_groups_rights_go(groups, kept):
    """The list's mask stands where the group's rights are: without the list the group, which has none, would get them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").touch()
        listed(folder / "a", "system.posix_acl_access")
        os.setxattr(folder / "a", "user.origin", b"camera")
        replaces(folder, groups, (61002, 62001 if kept else 62002, 0o664 if kept else 0o600), mode=0o664)
        assert os.getxattr(folder / "a", "user.origin") == b"camera"
        found = {name: os.getxattr(folder / "a", name) for name in os.listxattr(folder / "a")}
        assert found.get("system.posix_acl_access") == (LIST if kept else None)


def test_a_folders_list_is_not_that_of_a_file_that_is_replaced(tmp_path):
    write_whole(tmp_path / "a", b"before")
    (tmp_path / "a").chmod(0o640)
    listed(tmp_path, "system.posix_acl_default")
    write_whole(tmp_path / "a", b"after")
    assert (
        "system.posix_acl_access" not in os.listxattr(tmp_path / "a") and stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    )


#: user::rwx group::--- other::---
PRIVATE = struct.pack("<I" + 3 * "HHI", 2, 1, 7, NOBODY, 4, 0, NOBODY, 32, 0, NOBODY)
#: user::rwx user:61002:rwx group::r-x mask::rwx other::---
SHARED = struct.pack("<I" + 5 * "HHI", 2, 1, 7, NOBODY, 2, 7, 61002, 4, 5, NOBODY, 16, 7, NOBODY, 32, 0, NOBODY)


@pytest.mark.parametrize("rights", [PRIVATE, SHARED], ids=["private", "shared"])
def test_a_new_file_has_the_rights_that_its_folder_gives(tmp_path, rights):
    """Those of the umask were set over them: a folder that lets others read nothing had files that they could read."""
    listed(tmp_path, "system.posix_acl_default", rights)
    (tmp_path / "plain").write_bytes(b"x")
    write_whole(tmp_path / "whole", b"x")
    assert rights_of(tmp_path / "whole") == rights_of(tmp_path / "plain")
    assert rights_of(tmp_path / "plain")[0] & 0o007 == 0


def test_who_waits_for_a_new_file_meets_no_changed_umask(tmp_path, monkeypatch):
    """It was set to 0 for a moment, in which another thread's files were everybody's to write."""
    monkeypatch.setattr(os, "umask", None)
    write_whole(tmp_path / "a", b"x")


@pytest.mark.parametrize("before, during", [(0o600, 0o600), (0o644, 0o600), (None, None)])
def test_what_replaces_a_file_is_private_until_it_does(tmp_path, before, during):
    """A new one has what any new file has, from the beginning."""
    (tmp_path / "plain").touch()
    path = tmp_path / "a"
    if before is not None:
        path.touch()
        path.chmod(before)
    with whole(path) as name:
        assert rights_of(name)[0] == (rights_of(tmp_path / "plain")[0] if during is None else during)


def rights_of(path):
    mode, lists = stat.S_IMODE(os.stat(path).st_mode), [name for name in os.listxattr(path) if "posix_acl" in name]
    return mode, [os.getxattr(path, name) for name in lists]


def listed(path, kind, rights=LIST):
    try:
        os.setxattr(path, kind, rights)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")


def replaces(folder, groups, found, mode=0o660):
    folder.chmod(0o777)
    (folder / "a").write_bytes(b"before")
    os.chown(folder / "a", 61001, 62001)
    (folder / "a").chmod(mode)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(62002)
            os.setuid(61002)
            write_whole(folder / "a", b"after")
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    status = (folder / "a").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == found
    assert (folder / "a").read_bytes() == b"after"


def test_a_device_stays(tmp_path):
    """Root could replace it by a file."""
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make a device")
    write_whole(tmp_path / "null", b"x")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode) and os.listdir(tmp_path) == ["null"]


@pytest.mark.skipif(os.geteuid() != 0, reason="files of other users take root")
@pytest.mark.parametrize("owner, folders_owner, refused", [(61001, 0, True), (61002, 0, False), (61001, 61002, False)])
def test_a_file_of_another_user_in_a_sticky_folder_is_refused_before_the_work(owner, folders_owner, refused):
    """As in /tmp: that it cannot be replaced was said when all images had been encoded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.touch()
        os.chown(path, owner, owner)
        os.chown(folder, folders_owner, folders_owner)
        Path(folder).chmod(0o1777)
        (Path(folder) / "link").symlink_to(path)
        said = []
        for name in "a", "link", "new":
            child = os.fork()
            if child == 0:
                os.setgid(61002)
                os.setuid(61002)
                try:
                    check_writable(Path(folder) / name)
                    os._exit(0)
                except UsageError as error:
                    os._exit(1 if "cannot be replaced: it is another user's" in str(error) else 2)
            said.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert said == [refused, refused, False]


@pytest.mark.parametrize("name", [255 * "x", 127 * "\u00fc", os.fsdecode(255 * b"\xfc")])
def test_names_as_long_as_may_be(tmp_path, name):
    """A file beside it, which is written first, was too long."""
    write_whole(tmp_path / name, b"1")
    write_whole(tmp_path / name, b"2")
    assert (tmp_path / name).read_bytes() == b"2" and os.listdir(tmp_path) == [name]
