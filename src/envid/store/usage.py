"""Who uses the store: commands that read it in several steps share it, and the collection has it alone.

A single read or write needs none of this: an entry is read whole or missed, and what is removed meanwhile is a miss.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

from envid.errors import GuardTimeout, WriteFailed
from envid.guard import hold
from envid.store.place import GUARDS, Place, make_below

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
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_guard(place, shared=False, purpose=purpose, wait=wait))
        except GuardTimeout as error:
            # The guard file names who held it alone; who shares it, and there may be many, the kernel knows.
            users = ", ".join(f"process {pid}{_state(pid)}" for pid in sharers(f"{place.area(GUARDS)}/{GUARD}"))
            if not users:
                raise
            raise GuardTimeout(f"{place.root} is held by {users}", hint=error.hint, path=place.root) from None
        yield


def sharers(path: str) -> tuple[int, ...]:
    """Return the processes that hold the guard file ``path`` with others, as far as the system tells."""
    try:
        number = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return ()
    found = re.findall(rf"FLOCK +ADVISORY +READ +([0-9]+) +[0-9a-f]+:[0-9a-f]+:{number} ", text)
    return tuple(sorted({int(pid) for pid in found if pid != "0"}))


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return ", which is stopped" if stream.read().rpartition(")")[2].split()[:1] in (["T"], ["t"]) else ""
    except OSError:
        return ""


def _guard(place: Place, *, shared: bool, purpose: str, wait: float) -> contextlib.AbstractContextManager[object]:
    if place.trouble is not None:
        raise WriteFailed(place.trouble.message, hint=place.trouble.hint, path=place.root)
    make_below(place, place.area(GUARDS))
    path = f"{place.area(GUARDS)}/{GUARD}"
    return hold(path, timeout=wait, shared=shared, purpose=purpose, mode=place.changing_mode)
