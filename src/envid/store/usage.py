"""Who uses the store: commands that read it in several steps share it, and the collection has it alone.

A single read or write needs none of this: an entry is read whole or missed, and what is removed meanwhile is a miss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from envid.errors import GuardTimeout, WriteFailed
from envid.guard import hold
from envid.store.place import GUARDS, Place

GUARD: Final = "gc"
"""The file in ``guards-v1``."""
WAIT: Final = 60.0
"""Seconds that either side waits for the other."""


@contextlib.contextmanager
def using(place: Place, *, purpose: str = "", wait: float = WAIT) -> Iterator[bool]:
    """Keep the collection away while the block reads or writes in several steps; many may do so at a time.

    Yields whether it is kept away: not where guards do not work, nor after ``wait`` seconds for one that does not
    end. Nothing becomes wrong without, only missed. Never raises on its own.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_guard(place, shared=True, purpose=purpose, wait=wait))
            away = True
        except (GuardTimeout, WriteFailed):
            away = False
        yield away


@contextlib.contextmanager
def alone(place: Place, *, purpose: str, wait: float = WAIT) -> Iterator[None]:
    """Have the store to oneself; raise GuardTimeout, which names a holder, after ``wait`` seconds, and WriteFailed."""
    with _guard(place, shared=False, purpose=purpose, wait=wait):
        yield


def _guard(place: Place, *, shared: bool, purpose: str, wait: float) -> contextlib.AbstractContextManager[object]:
    path = f"{place.area(GUARDS)}/{GUARD}"
    return hold(path, timeout=wait, shared=shared, purpose=purpose, mode=0o660 if place.policy.shared else 0o600)
