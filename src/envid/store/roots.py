"""Roots: what each project uses of the store, so that the collection leaves it there.

``roots-v1/<64 hex of the project's path>``. Its time is that of the last use, renewed once a day. A root whose
project is gone, or was not used for the policy's ``max-age``, protects nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from envid.store.place import Place
from envid.values.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What one project uses."""

    project: str
    """Absolute path of its directory."""
    keys: frozenset[str]
    """Keys of slots; what their manifests name is protected with them."""
    wheels: frozenset[str]
    """sha256 of the artifacts of its locks."""


def remember(
    place: Place, project: str, *, keys: Iterable[str] = (), wheels: Iterable[str] = (), replace: bool = False
) -> bool:
    """Add to what ``project`` (absolute path) uses; return whether something was written. Never raises.

    ``replace``: the wheels given are all that it uses from now on; its keys stay.
    """
    raise NotImplementedError


def read_roots(place: Place) -> tuple[Root, ...]:
    """Return every root that can be read, whether or not it still protects anything."""
    raise NotImplementedError
