"""Single flight: of all who need the same slot at the same time, one makes it, and the others wait for that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from envid.atomic import discard
from envid.errors import GuardTimeout, WriteFailed
from envid.guard import Held, hold
from envid.slot import Slot
from envid.store import filesystem
from envid.store.place import GUARDS, Place, make_below
from envid.values.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """How the wait for a slot ended."""

    alone: bool
    """Whether this process is the one that makes it; False after a wait that expired, or where guards do not work."""
    waited: bool
    """Whether another process was making it: then look again before making it."""
    note: str = ""
    """What there is to say: for whom was waited in vain, or why guards are not relied on here."""


def guard_path(place: Place, slot: Slot) -> str:
    """Return the guard file of ``slot``: ``guards-v1/flight/LAYER/<2 hex>/<64 hex>``."""
    return f"{place.area(GUARDS)}/flight/{slot.layer}/{slot.digest[:2]}/{slot.digest}"


@contextlib.contextmanager
def single(place: Place, slot: Slot, *, wait: float, purpose: str) -> Iterator[Flight]:
    """Hold the right to make ``slot``; wait at most ``wait`` seconds for another holder, then go on without it.

    Publishing twice is safe, so nothing is ever wrong without the guard, only done twice. Never raises on its own.
    """
    with contextlib.ExitStack() as stack:
        path = guard_path(place, slot)
        flight = _entered(place, path, wait, purpose, stack)
        if flight.alone:
            # Undone in reverse: the file goes while it is still held, so that none is left over for each key.
            stack.callback(discard, path)
        if flight.waited:
            place.tally.add(slot.layer, "waited" if flight.alone else "wait-expired")
        yield flight


def _entered(place: Place, path: str, wait: float, purpose: str, stack: contextlib.ExitStack) -> Flight:
    if place.trouble is not None:
        return Flight(alone=False, waited=False, note=f"not waiting for others: {place.trouble.message}")
    there = filesystem.of(place.root)
    if there.network:
        return Flight(
            alone=False, waited=False,
            note=f"not waiting for others: {place.root} is on {there.kind}, where guards do not keep other hosts out",
        )  # fmt: skip
    try:
        make_below(place, os.path.dirname(path))
        held: Held = stack.enter_context(hold(path, timeout=wait, purpose=purpose, mode=place.changing_mode))
    except GuardTimeout as error:
        return Flight(alone=False, waited=True, note=f"waited {wait:g} s in vain: {error.message}")
    except WriteFailed as error:
        return Flight(alone=False, waited=False, note=f"not waiting for others: {error.message}")
    return Flight(alone=True, waited=held.waited)
