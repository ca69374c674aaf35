"""``envid adopt FILE``: take over the lock of another tool, and say what could not be kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from envid import atomic, process
from envid.app.asking import question
from envid.app.contents import content_digests
from envid.app.network import access_of, indexes_of, places_of
from envid.app.outcome import Outcome
from envid.app.workspace import MAX_LOCK_BYTES, Workspace, read_limited
from envid.errors import EngineFailed, IdentityUnknown, InvalidLock, LockNotFound
from envid.lock.adoption import (
    KINDS,
    Adopted,
    Wanted,
    format_of,
    from_pins,
    lost_tables,
    names_on_this_machine,
    relocated,
    take_over,
)
from envid.lock.download import offered
from envid.lock.freshness import unsatisfied
from envid.lock.index import IndexFile
from envid.lock.install import uv_binary
from envid.lock.pylock import parse
from envid.lock.python_range import python_range
from envid.lock.redact import redact
from envid.lock.requirements_file import parse_requirements
from envid.lock.select import select
from envid.lock.write import neutral, preserved, write
from envid.values.artifact import Artifact, Lock, NormalizedName
from envid.values.finding import Finding
from envid.values.intent import LockSettings
from envid.values.progress import SILENT, Progress
from envid.values.target import Target

TIMEOUT: Final = 120.0
"""Seconds for uv to export a lock, which it does without the network."""


def adopt(ws: Workspace, file: str, *, name: str = "default", progress: Progress = SILENT) -> Outcome:
    """Write the lock ``name`` from ``file``: uv.lock, a pylock.toml, or a hashed requirements.txt.

    ``file`` is relative to the current directory. Nothing is written unless the result is a valid lock that
    serves at least one declared target. Warnings: requirements that the adopted versions do not satisfy
    (``lock.stale``; the lock then records no inputs, so that --check keeps saying so) and targets that it
    does not serve (``lock.uncovered-target``). ``data``: ``{"lock", "kept", "dropped"}``. Raises UsageError,
    LockNotFound, InvalidLock, UnhashedArtifact, SdistRefused, DependencyRefused, TargetNotCovered, Offline,
    Unreachable, ToolchainError.
    """
    settings = ws.intent.lock_settings(name)
    asked = question(ws, name)
    kind = format_of(file)
    source = Path(os.path.abspath(file))
    missing = LockNotFound(f"there is no {source}", hint="name the file to adopt", path=str(source))
    data = read_limited(source, MAX_LOCK_BYTES, missing=missing)
    if kind == "requirements":
        found, lost = _from_requirements(ws, data, source, name, progress)
    else:
        if kind == "pylock" and b"lock-version" not in data:
            raise InvalidLock(f"{source} is not a lock of a kind that can be adopted", hint=KINDS, path=str(source))
        found = _from_uv(ws, source, settings) if kind == "uv.lock" else parse(data, path=str(source))
        lost = tuple(lost_tables(data))
        local = names_on_this_machine(found)
        if local and not settings.neutral:
            found = relocated(found, _offered(ws, local, name, progress))
    destination = ws.lock_path(name)
    adopted = take_over(found, _wanted(ws, settings), moved=(_below_root(ws, source), _below_root(ws, destination)))
    stale = unsatisfied(adopted.lock, asked.asked, adopted.covered)
    theirs = None if adopted.covered else adopted.lock.requires_python
    lock = replace(
        adopted.lock,
        requires_python=theirs or python_range(ws.intent.requires_python, adopted.covered)[1],
        # Recorded inputs would make --check call it fresh.
        inputs=None if stale or adopted.uncovered else asked.inputs,
    )
    if settings.contents:
        lock = replace(lock, contents=_contents(ws, lock, adopted.covered, name, progress))
    written = write(
        neutral(lock) if settings.neutral else lock,
        targets=adopted.covered,
        preserved=preserved(data) if kind == "pylock" else None,
    )
    # Read back and selected from before anything is replaced.
    again = parse(written, path=str(destination))
    for target in adopted.covered:
        with contextlib.suppress(IdentityUnknown):
            select(again, target)
    changed = atomic.write(destination, written)
    shown = destination.relative_to(ws.root).as_posix()
    return _outcome(shown, again, adopted, (*lost, *adopted.dropped), stale, changed)


def _wanted(ws: Workspace, settings: LockSettings) -> Wanted:
    return Wanted(
        project=NormalizedName(canonicalize_name(ws.intent.name)) if ws.intent.name else None,
        extras=frozenset(canonicalize_name(extra) for extra in settings.extras),
        groups=frozenset(canonicalize_name(group) for group in settings.groups),
        known_groups=frozenset(canonicalize_name(group) for group in ws.intent.groups),
        allow_sdist=frozenset(canonicalize_name(allowed) for allowed in settings.allow_sdist),
        targets=ws.intent.settings.targets,
    )


def _contents(ws: Workspace, lock: Lock, targets: tuple[Target, ...], name: str, progress: Progress) -> dict[str, str]:
    wheels: dict[str, Artifact] = {}
    for target in targets:
        with contextlib.suppress(IdentityUnknown):
            taken = (item.artifact for item in select(lock, target).selected)
            wheels |= {one.sha256: one for one in taken if one is not None and one.kind == "wheel"}
    digests = content_digests(ws, [wheels[key] for key in sorted(wheels)], name=name, progress=progress)
    return {key: digests[key] for key in sorted(digests)}


def _below_root(ws: Workspace, path: Path) -> str:
    return Path(os.path.relpath(path.parent, ws.root)).as_posix()


# --- where it comes from ---------------------------------------------------------------------


def _from_uv(ws: Workspace, source: Path, settings: LockSettings) -> Lock:
    """Return what uv exports of its own lock: the only reader of that format that can be right about it."""
    # The lock of a workspace lies with its root and answers for each member: ours is the one that is asked for.
    project = ws.root if ws.root.is_relative_to(source.parent) else source.parent
    argv = [
        uv_binary(), "export", "--frozen", "--offline", "--format", "pylock.toml", "--no-header", "--no-annotate",
        "--quiet", "--no-default-groups", "--no-emit-project", "--no-python-downloads", "--project", str(project),
    ]  # fmt: skip
    for extra in settings.extras:
        argv += ["--extra", extra]
    for group in settings.groups:
        argv += ["--group", group]
    with atomic.temporary_directory() as scratch:
        # The user's configuration is none of the lock's business, the project's own is: so no --no-config.
        extra_env = {"XDG_CONFIG_HOME": str(scratch), "XDG_CONFIG_DIRS": str(scratch)}
        env = process.environment(passed=("UV_CACHE_DIR",), extra=extra_env)
        # uv writes paths relative to where it runs.
        done = process.run(argv, env=env, cwd=source.parent, timeout=TIMEOUT)
    if done.status != 0:
        reason = redact(" ".join(done.stderr.split()))[:500]
        raise EngineFailed(f"uv cannot export {source}: {reason}", hint="`uv lock` in its project may mend it")
    return parse(done.stdout.encode(), path=str(source))


def _from_requirements(
    ws: Workspace, data: bytes, source: Path, name: str, progress: Progress
) -> tuple[Lock, tuple[str, ...]]:
    file = parse_requirements(data, path=source.name)
    wanted = [pin.name for pin in file.pinned if pin.url is None]
    lock, dropped = from_pins(file.pinned, _offered(ws, wanted, name, progress), path=source.name)
    return lock, (*file.lost, *dropped)


def _offered(
    ws: Workspace, projects: list[NormalizedName], name: str, progress: Progress
) -> Mapping[NormalizedName, Sequence[IndexFile]]:
    if not projects:
        return {}
    indexes = indexes_of(ws, name)
    # Asking for all places starts uv, which alone knows its default index.
    places = indexes.places if ws.offline else places_of(indexes)
    return offered(projects, access=access_of(ws, indexes), indexes=places, progress=progress)


# --- what is said ----------------------------------------------------------------------------


def _outcome(
    shown: str, lock: Lock, adopted: Adopted, lost: tuple[str, ...], stale: tuple[Finding, ...], changed: bool
) -> Outcome:
    findings = [replace(finding, severity="warning") for finding in stale]
    for target, reason in adopted.uncovered:
        findings.append(
            Finding(
                code="lock.uncovered-target", severity="warning", subject=target, path=shown,
                message=f"the adopted lock does not serve {target}: {reason}", hint="run `envid lock`",
            )
        )  # fmt: skip
    kept = len(lock.distributions)
    notes = [f"not kept: {sentence}" for sentence in lost]
    if findings:
        notes.append("the lock records no inputs, because it does not answer pyproject.toml: `envid lock` mends that")
    if not changed:
        notes.append(f"{shown} was this already")
    return Outcome(
        command="adopt",
        answer=f"adopted {kept} distribution{'' if kept == 1 else 's'} into {shown}",
        notes=tuple(notes),
        data={"lock": shown, "kept": kept, "dropped": list(lost)},
        findings=tuple(findings),
    )
