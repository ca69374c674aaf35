"""A wheel's files and where they are installed, from the bytes of the archive alone."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from envid.values.artifact import Sha256
from envid.values.contents import WheelContents


def read_contents(path: Path | BinaryIO, *, filename: str, sha256: Sha256 | None) -> WheelContents:
    """Return what the wheel installs; ``filename`` is its published name, ``sha256`` what the lock promises.

    Every digest is taken from the bytes; the wheel's RECORD is not believed. Raises DigestMismatch
    when the file does not have ``sha256``, UnsafePath, InvalidWheel, TooLarge.
    """
    raise NotImplementedError
