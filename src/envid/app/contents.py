"""Content digests of locked wheels, for ``[tool.envid.contents]``."""

from __future__ import annotations

from collections.abc import Iterable

from envid.app.workspace import Workspace
from envid.values.artifact import Artifact, Sha256
from envid.values.progress import SILENT, Progress


def content_digests(
    workspace: Workspace, artifacts: Iterable[Artifact], *, progress: Progress = SILENT
) -> dict[Sha256, str]:
    """Return wheel sha256 to content digest for every wheel in ``artifacts``, fetching what is not known yet."""
    raise NotImplementedError
