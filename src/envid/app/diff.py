"""``envid diff OLD NEW``: what changed between two locks, and whether any of it is an alarm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from envid.app.outcome import Outcome
from envid.app.project import lock_shown
from envid.app.revision import PREFIX, read_revision
from envid.app.workspace import MAX_LOCK_BYTES, Workspace, read_limited
from envid.errors import InvalidLock, LockNotFound
from envid.lock.difference import Change, difference, findings
from envid.lock.pylock import parse
from envid.values.artifact import Lock
from envid.values.digest import JSONValue

KINDS: Final = "diff takes files of pylock.toml, names of declared locks and rev:REVISION; `envid adopt` reads others"
_WIDTH: Final = 60
"""Characters of a cell; the JSON has the whole text."""


def diff(ws: Workspace, old: str, new: str) -> Outcome:
    """Return the differences: an error ``diff.rehashed`` per file whose hash changed, a warning per new origin.

    ``old`` and ``new``: the name of a declared lock, ``rev:GITREV[:PATH]``, or a file. ``data``:
    ``{"old", "new", "changes": [{"name", "class", "old", "new"}]}``. Raises LockNotFound, InvalidLock,
    UsageError, ToolchainError.
    """
    (old_name, before), (new_name, after) = load(ws, old), load(ws, new)
    changes = difference(before, after)
    notes = [
        f"{what} changed from {_joined(one)} to {_joined(two)}"
        for what, one, two in (
            ("requires-python", (before.requires_python or "",), (after.requires_python or "",)),
            ("environments", before.environments, after.environments),
        )
        if one != two
    ]
    return Outcome(
        command="diff",
        answer=_table(changes) or f"no difference between {old_name} and {new_name}",
        notes=tuple(notes),
        data={"old": old_name, "new": new_name, "changes": [_row(change) for change in changes]},
        findings=findings(changes),
    )


def load(ws: Workspace, text: str) -> tuple[str, Lock]:
    """Return (name for messages, lock) of one side of the comparison."""
    if text.startswith(PREFIX):
        name, data = read_revision(ws, text, path=lock_shown())
    elif text in ws.intent.settings.locks:
        name, data = lock_shown(text), ws.read_lock(text)
    else:
        path = Path(os.path.abspath(text))
        name = os.path.relpath(path, ws.root) if path.is_relative_to(ws.root) else str(path)
        missing = LockNotFound(f"there is no {name}", hint="see `envid diff --help`")
        data = read_limited(path, MAX_LOCK_BYTES, missing=missing)
    if b"lock-version" not in data:
        raise InvalidLock(f"{name} is not a lock of a kind that can be compared", hint=KINDS, path=name)
    return name, parse(data, path=name)


def _row(change: Change) -> JSONValue:
    return {"name": change.name, "class": change.change, "old": change.old, "new": change.new}


def _joined(texts: tuple[str, ...]) -> str:
    return " | ".join(texts) or "none"


def _table(changes: tuple[Change, ...]) -> str:
    rows = [(change.name, change.change, *_cells(change)) for change in changes]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {old:<{widths[2]}}  {new}".rstrip() for name, kind, old, new in rows
    )


def _cells(change: Change) -> tuple[str, str]:
    if change.change == "artifact":
        return f"-{_files(change.old)}", f"+{_files(change.new)}"
    if change.change == "rehashed":
        # The whole digests are in the finding below and in the JSON.
        return _short(change.old), _short(change.new)
    return _cut(change.old or "-"), _cut(change.new or "-")


def _cut(text: str) -> str:
    return f"{text[:_WIDTH]}..." if len(text) > _WIDTH else text


def _files(side: str) -> str:
    names = side.split(", ") if side else []
    return f"{len(names)} {'file' if len(names) == 1 else 'files'}"


def _short(text: str) -> str:
    filename, _, digest = text.partition(" ")
    return f"{filename} {digest[:19]}..."
