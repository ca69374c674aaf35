"""``envid lock``: resolve, write the lock in its canonical form, say what changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from envid import atomic
from envid.app.asking import question
from envid.app.contents import content_digests
from envid.app.members import resolved_sources
from envid.app.network import access_of, indexes_of, places_of, user_settings
from envid.app.outcome import Outcome
from envid.app.workspace import Workspace
from envid.errors import ConfigError, ConflictMarkers, IntegrityError, InvalidLock, LockError, LockNotFound
from envid.lock.download import offered
from envid.lock.index import IndexFile
from envid.lock.piptools import PipToolsResolver
from envid.lock.pylock import read
from envid.lock.python_range import DEFAULT, python_range
from envid.lock.reader import scan
from envid.lock.resolver import Resolver, ResolveRequest
from envid.lock.select import select
from envid.lock.uv import UvResolver
from envid.lock.write import environments_for, neutral, preserved, write
from envid.values.artifact import Artifact, Lock, NormalizedName
from envid.values.digest import JSONValue, blake3_hex
from envid.values.intent import LockSettings
from envid.values.progress import SILENT, Progress

WAIT: Final = 600.0
"""Seconds that a second `envid lock` waits for the first one."""

@dataclass(frozen=True, slots=True, kw_only=True)
class _Previous:
    """What is there before."""

    data: bytes | None = None
    lock: Lock | None = None
    notes: tuple[str, ...] = ()


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
    ``data``: ``{"lock", "changed", "distributions", "changes": [{"name", "old", "new"}]}``.
    Raises what ``Resolver.resolve`` and the configuration's readers raise, and WriteFailed,
    GuardTimeout; the existing lock is then as it was.
    """
    settings = ws.intent.lock_settings(name)
    asked = question(ws, name)
    path = ws.lock_path(name)
    shown = path.relative_to(ws.root).as_posix()
    # Not beside the lock: that directory is the project's, under version control.
    guard = ws.cache / "guards-v1" / f"lock-{blake3_hex(str(path).encode())[:32]}"
    with atomic.guard(guard, timeout=WAIT):
        before = _previous(ws, name, shown)
        request = _request(
            ws, settings, requirements=tuple(dict.fromkeys(item.text for item in asked.asked)), path=path,
            previous=before.lock, upgrade=upgrade, upgrade_packages=_known(upgrade_packages, before.lock),
        )  # fmt: skip
        raw = (engine or _engine(ws, settings, progress)).resolve(request, progress)
        answer = replace(raw.lock, inputs=asked.inputs)
        notes = [*before.notes, *raw.warnings]
        if ws.intent.requires_python is None and not request.targets:
            notes.append(f"the project has neither requires-python nor targets: locked for Python {DEFAULT} and later")
        if settings.contents:
            answer = replace(answer, contents=_contents(ws, name, answer, request, progress))
        if settings.neutral:
            answer = neutral(answer)
        kept = _kept(before.data)
        data = write(answer, targets=request.targets, preserved=kept)
        changed = data != before.data
        if changed:
            if read(data, path=shown).body_digest is None:
                raise InvalidLock(f"{shown}: what was made cannot be read back", hint="report this as a bug of envid")
            atomic.write(path, data)
    return _outcome(shown, answer, request, changes=_changes(before.lock, answer), changed=changed, notes=tuple(notes))


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
        allow_sdist=tuple(sorted({_normal(item) for item in settings.allow_sdist})),
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
        return _Previous(data=data, lock=read(data, path=shown))
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


def _known(names: tuple[str, ...], previous: Lock | None) -> tuple[str, ...]:
    """Return the names to upgrade, normalised; raise ConfigError for one that is not locked, most often a slip."""
    wanted = tuple(sorted({_normal(name) for name in names}))
    locked = {entry.name for entry in previous.distributions} if previous is not None else set()
    for name in wanted:
        if previous is not None and name not in locked:
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


def _changes(before: Lock | None, after: Lock) -> list[tuple[str, str | None, str | None]]:
    old, new = _versions(before), _versions(after)
    names = sorted(old.keys() | new.keys())
    return [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _versions(lock: Lock | None) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for entry in lock.distributions if lock is not None else ():
        told = entry.version or (entry.source.commit if entry.source is not None else None) or "local"
        found.setdefault(entry.name, set()).add(told)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _outcome(
    shown: str,
    answer: Lock,
    request: ResolveRequest,
    *,
    changes: list[tuple[str, str | None, str | None]],
    changed: bool,
    notes: tuple[str, ...],
) -> Outcome:
    count = len({entry.name for entry in answer.distributions})
    reach = f"{len(request.targets)} targets" if len(request.targets) != 1 else "1 target"
    head = f"{shown}: {count} distributions for {reach if request.targets else 'every platform'}"
    lines = [head + ("" if changed else ", unchanged")]
    for name, old, new in changes:
        if old is None:
            lines.append(f"  + {name} {new}")
        elif new is None:
            lines.append(f"  - {name} {old}")
        else:
            lines.append(f"  ~ {name} {old} -> {new}")
    listed: list[JSONValue] = [{"name": name, "old": old, "new": new} for name, old, new in changes]
    return Outcome(
        command="lock",
        answer="\n".join(lines),
        notes=notes,
        data={"lock": shown, "changed": changed, "distributions": count, "changes": listed},
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
