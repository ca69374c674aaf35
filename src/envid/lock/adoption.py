"""Take over what another tool locked: translate it into a lock of ours, and say what does not survive.

Pure: a hashed requirements.txt names no files, so they are handed in as an index listed them.
"""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envid.errors import (
    DependencyRefused,
    IdentityUnknown,
    InvalidLock,
    NoCompatibleArtifact,
    SdistRefused,
    TargetNotCovered,
    Unreachable,
    UsageError,
)
from envid.lock.index import IndexFile
from envid.lock.redact import clean_url
from envid.lock.requirements_file import Pinned
from envid.lock.select import select
from envid.lock.write import environments_for
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName
from envid.values.marker import SETS, Comparison, Tree, parse_marker, truth
from envid.values.target import Target

Format = Literal["uv.lock", "pylock", "requirements"]

_OTHER_TOOLS: Final = {
    "poetry.lock": "export it first: `poetry export --format pylock.toml`, or a hashed requirements.txt",
    "pdm.lock": "export it first: `pdm export --format pylock`",
    "pipfile.lock": "export it first: `pipenv requirements --hash > requirements.txt`",
}

KINDS: Final = "adopt takes uv.lock, pylock.toml and hashed requirements.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the lock to be made is for."""

    project: NormalizedName | None
    """Left out when the other lock holds it: a lock of ours is of the dependencies."""
    extras: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    known_groups: frozenset[str] = frozenset()
    """Of the project; a default group of the file that is none of these is the tool's name for the project itself."""
    allow_sdist: frozenset[str] = frozenset()
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A lock of ours, and what the other one had that it has not: one sentence each."""

    lock: Lock
    dropped: tuple[str, ...] = ()
    covered: tuple[Target, ...] = ()
    """Declared targets that it serves: what ``environments`` says."""
    uncovered: tuple[tuple[str, str], ...] = ()
    """Declared targets that the other lock cannot serve, and why."""


def format_of(filename: str) -> Format:
    """Return what kind of lock a file of this name is; raise UsageError, naming the way for other tools' locks."""
    name = filename.replace("\\", "/").rpartition("/")[2].lower()
    if name == "uv.lock":
        return "uv.lock"
    if name in _OTHER_TOOLS:
        raise UsageError(f"envid cannot read {name}", hint=_OTHER_TOOLS[name])
    if name.endswith(".toml"):
        return "pylock"
    if name.endswith((".txt", ".in")):
        return "requirements"
    raise UsageError(f"`{ascii(name)[1:-1][:80]}` is no lock envid knows", hint=KINDS)


def take_over(lock: Lock, wanted: Wanted, *, moved: tuple[str, str]) -> Adopted:
    """Return ``lock`` as one of ours: one selection, without source archives that are not allowed.

    ``moved``: the directories of the file and of the new lock, relative to the project; relative paths
    are carried from one to the other. Raises SdistRefused, TargetNotCovered when no declared target
    can be served, InvalidLock.
    """
    dropped: list[str] = []
    entries = [_cleaned(entry, moved, dropped) for entry in _selection(lock, wanted, dropped)]
    if any(entry.name == wanted.project for entry in entries):
        dropped.append(f"the project {wanted.project} itself")
        entries = [entry for entry in entries if entry.name != wanted.project]
    if any(entry.index for entry in entries):
        dropped.append("the index that each distribution came from")
    kept = tuple(replace(entry, index=None) for entry in _buildless(entries, wanted, dropped))
    made = Lock(
        created_by="envid", distributions=kept, requires_python=lock.requires_python, environments=lock.environments
    )
    if not wanted.targets:
        return Adopted(lock=made, dropped=tuple(dict.fromkeys(dropped)))
    covered, uncovered = _coverage(made, wanted.targets)
    made = replace(made, environments=environments_for(covered))
    return Adopted(lock=made, dropped=tuple(dict.fromkeys(dropped)), covered=covered, uncovered=uncovered)


def from_pins(
    pins: Iterable[Pinned], files: Mapping[NormalizedName, Sequence[IndexFile]], *, path: str
) -> tuple[Lock, list[str]]:
    """Return the lock that hashed requirements make with the files an index lists, and what was lost.

    A file belongs to a pin when its sha256 is among the hashes. Raises Unreachable when no file of a
    pin is offered, InvalidLock when a hash belongs to another version, DependencyRefused.
    """
    dropped: list[str] = []
    entries = [
        _by_hash(pin, files.get(pin.name, ()), path, dropped) if pin.url is None else _by_url(pin, path) for pin in pins
    ]
    return Lock(created_by="requirements.txt", distributions=tuple(entries)), dropped


def names_on_this_machine(lock: Lock) -> list[NormalizedName]:
    """Return the distributions with a ``file:`` URL (``pip lock`` with a local index): a place that nobody else has."""
    return sorted({entry.name for entry in lock.distributions if any(map(_is_local, _files(entry)))})


def relocated(lock: Lock, files: Mapping[NormalizedName, Sequence[IndexFile]]) -> Lock:
    """Return ``lock`` with every ``file:`` URL replaced by where an index offers the same bytes.

    Raises DependencyRefused for a file that no index offers.
    """

    def placed(name: NormalizedName, artifact: Artifact) -> Artifact:
        if not _is_local(artifact):
            return artifact
        for file in files.get(name, ()):
            if file.sha256 == artifact.sha256 and not file.url.startswith("file:"):
                return replace(artifact, url=clean_url(file.url), size=artifact.size or file.size)
        problem = f"{artifact.filename} is only known by a place on this machine, and no index offers it"
        raise DependencyRefused(problem, hint="configure an index that has it, or use neutral = true", package=name)

    moved = (_each(entry, partial(placed, entry.name)) for entry in lock.distributions)
    return replace(lock, distributions=tuple(moved))


def _is_local(artifact: Artifact) -> bool:
    return artifact.url is not None and artifact.url.startswith("file:") and artifact.path is None


def _files(entry: LockedDistribution) -> Iterator[Artifact]:
    yield from entry.wheels
    yield from (artifact for artifact in (entry.sdist, entry.archive) if artifact is not None)


def _each(entry: LockedDistribution, change: Callable[[Artifact], Artifact]) -> LockedDistribution:
    return replace(
        entry,
        wheels=tuple(change(wheel) for wheel in entry.wheels),
        sdist=None if entry.sdist is None else change(entry.sdist),
        archive=None if entry.archive is None else change(entry.archive),
    )


def lost_tables(data: bytes) -> list[str]:
    """Return what a pylock.toml or uv.lock says and a lock of ours does not; empty when it is no TOML.

    Keys of a pylock.toml that envid does not know are kept, so they are not among these.
    """
    try:
        document: Mapping[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return []
    found = []
    if comments := sum(1 for line in data.splitlines() if line.lstrip().startswith(b"#")):
        found.append(f"{comments} comment(s)")
    theirs = [entry for entry in _list(document, "package") if isinstance(entry, dict)]
    standard = [entry for entry in _list(document, "packages") if isinstance(entry, dict)]
    if any("upload-time" in artifact for entry in (*theirs, *standard) for artifact in _artifacts(entry)):
        found.append("upload times")
    if edges := sum(1 for entry in theirs if entry.get("dependencies")):
        found.append(f"the dependencies recorded for {edges} distribution(s)")
    if document.get("options"):
        found.append("the options of the resolution")
    return found


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    value = table.get(key, [])
    return value if isinstance(value, list) else []


def _artifacts(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = [*_list(entry, "wheels"), entry.get("sdist"), entry.get("archive")]
    return [artifact for artifact in listed if isinstance(artifact, dict)]


# --- one selection ---------------------------------------------------------------------------


def _selection(lock: Lock, wanted: Wanted, dropped: list[str]) -> Iterator[LockedDistribution]:
    """Yield the entries that the extras and groups of ``wanted`` leave, those variables decided in their markers."""
    if lock.extras or lock.dependency_groups:
        held = [*(f"extra {name}" for name in lock.extras), *(f"group {name}" for name in lock.dependency_groups)]
        dropped.append(f"the choice among {', '.join(held)}: a lock of envid is one selection")
    # Some tools put the project's own dependencies into a default group of their own making.
    defaults = frozenset(lock.default_groups) - wanted.known_groups
    active = {"extras": wanted.extras, "dependency_groups": wanted.groups | defaults}
    for entry in lock.distributions:
        if entry.marker is None:
            yield entry
            continue
        decided = _decided(parse_marker(entry.marker), active)
        if decided is not False:
            yield replace(entry, marker=None if decided is True else _spelled(decided))


def _decided(tree: Tree, active: Mapping[str, frozenset[str]]) -> Tree | bool:
    if isinstance(tree, Comparison):
        if tree.variable not in SETS:
            return tree
        return (tree.literal in active[tree.variable]) is (tree.operator == "in")
    settles = tree.operator == "or"
    parts: list[Tree] = []
    for part in tree.parts:
        decided = _decided(part, active)
        if decided is settles:
            return settles
        if not isinstance(decided, bool):
            parts.append(decided)
    if len(parts) < 2:
        return parts[0] if parts else not settles
    return replace(tree, parts=tuple(parts))


def _spelled(tree: Tree) -> str:
    if isinstance(tree, Comparison):
        return str(tree)
    parts = (str(part) if isinstance(part, Comparison) else f"({_spelled(part)})" for part in tree.parts)
    return f" {tree.operator} ".join(parts)


def _cleaned(entry: LockedDistribution, moved: tuple[str, str], dropped: list[str]) -> LockedDistribution:
    """Return ``entry`` with its paths carried over and its URLs bare."""

    def carried(path: str | None) -> str | None:
        return None if path is None else posixpath.relpath(posixpath.join(moved[0], path), moved[1] or ".")

    def clean(artifact: Artifact) -> Artifact:
        bare = None if artifact.url is None else clean_url(artifact.url)
        if bare != artifact.url:
            dropped.append("credentials and queries in URLs")
        return replace(artifact, url=bare, path=carried(artifact.path))

    source = entry.source
    if source is not None:
        source = replace(source, path=carried(source.path), url=None if source.url is None else clean_url(source.url))
    return replace(_each(entry, clean), source=source)


def _buildless(entries: Iterable[LockedDistribution], wanted: Wanted, dropped: list[str]) -> list[LockedDistribution]:
    """Return the entries without the source archives that are not allowed; raise SdistRefused for those left empty."""
    kept, refused, count = [], [], 0
    for entry in entries:
        if entry.sdist is None or entry.name in wanted.allow_sdist:
            kept.append(entry)
            continue
        if entry.wheels:
            count += 1
            kept.append(replace(entry, sdist=None))
        elif _concerns(entry, wanted.targets):
            refused.append(f"{entry.name} {entry.version or ''}".strip())
        else:
            dropped.append(f"{entry.name}: only a source archive, and for no declared target")
    if refused:
        names = ", ".join(sorted(refused))
        hint = "allow it by name in [tool.envid.lock] allow-sdist, if you trust its build"
        raise SdistRefused(f"only a source archive is locked for {names}", hint=hint)
    if count:
        dropped.append(f"the source archives of {count} distribution(s), which have wheels and are not in allow-sdist")
    return kept


def _concerns(entry: LockedDistribution, targets: tuple[Target, ...]) -> bool:
    marker = entry.marker
    return not targets or marker is None or any(truth(marker, target) is not False for target in targets)


def _coverage(lock: Lock, targets: tuple[Target, ...]) -> tuple[tuple[Target, ...], tuple[tuple[str, str], ...]]:
    covered, uncovered = [], []
    for target in targets:
        try:
            select(lock, target)
        except (TargetNotCovered, NoCompatibleArtifact) as error:
            uncovered.append((target.name, error.message))
            continue
        except IdentityUnknown:
            # Some patch releases take one thing and some another: served, as in a lock that envid resolves.
            pass
        covered.append(target)
    if not covered:
        name, reason = uncovered[0]
        problem = f"the file serves none of the declared targets; {name}: {reason}"
        raise TargetNotCovered(problem, hint="run `envid lock` instead")
    return tuple(covered), tuple(uncovered)


# --- hashed requirements ---------------------------------------------------------------------


def _by_url(pin: Pinned, path: str) -> LockedDistribution:
    url = pin.url or ""
    filename = unquote(urlsplit(url).path).rpartition("/")[2]
    if url.partition(":")[0] not in ("http", "https") or not filename or len(pin.hashes) != 1:
        problem = f"{path}:{pin.line}: {pin.name} is not one file behind http(s) with one sha256"
        raise DependencyRefused(problem, hint="depend on a published version of it", line=pin.line)
    archive = Artifact(kind="archive", filename=filename, sha256=pin.hashes[0], url=url.partition("#")[0])
    version = _version_of(filename)
    return LockedDistribution(
        name=pin.name, version=None if version is None else str(version), marker=pin.marker, archive=archive
    )


def _by_hash(pin: Pinned, files: Sequence[IndexFile], path: str, dropped: list[str]) -> LockedDistribution:
    found: dict[str, IndexFile] = {}
    for file in files:
        if file.sha256 in pin.hashes:
            found.setdefault(file.filename, file)
    matched = {file.sha256 for file in found.values()}
    if not found:
        problem = f"no index offers a file of {pin.name} {pin.version} with a sha256 of {path}:{pin.line}"
        raise Unreachable(problem, hint="configure the index that the file was made from (UV_INDEX, [[tool.uv.index]])")
    if unknown := len(set(pin.hashes) - matched):
        dropped.append(f"{unknown} hash(es) of {pin.name} {pin.version} that no index offers a file for")
    wheels, sdist = [], None
    for filename in sorted(found):
        if not _same(_version_of(filename), pin.version):
            problem = f"{path}:{pin.line}: a sha256 of {pin.name} {pin.version} belongs to {filename}"
            raise InvalidLock(problem, path=path, line=pin.line, hint="write the file again")
        artifact = _artifact(found[filename])
        if artifact.kind == "wheel":
            wheels.append(artifact)
        elif sdist is None:
            sdist = artifact
    return LockedDistribution(name=pin.name, version=pin.version, marker=pin.marker, wheels=tuple(wheels), sdist=sdist)


def _artifact(file: IndexFile) -> Artifact:
    assert file.sha256 is not None
    kind: Literal["wheel", "sdist"] = "wheel" if file.filename.endswith(".whl") else "sdist"
    return Artifact(kind=kind, filename=file.filename, sha256=file.sha256, size=file.size, url=clean_url(file.url))


def _version_of(filename: str) -> Version | None:
    try:
        return parse_wheel_filename(filename)[1] if filename.endswith(".whl") else parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def _same(version: Version | None, text: str) -> bool:
    try:
        return version is None or version == Version(text)
    except InvalidVersion:
        return False
