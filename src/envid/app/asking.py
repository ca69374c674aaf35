"""What a lock of this project is asked for: the pure answer of ``values.inputs``, with files to read from."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from typing import Final

from envid.app.members import resolved_sources
from envid.app.workspace import Workspace, read_limited
from envid.errors import DependencyRefused, DynamicMetadata
from envid.values.digest import JSONValue
from envid.values.frozen import dataclass
from envid.values.inputs import Reader, canonical_inputs
from envid.values.requirement import Asked, flatten

MAX_LOCAL_BYTES: Final = 1024 * 1024 * 1024
"""A local wheel beyond this is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that can change one lock."""

    asked: tuple[Asked, ...]
    inputs: dict[str, JSONValue]
    """For ``[tool.envid.inputs]``."""


def question(ws: Workspace, name: str) -> Question:
    """Return what the lock ``name`` is asked for now.

    Raises ConfigError, CredentialInConfig, DynamicMetadata, DependencyRefused (a source directory is not there).
    """
    settings = ws.intent.lock_settings(name)
    # A workspace member is a local source like any other: its dependencies are an input.
    intent = replace(ws.intent, uv=replace(ws.intent.uv, sources=resolved_sources(ws)))
    asked = flatten(intent, settings, pyproject=ws.pyproject)
    try:
        inputs = canonical_inputs(intent, settings, read=reader(ws), pyproject=ws.pyproject)
    except DynamicMetadata as error:
        folder = posixpath.dirname(str(error.context.get("path", ""))) or "."
        if os.path.lexists(ws.root / folder):
            raise
        raise _absent(ws, folder, str(error.context.get("package"))) from error
    return Question(asked=asked, inputs=inputs)


def _absent(ws: Workspace, folder: str, name: str) -> DependencyRefused:
    """Return the error for a source directory that is not there, with the line that asks for it."""
    text = ws.pyproject.decode("utf-8", "replace")
    spelled = "[-_.]+".join(map(re.escape, name.split("-")))
    patterns = (rf"[\"'/]{re.escape(folder)}/?[\"']", rf"(?i)^\s*[\"']?{spelled}[\"']?\s*=", rf"(?i)[\"']{spelled}\b")
    found = next((match for pattern in patterns if (match := re.search(pattern, text, re.MULTILINE))), None)
    line = text.count("\n", 0, found.start()) + 1 if found else None
    where = f"pyproject.toml:{line}: " if line else ""
    return DependencyRefused(
        f"{where}the directory {folder} is not there, where {name} is to come from",
        hint="check the path; it starts from the directory of pyproject.toml", package=name, path=folder, line=line,
    )  # fmt: skip


def reader(ws: Workspace) -> Reader:
    """Return the function that reads a file named relative to the project, None when there is none."""

    def read(path: str) -> bytes | None:
        try:
            return read_limited(ws.root / path, MAX_LOCAL_BYTES, missing=FileNotFoundError(path))
        except FileNotFoundError:
            return None

    return read
