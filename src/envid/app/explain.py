"""``envid explain``: which components differ between two identities, in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from envid.app.keys import DEFAULT_LAYER, identify_for
from envid.app.outcome import Outcome
from envid.app.project import lock_shown
from envid.app.recorded import recorded
from envid.app.revision import PREFIX, read_revision
from envid.app.selecting import target_for
from envid.app.workspace import MAX_LOCK_BYTES, Workspace, read_limited
from envid.errors import IdentityUnknown, LockNotFound
from envid.identity import Change, Identity, parse_document
from envid.identity import explain as differences
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.intent import parse_intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two identities, and how to call it."""

    label: str
    identity: Identity
    filenames: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    layer: str | None
    target: str | None
    name: str


def explain(
    ws: Workspace,
    old: str | None = None,
    new: str | None = None,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
) -> Outcome:
    """Answer with the differences; one error finding ``identity.changed`` per component that differs.

    ``old`` and ``new``: an identity document, a lock file, or ``rev:GITREV`` (its pyproject.toml and
    lock); default: what was recorded last against the current state. ``data``: ``{"old", "new",
    "layer", "changes": [{"component", "what", "subject", "old", "new", "text"}], "last": [...]}``, where
    ``last`` is the change before, when nothing changed since. Raises IdentityUnknown when nothing is
    recorded, UnsupportedSchema, and what ``key`` raises.
    """
    layer = layer or _layer_of(old) or _layer_of(new)
    asked = _Asked(layer=layer, target=target, name=name)
    before = _recorded(ws, asked) if old is None else _side(ws, old, asked)
    after = _current(ws, asked) if new is None else _side(ws, new, asked)
    changes = differences(before.identity, after.identity, filenames={**before.filenames, **after.filenames})
    last = _last(ws, asked) if old is None and not changes else ()
    answer = "\n".join(change.text for change in changes) or f"no difference between {before.label} and {after.label}"
    if last:
        answer += "\n" + "\n".join(["the last change before that:", *(f"  {change.text}" for change in last)])
    return Outcome(
        command="explain",
        answer=answer,
        data={
            "old": before.label,
            "new": after.label,
            "layer": after.identity.layer,
            "changes": [_row(change) for change in changes],
            "last": [_row(change) for change in last],
        },
        findings=_findings(changes, before, after),
    )


def _findings(changes: tuple[Change, ...], before: Side, after: Side) -> tuple[Finding, ...]:
    grouped: dict[str, list[Change]] = {}
    for change in changes:
        grouped.setdefault(change.component, []).append(change)
    return tuple(
        Finding(
            code="identity.changed", severity="error", subject=component,
            message=f"{component} differs between {before.label} and {after.label}: {len(items)} "
            + ("difference" if len(items) == 1 else "differences"),
            expected=items[0].old if len(items) == 1 else None,
            actual=items[0].new if len(items) == 1 else None,
        )
        for component, items in grouped.items()
    )  # fmt: skip


def _row(change: Change) -> JSONValue:
    return {
        "component": change.component, "what": change.what, "subject": change.subject, "old": change.old,
        "new": change.new, "text": change.text,
    }  # fmt: skip


def _layer_of(text: str | None) -> str | None:
    # A document says of which layer it is; the other side is then computed for the same.
    if text is None or text.startswith(PREFIX) or not os.path.isfile(text):
        return None
    data = _file(text)
    return parse_document(data).layer if data.startswith(b"{") else None


def _file(text: str) -> bytes:
    missing = LockNotFound(f"there is no {text}", hint="give an identity document, a lock, or rev:REVISION")
    # `envid identity > FILE` ends with a newline, the document does not.
    return read_limited(Path(os.path.abspath(text)), MAX_LOCK_BYTES, missing=missing).rstrip(b"\r\n")


def _side(ws: Workspace, text: str, asked: _Asked) -> Side:
    if text.startswith(PREFIX):
        return _revision(ws, text, asked)
    data = _file(text)
    if data.startswith(b"{"):
        return Side(label=text, identity=parse_document(data))
    found = identify_for(ws, layer=asked.layer, target=asked.target, name=asked.name, lock=data)
    return Side(label=text, identity=found.identity, filenames=found.filenames)


def _revision(ws: Workspace, text: str, asked: _Asked) -> Side:
    revision = PREFIX + text.removeprefix(PREFIX).partition(":")[0]
    label, pyproject = read_revision(ws, revision, path="pyproject.toml")
    path = lock_shown(asked.name)
    _, lock = read_revision(ws, text, path=path)
    then = replace(ws, pyproject=pyproject, intent=parse_intent(pyproject, path=label))
    found = identify_for(then, layer=asked.layer, target=asked.target, name=asked.name, lock=lock, past=True)
    return Side(label=text, identity=found.identity, filenames=found.filenames)


def _current(ws: Workspace, asked: _Asked) -> Side:
    found = identify_for(ws, layer=asked.layer, target=asked.target, name=asked.name)
    return Side(label="the current state", identity=found.identity, filenames=found.filenames)


def _recorded(ws: Workspace, asked: _Asked) -> Side:
    layer = asked.layer or DEFAULT_LAYER
    target = target_for(asked.target)
    kept = recorded(ws, layer=layer, target=target, name=asked.name)
    if kept.last is None:
        raise IdentityUnknown(
            f"nothing was recorded for layer {layer}, target {target.name}, lock {asked.name}",
            hint="run `envid key` first, or name two things to compare",
        )
    return Side(label="what was recorded", identity=parse_document(kept.last))


def _last(ws: Workspace, asked: _Asked) -> tuple[Change, ...]:
    kept = recorded(ws, layer=asked.layer or DEFAULT_LAYER, target=target_for(asked.target), name=asked.name)
    if kept.last is None or kept.before is None:
        return ()
    return differences(parse_document(kept.before), parse_document(kept.last))
