"""A walk that reads: every file below a few directories, with a digest of its bytes, on every processor.

It knows nothing of what should be there. So it begins before that is known, and goes on in forked processes while
locks and the contents of wheels are read here; what it finds is compared as columns of bytes.
Forked processes, not threads: for files of a few kilobytes the interpreter's own lock, not the digest, is what one
waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from struct import Struct
from typing import Final, Protocol

from blake3 import blake3

from envid.installed.walk import Look, directory, halves, names_in, processors, status_of

DIGEST: Final = 32
"""Bytes for each name: BLAKE3, or SHA-256 where that was asked for."""
UNREAD: Final = bytes(DIGEST)
"""Of what is no file, cannot be read, or is larger than ``MAX_FILE``."""
MAX_FILE: Final = 1 << 32
"""Bytes; no wheel brings a larger file (zip needs an extension for it), and a sparse one costs nothing to make."""

_SMALL: Final = 64 * 1024
"""Files up to this are read into bytes of their own; larger ones into memory that need not be asked for each time."""
_CHUNK: Final = 1 << 19
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking: a pipe put in the file's place must not hold us up for ever."""
_TYPE, _REGULAR = 0o170000, 0o100000
_FRAME: Final = Struct("<IQQ")
"""Number of the run, bytes of its walk, bytes of its digests."""
_RUNS: Final = 512
"""Runs that the work is cut into; all their numbers fit into a pipe that nobody reads yet."""
_WORTH_FORKING: Final = 24
_PIPE: Final = 1 << 20
"""What may wait in a pipe while nobody reads it, where the system lets us say so."""

Run = tuple[int, bytes, bytes]
"""Its number, the packed walk of some directories, and ``DIGEST`` bytes for each name in it."""


_BUFFER: Final = memoryview(bytearray(_CHUNK))
"""Read into again and again; of each process its own, after the first write."""


class Hasher(Protocol):
    """BLAKE3, or one of hashlib."""

    def update(self, data: bytes | memoryview, /) -> object: ...
    def digest(self) -> bytes: ...


class Reading:
    """Begun when it is made. Take ``runs`` once, all of them, then ``close``; or use it in a ``with``."""

    __slots__ = ("_children", "_plan", "_root", "_taking", "sha256")

    def __init__(self, root: str, tops: list[str], *, sha256: bool = False, workers: int | None = None) -> None:
        """Begin to read all below the directories ``tops`` of ``root``, as ``walk`` takes them."""
        self.sha256 = sha256
        self._root = root
        self._plan = _plan(root, tops)
        self._children: list[tuple[int, int]] = []
        # Whoever is free takes the next number out of the pipe: no guess at what is quick has to be right.
        self._taking, giving = os.pipe()
        os.write(giving, b"".join([number.to_bytes(4, "little") for number in range(len(self._plan))]))
        os.close(giving)
        count = processors() if workers is None else workers
        if hasattr(os, "fork") and len(self._plan) >= _WORTH_FORKING:
            for _ in range(count - 1):
                self._fork()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; nothing is left of them afterwards, whatever they were doing."""
        while os.read(self._taking, 1 << 16):
            pass
        os.close(self._taking)
        for reading, child in self._children:
            os.close(reading)
            os.waitpid(child, 0)
        self._children.clear()

    def runs(self) -> Iterator[Run]:
        """Yield every run once, as they are done here or elsewhere; numbers follow the order of ``walk``."""
        left = set(range(len(self._plan)))
        arriving = [(reading, bytearray()) for reading, _ in self._children]
        while (number := self._next()) is not None:
            left.discard(number)
            yield self._read(number)
            for reading, waiting in arriving:
                for run in _arrived(reading, waiting):
                    left.discard(run[0])
                    yield run
        for reading, waiting in arriving:
            os.set_blocking(reading, True)
            for run in _arrived(reading, waiting):
                left.discard(run[0])
                yield run
        # What a killed child left undone.
        for number in left:
            yield self._read(number)

    def _next(self) -> int | None:
        number = os.read(self._taking, 4)
        return int.from_bytes(number, "little") if number else None

    def _fork(self) -> None:
        reading, writing = os.pipe()
        try:
            child = os.fork()
        except OSError:
            # No more processes for this user: it takes longer, that is all.
            os.close(reading)
            os.close(writing)
            return
        if child == 0:
            status = 1
            try:
                # Whoever holds the other end of a pipe keeps its writer waiting.
                for other, _ in self._children:
                    os.close(other)
                os.close(reading)
                _widen(writing)
                while (number := self._next()) is not None:
                    run = self._read(number)
                    _write(writing, _FRAME.pack(number, len(run[1]), len(run[2])) + run[1] + run[2])
                status = 0
            finally:
                # Not sys.exit: the parent's buffers and exit handlers are not the child's to run.
                os._exit(status)
        os.close(writing)
        os.set_blocking(reading, False)
        self._children.append((reading, child))

    def _read(self, number: int) -> Run:
        parts: list[bytes] = []
        digests: list[bytes] = []
        fresh: list[bytes] = []
        look = reader(fresh, sha256=self.sha256)
        for path, apart in self._plan[number]:
            below: list[str] = []
            stack = [path]
            while stack:
                packed = directory(self._root, stack.pop(), below, look)
                parts.append(packed)
                # A directory that failed half way has no names, whatever was read of it.
                digests += fresh[: names_in(packed)]
                fresh.clear()
                stack += [each for each in below if each not in apart]
                below.clear()
        return number, b"".join(parts), b"".join(digests)


def reader(digests: list[bytes], *, sha256: bool) -> Look:
    """Return what ``walk.directory`` calls for each name, which appends the digest of the file to ``digests``."""
    hasher: Callable[[bytes], Hasher] = blake3
    if sha256:
        # libcrypto takes its time to load: who needs BLAKE3 alone does not wait for it.
        from hashlib import sha256 as hasher

    def look(entry: os.DirEntry[str], handle: int) -> os.stat_result:
        if not entry.is_file(follow_symlinks=False):
            status = status_of(entry, handle)
            digests.append(UNREAD)
            return status
        try:
            file = os.open(entry.name, _FLAGS, dir_fd=handle)
        except FileNotFoundError:
            raise
        except OSError:
            status = status_of(entry, handle)
            digests.append(UNREAD)
            return status
        try:
            # Of the file that is read, and before it is: a later change of it has another time.
            status = os.fstat(file)
            try:
                size = status.st_size
                # One byte more, so that the end of the file shows without a second read.
                if size > _SMALL or status.st_mode & _TYPE != _REGULAR or len(data := os.read(file, size + 1)) != size:
                    digest = _long(file, status, hasher)
                else:
                    digest = hasher(data).digest()
            except OSError:
                digest = UNREAD
            digests.append(digest)
        finally:
            os.close(file)
        return status

    return look


def _long(file: int, status: os.stat_result, hasher: Callable[[bytes], Hasher]) -> bytes:
    if status.st_mode & _TYPE != _REGULAR or status.st_size > MAX_FILE:
        return UNREAD
    os.lseek(file, 0, os.SEEK_SET)
    digest = hasher(b"")
    while length := os.readv(file, [_BUFFER]):
        digest.update(_BUFFER[:length])
    return digest.digest()


def _plan(root: str, tops: list[str]) -> list[list[tuple[str, Collection[str]]]]:
    """Return runs of directories to walk, each with those of its subdirectories that are walked apart.

    In the order of ``walk``. Two levels are cut apart: one package may be most of an environment.
    """
    pieces: list[tuple[str, Collection[str]]] = []
    below: list[str] = []
    for top in tops:
        inside = _subdirectories(root, top)
        pieces.append((top, frozenset(inside)))
        below += inside
    mine, other = halves(below)
    for path in mine + other:
        inside = _subdirectories(root, path)
        pieces.append((path, frozenset(inside)))
        pieces += [(each, ()) for each in reversed(inside)]
    size = -(-len(pieces) // _RUNS)
    return [pieces[at : at + size] for at in range(0, len(pieces), size)]


def _subdirectories(root: str, path: str) -> list[str]:
    try:
        with os.scandir(f"{root}/{path}") as entries:
            return [f"{path}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        # Whoever reads it finds out, and says so.
        return []


def _arrived(reading: int, waiting: bytearray) -> Iterator[Run]:
    """Yield the runs that have come whole, now or, from a pipe that blocks, until its end."""
    while True:
        try:
            data = os.read(reading, _PIPE)
        except BlockingIOError:
            return
        if not data:
            return
        waiting += data
        while len(waiting) >= _FRAME.size:
            number, walked, digests = _FRAME.unpack_from(waiting)
            middle, end = _FRAME.size + walked, _FRAME.size + walked + digests
            if len(waiting) < end:
                break
            run = number, bytes(waiting[_FRAME.size : middle]), bytes(waiting[middle:end])
            del waiting[:end]
            yield run


def _write(writing: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(writing, view) :]


def _widen(pipe: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (AttributeError, OSError):
        return
