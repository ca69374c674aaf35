"""Does a ``.pyc`` belong to its source? Judged without unmarshalling or running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envid.values.interpreter import Interpreter

Judgement = Literal["ok", "foreign", "stale", "forged", "orphan"]
"""``foreign``: of another Python, never loaded by this one. ``stale``: Python would compile anew.
``forged``: Python would run it, and it is not what the source compiles to. ``orphan``: no source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A ``.pyc`` and the source that it claims to be compiled from."""

    pyc: str
    """Absolute path."""
    source: str | None
    """Absolute path of the source, whose bytes are already proven; ``None`` when there is none."""


def judge_header(head: bytes, *, mtime: int, size: int, interpreter: Interpreter) -> Judgement:
    """Judge by the first 16 bytes alone: ``mtime`` (whole seconds) and ``size`` (bytes) are of the source.

    ``ok`` means only that Python would load it.
    """
    raise NotImplementedError


def judge(
    pyc: bytes, source: bytes | None, *, mtime: int, interpreter: Interpreter, name: str, filename: str = ""
) -> Judgement:
    """Judge one whole file in this process, which must run the same Python as ``interpreter``.

    ``name`` is the file name of the ``.pyc`` (it tells the optimisation level), ``filename`` the
    path of the source.
    """
    raise NotImplementedError


def judge_many(suspects: Sequence[Suspect], *, python: Path, interpreter: Interpreter) -> tuple[Judgement, ...]:
    """Judge whole files in one isolated run of ``python``; answers in the order of ``suspects``."""
    raise NotImplementedError
