"""Which store a project uses, by which policy, and what is written down of a command's use of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from envid.app.project import Site
from envid.store.counts import flush
from envid.store.place import MIN_FREE, Place, Policy, open_place


def place_of(ws: Site) -> Place:
    """Return the store of this project's cache directory, as ``[tool.envid.cache]`` wants it used."""
    settings, default = ws.intent.settings, Policy()
    policy = Policy(
        shared=settings.cache_shared,
        min_free=MIN_FREE if settings.cache_min_free is None else settings.cache_min_free,
        max_size=settings.cache_max_size or default.max_size,
        max_age=settings.cache_max_age or default.max_age,
    )
    return open_place(ws.kept, policy)


@contextlib.contextmanager
def opened(ws: Site) -> Iterator[Place]:
    """Give the store to one command, and write down what it did with it when the block ends, well or not."""
    place = place_of(ws)
    try:
        yield place
    finally:
        flush(place)
