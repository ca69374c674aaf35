"""Which store a project uses, by which policy, and what is written down of a command's use of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from envid.app.project import NO_PLACE, Site, cache_directory
from envid.app.trust import is_there
from envid.store.counts import flush
from envid.store.place import Place, Policy, Trouble, open_place
from envid.values.intent import Settings

DEFAULT: Final = Policy()


def place_of(ws: Site) -> Place:
    """Return the store of this project's cache directory, as ``[tool.envid.cache]`` wants it used."""
    return _refused(ws) or open_place(ws.kept, policy_of(ws))


def _refused(ws: Site) -> Place | None:
    """Return the directory that the project names, where it is not believed (``app.trust``)."""
    named = ws.intent.settings.cache_dir
    if ws.kept != NO_PLACE or not named or ws.variables.get("ENVID_CACHE_DIR"):
        return None
    directory = os.path.join(ws.place, named)
    hint = "remove it, or set ENVID_CACHE_DIR to it to say that you trust it"
    message = f"{directory}, which pyproject.toml names, was not made by envid for this user on this machine"
    reason = "untrusted"
    if not is_there(directory):
        reason, hint = "no-directory", "set ENVID_CACHE_DIR to a directory of your own"
        message = f"{directory} cannot be made, or nowhere can be kept that envid made it"
    return Place(root=directory, policy=DEFAULT, trouble=Trouble(reason=reason, message=message, hint=hint))


@contextlib.contextmanager
def opened(ws: Site) -> Iterator[Place]:
    """Give the store to one command, and write down what it did with it when the block ends, well or not."""
    place = place_of(ws)
    try:
        yield place
    finally:
        flush(place)


def policy_of(ws: Site) -> Policy:
    """Return the policy that holds: a project loosens its own directory only, and may tighten any."""
    settings = ws.intent.settings
    if not _says_something(settings):
        return DEFAULT
    own = _is_own(ws)
    said = Policy(
        shared=settings.cache_shared and (_is_shared(ws.kept) or (own and _is_inside(ws))),
        min_free=DEFAULT.min_free if settings.cache_min_free is None else settings.cache_min_free,
        max_size=DEFAULT.max_size if settings.cache_max_size is None else settings.cache_max_size,
        max_age=DEFAULT.max_age if settings.cache_max_age is None else settings.cache_max_age,
    )
    if own:
        return said
    return Policy(
        shared=said.shared,
        min_free=max(said.min_free, DEFAULT.min_free),
        max_size=min(said.max_size, DEFAULT.max_size),
        max_age=min(said.max_age, DEFAULT.max_age),
    )


def unheeded(ws: Site) -> tuple[str, ...]:
    """Return a sentence for each key of ``[tool.envid.cache]`` that does not hold for the directory in use."""
    settings, policy = ws.intent.settings, policy_of(ws)
    wanted = {
        "shared": (settings.cache_shared or None, policy.shared),
        "min-free": (settings.cache_min_free, policy.min_free),
        "max-size": (settings.cache_max_size, policy.max_size),
        "max-age": (settings.cache_max_age, policy.max_age),
    }
    return tuple(
        f"{key} of [tool.envid.cache] does not hold for {ws.kept}, which is not the project's: "
        + ("the directory is not shared on disk" if key == "shared" else "a project can only tighten it")
        for key, (said, held) in wanted.items()
        if said is not None and said != held
    )


def _says_something(settings: Settings) -> bool:
    limits = (settings.cache_min_free, settings.cache_max_size, settings.cache_max_age)
    return settings.cache_shared or any(limit is not None for limit in limits)


def _is_own(ws: Site) -> bool:
    """Tell whether the project named the directory in use, and did not name the user's."""
    if not ws.intent.settings.cache_dir or ws.variables.get("ENVID_CACHE_DIR"):
        return False
    return os.path.realpath(ws.kept) != os.path.realpath(cache_directory(ws.variables))


def _is_inside(ws: Site) -> bool:
    return os.path.realpath(ws.kept).startswith(os.path.join(os.path.realpath(ws.place), ""))


def _is_shared(path: str) -> bool:
    """Tell whether whoever owns the directory has given it to its group."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    wanted = stat.S_ISGID | stat.S_IWGRP
    return mode & (wanted | stat.S_IWOTH) == wanted
