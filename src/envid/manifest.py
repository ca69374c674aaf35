"""A manifest: which files were made, with which bytes and modes, under one identity.

Canonical, one fact a line, so that two of them merge and compare well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from envid.errors import StoreError
from envid.values.frozen import dataclass

MAGIC: Final = "envid-manifest 1"
MAX_FILES: Final = 1_000_000

Kind = Literal["file", "directory", "link"]


class BadManifest(StoreError):
    """Bytes that are not a manifest."""

    slug = "store.manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One thing that was made."""

    path: str
    """POSIX, relative to the project; no ``..``, no empty part."""
    kind: Kind
    mode: int
    """Permission bits of a file or directory; 0 for a link."""
    size: int
    """Bytes of a file; 0 otherwise."""
    digest: str
    """BLAKE3 of a file's bytes; empty for a directory."""
    target: str = ""
    """Where a symbolic link leads: relative, and not out of the tree."""


def encode(made: Iterable[Made]) -> bytes:
    """Return the manifest of ``made``, sorted by path; raise BadManifest for a path that is not one, or is twice."""
    raise NotImplementedError


def decode(data: bytes) -> tuple[Made, ...]:
    """Return what ``encode`` wrote, byte for byte the same when encoded again; raise BadManifest."""
    raise NotImplementedError
