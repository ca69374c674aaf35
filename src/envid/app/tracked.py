"""Is a path among the files that git tracks? Read from git's index, without starting git.

A repository's settings can name programs for git to start, and a key must not wait for one. The form of the index:
git's own ``Documentation/gitformat-index.txt``.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import Final

from envid.whole import open_regular

_HEAD: Final = 12
_STATUS: Final = 40
"""Bytes of an entry before the name of its content."""
_LONG: Final = 0xFFF
"""The length in the flags of a path of so many bytes or more."""
_MAX: Final = 1024**3


class _Unknown(Exception):
    """The index says what is not known here."""


def tracks(path: str) -> bool:
    """Return whether git tracks the file ``path`` (absolute), or anything below it.

    As the nearest directory with a ``.git`` above it has it. True also for an index that cannot be read, of an unknown
    form, or that is split over several files: who asks wants to know what is certainly not tracked.
    """
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    top = os.path.dirname(real)
    while not os.path.lexists(os.path.join(top, ".git")):
        if top == os.path.dirname(top):
            return False
        top = os.path.dirname(top)
    wanted = os.fsencode(os.path.relpath(real, top))
    try:
        with open_regular(_index(os.path.join(top, ".git"))) as stream:
            data = stream.read(_MAX)
    except FileNotFoundError:
        # A repository in which nothing was added yet.
        return False
    except (OSError, ValueError):
        return True
    # Most indexes have their paths in full; the fourth form has them without what they share.
    if data[4:8] in (b"\0\0\0\2", b"\0\0\0\3") and b"link" not in data and wanted.split(b"/")[0] not in data:
        return False
    for digest in (20, 32):
        try:
            return any(_meets(name, wanted) for name in _names(data, digest))
        except (_Unknown, struct.error, IndexError, ValueError):
            continue
    return True


def _meets(name: bytes, wanted: bytes) -> bool:
    # A name that ends so stands for a directory that is not checked out.
    if name.endswith(b"/"):
        return (wanted + b"/").startswith(name) or name.startswith(wanted + b"/")
    return name == wanted or name.startswith(wanted + b"/")


def _index(git: str) -> str:
    """Return the index of the repository ``git``, a file in a linked working tree; raise OSError, ValueError."""
    if os.path.isdir(git):
        return os.path.join(git, "index")
    with open_regular(git) as stream:
        found = re.fullmatch(rb"gitdir: ([^\n\0]+)\n?", stream.read(65536))
    if found is None:
        raise ValueError(git)
    return os.path.join(os.path.dirname(git), os.fsdecode(found[1]), "index")


def _names(data: bytes, digest: int) -> list[bytes]:
    """Return every path in an index whose digests have so many bytes; raise _Unknown and what bad indexes bring."""
    signature, version, number = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise _Unknown
    names: list[bytes] = []
    at, last = _HEAD, b""
    for _ in range(number):
        start, at = at, at + _STATUS + digest + 2
        flags = int.from_bytes(data[at - 2 : at], "big")
        at += 2 if flags & 0x4000 and version > 2 else 0
        kept = 0
        if version == 4:
            strip, at = _varint(data, at)
            kept = len(last) - strip
            if kept < 0:
                raise _Unknown
        end = data.index(b"\0", at)
        last = last[:kept] + data[at:end]
        if min(len(last), _LONG) != flags & _LONG or not last:
            raise _Unknown
        names.append(last)
        at = end + 1 if version == 4 else start + (end - start + 8) // 8 * 8
    for name in _extensions(data, at, len(data) - digest):
        if name == b"link":
            raise _Unknown
    return names


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` as git's packs write offsets, and where it ends."""
    value = data[at] & 127
    while data[at] & 128:
        at += 1
        value = ((value + 1) << 7) | (data[at] & 127)
    return value, at + 1


def _extensions(data: bytes, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        name, size = struct.unpack_from(">4sI", data, at)
        yield name
        at += 8 + size
    if at != end:
        raise _Unknown
