"""Guard files: who works on a thing holds its file; who waits, waits for a bounded time and is told for whom.

The operating system lets go of a guard when its holder ends, however it ends. What a guard file says (process,
host, purpose) is for messages only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envid.errors import GuardTimeout, WriteFailed
from envid.values.frozen import dataclass
from envid.whole import make_directory

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LONGEST_PAUSE: Final = 0.05
"""Seconds between two looks at a guard that is held; flock has no wait with a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A guard that this process holds."""

    descriptor: int
    """For a child that is to hold the guard, too: it stays held until both have ended, or until the block has."""
    waited: bool
    """Whether another process held it before."""


@contextlib.contextmanager
def hold(
    path: Path | str, *, timeout: float = 60.0, shared: bool = False, purpose: str = "", mode: int = 0o644
) -> Iterator[Held]:
    """Hold the guard file ``path``, alone or ``shared``; wait at most ``timeout`` seconds, then raise GuardTimeout.

    ``purpose`` is what the message of a waiter says about the holder. ``mode`` is that of a new file, whatever the
    umask: who shares a store must be able to open what another has made. Raises WriteFailed when the file cannot be
    opened. Only who holds a guard alone may unlink it: waiters look whether theirs is still the one that has the name.
    """
    make_directory(os.path.dirname(path))
    handle, waited = _acquire(os.fspath(path), timeout, shared, mode)
    try:
        if not shared:
            _sign(handle, purpose)
        yield Held(descriptor=handle, waited=waited)
    finally:
        _release(handle)


def is_held(path: Path | str) -> bool:
    """Return whether a process, this one too, holds the guard file ``path`` alone at this moment."""
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _acquire(path: str, timeout: float, shared: bool, mode: int) -> tuple[int, bool]:
    import fcntl
    import time

    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = time.monotonic() + timeout
    pause, waited = 0.001, False
    while True:
        handle = _open(path, mode)
        try:
            fcntl.flock(handle, how)
            if _is_named(handle, path):
                return handle, waited
            os.close(handle)
            continue
        except BlockingIOError:
            waited = True
            if time.monotonic() >= deadline:
                holder = _holder(handle)
                os.close(handle)
                raise GuardTimeout(
                    f"{path} is held by {holder}", hint="wait for it to end, or end it, and try again", path=path
                ) from None
            os.close(handle)
        except OSError as error:
            os.close(handle)
            raise WriteFailed(f"cannot hold {path}: {error.strerror}", path=path) from error
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _release(handle: int) -> None:
    import fcntl

    try:
        # Closing alone is not enough: what a child of ours leaves running (a compiler's cache) may hold the descriptor.
        fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _open(path: str, mode: int) -> int:
    try:
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW, mode)
                # Where the filesystem has no modes, there is none to set.
                with contextlib.suppress(OSError):
                    os.fchmod(handle, mode)
                return handle
            except FileExistsError:
                # Not waited for: a pipe in its place would hold us up for ever.
                with contextlib.suppress(FileNotFoundError):
                    try:
                        return os.open(path, os.O_RDWR | os.O_CLOEXEC | _NOFOLLOW | os.O_NONBLOCK)
                    except IsADirectoryError:
                        os.rmdir(path)
    except OSError as error:
        raise WriteFailed(f"cannot open {path}: {error.strerror}", path=path) from error


def _is_named(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _sign(handle: int, purpose: str) -> None:
    text = f"{os.getpid()} {_started(os.getpid()) or '-'} {os.uname().nodename} {purpose[:200]}\n"
    # What has a second name may be somebody's own file, linked to here.
    if os.fstat(handle).st_nlink != 1:
        return
    # Who holds it is for messages only: on a full disk the guard works without.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode("utf-8", "replace"), 0)


def _holder(handle: int) -> str:
    """Return the holder in words: process, host, purpose, and whether it is stopped or gone."""
    words: list[str] = []
    # A pipe in its place is held as well as a file, and says nothing.
    with contextlib.suppress(OSError):
        words = os.pread(handle, 512, 0).decode("utf-8", "replace").split(maxsplit=3)
    if len(words) < 3 or not words[0].isdigit():
        return "another process"
    pid, started, host = int(words[0]), words[1], words[2]
    purpose = f" ({words[3].strip()})" if len(words) > 3 and words[3].strip() else ""
    if host != os.uname().nodename:
        return f"process {pid} on {host}{purpose}"
    now = _started(pid)
    if now is None or started not in ("-", now):
        # The descriptor lives on in a child: the holder that signed is gone, or its number is another's by now.
        return f"a child of process {pid}, which has ended{purpose}"
    return f"process {pid}{', which is stopped' if _stopped(pid) else ''}{purpose}"


def _status(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The second field is the program's name in parentheses, with whatever it has inside.
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return None


def _started(pid: int) -> str | None:
    status = _status(pid)
    # A dead process stays in the list until somebody waits for it, which in a container may be nobody.
    return status[19] if status is not None and len(status) > 19 and status[0] not in "ZX" else None


def _stopped(pid: int) -> bool:
    status = _status(pid)
    return status is not None and status[:1] in (["T"], ["t"])
