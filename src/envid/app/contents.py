"""Content digests of locked wheels, for ``[tool.envid.contents]``."""

from __future__ import annotations

from collections.abc import Iterable

from envid.app.fetching import fetch_contents
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.store import contents as known_contents
from envid.values.artifact import Artifact, Sha256
from envid.values.progress import SILENT, Progress


def content_digests(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> dict[Sha256, str]:
    """Return wheel sha256 to content digest for every wheel in ``artifacts``.

    What ``store.contents`` does not know is read from the wheels of the lock ``name``, fetched if need
    be. Raises as ``fetch_artifacts``.
    """
    wheels = {artifact.sha256: artifact for artifact in artifacts if artifact.filename.endswith(".whl")}
    digests = _known(workspace, wheels)
    unknown = [artifact for sha256, artifact in wheels.items() if sha256 not in digests]
    if unknown:
        digests |= fetch_contents(workspace, unknown, name=name, progress=progress)
    return digests


def _known(workspace: Workspace, wheels: Iterable[Sha256]) -> dict[Sha256, str]:
    with opened(workspace) as place:
        loaded = ((sha256, known_contents.load_rows(place, sha256)) for sha256 in wheels)
        return {sha256: rows.digest for sha256, rows in loaded if rows is not None}
