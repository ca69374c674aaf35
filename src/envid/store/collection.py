"""The collection: what nobody uses any more goes, oldest first (docs/cache.md, "Collection").

Whatever it removes, a reader sees a miss at worst. A thing is renamed into ``tmp-v1`` and looked at once more before
it is unlinked; killed anywhere, the next run finishes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from envid.atomic import discard, freshen, put_back, remove_if_empty, remove_tree, take_out
from envid.errors import GuardTimeout, StoreError, WriteFailed
from envid.guard import hold
from envid.store.inventory import AREAS, CONTENTS, WHEELS, Thing, take
from envid.store.place import BLOBS, ENTRIES, GUARDS, QUARANTINE, ROOTS, STATS, TEMPORARY, Place, prepare
from envid.store.protection import Protection, names_in, protection
from envid.store.usage import GUARD, alone
from envid.values.frozen import dataclass
from envid.whole import shut

GRACE: Final = 3600
"""Seconds in which nothing is removed after it was made or used: work that is under way may name it soon."""
EARLIEST_NS: Final = 1_767_225_600 * 10**9
"""1 January 2026: a clock before it is wrong, and no age is to be believed."""
SLACK_NS: Final = 300 * 10**9
"""So far in the future a time is still that of a clock which goes a little fast."""
OLDER: Final = frozenset({CONTENTS})
"""Areas of older layouts, which nothing reads any more."""
EVICTED: Final = frozenset({ENTRIES, WHEELS, "bytecode-v1"})
"""Areas that lose their oldest when all is too large; blobs go with the last entry that names them."""

KEPT: Final[dict[str, str]] = {
    "young": "made or used within the last hour",
    "recent": "used within max-age, and there is room",
    "root": "a project uses it",
    "named": "an entry names it",
    "foreign": "not a file of envid's",
    "held": "a command holds it",
    "counts": "the counts of `envid cache stats`",
    "clock": "this host's clock is wrong: no age can be told",
    "unreadable": "an entry cannot be read by this envid, and may name it",
    "failed": "the system did not let it be removed",
}
"""Why a thing stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was done in one area."""

    area: str
    removed: int
    freed: int
    """Bytes."""
    kept: dict[str, tuple[int, int]]
    """A name of ``KEPT`` to number and bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one collection did."""

    areas: tuple[Swept, ...]
    projects: int
    """Living projects, whose roots protect."""
    size: int
    """Bytes that are left."""
    over: int
    """Bytes by which that is more than the limit."""
    renewed: int
    """Things from the future, whose time is now the present."""
    clock: bool
    """Whether this host's clock can be believed."""


def collect(
    place: Place, *, max_size: int, max_age: int, now_ns: int, dry_run: bool = False, wait: float = 60.0,
    tell: Callable[[int], None] = lambda _: None,
) -> Report:  # fmt: skip
    """Remove what is older than ``max_age`` seconds, and the oldest until ``max_size`` bytes are left at most.

    ``tell`` is given the bytes of each thing that was looked at. Raises StoreError for a place that is not to be
    believed or written, GuardTimeout, which names who uses the store for longer than ``wait`` seconds.
    """
    place.sound()
    with contextlib.ExitStack() as held:
        if not dry_run and os.path.isdir(place.root):
            trouble = prepare(place)
            if trouble is not None:
                raise StoreError(trouble.message, hint=trouble.hint, path=place.root)
            held.enter_context(alone(place, purpose="envid cache gc", wait=wait))
        run = _Collection(place, max_size=max_size, max_age=max_age, now_ns=now_ns, dry_run=dry_run)
        return run.report(tell)


class _Collection:
    """One run; filled step by step."""

    def __init__(self, place: Place, *, max_size: int, max_age: int, now_ns: int, dry_run: bool) -> None:
        self.place = place
        self.max_size = max_size
        self.max_age_ns = max_age * 10**9
        self.now_ns = now_ns
        self.dry_run = dry_run
        self.clock = now_ns >= EARLIEST_NS
        self.protected = protection(place, now_ns=now_ns, max_age=max_age)
        self.names: dict[str, frozenset[str]] = {}
        """Path of an entry to the blobs that it names."""
        self.named: dict[str, int] = {}
        """Digest of a blob to the number of entries, still there, that name it."""
        self.readable = True
        """Whether every entry could be read for what it names."""
        self.kept: dict[str, dict[str, tuple[int, int]]] = {area: {} for area in AREAS}
        self.removed: dict[str, tuple[int, int]] = dict.fromkeys(AREAS, (0, 0))
        self.renewed = 0

    def report(self, tell: Callable[[int], None]) -> Report:
        """Sweep, and say what was done."""
        things = [thing for thing in take(self.place) if thing.path != f"{GUARDS}/{GUARD}"]
        self.learn_names(things, tell)
        left: list[Thing] = []
        blobs = []
        for thing in things:
            reason = self.why(thing)
            if thing.area == BLOBS and reason in (None, "recent"):
                blobs.append(thing)
            elif reason == "recent" and thing.area in EVICTED:
                left.append(thing)
            else:
                self.settle(thing, reason)
        size = sum(t.size for t in (*left, *blobs)) + sum(self.bytes_kept())
        size = self.evict(left, {blob.digest: blob for blob in blobs}, size)
        areas = tuple(
            Swept(area=area, removed=self.removed[area][0], freed=self.removed[area][1], kept=self.kept[area])
            for area in AREAS
        )
        return Report(
            areas=areas, projects=self.protected.projects, size=size, over=max(0, size - self.max_size),
            renewed=self.renewed, clock=self.clock,
        )  # fmt: skip

    def bytes_kept(self) -> Iterable[int]:
        """Yield the bytes of what is settled and stays."""
        return (size for reasons in self.kept.values() for _, size in reasons.values())

    def learn_names(self, things: list[Thing], tell: Callable[[int], None]) -> None:
        """Read which blobs the entries name, where there are blobs at all."""
        if not any(thing.area == BLOBS for thing in things):
            return
        for thing in things:
            if thing.area != ENTRIES or thing.kind != "kept":
                continue
            found = names_in(self.place, thing)
            self.readable &= found.readable
            if found.digests:
                self.names[thing.path] = found.digests
                for digest in found.digests:
                    self.named[digest] = self.named.get(digest, 0) + 1
            tell(thing.size)

    def why(self, thing: Thing) -> str | None:
        """Return why ``thing`` stays, a name of ``KEPT``; None when it goes."""
        age = self.age_ns(thing)
        if thing.kind == "foreign":
            return "foreign"
        if not self.clock:
            return "clock"
        if age < GRACE * 10**9:
            return "young"
        if thing.area in (TEMPORARY, QUARANTINE) or thing.kind == "part" or thing.area in OLDER:
            return None
        if thing.area == STATS:
            return "counts"
        if thing.area == GUARDS:
            return None
        if thing.area == ROOTS:
            return None if thing.name in self.protected.dead else "root"
        return _protected(self.protected, thing, old=age > self.max_age_ns)

    def age_ns(self, thing: Thing) -> int:
        """Return how long ago it was used; a time in the future is made the present, from which on it ages."""
        ahead = thing.time_ns - self.now_ns
        if ahead <= SLACK_NS or not self.clock or thing.kind == "foreign":
            return max(0, -ahead)
        # Another user's, whose time is not ours to set, must not be fresh for ever: it is of an unknown age.
        return 0 if self.renew(f"{self.place.root}/{thing.path}", thing.time_ns) else self.max_age_ns + GRACE * 10**9

    def renew(self, path: str, time_ns: int) -> bool:
        """Give a file, or a directory left over and all in it, the present time; return whether that was possible."""
        self.renewed += 1
        if self.dry_run:
            return True
        inside = [f"{where}/{name}" for where, below, names in os.walk(path) for name in (*below, *names)]
        done = [_freshened(one, time_ns) for one in (path, *inside)]
        return False not in done

    def evict(self, left: list[Thing], blobs: dict[str, Thing], size: int) -> int:
        """Remove the blobs that nothing names, then the oldest of ``left`` until all fits; return what is left."""
        for digest, blob in list(blobs.items()):
            if self.named.get(digest, 0):
                continue
            del blobs[digest]
            hidden = not self.readable and self.now_ns - blob.time_ns <= self.max_age_ns
            size -= self.settle(blob, "unreadable" if hidden else None)
        for thing in sorted(left, key=lambda one: (one.time_ns, one.path)):
            if size <= self.max_size:
                self.settle(thing, "recent")
                continue
            size -= self.settle(thing, None)
            for digest in self.names.get(thing.path, ()):
                if digest in blobs and not self.named[digest]:
                    size -= self.settle(blobs.pop(digest), None)
        for blob in blobs.values():
            self.settle(blob, "named")
        return size

    def settle(self, thing: Thing, reason: str | None) -> int:
        """Keep ``thing`` for ``reason``, or remove it; return the bytes that were freed."""
        reason = reason or self.remove(thing)
        if reason is not None:
            number, size = self.kept[thing.area].get(reason, (0, 0))
            self.kept[thing.area][reason] = (number + 1, size + thing.size)
            return 0
        number, size = self.removed[thing.area]
        self.removed[thing.area] = (number + 1, size + thing.size)
        for digest in self.names.get(thing.path, ()):
            self.named[digest] -= 1
        return thing.size

    def remove(self, thing: Thing) -> str | None:
        """Remove ``thing``; return why it stays after all."""
        if self.dry_run:
            return None
        try:
            if thing.area == GUARDS:
                return _release(f"{self.place.root}/{thing.path}")
            return self.take_away(thing)
        except WriteFailed:
            return "failed"

    def take_away(self, thing: Thing) -> str | None:
        """Rename it out of everybody's sight, look once more, and unlink it."""
        aside = f"{self.place.area(TEMPORARY)}/gc.{os.urandom(8).hex()}"
        if not take_out(self.place.root, thing.path, aside):
            return None
        time_ns = os.lstat(aside).st_mtime_ns
        used = time_ns != thing.time_ns and self.now_ns - time_ns < GRACE * 10**9
        if thing.kind != "part" and used:
            # It was used between our look and our hand.
            put_back(aside, f"{self.place.root}/{thing.path}")
            return "young"
        if os.path.isdir(aside) and not os.path.islink(aside):
            remove_tree(Path(aside))
        else:
            discard(aside)
        if thing.area == WHEELS:
            remove_if_empty(Path(self.place.root, thing.path).parent)
        return None


def _freshened(path: str, time_ns: int) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        freshen(handle, time_ns / 1e9)
        return os.fstat(handle).st_mtime_ns < time_ns
    finally:
        shut(handle)


def _protected(protected: Protection, thing: Thing, *, old: bool) -> str | None:
    """Return why a thing that may be used stays."""
    if thing.area == WHEELS and thing.digest in protected.wheels:
        return "root"
    if thing.area == ENTRIES:
        layer, _, digest = thing.name.split("/")
        key = f"envid1-{layer}-{digest}"
        # A read renews the time of an entry, so that an old one was used by nobody, whoever it belongs to.
        if key in protected.contents or (key in protected.keys and not old):
            return "root"
    return None if old else "recent"


def _release(path: str) -> str | None:
    """Remove a guard file that nobody holds."""
    try:
        with hold(path, timeout=0.0, purpose="envid cache gc"):
            # Held alone: who waits for it looks whether its file still has the name.
            discard(path)
    except GuardTimeout:
        return "held"
    return None
