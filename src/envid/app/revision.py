"""Read a file as a git revision had it: ``rev:GITREV[:PATH]`` on the command line."""

from __future__ import annotations

import re
from typing import Final

from envid import process
from envid.app.workspace import MAX_LOCK_BYTES, Workspace
from envid.errors import EngineFailed, GitNotFound, InterpreterNotFound, LockNotFound, TooLarge, UsageError

PREFIX: Final = "rev:"
TIMEOUT: Final = 60.0
"""Seconds for one question to git."""

_REVISION: Final = re.compile(r"[^\s:\-\x00-\x1f][^\s:\x00-\x1f]{0,199}")


def read_revision(ws: Workspace, text: str, *, path: str) -> tuple[str, bytes]:
    """Return (name for messages, bytes) of the file that ``rev:GITREV[:PATH]`` names.

    ``PATH`` is relative to the project, by default ``path``. Only the repository on disk is read: git is
    kept from fetching. Raises UsageError, LockNotFound, TooLarge, GitNotFound, EngineFailed.
    """
    revision, _, given = text.removeprefix(PREFIX).partition(":")
    # A revision that begins with a dash would be an option of git.
    if not _REVISION.fullmatch(revision) or "\0" in given:
        shown = ascii(text)[1:-1][:100]
        raise UsageError(f"`{shown}` names no git revision", hint="write rev:REVISION or rev:REVISION:PATH")
    wanted = given or path
    thing = f"{revision}:./{wanted}"
    size = _git(ws, "cat-file", "-s", thing)
    if size is None or not size.strip().isdigit():
        problem = f"{revision} has no {wanted}, or there is no such revision"
        raise LockNotFound(problem, hint="see `git log`", path=wanted)
    if int(size) > MAX_LOCK_BYTES:
        raise TooLarge(f"{wanted} at {revision} is larger than {MAX_LOCK_BYTES} bytes", path=wanted)
    content = _git(ws, "cat-file", "blob", thing)
    if content is None:
        raise LockNotFound(f"{wanted} at {revision} is not a file", path=wanted)
    return f"{wanted} at {revision}", content.encode("utf-8")


def _git(ws: Workspace, *arguments: str) -> str | None:
    """Return what git prints; None when it says no."""
    extra = {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = process.run(["git", *arguments], env=process.environment(extra=extra), cwd=ws.root, timeout=TIMEOUT)
    except InterpreterNotFound as error:
        raise GitNotFound("git was not found") from error
    if done.status == 0:
        return done.stdout
    if "not a git repository" in done.stderr or "dubious ownership" in done.stderr:
        reason = done.stderr.strip().partition("\n")[0]
        raise EngineFailed(f"git cannot read the repository: {reason}", hint="run envid inside a git checkout")
    return None
