"""The text that makes a folder of artifacts installable: a path-based lock, and hashed requirements. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from envid.errors import DependencyRefused, InvalidLock
from envid.lock.write import environments_for, write
from envid.values.artifact import Artifact, Lock, LockedDistribution, Resolution, Selected
from envid.values.target import Target

LOCK: str = "pylock.toml"
REQUIREMENTS: str = "requirements.txt"
_OPTIONS: tuple[str, ...] = ("# written by envid vendor, which replaces it", "--no-index", "--find-links .")
"""The first lines of requirements; by the first of them ``is_own`` knows its own."""


def artifacts_of(resolutions: Iterable[Resolution]) -> tuple[Artifact, ...]:
    """Return the artifacts that any of ``resolutions`` takes, sorted by file name.

    Raises DependencyRefused for a source tree, which is no file; InvalidLock when two different
    files have one name.
    """
    found: dict[str, Artifact] = {}
    for selected in (item for resolution in resolutions for item in resolution.selected):
        if selected.artifact is None:
            raise DependencyRefused(
                f"{selected.name} is locked as a source tree, which cannot be put into a wheelhouse",
                package=selected.name, hint="build a wheel of it and depend on that, or leave it to `envid sync`",
            )  # fmt: skip
        artifact = selected.artifact
        other = found.setdefault(artifact.filename.casefold(), artifact)
        if other.sha256 != artifact.sha256:
            raise InvalidLock(f"the lock has two different files named {artifact.filename}", file=artifact.filename)
    return tuple(sorted(found.values(), key=lambda artifact: artifact.filename))


def lock_of(lock: Lock, resolutions: Mapping[Target, Resolution]) -> bytes:
    """Return a lock of the same distributions with paths beside itself, for the targets of ``resolutions`` alone."""
    targets = tuple(sorted(resolutions, key=lambda target: target.name))
    chosen = {artifact.sha256 for artifact in artifacts_of(resolutions.values())}
    entries = [_beside(entry, chosen) for entry in lock.distributions]
    local = Lock(
        created_by="envid",
        distributions=tuple(entry for entry in entries if entry.wheels or entry.sdist or entry.archive),
        requires_python=lock.requires_python,
        environments=environments_for(targets),
    )
    return write(local, targets=targets)


def requirements_of(lock: Lock) -> bytes:
    """Return hashed requirements for all targets of a lock that ``lock_of`` made, markers telling them apart.

    pip and uv both take the options at the top from the file, and look for files beside it.
    """
    lines = list(_OPTIONS)
    for entry in lock.distributions:
        artifacts = [*entry.wheels, *(one for one in (entry.sdist, entry.archive) if one is not None)]
        marker = f" ; {entry.marker}" if entry.marker else ""
        lines += _requirement(f"{entry.name}=={entry.version}{marker}", artifacts)
    return ("\n".join(lines) + "\n").encode()


def requirements_for(resolution: Resolution) -> bytes:
    """Return hashed requirements for one target, without markers."""
    lines = list(_OPTIONS)
    for item in resolution.selected:
        lines += _requirement(f"{item.name}=={item.version}", [item.artifact] if item.artifact else [])
    return ("\n".join(lines) + "\n").encode()


def is_own(filename: str, data: bytes) -> bool:
    """Tell whether a file beside artifacts is one that this module wrote, and may be written again.

    The lock of a project is made by envid, too: it is told by its inputs, and by artifacts that are elsewhere.
    """
    if filename != LOCK:
        return data.startswith(f"{_OPTIONS[0]}\n".encode())
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return False
    packages, tool = document.get("packages"), document.get("tool", {"envid": {}})
    envid = tool.get("envid") if isinstance(tool, dict) and tool.keys() == {"envid"} else None
    if document.get("created-by") != "envid" or not isinstance(envid, dict) or not isinstance(packages, list):
        return False
    return envid.keys() <= {"format", "digest"} and all(_is_beside(package) for package in packages)


def _is_beside(package: object) -> bool:
    if not isinstance(package, dict):
        return False
    wheels = package.get("wheels", [])
    artifacts = [*(wheels if isinstance(wheels, list) else [None])]
    artifacts += [package[name] for name in ("sdist", "archive") if name in package]
    paths = [one.get("path") if isinstance(one, dict) and "url" not in one else None for one in artifacts]
    return all(isinstance(path, str) and "/" not in path for path in paths)


def differ(resolutions: Iterable[Resolution]) -> bool:
    """Tell whether the targets do not all take the same versions."""
    return len({tuple(_version(item) for item in resolution.selected) for resolution in resolutions}) > 1


def _version(item: Selected) -> tuple[str, str | None]:
    return item.name, item.version


def _requirement(line: str, artifacts: Iterable[Artifact]) -> list[str]:
    parts = [line, *(f"--hash=sha256:{digest}" for digest in sorted(artifact.sha256 for artifact in artifacts))]
    return [f"{'    ' if number else ''}{part}{' ' + chr(92) if number < len(parts) - 1 else ''}"
            for number, part in enumerate(parts)]  # fmt: skip


def _beside(entry: LockedDistribution, chosen: Set[str]) -> LockedDistribution:
    wheels = [wheel for wheel in entry.wheels if wheel.sha256 in chosen]
    archive = entry.archive if entry.archive is not None and entry.archive.sha256 in chosen else None
    sdist = entry.sdist if entry.sdist is not None and entry.sdist.sha256 in chosen else None
    if archive is not None and archive.filename.endswith(".whl"):
        # As an archive it would be installed as a direct URL; beside the lock it is a wheel like any other.
        wheels, archive = [replace(archive, kind="wheel")], None
    return replace(
        entry,
        index=None,
        wheels=tuple(_local(wheel) for wheel in wheels),
        sdist=_local(sdist) if sdist is not None else None,
        archive=_local(archive) if archive is not None else None,
    )


def _local(artifact: Artifact) -> Artifact:
    return replace(artifact, url=None, path=artifact.filename)
