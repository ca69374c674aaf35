"""A model of GitHub's cache service, as its client and its documentation describe it; time is what the caller says.

What it models, because caches have gone wrong over it: every key that is asked for, what is called the primary one
among them, matches entries that it is a prefix of, without regard to case, the newest first, an equal one before all;
an entry is seen from its own branch, from branches based on it and from everywhere when it is the default branch's;
it never changes; it belongs to a version, a digest of the paths and the compression; it goes after a week without
use, or when the repository has more than 10 GB, the one used longest ago first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

DAY = 24 * 3600.0
MAX_KEYS = 10
MAX_KEY = 512
MAX_BYTES = 10 * 1024**3
MAX_IDLE = 7 * DAY

Payload = TypeVar("Payload")


class KeyRefused(Exception):
    """The client refuses a key: too long, with a comma, or one of too many."""


def version(paths: Sequence[str], compression: str = "zstd") -> str:
    """Return the version of an entry: it depends on the paths as they are written, and on the compressor."""
    return hashlib.sha256("|".join([*paths, compression, "1.0"]).encode()).hexdigest()


@dataclass(kw_only=True)
class Entry(Generic[Payload]):
    """One saved archive."""

    key: str
    version: str
    scope: str
    payload: Payload
    size: int
    created: float
    used: float


@dataclass(kw_only=True)
class Service(Generic[Payload]):
    """The cache of one repository."""

    default: str = "refs/heads/main"
    entries: list[Entry[Payload]] = field(default_factory=list)

    def restore(
        self, keys: Sequence[str], version: str, *, scope: str, base: str | None = None, now: float
    ) -> Entry[Payload] | None:
        """Return the entry that a job on ``scope`` gets, the primary key first; raise KeyRefused.

        ``base`` is the branch that a pull request goes to.
        """
        check(keys)
        self.evict(now)
        for seen in dict.fromkeys(one for one in (scope, base, self.default) if one is not None):
            for key in keys:
                found = self._find(key, version, seen)
                if found is not None:
                    found.used = now
                    return found
        return None

    def _find(self, key: str, version: str, scope: str) -> Entry[Payload] | None:
        folded = key.lower()
        best: Entry[Payload] | None = None
        for entry in self.entries:
            if entry.version != version or entry.scope != scope or not entry.key.lower().startswith(folded):
                continue
            if entry.key.lower() == folded:
                return entry
            if best is None or entry.created >= best.created:
                best = entry
        return best

    def save(self, key: str, version: str, payload: Payload, *, scope: str, size: int, now: float) -> bool:
        """Keep an archive and return True, or False where there is one under this key; raise KeyRefused."""
        check([key])
        self.evict(now)
        if any((one.key, one.version, one.scope) == (key, version, scope) for one in self.entries):
            return False
        self.entries.append(
            Entry(key=key, version=version, scope=scope, payload=payload, size=size, created=now, used=now)
        )
        self.evict(now)
        return True

    def evict(self, now: float) -> None:
        """Drop what was idle for a week, then what was used longest ago until the rest fits."""
        self.entries = [one for one in self.entries if now - one.used <= MAX_IDLE]
        total = sum(one.size for one in self.entries)
        while total > MAX_BYTES:
            oldest = min(self.entries, key=lambda one: one.used)
            self.entries.remove(oldest)
            total -= oldest.size


def check(keys: Iterable[str]) -> None:
    """Refuse what the client refuses."""
    listed = list(keys)
    if len(listed) > MAX_KEYS:
        raise KeyRefused(f"{len(listed)} keys")
    for key in listed:
        if len(key) > MAX_KEY or "," in key or not key:
            raise KeyRefused(key)


def is_hit(asked: str, found: str) -> bool:
    """Return what the client calls a cache hit: keys equal without regard to case."""
    return asked.lower() == found.lower()
