"""One entry of the store: bytes that prove themselves (docs/cache.md, "The form of an entry").

::

    MAGIC (8)  format (1)  header length (4, big-endian)  header  document  payload  trailer (32)

The header is canonical JSON with a fixed set of members; the document is that of the slot whose full key the
header holds; the trailer is BLAKE3 over all before the payload and over the payload's own BLAKE3, so that one
pass over a payload that is stored as it is proves both. Nothing here touches a disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from blake3 import blake3

from envid import __version__
from envid.values.frozen import dataclass

MAGIC: Final = b"\xe5envid\r\n"
"""Not text, so that no transfer in text mode leaves it as it is."""
FORMAT: Final = 1
CONTEXT: Final = "envid-entry/1"
"""BLAKE3 ``derive_key`` context of the trailer."""
PREFACE: Final = len(MAGIC) + 1 + 4
TRAILER: Final = 32
MAX_HEADER: Final = 4096
_AT_ONCE: Final = PREFACE + MAX_HEADER
"""Bytes of a small entry, which is read by one call; of a larger one, those that have its header."""
MAX_DOCUMENT: Final = 16 * 1024 * 1024
MAX_PAYLOAD: Final = 1 << 40
"""Bytes; what is decoded in memory is capped by the reader besides."""
MADE_BY: Final = f"envid {__version__}"
MIN_SQUEEZED: Final = 1024
"""Below this many bytes zstd does not pay for its import."""

_SAMPLE: Final = 64 * 1024

_HEADER: Final = (
    rb'\{"codec":"(?P<codec>raw|zstd)","digest":"(?P<digest>[0-9a-f]{64})","document":(?P<document>0|[1-9][0-9]{0,8}),'
    rb'"key":"(?P<key>envid1-[a-z0-9][a-z0-9_-]{0,31}-[0-9a-f]{64})","made-by":"(?P<made>envid [0-9A-Za-z.+-]{1,40})",'
    rb'"size":(?P<size>0|[1-9][0-9]{0,12}),"stored":(?P<stored>0|[1-9][0-9]{0,12})\}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an entry says of itself."""

    codec: str
    """``raw`` or ``zstd``."""
    digest: str
    """BLAKE3 of the payload before the codec, 64 hexadecimal digits."""
    document: int
    """Bytes of the slot's document."""
    key: str
    made_by: str
    size: int
    """Bytes of the payload before the codec."""
    stored: int
    """Bytes of the payload in the entry."""

    @property
    def length(self) -> int:
        """Bytes of the whole entry."""
        return PREFACE + len(encode_header(self)) + self.document + self.stored + TRAILER


class Damage(ValueError):
    """Bytes that are not the entry asked for; ``reason`` is one of ``values.reason.MISSES``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry whose trailer is right: it is what was written, under the key that it holds."""

    header: Header
    document: bytes
    stored: bytes | memoryview
    """The payload as it is in the entry; ``payload`` gives it back as it was."""
    proof: str
    """BLAKE3 of ``stored``, 64 hexadecimal digits."""


def encode(key: str, document: bytes, payload: bytes, *, squeeze: bool = True) -> bytes:
    """Return the entry of ``payload`` under ``key``; compressed where ``squeeze`` says so and it saves a tenth."""
    return b"".join(parts(key, document, payload, squeeze=squeeze))


def parts(key: str, document: bytes, payload: bytes, *, squeeze: bool = True) -> tuple[bytes, bytes, bytes]:
    """Return the same in three parts, of which the second is the payload itself or what it was squeezed to.

    Not joined: a copy of a large payload costs as much as its digest.
    """
    stored, codec = payload, "raw"
    if squeeze and len(payload) >= MIN_SQUEEZED and _may_shrink(payload):
        squeezed = zstd_module().compress(payload, level=1)
        if len(squeezed) <= len(payload) * 9 // 10:
            stored, codec = squeezed, "zstd"
    content = blake3(payload)
    header = Header(
        codec=codec, digest=content.hexdigest(), document=len(document), key=key,
        made_by=MADE_BY, size=len(payload), stored=len(stored),
    )  # fmt: skip
    start = preface(header) + document
    return start, stored, trailer(start, content.digest() if codec == "raw" else blake3(stored).digest())


def _may_shrink(payload: bytes) -> bool:
    """Guess by a piece out of the middle: for what is compressed already, the rest would be tried in vain."""
    if len(payload) < 8 * _SAMPLE:
        return True
    middle = len(payload) // 2
    sample = payload[middle : middle + _SAMPLE]
    return len(zstd_module().compress(sample, level=1)) <= _SAMPLE * 9 // 10


def encode_header(header: Header) -> bytes:
    """Return the canonical JSON of ``header``."""
    return (
        f'{{"codec":"{header.codec}","digest":"{header.digest}","document":{header.document},"key":"{header.key}",'
        f'"made-by":"{header.made_by}","size":{header.size},"stored":{header.stored}}}'
    ).encode("ascii")


def preface(header: Header) -> bytes:
    """Return all of an entry that stands before its document."""
    text = encode_header(header)
    return MAGIC + bytes([FORMAT]) + len(text).to_bytes(4, "big") + text


def trailer(start: bytes | memoryview, proof: bytes) -> bytes:
    """Return the trailer over ``start``, which ends with the document, and ``proof``, BLAKE3 of the stored payload."""
    return blake3(b"".join((start, proof)), derive_key_context=CONTEXT).digest()


def decode_header(data: bytes | memoryview) -> tuple[Header, int]:
    """Return the header at the start of ``data``, and how many bytes stand before the document; raise Damage."""
    start = bytes(data[:PREFACE])
    if len(start) < PREFACE or start[: len(MAGIC)] != MAGIC:
        raise Damage("header" if len(start) == PREFACE else "truncated")
    if start[len(MAGIC)] != FORMAT:
        raise Damage("newer-format" if start[len(MAGIC)] > FORMAT else "older-format")
    length = int.from_bytes(start[-4:], "big")
    if length > MAX_HEADER:
        raise Damage("header")
    found = _header().fullmatch(bytes(data[PREFACE : PREFACE + length]))
    if found is None:
        raise Damage("header" if len(data) >= PREFACE + length else "truncated")
    header = Header(
        codec=found["codec"].decode(), digest=found["digest"].decode(), document=int(found["document"]),
        key=found["key"].decode(), made_by=found["made"].decode(), size=int(found["size"]),
        stored=int(found["stored"]),
    )  # fmt: skip
    if header.document > MAX_DOCUMENT or max(header.size, header.stored) > MAX_PAYLOAD:
        raise Damage("oversized")
    if header.codec == "raw" and header.size != header.stored:
        raise Damage("header")
    return header, PREFACE + length


def decode(data: bytes, key: str) -> Entry:
    """Return the entry in ``data``, which must be whole and that of ``key``; raise Damage."""
    view = memoryview(data)
    header, start = decode_header(view)
    end = start + header.document + header.stored
    if len(data) != end + TRAILER:
        raise Damage("truncated")
    middle = start + header.document
    return _proven(header, view[:middle], start, view[middle:end], view[end:], key)


def _proven(
    header: Header, head: bytes | memoryview, start: int, stored: bytes | memoryview, end: bytes | memoryview, key: str
) -> Entry:
    proof = blake3(stored)
    if trailer(head, proof.digest()) != end:
        raise Damage("damaged")
    # A sound entry under another's name: a restored or planted file, or a path that was mixed up.
    if header.key != key:
        raise Damage("misnamed")
    return Entry(header=header, document=bytes(head[start:]), stored=stored, proof=proof.hexdigest())


def read(get: Callable[[int, int], bytes], size: int, key: str) -> Entry:
    """Return the entry of ``size`` bytes that ``get`` gives by number and offset, like ``decode``; raise Damage.

    The payload of a large one is read into its own bytes, so that it need not be copied out of others.
    """
    if size <= _AT_ONCE:
        return decode(get(size + 1, 0), key)
    start = get(_AT_ONCE, 0)
    header, at = decode_header(start)
    middle = at + header.document
    end = middle + header.stored
    if size != end + TRAILER:
        raise Damage("truncated")
    head = start[:middle] if middle <= len(start) else get(middle, 0)
    stored = get(header.stored, middle)
    if (len(head), len(stored)) != (middle, header.stored):
        raise Damage("truncated")
    return _proven(header, head, at, stored, get(TRAILER + 1, end), key)


def payload(entry: Entry, *, limit: int) -> bytes:
    """Return the payload of ``entry`` as it was given, at most ``limit`` bytes of it; raise Damage."""
    header = entry.header
    if header.size > limit:
        raise Damage("oversized")
    if header.codec == "raw":
        # `bytes` of bytes is no copy.
        data, digest = bytes(entry.stored), entry.proof
    else:
        data = _expand(entry.stored, header.size)
        digest = blake3(data).hexdigest()
    # The trailer says that these bytes were written; this says that whoever wrote them had this content.
    if len(data) != header.size or digest != header.digest:
        raise Damage("damaged")
    return data


def _expand(data: bytes | memoryview, size: int) -> bytes:
    """Return what ``data`` expands to, refusing to go on beyond ``size``: a bomb says a size, too."""
    zstd = zstd_module()
    decoder = zstd.ZstdDecompressor()
    parts: list[bytes] = []
    left = size + 1
    fed: bytes | memoryview = data
    try:
        while left > 0 and not decoder.eof:
            part = decoder.decompress(fed, max_length=left)
            fed = b""
            if not part and decoder.needs_input:
                raise Damage("damaged")
            parts.append(part)
            left -= len(part)
    except zstd.ZstdError:
        raise Damage("damaged") from None
    if left <= 0 or decoder.unused_data:
        raise Damage("damaged")
    return parts[0] if len(parts) == 1 else b"".join(parts)


@cache
def _header() -> re.Pattern[bytes]:
    return re.compile(_HEADER)


@cache
def zstd_module():  # type: ignore[no-untyped-def]
    """Return the module that knows zstd; its import takes a while."""
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
