"""The stat index: which files were proven, told by their metadata alone, in the manner of git's.

A file is believed unchanged when its mode, size, mtime, inode and ctime are those of the moment
before its contents were proven. Anything else, a new ctime alone too, has it read again. An
entry that is not to be believed next time (found wrong, or touched so lately that a second
change could bear the same time) is kept as zeros, which no file has.

Host-local, one file for each environment, self-verifying; damaged, foreign and older ones count
as none. Never exported: inode and ctime mean nothing elsewhere.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from envid import atomic
from envid.installed.listing import Listing, unpack
from envid.installed.walk import FIELDS

EPOCH: Final = 1
"""Raised when what counts as proven changes, so that older proofs do not."""

RACY_NS: Final = 2_000_000_000
"""An entry this close to the start of the walk is racy: the coarsest filesystem clock in use (FAT) ticks every 2 s."""

MAX_BYTES: Final = 1 << 28
_MAGIC: Final = b"envid stat index 1\n"
_DIGEST: Final = 32


def index_path(cache: Path, environment: str) -> Path:
    """Return where the index of the environment at the real path ``environment`` is kept below ``cache``."""
    return cache / "stat-v1" / f"{blake3(os.fsencode(environment)).hexdigest()[:32]}.index"


def binding(environment: str, resolution: str) -> bytes:
    """Return 32 bytes that tie an index to one environment path, one resolution and ``EPOCH``."""
    bound = blake3(derive_key_context="envid 2026 stat index binding 1")
    for part in (str(EPOCH).encode(), os.fsencode(environment), resolution.encode()):
        bound.update(len(part).to_bytes(8, "little"))
        bound.update(part)
    return bound.digest()


def load(path: Path, bound: bytes) -> bytes | None:
    """Return the packed walk kept at ``path`` under ``bound``; ``None`` when there is none that can be believed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        # Another user's file here could vouch for anything.
        foreign = hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0)
        if foreign or status.st_mode & 0o022 or status.st_size > MAX_BYTES:
            return None
        data = _read(handle, status.st_size)
    except OSError:
        return None
    finally:
        os.close(handle)
    head = _MAGIC + bound
    if not data.startswith(head) or len(data) < len(head) + _DIGEST:
        return None
    if blake3(memoryview(data)[:-_DIGEST]).digest() != data[-_DIGEST:]:
        return None
    return data[len(head) : -_DIGEST]


def _read(handle: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(handle, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def save(path: Path, bound: bytes, walked: bytes) -> None:
    """Keep a packed walk under ``bound``; raise WriteFailed."""
    data = _MAGIC + bound + walked
    atomic.make_directory(path.parent, mode=0o700)
    atomic.write(path, data + blake3(data).digest(), mode=0o600, durable=False)


def changed(known: bytes | None, walked: bytes) -> dict[str, set[str] | None]:
    """Return, for each directory of ``walked``, the names whose metadata are not those in ``known``.

    ``None`` stands for all names of a directory; directories without a difference are left out.
    """
    if known is None:
        return {listing.path: None for listing in unpack(walked)}
    if known == walked:
        return {}
    try:
        before = {(listing.path, listing.whole): listing for listing in unpack(known)}
    except ValueError:
        before = {}
    suspects: dict[str, set[str] | None] = {}
    for listing in unpack(walked):
        old = before.get((listing.path, listing.whole))
        if old is not None and old.names == listing.names and old.stats == listing.stats:
            continue
        names = _differences(old, listing)
        if names:
            suspects[listing.path] = names | (suspects.get(listing.path) or set())
    return suspects


def _differences(old: Listing | None, new: Listing) -> set[str]:
    known = dict(_entries(old)) if old is not None else {}
    return {name for name, numbers in _entries(new) if known.get(name) != numbers}


def _entries(listing: Listing) -> Iterator[tuple[str, bytes]]:
    width = FIELDS * 8
    for index, name in enumerate(listing.files()):
        yield name, listing.stats[index * width : (index + 1) * width]


def _latest(listings: Sequence[Listing]) -> int:
    """Return the last mtime or ctime of all."""
    numbers = array("q")
    numbers.frombytes(b"".join([listing.stats for listing in listings]))
    return max(max(numbers[2::FIELDS], default=0), max(numbers[4::FIELDS], default=0))


def keep(walked: bytes, listings: Sequence[Listing], *, unproven: Collection[str], started_ns: int) -> bytes:
    """Return the packed walk ``walked``, which ``listings`` are read from, as it may be believed next time.

    Entries in ``unproven`` (paths relative to the environment) and those whose mtime or ctime is
    not safely before ``started_ns``, the time before the walk began, become zeros.
    """
    limit = started_ns - RACY_NS
    if not unproven and _latest(listings) < limit:
        return walked
    places = {path.rpartition("/")[0] for path in unproven}
    parts = []
    for listing in listings:
        numbers = listing.numbers()
        prefix = f"{listing.path}/" if listing.path else ""
        touched = False
        latest = max(max(numbers[2::FIELDS], default=0), max(numbers[4::FIELDS], default=0))
        if listing.path not in places and latest < limit:
            parts.append(listing.packed())
            continue
        for index, name in enumerate(listing.files()):
            at = index * FIELDS
            if numbers[at] == 0:
                continue
            # A ctime in the future is a clock set back, and says nothing about what comes after it.
            if numbers[at + 2] >= limit or numbers[at + 4] >= limit or f"{prefix}{name}" in unproven:
                numbers[at : at + FIELDS] = array("q", (0,) * FIELDS)
                touched = True
        parts.append((listing._replace(stats=numbers.tobytes()) if touched else listing).packed())
    return b"".join(parts)
