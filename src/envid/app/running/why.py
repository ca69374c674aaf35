"""Why a command ran, or did not: what differs from when it ran last, in words."""

from __future__ import annotations

import re
from typing import Final

from envid.app.running.task import LAYER, Task, question
from envid.errors import IdentityError, WriteFailed
from envid.identity import Change
from envid.slot import Slot, changes, key_of
from envid.store import entry, recorded
from envid.store.cache import Miss, read_file
from envid.store.inventory import take
from envid.store.place import ENTRIES, Place
from envid.values.reason import MISSES

LOOKED_AT: Final = 200
"""Entries, the latest first, among which the nearest is looked for."""


def reasons(task: Task, place: Place, slot: Slot, missed: str | None) -> tuple[str, ...]:
    """Return one line for each change since this command last ran here, or else against the nearest entry.

    ``missed``: why the cache had nothing (``values.reason.MISSES``); None for a hit.
    """
    last = recorded.read(task.ws.kept, _name(task)).last
    if missed is None:
        if last is None or last == slot.document:
            return ("it did not run: nothing changed since it ran",)
        return ("it did not run: it ran with exactly this before",)
    # What the store lost is the reason even where other things changed, too.
    lost = () if missed in ("absent", "stale") else (f"it ran: {MISSES.get(missed, missed)} ({missed})",)
    since = "since it last ran in this project"
    if last is None:
        last, since = _nearest(place, slot), "compared with the nearest run in the cache"
    if last is None:
        return (*lost, "it ran: no run of this command for these outputs is known")
    found = changes(last, slot.document)
    if not found:
        return lost or (f"it ran: nothing changed {since}, but nothing is kept of that run",)
    return (*lost, *(f"it ran: {since}, {_shortened(_plain(change))}" for change in found))


def _plain(change: Change) -> str:
    if change.component != "environment":
        return change.text
    # A digest stands for the value; a variable that is not set has none.
    return change.text.replace(" was null and ", " was not set and ").removesuffix("null") + (
        "not set" if change.text.endswith(" is null") else ""
    )


def _shortened(text: str) -> str:
    # A digest is there to be told from another.
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)


def record(task: Task, slot: Slot) -> None:
    """Record what the command ran with, for the next one to be compared with."""
    try:
        recorded.keep(task.ws.kept, _name(task), slot.document)
    except WriteFailed:
        # A cache that cannot be written leaves nothing recorded.
        return


def _name(task: Task) -> str:
    return recorded.slot(project=task.root, layer=LAYER, target=question(task), lock=task.order.name)


def _nearest(place: Place, slot: Slot) -> bytes | None:
    things = [thing for thing in take(place, (ENTRIES,)) if thing.name.startswith(f"{LAYER}/") and thing.digest]
    things.sort(key=lambda thing: -thing.time_ns)
    best: tuple[tuple[bool, int], bytes] | None = None
    for thing in things[:LOOKED_AT]:
        data = read_file(f"{place.area(ENTRIES)}/{thing.name}", place, renew=False)
        if isinstance(data, Miss):
            continue
        try:
            document = entry.decode(data, f"envid1-{LAYER}-{thing.digest}").document
            if key_of(document)[-64:] != thing.digest:
                continue
        except (entry.Damage, IdentityError):
            continue
        found = changes(document, slot.document)
        # What makes other outputs is no earlier run of this; what makes the same with other words may be.
        if any(change.component == "outputs" for change in found):
            continue
        rank = (any(change.component == "command" for change in found), len(found))
        if best is None or rank < best[0]:
            best = (rank, document)
    return None if best is None else best[1]
