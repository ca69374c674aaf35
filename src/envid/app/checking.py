"""``envid lock --check``: do the locks answer what pyproject.toml asks? Offline, nothing written."""

from __future__ import annotations

from dataclasses import replace

from envid.app.asking import question
from envid.app.outcome import Memory, Outcome, count
from envid.app.project import lock_shown
from envid.app.workspace import Workspace
from envid.errors import DependencyRefused, DynamicMetadata, LockNotFound
from envid.lock.freshness import Verdict, judge
from envid.lock.pylock import read
from envid.values.artifact import Lock
from envid.values.digest import JSONValue, blake3_hex
from envid.values.finding import Finding


def check(ws: Workspace, *, name: str | None = None) -> Outcome:
    """Return the verdict on the lock ``name``, or on every declared lock that exists.

    The default lock is always asked for: when it is missing, that is a ``lock.missing`` finding; so is
    any lock asked for by name. ``data``: ``{"locks": {NAME: {"verdict", "changes": [...]}}}``.
    Raises ConfigError, InvalidLock and the other errors of a lock that cannot be read.
    """
    names = [name] if name is not None else sorted(ws.intent.settings.locks, key=lambda one: (one != "default", one))
    findings: list[Finding] = []
    lines: list[str] = []
    locks: dict[str, JSONValue] = {}
    seen = {str(ws.root / "pyproject.toml"): blake3_hex(ws.pyproject)}
    closed = True
    for one in names:
        shown = lock_shown(one)
        try:
            data = ws.read_lock(one)
        except LockNotFound:
            if name is None and one != "default":
                continue
            findings.append(_about(_missing(shown), one, ""))
            locks[one] = {"verdict": "missing", "changes": []}
            lines.append(f"missing: {shown}")
            continue
        seen[str(ws.lock_path(one))] = blake3_hex(data)
        lock = read(data, path=shown)
        verdict, alone = _verdict(ws, one, lock, data)
        closed = closed and alone
        locks[one] = {"verdict": verdict.state, "changes": [_change(finding) for finding in verdict.findings]}
        lines.append(_line(ws, verdict, lock, shown))
        # Two locks may be stale for the same reason: say which one a sentence is about.
        lead = f"{shown}: " if len(names) > 1 else ""
        findings += (_about(item, one, lead) for item in verdict.findings)
    return Outcome(
        command="lock",
        answer="\n".join(lines),
        data={"locks": locks},
        findings=tuple(findings),
        # A local source is one more input, in files that `recall` does not look at.
        memory=Memory(files=seen) if closed else None,
    )


def _verdict(ws: Workspace, name: str, lock: Lock, data: bytes) -> tuple[Verdict, bool]:
    """Return the verdict on one lock, and whether it follows from pyproject.toml and the lock alone.

    Metadata that only a build would tell, or that is not there, makes it undecidable.
    """
    try:
        asked = question(ws, name)
    except (DynamicMetadata, DependencyRefused) as error:
        finding = Finding(
            code="lock.undecidable", severity="error", subject="pyproject.toml", path="pyproject.toml",
            message=error.message, hint=error.hint,
        )  # fmt: skip
        return Verdict(state="undecidable", findings=(finding,)), False
    verdict = judge(lock, data, inputs=asked.inputs, asked=asked.asked, targets=ws.intent.settings.targets)
    return verdict, "local" not in asked.inputs


def _about(finding: Finding, name: str, lead: str) -> Finding:
    """Return ``finding`` with its sentence led by ``lead``, and with the command that mends the lock ``name``."""
    hint = finding.hint
    if hint is not None and name != "default":
        hint = hint.replace("`envid lock`", f"`envid lock --name {name}`")
    return replace(finding, message=lead + finding.message, hint=hint)


def _missing(shown: str) -> Finding:
    return Finding(
        code="lock.missing", severity="error", subject="lock", path=shown,
        message=f"there is no {shown}", hint="run `envid lock`",
    )  # fmt: skip


def _line(ws: Workspace, verdict: Verdict, lock: Lock, shown: str) -> str:
    if verdict.state == "fresh":
        size = f"{count(len({entry.name for entry in lock.distributions}), 'distribution')}"
        targets = ws.intent.settings.targets
        reach = count(len(targets), "target") if targets else "every platform"
        return f"fresh: {shown} answers pyproject.toml ({size}, {reach})"
    if verdict.state == "stale":
        return f"stale: {shown} does not answer pyproject.toml"
    return f"undecidable: whether {shown} answers pyproject.toml cannot be told offline"


def _change(finding: Finding) -> JSONValue:
    return {
        "code": finding.code, "input": finding.subject, "old": finding.actual, "new": finding.expected,
        "message": finding.message,
    }  # fmt: skip
