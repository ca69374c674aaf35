"""Read many files and tell of each whether it is what was promised, on every processor.

Forked processes, not threads: for files of a few kilobytes the interpreter's own lock, not the
digest, is what one waits for. Not ``multiprocessing``: importing it takes as long as a thousand files.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from blake3 import blake3

CHUNK: Final = 1 << 20
"""Bytes read at once of larger files."""
PER_FILE: Final = 48 * 1024
"""What opening a file costs, as bytes hashed in the same time; used to share the work out."""
_SMALL: Final = 64 * 1024
"""Files up to this are read into bytes of their own; larger ones into memory that need not be asked for each time."""
_PIECE: Final = 8 * 1024 * 1024
"""Bytes that a process takes at a time."""
_MAX_PIECES: Final = 4096
"""So many numbers fit into a pipe that nobody reads yet."""
_WORTH_FORKING: Final = 8 * 1024 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking: a pipe put in the file's place must not hold us up for ever."""

SAME: Final = 1
DIFFERS: Final = 2
UNREADABLE: Final = 3


def _nothing() -> None:
    """Do nothing meanwhile."""


class Job(NamedTuple):
    """One file to read."""

    path: str
    """Absolute, or relative to the current directory."""
    size: int
    """Bytes it should have; -1 when that is not known."""
    digest: str
    """64 hexadecimal digits it should have; BLAKE3, or SHA-256 with ``sha256``."""
    sha256: bool = False


def compare(
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    tell: Callable[[int], None] | None = None,
    meanwhile: Callable[[], None] = _nothing,
) -> bytes:
    """Return one byte for each job: ``SAME``, ``DIFFERS`` or ``UNREADABLE``.

    ``meanwhile`` is called here once, while other processes read. ``workers`` defaults to the
    processors this process may use. ``tell`` hears of bytes as they are read here. A link or
    anything but a file counts as UNREADABLE.
    """
    count = workers if workers is not None else _processors()
    if count < 2 or not hasattr(os, "fork") or not _worth_forking(jobs):
        meanwhile()
        return bytes(_each(jobs, tell))
    pieces = _pieces(jobs)
    # Anonymous shared memory: a byte written by a child is there for the parent, and a child that dies leaves zeros.
    answers = mmap.mmap(-1, len(jobs))
    # Whoever is free takes the next number out of the pipe: no guess at what is quick has to be right.
    taking, giving = os.pipe()
    os.write(giving, b"".join(number.to_bytes(4, "little") for number in range(len(pieces))))
    os.close(giving)
    children = []
    for _ in range(min(count, len(pieces)) - 1):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _take(taking, pieces, jobs, answers, None)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    done = 0
    try:
        meanwhile()
        done = _take(taking, pieces, jobs, answers, tell)
    finally:
        os.close(taking)
        for child in children:
            os.waitpid(child, 0)
    result = bytearray(answers[:])
    answers.close()
    if tell is not None:
        tell(sum(max(job.size, 0) for job in jobs) - done)
    for index, answer in enumerate(result if 0 in result else ()):
        if answer == 0:
            result[index] = _one(jobs[index])
    return bytes(result)


def _worth_forking(jobs: Sequence[Job]) -> bool:
    weight = 0
    for job in jobs:
        weight += max(job.size, 0) + PER_FILE
        if weight >= _WORTH_FORKING:
            return True
    return False


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pieces(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Return runs of jobs, the heaviest first: neighbours share directories, and so lookups."""
    goal = max(_PIECE, sum(max(job.size, 0) + PER_FILE for job in jobs) // _MAX_PIECES * 2)
    runs: list[tuple[int, int, int]] = []
    start, weight = 0, 0
    for index, job in enumerate(jobs, start=1):
        weight += max(job.size, 0) + PER_FILE
        if weight >= goal or index == len(jobs):
            runs.append((weight, start, index))
            start, weight = index, 0
    runs.sort(reverse=True)
    return [(start, end) for _, start, end in runs]


def _take(
    taking: int, pieces: Sequence[tuple[int, int]], jobs: Sequence[Job], answers: mmap.mmap,
    tell: Callable[[int], None] | None,
) -> int:  # fmt: skip
    """Do pieces until none is left; return the bytes that ``tell`` heard of."""
    done = 0
    while number := os.read(taking, 4):
        start, end = pieces[int.from_bytes(number, "little")]
        mine = jobs[start:end]
        answers[start:end] = bytes(_each(mine, tell))
        if tell is not None:
            done += sum([max(job.size, 0) for job in mine])
    return done


def _each(jobs: Sequence[Job], tell: Callable[[int], None] | None) -> list[int]:
    if tell is None:
        return [_one(job) for job in jobs]
    answers = []
    waiting = 0
    for job in jobs:
        answers.append(_one(job))
        waiting += max(job.size, 0)
        if waiting > CHUNK:
            tell(waiting)
            waiting = 0
    if waiting:
        tell(waiting)
    return answers


def _one(job: Job) -> int:
    path, size, wanted, by_sha256 = job
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return UNREADABLE
    try:
        if 0 <= size <= _SMALL and not by_sha256:
            # One byte more than promised, so that a longer file shows without being read to its end.
            data = os.read(handle, size + 1)
            if len(data) == size:
                return SAME if blake3(data).hexdigest() == wanted else DIFFERS
            if len(data) > size:
                return DIFFERS
            os.lseek(handle, 0, os.SEEK_SET)
        return _long(handle, size, wanted, by_sha256)
    except OSError:
        return UNREADABLE
    finally:
        os.close(handle)


def _long(handle: int, size: int, wanted: str, by_sha256: bool) -> int:
    digest = _sha256() if by_sha256 else blake3()
    room = min(size + 1, CHUNK) if size >= 0 else CHUNK
    if room <= _SMALL:
        done = 0
        while data := os.read(handle, room):
            digest.update(data)
            done += len(data)
            if done > size:
                return DIFFERS
        return SAME if done == size and digest.hexdigest() == wanted else DIFFERS
    whole = memoryview(_BUFFER)
    done = 0
    while length := os.readv(handle, [whole]):
        done += length
        if 0 <= size < done:
            return DIFFERS
        digest.update(whole[:length])
    return SAME if digest.hexdigest() == wanted and size in (-1, done) else DIFFERS


_BUFFER: Final = bytearray(CHUNK)
"""Read into again and again; of each process its own, after the first write."""


class _Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


def _sha256() -> _Hasher:
    from hashlib import sha256

    return sha256()
