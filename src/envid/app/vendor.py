"""``envid vendor``: a wheelhouse for several targets that plain pip and plain uv install offline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from envid import atomic
from envid.app.fetching import fetch_missing, learn_contents, local_files, refuse_sdists
from envid.app.looked import places_told
from envid.app.outcome import Outcome, count
from envid.app.project import lock_shown
from envid.app.selecting import resolve, target_for
from envid.app.workspace import Workspace
from envid.errors import NoCompatibleArtifact, UsageError
from envid.installed.wheelhouse import EXTRA_HINT
from envid.lock import wheelhouse
from envid.lock.pylock import parse, read
from envid.store.wheels import artifact_path, file_sha256
from envid.values.amount import show_size
from envid.values.artifact import Artifact, Lock, Resolution, Sha256
from envid.values.finding import Finding
from envid.values.progress import SILENT, Progress
from envid.values.target import Target
from envid.whole import open_regular


def vendor(
    workspace: Workspace,
    directory: str,
    *,
    targets: Sequence[str] = (),
    name: str = "default",
    progress: Progress = SILENT,
) -> Outcome:
    """Fill ``directory`` with the artifacts of the lock ``name``, a path-based lock and hashed requirements.

    ``targets`` defaults to those declared, and to the host where none is. Equal locks and targets
    give equal bytes. Nothing is removed: what does not belong is a finding ``wheelhouse.extra``.
    Raises what ``fetch_artifacts`` raises, and LockNotFound, InvalidLock, TargetNotCovered,
    NoCompatibleArtifact, SdistRefused, DependencyRefused, WriteFailed, and UsageError for a directory with a file in
    the place of one of ours that envid did not write there.
    """
    lock = read(workspace.read_lock(name), path=lock_shown(name))
    resolutions = _resolutions(workspace, lock, targets, name)
    artifacts = wheelhouse.artifacts_of(resolutions.values())
    folder = Path(os.path.abspath(directory))
    texts = _texts(lock, resolutions)
    _insist_on_place(folder, texts)
    fetched, replaced = _fill(workspace, artifacts, folder, name=name, progress=progress)
    for filename, data in texts.items():
        atomic.write(folder / filename, data)
    extra = _extra(folder, {artifact.filename for artifact in artifacts} | texts.keys())
    size = sum((folder / artifact.filename).stat().st_size for artifact in artifacts)
    notes = [f"{folder}: {count(len(artifacts), 'file')}, {show_size(size)}, {fetched} fetched"]
    notes += [f"replaced {filename}, which was not the file in the lock" for filename in replaced]
    return Outcome(
        command="vendor",
        notes=tuple(notes),
        data={
            "directory": str(folder),
            "files": len(artifacts),
            "bytes": size,
            "fetched": fetched,
            "reused": len(artifacts) - fetched,
            "targets": sorted(target.name for target in resolutions),
        },
        findings=(*_source_archives(artifacts), *extra),
    )


def _insist_on_place(folder: Path, names: Iterable[str]) -> None:
    """Raise UsageError, before anything is written, unless files of these names in ``folder`` are ours to replace."""
    for name in names:
        path = folder / name
        try:
            with open_regular(path) as stream:
                own = wheelhouse.is_own(name, stream.read())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            own = False
        if not own:
            raise UsageError(
                f"{path} was not written by `envid vendor`, and is not replaced: nothing was written",
                hint="name a directory of its own for the wheelhouse", path=str(path),
            )  # fmt: skip


def _resolutions(workspace: Workspace, lock: Lock, targets: Sequence[str], name: str) -> Mapping[Target, Resolution]:
    wanted = [target_for(text) for text in targets] or list(workspace.intent.settings.targets) or [target_for(None)]
    resolutions = {target: resolve(workspace, lock, target) for target in wanted}
    for target, resolution in resolutions.items():
        refuse_sdists(workspace, resolution, target, name=name)
    return resolutions


def _texts(lock: Lock, resolutions: Mapping[Target, Resolution]) -> dict[str, bytes]:
    """Return the files beside the artifacts, in the order in which they are written: the lock last."""
    if not resolutions:
        raise NoCompatibleArtifact("there is no target")
    local = wheelhouse.lock_of(lock, resolutions)
    texts = {wheelhouse.REQUIREMENTS: wheelhouse.requirements_of(parse(local, path=wheelhouse.LOCK))}
    if wheelhouse.differ(resolutions.values()):
        for target, resolution in sorted(resolutions.items(), key=lambda item: item[0].name):
            texts[f"requirements-{target.name}.txt"] = wheelhouse.requirements_for(resolution)
    texts[wheelhouse.LOCK] = local
    return texts


def _fill(
    workspace: Workspace, artifacts: Sequence[Artifact], folder: Path, *, name: str, progress: Progress
) -> tuple[int, list[str]]:
    """Put every artifact into ``folder``; return how many were fetched, and the names of files replaced."""
    atomic.make_directory(folder)
    there = {artifact.filename: file_sha256(folder / artifact.filename) for artifact in artifacts}
    absent = [artifact for artifact in artifacts if there[artifact.filename] != artifact.sha256]
    found, missing = local_files(workspace, absent, name=name, progress=progress)
    with places_told(workspace, missing, name=name):
        fetch_missing(workspace, missing, name=name, progress=progress)
    sources: dict[Sha256, Path] = dict(found)
    for artifact in missing:
        sources[artifact.sha256] = artifact_path(workspace.cache, artifact.sha256, artifact.filename)
    for artifact in absent:
        atomic.place(sources[artifact.sha256], folder / artifact.filename)
    files = ((artifact, folder / artifact.filename) for artifact in artifacts)
    learn_contents(workspace, files, progress=progress)
    return len(missing), [artifact.filename for artifact in absent if there[artifact.filename] is not None]


def _extra(folder: Path, known: set[str]) -> tuple[Finding, ...]:
    """Return a finding for each entry of the wheelhouse that this command did not put there."""
    return tuple(
        Finding(
            code="wheelhouse.extra", severity="warning", subject=entry, path=entry,
            message=f"{entry} is in the wheelhouse and not in the lock for these targets",
            hint=EXTRA_HINT,
        )
        for entry in sorted(os.listdir(folder))
        if entry not in known
    )  # fmt: skip


def _source_archives(artifacts: Sequence[Artifact]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            code="wheelhouse.sdist", severity="warning", subject=artifact.filename, path=artifact.filename,
            message=f"{artifact.filename} has to be built where it is installed; what its build needs is not here",
            hint="build a wheel of it beforehand, or provide its build requirements there",
        )
        for artifact in artifacts
        if not artifact.filename.endswith(".whl")
    )  # fmt: skip
