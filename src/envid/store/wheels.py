"""Wheels and source archives that were held to their sha256: ``<cache>/wheels-v1/<2 hex>/<sha256>/<filename>``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from envid.errors import UnsafePath
from envid.values.artifact import Sha256
from envid.whole import open_regular

DIRECTORY: Final = "wheels-v1"
_CHUNK: Final = 1024 * 1024


def artifact_path(cache: Path, sha256: Sha256, filename: str) -> Path:
    """Return where the artifact is or would be; raise UnsafePath for a name that is not one path segment."""
    if not filename or filename in (".", "..") or any(c in filename for c in "/\\\0") or len(filename) > 220:
        raise UnsafePath(f"{filename[:80]!r} is not a file name", file=filename[:80])
    return cache / DIRECTORY / sha256[:2] / sha256 / filename


def file_sha256(path: Path) -> Sha256 | None:
    """Return the digest of a regular file's bytes; ``None`` when there is no such file or it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError):
        return None
    return Sha256(digest.hexdigest())
