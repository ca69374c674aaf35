"""What a lock holds, and what one target takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NewType

from envid.values.frozen import dataclass

NormalizedName = NewType("NormalizedName", str)
"""A project name in the normal form of PEP 503."""

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

ArtifactKind = Literal["wheel", "sdist", "archive"]
SourceKind = Literal["vcs", "directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file: a wheel, an sdist, or an archive named by URL (PEP 751 ``packages.archive``)."""

    kind: ArtifactKind
    filename: str
    sha256: Sha256
    size: int | None = None
    """Bytes."""
    url: str | None = None
    """Absolute, without credentials; ``None`` in a mirror-neutral lock."""
    path: str | None = None
    """POSIX, relative to the lock file."""
    subdirectory: str | None = None
    """Only of an archive: where in it the project is."""
    other_hashes: tuple[tuple[str, str], ...] = ()
    """Digests beside sha256, ``(algorithm, hex)``, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """A source tree: a directory of this project, or a version-control checkout at a commit."""

    kind: SourceKind
    path: str | None = None
    """POSIX, relative to the lock file, of a directory."""
    url: str | None = None
    """Of a repository, without credentials."""
    vcs: str | None = None
    commit: str | None = None
    """Full commit id; PEP 751 ``commit-id``."""
    subdirectory: str | None = None
    editable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDistribution:
    """One ``[[packages]]`` entry of PEP 751."""

    name: NormalizedName
    version: str | None
    marker: str | None = None
    requires_python: str | None = None
    index: str | None = None
    wheels: tuple[Artifact, ...] = ()
    sdist: Artifact | None = None
    archive: Artifact | None = None
    source: LocalSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A whole ``pylock.toml``."""

    created_by: str
    distributions: tuple[LockedDistribution, ...]
    requires_python: str | None = None
    environments: tuple[str, ...] = ()
    """Marker expressions; empty when the lock is for every environment."""
    extras: tuple[str, ...] = ()
    dependency_groups: tuple[str, ...] = ()
    default_groups: tuple[str, ...] = ()
    inputs: Mapping[str, object] | None = None
    """``[tool.envid.inputs]``: what was asked when the lock was made. Disposable."""
    contents: Mapping[str, str] | None = None
    """``[tool.envid.contents]``: wheel sha256 to content digest. Disposable."""
    body_digest: str | None = None
    """``[tool.envid] digest``: BLAKE3 that the writer took of the rest of the file. Disposable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One distribution that a target takes: exactly one of ``artifact`` and ``source`` is set."""

    name: NormalizedName
    version: str | None
    artifact: Artifact | None = None
    source: LocalSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The distributions that a lock yields for one target, sorted by name."""

    selected: tuple[Selected, ...]
    consulted: tuple[str, ...] = ()
    """Names of the marker variables that the lock's markers mention, sorted."""
    markers: tuple[str, ...] = ()
    """The distinct markers of the lock's entries, sorted; of entries that were not selected, too."""
