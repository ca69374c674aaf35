"""What a CI cache is told of a layer: its key, its ladder of restore keys, the path that it keeps."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from envid.app.keys import Identified, identify_for
from envid.app.outcome import Outcome
from envid.app.project import environment_place
from envid.app.recorded import record
from envid.app.workspace import Workspace
from envid.errors import NotExportable
from envid.identity import ci_key
from envid.values.digest import JSONValue

DEFAULT_LAYER: Final = "venv"

LADDERS: Final = frozenset({"wheels", "store"})
"""Layers whose cache may be restored from another key: every wheel is held to its hash, every entry of the store to
its key and digest, when it is used."""

ARCHIVE: Final = ".envid/store.tar"
"""What `envid cache export` writes and `envid cache import` reads in CI; relative to the project."""

PATTERN: Final = re.compile(r"[*?\[\]\n\r]|^[!#~]|^\s|\s$")
"""What makes a path a pattern, several paths or a comment for a CI cache."""


def export(
    ws: Workspace,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
    base: str | None = None,
) -> tuple[Outcome, Mapping[str, str]]:
    """Return the answer of ``envid key`` for CI, and ``key``, ``restore-keys``, ``path``, ``identity``.

    Multi-line values use LF. ``restore-keys`` is empty for every layer whose content is not held to hashes when it is
    used: a stale environment restored by prefix keeps what was removed since. ``path`` belongs to the outputs because
    it is part of the version of a GitHub cache entry; it is relative to ``base``, a directory as a CI system names it
    (default: the project), where it is below that, and absolute otherwise. Raises NotExportable for a path that
    caches would take for a pattern.
    """
    place = environment_place(ws.place, venv)
    # An environment that was named and is not there yet will be made by the running interpreter.
    unseen = venv is not None and not os.path.isfile(os.path.join(place, "pyvenv.cfg"))
    found = identify_for(ws, layer=layer or DEFAULT_LAYER, target=target, name=name, venv=venv, unseen=unseen)
    chosen, key = found.identity.layer, cache_key(found)
    notes = record(ws, found.document, layer=chosen, target=found.target, name=name, venv=venv)
    kept = kept_path(ws, chosen, venv)
    values = {
        "key": key,
        "restore-keys": "\n".join(ladder(chosen, key)),
        "path": "" if kept is None else _relative(ws, kept, base),
        "identity": found.document.decode("utf-8"),
    }
    data: dict[str, JSONValue] = {"keys": {chosen: {found.target.name: found.key}}, "outputs": values}
    return Outcome(command="key", answer=key, notes=notes, data=data), values


def cache_key(found: Identified) -> str:
    """Return the key that names an identity in a CI cache: ``envid1-LAYER-OS-ARCH-PYTAG-DIGEST``."""
    target = found.target
    return ci_key(found.identity, target.os, target.arch, f"{target.python_tag}{target.abi_flags}")


def ladder(layer: str, key: str) -> tuple[str, ...]:
    """Return the prefixes from which ``layer`` may be restored when nothing is under ``key``; at most one."""
    return (f"{key.rpartition('-')[0]}-",) if layer in LADDERS else ()


def kept_path(ws: Workspace, layer: str, venv: str | None = None) -> str | None:
    """Return the absolute path that a cache of ``layer`` keeps; None for a layer whose trees the project names."""
    if layer == "venv":
        return environment_place(ws.place, venv)
    if layer == "store":
        return os.path.join(ws.place, *ARCHIVE.split("/"))
    return os.path.join(ws.kept, "wheels-v1") if layer == "wheels" else None


def _relative(ws: Workspace, path: str, base: str | None) -> str:
    start = os.path.realpath(os.path.join(ws.place, _home(ws, base))) if base else os.path.realpath(ws.place)
    # Of a link the place where it stands, not where it leads: that is what an archive holds.
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    shown = os.path.relpath(real, start) if real.startswith(os.path.join(start, "")) else path
    if PATTERN.search(shown):
        raise NotExportable(f"{shown!a} is not a path that every CI cache takes as it stands")
    return shown


def _home(ws: Workspace, base: str) -> str:
    # CircleCI says `~/project`.
    home = ws.variables.get("HOME", "")
    return os.path.join(home, base[2:]) if base.startswith("~/") and home else base
