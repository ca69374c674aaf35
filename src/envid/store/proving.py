"""Whether bytes that pass by are the file of the store that their name promises, told in bounded memory.

An entry is up to half a gibibyte and a blob of any size, so that what comes from elsewhere is looked at piece by
piece, while it is written under a name that nobody reads. Only its document is held whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from blake3 import blake3

from envid.identity import PREFIX, SCHEMA
from envid.slot import NARROW
from envid.store import entry
from envid.store.cache import MAX_IN_MEMORY
from envid.store.entry import Damage, Header
from envid.values.digest import derive_hex

BLOB: Final = "blob"
"""The layer in the key of a blob."""
MAX_SWELL: Final = 1000
"""How many times larger than in the entry a payload may be, from ``FREE_SWELL`` bytes on."""
FREE_SWELL: Final = 1024 * 1024
MAX_WINDOW: Final = 23
"""Binary logarithm of the bytes that a zstd frame may have its reader hold; envid's own need 19."""
_PIECE: Final = 256 * 1024


class EntryProof:
    """One entry that passes: first what it says of itself, then its bytes, and at their end whether all that is so."""

    def __init__(self, pieces: Iterable[bytes], size: int, key: str) -> None:
        """Read as far as the document; raise Damage for anything that cannot be the entry of ``key``."""
        self._rest = iter(pieces)
        self._first = _gather(b"", self._rest, entry.PREFACE + entry.MAX_HEADER)
        self.header, self._start = entry.decode_header(self._first)
        if self._start + self.header.document + self.header.stored + entry.TRAILER != size:
            raise Damage("truncated")
        if self.header.key != key:
            raise Damage("misnamed")
        if self.header.codec != "raw" and _swells(self.header):
            raise Damage("oversized")
        self._first = _gather(self._first, self._rest, self._start + self.header.document)
        self.document = self._first[self._start : self._start + self.header.document]
        if not _is_bound(self.header, self.document):
            raise Damage("misnamed")

    def parts(self) -> Iterator[bytes]:
        """Go through all bytes of the entry; raise Damage after the last when they are not what they should be."""
        middle = self._start + self.header.document
        end = middle + self.header.stored
        content, trailer, at = _Content(self.header), b"", 0
        for part in chain((self._first,), self._rest):
            view = memoryview(part)
            content.feed(view[max(0, middle - at) : max(0, end - at)])
            trailer += bytes(view[max(0, end - at) :])
            if len(trailer) > entry.TRAILER:
                raise Damage("truncated")
            at += len(part)
            yield part
        if entry.trailer(self._first[:middle], content.proof.digest()) != trailer:
            raise Damage("damaged")
        content.close()


class _Content:
    """The payload before the codec: counted and hashed, not kept."""

    def __init__(self, header: Header) -> None:
        self.proof = blake3()
        """Of the bytes in the entry."""
        self._header = header
        self._hash = self.proof
        self._size = 0
        self._decoder = None
        if header.codec != "raw":
            self._hash = blake3()
            zstd = entry.zstd_module()
            self._decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW})

    def feed(self, part: memoryview) -> None:
        if not part:
            return
        self.proof.update(part)
        if self._decoder is None:
            self._size += len(part)
            return
        zstd, fed = entry.zstd_module(), part
        try:
            while True:
                if self._decoder.eof:
                    raise Damage("damaged")
                out = self._decoder.decompress(fed, max_length=_PIECE)
                fed = memoryview(b"")
                self._add(out)
                # It may need input and yet have given a full piece, with nothing left behind.
                if self._decoder.needs_input or self._decoder.eof:
                    break
        except zstd.ZstdError:
            raise Damage("damaged") from None
        if self._decoder.eof and self._decoder.unused_data:
            raise Damage("damaged")

    def _add(self, part: memoryview | bytes) -> None:
        self._size += len(part)
        if self._size > self._header.size:
            raise Damage("damaged")
        self._hash.update(part)

    def close(self) -> None:
        if self._size != self._header.size or self._hash.hexdigest() != self._header.digest:
            raise Damage("damaged")
        if self._decoder is not None and not self._decoder.eof:
            raise Damage("damaged")


def wheel_parts(pieces: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """Go through the bytes of a wheel or a source archive; raise Damage after the last for another sha256."""
    digest = hashlib.sha256()
    for part in pieces:
        digest.update(part)
        yield part
    if digest.hexdigest() != sha256:
        raise Damage("damaged")


def _gather(data: bytes, rest: Iterator[bytes], size: int) -> bytes:
    """Return ``data`` and as much of ``rest`` as it takes to have ``size`` bytes."""
    parts, have = [data], len(data)
    while have < size and (part := next(rest, b"")):
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _swells(header: Header) -> bool:
    """Return whether the payload is out of proportion: envid reads no such entry, or hardly ever wrote one."""
    return header.size > MAX_IN_MEMORY or (header.size > FREE_SWELL and header.size > MAX_SWELL * header.stored)


def _is_bound(header: Header, document: bytes) -> bool:
    """Return whether the key follows from the document, or from the content where there is none.

    Not ``slot.key_of``: it would build the objects of a hostile document, which may be many. A document that it
    refuses, and whose digest is yet the key, is that of no slot that anybody asks for.
    """
    layer, digest = header.key[len(PREFIX) + 1 : -65], header.key[-64:]
    if layer == BLOB:
        return not document and digest == header.digest
    return digest in (derive_hex(f"{schema} {layer}", document) for schema in (NARROW, SCHEMA))
