"""What one target takes from a lock (PEP 751, "Installation")."""

from __future__ import annotations

from envid.values.artifact import Lock, Resolution
from envid.values.target import Target


def select(lock: Lock, target: Target) -> Resolution:
    """Return the distributions that ``lock`` yields for ``target``, with no extra and the default groups active.

    Raises TargetNotCovered, InvalidLock (two entries of one name apply), NoCompatibleArtifact,
    IdentityUnknown (a marker depends on what the target leaves open).
    """
    raise NotImplementedError


def resolve_quick(data: bytes, target: Target, *, path: str) -> Resolution:
    """Return ``select(read(data, path=path), target)``, building only what the target selects where that is possible."""
    raise NotImplementedError
