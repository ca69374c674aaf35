"""Bytecode that was found good before, so that a second full look need not compile it again.

Only ``ok`` is remembered, under a digest of everything the judgement was made from: both files' bytes,
the time of the source, the name of the ``.pyc``, the interpreter; and of the very bytes that were judged, not
of another reading of the files, which somebody could exchange in between. A wrong entry would need to be
written by someone who can write envid's cache, and so the contents of wheels, too; a cache that others can
write is not used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from envid import atomic
from envid.errors import WriteFailed
from envid.installed import marshalled
from envid.values.digest import derive_hex
from envid.values.interpreter import Interpreter

CONTEXT: Final = "envid-bytecode/1"
"""BLAKE3 ``derive_key`` context of an entry and of the file's trailer."""
MAX_ENTRIES: Final = 400_000
"""Beyond this many the memory begins anew with what the last run saw; an environment has about 15,000."""


def evidence(bound: str, interpreter: Interpreter) -> str:
    """Return the digest of all that a judgement depends on: ``marshalled.binding`` and the interpreter."""
    parts = (interpreter.implementation, interpreter.version, interpreter.soabi, bound)
    return derive_hex(CONTEXT, "\0".join(parts).encode())


def measured(pyc: str, source: str | None, interpreter: Interpreter) -> str | None:
    """Return the evidence of two files as they are now; ``None`` when one cannot be read."""
    try:
        data, body, mtime = marshalled.read(pyc, source)
    except OSError:
        return None
    if body is None:
        return None
    return evidence(marshalled.binding(data, body, mtime=mtime, name=os.path.basename(pyc)), interpreter)


def recall(cache: Path, interpreter: Interpreter) -> frozenset[str]:
    """Return the evidence remembered for ``interpreter``; none when the file is damaged or not ours alone."""
    path = _path(cache, interpreter)
    try:
        for place in (cache, path.parent):
            if not _ours(os.stat(place)):
                return frozenset()
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not _ours(status):
                return frozenset()
            data = stream.read(65 * (MAX_ENTRIES + 1) + 1)
    except OSError:
        return frozenset()
    body, trailer = data[:-65], data[-65:]
    if trailer != derive_hex(CONTEXT, body).encode() + b"\n":
        return frozenset()
    return frozenset(body.decode("ascii", "replace").split("\n"))


def _ours(status: os.stat_result) -> bool:
    return not status.st_mode & (stat.S_IWOTH | stat.S_IWGRP) and status.st_uid in (os.geteuid(), 0)


def remember(cache: Path, interpreter: Interpreter, known: frozenset[str], seen: Iterable[str]) -> None:
    """Keep what this run saw beside what was known; a cache that cannot be written is left alone."""
    fresh = frozenset(seen)
    if fresh <= known:
        return
    kept = fresh | known if len(fresh | known) <= MAX_ENTRIES else fresh
    body = "\n".join(sorted(kept)).encode()
    path = _path(cache, interpreter)
    try:
        atomic.make_directory(path.parent, mode=0o700)
        atomic.write(path, body + derive_hex(CONTEXT, body).encode() + b"\n", mode=0o600, durable=False)
    except WriteFailed:
        return


def _path(cache: Path, interpreter: Interpreter) -> Path:
    return cache / "bytecode-v1" / f"{interpreter.implementation}-{interpreter.version}"
