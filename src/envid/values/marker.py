"""Environment markers, decided for a target.

The ordinary subset is evaluated here, because importing ``packaging.markers`` costs more than the
whole rest of a key; everything else falls back to it.
"""

from __future__ import annotations

from envid.values.target import Target


def evaluate(marker: str, target: Target) -> bool:
    """Return whether ``marker`` holds on ``target``, with no extra and no group active.

    Raises IdentityUnknown when the answer depends on what the target leaves open (the patch release
    of a short target, ``platform_release``, ``platform_version``); InvalidLock for text that is no marker.
    """
    raise NotImplementedError


def variables(marker: str) -> frozenset[str]:
    """Return the names of the marker variables that ``marker`` mentions; raise InvalidLock for no marker."""
    raise NotImplementedError
