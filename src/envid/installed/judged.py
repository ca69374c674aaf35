"""Bytecode that was found good before, so that a second full look need not compile it again.

Only ``ok`` is remembered, under a digest of everything the judgement was made from: both files' bytes,
the time of the source, the name of the ``.pyc``, the interpreter. A wrong entry would need to
be written by someone who can write envid's cache; a cache that others can write is not used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from blake3 import blake3

from envid import atomic
from envid.errors import WriteFailed
from envid.values.digest import derive_hex
from envid.values.interpreter import Interpreter

CONTEXT: Final = "envid-bytecode/1"
"""BLAKE3 ``derive_key`` context of an entry and of the file's trailer."""
MAX_ENTRIES: Final = 400_000
"""Beyond this many the memory begins anew with what the last run saw; an environment has about 15,000."""


def evidence(pyc: str, source: str | None, interpreter: Interpreter) -> str | None:
    """Return the digest of all that a judgement depends on; ``None`` when a file cannot be read."""
    if source is None:
        return None
    hasher = blake3(derive_key_context=CONTEXT)
    try:
        with open(source, "rb") as stream:
            mtime = int(os.fstat(stream.fileno()).st_mtime)
            body = stream.read()
        with open(pyc, "rb") as stream:
            code = stream.read()
    except OSError:
        return None
    name = os.path.basename(pyc)
    for part in (interpreter.implementation, interpreter.version, interpreter.soabi, name, str(mtime)):
        hasher.update(f"{part}\0".encode())
    hasher.update(blake3(body).digest())
    hasher.update(blake3(code).digest())
    return hasher.hexdigest()


def recall(cache: Path, interpreter: Interpreter) -> frozenset[str]:
    """Return the evidence remembered for ``interpreter``; none when the file is damaged or not ours alone."""
    path = _path(cache, interpreter)
    try:
        for place in (cache, path.parent, path):
            status = os.stat(place)
            if stat.S_IMODE(status.st_mode) & stat.S_IWOTH or status.st_uid not in (os.getuid(), 0):
                return frozenset()
        with open(path, "rb") as stream:
            data = stream.read(65 * (MAX_ENTRIES + 1) + 1)
    except OSError:
        return frozenset()
    body, trailer = data[:-65], data[-65:]
    if trailer != derive_hex(CONTEXT, body).encode() + b"\n":
        return frozenset()
    return frozenset(body.decode("ascii", "replace").split("\n"))


def remember(cache: Path, interpreter: Interpreter, known: frozenset[str], seen: Iterable[str]) -> None:
    """Keep what this run saw beside what was known; a cache that cannot be written is left alone."""
    fresh = frozenset(seen)
    if fresh <= known:
        return
    kept = fresh | known if len(fresh | known) <= MAX_ENTRIES else fresh
    body = "\n".join(sorted(kept)).encode()
    try:
        atomic.write(_path(cache, interpreter), body + derive_hex(CONTEXT, body).encode() + b"\n", durable=False)
    except WriteFailed:
        return


def _path(cache: Path, interpreter: Interpreter) -> Path:
    return cache / "bytecode-v1" / f"{interpreter.implementation}-{interpreter.version}"
