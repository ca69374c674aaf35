"""``envid lock``: resolve, write the lock in its canonical form, say what changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from envid import atomic
from envid.app.asking import Question, question
from envid.app.contents import content_digests
from envid.app.members import resolved_sources
from envid.app.network import access_of, indexes_of, places_of, user_settings
from envid.app.outcome import Outcome, count
from envid.app.project import lock_shown
from envid.app.workspace import Workspace
from envid.errors import ConfigError, ConflictMarkers, EnvidError, IntegrityError, InvalidLock, LockError, LockNotFound
from envid.guard import hold
from envid.lock.difference import Change, difference, line, versions
from envid.lock.download import offered
from envid.lock.index import IndexFile
from envid.lock.piptools import PipToolsResolver
from envid.lock.promise import Stated, held, keep, stated
from envid.lock.pylock import read
from envid.lock.python_range import DEFAULT, python_range
from envid.lock.reader import scan
from envid.lock.resolver import Resolver, ResolveRequest
from envid.lock.select import select
from envid.lock.uv import UvResolver
from envid.lock.write import body_digest, environments_for, neutral, preserved, write
from envid.values.artifact import Artifact, Lock, NormalizedName
from envid.values.digest import JSONValue, blake3_hex
from envid.values.finding import Finding
from envid.values.intent import LockSettings
from envid.values.progress import SILENT, Progress
from envid.values.requirement import canonical_requirement
from envid.values.wheel_tags import normalize_name

WAIT: Final = 600.0
"""Seconds that a second `envid lock` waits for the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Previous:
    """What is there before."""

    data: bytes | None = None
    lock: Lock | None = None
    notes: tuple[str, ...] = ()
    edited: bool = False
    """Whether somebody changed it after envid wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What one run did, for its outcome."""

    shown: str
    lock: Lock
    targets: int
    changed: bool
    changes: tuple[Change, ...]
    inputs: tuple[str, ...]
    """Names of the inputs that are others than those of the lock before."""
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


def lock(
    ws: Workspace,
    *,
    name: str = "default",
    upgrade: bool = False,
    upgrade_packages: tuple[str, ...] = (),
    progress: Progress = SILENT,
    engine: Resolver | None = None,
) -> Outcome:
    """Resolve the lock ``name`` and write it, if its bytes change; otherwise touch nothing.

    Versions in the existing lock stay where the requirements allow it, unless ``upgrade``, or named
    in ``upgrade_packages``. ``engine``: instead of the one that the configuration names.
    ``data``: ``{"lock", "changed", "distributions", "changes": [{"name", "class", "old", "new"}], "inputs"}``.
    Raises what ``Resolver.resolve`` and the configuration's readers raise, Rehashed and DigestMismatch for
    bytes that are not those promised, WriteFailed, GuardTimeout; the existing lock is then as it was.
    """
    settings = ws.intent.lock_settings(name)
    asked = question(ws, name)
    path = ws.lock_path(name)
    shown = lock_shown(name)
    # Not beside the lock: that directory is the project's, under version control.
    guard = ws.cache / "guards-v1" / f"lock-{blake3_hex(str(path).encode())[:32]}"
    with hold(guard, timeout=WAIT, purpose="envid lock"):
        before = _previous(ws, name, shown)
        request = _request(
            ws, settings, requirements=tuple(dict.fromkeys(item.text for item in asked.asked)), path=path,
            previous=before.lock, upgrade=upgrade, upgrade_packages=_known(upgrade_packages, before.lock),
        )  # fmt: skip
        same = before.lock is not None and not before.edited and before.lock.inputs == asked.inputs
        request = replace(request, settled=same and not (upgrade or upgrade_packages))
        promises = stated(_references(asked, request))
        raw = (engine or _engine(ws, settings, progress)).resolve(request, progress)
        answer = replace(raw.lock, inputs=asked.inputs)
        findings = _held(answer, before, promises, request, name)
        notes = [*before.notes, *raw.warnings]
        if ws.intent.requires_python is None and not request.targets:
            notes.append(f"the project has neither requires-python nor targets: locked for Python {DEFAULT} and later")
        if settings.contents:
            answer = replace(answer, contents=_contents(ws, name, answer, request, progress))
        if settings.neutral:
            answer = neutral(answer)
        data = write(answer, targets=request.targets, preserved=_kept(before.data))
        changed = data != before.data
        after = read(data, path=shown) if changed or before.lock is None else before.lock
        if after.body_digest is None:
            raise InvalidLock(f"{shown}: what was made cannot be read back", hint="report this as a bug of envid")
        if changed:
            atomic.write(path, data)
    old = before.lock or Lock(created_by="envid", distributions=())
    report = _Report(
        shown=shown, lock=after, targets=len(request.targets), changed=changed, changes=difference(old, after),
        inputs=_inputs(old, after), notes=tuple(notes), findings=findings,
    )  # fmt: skip
    return _outcome(report)


def lock_all(
    ws: Workspace, *, upgrade: bool = False, upgrade_packages: tuple[str, ...] = (), progress: Progress = SILENT
) -> Outcome:
    """Resolve every declared lock in turn, the default one first; stop at the first one that fails.

    A name to upgrade has to be in one of them. ``data``: ``{"locks": {NAME: what lock() gives}}``.
    Raises as ``lock``; the message says which lock it is about, and those before it are written.
    """
    names = sorted(ws.intent.settings.locks, key=lambda one: (one != "default", one))
    locks = {name: _previous(ws, name, name).lock for name in names}
    wanted = _known(upgrade_packages, *locks.values())
    done: dict[str, Outcome] = {}
    for name in names:
        previous = locks[name]
        mine = {entry.name for entry in previous.distributions} if previous is not None else {*wanted}
        some = tuple(one for one in wanted if one in mine)
        try:
            done[name] = lock(ws, name=name, upgrade=upgrade, upgrade_packages=some, progress=progress)
        except EnvidError as error:
            raise type(error)(f"the lock {name}: {error.message}", hint=error.hint, **error.context) from error
    many = len(names) > 1
    return Outcome(
        command="lock",
        answer="\n".join(outcome.answer for outcome in done.values()),
        notes=tuple(f"{name}: {note}" if many else note for name in names for note in done[name].notes),
        data={"locks": {name: dict(outcome.data) for name, outcome in done.items()}},
        findings=tuple(finding for outcome in done.values() for finding in outcome.findings),
    )


def _held(
    answer: Lock, before: _Previous, promises: Sequence[Stated], request: ResolveRequest, name: str
) -> tuple[Finding, ...]:
    """Hold ``answer`` to what the project and the lock before say of its bytes; return what was accepted."""
    keep(promises, answer)
    if before.lock is None:
        return ()
    accepted: Callable[[str], bool] = lambda one: request.upgrade or one in request.upgrade_packages  # noqa: E731
    command = "envid lock" if name == "default" else f"envid lock --name {name}"
    return held(before.lock, answer, accepted=accepted, promises=promises, edited=before.edited, command=command)


def _references(asked: Question, request: ResolveRequest) -> Iterator[tuple[str, str]]:
    """Yield name and URL of everything that the project itself wants from a URL."""
    others = (canonical_requirement(text) for text in (*request.constraints, *request.overrides))
    yield from ((item.name, item.url) for item in (*asked.asked, *others) if item.url is not None)
    for name, given in request.sources.items():
        for entry in given if isinstance(given, list) else [given]:
            if isinstance(entry, Mapping) and isinstance(entry.get("url"), str):
                yield normalize_name(name), entry["url"]


def _engine(ws: Workspace, settings: LockSettings, progress: Progress) -> Resolver:
    def listing(names: Iterable[NormalizedName]) -> Mapping[NormalizedName, tuple[IndexFile, ...]]:
        places = indexes_of(ws, settings.name)
        return offered(names, access=access_of(ws, places), indexes=places_of(places), progress=progress)

    if settings.resolver == "uv":
        return UvResolver(listing=listing)
    indexes = indexes_of(ws, settings.name)
    return PipToolsResolver(indexes=indexes.places, builtin=indexes.wants_builtin, listing=listing)


def _request(
    ws: Workspace,
    settings: LockSettings,
    *,
    requirements: tuple[str, ...],
    path: Path,
    previous: Lock | None,
    upgrade: bool,
    upgrade_packages: tuple[str, ...],
) -> ResolveRequest:
    intent = ws.intent
    targets = intent.settings.targets
    minimum, requires_python = python_range(intent.requires_python, targets)
    return ResolveRequest(
        root=ws.root,
        lock_path=path,
        requirements=requirements,
        constraints=(*settings.constraints, *intent.uv.constraints),
        overrides=(*settings.overrides, *intent.uv.overrides),
        sources=resolved_sources(ws),
        indexes=_indexes(settings.indexes, intent.uv.indexes),
        options=intent.uv.other,
        targets=targets,
        environments=environments_for(targets),
        requires_python=requires_python,
        minimum_python=minimum,
        allow_sdist=tuple(sorted({normalize_name(item) for item in settings.allow_sdist})),
        exclude_newer=settings.exclude_newer,
        upgrade=upgrade,
        upgrade_packages=upgrade_packages,
        previous=previous,
        variables=ws.variables,
        user_settings=user_settings(ws.variables),
        offline=ws.offline,
    )


def _indexes(declared: tuple[str, ...], tables: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    """Return all indexes as tables; the first of ``declared`` is the default, and then no other one is."""
    found: list[dict[str, Any]] = []
    for number, text in enumerate(declared):
        alias, separator, url = text.partition("=")
        # `https://host/?a=b` has an equals sign too, but no name before it.
        named = bool(separator) and re.fullmatch(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*\s*", alias) is not None
        table: dict[str, Any] = {"name": alias.strip(), "url": url.strip()} if named else {"url": text.strip()}
        found.append({**table, "default": True} if number == 0 else table)
    for given in tables:
        found.append({key: value for key, value in given.items() if not (declared and key == "default")})
    return tuple(found)


def _previous(ws: Workspace, name: str, shown: str) -> _Previous:
    try:
        data = ws.read_lock(name)
    except LockNotFound:
        return _Previous()
    try:
        found = read(data, path=shown)
        edited = found.body_digest is not None and found.body_digest != body_digest(data)
        return _Previous(data=data, lock=found, edited=edited)
    except ConflictMarkers:
        what = f"{shown} holds conflict markers of a merge"
    except (LockError, IntegrityError) as error:
        what = f"the existing lock cannot be used ({error.message})"
    return _Previous(
        data=data, notes=(f"{what}: everything is resolved anew, and tables of other tools in it are not kept",)
    )


def _kept(data: bytes | None) -> Mapping[str, object] | None:
    """Return what other tools left in the existing lock."""
    if data is None:
        return None
    plain = scan(data)
    # The quick reader takes no key that is not envid's, but for whole tables below [tool].
    return None if plain is not None and set(plain[0]["tool"]) <= {"envid"} else preserved(data)


def _known(names: tuple[str, ...], *previous: Lock | None) -> tuple[str, ...]:
    """Return the names to upgrade, normalised; raise ConfigError for one that is not locked, most often a slip."""
    wanted = tuple(sorted({normalize_name(name) for name in names}))
    there = [lock for lock in previous if lock is not None]
    locked = {entry.name for lock in there for entry in lock.distributions}
    for name in wanted:
        if len(there) == len(previous) and name not in locked:
            from difflib import get_close_matches

            near = get_close_matches(name, sorted(locked), n=1)
            raise ConfigError(
                f"--upgrade-package {name}: the lock has no such distribution",
                hint=f"the nearest name in it is {near[0]}" if near else "run `envid lock` without it",
            )
    return wanted


def _contents(ws: Workspace, name: str, answer: Lock, request: ResolveRequest, progress: Progress) -> dict[str, str]:
    wheels: dict[str, Artifact] = {}
    for target in request.targets:
        for item in select(answer, target).selected:
            if item.artifact is not None and item.artifact.kind == "wheel":
                wheels[item.artifact.sha256] = item.artifact
    digests = content_digests(ws, [wheels[key] for key in sorted(wheels)], name=name, progress=progress)
    return {key: digests[key] for key in sorted(digests)}


# --- saying what changed ---------------------------------------------------------------------


def _inputs(before: Lock, after: Lock) -> tuple[str, ...]:
    """Return the names of the inputs that changed; none when the lock before does not tell its own."""
    old, new = before.inputs, after.inputs or {}
    return () if old is None else tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))


def _outcome(report: _Report) -> Outcome:
    there = versions(report.lock)
    reach = count(report.targets, "target") if report.targets else "every platform"
    head = f"{report.shown}: {count(len(there), 'distribution')} for {reach}"
    lines = [head + ("" if report.changed else ", unchanged")]
    lines += [f"  {line(item, there)}" for item in report.changes]
    if report.inputs:
        lines.append(f"  inputs: {', '.join(report.inputs)}")
    elif report.changed and not report.changes:
        lines.append("  the same distributions and files, written another way")
    listed: list[JSONValue] = [
        {"name": item.name, "class": item.change, "old": item.old or None, "new": item.new or None}
        for item in report.changes
    ]
    return Outcome(
        command="lock",
        answer="\n".join(lines),
        notes=report.notes,
        data={
            "lock": report.shown, "changed": report.changed, "distributions": len(there), "changes": listed,
            "inputs": list(report.inputs),
        },
        findings=report.findings,
    )  # fmt: skip
