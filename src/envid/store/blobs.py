"""Blobs: bytes in the store under their own BLAKE3, each in an entry's form, so that it proves itself.

A blob's key is ``envid1-blob-<BLAKE3 of its bytes>`` and its document is empty.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Final

from blake3 import blake3

from envid.atomic import replacing
from envid.identity import PREFIX
from envid.store import entry
from envid.store.cache import (
    MAX_IN_MEMORY,
    SQUEEZED_FROM,
    Bypass,
    Miss,
    open_file,
    read_file,
    set_aside,
    write_parts,
)
from envid.store.entry import Damage, Header
from envid.store.place import Place
from envid.values.digest import blake3_hex
from envid.values.frozen import dataclass
from envid.whole import shut

LAYER: Final = "blob"
"""The layer in a blob's key, and in the counts."""
LARGE: Final = 32 * 1024 * 1024
"""Bytes of a file from which on it is stored as it is and goes through memory piece by piece."""
_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A blob that the store has."""

    digest: str
    """BLAKE3, 64 hexadecimal digits."""
    size: int
    """Bytes before the codec."""
    new: bool
    """False: it was there already; its time is now."""


def blob_key(digest: str) -> str:
    """Return the key of the blob of these 64 hexadecimal digits."""
    return f"{PREFIX}-{LAYER}-{digest}"


def keep_bytes(place: Place, data: bytes) -> Kept | Bypass:
    """Keep ``data``; what is there already is touched, so that ``gc`` sees that it is in use. Never raises."""
    digest = blake3_hex(data)
    path = place.blob_path(digest)
    if _is_sound(place, path, digest):
        return _kept(place, digest, len(data), new=False)
    parts = entry.parts(blob_key(digest), b"", data, squeeze=len(data) >= SQUEEZED_FROM)
    written = write_parts(place, path, parts, sum(map(len, parts)))
    return _settled(place, path, digest, len(data), written)


def keep_file(place: Place, path: str) -> Kept | Bypass:
    """Keep the bytes of the regular file ``path``, of any size; Bypass ``unwritable`` when it changes meanwhile."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return _bypass(place, "unwritable", f"cannot read {path}: {error.strerror}")
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            return _bypass(place, "odd-output", f"{path} is not a regular file")
        if before.st_size >= LARGE:
            return _keep_large(place, path, handle, before)
        data = b"".join(_pieces(handle, before.st_size + 1))
        if len(data) != before.st_size or _stamp(os.fstat(handle)) != _stamp(before):
            return _changed(place, path)
    except OSError as error:
        return _bypass(place, "unwritable", f"cannot read {path}: {error.strerror}")
    finally:
        shut(handle)
    return keep_bytes(place, data)


def load(place: Place, digest: str, *, limit: int) -> bytes | Miss:
    """Return the bytes of the blob ``digest``, at most ``limit``, or why not; a damaged one is set aside."""
    path = _path(place, digest)
    if isinstance(path, Miss):
        return path
    data = read_file(path, place, limit=min(limit, MAX_IN_MEMORY))
    if isinstance(data, Miss):
        return _missed(place, data.reason)
    try:
        found = entry.decode(data, blob_key(digest))
        _check_header(found.header, digest)
        result = entry.payload(found, limit=limit)
    except Damage as damage:
        return _damaged(place, path, damage)
    place.tally.add(LAYER, "hit")
    return result


def lay(place: Place, digest: str, destination: str, *, mode: int) -> Miss | None:
    """Put the bytes of the blob at ``destination``, whole or not at all, with exactly ``mode``; None when done.

    A copy, never a hard link: users edit what they get. Raises WriteFailed for the destination.
    """
    path = _path(place, digest)
    if isinstance(path, Miss):
        return path
    opened = open_file(path, place)
    if isinstance(opened, Miss):
        return _missed(place, opened.reason)
    handle, found = opened
    try:
        # What is not proven by the end of the block never gets the name.
        with replacing(destination, mode=mode, durable=False) as stream:
            _through(handle, found.st_size, digest, stream.write)
    except Damage as damage:
        return _damaged(place, path, damage)
    finally:
        shut(handle)
    place.tally.add(LAYER, "hit")
    return None


def fault(place: Place, digest: str) -> str | None:
    """Return what is wrong with the blob ``digest``, a name of ``values.reason.MISSES``; nothing is touched."""
    opened = open_file(place.blob_path(digest), place, renew=False)
    if isinstance(opened, Miss):
        return opened.reason
    handle, found = opened
    try:
        _through(handle, found.st_size, digest, None)
    except Damage as damage:
        return damage.reason
    finally:
        shut(handle)
    return None


# --- writing ------------------------------------------------------------------------------


def _keep_large(place: Place, path: str, handle: int, before: os.stat_result) -> Kept | Bypass:
    """Keep an open file that is read twice: its digest stands before its bytes."""
    content = blake3()
    for piece in _pieces(handle, before.st_size + 1):
        content.update(piece)
    if _stamp(os.fstat(handle)) != _stamp(before):
        return _changed(place, path)
    digest, size = content.hexdigest(), before.st_size
    there = place.blob_path(digest)
    if _is_sound(place, there, digest):
        return _kept(place, digest, size, new=False)
    os.lseek(handle, 0, os.SEEK_SET)
    header = Header(
        codec="raw", digest=digest, document=0, key=blob_key(digest), made_by=entry.MADE_BY, size=size, stored=size
    )  # fmt: skip
    try:
        written = write_parts(place, there, _raw_entry(header, handle), header.length)
    except Damage:
        return _changed(place, path)
    return _settled(place, there, digest, size, written)


def _raw_entry(header: Header, handle: int) -> Iterator[bytes]:
    """Yield the entry of an open file's bytes; raise Damage when they are not those of the header."""
    first, content = entry.preface(header), blake3()
    yield first
    for piece in _pieces(handle, header.size + 1):
        content.update(piece)
        yield piece
    if content.hexdigest() != header.digest:
        raise Damage("damaged")
    yield entry.trailer(first, content.digest())


def _settled(place: Place, path: str, digest: str, size: int, written: bool | Bypass) -> Kept | Bypass:
    if isinstance(written, Bypass):
        return _bypass(place, written.reason, written.message)
    if written:
        return _kept(place, digest, size, new=True)
    # Another writer was quicker, or what stands there is none of ours.
    if _is_sound(place, path, digest):
        return _kept(place, digest, size, new=False)
    return _bypass(place, "unwritable", f"{path} is taken by something that is no blob")


def _kept(place: Place, digest: str, size: int, *, new: bool) -> Kept:
    place.tally.add(LAYER, "stored" if new else "kept")
    return Kept(digest=digest, size=size, new=new)


def _changed(place: Place, path: str) -> Bypass:
    return _bypass(place, "unwritable", f"{path} changed while it was read")


def _bypass(place: Place, reason: str, message: str) -> Bypass:
    place.tally.add(LAYER, reason)
    return Bypass(reason=reason, message=message)


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


# --- reading ------------------------------------------------------------------------------


def _is_sound(place: Place, path: str, digest: str) -> bool:
    """Return whether the blob is there and proves itself; a damaged one is set aside, so that it can be written."""
    opened = open_file(path, place)
    if isinstance(opened, Miss):
        return False
    handle, found = opened
    try:
        _through(handle, found.st_size, digest, None)
    except Damage as damage:
        set_aside(place, path, damage.reason)
        return False
    finally:
        shut(handle)
    return True


def _through(handle: int, size: int, digest: str, take: Callable[[bytes], object] | None) -> None:
    """Read an open blob of ``size`` bytes to its end, giving its content to ``take``; raise Damage at the end, too."""
    start = _read(handle, entry.PREFACE + entry.MAX_HEADER)
    header, at = entry.decode_header(start)
    end = at + header.document + header.stored
    if size != end + entry.TRAILER:
        raise Damage("truncated")
    if header.codec != "raw":
        _expanded(handle, start, size, digest, take)
        return
    content, data, left = blake3(), start[at:], header.stored
    if header.document:
        raise Damage("damaged")
    while left > 0:
        part = data[:left]
        if not part:
            raise Damage("truncated")
        content.update(part)
        if take is not None:
            take(part)
        left -= len(part)
        data = data[len(part) :] or _read(handle, _PIECE)
    if data + _read(handle, entry.TRAILER) != entry.trailer(start[:at], content.digest()):
        raise Damage("damaged")
    _check_header(header, digest)
    if content.hexdigest() != digest:
        raise Damage("damaged")


def _expanded(handle: int, start: bytes, size: int, digest: str, take: Callable[[bytes], object] | None) -> None:
    """Do the same for a blob that was compressed, in memory."""
    if size > MAX_IN_MEMORY:
        raise Damage("oversized")
    found = entry.decode(start + _read(handle, size), blob_key(digest))
    _check_header(found.header, digest)
    data = entry.payload(found, limit=MAX_IN_MEMORY)
    if take is not None:
        take(data)


def _check_header(header: Header, digest: str) -> None:
    if header.key != blob_key(digest):
        raise Damage("misnamed")
    if header.digest != digest or header.document:
        raise Damage("damaged")


def _pieces(handle: int, most: int) -> Iterator[bytes]:
    """Yield the bytes of an open file from where it stands, at most ``most`` of them; raise OSError."""
    while most > 0 and (piece := os.read(handle, min(_PIECE, most))):
        most -= len(piece)
        yield piece


def _read(handle: int, size: int) -> bytes:
    """Return the next ``size`` bytes of a file of the store, or as many as there are; raise Damage."""
    try:
        return b"".join(_pieces(handle, size))
    except OSError:
        # The store's failure, not that of the file that is being laid.
        raise Damage("unreadable") from None


def _path(place: Place, digest: str) -> str | Miss:
    return place.blob_path(digest) if re.fullmatch("[0-9a-f]{64}", digest) else _missed(place, "absent")


def _missed(place: Place, reason: str) -> Miss:
    place.tally.add(LAYER, reason)
    return Miss(reason=reason)


def _damaged(place: Place, path: str, damage: Damage) -> Miss:
    set_aside(place, path, damage.reason)
    return _missed(place, damage.reason)
