"""Which artifacts a lock has for a target: wheel, abi3, pure, sdist or nothing, package by package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from envid.values.artifact import Lock
from envid.values.target import Target

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
    raise NotImplementedError
