"""Write a lock in its one canonical form (docs/lock-format.md)."""

from __future__ import annotations

from collections.abc import Mapping

from envid.values.artifact import Lock
from envid.values.target import Target


def write(lock: Lock, *, targets: tuple[Target, ...], preserved: Mapping[str, object] | None = None) -> bytes:
    """Return the canonical bytes of ``lock``.

    Markers are simplified over ``targets`` and wheels that none of them can use are dropped (empty:
    neither); ``lock.environments``, ``inputs`` and ``contents`` are written as given;
    ``lock.body_digest`` is computed anew. ``preserved`` comes from the function of that name.
    """
    raise NotImplementedError


def preserved(data: bytes) -> Mapping[str, object]:
    """Return the tables of other tools in an existing lock, for ``write``; empty when ``data`` cannot be parsed."""
    raise NotImplementedError


def environments_for(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """Return the ``environments`` guard of a lock for ``targets``: one marker per distinct combination, sorted."""
    raise NotImplementedError


def neutral(lock: Lock) -> Lock:
    """Return ``lock`` without any URL: ``path = "wheelhouse/FILENAME"`` on every artifact, no index."""
    raise NotImplementedError


def body_digest(data: bytes) -> str:
    """Return BLAKE3 (hex) of a lock file without its ``digest`` line of ``[tool.envid]``."""
    raise NotImplementedError
