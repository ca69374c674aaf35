"""A file written whole or not at all: the half of ``atomic`` that a key needs, without ``pathlib``.

Importing ``pathlib`` costs a first key a twentieth of its time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from typing import IO

from envid.errors import WriteFailed

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

Name = str | os.PathLike[str]


def open_regular(path: Name, *, follow: bool = True) -> BufferedReader:
    """Open a regular file for reading; raise OSError for anything else, at once.

    A plain ``open`` of a named pipe waits until somebody writes to it. Without ``follow``, a symbolic link in the
    file's place is an error, too.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NONBLOCK | (0 if follow else _NOFOLLOW))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        return open(handle, "rb")
    except BaseException:
        shut(handle)
        raise


def is_sole(found: os.stat_result) -> bool:
    """Return whether a file is a regular one of this user's that has one name only.

    What has another name may be somebody's file, linked to where envid writes; an archive can bring such a link.
    """
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and own


def write(path: Name, data: bytes, *, mode: int = 0o644, durable: bool = True) -> bool:
    """Put ``data`` at ``path`` by rename; return False, touching nothing, when it is there already.

    ``mode`` is used as is (not masked by umask) for a new file; an existing file keeps its own.
    ``durable`` asks for the file and its directory to be on disk before returning.
    Raises WriteFailed with nothing left behind.
    """
    with contextlib.suppress(OSError), open_regular(path) as there:
        if there.read() == data:
            return False
        mode = os.fstat(there.fileno()).st_mode & 0o777
    with replacing(path, mode=mode, durable=durable) as stream:
        stream.write(data)
    return True


@contextlib.contextmanager
def replacing(path: Name, *, mode: int = 0o644, durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a stream whose bytes become ``path`` when the block ends well, and nothing otherwise."""
    try:
        directory, name = os.path.split(os.fspath(path))
        os.makedirs(directory or ".", exist_ok=True)
        # Exclusive, no symlink followed, in the directory of the target so that the rename is atomic. Not `tempfile`:
        # its imports cost more than a whole `envid key`.
        temporary = os.path.join(directory, f".{name[:40]}.{os.urandom(6).hex()}.part")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW, 0o600)
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror}", path=str(path)) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), mode) if hasattr(os, "fchmod") else os.chmod(temporary, mode)
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
        if durable:
            sync_directory(directory or ".")
    except OSError as error:
        discard(temporary)
        raise WriteFailed(f"cannot write {path}: {error.strerror}", path=str(path)) from error
    except BaseException:
        discard(temporary)
        raise


def discard(path: str) -> None:
    """Remove a file if that is possible."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def shut(handle: int) -> None:
    """Close a descriptor that was only read from.

    Network filesystems may fail here; whoever has read the bytes, and proven them, does not care.
    """
    with contextlib.suppress(OSError):
        os.close(handle)


def sync_directory(path: Name) -> None:
    """Have the names in a directory on disk."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append(path: Name, data: bytes, *, mode: int = 0o644, follow: bool = True) -> None:
    """Add ``data`` at the end of a file that others write to as well, in one piece; raise WriteFailed.

    ``mode`` (less the umask) is that of a new file; without ``follow``, it is an error when anything stands in its
    place but a file with this name only: a link or a pipe, say.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (0 if follow else _NOFOLLOW | _NONBLOCK)
        handle = os.open(path, flags, mode)
        try:
            found = os.fstat(handle)
            if not follow and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                raise OSError(errno.EINVAL, "it is not a file with this name only", path)
            while data:
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)
    except OSError as error:
        raise WriteFailed(f"cannot append to {os.fspath(path)}: {error.strerror}", path=str(path)) from error


def make_directory(path: Name, *, mode: int = 0o755) -> None:
    """Make ``path`` and its parents; raise WriteFailed when that is not possible."""
    try:
        # The mode is that of the last directory only; `os.makedirs` says the same since Python 3.7.
        os.makedirs(path, mode=mode, exist_ok=True)
    except OSError as error:
        raise WriteFailed(f"cannot make the directory {path}: {error.strerror}", path=str(path)) from error


def set_mode(path: Name, mode: int) -> None:
    """Give ``path`` exactly ``mode``, whatever the umask; raise WriteFailed."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        raise WriteFailed(
            f"cannot set the mode of {os.fspath(path)}: {error.strerror}", path=os.fspath(path)
        ) from error
