"""A second reader of the store's entries, written from docs/cache.md alone; imports nothing of envid."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NUMBERS = ("document", "size", "stored")
MEMBERS = ("codec", "digest", "document", "key", "made-by", "size", "stored")


class Refused(Exception):
    """Bytes that are not the entry asked for."""


def path_of(cache: Path, key: str) -> Path:
    """Return where the entry of ``key`` is."""
    layer, digest = key.removeprefix("envid1-")[:-65], key[-64:]
    area = Path("blobs-v1") if layer == "blob" else Path("entries-v1", layer)
    return cache / area / digest[:2] / digest


def key_of(document: bytes) -> str:
    """Return the key that follows from a slot's document."""
    value = json.loads(document)
    digest = blake3(document, derive_key_context=f"{value['schema']} {value['layer']}").hexdigest()
    return f"envid1-{value['layer']}-{digest}"


def read(path: Path, key: str, *, limit: int = 1 << 30) -> tuple[bytes, bytes]:
    """Return document and payload of the entry at ``path``; raise Refused."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise Refused("not a regular file")
    data = path.read_bytes()
    if data[:8] != bytes.fromhex("e5656e7669640d0a") or len(data) < 13:
        raise Refused("magic")
    if data[8] != 1:
        raise Refused("newer" if data[8] > 1 else "older")
    length = int.from_bytes(data[9:13], "big")
    if length > 4096:
        raise Refused("header length")
    header = _header(data[13 : 13 + length])
    middle = 13 + length + int(header["document"])
    end = middle + int(header["stored"])
    if len(data) != end + 32:
        raise Refused("size")
    stored = data[middle:end]
    proof = blake3(stored).digest()
    if blake3(data[:middle] + proof, derive_key_context="envid-entry/1").digest() != data[end:]:
        raise Refused("trailer")
    if header["key"] != key:
        raise Refused("key")
    size = int(header["size"])
    if size > limit:
        raise Refused("too large")
    payload = stored if header["codec"] == "raw" else _expanded(stored, size)
    if len(payload) != size or blake3(payload).hexdigest() != header["digest"]:
        raise Refused("content")
    return data[13 + length : middle], payload


def _header(text: bytes) -> dict[str, str | int]:
    try:
        value = json.loads(text.decode("ascii"))
    except ValueError:
        raise Refused("header") from None
    if not isinstance(value, dict) or tuple(value) != MEMBERS:
        raise Refused("members")
    if any(type(value[name]) is not int or value[name] < 0 for name in NUMBERS) or value["codec"] not in (
        "raw",
        "zstd",
    ):
        raise Refused("values")
    # One form only: what is written again must be what was read.
    if json.dumps(value, separators=(",", ":")).encode() != text:
        raise Refused("form")
    if value["codec"] == "raw" and value["size"] != value["stored"]:
        raise Refused("sizes")
    return value


def _expanded(stored: bytes, size: int) -> bytes:
    decoder = zstd.ZstdDecompressor()
    try:
        payload = decoder.decompress(stored, max_length=size + 1)
    except zstd.ZstdError:
        raise Refused("zstd") from None
    if not decoder.eof or decoder.unused_data:
        raise Refused("zstd")
    return bytes(payload)
