"""The uv engine: ``uv pip compile --universal`` in a generated project, translated and checked."""

from __future__ import annotations

from dataclasses import dataclass

from envid.lock.resolver import RawLock, ResolveRequest
from envid.values.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class UvResolver:
    """Resolves with the uv binary of the `uv` package."""

    name: str = "uv"

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:
        """Resolve for all targets at once; see `Resolver.resolve`."""
        raise NotImplementedError
