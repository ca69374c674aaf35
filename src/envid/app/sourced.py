"""Distributions that no wheel speaks for: built from a source tree, a checkout, or a source archive.

Whether their files are right nobody can tell; whether they were made from the source that the lock
names can be told, by ``direct_url.json`` (PEP 610) and by the note that ``sync`` leaves.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from envid.app.sources import tree_digest
from envid.app.workspace import Workspace
from envid.errors import IdentityUnknown
from envid.installed import note
from envid.installed.distributions import installed, origin, same_version
from envid.installed.proof import Place
from envid.values.artifact import LocalSource, Selected
from envid.values.digest import blake3_hex
from envid.values.finding import Finding
from envid.whole import open_regular

MAX_DIRECT_URL: Final = 64 * 1024
_MAX_METADATA: Final = 8 * 1024 * 1024
_LEGACY: Final = ("setup.cfg", "setup.py")


def judge(ws: Workspace, item: Selected, place: Place, known: note.Note | None) -> list[Finding]:
    """Return what is to be said of an installed distribution that was built: always ``env.unverified``, maybe more.

    A finding ``env.unverified`` with the path ``note.NAME`` says that the state it was built from is not known.
    """
    data = place.read("direct_url.json", MAX_DIRECT_URL)
    path = f"{place.info}/direct_url.json"
    if item.source is not None and data is None:
        message = "it was not installed from a source, as direct_url.json would say; the lock names one"
        return [_unverified(item, place), _changed(item, path, message, expected=_told(item.source))]
    found = origin(item, data, path=path)
    if found is None and item.source is not None and item.source.kind == "directory":
        found = _elsewhere(ws, item, item.source, data or b"", path) or _other_version(ws, item, item.source, place)
    if found is not None:
        return [_unverified(item, place), found]
    if item.source is not None and item.source.kind == "vcs":
        return [_unverified(item, place)]
    try:
        now = state_of(ws, item)
    except IdentityUnknown as error:
        return [_unverified(item, place, why=f"and cannot be compared with its source: {error.message}")]
    before = _noted(place, known)
    if before is None:
        return [_unknown(item, place)]
    if before == now:
        return [_unverified(item, place)]
    if item.source is None:
        message = "it was built from another source archive than the lock names"
    elif item.source.editable:
        message = "the metadata of the source tree have changed since it was installed"
    else:
        message = "the source tree has changed since it was installed"
    return [_unverified(item, place), _changed(item, place.directory, message)]


def state_of(ws: Workspace, item: Selected) -> str:
    """Return text that differs when what ``item`` is built from does; raise IdentityUnknown.

    Of an editable distribution, the code is imported from where it is, so only the metadata count.
    """
    source = item.source
    if source is None:
        artifact = item.artifact
        return "" if artifact is None else f"{artifact.sha256} {artifact.subdirectory or ''}"
    if source.kind == "vcs":
        return f"{source.commit} {source.subdirectory or ''}"
    directory = directory_of(ws, source)
    if not source.editable:
        return f"tree {tree_digest(directory, package=item.name)} {source.subdirectory or ''}"
    project = _project(ws, source)
    files = [blake3_hex(_bytes(os.path.join(directory, source.subdirectory or "", name))) for name in _LEGACY]
    return f"metadata {blake3_hex(repr(_sorted(project)).encode())} {' '.join(files)}"


def directory_of(ws: Workspace, source: LocalSource) -> str:
    """Return the absolute path of a source directory."""
    return os.path.normpath(os.path.join(ws.root, "lockfiles", source.path or ""))


def noted(sites: Iterable[Path], states: Mapping[str, str]) -> dict[str, note.Origin]:
    """Return what to note of the distributions that were just installed from ``states``, by name."""
    found = {}
    for site in sites:
        for one in installed(os.listdir(site)):
            if one.name in states and one.kind == "dist-info":
                record = blake3_hex(_bytes(str(site / one.directory / "RECORD")))
                found[one.name] = note.Origin(state=states[one.name], record=record)
    return found


def hint_at_name(root: str, name: str, findings: list[Finding]) -> list[Finding]:
    """Return ``findings`` about the lock ``name``, with a hint at the lock that was installed where it is another."""
    if not root or not any(finding.code == "env.extra" and finding.severity == "error" for finding in findings):
        return findings
    known = note.read(Path(root))
    if known is None or known.lock == name:
        return findings
    option = f"--name {known.lock}" if known.lock != "default" else "no --name"
    hint = f"`envid sync` installed the lock `{known.lock}` here last: verify with {option}, or run `envid sync`"
    return [
        replace(finding, hint=hint) if finding.code == "env.extra" and finding.severity == "error" else finding
        for finding in findings
    ]  # fmt: skip


def _noted(place: Place, known: note.Note | None) -> str | None:
    one = known.sources.get(place.name) if known is not None else None
    data = place.read("RECORD")
    if one is None or data is None or one.record != blake3_hex(data):
        return None
    return one.state


def _elsewhere(ws: Workspace, item: Selected, source: LocalSource, data: bytes, path: str) -> Finding | None:
    """Return the finding for an editable distribution that imports from another directory than the lock's."""
    if not source.editable:
        return None
    import json
    from urllib.parse import unquote, urlsplit

    url = str(json.loads(data).get("url", ""))
    there = unquote(urlsplit(url).path)
    wanted = directory_of(ws, source)
    if os.path.realpath(there) == os.path.realpath(wanted):
        return None
    return _changed(item, path, "it imports from another directory than the lock names", expected=wanted, actual=there)


def _other_version(ws: Workspace, item: Selected, source: LocalSource, place: Place) -> Finding | None:
    if item.version is not None:
        return None
    said = _project(ws, source).get("version")
    there = place.directory.removesuffix(".dist-info").rpartition("-")[2]
    if not isinstance(said, str) or same_version(said, there):
        return None
    return Finding(
        code="env.version", severity="error", subject=item.name, path=place.directory, expected=said, actual=there,
        message=f"{there} is installed, the source tree has {said}", hint="run `envid sync`",
    )  # fmt: skip


def _project(ws: Workspace, source: LocalSource) -> Mapping[str, Any]:
    """Return ``[project]`` of a source tree; nothing where it says nothing."""
    data = _bytes(os.path.join(directory_of(ws, source), source.subdirectory or "", "pyproject.toml"))
    try:
        project = tomllib.loads(data.decode("utf-8")).get("project")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return {"unreadable": blake3_hex(data)}
    return project if isinstance(project, dict) else {}


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return [(str(key), _sorted(value[key])) for key in sorted(value)]
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _bytes(path: str) -> bytes:
    try:
        with open_regular(path) as stream:
            return stream.read(_MAX_METADATA)
    except OSError:
        return b""


def _told(source: LocalSource) -> str | None:
    return source.commit if source.kind == "vcs" else source.path


def _changed(
    item: Selected, path: str, message: str, *, expected: str | None = None, actual: str | None = None
) -> Finding:
    return Finding(
        code="env.source", severity="error", subject=item.name, path=path, message=message, expected=expected,
        actual=actual, hint="run `envid sync`, which installs it again",
    )  # fmt: skip


def _unknown(item: Selected, place: Place) -> Finding:
    if item.source is None:
        return _unverified(item, place)
    what = "its metadata" if item.source.editable else "the tree"
    why = f"and nothing says from which state of it: {what} cannot be compared"
    return replace(
        _unverified(item, place, why=why), path=note.NAME,
        hint="`envid sync` installs it again and notes the state of the source",
    )  # fmt: skip


def _unverified(item: Selected, place: Place, *, why: str | None = None) -> Finding:
    if item.artifact is not None:
        message = f"{place.name} was built from a source distribution: its files are held to their own RECORD only"
        hint = "prefer a wheel, or accept that this distribution cannot be verified"
    else:
        kind = "an editable" if item.source is not None and item.source.editable else "a local"
        kind = "a version-control" if item.source is not None and item.source.kind == "vcs" else kind
        message = f"{place.name} comes from {kind} source{', ' + why if why else ': what it imports is not verified'}"
        hint = "it is as trustworthy as the checkout it comes from"
    return Finding(
        code="env.unverified", severity="warning", subject=place.name, path=place.directory, message=message, hint=hint,
        expected=item.artifact.filename if item.artifact is not None else None,
    )  # fmt: skip
