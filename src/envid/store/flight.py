"""Single flight: of all who need the same slot at the same time, one makes it, and the others wait for that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from envid.slot import Slot
from envid.store.place import Place
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


@contextlib.contextmanager
def single(place: Place, slot: Slot, *, wait: float, purpose: str) -> Iterator[Flight]:
    """Hold the right to make ``slot``; wait at most ``wait`` seconds for another holder, then go on without it.

    Publishing twice is safe, so nothing is ever wrong without the guard, only done twice. Never raises on its own.
    """
    raise NotImplementedError
    yield Flight(alone=False, waited=False)
