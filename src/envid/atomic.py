"""Write, rename, remove: with ``whole``, which it passes on, the only module that changes files.

A reader sees the old file or the new one, never half of either; a failed write leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from envid.errors import WriteFailed
from envid.whole import (
    Name,
    append,
    discard,
    is_sole,
    make_directory,
    open_regular,
    replacing,
    sync_directory,
    write,
)

__all__ = [
    "append", "clear", "copy", "discard", "freshen", "lead", "make_directories", "make_directory", "place", "publish",
    "put_back", "remove_file", "remove_if_empty", "remove_tree", "rename", "replacing", "resumable", "settle",
    "take_out", "temporary_directory", "write",
]  # fmt: skip

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_PRIVATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW
_REMOVALS: Final = 1000
"""How often a directory is removed in which somebody goes on to make files."""


@contextlib.contextmanager
def resumable(path: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a stream at the end of what an earlier try left of ``path``, which it becomes when the block ends well.

    When the block fails, what was written stays for the next try (nothing stays of an empty file).
    While another process works on the same file, the stream is a private one that starts empty.
    Raises WriteFailed.
    """
    make_directory(path.parent)
    private = False
    temporary = os.path.join(path.parent, f".{path.name[:200]}.part")
    try:
        kept = _taken_up(temporary)
        if kept is None:
            private = True
            temporary = os.path.join(path.parent, f".{path.name[:200]}.{os.urandom(6).hex()}.part")
        handle = os.open(temporary, _PRIVATE, 0o600) if kept is None else kept
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror}", path=str(path)) from error
    stream = os.fdopen(handle, "r+b")
    try:
        stream.seek(0, os.SEEK_END)
        yield stream
        stream.flush()
        os.fchmod(handle, mode)
        if durable:
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException as error:
        # Closing flushes, which fails again on a full disk.
        with contextlib.suppress(OSError):
            stream.flush()
        # On a full disk the first part is only in the way.
        if private or isinstance(error, OSError) or os.fstat(handle).st_size == 0:
            discard(temporary)
        if isinstance(error, OSError):
            raise WriteFailed(f"cannot write {path}: {error.strerror}", path=str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _taken_up(temporary: str) -> int | None:
    """Return what an earlier try left, or a new file, open and held; None where another process is at it.

    None also for what no earlier try of this user's leaves: a pipe, a link, or a file that has a second name, which
    may be anybody's. Such things are removed where that is possible. Raises OSError.
    """
    import fcntl

    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW | _NONBLOCK, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EMLINK):
            raise
        with contextlib.suppress(OSError):
            clear(temporary, os.lstat(temporary))
        return None
    try:
        found = os.fstat(handle)
        if not is_sole(found):
            clear(temporary, found)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have renamed it to its end between our open and our lock.
            if os.path.samestat(os.fstat(handle), os.lstat(temporary)):
                return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def clear(path: str, found: os.stat_result) -> None:
    """Remove what stands in the way at ``path``: an empty directory, or no file with one name; best effort."""
    if stat.S_ISDIR(found.st_mode):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    # Another member of a shared store may be writing to a file of its own at this moment.
    elif not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        discard(path)


def remove_file(path: Path) -> None:
    """Remove a file or a symbolic link; one that is not there is no error."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteFailed(f"cannot remove {path}: {error.strerror}", path=str(path)) from error


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it, following no link; one that is not there is no error."""
    import shutil

    try:
        try:
            shutil.rmtree(path)
        except RecursionError:
            _flatten(path)
            shutil.rmtree(path)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENAMETOOLONG):
                _flatten(path)
                shutil.rmtree(path)
                return
            if error.errno != errno.ENOTEMPTY:
                raise
            # Somebody still writes there. What it names is moved away from it; who holds a directory open can go on,
            # and be faster now and then, until that directory is gone.
            aside = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
            os.replace(path, aside)
            for left in reversed(range(_REMOVALS)):
                try:
                    shutil.rmtree(aside)
                    break
                except OSError as again:
                    if again.errno != errno.ENOTEMPTY or not left:
                        raise
    except FileNotFoundError:
        return
    except OSError as error:
        raise WriteFailed(f"cannot remove {path}: {error.strerror}", path=str(path)) from error


def _flatten(path: Path) -> None:
    """Move every directory below ``path`` right into it, so that none is deep: removal by recursion has a limit."""
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | _NOFOLLOW)
    try:
        waiting = os.listdir(top)
        while waiting:
            name = waiting.pop()
            if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                continue
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | _NOFOLLOW, dir_fd=top)
            try:
                for inner in os.listdir(folder):
                    if stat.S_ISDIR(os.stat(inner, dir_fd=folder, follow_symlinks=False).st_mode):
                        moved = os.urandom(12).hex()
                        os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=top)
                        waiting.append(moved)
            finally:
                os.close(folder)
    finally:
        os.close(top)


def rename(old: Name, new: Name) -> None:
    """Rename within one filesystem, replacing a file (or an empty directory) at ``new``."""
    try:
        os.replace(old, new)
    except OSError as error:
        raise WriteFailed(f"cannot rename {old} to {new}: {error.strerror}", path=os.fspath(new)) from error


def copy(old: Path, new: Path) -> None:
    """Copy a file, or a symbolic link as one, with mode and times; raise WriteFailed."""
    import shutil

    try:
        shutil.copy2(old, new, follow_symlinks=False)
    except OSError as error:
        raise WriteFailed(f"cannot copy {old} to {new}: {error.strerror}", path=str(new)) from error


def name_again(old: str, new: str) -> None:
    """Give the file or link ``old`` the second name ``new``, or a copy where it can have none; raise WriteFailed."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            raise WriteFailed(f"cannot put {old} back to {new}: {error.strerror}", path=new) from error
        copy(Path(old), Path(new))


def lead(link: str, target: str) -> None:
    """Make the symbolic link ``link`` to ``target``, or have it lead there from now on; raise WriteFailed."""
    temporary = os.path.join(os.path.dirname(link), f".{os.path.basename(link)[:40]}.{os.urandom(6).hex()}.part")
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
    except OSError as error:
        discard(temporary)
        raise WriteFailed(f"cannot make the link {link}: {error.strerror}", path=link) from error


def place(old: Path, new: Path, *, mode: int = 0o644) -> None:
    """Put a copy of the bytes of ``old`` at ``new``, whole or not at all; raise WriteFailed."""
    import shutil

    with replacing(new, mode=mode) as stream, open_regular(old) as source:
        shutil.copyfileobj(source, stream, 1024 * 1024)


def remove_if_empty(path: Path) -> bool:
    """Remove a directory if there is nothing in it; return whether it is gone."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def settle(directory: Path) -> None:
    """Ask for the names in ``directory`` to be on disk before returning; best effort."""
    with contextlib.suppress(OSError):
        sync_directory(directory)


@contextlib.contextmanager
def temporary_directory(*, beside: Path | None = None, prefix: str = "envid-") -> Iterator[Path]:
    """Yield a private directory that is gone when the block ends; on the filesystem of ``beside``."""
    import shutil
    import tempfile

    try:
        made = tempfile.mkdtemp(prefix=prefix, dir=beside)
    except OSError as error:
        raise WriteFailed(f"cannot make a temporary directory: {error.strerror}", path=str(beside or "")) from error
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(
    path: str, parts: Iterable[bytes | memoryview], *, size: int, temporary: str, mode: int, exact: bool = False
) -> bool:
    """Put ``parts`` (``size`` bytes in all) at ``path`` if nothing is there; return False where something is.

    Written to a new file in the directory ``temporary`` of the same filesystem, which then gets its name, so that
    nobody sees a part, and of two writers the first stays. ``mode`` passes through the umask unless ``exact``.
    Nothing is synced: for files that prove themselves when they are read. Raises WriteFailed with nothing left behind.
    """
    part = os.path.join(temporary, f"{os.urandom(8).hex()}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW, mode)
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror}", path=path) from error
    try:
        try:
            if exact:
                os.fchmod(handle, mode)
            if size >= _RESERVED and hasattr(os, "posix_fallocate"):
                # A full disk is found here, not after most of the bytes.
                os.posix_fallocate(handle, 0, size)
            _write_all(handle, parts)
        finally:
            # A filesystem may tell only now that it did not take the bytes.
            os.close(handle)
        return _name(part, path)
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror}", path=path) from error
    finally:
        discard(part)


_RESERVED: Final = 1024 * 1024


def _write_all(handle: int, parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[os.write(handle, left) :]


def _name(part: str, path: str) -> bool:
    """Give the file ``part`` the name ``path`` as well, making its directory if need be."""
    for attempt in (0, 1):
        try:
            os.link(part, path, follow_symlinks=False)
            return True
        except FileExistsError:
            return False
        except FileNotFoundError:
            if attempt:
                raise
            _make_directories(os.path.dirname(path), os.stat(os.path.dirname(part)).st_mode & 0o7777)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            # A filesystem without hard links. Two writers of one key may both get here, with the same bytes.
            if os.path.lexists(path):
                return False
            os.rename(part, path)
            return True
    raise AssertionError(path)


def make_directories(path: str, *, mode: int) -> None:
    """Make the directory ``path`` and its parents, each with ``mode``, whatever the umask; raise WriteFailed."""
    try:
        _make_directories(path, mode)
    except OSError as error:
        raise WriteFailed(f"cannot make the directory {path}: {error.strerror}", path=path) from error


def _make_directories(path: str, mode: int) -> None:
    if os.path.isdir(path):
        return
    _make_directories(os.path.dirname(path), mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        os.chmod(path, mode)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def take_out(root: str, name: str, aside: str) -> bool:
    """Rename ``root/name`` to ``aside``, going through no symbolic link below ``root``; False when it is not there.

    A directory on the way that became a link meanwhile would lead out of ``root``. Raises WriteFailed.
    """
    *parents, last = name.split("/")
    try:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parents:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | _NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = below
            os.rename(last, aside, src_dir_fd=handle)
        finally:
            os.close(handle)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise WriteFailed(f"cannot take {name} out of {root}: {error.strerror}", path=f"{root}/{name}") from error
    return True


def put_back(aside: str, path: str) -> bool:
    """Give the file ``aside`` the name ``path`` again unless something has it; ``aside`` is gone. Best effort."""
    with contextlib.suppress(OSError):
        os.link(aside, path, follow_symlinks=False)
        discard(aside)
        return True
    discard(aside)
    return False


_DAY: Final = 24 * 3600


def freshen(file: Name | int, last: float) -> None:
    """Give ``file`` (or an open one) the present time, when ``last``, its time, is over a day away. Best effort.

    In either direction: a time in the future, from a clock that was wrong, would look like use for ever.
    """
    import time

    if abs(time.time() - last) > _DAY:
        with contextlib.suppress(OSError):
            os.utime(file)
