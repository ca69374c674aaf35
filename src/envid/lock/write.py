"""Write a lock in its one canonical form (docs/lock-format.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from envid.errors import LockError, NoCompatibleArtifact
from envid.lock import toml
from envid.lock.canonical import environments_for, marker_over, tidy
from envid.lock.pylock import FORMAT, load
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution
from envid.values.digest import blake3_hex
from envid.values.marker import truth
from envid.values.target import Target
from envid.values.wheel_tags import rank

__all__ = ["WHEELHOUSE", "body_digest", "environments_for", "neutral", "preserved", "write"]

WHEELHOUSE: Final = "wheelhouse"
"""Where a mirror-neutral lock says its artifacts are, relative to itself."""

_TOP: Final = frozenset(
    {"lock-version", "environments", "requires-python", "extras", "dependency-groups", "default-groups", "created-by",
     "packages", "tool"}
)  # fmt: skip
_ENTRY: Final = frozenset(
    {"name", "version", "marker", "requires-python", "index", "wheels", "sdist", "archive", "vcs", "directory", "tool"}
)
_DIGEST_LINE: Final = re.compile(rb'^digest = "[0-9a-f]{64}"\n', re.MULTILINE)
_OUR_TABLE: Final = b"\n[tool.envid]\n"


def write(lock: Lock, *, targets: tuple[Target, ...], preserved: Mapping[str, object] | None = None) -> bytes:
    """Return the canonical bytes of ``lock``.

    Markers are simplified over ``targets`` and wheels that none of them can use are dropped (empty:
    neither); ``lock.environments``, ``inputs`` and ``contents`` are written as given;
    ``lock.body_digest`` is computed anew. ``preserved`` comes from the function of that name.
    Raises NoCompatibleArtifact when an entry that a target needs has nothing any target can use.
    """
    kept: Mapping[str, Any] = preserved or {}
    entries = canonical_entries(lock, targets)
    parts = [_head(lock, kept.get("top", {}), bare=not entries)]
    packages: Mapping[tuple[str, str | None], Mapping[str, object]] = kept.get("packages", {})
    parts += [_entry(entry, packages.get((entry.name, entry.version), {})) for entry in entries]
    others: Mapping[str, Any] = kept.get("tool", {})
    for name in sorted(others):
        parts.append(_tool(("tool", name), others[name]))
    before, after = _envid(lock)
    body = "".join((*parts, before, after)).encode()
    line = f'digest = "{blake3_hex(body)}"\n'
    return "".join((*parts, before, line, after)).encode()


def canonical_entries(lock: Lock, targets: Sequence[Target]) -> tuple[LockedDistribution, ...]:
    """Return the entries of ``lock`` as they are written for ``targets``: simplified, filtered, sorted."""
    entries = []
    for entry in lock.distributions:
        if targets:
            wanted, marker = marker_over(entry.marker, targets, requires_python=lock.requires_python)
            if not wanted:
                continue
            entry = replace(entry, marker=marker, wheels=_usable(entry, targets))
        elif entry.marker is not None:
            entry = replace(entry, marker=tidy(entry.marker, requires_python=lock.requires_python))
        entries.append(replace(entry, wheels=tuple(sorted(entry.wheels, key=lambda wheel: wheel.filename))))
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.version or "", entry.marker or "")))


def _usable(entry: LockedDistribution, targets: Sequence[Target]) -> tuple[Artifact, ...]:
    takers = [target for target in targets if entry.marker is None or truth(entry.marker, target.short) is not False]
    shorts = {target.short for target in takers}
    found = tuple(wheel for wheel in entry.wheels if any(rank(wheel.filename, target) is not None for target in shorts))
    if entry.wheels and not found and entry.sdist is None:
        names = ", ".join(target.name for target in takers)
        raise NoCompatibleArtifact(
            f"{entry.name} {entry.version or ''} has no wheel for any of {names}", package=entry.name,
            hint=f"it has {', '.join(wheel.filename for wheel in entry.wheels[:3])}",
        )  # fmt: skip
    return found


def _head(lock: Lock, others: Mapping[str, object], *, bare: bool) -> str:
    parts = ['lock-version = "1.0"\n', toml.strings("environments", lock.environments)]
    if lock.requires_python is not None:
        parts.append(f"requires-python = {toml.string(lock.requires_python)}\n")
    for name, items in (
        ("extras", lock.extras), ("dependency-groups", lock.dependency_groups), ("default-groups", lock.default_groups)
    ):  # fmt: skip
        parts.append(toml.strings(name, items))
    parts.append('created-by = "envid"\n')
    parts += [f"{toml.key(name)} = {toml.value(others[name])}\n" for name in sorted(others)]
    if bare:
        parts.append("packages = []\n")
    return "".join(parts)


def _entry(entry: LockedDistribution, others: Mapping[str, object]) -> str:
    parts = [f"\n[[packages]]\nname = {toml.string(entry.name)}\n"]
    for name, text in (
        ("version", entry.version), ("marker", entry.marker), ("requires-python", entry.requires_python),
        ("index", entry.index),
    ):  # fmt: skip
        if text is not None:
            parts.append(f"{name} = {toml.string(text)}\n")
    if entry.source is not None:
        parts.append(f"{entry.source.kind} = {_source(entry.source)}\n")
    if entry.archive is not None:
        parts.append(f"archive = {_artifact(entry.archive)}\n")
    if entry.sdist is not None:
        parts.append(f"sdist = {_artifact(entry.sdist)}\n")
    if entry.wheels:
        parts += ["wheels = [\n", *(f"    {_artifact(wheel)},\n" for wheel in entry.wheels), "]\n"]
    tool = others.get("tool")
    parts += [f"{toml.key(name)} = {toml.value(others[name])}\n" for name in sorted(others) if name != "tool"]
    if isinstance(tool, Mapping):
        parts += [_tool(("packages", "tool", name), tool[name]) for name in sorted(tool)]
    return "".join(parts)


def _tool(path: tuple[str, ...], content: object) -> str:
    if isinstance(content, Mapping):
        return toml.table(path, content)
    # `tool.NAME = 1` is odd but somebody's; a header for its parent is the only place it fits.
    return f"\n[{'.'.join(map(toml.key, path[:-1]))}]\n{toml.key(path[-1])} = {toml.value(content)}\n"


def _artifact(artifact: Artifact) -> str:
    fields = []
    place = artifact.path if artifact.path is not None else (artifact.url or "").partition("#")[0].partition("?")[0]
    if artifact.kind != "archive" and place.rpartition("/")[2] != artifact.filename:
        fields.append(f"name = {toml.string(artifact.filename)}")
    if artifact.url is not None:
        fields.append(f"url = {toml.string(artifact.url)}")
    if artifact.path is not None:
        fields.append(f"path = {toml.string(artifact.path)}")
    if artifact.size is not None:
        fields.append(f"size = {artifact.size}")
    hashes = [("sha256", artifact.sha256), *artifact.other_hashes]
    fields.append("hashes = { " + ", ".join(f'{toml.key(name)} = "{digest}"' for name, digest in hashes) + " }")
    if artifact.subdirectory is not None:
        fields.append(f"subdirectory = {toml.string(artifact.subdirectory)}")
    return f"{{ {', '.join(fields)} }}"


def _source(source: LocalSource) -> str:
    fields = []
    for name, text in (
        ("type", source.vcs), ("url", source.url), ("path", source.path), ("commit-id", source.commit),
        ("subdirectory", source.subdirectory),
    ):  # fmt: skip
        if text is not None:
            fields.append(f"{name} = {toml.string(text)}")
    if source.editable:
        fields.append("editable = true")
    return f"{{ {', '.join(fields)} }}"


def _envid(lock: Lock) -> tuple[str, str]:
    """Return ``[tool.envid]`` before and after its digest line."""
    inputs = lock.inputs or {}
    before = f"{_OUR_TABLE.decode()}format = {FORMAT}\n"
    resolver = inputs.get("resolver")
    if isinstance(resolver, str):
        before += f"resolver = {toml.string(resolver)}\n"
    after = ""
    if lock.inputs is not None:
        # An empty table needs its header all the same: no inputs and unknown inputs are two answers.
        after += toml.table(("tool", "envid", "inputs"), lock.inputs)
    if lock.contents is not None:
        after += toml.table(("tool", "envid", "contents"), lock.contents)
    return before, after


def preserved(data: bytes) -> Mapping[str, object]:
    """Return the tables of other tools in an existing lock, for ``write``; empty when ``data`` cannot be parsed.

    Keys: ``top`` (unknown top-level keys), ``tool`` (but ``envid``), ``packages`` (unknown keys of entries, by
    name and version).
    """
    try:
        document = load(data, path="")
    except LockError:
        return {}
    tool = document.get("tool")
    packages: dict[tuple[str, str | None], dict[str, object]] = {}
    entries = document.get("packages")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            continue
        others = {name: item for name, item in entry.items() if name not in _ENTRY}
        if theirs := _not_ours(entry.get("tool")):
            others["tool"] = theirs
        version = entry.get("version")
        if others and (version is None or isinstance(version, str)):
            packages.setdefault((entry["name"], version), {}).update(others)
    top = {name: item for name, item in document.items() if name not in _TOP}
    return {"top": top, "tool": _not_ours(tool), "packages": packages}


def _not_ours(tool: object) -> dict[str, object]:
    return {name: item for name, item in tool.items() if name != "envid"} if isinstance(tool, dict) else {}


def neutral(lock: Lock) -> Lock:
    """Return ``lock`` without any URL of an artifact: ``path = "wheelhouse/FILENAME"`` on each, no index."""

    def moved(artifact: Artifact) -> Artifact:
        return replace(artifact, url=None, path=f"{WHEELHOUSE}/{artifact.filename}")

    def entry(old: LockedDistribution) -> LockedDistribution:
        return replace(
            old,
            index=None,
            wheels=tuple(map(moved, old.wheels)),
            sdist=None if old.sdist is None else moved(old.sdist),
            # A local file is already named without any URL, and no index has it.
            archive=old.archive if old.archive is None or old.archive.url is None else moved(old.archive),
        )

    return replace(lock, distributions=tuple(map(entry, lock.distributions)))


def body_digest(data: bytes) -> str:
    """Return BLAKE3 (hex) of a lock file without its ``digest`` line of ``[tool.envid]``."""
    at = data.rfind(_OUR_TABLE)
    if at >= 0:
        found = _DIGEST_LINE.search(data, at)
        end = data.find(b"\n[", at + len(_OUR_TABLE))
        if found and (end < 0 or found.start() <= end):
            data = data[: found.start()] + data[found.end() :]
    return blake3_hex(data)
