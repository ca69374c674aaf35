"""Which store a project uses, by which policy, and what is written down of a command's use of it."""

from __future__ import annotations

from envid.app.project import Site
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
