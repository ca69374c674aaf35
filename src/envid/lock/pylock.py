"""Read a ``pylock.toml`` (PEP 751), insisting on more than the format does: every artifact hashed, every path safe."""

from __future__ import annotations

from envid.values.artifact import Lock


def parse(data: bytes, *, path: str, validate: bool = True) -> Lock:
    """Return the lock in ``data``; ``path`` only names it in errors.

    ``validate``: also hold it against the whole specification through ``packaging.pylock``.
    Raises InvalidLock, ConflictMarkers, UnhashedArtifact, UnsafePath, TooLarge.
    """
    raise NotImplementedError


def read(data: bytes, *, path: str) -> Lock:
    """Return what ``parse(data, path=path, validate=False)`` returns, sooner when ``lock.write`` made the bytes."""
    raise NotImplementedError
