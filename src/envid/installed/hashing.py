"""Read many files and tell of each whether it is what was promised, on every processor.

Forked processes, not threads: for files of a few kilobytes the interpreter's own lock, not the
digest, is what one waits for. Not ``multiprocessing``: importing it takes as long as a thousand files.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

CHUNK: Final = 1 << 20
"""Bytes read at once of larger files."""
PER_FILE: Final = 48 * 1024
"""What opening a file costs, as bytes hashed in the same time; used to share the work out."""
_WORTH_FORKING: Final = 8 * 1024 * 1024

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
    effort: int = 0,
) -> bytes:
    """Return one byte for each job: ``SAME``, ``DIFFERS`` or ``UNREADABLE``.

    ``meanwhile`` is called here while other processes read; ``effort`` is what it costs, as bytes hashed in that time.

    ``workers`` defaults to the processors this process may use. ``tell`` hears of bytes as they
    are read here. A link or anything but a file counts as UNREADABLE.
    """
    weight = sum(max(job.size, 0) + PER_FILE for job in jobs)
    count = workers if workers is not None else _processors()
    if count < 2 or weight < _WORTH_FORKING or not hasattr(os, "fork"):
        meanwhile()
        return bytes(_each(jobs, tell))
    shares = _shares(jobs, weight, count, effort)
    # Anonymous shared memory: a byte written by a child is there for the parent, and a child that dies leaves zeros.
    answers = mmap.mmap(-1, len(jobs))
    children = []
    for start, end in shares[1:]:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _into(answers, start, jobs[start:end])
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    try:
        meanwhile()
        start, end = shares[0]
        answers[start:end] = bytes(_each(jobs[start:end], tell))
    finally:
        for child in children:
            os.waitpid(child, 0)
    result = bytearray(answers[:])
    answers.close()
    if tell is not None:
        tell(sum(max(job.size, 0) for job in jobs[shares[0][1] :]))
    for index, answer in enumerate(result):
        if answer == 0:
            result[index] = _one(jobs[index])
    return bytes(result)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares(jobs: Sequence[Job], weight: int, count: int, effort: int = 0) -> list[tuple[int, int]]:
    """Return ``count`` or fewer runs of jobs of about equal weight: neighbours share directories, and so lookups.

    The first is smaller by ``effort``.
    """
    goal = (weight + effort) / count
    shares: list[tuple[int, int]] = []
    start, sofar = 0, effort
    if effort >= goal:
        shares.append((0, 0))
        sofar, goal = 0, weight / (count - 1)
    for index, job in enumerate(jobs):
        sofar += max(job.size, 0) + PER_FILE
        if sofar >= goal and len(shares) < count - 1:
            shares.append((start, index + 1))
            start, sofar = index + 1, 0
    if start < len(jobs):
        shares.append((start, len(jobs)))
    return shares


def _into(answers: mmap.mmap, start: int, jobs: Sequence[Job]) -> None:
    for index, answer in enumerate(_each(jobs, None)):
        answers[start + index] = answer


def _each(jobs: Sequence[Job], tell: Callable[[int], None] | None) -> list[int]:
    answers = []
    waiting = 0
    for job in jobs:
        answers.append(_one(job))
        if tell is not None:
            waiting += max(job.size, 0)
            if waiting > CHUNK:
                tell(waiting)
                waiting = 0
    if tell is not None and waiting:
        tell(waiting)
    return answers


def _one(job: Job) -> int:
    try:
        # Not blocking: a pipe put in the file's place must not hold us up for ever.
        handle = os.open(job.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return UNREADABLE
    try:
        # One byte more than promised, so that a longer file shows without being read to its end.
        data = os.read(handle, min(job.size + 1, CHUNK) if job.size >= 0 else CHUNK)
        if len(data) == job.size < CHUNK and not job.sha256:
            return SAME if blake3(data).hexdigest() == job.digest else DIFFERS
        return _rest(handle, data, job)
    except OSError:
        return UNREADABLE
    finally:
        os.close(handle)


def _rest(handle: int, data: bytes, job: Job) -> int:
    if job.sha256:
        from hashlib import sha256

        digest = sha256()
    else:
        digest = blake3()
    size = 0
    while data:
        size += len(data)
        if 0 <= job.size < size:
            return DIFFERS
        digest.update(data)
        data = os.read(handle, CHUNK)
    return SAME if digest.hexdigest() == job.digest and job.size in (-1, size) else DIFFERS
