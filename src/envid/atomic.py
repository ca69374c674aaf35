"""Write, rename, remove: with ``whole``, which it passes on, the only module that changes files.

A reader sees the old file or the new one, never half of either; a failed write leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from envid.errors import GuardTimeout, WriteFailed
from envid.whole import append, discard, make_directory, replacing, sync_directory, write

__all__ = [
    "append", "copy", "guard", "make_directory", "place", "remove_file", "remove_if_empty", "remove_tree", "rename",
    "replacing", "resumable", "settle", "temporary_directory", "write",
]  # fmt: skip

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def resumable(path: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a stream at the end of what an earlier try left of ``path``, which it becomes when the block ends well.

    When the block fails, what was written stays for the next try (nothing stays of an empty file).
    While another process works on the same file, the stream is a private one that starts empty.
    Raises WriteFailed.
    """
    import fcntl

    make_directory(path.parent)
    private = False
    temporary = os.path.join(path.parent, f".{path.name[:200]}.part")
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have renamed it to its end between our open and our lock.
            stale = not os.path.samestat(os.fstat(handle), os.lstat(temporary))
        except (BlockingIOError, FileNotFoundError):
            stale = True
        if stale:
            os.close(handle)
            private = True
            temporary = os.path.join(path.parent, f".{path.name[:200]}.{os.urandom(6).hex()}.part")
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW, 0o600)
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
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            # Somebody still writes there: the child of a command that was killed. What it names is moved away from it.
            aside = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
            os.replace(path, aside)
            shutil.rmtree(aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise WriteFailed(f"cannot remove {path}: {error.strerror}", path=str(path)) from error


def rename(old: Path, new: Path) -> None:
    """Rename within one filesystem, replacing a file (or an empty directory) at ``new``."""
    try:
        os.replace(old, new)
    except OSError as error:
        raise WriteFailed(f"cannot rename {old} to {new}: {error.strerror}", path=str(new)) from error


def copy(old: Path, new: Path) -> None:
    """Copy a file, or a symbolic link as one, with mode and times; raise WriteFailed."""
    import shutil

    try:
        shutil.copy2(old, new, follow_symlinks=False)
    except OSError as error:
        raise WriteFailed(f"cannot copy {old} to {new}: {error.strerror}", path=str(new)) from error


def place(old: Path, new: Path, *, mode: int = 0o644) -> None:
    """Put a copy of the bytes of ``old`` at ``new``, whole or not at all; raise WriteFailed."""
    import shutil

    with replacing(new, mode=mode) as stream, open(old, "rb") as source:
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


@contextlib.contextmanager
def guard(path: Path, *, timeout: float = 60.0) -> Iterator[None]:
    """Hold the exclusive guard file ``path``; wait at most ``timeout`` seconds, then raise GuardTimeout.

    The guard file is never unlinked: unlinking splits the waiters over two inodes.
    """
    import fcntl
    import time

    make_directory(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW, 0o644)
    except OSError as error:
        raise WriteFailed(f"cannot open {path}: {error.strerror}", path=str(path)) from error
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise GuardTimeout(f"{path} is held by process {holder}", path=str(path)) from None
                time.sleep(0.05)
        # Who holds it is for the message above only: on a full disk the guard works without.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
