"""Files that appear whole or not at all, and whether two names are of one file."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

_ACCESS_LIST = "system.posix_acl_access"
#: Of a path, the NUL at its end included; and what a new file's name may have more than the one whose place it takes.
_LONGEST, _ADDED = 4096, 32
#: Of the content, or for programs: signatures and capabilities.
_NOT_HANDED_ON = ("security.capability", "security.evm", "security.ima")


def path_text(path: Any, what: str = "path") -> str:
    """A path's name as Python has it."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{what}: expected a text, bytes or a PathLike, found {type(path).__name__}") from None


def write_whole(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Writes a file, or replaces it, in one go: what stood there before stays until all is on the disk.

    Raises OSError that names `path`.
    """
    with whole(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def read_start(path: str | bytes | os.PathLike[str], most: int) -> bytes:
    """Of a file or pipe, so many bytes at most. A pipe that nobody writes to is not waited for: OSError."""
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        content = b""
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            first = file.read(most)
            if first == b"":  # None where a writer has not written yet.
                raise OSError(errno.ENXIO, "is a pipe that is empty, or that nobody writes to yet", os.fspath(path))
            content = first or b""
        os.set_blocking(file.fileno(), True)
        while len(content) < most and (more := file.read(most - len(content))):
            content += more
    return content


def is_same(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether both are one file or folder, by whatever names: links, hard links, paths."""
    try:
        return os.path.samefile(a, b)
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)


def is_in(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether it is, or would be, below the folder."""
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner.startswith(outer.rstrip(os.sep) + os.sep)


def is_among(path: str | os.PathLike[str], folder: str | os.PathLike[str], names: Iterable[str]) -> bool:
    """Whether it is, or would be, one of the files of these names (`*` in them stands for anything) in the folder."""
    known = list(names)
    for form in (os.path.abspath(path), os.path.realpath(path)):  # A link there, and what a link elsewhere leads to.
        directory, name = os.path.split(form)
        if any(fnmatchcase(name, pattern) for pattern in known) and is_same(directory, folder):
            return True
    return False


def real(path: str | os.PathLike[str]) -> Path:
    """Where its links lead, whether something is there or not. Raises OSError that names `path` for links that lead nowhere,
    since they lead to themselves."""
    found = os.path.realpath(path)
    try:
        os.stat(found)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    return Path(found)


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[str]:
    """The name of an empty file to write to, which becomes `path` when the block ends well and goes when it does not.

    A link stays, and the file that it leads to is replaced. What is no file, /dev/null or a pipe, is written to as it is;
    what a process has open, /dev/stdout, gets it at its place there: another file instead would never be seen.
    Raises OSError that names `path` where it cannot be written; those of other files pass as they are.
    """
    with _in_reach(path) as target:
        yield from _whole(path, target)


@contextmanager
def _in_reach(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where its links lead, by a name that stays one with what `whole` adds: through its opened folder, where it is too long."""
    target = real(path)
    if len(os.fsencode(target)) + _ADDED < _LONGEST:
        yield target
        return
    kind = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open("/", kind)
    try:
        for part in target.parent.parts[1:]:
            try:
                below = os.open(part, kind, dir_fd=folder)
            except OSError as error:
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
            os.close(folder)
            folder = below
        yield Path(f"/proc/self/fd/{folder}") / target.name
    finally:
        os.close(folder)


def _whole(path: str | os.PathLike[str], target: Path) -> Iterator[str]:
    if target.exists() and not target.is_file() and not target.is_dir():
        try:
            yield str(target)
        except OSError as error:
            if error.filename is not None or error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error  # A pipe that nobody reads any more.
        return
    link = _link_of_proc(path)
    if link is not None:
        content = os.path.join(tempfile.gettempdir(), f"deepinfomax-{secrets.token_hex(8)}")
        try:
            os.close(os.open(content, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            yield content
            with open(content, "rb") as file, _appending(link) as opened:
                shutil.copyfileobj(file, opened)
        finally:
            # What C does at once: Ctrl-C may end a function of Python before it begins.
            try:
                os.unlink(content)
            except OSError:  # It was not made.
                pass
        return
    # With what is added, no longer than a name may be. Known before the file is made: a signal may come meanwhile.
    temporary = str(target.parent / f"{os.fsdecode(os.fsencode(f'.{target.name}')[:200])}.{secrets.token_hex(8)}")
    try:
        _make_empty(temporary, target)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        _take_over(temporary, target)
        os.replace(temporary, target)
    except OSError as error:
        if error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        # What C does at once: Ctrl-C may end a function of Python, as `suppress` is, before it begins.
        try:
            os.unlink(temporary)
        except OSError:  # It has become the file, or was not made.
            pass


def may_replace(path: str | os.PathLike[str]) -> bool:
    """Whether `whole` may put a new file in place of what is there. In a sticky folder, /tmp for instance, that is for root, the
    owner of the file and the owner of the folder."""
    target = real(path)
    try:
        file, folder = target.stat(), target.parent.stat()
    except OSError:  # Nothing is there, or nothing is known of it.
        return True
    is_guarded = stat.S_ISREG(file.st_mode) and folder.st_mode & stat.S_ISVTX
    return not is_guarded or os.geteuid() in (0, file.st_uid, folder.st_uid)


def size_text(count: int) -> str:
    """Of a file, for people: "297.8 MB", "812 bytes"."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"


def _make_empty(name: str, target: Path) -> None:
    """A new file, which is to become `target`.

    What replaces nothing gets its rights from the system, as any new file: umask and the folder's default list decide, which no
    mode set afterwards gives again. What replaces a file, which may be private, is nobody else's to read meanwhile.
    """
    os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if target.exists() else 0o666))


def _link_of_proc(path: str | os.PathLike[str]) -> str | None:
    """The link by which /proc shows an open file, where the path leads there, link after link."""
    link = os.fspath(path)
    for _ in range(40):
        if not os.path.islink(link):
            return None
        folder = os.path.realpath(os.path.dirname(link) or ".")
        link = os.path.join(folder, os.path.basename(link))
        if folder.startswith("/proc/"):
            return link
        link = os.path.join(folder, os.readlink(link))
    return None


def _appending(link: str) -> IO[bytes]:
    """What a process has open, to write on where this process is, or at its end where another process has it."""
    folder, name = os.path.split(link)
    if folder == f"/proc/{os.getpid()}/fd" and name.isdecimal():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # What was printed before comes before.
        return open(os.dup(int(name)), "wb")
    return open(link, "ab")


def _take_over(new: str, replaced: Path) -> None:
    """Owner, group, access control list and extended attributes, as far as the system allows, and mode of the file that is
    replaced. Nobody gets rights that the file did not give (docs/hdf5.md, "What a saved file looks like").

    Where the group cannot be kept its rights go: they would be another group's. Where the list cannot, all but the owner's: it may
    deny somebody what others may. `_make_empty` lets nobody else read.
    """
    try:
        old = replaced.stat()
    except FileNotFoundError:  # Nothing to take over: the new file stays as it was made.
        return
    for owner in old.st_uid, -1:
        with suppress(OSError):
            os.chown(new, owner, old.st_gid)
            break
    has_group = os.stat(new).st_gid == old.st_gid
    mode = old.st_mode & 0o777
    if not _take_over_attributes(new, replaced, with_list=has_group):
        mode &= 0o700
    elif not has_group:
        both = mode >> 3 & mode & 0o7
        mode = mode & 0o700 | both << 3 | both
    os.chmod(new, mode)


def _take_over_attributes(new: str, replaced: Path, *, with_list: bool) -> bool:
    """Whether the access control list is the old file's: the same, or none. What the system does not take is left."""
    with suppress(OSError):  # One that the new file had from its folder.
        os.removexattr(new, _ACCESS_LIST)
    try:
        names = [name for name in os.listxattr(replaced) if name not in _NOT_HANDED_ON]
    except OSError as error:
        return error.errno == errno.ENOTSUP  # A file system without lists.
    has_list = True
    for name in names:
        try:
            if name == _ACCESS_LIST and not with_list:
                raise PermissionError
            os.setxattr(new, name, os.getxattr(replaced, name))
        except OSError:
            has_list = has_list and name != _ACCESS_LIST
    return has_list
