"""What was recorded lately of a layer: the documents of its entries, and of the identities that were computed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from envid.errors import EnvidError
from envid.slot import key_of
from envid.store import entry
from envid.store.blobs import LAYER
from envid.store.cache import MAX_IN_MEMORY, Miss, open_file, read_file
from envid.store.entry import Damage, Header
from envid.store.inventory import Thing, take
from envid.store.place import ENTRIES, Place
from envid.store.protection import names_in
from envid.values.frozen import dataclass

MOST: Final = 200
"""Records of each kind that are looked at, the latest first."""
_FIRST: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One document, where it was found, and when it was used."""

    key: str
    document: bytes
    source: str
    """``an entry`` or ``an identity that was computed``."""
    used_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One entry, or why it cannot be read."""

    record: Record | None
    header: Header | None
    reason: str
    """One of ``values.reason.MISSES``; empty for a sound entry."""
    blobs: frozenset[str]


def entries_of(place: Place, layer: str) -> list[Record]:
    """Return the latest entries of ``layer``, by their headers and documents alone; unreadable ones are left out."""
    things = [thing for thing in take(place, (ENTRIES,)) if thing.kind == "kept" and thing.name.startswith(f"{layer}/")]
    return [record for thing in _latest(things) if (record := _header_of(place, thing)) is not None]


def identities_of(place: Place, layer: str) -> list[Record]:
    """Return the latest identities of ``layer`` that were computed for any project of this cache."""
    records = []
    for thing in _latest([one for one in take(place, ("identities-v1",)) if one.kind == "kept"]):
        data = read_file(f"{place.root}/{thing.path}", place, limit=entry.MAX_DOCUMENT, renew=False)
        if isinstance(data, Miss) or f'"layer":"{layer}"'.encode() not in data:
            continue
        try:
            key = key_of(data)
        except EnvidError:
            continue
        if key.rpartition("-")[0] == f"envid1-{layer}":
            source = "an identity that was computed"
            records.append(Record(key=key, document=data, source=source, used_ns=thing.time_ns))
    return records


def look(place: Place, layer: str, digest: str) -> Seen:
    """Return what the entry, or the blob, of that name is; nothing is touched."""
    path = place.blob_path(digest) if layer == LAYER else f"{place.area(ENTRIES)}/{layer}/{digest[:2]}/{digest}"
    data = read_file(path, place, limit=MAX_IN_MEMORY, renew=False)
    if isinstance(data, Miss):
        return Seen(record=None, header=None, reason=data.reason, blobs=frozenset())
    try:
        found = entry.decode(data, f"envid1-{layer}-{digest}")
    except Damage as damage:
        return Seen(record=None, header=None, reason=damage.reason, blobs=frozenset())
    used = os.lstat(path).st_mtime_ns
    record = Record(key=found.header.key, document=found.document, source="an entry", used_ns=used)
    named: frozenset[str] = frozenset()
    if layer != LAYER:
        thing = Thing(area=ENTRIES, name=f"{layer}/{digest[:2]}/{digest}", size=len(data), time_ns=used, kind="kept")
        named = names_in(place, thing).digests
    return Seen(record=record, header=found.header, reason="", blobs=named)


def _latest(things: Iterable[Thing]) -> list[Thing]:
    return sorted(things, key=lambda one: -one.time_ns)[:MOST]


def _header_of(place: Place, thing: Thing) -> Record | None:
    """Return what the start of an entry says; its payload is not read, and nothing is proven."""
    opened = open_file(f"{place.root}/{thing.path}", place, renew=False)
    if isinstance(opened, Miss):
        return None
    try:
        data = os.read(opened[0], _FIRST)
        header, start = entry.decode_header(data)
        while len(data) < start + header.document and (more := os.read(opened[0], start + header.document - len(data))):
            data += more
        document = data[start : start + header.document]
        if key_of(document) != header.key or not thing.name.endswith(header.key[-64:]):
            return None
    except (OSError, Damage, EnvidError):
        return None
    finally:
        os.close(opened[0])
    return Record(key=header.key, document=document, source="an entry", used_ns=thing.time_ns)
