"""A zip archive read strictly: one meaning for every installer, or none.

``zipfile`` accepts what installers disagree about: entries that overlap, local headers that differ
from the central directory, bytes before, between and after, names cut at NUL. Such an archive would be
one set of files to envid and another to the installer.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple
from unicodedata import normalize

from envid.errors import InvalidWheel, TooLarge, UnsafePath

MAX_MEMBERS: Final = 200_000
MAX_DIRECTORY: Final = 128 * 1024 * 1024
"""Bytes of the central directory."""
MAX_MEMBER: Final = 8 * 1024**3
MAX_UNPACKED: Final = 16 * 1024**3
"""Bytes, after decompression; the largest published wheels hold about 4 GiB."""
RATIO: Final = 200
RATIO_APPLIES: Final = 64 * 1024 * 1024
"""An archive that unpacks to more than this many bytes, and to more than ``RATIO`` times its own size, is a bomb."""
MAX_PATH: Final = 1024
MAX_NAME: Final = 255
"""Bytes of a path and of one component of it, as file systems limit them."""

CHUNK: Final = 1024 * 1024
_CENTRAL: Final = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL: Final = struct.Struct("<4s2B4HL2L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_EXTRA: Final = struct.Struct("<HH")
_UTF8: Final = 0x800
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_DESCRIPTOR: Final = 0x8
_FORBIDDEN: Final = frozenset(map(chr, (*range(0x20), 0x7F))) | {"\\"}


class Member(NamedTuple):
    """One entry of the central directory; sizes in bytes."""

    path: str
    method: int
    flags: int
    crc: int
    compressed: int
    size: int
    offset: int
    """Of the local header."""
    mode: int
    """Unix mode bits, 0 when the archive has none."""
    raw_name: bytes
    is_directory: bool


class Archive:
    """The members of one archive, checked against each other; contents are read with ``chunks``."""

    def __init__(self, stream: BinaryIO, *, label: str) -> None:
        """Read the directory of ``stream`` (seekable); raise InvalidWheel, UnsafePath, TooLarge."""
        self._stream = stream
        self._label = label
        self._size = stream.seek(0, io.SEEK_END)
        self._unpacked = 0
        start, length, count = self._find_directory()
        self.members = tuple(self._directory(start, length, count))
        self._starts = self._check_layout(start)
        self._check_names()

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yield the contents of ``member``, at most about a mebibyte at a time, checked for size and CRC."""
        left, size, crc = member.compressed, 0, 0
        self._stream.seek(self._starts[member.raw_name])
        inflater = zlib.decompressobj(-15) if member.method == 8 else None
        pending = b""
        while True:
            if not pending and left:
                pending = self._stream.read(min(CHUNK, left))
                if not pending:
                    raise self._bad(f"{member.path} is cut short")
                left -= len(pending)
            if inflater is None:
                chunk, pending = pending, b""
            else:
                try:
                    chunk = inflater.decompress(pending, CHUNK)
                except zlib.error as error:
                    raise self._bad(f"{member.path} does not decompress: {error}") from None
                pending = inflater.unconsumed_tail
            size += len(chunk)
            if size > member.size:
                raise self._bad(f"{member.path} is larger than the archive says")
            self._count(len(chunk))
            crc = zlib.crc32(chunk, crc)
            if chunk:
                yield chunk
            if not pending and not left and (inflater is None or inflater.eof or not chunk):
                break
            if inflater is not None and inflater.eof:
                break
        if left or pending or (inflater is not None and (not inflater.eof or inflater.unused_data)):
            raise self._bad(f"the compressed data of {member.path} does not end where the archive says")
        if size != member.size or crc != member.crc:
            raise self._bad(f"{member.path} does not have the size and CRC that the archive says")

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > MAX_UNPACKED:
            raise TooLarge(f"{self._label} unpacks to more than {MAX_UNPACKED} bytes", wheel=self._label)
        if self._unpacked > RATIO_APPLIES and self._unpacked > RATIO * self._size:
            raise TooLarge(f"{self._label} unpacks to more than {RATIO} times its size", wheel=self._label)

    # --- the end of the archive -----------------------------------------------------------

    def _find_directory(self) -> tuple[int, int, int]:
        """Return offset and size (bytes) of the central directory, and its number of entries."""
        tail_size = min(self._size, _END.size + 0xFFFF + _LOCATOR64.size)
        tail = self._at(self._size - tail_size, tail_size)
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or len(tail) - found < _END.size:
            raise self._bad("is not a zip archive")
        _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, found)
        if found + _END.size + comment != len(tail):
            raise self._bad("has bytes after its end")
        end = self._size - tail_size + found
        locator_at = found - _LOCATOR64.size
        if locator_at >= 0 and tail[locator_at : locator_at + 4] == b"PK\x06\x07":
            _, disk, position, disks = _LOCATOR64.unpack_from(tail, locator_at)
            record = self._at(position, _END64.size) if position + _END64.size <= self._size else b""
            if len(record) != _END64.size or disks > 1:
                raise self._bad("has a damaged zip64 end")
            small = (count, length, start)
            magic, extent, _, _, disk, first_disk, here, count, length, start = _END64.unpack(record)
            ends_right = position + extent + 12 == self._size - tail_size + locator_at
            agrees = all(a in (b, limit) for a, b, limit in zip(
                small, (count, length, start), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True))  # fmt: skip
            if magic != b"PK\x06\x06" or not ends_right or not agrees:
                raise self._bad("has a damaged zip64 end")
            end = position
        if disk or first_disk or here != count or start + length != end:
            raise self._bad("has a central directory that is not where its end says")
        if count > MAX_MEMBERS or length > MAX_DIRECTORY:
            raise TooLarge(f"{self._label} holds more than {MAX_MEMBERS} files", wheel=self._label)
        return start, length, count

    def _directory(self, start: int, length: int, count: int) -> Iterator[Member]:
        data = self._at(start, length)
        at = 0
        for _ in range(count):
            if length - at < _CENTRAL.size or data[at : at + 4] != b"PK\x01\x02":
                raise self._bad("has a damaged central directory")
            (_, _, _, _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size, comment_size,
             disk, _, external, offset) = _CENTRAL.unpack_from(data, at)  # fmt: skip
            at += _CENTRAL.size
            name = data[at : at + name_size]
            extra = data[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            if at > length or disk:
                raise self._bad("has a damaged central directory")
            size, compressed, offset = self._zip64(extra, size, compressed, offset)
            yield self._member(name, method, flags, crc, compressed, size, offset, external)
        if at != length:
            raise self._bad("has a central directory with more entries than its end says")

    def _zip64(self, extra: bytes, size: int, compressed: int, offset: int) -> tuple[int, int, int]:
        values = [size, compressed, offset]
        for kind, body in self._extras(extra):
            if kind == 0x7075:
                raise self._bad("gives a file two names")
            if kind != 1:
                continue
            at = 0
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF:
                    if at + 8 > len(body):
                        raise self._bad("has a damaged zip64 entry")
                    values[index] = int.from_bytes(body[at : at + 8], "little")
                    at += 8
        return values[0], values[1], values[2]

    def _extras(self, extra: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + _EXTRA.size <= len(extra):
            kind, length = _EXTRA.unpack_from(extra, at)
            at += _EXTRA.size
            if at + length > len(extra):
                raise self._bad("has a damaged extra field")
            yield kind, extra[at : at + length]
            at += length

    def _member(
        self, name: bytes, method: int, flags: int, crc: int, compressed: int, size: int, offset: int, external: int
    ) -> Member:
        if not flags & _UTF8 and not name.isascii():
            raise UnsafePath(f"{self._label} has a file name that is not UTF-8: {name!r}", wheel=self._label)
        try:
            path = name.decode("utf-8")
        except UnicodeDecodeError:
            raise UnsafePath(f"{self._label} has a file name that is not UTF-8: {name!r}", wheel=self._label) from None
        if flags & _ENCRYPTED:
            raise self._bad(f"holds an encrypted file, {path!r}")
        if method not in (0, 8):
            raise self._bad(f"compresses {path!r} by method {method}; wheels use deflate or none")
        if method == 0 and compressed != size:
            raise self._bad(f"has two sizes for {path!r}")
        if size > MAX_MEMBER:
            raise TooLarge(f"{self._label}: {path!r} is larger than {MAX_MEMBER} bytes", wheel=self._label)
        mode = external >> 16
        is_directory = path.endswith("/")
        kind = stat.S_IFMT(mode)
        if kind not in ((0, stat.S_IFREG, stat.S_IFDIR) if is_directory else (0, stat.S_IFREG)):
            raise UnsafePath(f"{self._label}: {path!r} is a link or a device", wheel=self._label)
        if is_directory and size:
            raise self._bad(f"has a directory with contents, {path!r}")
        check_path(path.removesuffix("/"), label=self._label)
        return Member(path, method, flags, crc, compressed, size, offset, mode, name, is_directory)

    # --- where the entries are ------------------------------------------------------------

    def _check_layout(self, end: int) -> dict[bytes, int]:
        """Return where the data of each member starts; every byte before ``end`` belongs to one entry."""
        starts: dict[bytes, int] = {}
        position = 0
        for member in sorted(self.members, key=lambda m: m.offset):
            gap = member.offset - position
            if gap:
                raise self._bad(f"has {'overlapping entries' if gap < 0 else 'hidden bytes'} before {member.path!r}")
            begin = self._check_local(member)
            starts[member.raw_name] = begin
            position = begin + member.compressed
            if member.flags & _DESCRIPTOR:
                position += self._descriptor(member, position)
            if position > end:
                raise self._bad(f"has overlapping entries at {member.path!r}")
        if position != end:
            raise self._bad("has hidden bytes before its central directory")
        return starts

    def _check_local(self, member: Member) -> int:
        header = self._at(member.offset, _LOCAL.size)
        if len(header) != _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise self._bad(f"has no local header for {member.path!r}")
        _, _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = _LOCAL.unpack(header)
        rest = self._at(member.offset + _LOCAL.size, name_size + extra_size)
        size, compressed, _ = self._zip64(rest[name_size:], size, compressed, 0)
        if flags & _DESCRIPTOR:  # written before they were known; the descriptor tells them
            crc, compressed, size = crc or member.crc, compressed or member.compressed, size or member.size
        local = (rest[:name_size], method, flags & ~6, crc, compressed, size)
        central = (member.raw_name, member.method, member.flags & ~6, member.crc, member.compressed, member.size)
        if local != central:
            raise self._bad(f"describes {member.path!r} in two ways")
        return member.offset + _LOCAL.size + int(name_size) + int(extra_size)

    def _descriptor(self, member: Member, position: int) -> int:
        """Return the size of the data descriptor, of which four forms are in use."""
        data = self._at(position, 24)
        for wide in ("<LLL", "<LQQ"):
            if member.compressed > 0xFFFFFFFF or member.size > 0xFFFFFFFF:
                wide = "<LQQ"
            body = struct.pack(wide, member.crc, member.compressed, member.size)
            for form in (b"PK\x07\x08" + body, body):
                if data.startswith(form):
                    return len(form)
        raise self._bad(f"has a damaged data descriptor after {member.path!r}")

    # --- names ----------------------------------------------------------------------------

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for member in self.members:
            path = member.path.removesuffix("/")
            spelled = path if path.isascii() else normalize("NFC", path)
            if spelled in seen:
                raise UnsafePath(f"{self._label}: {path!r} and {seen[spelled]!r} are one file", wheel=self._label)
            seen[spelled] = path
        files = {member.path for member in self.members if not member.is_directory}
        check_no_file_is_directory(files, label=self._label)

    def _at(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(length)

    def _bad(self, problem: str) -> InvalidWheel:
        return InvalidWheel(f"{self._label} {problem}" if not problem.startswith(self._label) else problem,
                            wheel=self._label)  # fmt: skip


def check_no_file_is_directory(files: set[str], *, label: str) -> None:
    """Raise UnsafePath when one of ``files`` is a parent of another."""
    directories: set[str] = set()
    for path in files:
        parent = path.rpartition("/")[0]
        while parent and parent not in directories:
            directories.add(parent)
            parent = parent.rpartition("/")[0]
    if both := directories & files:
        raise UnsafePath(f"{label}: {min(both)!r} is a file and a directory", wheel=label)


def check_path(path: str, *, label: str, error: Callable[..., UnsafePath] = UnsafePath, parents: int = 0) -> None:
    """Raise UnsafePath unless ``path`` is a plain relative POSIX path after at most ``parents`` leading ``..``."""
    parts = path.split("/")
    while parents and len(parts) > 1 and parts[0] == "..":
        parts = parts[1:]
        parents -= 1
    problem = ""
    if not _FORBIDDEN.isdisjoint(path):
        problem = "holds a control character or a backslash"
    elif path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        problem = "is absolute"
    elif ".." in parts:
        problem = "leaves its directory"
    elif "" in parts or "." in parts:
        problem = "is not in normal form"
    elif len(path) * 4 > MAX_NAME and (
        len(path.encode()) > MAX_PATH or max(len(part.encode()) for part in parts) > MAX_NAME
    ):
        problem = "is too long"
    if problem:
        raise error(f"{label}: the path {path[:200]!r} {problem}", path=path[:200])
