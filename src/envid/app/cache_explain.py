"""``envid cache explain``: why a layer misses, told by the nearest that is recorded; or what one entry is."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from envid.app.keys import DEFAULT_LAYER, identify_for
from envid.app.outcome import Outcome, count
from envid.app.recorded import recorded
from envid.app.storing import place_of
from envid.app.workspace import Workspace
from envid.errors import EntryNotFound, UsageError
from envid.identity import LAYERS, Change
from envid.slot import changes, of_identity
from envid.store.blobs import LAYER as BLOB
from envid.store.cache import Candidate, find
from envid.store.inventory import take
from envid.store.place import BLOBS, ENTRIES, Place
from envid.store.recent import Record, entries_of, identities_of, look
from envid.store.recorded import Recorded
from envid.store.roots import read_root, read_roots, root_path
from envid.values.amount import show_size
from envid.values.digest import JSONValue, NotCanonical, parse_canonical
from envid.values.frozen import dataclass
from envid.values.reason import MISSES

_KEY: Final = r"envid1-([a-z0-9][a-z0-9_-]{0,31})-([0-9a-f]{64})"
_BEGINNING: Final = r"envid1-([a-z0-9][a-z0-9_-]{0,31})-([0-9a-f]{4,63})"
_SHOWN: Final = 5
"""Keys that a message about a beginning of several names."""


MAX_TOLD: Final = 12
"""Differences that are told in words; the rest is counted."""
_WIDTH: Final = 80
"""Characters of a component's value that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A record, and what differs between it and what is asked about."""

    record: Record
    changes: tuple[Change, ...]


def cache_explain(
    ws: Workspace, what: str | None = None, *, target: str | None = None, name: str = "default", others: bool = False
) -> Outcome:
    """Answer for a key: what that entry is; for a layer: whether it hits now, and if not, what is nearest.

    Of a key, a beginning will do that no other key of its layer has.
    ``what`` defaults to the layer env. Compared are the last identities of this project that were recorded, and the
    entries that it used; with ``others`` those of every project, the ``MOST`` latest of them; for a layer whose
    identity needs more than a project (``run``), the latest entry with the others.
    ``data`` of a layer: ``{"layer", "key", "found", "reason", "candidates", "others", "nearest": {"key",
    "source", "used", "changes": [{"component", "what", "subject", "old", "new", "text"}]} | null}``; of a key:
    ``{"key", "layer", "document", "size", "stored", "made-by", "used", "blobs", "projects"}``. Raises EntryNotFound,
    UsageError, and what ``key`` raises.
    """
    place = place_of(ws)
    place.sound()
    what = what or DEFAULT_LAYER
    if (key := re.fullmatch(_KEY, what)) is not None:
        return _entry(place, what, key[1], key[2])
    if (key := re.fullmatch(_BEGINNING, what)) is not None:
        digest = _completed(place, what, key[1], key[2])
        return _entry(place, f"envid1-{key[1]}-{digest}", key[1], digest)
    if what.startswith("envid1-"):
        raise UsageError(
            f"`{ascii(what[:120])[1:-1]}` is no key", hint="a key is envid1-LAYER- and 64 digits, of which 4 may do"
        )
    if what in LAYERS or what in ws.intent.settings.layers:
        return _layer(ws, place, what, target, name, others)
    return _latest(place, what)


def _completed(place: Place, what: str, layer: str, digits: str) -> str:
    """Return the 64 digits of the only entry, or blob, of ``layer`` that begin so; raise EntryNotFound, UsageError."""
    start = "" if layer == BLOB else f"{layer}/"
    area = BLOBS if layer == BLOB else ENTRIES
    names = sorted(
        thing.name.rpartition("/")[2]
        for thing in take(place, (area,))
        if thing.kind == "kept" and thing.name.startswith(f"{start}{digits[:2]}/{digits}")
    )
    if not names:
        raise EntryNotFound(f"there is no entry whose key begins with {what}", hint="see `envid cache stats`")
    if len(names) > 1:
        shown = ", ".join(f"envid1-{layer}-{name[:20]}" for name in names[:_SHOWN])
        raise UsageError(f"{count(len(names), 'key')} begin with {what}", hint=f"give more of one of them: {shown}")
    return names[0]


def _layer(ws: Workspace, place: Place, layer: str, target: str | None, name: str, others: bool) -> Outcome:
    """Compare the current identity of ``layer`` with what is recorded of it."""
    known = identify_for(ws, layer=layer, target=target, name=name)
    slot = of_identity(known.identity)
    found = find(place, slot)
    reason = "" if isinstance(found, Candidate) else found.reason
    entries = entries_of(place, layer)
    everything = [*entries, *identities_of(place, layer)]
    own = _own(ws, place, everything, recorded(ws, layer=layer, target=known.target, name=name))
    records = everything if others else own
    strangers = len(everything) - len(own)
    same = max((record.used_ns for record in records if record.document == slot.document), default=None)
    nearest = _nearest(slot.document, [record for record in records if record.document != slot.document])
    lines = [f"{slot.key}"]
    if not reason:
        lines.append("hit: the cache has an entry of the current identity")
    elif entries:
        lines.append(f"miss ({reason}): {MISSES[reason]}")
    else:
        lines.append(f"the cache has no entry of the layer {layer}; compared are the identities that were computed")
    if reason and same is not None:
        lines.append(f"the current identity was computed before, {_when(same)}: it has not changed since")
    if nearest is None and strangers and not others and same is None:
        lines.append(
            f"nothing is recorded of the layer {layer} of this project, and {count(strangers, 'record')} of others: "
            "--others compares with them"
        )
    else:
        lines += _told(nearest, len(records), layer)
    data = _data(slot.layer, slot.key, reason, nearest, len(records)) | {"others": strangers}
    return Outcome(command="cache-explain", answer="\n".join(lines), data=data)


def _own(ws: Workspace, place: Place, records: list[Record], last: Recorded) -> list[Record]:
    """Return those of ``records`` that this project made or used: others differ in everything, and explain nothing."""
    root = read_root(place, os.path.basename(root_path(place, ws.place)))
    used = frozenset(() if root is None else root.keys)
    documents = {document for document in (last.last, last.before) if document is not None}
    return [record for record in records if record.document in documents or record.key in used]


def _latest(place: Place, layer: str) -> Outcome:
    """Compare the latest entry of ``layer`` with those before it."""
    records = sorted(entries_of(place, layer), key=lambda one: -one.used_ns)
    if not records:
        known = ", ".join(sorted(LAYERS))
        raise EntryNotFound(
            f"the cache has no entry of a layer `{ascii(layer[:40])[1:-1]}`",
            hint=f"layers of a project are {known}; or name a key",
        )
    latest = records[0]
    nearest = _nearest(latest.document, records[1:])
    lines = [latest.key, f"the latest entry of the layer {layer}, used {_when(latest.used_ns)}"]
    lines += _told(nearest, len(records) - 1, layer)
    data = _data(layer, latest.key, "", nearest, len(records) - 1)
    return Outcome(command="cache-explain", answer="\n".join(lines), data=data)


def _nearest(document: bytes, records: list[Record]) -> _Compared | None:
    """Return the record from which fewest things differ, of several the latest."""
    compared = [_Compared(record=record, changes=changes(record.document, document)) for record in records]
    return min(compared, key=lambda one: (len(one.changes), -one.record.used_ns), default=None)


def _told(nearest: _Compared | None, candidates: int, layer: str) -> list[str]:
    if nearest is None:
        return [f"nothing else is recorded of the layer {layer}"]
    record = nearest.record
    return [
        f"nearest of {count(candidates, 'record')}: {record.source}, {_when(record.used_ns)}, {record.key}",
        *(f"  {change.text}" for change in nearest.changes[:MAX_TOLD]),
        *(
            [f"  and {count(left, 'difference')} more (see --json)"]
            if (left := len(nearest.changes) - MAX_TOLD) > 0
            else []
        ),
    ]


def _data(
    layer: str, key: str, reason: str, nearest: _Compared | None, candidates: int
) -> dict[str, JSONValue]:  # fmt: skip
    near: JSONValue = None
    if nearest is not None:
        near = {
            "key": nearest.record.key, "source": nearest.record.source, "used": _when(nearest.record.used_ns),
            "changes": [
                {"component": c.component, "what": c.what, "subject": c.subject, "old": c.old, "new": c.new,
                 "text": c.text}
                for c in nearest.changes
            ],
        }  # fmt: skip
    return {
        "layer": layer, "key": key, "found": not reason, "reason": reason or None, "candidates": candidates,
        "nearest": near,
    }  # fmt: skip


def _entry(place: Place, key: str, layer: str, digest: str) -> Outcome:
    """Say what the entry under ``key`` is."""
    seen = look(place, layer, digest)
    if seen.record is None:
        raise EntryNotFound(
            f"there is no sound entry under {key}: {MISSES.get(seen.reason, seen.reason)}",
            hint="`envid cache verify` reads all there is" if seen.reason != "absent" else "see `envid cache stats`",
        )
    record, header = seen.record, seen.header
    assert header is not None
    projects = [root.project for root in read_roots(place)[0] if key in root.keys]
    lines = [
        key,
        f"made by   {header.made_by}",
        f"used      {_when(record.used_ns)}",
        f"size      {show_size(header.size)}, {show_size(header.length)} in the cache ({header.codec})",
        f"names     {count(len(seen.blobs), 'blob')}",
        f"used by   {', '.join(_shown(project) for project in projects) or 'no project'}",
        *_folded(_parsed(record.document)),
    ]
    data: dict[str, JSONValue] = {
        "key": key, "layer": layer, "document": _parsed(record.document), "size": header.size,
        "stored": header.length, "codec": header.codec, "made-by": header.made_by, "used": _when(record.used_ns),
        "blobs": len(seen.blobs), "projects": [_shown(project) for project in projects],
    }  # fmt: skip
    return Outcome(command="cache-explain", answer="\n".join(lines), data=data)


def _folded(document: JSONValue) -> list[str]:
    """Return a line for each component of a document, cut short."""
    components = document.get("components") if isinstance(document, Mapping) else None
    if not isinstance(components, Mapping):
        return []
    return ["made of", *(f"  {name}: {_brief(value)}" for name, value in sorted(components.items()))]


def _brief(value: JSONValue) -> str:
    if isinstance(value, str):
        text, number = value, ""
    elif isinstance(value, Mapping):
        text, number = ", ".join(value), f"{len(value)}: "
    elif isinstance(value, Sequence):
        firsts = (row[0] if isinstance(row, Sequence) and row and not isinstance(row, str) else row for row in value)
        text, number = ", ".join(map(str, firsts)), f"{len(value)}: "
    else:
        text, number = str(value), ""
    text = text.replace("\n", " ")
    return number + (text if len(text) <= _WIDTH else f"{text[:_WIDTH]}...")


def _parsed(document: bytes) -> JSONValue:
    try:
        return parse_canonical(document) if document else None
    except NotCanonical:
        return None


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _when(time_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 10**9))
