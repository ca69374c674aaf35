"""Scripts that installers write or rewrite: are they exactly what uv or pip would have written?"""

from __future__ import annotations

from collections.abc import Sequence

from envid.values.contents import EntryPoint


def launcher_ok(data: bytes, entry: EntryPoint, python_paths: Sequence[str]) -> bool:
    """Tell whether ``data`` is a launcher of uv or pip for ``entry``, run by one of ``python_paths``."""
    raise NotImplementedError


def script_ok(data: bytes, tail_blake3: str, python_paths: Sequence[str]) -> bool:
    """Tell whether ``data`` is a ``#!python`` script of a wheel, pointed at one of ``python_paths``."""
    raise NotImplementedError


def script_tail(data: bytes, python_paths: Sequence[str]) -> bytes | None:
    """Return all after the shebang that an installer wrote, or ``None`` when there is no such shebang."""
    raise NotImplementedError
