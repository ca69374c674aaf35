"""``envid restore``: what a CI cache brought is used under its own key only, whole, or not at all.

``seal`` says in the tree that a cache is about to save what it was made as. ``check`` holds a restored tree to that,
and removes it when anything differs. Nothing of a restored tree runs before it is judged.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from envid.app.ci import DEFAULT_LAYER, LADDERS, PATTERN, cache_key, kept_path, ladder
from envid.app.keys import Identified, identify_for
from envid.app.outcome import Outcome
from envid.app.tracked import tracks
from envid.app.workspace import Workspace
from envid.atomic import remove_file, remove_tree, rename
from envid.errors import (
    EnvironmentNotFound,
    IdentityMoved,
    NotExportable,
    SealBroken,
    UnsafePath,
    UsageError,
    WriteFailed,
)
from envid.gate import Absent, Fresh, Moved, Stale, confirm, decide
from envid.identity import Change, components_of
from envid.installed.note import NAME as NOTE
from envid.slot import Slot, of_identity
from envid.store import seal as seals
from envid.store.tree import Tree
from envid.values.amount import show_size
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.frozen import dataclass

_SHOWN: Final = 3
"""Differences of two identities that a message tells."""
_HINTS: Final = {
    "restore.key": "nothing of it was used; the tree is made anew and saved under its own key",
    "restore.unsealed": "seal a tree with `envid restore seal` right before the cache saves it",
    "restore.identity": "nothing of it was used; the tree is made anew and saved under its own key",
    "restore.torn": "nothing of it was used; if it happens again, something changes the tree between seal and save",
    "restore.miss": "the tree is made anew",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is thought of one tree."""

    tree: str
    """Absolute."""
    code: str = ""
    """The finding, empty for a tree that may be used."""
    message: str = ""


def seal(
    ws: Workspace,
    *,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
    paths: Sequence[str] = (),
    asked: str | None = None,
) -> Outcome:
    """Write a seal into every tree of ``layer``; data is ``{"key", "layer", "trees": [...]}``.

    ``asked`` is the key that the cache was asked for; that another one is sealed is a finding, because the next run
    would ask in vain. The identity is measured again after the trees were read. Raises IdentityMoved,
    EnvironmentNotFound, UnsafePath, UsageError.
    """
    chosen = layer or DEFAULT_LAYER
    trees = _trees(ws, chosen, venv, paths)

    def measured() -> Identified:
        return identify_for(ws, layer=chosen, target=target, name=name, venv=venv)

    if chosen in LADDERS:
        key = cache_key(measured())
        note = f"the layer {chosen} takes no seal: what is in it is held to its hashes when it is used"
        bare: dict[str, JSONValue] = {"key": key, "layer": chosen, "trees": []}
        return Outcome(command="restore-seal", answer=key, notes=(note,), data=bare, findings=_unasked(asked, key))
    for tree in trees:
        _insist_sealable(tree, chosen)
        # Off first: a run that is interrupted from here on leaves a tree without seal, which is refused.
        seals.take_off(tree)
    found = measured()
    decision = decide(None, of_identity(found.identity))
    contents = [seals.measured(tree) for tree in trees]
    again = confirm(decision.work, of_identity(measured().identity)) if isinstance(decision, Absent) else None
    if isinstance(again, Moved):
        raise IdentityMoved(f"the identity changed while the trees were read: {_told(again.changes)}")
    key = cache_key(found)
    said = ""
    rows: list[JSONValue] = []
    for tree, content in zip(trees, contents, strict=True):
        one = seals.Seal(key=key, document=found.document, place=_place(ws, tree), tree=content)
        seals.put(tree, one)
        said += f"sealed {one.place}: {_amount(content)}\n"
        rows.append({"path": one.place, "digest": content.digest, "entries": content.entries, "size": content.size})
    data: dict[str, JSONValue] = {"key": key, "layer": chosen, "trees": rows}
    return Outcome(command="restore-seal", answer=f"{said}{key}", data=data, findings=_unasked(asked, key))


def _insist_sealable(tree: str, layer: str) -> None:
    if os.path.islink(tree):
        raise UnsafePath(f"{tree} is a link: a cache would keep the link, not what it leads to", path=tree)
    if not os.path.isdir(tree):
        raise EnvironmentNotFound(f"there is no directory {tree} to seal", path=tree, hint="make it first")
    if layer == "venv" and not os.path.isfile(os.path.join(tree, "pyvenv.cfg")):
        raise EnvironmentNotFound(f"{tree} is no virtual environment", path=tree)


def _unasked(asked: str | None, key: str) -> tuple[Finding, ...]:
    if not asked or asked == key:
        return ()
    return (Finding(
        code="restore.key", severity="warning", subject="key", expected=asked, actual=key,
        message="the cache was asked for another key than that of what was made: the next run will ask in vain",
        hint="run envid with the Python that the environment is made with, and change nothing in between",
    ),)  # fmt: skip


def check(
    ws: Workspace,
    *,
    matched: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    name: str = "default",
    venv: str | None = None,
    paths: Sequence[str] = (),
    strict: bool = False,
) -> Outcome:
    """Judge what a cache restored; data is ``{"restored", "reason", "key", "matched", "layer", "trees": [...]}``.

    ``matched`` is the key that the cache says it restored from: empty for nothing (then nothing is used, whatever is
    there), None where it does not say.
    ``reason``: ``exact``, ``prefix`` (of a ladder), ``unknown`` (a ladder's layer, no key told), or the last word of
    the finding's code. What may not be used is removed, unless nothing says that a cache brought it. The findings are
    warnings, with ``strict`` errors. Raises UnsafePath, UsageError, WriteFailed.
    """
    chosen = layer or DEFAULT_LAYER
    trees = _trees(ws, chosen, venv, paths)
    for tree in trees:
        _sweep(tree)
    # Not looked at: the interpreter of a restored environment would have to be started.
    found = identify_for(ws, layer=chosen, target=target, name=name, venv=venv, unseen=True)
    key = cache_key(found)
    if chosen in LADDERS:
        verdicts, reason = _laddered(ws, chosen, key, matched)
    else:
        verdicts = [_judge(ws, tree, found, key, matched) for tree in trees]
        bad = [one.code for one in verdicts if one.code]
        # A miss is the least that can be said.
        reason = min(bad, key=lambda code: code == "restore.miss").rpartition(".")[2] if bad else "exact"
    restored = not any(one.code for one in verdicts)
    removed = [] if restored else [one.tree for one in verdicts if _is_brought(one, chosen, venv, matched)]
    notes = [note for tree in removed if (note := _remove(tree))]
    notes += [
        f"{_place(ws, one.tree)} was removed with the rest" for one in verdicts if one.tree in removed and not one.code
    ]
    severity: Final = "error" if strict else "warning"
    findings = tuple(
        Finding(
            code=one.code, severity=severity, subject=chosen, path=_place(ws, one.tree), expected=key,
            actual=matched if one.code == "restore.key" else None, hint=_HINTS[one.code],
            message=one.message + _fate(one, one.tree in removed),
        )
        for one in verdicts if one.code and (strict or one.code != "restore.miss" or one.tree in removed)
    )  # fmt: skip
    rows: list[JSONValue] = [
        {"path": _place(ws, one.tree), "finding": one.code or None, "removed": one.tree in removed} for one in verdicts
    ]
    data: dict[str, JSONValue] = {
        "restored": restored, "reason": reason, "key": key, "matched": matched, "layer": chosen, "trees": rows,
    }  # fmt: skip
    return Outcome(
        command="restore-check", answer=f"restored: {'yes' if restored else 'no'} ({reason})",
        notes=tuple(notes), data=data, findings=findings,
    )  # fmt: skip


def _fate(one: Verdict, removed: bool) -> str:
    if removed:
        return "; it was removed"
    return "; it was left alone, because nothing says that a cache brought it" if os.path.lexists(one.tree) else ""


def _laddered(ws: Workspace, layer: str, key: str, matched: str | None) -> tuple[list[Verdict], str]:
    """Return the verdict on a layer whose content is held to hashes when it is used: only the key is looked at."""
    place = kept_path(ws, layer) or ""
    there = os.path.lexists(place)
    if matched == "" or not there:
        return [Verdict(tree=place, code="restore.miss", message="the cache had nothing for this key")], "miss"
    if matched is None:
        return [Verdict(tree=place)], "unknown"
    if matched == key:
        return [Verdict(tree=place)], "exact"
    if any(re.fullmatch(re.escape(rung) + "[0-9a-f]{64}", matched) for rung in ladder(layer, key)):
        return [Verdict(tree=place)], "prefix"
    return [Verdict(tree=place, code="restore.key", message="the cache gave what no key of the ladder begins")], "key"


def _judge(ws: Workspace, tree: str, found: Identified, key: str, matched: str | None) -> Verdict:
    """Return the verdict on one tree: exactly this key, this place, whole, or not."""
    if not os.path.lexists(tree):
        if matched:
            return Verdict(tree=tree, code="restore.torn", message="the cache restored nothing here")
        return Verdict(tree=tree, code="restore.miss", message="the cache had nothing for this key")
    if os.path.islink(tree) or not os.path.isdir(tree):
        return Verdict(tree=tree, code="restore.torn", message="this is no directory")
    try:
        there = seals.read(tree)
    except SealBroken as error:
        return Verdict(tree=tree, code="restore.unsealed", message=error.message)
    code, message = judge(there, of_identity(found.identity), key, _place(ws, tree), matched)
    if code or there is None:
        return Verdict(tree=tree, code=code, message=message)
    try:
        now = seals.measured(tree)
    except UnsafePath as error:
        return Verdict(tree=tree, code="restore.torn", message=error.message)
    if now != there.tree:
        same = (now.entries, now.size) == (there.tree.entries, there.tree.size)
        how = "names, modes or contents differ" if same else f"there are {_amount(now)}, of {_amount(there.tree)}"
        message = f"it is not what was sealed: {how}"
        return Verdict(tree=tree, code="restore.torn", message=message)
    return Verdict(tree=tree)


def _amount(tree: Tree) -> str:
    entries = "1 entry" if tree.entries == 1 else f"{tree.entries} entries"
    return f"{entries}, {show_size(tree.size)}"


def judge(there: seals.Seal | None, slot: Slot, key: str, place: str, matched: str | None) -> tuple[str, str]:
    """Return the code of the finding and why a tree with the seal ``there`` is refused; two empty texts if it is not.

    ``slot`` and ``key`` are of the current identity, ``place`` is where the tree stands. Keys are compared byte for
    byte: GitHub matches prefixes, without regard to case, even of what it calls the exact key. Pure.
    """
    if matched == "":
        # An archive that could not be unpacked to its end is told as none at all.
        return "restore.miss", "the cache says that it had nothing, and yet something is here"
    if matched is not None and matched != key:
        return "restore.key", "the cache gave what was saved under another key"
    if there is None:
        return "restore.unsealed", "there is no seal in it"
    decision = decide(there.document, slot)
    if isinstance(decision, Stale):
        return "restore.identity", f"it was sealed under another identity: {_told(decision.changes)}"
    if not isinstance(decision, Fresh) or there.key != key or there.place != place:
        return "restore.identity", f"it was sealed as {ascii(there.place)[1:-1]} under {ascii(there.key)[1:-1]}"
    return "", ""


def _told(changes: tuple[Change, ...]) -> str:
    shown = "; ".join(change.text for change in changes[:_SHOWN])
    return shown if len(changes) <= _SHOWN else f"{shown}; and {len(changes) - _SHOWN} more"


def _is_brought(one: Verdict, layer: str, venv: str | None, matched: str | None) -> bool:
    """Tell whether a tree bears a sign that a cache brought it, and envid may remove it.

    Never true of what wheels are kept in, nor of a tree with files that git tracks, which a checkout brought.
    """
    if layer == "wheels" or not os.path.lexists(one.tree) or tracks(one.tree):
        # Other projects use the wheels, too, perhaps now; and each of them is held to its hash.
        return False
    if layer == "store":
        return True
    there = not os.path.islink(one.tree)
    if there and os.path.lexists(os.path.join(one.tree, seals.NAME)):
        return True
    is_environment = there and os.path.lexists(os.path.join(one.tree, "pyvenv.cfg"))
    if layer == "venv" and is_environment and os.path.lexists(os.path.join(one.tree, NOTE)):
        return True
    # What somebody names with --venv may be anything; a cache brings environments there.
    return bool(matched) and (layer != "venv" or venv is None or is_environment)


def _remove(tree: str) -> str | None:
    """Remove a tree, of a link the link; return what there is to say about it.

    It is out of the way at once, so that nobody finds half of it.
    """
    path = Path(tree)
    if path.is_symlink() or not path.is_dir():
        remove_file(path)
        return None
    aside = path.with_name(f"{path.name}.{os.urandom(6).hex()}.refused")
    rename(path, aside)
    try:
        remove_tree(aside)
    except WriteFailed as error:
        return f"what was refused is out of the way and not yet gone: {error.message}"
    return None


def _sweep(tree: str) -> None:
    """Remove what an earlier run refused and was killed over before it was gone."""
    path = Path(tree)
    refused = re.compile(re.escape(path.name) + r"\.[0-9a-f]{12}\.refused")
    with contextlib.suppress(OSError, WriteFailed):
        for name in os.listdir(path.parent):
            if refused.fullmatch(name):
                remove_tree(path.with_name(name))


def _trees(ws: Workspace, layer: str, venv: str | None, paths: Sequence[str]) -> list[str]:
    """Return the trees of a layer, absolute; raise UsageError, UnsafePath for one that envid must not remove."""
    components_of(layer, {one: settings.components for one, settings in ws.intent.settings.layers.items()})
    own = kept_path(ws, layer, venv)
    if own is not None and paths:
        raise UsageError(f"the layer {layer} has one place of its own, and takes no PATH", hint="name it with --venv")
    if own is None and not paths:
        raise UsageError(f"which trees of the layer {layer} does the cache keep?", hint="name them as PATH")
    if layer == "wheels":
        return []
    trees = [os.path.abspath(path) for path in ([own] if own is not None else paths)]
    for tree in trees:
        _insist_inside(ws, tree)
        if own is None and PATTERN.search(shown := _place(ws, tree)):
            raise NotExportable(
                f"{shown!a} is not a path that every CI cache takes as it stands",
                hint="name each tree by its plain path",
            )
    ordered = sorted(os.path.join(tree, "") for tree in trees)
    for first, second in pairwise(ordered):
        if second.startswith(first):
            raise UsageError(f"{second} is in {first}: one seal would break the other")
    return trees


def _insist_inside(ws: Workspace, tree: str) -> None:
    root = os.path.realpath(ws.place)
    # Of the tree itself the place where it stands; every directory before it as what it is.
    real = os.path.join(os.path.realpath(os.path.dirname(tree)), os.path.basename(tree))
    if not real.startswith(os.path.join(root, "")):
        raise UnsafePath(
            f"{tree} is not below the project {root}: envid removes nothing elsewhere", path=tree,
            hint="keep trees that a cache restores inside the project",
        )  # fmt: skip
    first = os.path.join(root, os.path.relpath(real, root).split(os.sep)[0])
    kept = (os.path.join(root, name) for name in (".git", "lockfiles", "pyproject.toml"))
    if os.path.lexists(os.path.join(tree, ".git")) or any(_is_same(first, one) for one in kept):
        raise UnsafePath(f"{tree} belongs to the project itself, not to a cache", path=tree)


def _is_same(one: str, two: str) -> bool:
    """Tell whether two names are one thing: by inode as well, because some filesystems know no case."""
    try:
        return one == two or os.path.samestat(os.lstat(one), os.lstat(two))
    except OSError:
        return False


def _place(ws: Workspace, tree: str) -> str:
    """Return a tree relative to the project, POSIX; absolute where it is outside, as wheels may be."""
    real = os.path.join(os.path.realpath(os.path.dirname(tree)), os.path.basename(tree))
    root = os.path.realpath(ws.place)
    return Path(os.path.relpath(real, root) if real.startswith(os.path.join(root, "")) else real).as_posix()
