"""The pip-tools engine: ``piptools compile`` for the running interpreter, converted to a lock."""

from __future__ import annotations

from dataclasses import dataclass

from envid.lock.resolver import RawLock, ResolveRequest
from envid.values.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PipToolsResolver:
    """Resolves with the pip-tools of this environment, for targets that the running interpreter stands for."""

    name: str = "pip-tools"

    def resolve(self, request: ResolveRequest, progress: Progress) -> RawLock:
        """Resolve; see `Resolver.resolve`."""
        raise NotImplementedError
