"""Wheels and source archives that were held to their sha256: ``<cache>/wheels-v1/<2 hex>/<sha256>/<filename>``."""

from __future__ import annotations

from pathlib import Path

from envid.values.artifact import Sha256


def artifact_path(cache: Path, sha256: Sha256, filename: str) -> Path:
    """Return where the artifact is or would be; raise UnsafePath for a name that is not one path segment."""
    raise NotImplementedError
