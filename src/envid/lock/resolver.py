"""What every resolver engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from envid.lock.index import IndexFile
from envid.values.artifact import Lock, NormalizedName
from envid.values.progress import Progress
from envid.values.target import Target

Table = Mapping[str, Any]

Listing = Callable[[Iterable[NormalizedName]], Mapping[NormalizedName, tuple[IndexFile, ...]]]
"""Returns the files that the configured indexes list for each project; raises NetworkError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveRequest:
    """One resolution: everything that may change the answer, and nothing of the host.

    Requirements are flattened already: extras, groups and references of the project to itself
    are expanded (``values.requirement.flatten``).
    """

    root: Path
    """The project; what relative paths in ``requirements`` and ``sources`` start from."""
    lock_path: Path
    """Where the lock will be; what relative paths in the answer start from."""
    requirements: tuple[str, ...]
    """PEP 508."""
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    sources: Table = field(default_factory=dict)
    """``[tool.uv.sources]``, workspace members resolved to paths."""
    indexes: tuple[Table, ...] = ()
    """As ``[[tool.uv.index]]``: ``url``, ``name``, ``default``, ``explicit``, ...; first listed wins."""
    options: Table = field(default_factory=dict)
    """Further ``[tool.uv]`` keys that change a resolution (``prerelease``, ``index-strategy``, ...)."""
    targets: tuple[Target, ...] = ()
    environments: tuple[str, ...] = ()
    """Markers that bound the resolution; empty for every environment."""
    requires_python: str | None = None
    minimum_python: str = "3.11"
    """``X.Y[.Z]``: the lowest Python that the answer must serve."""
    allow_sdist: tuple[str, ...] = ()
    """Normalised names."""
    exclude_newer: str | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    """Normalised names."""
    previous: Lock | None = None
    """A lock whose versions are kept as far as the requirements allow."""
    settled: bool = False
    """Whether ``previous`` was made for this very question, so that it may well be the answer again."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The caller's environment variables; an engine passes on what reaches indexes, nothing that changes answers."""
    user_settings: Table = field(default_factory=dict, repr=False)
    """The user's uv.toml; same rule."""
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLock:
    """What an engine found; not canonical yet, but free of credentials and machine paths."""

    lock: Lock
    warnings: tuple[str, ...] = ()
    """What the engine warned of, one sentence each, redacted."""
    engine: str = ""
    """Name and version, for messages only: never written into a lock."""


class Resolver(Protocol):
    """An engine. Every artifact it returns has a sha256; what cannot have one is refused by name."""

    @property
    def name(self) -> str:
        """As in ``[tool.envid.lock] resolver``."""
        ...  # pragma: no cover

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:
        """Resolve.

        Raises ResolutionFailed, SdistRefused, NoCompatibleArtifact, DependencyRefused,
        DynamicMetadata, Offline, Unreachable, ToolchainError.
        """
        ...  # pragma: no cover
