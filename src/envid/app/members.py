"""``[tool.uv.workspace]``: where the members that ``{ workspace = true }`` sources name are."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from envid.app.workspace import Workspace, read_limited
from envid.errors import ConfigError
from envid.values.wheel_tags import normalize_name

_MAX: Final = 8 * 1024 * 1024

Table = Mapping[str, Any]


def resolved_sources(ws: Workspace) -> dict[str, Any]:
    """Return ``[tool.uv.sources]`` with every workspace source turned into the path of that member.

    Raises ConfigError for a name that no workspace above the project has.
    """
    sources = dict(ws.intent.uv.sources)
    if not any(_wants_workspace(entry) for given in sources.values() for entry in _entries(given)):
        return sources
    members = _members(ws.root)
    return {name: _located(name, given, members, ws.root) for name, given in sources.items()}


def _located(name: str, given: object, members: Mapping[str, Path], root: Path) -> object:
    if isinstance(given, list):
        return [_located(name, entry, members, root) for entry in given]
    if not _wants_workspace(given) or not isinstance(given, Mapping):
        return given
    found = members.get(normalize_name(name))
    if found is None:
        known = ", ".join(sorted(members)) or "none"
        raise ConfigError(f"tool.uv.sources.{name}: no workspace member has this name", hint=f"members found: {known}")
    kept = {key: value for key, value in given.items() if key != "workspace"}
    # uv installs members editable unless told otherwise.
    return {"editable": True, **kept, "path": Path(os.path.relpath(found, root)).as_posix()}


def _members(root: Path) -> dict[str, Path]:
    for directory in (root, *root.parents):
        document = _document(directory / "pyproject.toml")
        tool = document.get("tool")
        uv = tool.get("uv") if isinstance(tool, dict) else None
        workspace = uv.get("workspace") if isinstance(uv, dict) else None
        if isinstance(workspace, dict):
            patterns = [text for text in workspace.get("members", []) if isinstance(text, str)]
            places = [directory, *(place for pattern in patterns for place in sorted(directory.glob(pattern)))]
            return {name: place for place in places if (name := _name(_document(place / "pyproject.toml")))}
    return {}


def _document(path: Path) -> Table:
    try:
        data = read_limited(path, _MAX, missing=FileNotFoundError(str(path)))
        return tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML", path=str(path), hint="mend the syntax there") from error


def _name(document: Table) -> str | None:
    project = document.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return normalize_name(name) if isinstance(name, str) else None


def _entries(given: object) -> list[object]:
    return given if isinstance(given, list) else [given]


def _wants_workspace(entry: object) -> bool:
    return isinstance(entry, Mapping) and entry.get("workspace") is True
