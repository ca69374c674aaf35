"""What a directory holds, as one digest: every path with its kind, its mode and its bytes.

Unlike ``app.sources.tree_digest``, which says what a source tree means, nothing is left out here: this digest tells
whether a tree is the one that somebody saw before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from struct import Struct
from typing import Final

from blake3 import blake3

from envid.errors import UnsafePath
from envid.values.frozen import dataclass

CONTEXT: Final = "envid-seal-tree/1"

_ROW: Final = Struct("<cHI")
"""Kind, mode, bytes of the path."""
_SIZE: Final = Struct("<Q")
_KEPT: Final = 0o7700
"""Of the mode, what survives the umask of whoever unpacks an archive: the owner's bits, and the special ones."""
_BUFFER: Final = 1024 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a directory holds."""

    digest: str
    """BLAKE3, 64 hexadecimal digits."""
    entries: int
    """Files, links and directories below it."""
    size: int
    """Of all files together, in bytes."""


def measure(root: str, *, without: str = "") -> Tree:
    """Return what is below ``root``, the name ``without`` directly in it left out; no link is followed.

    Raises UnsafePath for anything but files, links and directories, for what cannot be read, and for a file that
    changes while it is read.
    """
    total = blake3(derive_key_context=CONTEXT)
    buffer = memoryview(bytearray(_BUFFER))
    entries = size = 0
    for path, status in _walk(os.fsencode(root), os.fsencode(without)):
        entries += 1
        mode = status.st_mode
        try:
            if stat.S_ISDIR(mode):
                total.update(_row(b"d", mode, path))
            elif stat.S_ISREG(mode):
                digest = _content(os.path.join(os.fsencode(root), path), status, buffer)
                total.update(_row(b"f", mode, path) + _SIZE.pack(status.st_size) + digest)
                size += status.st_size
            elif stat.S_ISLNK(mode):
                target = os.readlink(os.path.join(os.fsencode(root), path))
                # The mode of a link differs between systems and means nothing.
                total.update(_row(b"l", 0, path) + _SIZE.pack(len(target)) + target)
            else:
                raise UnsafePath(f"{_shown(root, path)} is neither a file nor a link nor a directory")
        except OSError as error:
            raise UnsafePath(f"cannot read {_shown(root, path)}: {error.strerror}") from error
    return Tree(digest=total.hexdigest(), entries=entries, size=size)


def _row(kind: bytes, mode: int, path: bytes) -> bytes:
    return _ROW.pack(kind, mode & _KEPT, len(path)) + path


def _walk(root: bytes, without: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield everything below ``root``: each directory before what is in it, names in the order of their bytes."""
    waiting = [b""]
    while waiting:
        place = waiting.pop()
        below = []
        try:
            with os.scandir(os.path.join(root, place)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                if not place and entry.name == without:
                    continue
                status = entry.stat(follow_symlinks=False)
                path = os.path.join(place, entry.name) if place else entry.name
                if stat.S_ISDIR(status.st_mode):
                    below.append(path)
                yield path, status
        except OSError as error:
            raise UnsafePath(f"cannot read {_shown(os.fsdecode(root), place)}: {error.strerror}") from error
        waiting += reversed(below)


def _content(path: bytes, status: os.stat_result, buffer: memoryview) -> bytes:
    handle = os.open(path, _FLAGS)
    try:
        hasher = blake3()
        total = 0
        # One buffer for all: memory that is new for each file costs more than reading and hashing it.
        while (count := os.readv(handle, [buffer])) > 0 and total <= status.st_size:
            hasher.update(buffer[:count])
            total += count
        after = os.fstat(handle)
    finally:
        os.close(handle)
    if total != status.st_size or after.st_mtime_ns != status.st_mtime_ns or after.st_ino != status.st_ino:
        raise UnsafePath(f"{os.fsdecode(path)!a} changed while it was read")
    return hasher.digest()


def _shown(root: str, path: bytes) -> str:
    return ascii(os.path.join(root, os.fsdecode(path)))[1:-1]
