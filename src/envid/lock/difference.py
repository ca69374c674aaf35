"""What changed between two locks, package by package; the same file with another hash is an alert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from envid.errors import ConfigError
from envid.values.artifact import Artifact, Lock, LockedDistribution
from envid.values.finding import Finding, Severity
from envid.values.requirement import canonical_marker

ChangeClass = Literal["added", "removed", "version", "artifact", "rehashed", "marker", "source"]

CLASSES: Final[Mapping[ChangeClass, str]] = {
    "rehashed": "the same file name with another hash: an artifact is not replaced in an honest index",
    "added": "only the newer lock has it",
    "removed": "only the older lock has it",
    "version": "another version",
    "source": "another origin: index, archive, repository or directory",
    "marker": "it applies to other environments",
    "artifact": "files were added to or removed from the same version",
}
"""Each class and its meaning, in the order in which the classes of one distribution are shown."""

ALARMS: Final[Mapping[str, tuple[str, Severity]]] = {
    "rehashed": ("diff.rehashed", "error"),
    "source": ("diff.source", "warning"),
}
"""Classes that somebody should look at before installing, with the finding they make."""

_COMMIT: Final = re.compile(r"(?P<place>.+)@(?P<commit>[0-9a-f]{40}|[0-9a-f]{64})(?P<below>#.*)?")

REHASHED_HINT: Final = "do not install it before you know who replaced the file: index, mirror, or somebody on the way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference."""

    name: str
    """Normalised name of the distribution."""
    change: ChangeClass
    old: str = ""
    """In words for the class: versions, file names, ``FILE sha256:HEX``, markers or origins; empty for none."""
    new: str = ""


def difference(old: Lock, new: Lock) -> tuple[Change, ...]:
    """Return every difference from ``old`` to ``new``, in order of (name, class, old, new).

    The URL of an artifact, sizes, upload times, order and spelling are none. Several entries of one name
    (forks) are compared as a set.
    """
    before, after = _by_name(old), _by_name(new)
    changes: list[Change] = []
    for name in before.keys() | after.keys():
        changes += _distribution(name, before.get(name, ()), after.get(name, ()))
    order = list(CLASSES)
    return tuple(sorted(changes, key=lambda item: (item.name, order.index(item.change), item.old, item.new)))


def findings(changes: Iterable[Change]) -> tuple[Finding, ...]:
    """Return the findings of ``ALARMS`` among ``changes``."""
    return tuple(
        Finding(
            code=ALARMS[item.change][0], severity=ALARMS[item.change][1], subject=item.name, message=sentence(item),
            expected=item.old or None, actual=item.new or None,
            hint=REHASHED_HINT if item.change == "rehashed" else None,
        )
        for item in changes
        if item.change in ALARMS
    )  # fmt: skip


def sentence(change: Change) -> str:
    """Return ``change`` in words."""
    name, old, new = change.name, change.old, change.new
    if change.change == "rehashed":
        return f"{name}: {old.partition(' ')[0]} had {old.partition(' ')[2]} and has {new.partition(' ')[2]}"
    return f"{name}: {CLASSES[change.change]}: `{old or 'none'}` became `{new or 'none'}`"


def line(change: Change, versions: Mapping[str, str]) -> str:
    """Return ``change`` as one line of a report, after a sign; ``versions``: by name, what the newer lock has."""
    name, old, new = change.name, change.old, change.new
    subject = f"~ {name} {versions.get(name, '')}".rstrip()
    if change.change == "added":
        return f"+ {name} {new}"
    if change.change == "removed":
        return f"- {name} {old}"
    if change.change == "version":
        return f"~ {name} {old} -> {new}"
    if change.change == "artifact":
        counts = [(len(side.split(", ")) if side else 0, verb) for side, verb in ((new, "added"), (old, "removed"))]
        told = [f"{count} {'file' if count == 1 else 'files'} {verb}" for count, verb in counts if count]
        return f"{subject}: {', '.join(told)}"
    if change.change == "rehashed":
        return f"! {name}: {old} -> {new.partition(' ')[2]}"
    commits = [_COMMIT.fullmatch(side) for side in (old, new)]
    if commits[0] and commits[1] and commits[0]["place"] == commits[1]["place"]:
        return f"{subject} commit {commits[0]['commit'][:7]} -> {commits[1]['commit'][:7]}"
    return f"{subject}: {change.change} {old or 'none'} -> {new or 'none'}"


def versions(lock: Lock) -> dict[str, str]:
    """Return name to its versions, sorted and joined; of a source without version, its commit."""
    return {name: ", ".join(_versions(entries)) or _unversioned(entries) for name, entries in _by_name(lock).items()}


def _by_name(lock: Lock) -> dict[str, tuple[LockedDistribution, ...]]:
    found: dict[str, tuple[LockedDistribution, ...]] = {}
    for entry in lock.distributions:
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _distribution(name: str, old: Sequence[LockedDistribution], new: Sequence[LockedDistribution]) -> Iterator[Change]:
    versions_old, versions_new = _versions(old), _versions(new)
    if not old:
        yield Change(name=name, change="added", new=", ".join(versions_new) or _unversioned(new))
        return
    if not new:
        yield Change(name=name, change="removed", old=", ".join(versions_old) or _unversioned(old))
        return
    # The alert knows no versions: a file name holds its version, and a hostile lock may say another one beside it.
    yield from _rehashed(name, old, new)
    if versions_old != versions_new:
        yield Change(name=name, change="version", old=", ".join(versions_old), new=", ".join(versions_new))
    origins = tuple(sorted({_origin(entry) for entry in side}) for side in (old, new))
    if origins[0] != origins[1] and not _only_index_forgotten(old, new):
        yield Change(name=name, change="source", old=", ".join(origins[0]), new=", ".join(origins[1]))
    for version in sorted({entry.version for entry in old} & {entry.version for entry in new}, key=str):
        sides = ([entry for entry in side if entry.version == version] for side in (old, new))
        yield from _same_version(name, *sides)


def _same_version(name: str, old: Sequence[LockedDistribution], new: Sequence[LockedDistribution]) -> Iterator[Change]:
    markers = tuple(sorted({_marker(entry) for entry in side}) for side in (old, new))
    if markers[0] != markers[1]:
        yield Change(name=name, change="marker", old=" or ".join(markers[0]), new=" or ".join(markers[1]))
    before, after = _hashes(old), _hashes(new)
    gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    if gone or come:
        yield Change(name=name, change="artifact", old=", ".join(gone), new=", ".join(come))


def _rehashed(name: str, old: Sequence[LockedDistribution], new: Sequence[LockedDistribution]) -> Iterator[Change]:
    before, after = _hashes(old), _hashes(new)
    for filename in sorted(before.keys() & after.keys()):
        shared = before[filename].keys() & after[filename].keys()
        # sha256 first: it is the one that installers look at. Any other that differs is no less of an alarm.
        for algorithm in sorted(shared, key=lambda one: (one != "sha256", one)):
            was, now = before[filename][algorithm], after[filename][algorithm]
            if was != now:
                texts = (f"{filename} {algorithm}:{'|'.join(sorted(side))}" for side in (was, now))
                yield Change(name=name, change="rehashed", old=next(texts), new=next(texts))
                break


def _hashes(entries: Iterable[LockedDistribution]) -> dict[str, dict[str, set[str]]]:
    """Return file name to algorithm to digests."""
    found: dict[str, dict[str, set[str]]] = {}
    for entry in entries:
        for artifact in _artifacts(entry):
            known = found.setdefault(artifact.filename, {})
            for algorithm, digest in (("sha256", str(artifact.sha256)), *artifact.other_hashes):
                known.setdefault(algorithm, set()).add(digest)
    return found


def _artifacts(entry: LockedDistribution) -> Iterator[Artifact]:
    yield from entry.wheels
    if entry.sdist is not None:
        yield entry.sdist
    if entry.archive is not None:
        yield entry.archive


def _versions(entries: Iterable[LockedDistribution]) -> list[str]:
    return sorted({entry.version for entry in entries if entry.version is not None})


def _unversioned(entries: Iterable[LockedDistribution]) -> str:
    commits = {entry.source.commit for entry in entries if entry.source is not None and entry.source.commit}
    return ", ".join(sorted(commits)) or "local"


def _marker(entry: LockedDistribution) -> str:
    if entry.marker is None:
        return "always"
    try:
        return canonical_marker(entry.marker, where=entry.name)
    except ConfigError:
        return entry.marker


def _origin(entry: LockedDistribution) -> str:
    source, archive = entry.source, entry.archive
    if source is not None and source.kind == "vcs":
        place = source.url or source.path or ""
        below = f"#{source.subdirectory}" if source.subdirectory else ""
        return f"{source.vcs or 'vcs'} {place}@{source.commit}{below}"
    if source is not None:
        return f"{'editable' if source.editable else 'directory'} {source.path}"
    if archive is not None:
        return f"archive {archive.url or archive.path}" + (f"#{archive.subdirectory}" if archive.subdirectory else "")
    return f"index {entry.index}" if entry.index else "index"


def _only_index_forgotten(old: Sequence[LockedDistribution], new: Sequence[LockedDistribution]) -> bool:
    # uv names the index in an export and not in a compilation, and a neutral lock never does: silence is no move.
    sides = [{_origin(entry) for entry in side} for side in (old, new)]
    return "index" in sides[0] | sides[1] and all(origin.startswith("index") for origin in sides[0] | sides[1])
