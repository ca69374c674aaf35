"""The form of an archive: the plain ``ustar`` of POSIX.1-1988, written in one way, read with distrust.

Not ``tarfile``: it reads a hostile extension header of any size into memory, keeps every member that it saw, and
answers what it does not like with exceptions of a dozen kinds. Here a member that is not a plain file is only
passed over, and a damaged header costs the members behind it nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from envid.values.frozen import dataclass

BLOCK: Final = 512
RECORD: Final = 20 * BLOCK
"""Archives are padded to this, as every tar does."""
MAX_SIZE: Final = 8**11 - 1
"""Bytes of a member: what eleven octal digits say."""
MAX_NAME: Final = 100
MAX_PREFIX: Final = 155
CHUNK: Final = 256 * 1024

_ZERO: Final = bytes(BLOCK)
_MAGIC: Final = b"ustar\x0000"
_BLANK: Final = b" " * 8
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}

Kind = Literal["file", "extension", "other"]
"""``extension``: a header of pax or GNU, or the member that one is about; ``other``: a directory, a link, a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member, as its header has it."""

    name: str
    """Empty for a name that is not ASCII."""
    kind: Kind
    size: int
    """Bytes."""


class CutShort(ValueError):
    """The archive ends before it says so."""


class NoArchive(ValueError):
    """Not ustar from the first block on."""


def header(name: str, size: int) -> bytes:
    """Return the header of a plain file; raise ValueError for a name or a size that the form cannot carry."""
    prefix, last = _split(name)
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"{size} bytes do not fit in a member")
    block = b"".join((
        last.ljust(MAX_NAME, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0",
        _BLANK, b"0", bytes(100), _MAGIC, bytes(64 + 16), prefix.ljust(MAX_PREFIX, b"\0"),
        bytes(12),
    ))  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """Return what stands between a member of ``size`` bytes and the next header."""
    return bytes(-size % BLOCK)


def ending(size: int) -> bytes:
    """Return what ends an archive whose members take ``size`` bytes."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % RECORD)


def _split(name: str) -> tuple[bytes, bytes]:
    """Return prefix and name of the header: cut at the first slash behind which the rest fits, if need be."""
    text = name.encode("ascii")
    if not text or b"\0" in text:
        raise ValueError("no name for a member")
    if len(text) <= MAX_NAME:
        return b"", text
    at = text.find(b"/", len(text) - MAX_NAME - 1)
    if not 0 < at <= MAX_PREFIX or at == len(text) - 1:
        raise ValueError(f"{name[:80]!r} is too long for a member")
    return text[:at], text[at + 1 :]


class Reader:
    """Goes through an archive once, holding one block of it; the stream need not be seekable."""

    def __init__(self, stream: BinaryIO) -> None:
        self.flaws = 0
        """How many stretches of blocks stood where a header belongs and were none."""
        self._stream = stream
        self._left = 0
        self._pad = 0
        self._size = 0
        self._described = False
        self._begun = False
        self._end = _length(stream)

    def next(self) -> Member | None:
        """Return the next member, or None at the mark that ends an archive; raise CutShort, NoArchive.

        What of the last member was not read is passed over. Blocks that are no header are, too, and counted.
        """
        self._skip()
        found = self._find()
        if found is None:
            return None
        member, announces = found
        if self._described and member.kind == "file":
            member = Member(name=member.name, kind="extension", size=member.size)
        # A second extension may come before the member that both are about.
        self._described = announces
        # Nothing follows the header of a link, a directory or a device, whatever size it says.
        self._left = 0 if member.kind == "other" else member.size
        self._pad = -self._left % BLOCK
        self._size = self._left
        return member

    def _find(self) -> tuple[Member, bool] | None:
        zeros, stray = 0, False
        while True:
            block = self._block()
            zeros = zeros + 1 if block == _ZERO else 0
            if zeros == 2:
                return None
            found = None if zeros else _parse(block)
            if not zeros and found is None and not stray:
                self._stray(block)
                stray = True
            self._begun = True
            if found is not None:
                return found

    def chunks(self) -> Iterator[bytes]:
        """Go through the bytes of the member that ``next`` gave; raise CutShort."""
        while self._left:
            part = self._read(min(self._left, CHUNK))
            if not part:
                raise CutShort("the archive ends within a member")
            self._left -= len(part)
            yield part

    def again(self) -> bool:
        """Go back to the beginning of the member; return whether that can be done."""
        if self._end is None:
            return False
        self._stream.seek(self._left - self._size, 1)
        self._left = self._size
        return True

    @property
    def whole(self) -> bool:
        """Whether all of the member can still be there, where the length of the archive is known."""
        return self._end is None or self._stream.tell() + self._left <= self._end

    @property
    def length(self) -> int | None:
        """Bytes of the whole archive, where that can be told."""
        return self._end

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise CutShort(f"the archive cannot be read to its end: {error.strerror}") from None

    def _stray(self, block: bytes) -> None:
        # A header with a flipped bit is still recognisable; what never was an archive is not searched for members.
        if not self._begun and block[257:262] != _MAGIC[:5]:
            raise NoArchive(_what(block))
        self.flaws += 1

    def _skip(self) -> None:
        rest = self._left + self._pad
        self._left = self._pad = 0
        if self._end is not None:
            if self._stream.tell() + rest > self._end:
                raise CutShort("the archive ends within a member")
            self._stream.seek(rest, 1)
            return
        while rest:
            part = self._read(min(rest, CHUNK))
            if not part:
                raise CutShort("the archive ends within a member")
            rest -= len(part)

    def _block(self) -> bytes:
        block = self._read(BLOCK)
        while 0 < len(block) < BLOCK and (more := self._read(BLOCK - len(block))):
            block += more
        if len(block) == BLOCK:
            return block
        if not self._begun:
            raise NoArchive(_what(block) if block else "the file is empty")
        raise CutShort("the archive ends without its end mark")


def _what(start: bytes) -> str:
    """Return in words why a file that begins with ``start`` is no archive."""
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"a file compressed with {name}: expand it first, `{name} -dc FILE | envid cache import -`"
    return "not a tar archive of the form `ustar`"


def _length(stream: BinaryIO) -> int | None:
    """Return how many bytes a seekable stream has; it stays where it is."""
    if not stream.seekable():
        return None
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return end


def _parse(block: bytes) -> tuple[Member, bool] | None:
    """Return the member of a header block, and whether it is about the one behind it; None for another block."""
    if block[257:262] != _MAGIC[:5] or _number(block[148:156]) != sum(block) - sum(block[148:156]) + sum(_BLANK):
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    kind, announces = _kind(block)
    name, prefix = (field.partition(b"\0")[0] for field in (block[:100], block[345:500]))
    path = b"/".join((prefix, name)) if prefix else name
    return Member(name=path.decode("ascii") if path.isascii() else "", kind=kind, size=size), announces


def _kind(block: bytes) -> tuple[Kind, bool]:
    flag = block[156:157]
    if flag in b"123456":
        return "other", False
    if flag not in (b"0", b"\0"):
        # `x`, `L` and `K` say something of the next member: its name, its size, where it leads.
        return "extension", flag in (b"x", b"X", b"L", b"K")
    # GNU's own form has other things where the prefix of a name belongs, and sizes in base 256.
    return ("file" if block[257:265] == _MAGIC and block[124] < 0x80 else "extension"), False


def _number(field: bytes) -> int | None:
    """Return what a field of octal digits says, or of GNU's base 256; None when it says nothing."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    # At most twelve bytes, so that `int` is quick; it would also take `_` and a sign.
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None
