"""``envid sync``: exactly the locked set, all of it or nothing."""

from __future__ import annotations

from envid.app.outcome import Outcome
from envid.app.workspace import Workspace
from envid.values.progress import SILENT, Progress


def sync(
    workspace: Workspace,
    *,
    venv: str | None = None,
    target: str | None = None,
    name: str = "default",
    progress: Progress = SILENT,
) -> Outcome:
    """Make the environment hold the locked set for the target and nothing else."""
    raise NotImplementedError
