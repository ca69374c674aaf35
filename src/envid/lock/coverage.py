"""Which artifacts a lock has for a target: wheel, abi3, pure, sdist or nothing, package by package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from envid.errors import NoCompatibleArtifact
from envid.lock.select import applying, take
from envid.values.artifact import Artifact, Lock, LockedDistribution
from envid.values.target import Target
from envid.values.wheel_tags import is_pure, is_stable_abi, is_wheel, wheels_floor

Kind = Literal["wheel", "abi3", "pure", "sdist", "source", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One target's view of a lock."""

    packages: Mapping[str, Kind]
    """By normalised name, sorted."""
    floor: Mapping[str, str | None] | None
    """As ``platform_floor``."""
    missing: tuple[str, ...]
    """Names with nothing for the target, sorted."""


def coverage(lock: Lock, target: Target) -> Coverage:
    """Return what ``lock`` has for ``target``; never raises NoCompatibleArtifact, else as ``select``."""
    kinds: dict[str, Kind] = {}
    wheels = []
    for entry in sorted(applying(lock, lock.distributions, target), key=lambda entry: entry.name):
        kinds[entry.name], wheel = _kind(entry, target)
        if wheel is not None:
            wheels.append(wheel.filename)
    missing = tuple(name for name, kind in kinds.items() if kind == "nothing")
    return Coverage(packages=kinds, floor=wheels_floor(wheels, target), missing=missing)


def _kind(entry: LockedDistribution, target: Target) -> tuple[Kind, Artifact | None]:
    try:
        artifact = take(entry, target).artifact
    except NoCompatibleArtifact:
        return "nothing", None
    if artifact is None:
        return "source", None
    if not is_wheel(artifact):
        return ("sdist" if artifact.kind == "sdist" else "source"), None
    if is_pure(artifact.filename):
        return "pure", artifact
    return ("abi3" if is_stable_abi(artifact.filename, target) else "wheel"), artifact
