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
from envid.app.network import indexes_of
from envid.app.outcome import Outcome
from envid.app.selecting import resolve
from envid.app.verify import verify
from envid.app.workspace import Workspace
from envid.errors import IntegrityError, InterpreterNotFound, InvalidEnvironment, TargetUnfit
from envid.installed import journal
from envid.installed.interpreter import Environment, environment_of, measure, probe, running
from envid.installed.wheel import read_contents
from envid.lock import install
from envid.lock.indexes import variables_of
from envid.lock.install import Installable
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
    text = None if target == "host" else target
    guard = workspace.cache / "guards-v1" / f"sync-{blake3_hex(os.fsencode(os.path.realpath(path)))[:32]}"
    one = _Sync(workspace=workspace, path=path, target_text=text, name=name, progress=progress, done=_Done())
    with process.interruptible(), atomic.guard(guard, timeout=GUARD_TIMEOUT):
        if journal.pending(path):
            one.done.notes.append(f"undid a sync of {path} that had not come to its end")
        with process.uninterrupted():
            journal.roll_back(path)
        if _is_new(path):
            one.make()
        return one.mend()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What was changed, over all rounds; its containers grow."""

    installed: dict[str, str | None] = field(default_factory=dict)
    reinstalled: dict[str, str | None] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sync:
    """One run of the command."""

    workspace: Workspace
    path: Path
    target_text: str | None
    """``None``: what the interpreter is."""
    name: str
    progress: Progress
    done: _Done

    # --- a new environment ------------------------------------------------------------------

    def make(self) -> None:
        """Make the environment and install everything, or leave nothing."""
        interpreter, target = self.base()
        resolution = self.resolution(target)
        with atomic.temporary_directory() as scratch:
            items = self.prepare(resolution.selected, interpreter, scratch)
            try:
                journal.begin_fresh(self.path)
                install.create(self.path, interpreter.executable)
                self.install_proven(environment_of(self.path), items, frozenset())
            except BaseException:
                with process.uninterrupted():
                    journal.roll_back(self.path)
                raise
            with process.uninterrupted():
                journal.finish(self.path)
        self.done.installed.update({str(item.name): item.version for item in resolution.selected})
        self.done.notes.append(f"made {self.path}")

    def base(self) -> tuple[Interpreter, Target]:
        """Return the interpreter to make the environment for, and the target."""
        here = measure()
        if self.target_text is None:
            return here, host_target(here)
        target = parse_target(self.target_text)
        reasons = fits(target, here)
        if not reasons:
            return here, target
        # Another interpreter helps only against reasons that are the interpreter's.
        _insist_fit(target, [reason for reason in reasons if not reason.startswith("the interpreter")])
        wanted = target.patch or ".".join(str(part) for part in target.python)
        found = install.find_python(wanted)
        if found is None:
            hint = f"install it: `uv python install {wanted}`"
            raise InterpreterNotFound(f"there is no Python {wanted} on this machine", hint=hint)
        interpreter = probe(Path(found), cache=self.workspace.cache)
        _insist_fit(target, fits(target, interpreter))
        return interpreter, target

    # --- an environment that is there -------------------------------------------------------

    def mend(self) -> Outcome:
        """Change the environment until nothing is left to heal, and say what was done."""
        environment = environment_of(self.path)
        base = environment.base_executable
        interpreter = measure() if str(base) == running() else probe(base, cache=self.workspace.cache)
        target = host_target(interpreter) if self.target_text is None else parse_target(self.target_text)
        _insist_fit(target, fits(target, interpreter) if self.target_text is not None else ())
        resolution = self.resolution(target)
        findings = self.look()
        if self.learn(resolution, {finding.subject for finding in findings if finding.code == "env.unverified"}):
            findings = self.look()
        for _ in range(ROUNDS):
            planned = plan(environment, resolution, findings)
            if planned.empty:
                break
            self.apply(environment, interpreter, planned)
            findings = self.look()
        return self.outcome(target, len(resolution.selected), findings)

    def learn(self, resolution: Resolution, names: Set[str]) -> bool:
        """Fetch the wheels of installed distributions that nothing is known about; return whether there were any."""
        artifacts = [
            item.artifact for item in resolution.selected
            if item.name in names and item.artifact is not None and item.artifact.filename.endswith(".whl")
        ]  # fmt: skip
        if not artifacts or self.workspace.offline:
            return False
        fetch_artifacts(self.workspace, artifacts, name=self.name, progress=self.progress)
        return True

    def apply(self, environment: Environment, interpreter: Interpreter, planned: Plan) -> None:
        """Do all of ``planned``, or nothing of it."""
        wanted = (*planned.install, *planned.reinstall)
        with atomic.temporary_directory() as scratch:
            items = self.prepare(wanted, interpreter, scratch)
            known = self.known(items)
            built = [str(item.name) for item in items if str(item.name) not in known]
            noted = change(environment, planned, known, built=built)
            try:
                journal.begin(environment.root, noted)
                self.install_proven(environment, items, {str(item.name) for item in planned.reinstall})
            except BaseException:
                with process.uninterrupted():
                    journal.roll_back(environment.root)
                raise
            with process.uninterrupted():
                journal.finish(environment.root)
        self.tell(planned)

    def tell(self, planned: Plan) -> None:
        """Note what was done."""
        done, kept = self.done, {str(item.name) for item in (*planned.install, *planned.reinstall)}
        done.installed.update({str(item.name): item.version for item in planned.install})
        done.reinstalled.update({str(item.name): item.version for item in planned.reinstall})
        for _, one in planned.remove:
            if one.name not in kept:
                done.removed[one.name] = one.version
                done.notes.append(f"removed {one.name} {one.version}, which is not in the lock")
        done.strays.extend(planned.strays)
        done.notes.extend(f"removed {path}, which no locked wheel brought" for path in planned.strays)

    # --- pieces -----------------------------------------------------------------------------

    def resolution(self, target: Target) -> Resolution:
        """Return what the lock has for ``target``."""
        path = self.workspace.lock_path(self.name)
        lock = read(self.workspace.read_lock(self.name), path=str(path))
        resolution = resolve(self.workspace, lock, target)
        refuse_sdists(self.workspace, resolution, target, name=self.name)
        return resolution

    def prepare(self, selected: Sequence[Selected], interpreter: Interpreter, scratch: Path) -> list[Installable]:
        """Bring every artifact here, verified, and build what has to be built, before anything changes."""
        artifacts = [item.artifact for item in selected if item.artifact is not None]
        files = fetch_artifacts(self.workspace, artifacts, name=self.name, progress=self.progress)
        items = []
        for item in selected:
            file, artifact = None, item.artifact
            if artifact is not None:
                file = files[artifact.sha256]
                if not artifact.filename.endswith(".whl"):
                    file, artifact = self.build(file, scratch / item.name, interpreter)
            items.append(
                Installable(
                    name=item.name, version=item.version, file=file, artifact=artifact, source=item.source,
                    base=self.workspace.lock_path(self.name).parent,
                )
            )  # fmt: skip
        return items

    def build(self, sdist: Path, out: Path, interpreter: Interpreter) -> tuple[Path, Artifact]:
        """Return the wheel built from a source archive, and what it is."""
        atomic.make_directory(out)
        self.progress.begin(f"Building {sdist.name}", None, "files")
        try:
            wheel = install.build(sdist, out, python=interpreter.executable, transport=self.transport())
        finally:
            self.progress.end()
        sha256 = file_sha256(wheel)
        # Refuses a wheel that would write outside of the environment, whoever built it.
        read_contents(wheel, filename=wheel.name, sha256=sha256)
        return wheel, Artifact(kind="wheel", filename=wheel.name, sha256=sha256 or Sha256(""))

    def known(self, items: Sequence[Installable]) -> Mapping[str, ContentRows]:
        """Return the contents of the wheels among ``items``, by name; a wheel built here is not among them."""
        loaded = {
            str(item.name): load_rows(self.workspace.cache, item.artifact.sha256)
            for item in items
            if item.artifact is not None
        }
        return {name: rows for name, rows in loaded.items() if rows is not None}

    def install_proven(self, environment: Environment, items: Sequence[Installable], tampered: Set[str]) -> None:
        """Install ``items`` and hold the result to the contents of the wheels; raise IntegrityError.

        Wheels are unpacked for this environment alone, and linked into it from there: uv's cache of unpacked wheels may
        hold altered files. Only who sets UV_LINK_MODE gets files from that cache, and not those found ``tampered``,
        nor any when the proof fails.
        """
        names = {str(item.name) for item in items}
        shared = self.workspace.variables.get("UV_LINK_MODE", "") in install.LINK_MODES
        wrong: list[Finding] = []
        for number, unpacked in enumerate((tampered if shared else names, names)):
            self.install(environment, items, unpacked, again=tampered if number == 0 else names)
            found = self.look() if items else ()
            wrong = [f for f in found if f.severity == "error" and f.code in HEALED and f.subject in names]
            if not wrong:
                return
        raise IntegrityError(
            f"{wrong[0].subject}: what was installed is not what the wheel holds: {wrong[0].message}",
            hint="the environment is as it was; look for what changes files behind the installer's back",
            package=wrong[0].subject, path=wrong[0].path,
        )  # fmt: skip

    def install(
        self, environment: Environment, items: Sequence[Installable], unpacked: Set[str], *, again: Set[str]
    ) -> None:
        """Let uv install ``items``; those in ``unpacked`` past its cache, those in ``again`` though they are there."""
        wheels = [item for item in items if item.source is None]
        sources = [item for item in items if item.source is not None]
        transport = self.transport() if sources else None
        cache = environment.root / journal.SCRATCH
        self.progress.begin("Installing", len(items), "files")
        try:
            for share, mode, own in (
                ([item for item in wheels if item.name in unpacked], "hardlink", cache),
                ([item for item in wheels if item.name not in unpacked], self.link_mode(), None),
                (sources, self.link_mode(), None),
            ):
                names = [item.name for item in share if item.name in again]
                install.install(
                    environment.python, share, reinstall=names, link_mode=mode, cache=own, transport=transport
                )
                # Before the proof: the second links would be on the files while they are looked at.
                atomic.remove_tree(cache)
                self.progress.advance(len(share))
        finally:
            self.progress.end()

    def link_mode(self) -> str:
        """Return how uv places files from its own cache: not its default, which may share them."""
        mode = self.workspace.variables.get("UV_LINK_MODE", "")
        return mode if mode in install.LINK_MODES else "copy"

    def transport(self) -> Mapping[str, str] | None:
        """Return how a build may reach its requirements; ``None`` when it may not."""
        return None if self.workspace.offline else variables_of(indexes_of(self.workspace, self.name))

    def look(self) -> tuple[Finding, ...]:
        """Return what ``verify`` finds now."""
        return verify(
            self.workspace, venv=str(self.path), name=self.name, target=self.target_text, progress=self.progress
        ).findings

    def outcome(self, target: Target, total: int, findings: Sequence[Finding]) -> Outcome:
        """Return what was done and what is left."""
        done, reported = self.done, _reported(findings)
        data: dict[str, JSONValue] = {
            "environment": str(self.path),
            "target": target.name,
            "installed": _rows(done.installed),
            "removed": _rows(done.removed),
            "reinstalled": _rows(done.reinstalled),
            "unchanged": total - len({*done.installed, *done.reinstalled}),
            "removed_files": sorted(done.strays),
        }
        changes = (("installed", done.installed), ("reinstalled", done.reinstalled), ("removed", done.removed))
        summary = ", ".join(f"{len(rows)} {word}" for word, rows in changes if rows)
        if not summary and not done.strays:
            bad = any(finding.severity == "error" for finding in reported)
            summary = "nothing that sync could do" if bad else "nothing to do: the environment is what the lock says"
        notes = (*done.notes, f"{self.path}: {summary}") if summary else tuple(done.notes)
        return Outcome(command="sync", notes=notes, data=data, findings=reported)


def _insist_fit(target: Target, reasons: Sequence[str]) -> None:
    if reasons:
        raise TargetUnfit(f"{target.name} cannot be installed here: {'; '.join(reasons)}", target=target.name)


def _rows(versions: Mapping[str, str | None]) -> list[JSONValue]:
    return [{"name": name, "version": versions[name]} for name in sorted(versions)]


def _reported(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return what ``verify`` still says: about the environment as it stands, about the lock as a warning.

    The lock was installed as it is, which is what was asked.
    """
    return tuple(
        replace(finding, severity="warning")
        if finding.code.startswith("lock.") and finding.severity == "error" else finding
        for finding in findings
    )  # fmt: skip
