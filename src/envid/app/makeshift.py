"""A cache for one command, where the project's own cannot be written: no command fails for want of a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from envid.app.outcome import Outcome
from envid.app.storing import place_of
from envid.app.workspace import Workspace
from envid.atomic import temporary_directory
from envid.store.place import lacks_space, try_out
from envid.store.usage import using


def with_cache(ws: Workspace, use: Callable[[Workspace], Outcome]) -> Outcome:
    """Return what ``use`` answers of ``ws``; with a private cache that is gone afterwards, where its own fails.

    What the own cache has is read all the same. Raises what ``use`` raises, and StoreError for a cache that others
    can write: that is to be mended, not to be gone around.
    """
    place = place_of(ws)
    place.sound()
    trouble = try_out(place) or lacks_space(place, 0)
    if trouble is None:
        # A wheel is fetched, then read, then installed: it must not be collected in between.
        with using(place, purpose="envid"):
            return use(ws)
    from pathlib import Path

    with temporary_directory(prefix="envid-cache-") as made:
        outcome = use(replace(ws, cache=Path(made) / "cache", former=ws.cache))
    return replace(outcome, notes=(f"nothing is kept for the next time: {trouble.message}", *outcome.notes))
