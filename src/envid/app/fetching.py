"""From locked artifacts to verified files on disk, and to what is known of their contents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from envid import atomic
from envid.app.network import access_of, indexes_of, places_of
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.errors import DigestMismatch, SdistRefused
from envid.installed.wheel import read_contents
from envid.lock.download import Request, download
from envid.lock.fetch import Access
from envid.lock.indexes import Index
from envid.lock.nearby import nearby
from envid.store import contents as known_contents
from envid.store.wheels import artifact_path, file_sha256
from envid.values.artifact import Artifact, NormalizedName, Resolution, Sha256
from envid.values.progress import SILENT, Progress
from envid.values.target import Target
from envid.values.wheel_tags import normalize_name

T = TypeVar("T")
R = TypeVar("R")

_SDIST: Final = re.compile(r"(?P<name>.+)-[^-]+?\.(tar\.gz|zip|tar\.bz2|tar\.xz|tgz)")


def fetch_artifacts(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> Mapping[Sha256, Path]:
    """Return a local file for each artifact, its bytes held to the sha256 in this very call.

    A file at the artifact's ``path`` (relative to the lock ``name``) is used as it is; the others come
    from envid's store, or are fetched into it. The contents of every wheel are known to
    ``store.contents`` afterwards, where that can be written. Raises Offline naming what is missing, Unreachable,
    InvalidIndexPage, DigestMismatch, InvalidWheel, UnsafePath, TooLarge, ConfigError, WriteFailed.
    """
    wanted = {artifact.sha256: artifact for artifact in artifacts}
    found = _fetched(workspace, wanted, name, progress)
    learn_contents(workspace, ((wanted[sha256], path) for sha256, path in found.items()), progress=progress)
    return found


def fetch_contents(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> Mapping[Sha256, str]:
    """Return the content digests of wheels that ``store.contents`` does not know; raise as ``fetch_artifacts``."""
    wanted = {artifact.sha256: artifact for artifact in artifacts}
    found = _fetched(workspace, wanted, name, progress)
    return learn_contents(workspace, ((wanted[sha256], path) for sha256, path in found.items()), progress=progress)


def _fetched(
    workspace: Workspace, wanted: Mapping[Sha256, Artifact], name: str, progress: Progress
) -> dict[Sha256, Path]:
    found, missing = local_files(workspace, wanted.values(), name=name, progress=progress)
    fetch_missing(workspace, missing, name=name, progress=progress)
    for artifact in missing:
        found[artifact.sha256] = artifact_path(workspace.cache, artifact.sha256, artifact.filename)
    return found


def local_files(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> tuple[dict[Sha256, Path], list[Artifact]]:
    """Return the artifacts that are on this machine with the right bytes, and those that are not.

    Raises DigestMismatch for a file in the wheelhouse whose bytes are wrong; a wrong file in
    envid's own store is removed instead.
    """
    listed = list(artifacts)
    folder = workspace.lock_path(name).parent
    places = _each(lambda artifact: _on_disk(workspace, artifact, folder), listed, "Checking files", progress)
    found = {artifact.sha256: path for artifact, path in zip(listed, places, strict=True) if path is not None}
    return found, [artifact for artifact, path in zip(listed, places, strict=True) if path is None]


def _each(action: Callable[[T], R], items: Sequence[T], label: str, progress: Progress) -> list[R]:
    """Return ``action`` of each item, several at once: hashing and unpacking let other threads run."""
    from concurrent.futures import ThreadPoolExecutor

    if not items:
        return []
    answers = []
    progress.begin(label, len(items), "files")
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    patient = True
    try:
        for answer in pool.map(action, items):
            answers.append(answer)
            progress.advance(1)
    except KeyboardInterrupt:
        # A disk that does not answer must not keep the command from ending. Nothing is written here but whole.
        patient = False
        raise
    finally:
        # Not the pool's own way of ending, which would do all the rest first.
        pool.shutdown(wait=patient, cancel_futures=True)
        progress.end()
    return answers


def _on_disk(workspace: Workspace, artifact: Artifact, folder: Path) -> Path | None:
    if artifact.path is not None:
        beside = folder / artifact.path
        actual = file_sha256(beside)
        if actual == artifact.sha256:
            return beside
        if actual is not None:
            raise _other(artifact, beside, actual)
    if workspace.former is not None:
        before = artifact_path(workspace.former, artifact.sha256, artifact.filename)
        if file_sha256(before) == artifact.sha256:
            return before
    kept = artifact_path(workspace.cache, artifact.sha256, artifact.filename)
    actual = file_sha256(kept)
    if actual == artifact.sha256:
        return kept
    _clear(kept, wrong=actual is not None)
    return None


def _clear(kept: Path, *, wrong: bool) -> None:
    """Take away what is no file where one belongs in the store, a ``wrong`` file as well, or no directory above it."""
    for directory in reversed(list(kept.parents)[:3]):
        if os.path.lexists(directory) and not os.path.isdir(directory):
            atomic.remove_file(directory)
            return
    if os.path.isdir(kept) and not os.path.islink(kept):
        atomic.remove_tree(kept)
    elif wrong or not os.path.isfile(kept):
        atomic.remove_file(kept)


def _other(artifact: Artifact, path: Path, actual: str | None) -> DigestMismatch:
    return DigestMismatch(
        f"{path} is not the file in the lock: sha256 {actual}, not {artifact.sha256}",
        file=artifact.filename, path=str(path), expected=artifact.sha256, actual=actual,
    )  # fmt: skip


def fetch_missing(
    workspace: Workspace, artifacts: Iterable[Artifact], *, name: str = "default", progress: Progress = SILENT
) -> int:
    """Fetch artifacts into envid's store; return the number of bytes that came. Raises as ``fetch_artifacts``.

    What a local folder or index of the caller's has, with the right bytes, is taken from there.
    """
    listed = list(artifacts)
    if not listed:
        return 0
    indexes = indexes_of(workspace, name)
    access = access_of(workspace, indexes)
    near = _near(listed, access, indexes.places)
    requests = [
        Request(
            filename=artifact.filename,
            sha256=artifact.sha256,
            project=project_of(artifact.filename),
            destination=artifact_path(workspace.cache, artifact.sha256, artifact.filename),
            url=near.get(artifact.sha256, artifact.url),
            size=artifact.size,
        )
        for artifact in listed
    ]
    return download(
        requests,
        access=access,
        indexes=lambda: places_of(indexes),
        progress=progress,
    )


def _near(artifacts: Iterable[Artifact], access: Access, indexes: Sequence[Index]) -> Mapping[Sha256, str]:
    """Return the ``file:`` URL of each artifact with a URL that lies in a local folder or index, right bytes and all.

    Wrong bytes there are passed over, unless there is nowhere else to ask: then they raise DigestMismatch.
    """
    # Those without a URL are looked up in all indexes anyway, local ones first.
    listed = [artifact for artifact in artifacts if artifact.url is not None]
    places = nearby([(project_of(one.filename), one.filename) for one in listed], access=access, indexes=indexes)
    found: dict[Sha256, str] = {}
    for artifact in listed:
        there = {path: file_sha256(path) for path in places.get(artifact.filename, ())}
        right = next((path for path, actual in there.items() if actual == artifact.sha256), None)
        if right is not None:
            found[artifact.sha256] = right.as_uri()
        elif there and access.offline:
            path, actual = next(iter(there.items()))
            raise _other(artifact, path, actual)
    return found


def learn_contents(
    workspace: Workspace, files: Iterable[tuple[Artifact, Path]], *, progress: Progress = SILENT
) -> Mapping[Sha256, str]:
    """Take the contents of each wheel that ``store.contents`` does not know yet; raise InvalidWheel, UnsafePath.

    Returns the content digests of those, because a store that cannot be written does not know them afterwards.
    """
    with opened(workspace) as place:
        unknown = [
            (artifact, path) for artifact, path in files
            if artifact.filename.endswith(".whl") and known_contents.load_rows(place, artifact.sha256) is None
        ]  # fmt: skip

        def learn(item: tuple[Artifact, Path]) -> tuple[Sha256, str]:
            artifact, path = item
            contents = read_contents(path, filename=artifact.filename, sha256=artifact.sha256)
            known_contents.save(place, contents)
            return contents.sha256, contents.digest

        return dict(_each(learn, unknown, "Reading wheels", progress))


def project_of(filename: str) -> NormalizedName:
    """Return the normal name of the project that a wheel or a source archive belongs to, from its file name."""
    match = None if filename.endswith(".whl") else _SDIST.fullmatch(filename)
    stem = match["name"] if match else filename.partition("-")[0]
    return NormalizedName(re.sub(r"[-_.]+", "-", stem).lower())


def refuse_sdists(workspace: Workspace, resolution: Resolution, target: Target, *, name: str) -> None:
    """Raise SdistRefused for a source archive of a distribution that the lock ``name`` does not allow by name."""
    allowed = {normalize_name(text) for text in workspace.intent.lock_settings(name).allow_sdist}
    for item in resolution.selected:
        if item.artifact is not None and not item.artifact.filename.endswith(".whl") and item.name not in allowed:
            raise SdistRefused(
                f"{item.name} {item.version or ''} has only a source archive for {target.name}", package=item.name,
                hint=f'building it runs its code; to allow that: [tool.envid.lock] allow-sdist = ["{item.name}"]',
            )  # fmt: skip
