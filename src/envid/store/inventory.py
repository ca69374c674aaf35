"""What is in the cache directory: every area, and every file in it, told by its name alone.

No link is followed and nothing outside of the areas is looked at: a cache directory may be shared with other
programs, or be one that somebody named by mistake.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from envid.store.place import BLOBS, ENTRIES, GUARDS, QUARANTINE, ROOTS, STATS, TEMPORARY, Place
from envid.values.frozen import dataclass

WHEELS: Final = "wheels-v1"
CONTENTS: Final = "contents-v1"
_HEX: Final = r"[0-9a-f]{64}"
_FILE: Final = r"[^/]{1,255}"
_ANY: Final = r".+"

AREAS: Final[dict[str, str]] = {
    ENTRIES: rf"[a-z0-9][a-z0-9_-]{{0,31}}/[0-9a-f]{{2}}/{_HEX}",
    BLOBS: rf"[0-9a-f]{{2}}/{_HEX}",
    WHEELS: rf"[0-9a-f]{{2}}/{_HEX}/{_FILE}",
    CONTENTS: rf"[0-9a-f]{{2}}/{_HEX}(?:\.damaged)?",
    "answers-v1": _HEX,
    "identities-v1": rf"[0-9a-f]{{2}}/{_HEX}\.(?:last|before)\.json",
    "stat-v1": r"[0-9a-f]{32}\.index",
    "interpreters-v1": _HEX,
    "bytecode-v1": _FILE,
    ROOTS: _HEX,
    STATS: r"(?:log|total|since)(?:\.[0-9a-f]{16})?",
    GUARDS: _ANY,
    QUARANTINE: _ANY,
    TEMPORARY: _ANY,
}
"""Each area with the names that envid gives files in it, relative to the area."""

MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One name in an area that is no directory, or a directory that stands in the place of a file."""

    area: str
    name: str
    """POSIX, relative to the area."""
    size: int
    """Bytes."""
    time_ns: int
    """When it was made or last used, nanoseconds since the epoch; whatever clock said so."""
    kind: str
    """``kept``: a file of envid's; ``part``: one that is being written, or was left so; ``foreign``: anything else."""

    @property
    def path(self) -> str:
        """Relative to the cache directory."""
        return f"{self.area}/{self.name}"

    @property
    def digest(self) -> str:
        """The digest in its name; of an artifact, its sha256; empty where there is none."""
        found = re.search(rf"(?:^|/)({_HEX})(?=/|$|\.)", self.name)
        return found[1] if found else ""


def take(place: Place, areas: tuple[str, ...] = tuple(AREAS)) -> Iterator[Thing]:
    """Go through the things in ``areas``; what goes away or cannot be read meanwhile is passed over.

    What stands in the areas for temporary things and for what was set aside counts as one thing, directory or not.
    """
    for area in areas:
        if area in (TEMPORARY, QUARANTINE):
            yield from _leftovers(place.area(area), area)
            continue
        known = re.compile(AREAS[area])
        for name, found in _files(place.area(area), "", 0, known):
            kind = _kind(name, found, known)
            yield Thing(area=area, name=name, size=found.st_size, time_ns=found.st_mtime_ns, kind=kind)


def _kind(name: str, found: os.stat_result, known: re.Pattern[str]) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "foreign"
    last = name.rpartition("/")[2]
    if last.startswith(".") and last.endswith(".part"):
        return "part"
    return "kept" if known.fullmatch(name) else "foreign"


def _leftovers(directory: str, area: str) -> Iterator[Thing]:
    for name in _names(directory):
        path = f"{directory}/{name}"
        try:
            found = os.lstat(path)
        except OSError:
            continue
        inside = [one for _, one in _files(path, "", 1)] if stat.S_ISDIR(found.st_mode) else []
        size = sum(one.st_size for one in inside) if inside else found.st_size
        newest = max([found.st_mtime_ns, *(one.st_mtime_ns for one in inside)])
        yield Thing(area=area, name=name, size=size, time_ns=newest, kind="part")


def _names(directory: str) -> list[str]:
    try:
        return [] if os.path.islink(directory) else sorted(os.listdir(directory))
    except OSError:
        return []


def _files(
    directory: str, inside: str, depth: int, known: re.Pattern[str] | None = None
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every name below ``directory`` that is no directory, or lies too deep to be looked into.

    A directory under the name of a file, one of ``known``, stands in its way: it is yielded, and not looked into.
    """
    taken = known if known is not None and known.pattern != _ANY else None
    for last in _names(directory):
        name, path = f"{inside}{last}", f"{directory}/{last}"
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and depth < MAX_DEPTH and not (taken and taken.fullmatch(name)):
            yield from _files(path, f"{name}/", depth + 1, known)
        else:
            yield name, found
