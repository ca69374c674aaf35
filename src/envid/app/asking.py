"""What a lock of this project is asked for: the pure answer of ``values.inputs``, with files to read from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from envid.app.members import resolved_sources
from envid.app.workspace import Workspace, read_limited
from envid.values.digest import JSONValue
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
    """Return what the lock ``name`` is asked for now; raise ConfigError, CredentialInConfig, DynamicMetadata."""
    settings = ws.intent.lock_settings(name)
    # A workspace member is a local source like any other: its dependencies are an input.
    intent = replace(ws.intent, uv=replace(ws.intent.uv, sources=resolved_sources(ws)))
    return Question(
        asked=flatten(intent, settings, pyproject=ws.pyproject),
        inputs=canonical_inputs(intent, settings, read=reader(ws), pyproject=ws.pyproject),
    )


def reader(ws: Workspace) -> Reader:
    """Return the function that reads a file named relative to the project, None when there is none."""

    def read(path: str) -> bytes | None:
        try:
            return read_limited(ws.root / path, MAX_LOCAL_BYTES, missing=FileNotFoundError(path))
        except FileNotFoundError:
            return None

    return read
