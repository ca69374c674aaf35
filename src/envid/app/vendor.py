"""``envid vendor``: a wheelhouse for several targets that plain pip and plain uv install offline."""

from __future__ import annotations

from collections.abc import Sequence

from envid.app.outcome import Outcome
from envid.app.workspace import Workspace
from envid.values.progress import SILENT, Progress


def vendor(
    workspace: Workspace,
    directory: str,
    *,
    targets: Sequence[str] = (),
    name: str = "default",
    progress: Progress = SILENT,
) -> Outcome:
    """Fill ``directory`` with the artifacts, a path-based lock and hashed requirements."""
    raise NotImplementedError
