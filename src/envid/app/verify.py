"""``envid verify``: is what is installed what the lock means? Offline; nothing is written but envid's own cache."""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from envid.app.checking import check as check_locks
from envid.app.knowledge import Knowledge, gather
from envid.app.outcome import Memory, Outcome, count
from envid.app.project import lock_shown
from envid.app.seeds import recognise
from envid.app.selecting import resolve
from envid.app.sourced import hint_at_name
from envid.app.storing import place_of
from envid.app.workspace import Workspace, now_ns
from envid.errors import (
    EnvironmentNotFound,
    InvalidEnvironment,
    LockNotFound,
    NoCompatibleArtifact,
    TargetNotCovered,
    WriteFailed,
)
from envid.installed import statindex, witness
from envid.installed.check import (
    Depth,
    Report,
    Survey,
    check,
    check_quick,
    layout_of,
    names_now,
    sites,
    survey,
    top_names,
)
from envid.installed.expected import Expected, Layout
from envid.installed.files import Suspects
from envid.installed.interpreter import Environment, environment_of, measure, probe, running
from envid.installed.listing import Seen, unpack
from envid.installed.moved import folded
from envid.installed.neighbours import places
from envid.installed.prefix import check_frame, check_prefix, moved_from
from envid.installed.reading import Reading
from envid.installed.walk import walk
from envid.installed.wheelhouse import check_wheelhouse
from envid.lock.pylock import read
from envid.store import roots
from envid.store.contents import load_rows
from envid.values.amount import show_size
from envid.values.artifact import Lock, Resolution, Selected
from envid.values.digest import JSONValue, blake3_hex
from envid.values.finding import Finding
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter
from envid.values.progress import SILENT, Progress
from envid.values.target import Target, fits, host_target, parse_target

SYNC_MARKER: Final = ".envid-sync.json"
"""What ``sync`` leaves in an environment while it changes it."""


class Examined:
    """What is said about one environment; filled step by step."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.environment = ""
        self.target: Target | None = None
        self.distributions = 0
        self.verified = 0
        self.unverified = 0
        self.files = 0
        self.size = 0
        """Bytes of all files."""
        self.sites: tuple[str, ...] = ()
        """The site-packages directories, relative to the environment."""
        self.expected: Expected | None = None
        """What is known of the files."""
        self.witness = b""
        """Of the environment as it was found; empty when no later run may rely on it."""
        self.trees = False
        """Whether source trees had a say, which no witness looks at."""


def verify(
    ws: Workspace,
    *,
    venv: str | None = None,
    depth: Depth = "default",
    name: str = "default",
    target: str | None = None,
    wheelhouse: str | None = None,
    short_paths: bool = True,
    progress: Progress = SILENT,
) -> Outcome:
    """Check every declared lock, the environment against the lock ``name``, and with ``wheelhouse`` that directory.

    ``venv`` defaults to ``.venv`` of the project, whose absence is no error; ``target`` to the
    environment's own interpreter. Without ``short_paths``, the paths of files in site-packages are relative to
    the environment, too. ``data``: ``{"depth", "environment", "target", "checked": {"distributions", "files",
    "bytes"}, "verified", "unverified", "locks"}``. Raises InvalidLock, InvalidTarget, ConfigError.
    """
    started = now_ns()
    checked = check_locks(ws)
    findings = list(checked.findings)
    examined = Examined()
    path = ws.environment_path(venv)
    try:
        lock = read(ws.read_lock(name), path=lock_shown(name))
    except LockNotFound:
        if not any(finding.code == "lock.missing" for finding in findings):
            findings.append(_lock_missing(name))
    else:
        _examine(ws, path, lock, examined, name=name, given=venv is not None, depth=depth, target_text=target,
                 wheelhouse=wheelhouse, started=started, progress=progress)  # fmt: skip
        if wheelhouse is not None:
            findings += check_wheelhouse(os.path.abspath(wheelhouse), lock)
    found = hint_at_name(examined.environment, name, examined.findings)
    findings += [_shown(finding, examined.sites if short_paths else ()) for finding in found]
    data: dict[str, JSONValue] = {
        "depth": depth,
        "environment": examined.environment,
        "target": examined.target.name if examined.target is not None else None,
        "checked": {"distributions": examined.distributions, "files": examined.files, "bytes": examined.size},
        "verified": examined.verified,
        "unverified": examined.unverified,
        "locks": checked.data.get("locks", {}),
    }
    outcome = Outcome(
        command="verify", answer=_answer(examined, findings, depth), data=data, findings=tuple(_ordered(findings))
    )
    # A wheelhouse is not part of the witness, and where the locks depend on more than files that can be named, neither
    # can this answer be remembered.
    witnessed = examined.witness and not examined.trees
    if outcome.exit_code == 0 and witnessed and wheelhouse is None and depth != "full" and checked.memory:
        return replace(outcome, memory=Memory(files=checked.memory.files, document=examined.witness))
    return outcome


def _lock_missing(name: str) -> Finding:
    shown = lock_shown(name)
    return Finding(
        code="lock.missing", severity="error", subject="lock", path=shown, message=f"there is no {shown}",
        hint="run `envid lock`",
    )  # fmt: skip


def _examine(
    ws: Workspace, path: Path, lock: Lock, examined: Examined, *, name: str, given: bool, depth: Depth,
    target_text: str | None, wheelhouse: str | None, started: int, progress: Progress,
) -> None:  # fmt: skip
    """Fill ``examined`` with what is found at ``path``."""
    try:
        environment = environment_of(path)
    except EnvironmentNotFound as error:
        examined.findings.append(_absent(path, error.message, severe=given or path.exists()))
        return
    except InvalidEnvironment as error:
        examined.environment = str(path)
        examined.findings.append(Finding(
            code="env.config", severity="error", subject=path.name, path=str(path), message=error.message,
            hint="recreate the environment: remove it, then run `envid sync`",
        ))  # fmt: skip
        return
    examined.environment = str(environment.root)
    if os.path.lexists(path / SYNC_MARKER):
        examined.findings.append(Finding(
            code="env.incomplete", severity="error", subject=path.name, path=SYNC_MARKER,
            message="an installation into the environment did not come to its end", hint="run `envid sync` again",
        ))  # fmt: skip
    base = environment.base_executable
    interpreter = measure() if str(base) == running() else probe(base, cache=ws.cache)
    examined.target = _target(ws, interpreter, target_text, examined.findings)
    try:
        resolution = resolve(ws, lock, examined.target)
    except (TargetNotCovered, NoCompatibleArtifact) as error:
        code = "lock.uncovered-target" if isinstance(error, TargetNotCovered) else "platform.unfit"
        examined.findings.append(Finding(
            code=code, severity="error", subject=examined.target.name, message=error.message, hint=error.hint
        ))  # fmt: skip
        return
    # What an environment is made of stays in the cache while somebody cares for it.
    used = {item.artifact.sha256 for item in resolution.selected if item.artifact is not None}
    roots.remember(place_of(ws), ws.place, wheels={f"{name}/{examined.target.name}": used})
    _Run(
        ws=ws, environment=environment, interpreter=interpreter, lock=lock, resolution=resolution, depth=depth,
        wheelhouse=wheelhouse, started=started, progress=progress, examined=examined,
    ).run()  # fmt: skip


def _absent(path: Path, message: str, *, severe: bool) -> Finding:
    return Finding(
        code="env.absent", severity="error" if severe else "info", subject=path.name, path=str(path), message=message,
        hint="run `envid sync`, or name the environment with --venv",
    )  # fmt: skip


def _target(ws: Workspace, interpreter: Interpreter, text: str | None, findings: list[Finding]) -> Target:
    """Return the target to select for, noting when the environment's interpreter or host does not fit."""
    host = host_target(interpreter)
    if text is not None and text != "host":
        target = parse_target(text)
        findings += (_unfit(reason, target) for reason in fits(target, interpreter))
        return target
    declared = ws.intent.settings.targets
    if declared and not any(not fits(one, interpreter) for one in declared):
        # The nearest by the number of reasons: a wrong patch release is told before a wrong system.
        nearest = min(declared, key=lambda one: (len(fits(one, interpreter)), one.name))
        findings += (_unfit(reason, nearest) for reason in fits(nearest, interpreter))
    return host


def _unfit(reason: str, target: Target) -> Finding:
    interpreter = reason.startswith("the interpreter")
    return Finding(
        code="python.mismatch" if interpreter else "platform.unfit", severity="error", subject=target.name,
        message=reason,
        hint="recreate the environment with another Python, or declare the target" if interpreter else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One examination of one environment."""

    ws: Workspace
    environment: Environment
    interpreter: Interpreter
    lock: Lock
    resolution: Resolution
    depth: Depth
    wheelhouse: str | None
    started: int
    progress: Progress
    examined: Examined

    def run(self) -> None:
        """Examine, with the collector of cycles at rest: it would look through a hundred thousand strings in vain."""
        resting = gc.isenabled()
        gc.disable()
        try:
            self._run()
        finally:
            if resting:
                gc.enable()

    def _run(self) -> None:
        layout = layout_of(self.environment)
        self.examined.sites = sites(layout)
        config = Path(self.environment.root, "pyvenv.cfg").read_bytes()
        scripts = os.listdir(self.environment.scripts)
        self.examined.findings += check_prefix(self.environment, config, scripts)
        if self.depth != "quick":
            self.examined.findings += check_frame(self.environment)
        surveyed, report = self._quick(layout, scripts) if self.depth == "quick" else self._walked(layout)
        found = report.findings
        self.examined.findings += [*surveyed.findings, *found]
        former = moved_from(self.environment, config)
        if former is not None and self.examined.expected is not None:
            together = folded(self.environment, former, self.examined.findings, self.examined.expected)
            self.examined.findings = together
        self.examined.files, self.examined.size = report.files, report.size
        bad = {finding.subject for finding in found if finding.severity == "error"}
        self.examined.distributions = len(self.resolution.selected)
        locked = {str(item.name) for item in self.resolution.selected}
        right = sum(name in locked and name not in bad for name in surveyed.matched)
        self.examined.verified = max(right - self.examined.unverified, 0)

    def _known(self, names: Mapping[str, Sequence[str]], layout: Layout) -> tuple[Survey, Knowledge]:
        seeded = recognise(self.ws, self.environment, survey(self.environment, names, self.resolution))
        known = gather(
            self.ws, self.lock, seeded.survey, layout, wheelhouse=self.wheelhouse, given=seeded.rows
        )  # fmt: skip
        self.examined.findings += known.findings
        self.examined.unverified = known.unverified
        self.examined.trees = known.trees
        self.examined.expected = known.expected
        return seeded.survey, known

    def _quick(self, layout: Layout, scripts: Sequence[str]) -> tuple[Survey, Report]:
        root = str(self.environment.root)
        singles = ["pyvenv.cfg", SYNC_MARKER, *places(layout)]
        seen = witness.of_tops(root, list(sites(layout)), layout.scripts, singles)
        names = {site: sorted(os.listdir(f"{root}/{site}")) for site in sites(layout)}
        surveyed, known = self._known(names, layout)
        self.examined.witness = seen
        return surveyed, check_quick(root, surveyed, known.expected, names, scripts)

    def _walked(self, layout: Layout) -> tuple[Survey, Report]:
        root = str(self.environment.root)
        tops = list(dict.fromkeys((*sites(layout), layout.scripts)))
        index = statindex.index_path(self.ws.cache, os.path.realpath(root))
        if self.depth != "full" and index.exists():
            seen = Seen(walk(root, tops, []))
            surveyed, known = self._known(top_names(seen.listings, layout), layout)
            return surveyed, self._proven(tops, index, seen, surveyed, known, read=False)
        with Reading(root, tops, sha256=self._by_sha256()) as reading:
            surveyed, known = self._known(names_now(root, layout), layout)
            return surveyed, self._proven(tops, index, Seen(reading=reading), surveyed, known, read=True)

    def _by_sha256(self) -> bool:
        """Guess by a few wheels whether their RECORDs will have to tell what the files should be."""
        known = self.lock.contents or {}
        wheels = [item.artifact for item in self.resolution.selected if item.artifact is not None]
        some = wheels[:: max(len(wheels) // 4, 1)]
        place = place_of(self.ws)
        without = [wheel for wheel in some if wheel.sha256 in known and load_rows(place, wheel.sha256) is None]
        return 2 * len(without) > len(some)

    def _proven(
        self, tops: list[str], index: Path, seen: Seen, surveyed: Survey, known: Knowledge, *, read: bool
    ) -> Report:
        root = str(self.environment.root)
        inside = tuple(f"{top}/" for top in tops)
        singles = sorted(path for path in known.expected.rows if not path.startswith(inside))
        singles += ["pyvenv.cfg", SYNC_MARKER, *places(known.expected.layout), str(self.environment.base_executable)]
        alone = walk(root, [], singles)
        bound = statindex.binding(os.path.realpath(root), _digest(self.resolution, known))
        before = None if read else statindex.load(index, bound)
        suspects: Suspects | None = None if before is None else statindex.changed(before, seen.walked + alone)
        self.progress.begin("Verifying files", None, "bytes")
        try:
            report = check(
                self.environment, seen.take(alone, self.progress.advance), suspects, surveyed, known.expected,
                interpreter=self.interpreter, deep=self.depth == "full",
                known=None if before is None else _names(before), modes=self._modes(), sha256=seen.sha256,
                tell=self.progress.advance, cache=self.ws.cache,
            )  # fmt: skip
        finally:
            self.progress.end()
        kept = statindex.keep(seen.walked, seen.listings, unproven=report.unproven, started_ns=self.started)
        if kept != before:
            # An index that cannot be kept costs time, not the answer.
            with contextlib.suppress(WriteFailed):
                statindex.save(index, bound, kept)
        if kept == seen.walked:
            self.examined.witness = witness.of_walk(root, tops, singles, seen.walked)
        return report

    def _modes(self) -> bool:
        """Tell whether the filesystem keeps modes: where every file is executable, none was made so."""
        return not os.stat(self.environment.root / "pyvenv.cfg").st_mode & 0o100


def _names(walked: bytes) -> Mapping[str, frozenset[str]]:
    """Return the names below ``__pycache__`` that an index knew."""
    return {
        listing.path: frozenset(listing.files()) for listing in unpack(walked) if listing.path.endswith("__pycache__")
    }  # fmt: skip


def _digest(resolution: Resolution, known: Knowledge) -> str:
    """Return the digest of what is selected and of what is known about it: all that proofs of files rest on."""
    lines = [f"{item.name} {item.version} {_content(item)}" for item in resolution.selected]
    lines += [f"{owner.name} {owner.digest}" for owner in known.expected.owners]
    return blake3_hex("\n".join(lines).encode())


def _content(item: Selected) -> str:
    if item.artifact is not None:
        return item.artifact.sha256
    return repr(item.source)


def _shown(finding: Finding, site_packages: Sequence[str]) -> Finding:
    """Return ``finding`` with its path as people and scripts are told it: within site-packages, relative to that."""
    for site in site_packages:
        if finding.path is not None and finding.path.startswith(f"{site}/"):
            return replace(finding, path=finding.path[len(site) + 1 :])
    return finding


def _ordered(findings: Sequence[Finding]) -> list[Finding]:
    rank = {"error": 0, "warning": 1, "info": 2}
    return sorted(
        dict.fromkeys(findings),
        key=lambda one: (rank[one.severity], one.code, one.subject, one.path or "", one.message),
    )


def _answer(examined: Examined, findings: Sequence[Finding], depth: Depth) -> str:
    severities = Counter(finding.severity for finding in findings)
    codes = Counter(finding.code for finding in findings if finding.severity == "error")
    where = f" in {examined.environment}" if examined.environment else ""
    if codes:
        counted = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
        return f"no: {count(severities['error'], 'error')}{where} ({counted})"
    if not examined.environment:
        return "the locks are fresh; there is no environment to verify"
    what = f"{count(examined.verified, 'distribution')} verified{where}"
    if depth == "quick":
        extent = "names, versions and RECORDs only"
    else:
        extent = f"{count(examined.files, 'file')}, {show_size(examined.size)}"
    left = f"; {examined.unverified} NOT verified" if examined.unverified else ""
    return f"yes: {what} ({extent}; {depth}){left}"
