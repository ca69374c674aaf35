"""The ``__pycache__`` directories: does every ``.pyc`` there belong to the source beside it?"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from envid.installed.bytecode import Judgement, Suspect, judge_header, judge_many
from envid.values.finding import Finding
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter

_NAME: Final = re.compile(r"(?P<stem>.+)\.(?P<tag>(cpython|pypy)-?\d+t?)(?P<pytest>-pytest-[\w.+-]+)?(\.opt-\w+)?\.pyc")
_NUMBA: Final = (".nbi", ".nbc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """One file below ``__pycache__``."""

    path: str
    """Relative to the environment."""
    source: str | None
    """The module beside it, relative to the environment; ``None`` when there is none."""
    known: bool
    """True when the index knows another state of it: somebody rewrote it."""


def is_cached(path: str) -> bool:
    """Tell whether ``path`` is directly in a ``__pycache__`` directory."""
    directory = path.rpartition("/")[0]
    return directory.endswith("/__pycache__")


def source_of(path: str) -> str | None:
    """Return the path of the module that a ``.pyc`` claims to be compiled from; ``None`` for other names."""
    directory, _, name = path.rpartition("/")
    found = _NAME.fullmatch(name)
    return f"{directory.removesuffix('__pycache__')}{found['stem']}.py" if found else None


def check_compiled(
    root: str, cached: Sequence[Cached], *, interpreter: Interpreter, python: Path, deep: bool,
    cache: Path | None = None,
) -> list[Finding]:  # fmt: skip
    """Return a finding for each file that Python would load and should not, or that nobody can tell about.

    The header alone is judged, and the code when ``deep``, when a file changed that was known, and
    when Python would not compare it with its source. ``cache`` as in ``bytecode.judge_many``.
    """
    findings: list[Finding] = []
    suspects: list[tuple[Cached, str]] = []
    for one in cached:
        name = one.path.rpartition("/")[2]
        found = _NAME.fullmatch(name)
        if found is None:
            findings.append(_unknown(one, name))
        elif found["pytest"]:
            # pytest alone loads these, and rewrites asserts in them: no compiler makes them again.
            findings.append(_pytest(one))
        elif one.source is None:
            findings.append(_orphan(one))
        else:
            verdict, believed = _header(root, one, interpreter)
            if verdict in ("ok", "forged") and (deep or one.known or believed or verdict == "forged"):
                suspects.append((one, name))
            elif verdict in ("ok", "foreign", "stale"):
                continue
            else:
                findings.append(_forged(one))
    if suspects:
        asked = [Suspect(pyc=f"{root}/{one.path}", source=f"{root}/{one.source}") for one, _ in suspects]
        verdicts = judge_many(asked, python=python, interpreter=interpreter, cache=cache)
        judged = zip(suspects, verdicts, strict=True)
        findings += (_forged(one) for (one, _), verdict in judged if verdict in ("forged", "orphan"))
    return findings


def _header(root: str, one: Cached, interpreter: Interpreter) -> tuple[Judgement, bool]:
    """Return what the header says, and whether Python would believe the file without a look at the source (PEP 552)."""
    try:
        handle = os.open(f"{root}/{one.path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            head = os.read(handle, 16)
        finally:
            os.close(handle)
        status = os.stat(f"{root}/{one.source}")
    except OSError:
        return "orphan", False
    unchecked = int.from_bytes(head[4:8], "little") & 0b11 == 0b01
    return judge_header(head, mtime=int(status.st_mtime), size=status.st_size, interpreter=interpreter), unchecked


def _forged(one: Cached) -> Finding:
    return Finding(
        code="env.bytecode", severity="error", subject=(one.source or one.path).rpartition("/")[2], path=one.path,
        message="Python would run this compiled file, and it is not what its source compiles to",
        hint="remove it; Python compiles the source again",
    )  # fmt: skip


def _orphan(one: Cached) -> Finding:
    return Finding(
        code="env.bytecode", severity="error", subject=one.path.rpartition("/")[2], path=one.path,
        message="compiled code without its source", hint="remove it",
    )  # fmt: skip


def _pytest(one: Cached) -> Finding:
    return Finding(
        code="env.unverified", severity="info", subject=one.path.rpartition("/")[2], path=one.path,
        message="compiled by pytest, which alone loads it; envid cannot prove it",
        hint="set PYTHONDONTWRITEBYTECODE in CI",
    )  # fmt: skip


def _unknown(one: Cached, name: str) -> Finding:
    numba = name.endswith(_NUMBA)
    message = "a cache of numba, which envid cannot prove" if numba else "no interpreter gives a file such a name"
    return Finding(
        code="env.extra-file", severity="warning" if numba else "error", subject=name, path=one.path, message=message,
        hint="set NUMBA_CACHE_DIR to a directory outside the environment" if numba else "remove it",
    )  # fmt: skip
