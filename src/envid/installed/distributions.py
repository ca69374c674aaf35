"""Which distributions are installed, and whether they are the selected ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from envid.installed.record import normalized
from envid.values.artifact import LocalSource, Selected
from envid.values.finding import Finding
from envid.values.frozen import dataclass

Kind = Literal["dist-info", "egg-info", "egg-link"]

_EGG_INFO: Final = re.compile(r"(?P<name>.+?)(-(?P<version>[^-]+))?(-py\d[\d.]*)?\.egg-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One distribution as its metadata directory (or file) is called."""

    name: str
    """In the normal form of PEP 503."""
    version: str
    """As spelled there; empty when the name does not tell."""
    directory: str
    """Name below site-packages."""
    kind: Kind = "dist-info"


def installed(names: Iterable[str]) -> tuple[Installed, ...]:
    """Return the distributions among the names directly in a site-packages directory, sorted."""
    found = []
    for name in names:
        if name.endswith(".dist-info"):
            stem, _, version = name.removesuffix(".dist-info").rpartition("-")
            # A leading tilde is what pip calls a directory that it failed to remove.
            found.append(Installed(name=normalized(stem or version), version=version if stem else "", directory=name))
        elif name.endswith(".egg-info") and (match := _EGG_INFO.fullmatch(name)):
            found.append(Installed(
                name=normalized(match["name"]), version=match["version"] or "", directory=name, kind="egg-info"
            ))  # fmt: skip
        elif name.endswith(".egg-link"):
            stem = name.removesuffix(".egg-link")
            found.append(Installed(name=normalized(stem), version="", directory=name, kind="egg-link"))
    return tuple(sorted(found, key=lambda one: (one.name, one.directory)))


def same_version(left: str, right: str) -> bool:
    """Tell whether two spellings mean one version (PEP 440); of spellings that mean none, whether they are equal."""
    if left == right:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return False


def compare(
    selected: Sequence[Selected], found: Sequence[Installed], *, harmless: Iterable[str] = ()
) -> tuple[list[Finding], dict[str, Installed]]:
    """Return what differs, and for each selected name that is installed as selected, where.

    ``harmless`` names distributions that are extra and accounted for otherwise (seeded by venv).
    """
    findings: list[Finding] = []
    matched: dict[str, Installed] = {}
    by_name: dict[str, list[Installed]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    known = set(harmless)
    for item in selected:
        candidates = by_name.pop(str(item.name), [])
        right = [one for one in candidates if _is(item, one)]
        if right:
            matched[str(item.name)] = right[0]
            findings += (_duplicate(item, one) for one in candidates if one is not right[0])
        elif candidates:
            findings += (_version(item, one) for one in candidates[:1])
            findings += (_duplicate(item, one) for one in candidates[1:])
        else:
            findings.append(Finding(
                code="env.missing", severity="error", subject=item.name, expected=item.version,
                message=f"{item.name} {item.version or ''}".rstrip() + " is locked and not installed",
                hint="run `envid sync`",
            ))  # fmt: skip
    for name, candidates in by_name.items():
        if name not in known:
            findings += (_extra(one) for one in candidates)
    return findings, matched


def _is(item: Selected, one: Installed) -> bool:
    if one.kind != "dist-info":
        return False
    return item.version is None or same_version(str(item.version), one.version)


def _version(item: Selected, one: Installed) -> Finding:
    return Finding(
        code="env.version", severity="error", subject=item.name, path=one.directory, expected=item.version,
        actual=one.version or None, hint="run `envid sync`",
        message=f"{one.version or 'another version'} is installed, the lock has {item.version}",
    )  # fmt: skip


def _duplicate(item: Selected, one: Installed) -> Finding:
    return Finding(
        code="env.extra", severity="error", subject=item.name, path=one.directory, actual=one.version or None,
        message=f"{item.name} is installed a second time, as {one.directory}", hint="run `envid sync`",
    )  # fmt: skip


def _extra(one: Installed) -> Finding:
    kind = {"egg-link": "a development install, ", "egg-info": "an old-style install, "}.get(one.kind, "")
    return Finding(
        code="env.extra", severity="error", subject=one.name, path=one.directory, actual=one.version or None,
        message=f"{kind}{one.name} {one.version}".rstrip() + " is installed and not in the lock",
        hint="run `envid sync`, or add it to the project and run `envid lock`",
    )  # fmt: skip


def origin(item: Selected, data: bytes | None, *, path: str) -> Finding | None:
    """Return the finding when ``direct_url.json`` (PEP 610) contradicts what was selected; ``data`` is its bytes."""
    if data is None:
        return None
    import json

    try:
        document = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        return _contradiction(item, path, "direct_url.json is not JSON", None)
    if not isinstance(document, dict):
        return _contradiction(item, path, "direct_url.json is not an object", None)
    if item.source is not None:
        return _other_source(item, item.source, document, path)
    if not isinstance(archive := document.get("archive_info"), dict):
        message = "it was installed from a source tree, the lock names an artifact"
        return _contradiction(item, path, message, _shown(document))
    hashes = archive.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if claimed is None and isinstance(old := archive.get("hash"), str) and old.startswith("sha256="):
        claimed = old[7:]
    if claimed is not None and item.artifact is not None and claimed != item.artifact.sha256:
        return _contradiction(item, path, "it was installed from another file than the lock names", _shown(document))
    return None


def _other_source(item: Selected, source: LocalSource, document: dict[str, object], path: str) -> Finding | None:
    if source.kind == "directory":
        info = document.get("dir_info")
        if isinstance(info, dict) and bool(info.get("editable", False)) == source.editable:
            return None
        return _contradiction(item, path, "it was installed from another source than the lock names", _shown(document))
    info = document.get("vcs_info")
    if not isinstance(info, dict):
        return _contradiction(item, path, "it was installed from another source than the lock names", _shown(document))
    commit = info.get("commit_id")
    if not isinstance(commit, str) or commit.lower() != (source.commit or "").lower():
        found = _contradiction(item, path, "it was installed from another commit", str(commit)[:64])
        return replace(found, expected=source.commit)
    there = document.get("subdirectory")
    if (there or None) != source.subdirectory:
        message = "it was installed from another directory of the repository"
        found = _contradiction(item, path, message, str(there)[:200])
        return replace(found, expected=source.subdirectory or "the top")
    if source.url is not None and _repository(str(document.get("url", ""))) != _repository(source.url):
        found = _contradiction(item, path, "it was installed from another repository", _shown(document))
        return replace(found, expected=source.url.rpartition("@")[2])
    return None


def _repository(url: str) -> str:
    """Return a URL of a repository without credentials and what spellings of it differ in."""
    scheme, _, rest = url.removeprefix("git+").partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/").removesuffix(".git")


def _shown(document: dict[str, object]) -> str | None:
    url = document.get("url")
    # Only the end of it: credentials stand at the front of a URL.
    return str(url).rpartition("@")[2][-200:] if isinstance(url, str) else None


def _contradiction(item: Selected, path: str, message: str, actual: str | None) -> Finding:
    return Finding(
        code="env.source", severity="error", subject=item.name, path=path, message=message, actual=actual,
        expected=item.artifact.filename if item.artifact is not None else None, hint="run `envid sync`",
    )  # fmt: skip
