"""``envid sync``: exactly the locked set, all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from envid import atomic, process
from envid.app.change import HEALED, Plan, change, plan
from envid.app.fetching import fetch_artifacts, refuse_sdists
from envid.app.outcome import Outcome
from envid.app.selecting import resolve
from envid.app.verify import verify
from envid.app.workspace import Workspace
from envid.errors import IntegrityError, InterpreterNotFound, InvalidEnvironment, TargetUnfit
from envid.installed import journal
from envid.installed.interpreter import Environment, environment_of, measure, probe
from envid.installed.wheel import read_contents
from envid.lock import install
from envid.lock.pylock import read
from envid.store.contents import ContentRows, load_rows
from envid.store.wheels import file_sha256
from envid.values.artifact import Artifact, Resolution, Selected, Sha256
from envid.values.digest import JSONValue, blake3_hex
from envid.values.finding import Finding
from envid.values.interpreter import Interpreter
from envid.values.progress import SILENT, Progress
from envid.values.target import Target, fits, host_target, parse_target

GUARD_TIMEOUT: Final = 900.0
"""Seconds to wait for another sync of the same environment."""
ROUNDS: Final = 3
"""A removal may bring to light what its RECORD hid; after this many rounds the rest is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What was changed, over all rounds; its containers grow."""

    installed: dict[str, str | None] = field(default_factory=dict)
    reinstalled: dict[str, str | None] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sync(
    workspace: Workspace,
    *,
    venv: str | None = None,
    target: str | None = None,
    name: str = "default",
    progress: Progress = SILENT,
) -> Outcome:
    """Make the environment hold what the lock ``name`` has for the target, and nothing else.

    ``venv`` defaults to ``.venv`` of the project and is made when it is missing. ``target`` defaults to
    what the environment's interpreter (or the running one) is. Either all of the change is done and
    proven, or the environment is as it was; a new one is then not there. Raises what
    ``fetch_artifacts`` raises, and LockNotFound, InvalidLock, TargetNotCovered, NoCompatibleArtifact,
    SdistRefused, TargetUnfit, InterpreterNotFound, InvalidEnvironment, InstallFailed,
    IntegrityError, GuardTimeout, WriteFailed.
    """
    path = workspace.environment_path(venv)
    guard = workspace.cache / "guards-v1" / f"sync-{blake3_hex(os.fsencode(os.path.realpath(path)))[:32]}"
    done = _Done()
    with process.interruptible(), atomic.guard(guard, timeout=GUARD_TIMEOUT):
        if journal.pending(path):
            done.notes.append(f"undid a sync of {path} that had not come to its end")
        with process.uninterrupted():
            journal.roll_back(path)
        if _is_new(path):
            _sync_new(workspace, path, target, name, done, progress)
        findings = _sync_existing(workspace, path, target, name, done, progress)
    return _outcome(workspace, path, target, name, done, findings)


def _is_new(path: Path) -> bool:
    """Tell whether there is nothing at ``path``; raise InvalidEnvironment for what is no environment."""
    if os.path.lexists(path / "pyvenv.cfg"):
        return False
    try:
        if not os.listdir(path):
            return True
    except FileNotFoundError:
        return True
    except OSError as error:
        raise InvalidEnvironment(f"{path} is not a directory", path=str(path), hint="name another --venv") from error
    raise InvalidEnvironment(
        f"{path} holds files and is not a virtual environment", path=str(path), hint="remove it, or name another --venv"
    )


# --- a new environment ----------------------------------------------------------------------


def _sync_new(
    workspace: Workspace, path: Path, target_text: str | None, name: str, done: _Done, progress: Progress
) -> None:
    interpreter, target = _base(workspace, target_text)
    resolution = _resolution(workspace, name, target)
    with atomic.temporary_directory() as scratch:
        items = _prepare(workspace, resolution.selected, name, interpreter, scratch, progress)
        try:
            journal.begin_fresh(path)
            install.create(path, interpreter.executable)
            _install_proven(workspace, environment_of(path), items, frozenset(), target_text, name, progress)
        except BaseException:
            with process.uninterrupted():
                journal.roll_back(path)
            raise
        with process.uninterrupted():
            journal.finish(path)
    done.installed.update({str(item.name): item.version for item in resolution.selected})
    done.notes.append(f"made {path}")


def _base(workspace: Workspace, target_text: str | None) -> tuple[Interpreter, Target]:
    """Return the interpreter to make an environment for, and the target."""
    running = measure()
    if target_text is None or target_text == "host":
        return running, host_target(running)
    target = parse_target(target_text)
    reasons = fits(target, running)
    if not reasons:
        return running, target
    # Another interpreter helps only against reasons that are the interpreter's.
    _insist_fit(target, [reason for reason in reasons if not reason.startswith("the interpreter")])
    wanted = ".".join(str(part) for part in target.python) if target.patch is None else str(target.patch)
    found = install.find_python(wanted)
    if found is None:
        hint = f"install it: `uv python install {wanted}`"
        raise InterpreterNotFound(f"there is no Python {wanted} on this machine", hint=hint)
    interpreter = probe(Path(found), cache=workspace.cache)
    _insist_fit(target, fits(target, interpreter))
    return interpreter, target


def _insist_fit(target: Target, reasons: Sequence[str]) -> None:
    if reasons:
        raise TargetUnfit(f"{target.name} cannot be installed here: {'; '.join(reasons)}", target=target.name)


# --- an environment that is there -----------------------------------------------------------


def _sync_existing(
    workspace: Workspace, path: Path, target_text: str | None, name: str, done: _Done, progress: Progress
) -> tuple[Finding, ...]:
    """Change the environment until nothing is left to heal; return what ``verify`` still finds."""
    environment = environment_of(path)
    interpreter = probe(environment.base_executable, cache=workspace.cache)
    target = host_target(interpreter)
    if target_text is not None and target_text != "host":
        target = parse_target(target_text)
        _insist_fit(target, fits(target, interpreter))
    resolution = _resolution(workspace, name, target)
    findings = _look(workspace, path, target_text, name, progress)
    unknown = {finding.subject for finding in findings if finding.code == "env.unverified"}
    if _learn(workspace, resolution, unknown, name, progress):
        findings = _look(workspace, path, target_text, name, progress)
    for _ in range(ROUNDS):
        planned = plan(environment, resolution, findings)
        if planned.empty:
            break
        findings = _apply(workspace, environment, interpreter, planned, target_text, name, done, progress)
    return findings


def _learn(
    workspace: Workspace, resolution: Resolution, names: set[str], name: str, progress: Progress
) -> bool:
    """Fetch the wheels of installed distributions that nothing is known about; return whether there were any."""
    artifacts = [
        item.artifact for item in resolution.selected
        if item.name in names and item.artifact is not None and item.artifact.filename.endswith(".whl")
    ]  # fmt: skip
    if not artifacts or workspace.offline:
        return False
    fetch_artifacts(workspace, artifacts, name=name, progress=progress)
    return True


def _apply(
    workspace: Workspace, environment: Environment, interpreter: Interpreter, planned: Plan, target_text: str | None,
    name: str, done: _Done, progress: Progress,
) -> tuple[Finding, ...]:  # fmt: skip
    root = environment.root
    wanted = (*planned.install, *planned.reinstall)
    with atomic.temporary_directory() as scratch:
        items = _prepare(workspace, wanted, name, interpreter, scratch, progress)
        known = _known(workspace, items)
        built = [str(item.name) for item in items if str(item.name) not in known]
        noted = change(environment, planned, known, built=built)
        try:
            journal.begin(root, noted)
            tampered = {str(item.name) for item in planned.reinstall}
            _install_proven(workspace, environment, items, tampered, target_text, name, progress)
        except BaseException:
            with process.uninterrupted():
                journal.roll_back(root)
            raise
        with process.uninterrupted():
            journal.finish(root)
    _tell(planned, done)
    return _look(workspace, root, target_text, name, progress)


def _tell(planned: Plan, done: _Done) -> None:
    kept = {str(item.name) for item in (*planned.install, *planned.reinstall)}
    done.installed.update({str(item.name): item.version for item in planned.install})
    done.reinstalled.update({str(item.name): item.version for item in planned.reinstall})
    for _, one in planned.remove:
        if one.name not in kept:
            done.removed[one.name] = one.version
            done.notes.append(f"removed {one.name} {one.version}, which is not in the lock")
    done.strays.extend(planned.strays)
    done.notes.extend(f"removed {path}, which no locked wheel brought" for path in planned.strays)


# --- pieces ---------------------------------------------------------------------------------


def _resolution(workspace: Workspace, name: str, target: Target) -> Resolution:
    path = workspace.lock_path(name)
    resolution = resolve(workspace, read(workspace.read_lock(name), path=str(path)), target)
    refuse_sdists(workspace, resolution, target, name=name)
    return resolution


def _prepare(
    workspace: Workspace, selected: Sequence[Selected], name: str, interpreter: Interpreter, scratch: Path,
    progress: Progress,
) -> list[install.Installable]:  # fmt: skip
    """Bring every artifact here, verified, and build what has to be built, before anything changes."""
    artifacts = [item.artifact for item in selected if item.artifact is not None]
    files = fetch_artifacts(workspace, artifacts, name=name, progress=progress)
    items = []
    for item in selected:
        file, artifact = None, item.artifact
        if artifact is not None:
            file = files[artifact.sha256]
            if not artifact.filename.endswith(".whl"):
                file, artifact = _build(workspace, file, scratch / item.name, interpreter, progress)
        items.append(
            install.Installable(
                name=item.name, version=item.version, file=file, artifact=artifact, source=item.source,
                base=workspace.lock_path(name).parent,
            )
        )  # fmt: skip
    return items


def _build(
    workspace: Workspace, sdist: Path, out: Path, interpreter: Interpreter, progress: Progress
) -> tuple[Path, Artifact]:
    atomic.make_directory(out)
    progress.begin(f"Building {sdist.name}", None, "files")
    try:
        wheel = install.build(sdist, out, python=interpreter.executable, offline=workspace.offline)
    finally:
        progress.end()
    sha256 = file_sha256(wheel)
    read_contents(wheel, filename=wheel.name, sha256=sha256)
    return wheel, Artifact(kind="wheel", filename=wheel.name, sha256=sha256 or Sha256(""))


def _known(workspace: Workspace, items: Sequence[install.Installable]) -> Mapping[str, ContentRows]:
    """Return the contents of the wheels among ``items``, by name; a wheel built here is not among them."""
    found = {
        str(item.name): load_rows(workspace.cache, item.artifact.sha256) for item in items if item.artifact is not None
    }
    return {name: rows for name, rows in found.items() if rows is not None}


def _install_proven(
    workspace: Workspace, environment: Environment, items: Sequence[install.Installable], tampered: Set[str],
    target_text: str | None, name: str, progress: Progress,
) -> None:  # fmt: skip
    """Install ``items`` and hold the result to the contents of the wheels; raise IntegrityError.

    uv's cache of unpacked wheels may hold altered files: it is not used for what was found
    ``tampered``, nor for anything when the proof fails.
    """
    names = {str(item.name) for item in items}
    wrong: list[Finding] = []
    for unpacked in (tampered, names):
        _install(workspace, environment, items, unpacked, progress)
        wrong = [
            finding
            for finding in _look(workspace, environment.root, target_text, name, progress)
            if finding.severity == "error" and finding.code in HEALED and finding.subject in names
        ]
        if not wrong:
            return
    raise IntegrityError(
        f"{wrong[0].subject}: what was installed is not what the wheel holds: {wrong[0].message}",
        hint="the environment is as it was; look for what changes files behind the installer's back",
        package=wrong[0].subject, path=wrong[0].path,
    )  # fmt: skip


def _install(
    workspace: Workspace, environment: Environment, items: Sequence[install.Installable], unpacked: Set[str],
    progress: Progress,
) -> None:  # fmt: skip
    mode = workspace.variables.get("UV_LINK_MODE", "")
    shares = (
        [item for item in items if item.source is None and item.name not in unpacked],
        [item for item in items if item.source is None and item.name in unpacked],
        [item for item in items if item.source is not None],
    )
    progress.begin("Installing", len(items), "files")
    try:
        for number, share in enumerate(shares):
            install.install(
                environment.python,
                share,
                reinstall=[item.name for item in share if item.name in unpacked],
                link_mode=mode if mode in install.LINK_MODES else "copy",
                offline=workspace.offline or number < 2,
                unpack=number == 1,
            )
            progress.advance(len(share))
    finally:
        progress.end()


def _look(
    workspace: Workspace, path: Path, target_text: str | None, name: str, progress: Progress
) -> tuple[Finding, ...]:
    return verify(workspace, venv=str(path), name=name, target=target_text, progress=progress).findings


def _outcome(
    workspace: Workspace, path: Path, target_text: str | None, name: str, done: _Done, findings: Sequence[Finding]
) -> Outcome:
    interpreter = probe(environment_of(path).base_executable, cache=workspace.cache)
    target = host_target(interpreter) if target_text in (None, "host") else parse_target(str(target_text))
    total = len(_resolution(workspace, name, target).selected)
    touched = {*done.installed, *done.reinstalled}
    data: dict[str, JSONValue] = {
        "environment": str(path),
        "target": target.name,
        "installed": _rows(done.installed),
        "removed": _rows(done.removed),
        "reinstalled": _rows(done.reinstalled),
        "unchanged": total - len(touched),
        "removed_files": sorted(done.strays),
    }
    counts = [
        f"{len(rows)} {word}"
        for rows, word in ((done.installed, "installed"), (done.reinstalled, "reinstalled"), (done.removed, "removed"))
        if rows
    ]
    nothing = not (counts or done.strays)
    summary = "nothing to do: the environment is what the lock says" if nothing else ", ".join(counts)
    reported = _reported(findings)
    if nothing and any(finding.severity == "error" for finding in reported):
        summary = "nothing that sync could do"
    return Outcome(
        command="sync",
        notes=(*done.notes, f"{path}: {summary}" if summary else str(path)),
        data=data,
        findings=tuple(reported),
    )


def _rows(versions: Mapping[str, str | None]) -> list[JSONValue]:
    return [{"name": name, "version": versions[name]} for name in sorted(versions)]


def _reported(findings: Sequence[Finding]) -> list[Finding]:
    """Return what ``verify`` still says: about the environment as it stands, about the lock as a warning.

    The lock was installed as it is, which is what was asked.
    """
    return [
        replace(finding, severity="warning")
        if finding.code.startswith("lock.") and finding.severity == "error" else finding
        for finding in findings
    ]  # fmt: skip


