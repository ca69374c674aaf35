"""``envid doctor``: everything that could be wrong with this machine or project, each with its fix.

Each examination answers one question and is a row of ``EXAMINATIONS``. What it cannot ask without
the network, it does not ask.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Final

from envid import atomic
from envid.app.checking import check
from envid.app.outcome import Outcome
from envid.app.project import NO_PLACE
from envid.app.storing import place_of
from envid.app.workspace import Workspace
from envid.errors import EnvidError, WriteFailed
from envid.installed.interpreter import environment_of, measure
from envid.installed.prefix import moved_from
from envid.lock.uv import version_of
from envid.values.finding import Finding, Severity
from envid.values.target import fits, host_target

LEAST_FREE: Final = 512 * 1024 * 1024
"""Bytes free in the cache's filesystem below which a sync may not fit."""


def doctor(ws: Workspace) -> Outcome:
    """Run every examination; findings of severity error are what will make another command fail."""
    findings: list[Finding] = []
    rows: list[str] = []
    for name, examination in EXAMINATIONS.items():
        try:
            found = list(examination(ws))
        except EnvidError as error:
            found = [_finding(name, "error", error.message, error.hint)]
        findings += found
        worst = next((level for level in ("error", "warning") if any(item.severity == level for item in found)), "ok")
        what = WHAT[name]
        if name == "python" and not ws.intent.settings.targets:
            what = "no targets are declared"
        rows.append(f"{worst:<8}{name:<13}{what}")
    return Outcome(
        command="doctor",
        answer="\n".join(rows),
        findings=tuple(findings),
        data={"examined": {name: WHAT[name] for name in EXAMINATIONS}},
    )


def _finding(name: str, severity: Severity, message: str, hint: str = "", *, path: str | None = None) -> Finding:
    return Finding(
        code=f"doctor.{name}", severity=severity, subject=name, message=message, hint=hint or None, path=path
    )


def _uv(_: Workspace) -> Iterator[Finding]:
    from uv import find_uv_bin

    try:
        binary = find_uv_bin()
    except FileNotFoundError:
        yield _finding("uv", "error", "the uv binary of the `uv` package is missing", "reinstall envid")
        return
    version_of(binary)


def _python(ws: Workspace) -> Iterator[Finding]:
    interpreter = measure()
    host = host_target(interpreter)
    declared = ws.intent.settings.targets
    if not declared:
        return
    if not any(not fits(target, interpreter) for target in declared):
        nearest = ", ".join(target.name for target in declared[:3])
        yield _finding(
            "python", "warning", f"this host ({host.name}) fits none of the declared targets ({nearest}, ...)",
            "add the target to [tool.envid] targets, or run envid with another Python",
        )  # fmt: skip


def _cache(ws: Workspace) -> Iterator[Finding]:
    trouble = place_of(ws).trouble
    if trouble is not None and ws.kept == NO_PLACE:
        yield _finding("cache", "error" if trouble.reason == "untrusted" else "warning", trouble.message, trouble.hint)
        return
    nearest = ws.cache
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    status = nearest.stat()
    if nearest == ws.cache and status.st_mode & 0o002:
        yield _finding("cache", "error", f"{ws.cache} can be written by every user", f"run `chmod o-w {ws.cache}`")
    if nearest == ws.cache and hasattr(os, "getuid") and status.st_uid not in (0, os.getuid()):
        yield _finding("cache", "error", f"{ws.cache} belongs to another user", "set ENVID_CACHE_DIR")
    try:
        # Permissions do not tell: the file system may be read-only, or take no files at all.
        with atomic.temporary_directory(beside=nearest):
            pass
    except WriteFailed as error:
        why = f"{ws.cache} cannot be written; nothing is remembered: {error.message}"
        yield _finding("cache", "warning", why, "set ENVID_CACHE_DIR")
        return
    usage = shutil.disk_usage(nearest)
    # Some network file systems do not tell their size.
    if usage.total and usage.free < LEAST_FREE:
        yield _finding("cache", "warning", f"{usage.free // 2**20} MiB are free where {ws.cache} is", "make room")


def _locks(ws: Workspace) -> Iterator[Finding]:
    for item in check(ws).findings:
        if item.severity != "info":
            yield _finding("locks", item.severity, f"{item.code}: {item.message}", item.hint or "", path=item.path)


def _environment(ws: Workspace) -> Iterator[Finding]:
    root = ws.environment_path()
    if not root.is_dir():
        return
    environment = environment_of(root)
    if not environment.base_executable.exists():
        yield _finding(
            "environment", "error", f"the interpreter {environment.base_executable} behind .venv is gone",
            f"remove {root} and run `envid sync`",
        )  # fmt: skip
    moved = moved_from(environment, (root / "pyvenv.cfg").read_bytes())
    if moved is not None:
        yield _finding(
            "environment", "error", f"it was made as {moved} and then moved or copied: its scripts enter that one",
            f"remove {root} and run `envid sync`",
        )  # fmt: skip
    if environment.system_site_packages:
        yield _finding(
            "environment", "warning", "the environment also sees the packages of the system, which no lock describes",
            "set include-system-site-packages = false in pyvenv.cfg",
        )  # fmt: skip


def _links(ws: Workspace) -> Iterator[Finding]:
    mode = ws.variables.get("UV_LINK_MODE")
    if mode in ("hardlink", "symlink"):
        yield _finding(
            "links", "warning", f"UV_LINK_MODE={mode}: an edit in one environment reaches the others",
            "unset UV_LINK_MODE; envid then clones or copies",
        )  # fmt: skip


def _checks(ws: Workspace) -> Iterator[Finding]:
    if ws.variables.get("UV_FROZEN", "") not in ("", "0"):
        yield _finding("checks", "info", "UV_FROZEN is set: uv's own lock checks are off; envid's are not", "unset it")
    if not shutil.which("git", path=ws.variables.get("PATH")):
        yield _finding("checks", "info", "git is not there: `rev:` cannot be used in explain and diff", "install git")


EXAMINATIONS: Final[dict[str, Callable[[Workspace], Iterator[Finding]]]] = {
    "uv": _uv,
    "python": _python,
    "cache": _cache,
    "locks": _locks,
    "environment": _environment,
    "links": _links,
    "checks": _checks,
}
"""Name to examination, in the order in which they are shown."""

WHAT: Final = {
    "uv": "the uv that envid drives is there and of a tested version",
    "python": "this host fits a declared target",
    "cache": "the cache directory is private and writable, with room",
    "locks": "every declared lock is there and current",
    "environment": "the environment's interpreter exists and it was not moved",
    "links": "environments share no file with the installer's cache",
    "checks": "nothing in the caller's environment turns a check off",
}
"""Name to what it means when it is well."""
