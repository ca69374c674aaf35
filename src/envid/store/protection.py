"""What the collection must leave: what living projects use, and the blobs that entries name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

from envid.errors import StoreError
from envid.manifest import MAGIC
from envid.store import entry
from envid.store.cache import MAX_IN_MEMORY, Miss, read_file
from envid.store.contents import slot_of
from envid.store.entry import Damage
from envid.store.inventory import Thing
from envid.store.place import Place
from envid.store.roots import Root, read_roots, root_path
from envid.values.artifact import Sha256
from envid.values.frozen import dataclass

LIFE: Final = 30 * 24 * 3600
"""Seconds that a root lives at least: a smaller max-age, which any project may ask for, is no reason to take away what
other projects are made of."""
MAX_MANIFEST: Final = 256 * 1024 * 1024
"""Bytes of a payload that is looked at for names of blobs."""
_START: Final = MAGIC.rpartition(" ")[0].encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What is not to be removed, whatever its size."""

    keys: frozenset[str]
    """Slots that living projects used."""
    wheels: frozenset[str]
    """sha256 of what the locks of living projects use; by age they do not go either: no read renews their time."""
    contents: frozenset[str]
    """Keys of what is known of those wheels; the same holds for them."""
    dead: frozenset[str]
    """Names of roots that protect nothing."""
    projects: int
    """Living projects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Which blobs one entry names."""

    digests: frozenset[str]
    readable: bool
    """False for an entry that this envid cannot read and another can: it may name any."""


def protection(place: Place, *, now_ns: int, max_age: int) -> Protection:
    """Read every root; one is dead when its project is gone, or was not used for ``max_age`` seconds and ``LIFE``."""
    roots, broken = read_roots(place)
    living = [root for root in roots if not is_dead(root, now_ns=now_ns, max_age=max_age)]
    wheels = frozenset(sha256 for root in living for used in root.wheels.values() for sha256 in used)
    return Protection(
        keys=frozenset(key for root in living for key in root.keys),
        wheels=wheels,
        contents=frozenset(_contents(wheels)),
        dead=frozenset(broken) | {os.path.basename(root_path(place, r.project)) for r in roots if r not in living},
        projects=len(living),
    )


def is_dead(root: Root, *, now_ns: int, max_age: int) -> bool:
    """Tell whether a root protects nothing any more."""
    if now_ns - root.used_ns > max(max_age, LIFE) * 10**9:
        return True
    try:
        os.stat(root.project)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # Out of reach for the moment, a home that is not mounted for instance: that is not gone.
        return False
    return False


def names_in(place: Place, thing: Thing) -> Named:
    """Return the blobs that the entry ``thing`` names in its manifest, if it has one."""
    data = read_file(f"{place.root}/{thing.path}", place, limit=MAX_IN_MEMORY, renew=False)
    if isinstance(data, Miss):
        # Read by nobody, it names nothing; what the system does not give now it may give later.
        return Named(digests=frozenset(), readable=data.reason != "unreadable")
    layer, _, digest = thing.name.split("/")
    try:
        found = entry.decode(data, f"envid1-{layer}-{digest}")
        payload = entry.payload(found, limit=MAX_MANIFEST)
    except Damage as damage:
        return Named(digests=frozenset(), readable=damage.reason not in ("newer-format", "oversized"))
    if _START not in payload[:4096]:
        return Named(digests=frozenset(), readable=True)
    # Every digest on a line of its own counts, also in a form that this envid does not know yet.
    found_digests = re.findall(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", payload)
    return Named(digests=frozenset(one.decode("ascii") for one in found_digests), readable=True)


def _contents(wheels: Iterable[str]) -> Iterable[str]:
    for sha256 in wheels:
        try:
            yield slot_of(Sha256(sha256)).key
        except StoreError:
            continue
