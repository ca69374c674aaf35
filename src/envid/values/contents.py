"""What a wheel puts on disk: each file's place and digests, taken from the verified bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from envid.values.artifact import NormalizedName, Sha256

Scheme = Literal["purelib", "platlib", "scripts", "data", "headers"]
"""An installation scheme key; the wheel's root is ``purelib`` or ``platlib`` by its WHEEL file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEntry:
    """One file of a wheel, where it is installed."""

    scheme: Scheme
    path: str
    """POSIX, relative to the scheme's directory."""
    sha256: Sha256
    blake3: str
    size: int
    """Bytes."""
    executable: bool = False
    python_script: bool = False
    """Begins with ``#!python``: installers rewrite the first line (binary distribution format)."""
    tail_blake3: str = ""
    """Of a python script: digest of everything after the first line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A launcher that the installer generates."""

    script: str
    module: str
    attribute: str
    gui: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelContents:
    """All files of one wheel but its RECORD and signatures, sorted by (scheme, path)."""

    sha256: Sha256
    """Of the wheel itself."""
    name: NormalizedName
    version: str
    dist_info: str
    """Directory name, as installed."""
    entries: tuple[ContentEntry, ...]
    entry_points: tuple[EntryPoint, ...] = ()
    digest: str = ""
    """Content digest (docs/contents.md): 64 hex digits."""
    notes: tuple[str, ...] = ()
    """What is odd about the wheel and yet accepted, sorted, such as ``record-hash: PATH`` (docs/contents.md)."""
