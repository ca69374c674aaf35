"""What one target takes from a lock (PEP 751, "Installation")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from envid.errors import InvalidLock, NoCompatibleArtifact, TargetNotCovered
from envid.lock.pylock import read, skim
from envid.lock.reader import Row
from envid.values.artifact import Lock, LockedDistribution, Resolution, Selected
from envid.values.marker import evaluate, satisfies, truth, undetermined, variables
from envid.values.target import Target
from envid.values.wheel_tags import best_wheel, is_wheel, rank

Entry = LockedDistribution | Row
"""Both readers' entries; what decides whether one applies is called alike in both."""

E = TypeVar("E", LockedDistribution, Row)


def select(lock: Lock, target: Target) -> Resolution:
    """Return the distributions that ``lock`` yields for ``target``, with no extra and the default groups active.

    Raises TargetNotCovered, InvalidLock (two entries of one name apply), NoCompatibleArtifact,
    IdentityUnknown (a marker depends on what the target leaves open).
    """
    chosen = [take(entry, target) for entry in applying(lock, lock.distributions, target)]
    return _resolution(chosen, lock.distributions)


def resolve_quick(data: bytes, target: Target, *, path: str) -> Resolution:
    """Return ``select(read(data, path=path), target)``, building only what the target takes where that is possible."""
    found = skim(data, path=path)
    if found is None:
        return select(read(data, path=path), target)
    lock, rows = found
    chosen = []
    for row in applying(lock, rows, target):
        artifact = row.best(target) or row.sdist
        if artifact is None:
            chosen.append(take(row.distribution(), target))
        else:
            chosen.append(Selected(name=row.name, version=row.version, artifact=artifact))
    return _resolution(chosen, rows)


def _resolution(chosen: list[Selected], entries: Sequence[Entry]) -> Resolution:
    markers = {entry.marker for entry in entries if entry.marker is not None}
    consulted = frozenset[str]().union(*map(variables, markers))
    chosen.sort(key=lambda selected: selected.name)
    return Resolution(selected=tuple(chosen), consulted=tuple(sorted(consulted)), markers=tuple(sorted(markers)))


def applying(lock: Lock, entries: Sequence[E], target: Target) -> list[E]:
    """Return those of ``entries`` that apply to ``target``, one per name at most.

    ``lock`` gives what goes for all of them. Raises as ``select``, but for NoCompatibleArtifact.
    """
    _check_covered(lock, target)
    found: dict[str, E] = {}
    for entry in entries:
        if entry.marker is not None and not evaluate(entry.marker, target, groups=lock.default_groups):
            continue
        if entry.requires_python is not None:
            _check_python(f"{entry.name} {entry.version or ''}".rstrip(), entry.requires_python, target)
        if (other := found.get(entry.name)) is not None:
            raise InvalidLock(
                f"{entry.name} has two entries that apply to {target.name}: {other.version} and {entry.version}",
                package=entry.name,
            )
        found[entry.name] = entry
    return list(found.values())


def _check_covered(lock: Lock, target: Target) -> None:
    if lock.requires_python is not None:
        _check_python("the lock", lock.requires_python, target)
    if not lock.environments:
        return
    answers = {marker: truth(marker, target) for marker in lock.environments}
    if True in answers.values():
        return
    for marker, answer in answers.items():
        if answer is None:
            raise undetermined(f"environment `{marker}`", target)
    raise TargetNotCovered(f"the lock does not cover {target.name}", target=target.name)


def _check_python(subject: str, specifiers: str, target: Target) -> None:
    answer = satisfies(specifiers, target)
    if answer is None:
        raise undetermined(f"requires-python `{specifiers}` of {subject}", target)
    if not answer:
        problem = f"{subject} requires Python {specifiers}, which {target.name} is not"
        raise TargetNotCovered(problem, target=target.name)


def take(entry: LockedDistribution, target: Target) -> Selected:
    """Return what ``target`` takes of ``entry``: source, archive, best wheel, sdist; raise NoCompatibleArtifact."""
    if entry.source is not None:
        return Selected(name=entry.name, version=entry.version, source=entry.source)
    artifact = entry.archive
    if artifact is not None and is_wheel(artifact) and rank(artifact.filename, target) is None:
        # PEP 751 leaves this to the installer, which would fail in the middle of its work.
        raise NoCompatibleArtifact(
            f"{entry.name} {entry.version or ''} is {artifact.filename}, which {target.name} cannot use",
            package=entry.name, target=target.name,
        )  # fmt: skip
    if entry.wheels:
        by_name = {wheel.filename: wheel for wheel in entry.wheels}
        best = best_wheel(list(by_name), target)
        artifact = None if best is None else by_name[best]
    artifact = artifact or entry.sdist
    if artifact is None:
        raise NoCompatibleArtifact(
            f"{entry.name} {entry.version or ''} has no wheel for {target.name} and no source archive",
            hint=f"there is {', '.join(wheel.filename for wheel in entry.wheels[:4])}"
            + (f" and {len(entry.wheels) - 4} more" if len(entry.wheels) > 4 else ""),
            package=entry.name, target=target.name,
        )  # fmt: skip
    return Selected(name=entry.name, version=entry.version, artifact=artifact)
