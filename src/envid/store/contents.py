"""What is known of wheels' contents, one self-verifying file for each wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envid.values.artifact import Sha256
from envid.values.contents import EntryPoint, Scheme, WheelContents


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRows:
    """The contents of one wheel as parallel columns, sorted by (scheme, path); quick to read."""

    sha256: Sha256
    name: str
    version: str
    dist_info: str
    digest: str
    schemes: tuple[tuple[Scheme, int, int], ...]
    """``(scheme, start, end)``: rows ``start:end`` are of that scheme."""
    paths: tuple[str, ...]
    """POSIX, relative to the directory of the scheme."""
    blake3: tuple[str, ...]
    """64 hexadecimal digits each."""
    sizes: tuple[int, ...]
    """Bytes."""
    executable: frozenset[int]
    """Rows with an executable bit in the wheel."""
    tails: dict[int, str]
    """Row of each ``#!python`` script, with the BLAKE3 of all after its first line."""
    entry_points: tuple[EntryPoint, ...]


def save(cache: Path, contents: WheelContents) -> None:
    """Keep ``contents`` below ``cache`` (envid's cache directory); raise StoreError, WriteFailed."""
    raise NotImplementedError


def load(cache: Path, sha256: Sha256) -> WheelContents | None:
    """Return what is known of the wheel, or ``None``; a damaged file is set aside. Raises StoreError."""
    raise NotImplementedError


def load_rows(cache: Path, sha256: Sha256) -> ContentRows | None:
    """Return the same as ``load`` as columns, at a tenth of the time."""
    raise NotImplementedError
