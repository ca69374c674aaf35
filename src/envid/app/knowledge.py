"""What is known about the contents of the wheels that an environment was made of, and what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from envid.app.sourced import judge
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.errors import DigestMismatch, InvalidWheel, TooLarge, UnsafePath
from envid.installed import note
from envid.installed.check import Survey
from envid.installed.expected import Expected, Layout
from envid.installed.proof import Place, prove
from envid.installed.wheel import read_contents
from envid.store.contents import ContentRows, load_rows, rows_of, save
from envid.store.place import Place as Store
from envid.store.wheels import artifact_path
from envid.values.artifact import Artifact, Lock, Selected
from envid.values.digest import blake3_hex
from envid.values.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What should be on disk, as far as anybody knows."""

    expected: Expected
    findings: tuple[Finding, ...]
    unverified: int
    """Distributions that nothing is known about."""
    trees: bool
    """Whether files outside of the environment had a say: source trees."""


def gather(
    ws: Workspace, lock: Lock, surveyed: Survey, layout: Layout, *, wheelhouse: str | None = None,
    given: Mapping[str, ContentRows],
) -> Knowledge:  # fmt: skip
    """Lay out every distribution of ``surveyed`` that is installed as selected and whose contents are known.

    In this order: the contents store; a wheel in envid's own store, beside the lock or in
    ``wheelhouse``, held to its sha256; the content digest in the lock, which proves the installed RECORD.
    ``given`` are contents that are known otherwise, by name.
    """
    with opened(ws) as store:
        return _gather(ws, store, lock, surveyed, layout, wheelhouse, given)


def _gather(
    ws: Workspace, store: Store, lock: Lock, surveyed: Survey, layout: Layout, wheelhouse: str | None,
    given: Mapping[str, ContentRows],
) -> Knowledge:  # fmt: skip
    expected = Expected(layout)
    findings: list[Finding] = []
    unverified = 0
    trees = False
    known: note.Note | None = None
    wheels = {(one.name, one.version): one.wheels for one in lock.distributions if len(one.wheels) > 1}
    for item, place in surveyed.matched.values():
        artifact = item.artifact
        if artifact is None or not artifact.filename.endswith(".whl"):
            known = note.read(Path(place.root)) if known is None else known
            findings += judge(ws, item, place, known)
            trees = trees or item.source is not None
            unverified += 1
            continue
        rows = given.get(place.name) or _rows(ws, store, artifact, wheelhouse)
        if rows is None or not _same_wheel(place, rows):
            for other in wheels.get((item.name, item.version), ()):
                others = _rows(ws, store, other, wheelhouse) if other.sha256 != artifact.sha256 else None
                if others is not None and _same_wheel(place, others):
                    findings.append(_other_wheel(place, other, artifact))
                    rows = others
                    break
        if rows is not None:
            expected.add(rows, headers_name=_headers_name(place, rows))
        elif not _prove(lock, artifact, item, place, expected):
            findings.append(_unverified(item, place))
            unverified += 1
    return Knowledge(expected=expected, findings=tuple(findings), unverified=unverified, trees=trees)


def _same_wheel(place: Place, rows: ContentRows) -> bool:
    """Tell by its WHEEL file, which names the tags, whether the wheel of ``rows`` was installed."""
    path = f"{rows.dist_info}/WHEEL"
    data = place.read("WHEEL", 1024 * 1024)
    return data is not None and path in rows.paths and rows.blake3[rows.paths.index(path)] == blake3_hex(data)


def _other_wheel(place: Place, actual: Artifact, expected: Artifact) -> Finding:
    return Finding(
        code="env.artifact", severity="error", subject=place.name, path=place.directory, expected=expected.filename,
        actual=actual.filename, message="another wheel of the locked version is installed than this target takes",
        hint="run `envid sync`, or name the target that the environment was made for with --target",
    )  # fmt: skip


def _prove(lock: Lock, artifact: Artifact, item: Selected, place: Place, expected: Expected) -> bool:
    digest = (lock.contents or {}).get(artifact.sha256)
    proven = prove(place, digest) if digest else None
    if proven is None or digest is None:
        return False
    expected.add_proven(
        name=place.name, version=item.version or "", dist_info=place.directory, digest=digest, files=proven.files,
        tails=proven.tails, entry_points=proven.entry_points,
    )  # fmt: skip
    return True


def _rows(ws: Workspace, store: Store, artifact: Artifact, wheelhouse: str | None) -> ContentRows | None:
    rows = load_rows(store, artifact.sha256)
    if rows is not None:
        return rows
    for path in _wheels(ws, artifact, wheelhouse):
        try:
            contents = read_contents(path, filename=artifact.filename, sha256=artifact.sha256)
        except (DigestMismatch, InvalidWheel, UnsafePath, TooLarge, OSError):
            continue
        # Whether or not it can be kept: this is what the wheel holds.
        save(store, contents)
        return rows_of(contents)
    return None


def _wheels(ws: Workspace, artifact: Artifact, wheelhouse: str | None) -> Iterator[Path]:
    candidates = [artifact_path(ws.cache, artifact.sha256, artifact.filename)]
    if ws.former is not None:
        candidates.append(artifact_path(ws.former, artifact.sha256, artifact.filename))
    if wheelhouse is not None:
        candidates.append(Path(os.path.abspath(wheelhouse), artifact.filename))
    if artifact.path is not None:
        candidates.append(ws.root / "lockfiles" / artifact.path)
    return (path for path in candidates if path.is_file())


def _headers_name(place: Place, rows: ContentRows) -> str | None:
    """Return how the installer spelled the distribution below the headers directory, when it has headers."""
    if not any(scheme == "headers" for scheme, _, _ in rows.schemes):
        return None
    stem = rows.dist_info.removesuffix(".dist-info").rpartition("-")[0]
    for candidate in (rows.name, stem, stem.replace("_", "-")):
        if os.path.isdir(f"{place.root}/{place.layout.headers}/{candidate}"):
            return candidate
    return rows.name


def _unverified(item: Selected, place: Place) -> Finding:
    return Finding(
        code="env.unverified", severity="error", subject=place.name, path=place.directory,
        message=f"no digest of the contents of {place.name} is known: nothing says what its files should be",
        expected=item.artifact.filename if item.artifact is not None else None,
        hint="run `envid sync` or `envid vendor` once on this host, or lock with `contents = true`",
    )  # fmt: skip
