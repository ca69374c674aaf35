"""``envid sync``: exactly the locked set, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from envid import atomic, process
from envid.app.change import HEALED, Plan, change, plan
from envid.app.fetching import fetch_artifacts, refuse_sdists
from envid.app.keys import identify_for
from envid.app.looked import places_told
from envid.app.network import indexes_of
from envid.app.outcome import Outcome
from envid.app.project import lock_shown
from envid.app.pythons import found, named, suitable
from envid.app.recorded import record
from envid.app.selecting import resolve
from envid.app.sourced import noted, state_of
from envid.app.storing import opened
from envid.app.synced import Done, outcome
from envid.app.verify import verify
from envid.app.workspace import Workspace
from envid.errors import (
    EnvidError,
    IdentityUnknown,
    IntegrityError,
    InvalidEnvironment,
    Offline,
    TargetNotCovered,
    TargetUnfit,
    WriteFailed,
)
from envid.guard import hold
from envid.installed import journal, note
from envid.installed.interpreter import Environment, environment_of, measure, probe, running
from envid.installed.prefix import frame_of, moved_from
from envid.installed.wheel import read_contents
from envid.lock import install
from envid.lock.indexes import variables_of
from envid.lock.install import Installable
from envid.lock.pylock import read
from envid.store.contents import ContentRows, load_rows, rows_of
from envid.store.wheels import file_sha256
from envid.values.artifact import Artifact, Resolution, Selected, Sha256
from envid.values.digest import blake3_hex
from envid.values.finding import Finding
from envid.values.interpreter import Interpreter
from envid.values.progress import SILENT, Progress
from envid.values.target import Target, fits, host_target, parse_target

GUARD_TIMEOUT: Final = 900.0
"""Seconds to wait for another sync of the same environment."""
_REMAKE: Final = "remove it and run `envid sync` again, or name another one with --venv"
ROUNDS: Final = 3
"""A removal may bring to light what its RECORD hid; after this many rounds the rest is reported."""


def sync(
    workspace: Workspace,
    *,
    venv: str | None = None,
    target: str | None = None,
    name: str = "default",
    python: str | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Make the environment hold what the lock ``name`` has for the target, and nothing else.

    ``venv`` defaults to ``.venv`` of the project and is made when it is missing. ``target`` defaults to
    what the environment's interpreter is; a new environment is made with ``python`` (a path or a version), else
    with the running interpreter, else with one that fits a declared target. Either all of the change is done and
    proven, or the environment is as it was; a new one is then not there. Raises what
    ``fetch_artifacts`` raises, and LockNotFound, InvalidLock, TargetNotCovered, NoCompatibleArtifact,
    SdistRefused, TargetUnfit, InterpreterNotFound, InvalidEnvironment, InstallFailed,
    IntegrityError, GuardTimeout, WriteFailed.
    """
    path = workspace.environment_path(venv)
    text = None if target == "host" else target
    guard = workspace.cache / "guards-v1" / f"sync-{blake3_hex(os.fsencode(os.path.realpath(path)))[:32]}"
    _insist_directory(path)
    with process.interruptible(), hold(guard, timeout=GUARD_TIMEOUT, purpose="envid sync") as held:
        one = _Sync(
            workspace=workspace, path=path, target_text=text, name=name, python=python, progress=progress, done=Done(),
            held=held.descriptor,
        )  # fmt: skip
        if held.waited:
            one.done.notes.append(f"waited for another sync of {path}, or for what it had left running")
        if journal.pending(path):
            one.done.notes.append(f"undid a sync of {path} that had not come to its end")
        with process.uninterrupted():
            journal.roll_back(path)
        if _is_new(path):
            one.make()
        return one.mend()


def _insist_directory(path: Path) -> None:
    """Raise InvalidEnvironment for something at ``path`` that is no directory, or that no script can name."""
    text = str(path)
    if any(one < " " or one == "\x7f" or "\ud800" <= one <= "\udfff" for one in text):
        # A line feed ends the first line of a script, and pyvenv.cfg is UTF-8.
        raise InvalidEnvironment(
            f"{text!a} holds a line feed, a control character or bytes that are not UTF-8: no script can name it",
            hint="give the project a plain path, or name another one with --venv",
        )  # fmt: skip
    if os.path.lexists(path) and not path.is_dir():
        what = "a link that leads nowhere" if path.is_symlink() and not path.exists() else "not a directory"
        raise InvalidEnvironment(
            f"{path} is {what}", path=str(path), hint="remove it, or name another place with --venv"
        )


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
        raise InvalidEnvironment(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    raise InvalidEnvironment(
        f"{path} holds files and is not a virtual environment", path=str(path), hint="remove it, or name another --venv"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sync:
    """One run of the command."""

    workspace: Workspace
    path: Path
    target_text: str | None
    """``None``: what the interpreter is."""
    name: str
    python: str | None
    """What the caller wants the environment to be made with."""
    progress: Progress
    done: Done
    held: int
    """Descriptor of the guard of the environment: what writes there holds it, and may outlive us."""

    # --- a new environment ------------------------------------------------------------------

    def make(self) -> None:
        """Make the environment and install everything, or leave nothing."""
        interpreter, target = self.base()
        try:
            resolution = self.resolution(target)
        except TargetNotCovered as error:
            hint = f"name a Python that the lock is for with --python; or {error.hint}"
            raise TargetNotCovered(error.message, hint=hint, **error.context) from error
        with atomic.temporary_directory() as scratch:
            items = self.prepare(resolution.selected, interpreter, scratch)
            try:
                journal.begin_fresh(self.path)
                install.create(self.path, interpreter.executable, held=self.held)
                environment = environment_of(self.path)
                note.write(self.path, note.Note(lock=self.name, frame=frame_of(environment)))
                self.install_proven(environment, resolution.selected, items, frozenset())
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
        here = measure() if self.python is None else named(self.workspace, self.python)
        if self.target_text is not None:
            target = parse_target(self.target_text)
            if self.python is None:
                # Another interpreter helps only against reasons that are the interpreter's.
                _insist_fit(target, [r for r in fits(target, here) if not r.startswith("the interpreter")])
                here = found(self.workspace, target)
            _insist_fit(target, fits(target, here))
            return here, target
        declared = self.workspace.intent.settings.targets
        if self.python is None and declared and all(fits(one, here) for one in declared):
            other = suitable(self.workspace, declared)
            if other is not None:
                here, target = other
                self.done.notes.append(
                    f"Python {here.version} ({here.executable}) was taken: it fits {target.name}, and "
                    "the one that runs envid fits no declared target"
                )
        return here, host_target(here)

    # --- an environment that is there -------------------------------------------------------

    def mend(self) -> Outcome:
        """Change the environment until nothing is left to heal, and say what was done."""
        environment = environment_of(self.path)
        former = moved_from(environment, (self.path / "pyvenv.cfg").read_bytes())
        if former is not None:
            raise InvalidEnvironment(
                f"{self.path} was made as {former} and then moved or copied: its activate and scripts enter that one",
                path=str(self.path),
            )
        base = environment.base_executable
        interpreter = measure() if str(base) == running() else probe(base, cache=self.workspace.cache)
        self.insist_python(interpreter)
        target = host_target(interpreter) if self.target_text is None else parse_target(self.target_text)
        if self.target_text is not None and (reasons := fits(target, interpreter)):
            self.refuse(interpreter, f"{target.name} does not fit it: {'; '.join(reasons)}")
        try:
            resolution = self.resolution(target)
        except TargetNotCovered as error:
            raise TargetNotCovered(
                f"{self.path} was made with Python {interpreter.version}: {error.message}",
                hint=f"{_REMAKE}; or add its target to [tool.envid] targets and run `envid lock`",
                **error.context,
            ) from error
        findings = self.look()
        if self.learn(resolution, {finding.subject for finding in findings if finding.code == "env.unverified"}):
            findings = self.look()
        for _ in range(ROUNDS):
            planned = plan(environment, resolution, findings)
            if planned.empty:
                break
            self.apply(environment, interpreter, planned)
            findings = self.look()
        self.remember(environment, resolution, findings)
        return outcome(
            self.workspace, self.done, path=self.path, name=self.name, target=target, total=len(resolution.selected),
            findings=findings,
        )  # fmt: skip

    def insist_python(self, interpreter: Interpreter) -> None:
        """Raise TargetUnfit when the environment has another Python than the caller names."""
        if self.python is None:
            return
        wanted = named(self.workspace, self.python)
        if (wanted.version, wanted.soabi) != (interpreter.version, interpreter.soabi):
            self.refuse(interpreter, f"not with {wanted.version} ({wanted.executable})")

    def refuse(self, interpreter: Interpreter, why: str) -> NoReturn:
        """Raise TargetUnfit: the environment that is there cannot become what is wanted."""
        raise TargetUnfit(
            f"{self.path} was made with Python {interpreter.version}: {why}", hint=_REMAKE, path=str(self.path)
        )

    def remember(self, environment: Environment, resolution: Resolution, findings: Sequence[Finding]) -> None:
        """Note which lock is installed, and record the identity for ``explain``; neither can fail what was done."""
        if any(finding.severity == "error" and finding.code.startswith("env.") for finding in findings):
            return
        kept = note.read(environment.root)
        names = {str(item.name) for item in resolution.selected}
        sources = {name: one for name, one in kept.sources.items() if name in names} if kept is not None else {}
        frame = kept.frame if kept is not None else {}
        with contextlib.suppress(WriteFailed):
            note.write(environment.root, note.Note(lock=self.name, sources=sources, frame=frame))
        # A layer that cannot be measured here has nothing to be recorded.
        with contextlib.suppress(EnvidError):
            own = None if str(environment.base_executable) == running() else str(self.path)
            done = identify_for(self.workspace, target=self.target_text, name=self.name, venv=own)
            layer = done.identity.layer
            record(self.workspace, done.document, layer=layer, target=done.target, name=self.name, venv=own)

    def learn(self, resolution: Resolution, names: Set[str]) -> bool:
        """Fetch the wheels of installed distributions that nothing is known about; return whether there were any."""
        artifacts = [
            item.artifact for item in resolution.selected
            if item.name in names and item.artifact is not None and item.artifact.filename.endswith(".whl")
        ]  # fmt: skip
        learned = False
        # One by one without the network: what of them is on this machine is taken.
        for share in [[artifact] for artifact in artifacts] if self.workspace.offline else [artifacts]:
            try:
                learned |= bool(fetch_artifacts(self.workspace, share, name=self.name, progress=self.progress))
            except Offline:
                continue
        return learned

    def apply(self, environment: Environment, interpreter: Interpreter, planned: Plan) -> None:
        """Do all of ``planned``, or nothing of it."""
        wanted = (*planned.install, *planned.reinstall)
        with atomic.temporary_directory() as scratch:
            items = self.prepare(wanted, interpreter, scratch)
            known = self.known(items, wanted)
            built = [str(item.name) for item in items if str(item.name) not in known]
            noted = change(environment, planned, known, built=built)
            try:
                journal.begin(environment.root, noted)
                again = {str(item.name) for item in planned.reinstall}
                self.install_proven(environment, wanted, items, again)
            except BaseException:
                with process.uninterrupted():
                    journal.roll_back(environment.root)
                raise
            with process.uninterrupted():
                journal.finish(environment.root)
        self.done.tell(planned)

    # --- pieces -----------------------------------------------------------------------------

    def resolution(self, target: Target) -> Resolution:
        """Return what the lock has for ``target``."""
        lock = read(self.workspace.read_lock(self.name), path=lock_shown(self.name))
        resolution = resolve(self.workspace, lock, target)
        refuse_sdists(self.workspace, resolution, target, name=self.name)
        return resolution

    def prepare(self, selected: Sequence[Selected], interpreter: Interpreter, scratch: Path) -> list[Installable]:
        """Bring every artifact here, verified, and build what has to be built, before anything changes."""
        artifacts = [item.artifact for item in selected if item.artifact is not None]
        with places_told(self.workspace, artifacts, name=self.name):
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

    def known(self, items: Sequence[Installable], wanted: Sequence[Selected]) -> Mapping[str, ContentRows]:
        """Return the contents of the wheels among ``items``, by name; a wheel built here is not among them."""
        locked = {one.name for one in wanted if one.artifact is not None and one.artifact.filename.endswith(".whl")}
        known: dict[str, ContentRows] = {}
        with opened(self.workspace) as place:
            for item in items:
                if item.name in locked and item.artifact is not None and item.file is not None:
                    name, sha256 = item.artifact.filename, item.artifact.sha256
                    rows = load_rows(place, sha256)
                    # Learned when it was fetched, by a store that may not have been able to keep it.
                    known[str(item.name)] = rows or rows_of(read_contents(item.file, filename=name, sha256=sha256))
        return known

    def install_proven(
        self, environment: Environment, selected: Sequence[Selected], items: Sequence[Installable], tampered: Set[str]
    ) -> None:
        """Install ``items`` and hold the result to the contents of the wheels; raise IntegrityError.

        Wheels are unpacked for this environment alone, and linked into it from there: uv's cache of unpacked wheels may
        hold altered files. Only who sets UV_LINK_MODE gets files from that cache, and not those found ``tampered``,
        nor any when the proof fails.
        """
        names = {str(item.name) for item in items}
        shared = self.workspace.variables.get("UV_LINK_MODE", "") in install.LINK_MODES
        wrong: list[Finding] = []
        for number, unpacked in enumerate((tampered if shared else names, names)):
            # Before the build: who changes the source meanwhile has changed it since.
            states = self.states(selected)
            self.install(environment, items, unpacked, again=tampered if number == 0 else names)
            self.note(environment, states)
            seen = self.look() if items else ()
            wrong = [f for f in seen if f.severity == "error" and f.code in HEALED and f.subject in names]
            if not wrong:
                return
        raise IntegrityError(
            f"{wrong[0].subject}: what was installed is not what the wheel holds: {wrong[0].message}",
            hint="the environment is as it was; look for what changes files behind the installer's back",
            package=wrong[0].subject, path=wrong[0].path,
        )  # fmt: skip

    def states(self, selected: Sequence[Selected]) -> Mapping[str, str]:
        """Return what each of ``selected`` that is built is built from, where that can be told."""
        built = [i for i in selected if i.artifact is None or not i.artifact.filename.endswith(".whl")]
        states = {}
        for item in built:
            with contextlib.suppress(IdentityUnknown):
                states[str(item.name)] = state_of(self.workspace, item)
        return states

    def note(self, environment: Environment, states: Mapping[str, str]) -> None:
        """Note in the environment what was installed from where; raise WriteFailed."""
        kept = note.read(environment.root)
        before, frame = (dict(kept.sources), kept.frame) if kept is not None else ({}, {})
        made = noted(dict.fromkeys((environment.purelib, environment.platlib)), states)
        note.write(environment.root, note.Note(lock=self.name, sources={**before, **made}, frame=frame))

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
                    environment.python, share, reinstall=names, link_mode=mode, cache=own, transport=transport,
                    held=self.held,
                )  # fmt: skip
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
            self.workspace, venv=str(self.path), name=self.name, target=self.target_text, short_paths=False,
            progress=self.progress,
        ).findings  # fmt: skip


def _insist_fit(target: Target, reasons: Sequence[str]) -> None:
    if reasons:
        raise TargetUnfit(f"{target.name} cannot be installed here: {'; '.join(reasons)}", target=target.name)
