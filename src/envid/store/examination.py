"""Is what the cache holds what was put there? Every entry, blob and artifact read, every name and owner looked at.

Nothing is changed, and no time renewed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Final

from envid.errors import EnvidError
from envid.slot import key_of
from envid.store import blobs, entry
from envid.store.cache import MAX_IN_MEMORY, Miss, open_file, read_file
from envid.store.entry import Damage
from envid.store.inventory import AREAS, CONTENTS, WHEELS, Thing, take
from envid.store.place import BLOBS, ENTRIES, QUARANTINE, ROOTS, TEMPORARY, Place, is_trusted
from envid.store.protection import names_in
from envid.store.roots import read_root
from envid.values.finding import Finding, Severity
from envid.values.frozen import dataclass
from envid.values.reason import MISSES
from envid.whole import shut

CODES: Final = {
    "damaged": "cache.damaged", "truncated": "cache.damaged", "header": "cache.damaged", "oversized": "cache.damaged",
    "misnamed": "cache.misnamed", "foreign": "cache.foreign", "unreadable": "cache.unreadable",
    "incomplete": "cache.missing-blob", "newer-format": "cache.format", "older-format": "cache.format",
}  # fmt: skip
"""A reason of ``values.reason.MISSES`` to the code of the finding."""
SOUND: Final = frozenset({"newer-format", "older-format"})
"""Reasons that are no fault: another envid made the entry."""
_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing in the cache that is not as it should be."""

    thing: Thing
    reason: str
    """A name of ``values.reason.MISSES``, or ``leftover``."""
    message: str

    @property
    def finding(self) -> Finding:
        """What is said about it."""
        code = CODES.get(self.reason, "cache.leftover")
        severity: Severity = "info" if self.reason == "leftover" or self.reason in SOUND else "error"
        return Finding(
            code=code, severity=severity, subject=self.thing.area, path=self.thing.path, message=self.message,
            hint=None if self.reason in SOUND else "run `envid cache repair`",
        )  # fmt: skip


class Examined:
    """How much was read."""

    def __init__(self) -> None:
        self.numbers = dict.fromkeys((ENTRIES, BLOBS, WHEELS), 0)
        self.size = 0
        """Bytes."""


def examine(
    place: Place, examined: Examined, *, now_ns: int, grace: int, chosen: Callable[[], bool] = lambda: True,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[Fault]:  # fmt: skip
    """Go through the faults; ``chosen`` says of each thing whether it is read, ``tell`` is given the bytes that were.

    What is left in ``tmp-v1`` for longer than ``grace`` seconds, unfinished files, and areas of older layouts are
    leftovers.
    """
    for thing in take(place):
        fault = _named(place, thing, now_ns=now_ns, grace=grace)
        if fault is not None:
            yield fault
            continue
        if thing.area not in _READERS or thing.kind != "kept":
            continue
        if thing.area in examined.numbers and not chosen():
            continue
        reason = _READERS[thing.area](place, thing)
        if thing.area in examined.numbers:
            examined.numbers[thing.area] += 1
            examined.size += thing.size
        tell(thing.size)
        # What somebody collected or replaced while we read it is none of our findings.
        if reason is not None and reason != "absent":
            yield Fault(thing=thing, reason=reason, message=MISSES[reason])


def unsafe_directories(place: Place) -> Iterator[Finding]:
    """Go through the directories of the cache that others can write."""
    if place.trouble is not None and place.trouble.reason == "untrusted":
        yield _unsafe(place.root, place.trouble.message, place.trouble.hint)
    for area in AREAS:
        if os.path.islink(place.area(area)):
            yield _unsafe(place.area(area), "a link stands in the place of a directory of the cache", "remove it")
            continue
        if os.path.lexists(place.area(area)) and not os.path.isdir(place.area(area)):
            yield _unsafe(place.area(area), "this is no directory, where the cache has one", "remove it")
            continue
        for path, _, _ in os.walk(place.area(area)):
            try:
                found = os.lstat(path)
            except OSError:
                continue
            if not is_trusted(found, place.policy):
                hint = f"run `chmod o-w {path}`, and remove what you do not know there"
                yield _unsafe(path, "others than those it is for can write this directory of the cache", hint)


def _unsafe(path: str, message: str, hint: str) -> Finding:
    return Finding(code="cache.untrusted", severity="error", subject="cache", path=path, message=message, hint=hint)


def _named(place: Place, thing: Thing, *, now_ns: int, grace: int) -> Fault | None:
    """Return what the name, the kind, the owner or the age of ``thing`` gives away."""
    if thing.area == QUARANTINE:
        return None
    if thing.area == TEMPORARY or thing.kind == "part":
        if now_ns - thing.time_ns <= grace * 10**9:
            return None
        return Fault(thing=thing, reason="leftover", message="a command that was ended left it behind")
    if thing.area == CONTENTS:
        return Fault(thing=thing, reason="leftover", message="it belongs to an older layout, which nothing reads")
    if thing.kind == "foreign":
        return Fault(thing=thing, reason="foreign", message="not a file, or not of a name, that envid makes there")
    digest, name = thing.digest, thing.name
    if "/" in name and digest and thing.area in (ENTRIES, BLOBS, WHEELS) and f"{digest[:2]}/{digest}" not in name:
        return Fault(thing=thing, reason="foreign", message="it is in a directory where nobody looks for it")
    try:
        found = os.lstat(f"{place.root}/{thing.path}")
    except OSError:
        return None
    if not is_trusted(found, place.policy):
        return Fault(thing=thing, reason="foreign", message="another user owns it, or can write it")
    return None


def _entry(place: Place, thing: Thing) -> str | None:
    """Return what is wrong with an entry."""
    data = read_file(f"{place.root}/{thing.path}", place, limit=MAX_IN_MEMORY, renew=False)
    if isinstance(data, Miss):
        return data.reason
    layer, _, digest = thing.name.split("/")
    key = f"envid1-{layer}-{digest}"
    try:
        found = entry.decode(data, key)
        entry.payload(found, limit=MAX_IN_MEMORY)
    except Damage as damage:
        return damage.reason
    try:
        # A document that gives another key was not written by envid, whatever the trailer says.
        if key_of(found.document) != key:
            return "misnamed"
    except EnvidError:
        return "misnamed"
    if any(not os.path.lexists(place.blob_path(blob)) for blob in names_in(place, thing).digests):
        return "incomplete"
    return None


def _blob(place: Place, thing: Thing) -> str | None:
    """Return what is wrong with a blob."""
    return blobs.fault(place, thing.digest)


def _artifact(place: Place, thing: Thing) -> str | None:
    """Return what is wrong with a wheel or source archive."""
    opened = open_file(f"{place.root}/{thing.path}", place, renew=False)
    if isinstance(opened, Miss):
        return opened.reason
    digest = hashlib.sha256()
    try:
        while piece := os.read(opened[0], _PIECE):
            digest.update(piece)
    except OSError:
        return "unreadable"
    finally:
        shut(opened[0])
    return None if digest.hexdigest() == thing.digest else "damaged"


def _root(place: Place, thing: Thing) -> str | None:
    return "damaged" if re.fullmatch("[0-9a-f]{64}", thing.name) and read_root(place, thing.name) is None else None


_READERS: Final[dict[str, Callable[[Place, Thing], str | None]]] = {
    ENTRIES: _entry, BLOBS: _blob, WHEELS: _artifact, ROOTS: _root,
}  # fmt: skip
