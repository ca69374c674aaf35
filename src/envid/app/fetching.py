"""From locked artifacts to verified files on disk, and to what is known of their contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envid.app.workspace import Workspace
from envid.values.artifact import Artifact, Sha256
from envid.values.progress import SILENT, Progress


def fetch_artifacts(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> Mapping[Sha256, Path]:
    """Return a local file for each artifact, its bytes held to the sha256, contents of wheels saved in the store.

    ``name`` is the lock they come from (for relative paths). Raises Offline naming what is missing,
    Unreachable, DigestMismatch, InvalidWheel.
    """
    raise NotImplementedError
