"""Versions that have no wheel for a target: what a resolver that knows no libc has to be told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from packaging.version import InvalidVersion, Version

from envid.lock.index import IndexFile
from envid.values.artifact import NormalizedName
from envid.values.target import Target
from envid.values.wheel_tags import parse_wheel_name, rank

MAX_VERSIONS: Final = 400
"""Beyond this the rest is left to a second round: a constraint has to stay readable for uv."""


def unusable_versions(
    files: Iterable[IndexFile], *, name: NormalizedName, target: Target, chosen: str
) -> tuple[str, ...]:
    """Return ``chosen`` and every lower version with wheels of which ``target`` can use none, newest first.

    Higher ones are of no interest: the resolver passed them over already.
    """
    usable: dict[Version, bool] = {}
    highest = Version(chosen)
    for file in files:
        parsed = parse_wheel_name(file.filename)
        if parsed is None or parsed.name != name:
            continue
        try:
            version = Version(parsed.version)
        except InvalidVersion:
            continue
        usable[version] = usable.get(version, False) or rank(file.filename, target) is not None
    # What is locked is known not to serve, whatever the listing says of files that came since.
    usable[highest] = False
    ruled_out = sorted((version for version, good in usable.items() if not good and version <= highest), reverse=True)
    return tuple(str(version) for version in ruled_out[:MAX_VERSIONS])
