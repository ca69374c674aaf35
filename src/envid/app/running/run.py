"""``envid run``: a command behind the gate. It runs when something that it depends on is new, and only then."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from envid.app.outcome import Outcome, count
from envid.app.remember import remember_run
from envid.app.running import aside, foreign, ledger, products
from envid.app.running.outputs import Row
from envid.app.running.performing import Lost, Performed, Refused, Verify, drifted, perform, unmounted
from envid.app.running.rerun import Words, request_of
from envid.app.running.task import Measured, Order, Task, measure, purpose, task_of
from envid.app.running.turns import Turn, turn
from envid.app.running.why import reasons, record
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.errors import BadManifest, EnvidError
from envid.gate import Absent, Fresh, Stale, decide
from envid.manifest import decode
from envid.store import roots
from envid.store.cache import Candidate, Miss, find, read_entry
from envid.store.entry import Damage
from envid.store.flight import single
from envid.store.place import Place
from envid.store.tally import Tally
from envid.store.usage import using
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.frozen import dataclass
from envid.values.progress import SILENT, Progress

ADVICE: Final = {
    "run.no-directory": "set ENVID_CACHE_DIR to a directory of your own",
    "run.read-only": "make the cache writable, or set ENVID_CACHE_DIR",
    "run.untrusted": "set ENVID_CACHE_DIR to a directory of your own",
    "run.space": "free some space, or run `envid cache gc`",
    "run.unwritable": "run `envid cache verify`",
    "run.moved": "run it again when nobody changes the project or the environment",
    "run.diverged": "make the command deterministic, or name with --in and --env what it depends on",
    "run.volatile": "name the program itself, or one of the locked environment",
    "run.drifted": "run `envid sync`, then this again",
    "run.inputs-changed": "run it again; a command must not change what it reads",
    "run.wrote-outside": "name it with --out, or have the command write elsewhere ($TMPDIR is private)",
    "run.no-output": "look at what --out names and at what the command writes",
    "run.odd-output": "outputs are files, directories and relative links, their names UTF-8 without control characters",
    "run.foreign-files": foreign.HINT,
}
"""What to do about each reason why nothing was kept, by the code of the finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The outputs are what was made before under the same key."""

    rows: dict[str, Row]
    laid: int
    """How many of them had to be put in place."""
    removed: int = 0
    """Files that ``--clean`` removed."""
    foreign: tuple[str, ...] = ()
    """Files among them that no run made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The command has to run."""

    missed: str
    """Why the cache had nothing: one of ``values.reason.MISSES``."""
    decision: Stale | Absent
    lost: Lost | None = None
    """The entry of which a part is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an order."""

    measured: Measured
    state: Hit | Due
    performed: Performed | None = None
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Check(Protocol):
    """What ``app.checking.check`` does."""

    def __call__(self, ws: Workspace, *, name: str | None) -> Outcome:
        """Return the verdict on a lock."""


def run(
    ws: Workspace, order: Order, *, verify: Verify, check: Check | None = None, explain: bool = False,
    strict: bool = False, stdout: int | None = None, progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Have the outputs of ``order`` in place: as they are, out of the store, or made by the command.

    ``verify``: ``app.verify.verify``; ``check``: ``app.checking.check``, asked about the lock when the command is to
    run. ``stdout``: descriptor for the command's standard output instead of ours. ``data``: ``{"status", "outcome",
    "reason", "message", "key", "outputs", "explain"}``; ``outcome`` is ``hit``, ``ran`` (and kept), ``unkept`` or
    ``failed``. The exit status is the command's; a reason why nothing was kept is a finding ``run.REASON``: a
    warning, with ``strict`` an error. Raises UsageError, CommandNotStarted, EnvironmentNotFound, GuardTimeout,
    WriteFailed, and what ``identify_for`` raises.
    """
    words = Words(
        argv=list(order.argv), inputs=list(order.inputs), outputs=list(order.outputs), named=list(order.named),
        layer=order.layer, name=order.name, venv=order.venv, project=ws.place,
    )  # fmt: skip
    task = task_of(ws, order)
    bound = request_of(words)
    said = purpose(task)
    with opened(ws) as place:
        known = ledger.read(ws.kept, task.root, task.paths)
        standing = _standing(place, task, known)
        if standing is not None:
            lines = _explained(task, place, *standing) if explain else ()
            done = Done(measured=standing[0], state=standing[1], lines=lines)
        else:
            with turn(task.root, task.paths, wait=order.wait, purpose=said, variables=ws.variables) as mine:
                recovered = aside.recover(task.root, mine.left)
                again = f"put right what an interrupted run left of {', '.join(recovered)}"
                done = _in_turn(
                    place, task, mine, [again] if recovered else [], explain=explain, stdout=stdout, said=said,
                    drift=lambda: drifted(task, mine, verify, progress),
                    stale=lambda: _stale(ws, order.name, check),
                )  # fmt: skip
        measured, state, performed = done.measured, done.state, done.performed
        record(task, measured.slot)
        rows = state.rows if isinstance(state, Hit) else _made(performed, task)
        outcome = _outcome(
            measured, state, performed, done.lines, list(done.notes), rows or {}, subject=task.paths[0], strict=strict
        )
        if rows is not None and measured.repeatable:
            remember_run(words, bound, rows, said=_up_to_date(measured))
        return outcome


def _in_turn(
    place: Place, task: Task, mine: Turn, notes: list[str], *, explain: bool, stdout: int | None, said: str,
    drift: Callable[[], Refused | None], stale: Callable[[], list[str]],
) -> Done:  # fmt: skip
    """Look, and have the command make what is not there."""
    known = ledger.read(task.ws.kept, task.root, task.paths)
    foreign.refuse(task.root, task.outputs, known)
    measured = measure(task)
    state = _look(place, task, measured, known)
    performed: Performed | None = None
    lines: tuple[str, ...] = ()
    while isinstance(state, Due):
        with single(place, measured.slot, wait=task.order.wait, purpose=said) as flight:
            notes += [flight.note] if flight.note else []
            if flight.waited:
                # What was measured before the wait may be another by now.
                now = measure(task)
                same, measured = now.slot.key == measured.slot.key, now
                state = _look(place, task, measured, known)
                if not same and isinstance(state, Due):
                    continue
            lines = _explained(task, place, measured, state) if explain else ()
            if isinstance(state, Due):
                notes += stale()
                performed = perform(
                    task, measured, state.decision, place, mine, stdout=stdout, drift=drift, known=known,
                    lost=state.lost,
                )  # fmt: skip
            break
    else:
        lines = _explained(task, place, measured, state) if explain else ()
    _enter(task, state.rows if isinstance(state, Hit) else _made(performed, task), performed, known)
    return Done(measured=measured, state=state, performed=performed, lines=lines, notes=tuple(notes))


def _standing(place: Place, task: Task, known: Mapping[str, Row]) -> tuple[Measured, Hit] | None:
    """Return the hit whose outputs are all in place, which takes no turn; None for any other."""
    if any(not os.path.lexists(f"{task.root}/{path}") for path in task.paths) or aside.is_left(task.root, task.paths):
        return None
    foreign.refuse(task.root, task.outputs, known)
    measured = measure(task)
    if measured.volatile:
        return None
    path = place.entry_path(measured.slot)
    quiet = replace(place, tally=Tally())
    try:
        found = Candidate(quiet, path, read_entry(path, quiet, measured.slot.key))
    except Damage:
        return None
    decision = decide(found.document, measured.slot)
    payload = found.payload(decision.read) if isinstance(decision, Fresh) else None
    rows = _rows(payload, task) if isinstance(payload, bytes) else None
    if rows is None:
        return None
    stays = products.standing(task.root, task.paths, rows, known=known, clean=task.order.clean)
    if stays is None:
        return None
    for layer, event, number in quiet.tally:
        place.tally.add(layer, event, number)
    roots.remember(place, task.root, keys=[measured.slot.key])
    if dict(rows) != dict(known):
        ledger.keep(task.ws.kept, task.root, task.paths, rows)
    return measured, Hit(rows=rows, laid=0, foreign=stays)


def _stale(ws: Workspace, name: str, check: Check | None) -> list[str]:
    """Return that the lock does not answer pyproject.toml, where that is so: the command runs all the same."""
    if check is None:
        return []
    try:
        found = check(ws, name=name).findings
    except EnvidError:
        return []
    if not any(one.code == "lock.stale" for one in found):
        return []
    return [f"note: the lock `{name}` does not answer pyproject.toml any more: see `envid lock --check`"]


def _enter(task: Task, rows: dict[str, Row] | None, performed: Performed | None, known: Mapping[str, Row]) -> None:
    """Enter into the ledger what is in the outputs now and was made by a run."""
    cache = task.ws.kept
    if performed is None:
        if rows is not None and dict(rows) != dict(known):
            ledger.keep(cache, task.root, task.paths, rows)
    elif not performed.status:
        ledger.keep(cache, task.root, performed.replaced, performed.left if rows is None else rows)


def _look(place: Place, task: Task, measured: Measured, known: Mapping[str, Row]) -> Hit | Due:
    """Ask the store, by way of the gate; what it has is put in place."""
    slot = measured.slot
    if measured.volatile:
        nothing = decide(None, slot)
        assert isinstance(nothing, Absent)
        return Due(missed="absent", decision=nothing)
    found = find(place, slot)
    decision = decide(found.document if isinstance(found, Candidate) else None, slot)
    if not isinstance(decision, Fresh) or not isinstance(found, Candidate):
        assert not isinstance(decision, Fresh)
        return Due(missed=found.reason if isinstance(found, Miss) else "stale", decision=decision)
    with using(place, purpose="envid run"):
        payload = found.payload(decision.read)
        rows = None if isinstance(payload, Miss) else _rows(payload, task)
        if rows is not None:
            with unmounted(task.paths):
                restored = products.restore(
                    place, task.root, task.paths, rows, known=known, clean=task.order.clean
                )  # fmt: skip
            if isinstance(restored, products.Restored):
                roots.remember(place, task.root, keys=[slot.key])
                return Hit(
                    rows=rows, laid=restored.laid + restored.removed, foreign=restored.foreign,
                    removed=restored.files if task.order.clean else 0,
                )  # fmt: skip
            reason = "unreadable" if restored.reason == "unreadable" else "incomplete"
        else:
            reason = payload.reason if isinstance(payload, Miss) else "damaged"
    lost = None
    if not isinstance(payload, Miss):
        lost = Lost(reason=reason, manifest=payload)
        place.tally.add(slot.layer, reason)
    again = decide(None, slot)
    assert isinstance(again, Absent)
    return Due(missed=reason, decision=again, lost=lost)


def _rows(payload: bytes, task: Task) -> dict[str, Row] | None:
    try:
        return products.rows_of(decode(payload), task.paths)
    except BadManifest:
        return None


def _made(performed: Performed | None, task: Task) -> dict[str, Row] | None:
    if performed is None or performed.refused is not None:
        return None
    return products.rows_of(performed.made, task.paths)


def _explained(task: Task, place: Place, measured: Measured, state: Hit | Due) -> tuple[str, ...]:
    return reasons(task, place, measured.slot, state.missed if isinstance(state, Due) else None)


def _up_to_date(measured: Measured) -> str:
    return f"run: up to date ({measured.slot.key[:20]})\n"


def _outcome(
    measured: Measured, state: Hit | Due, performed: Performed | None, lines: tuple[str, ...], notes: list[str],
    rows: dict[str, Row], *, subject: str, strict: bool,
) -> Outcome:  # fmt: skip
    refused = None if performed is None else performed.refused
    status = 0 if performed is None else performed.status
    short = measured.slot.key[:20]
    text = ""
    if isinstance(state, Hit):
        done, reason = "hit", "hit"
        text = _up_to_date(measured).strip() if not state.laid else (
            f"run: {count(state.laid, 'output')} restored from the cache ({short})"
        )  # fmt: skip
    elif refused is None:
        done, reason, text = "ran", state.missed, f"run: {count(len(rows), 'output')} made and kept ({short})"
    elif status:
        done, reason, text = "failed", "failed", f"run: {refused.message}; its outputs are as they were"
    else:
        done, reason = "unkept", refused.reason
    removed = state.removed if isinstance(state, Hit) else performed.removed if performed is not None else 0
    cleaned = f"--clean removed {count(removed, 'file')} that the command does not make" if removed else ""
    told = _told(state, performed)
    findings: tuple[Finding, ...] = ()
    if told is not None:
        code = f"run.{told.reason}"
        findings = (
            Finding(code=code, severity="error" if strict else "warning", subject=subject, message=told.message,
                    hint=ADVICE[code]),
        )  # fmt: skip
    data: dict[str, JSONValue] = {
        "status": status, "outcome": done, "reason": reason, "message": refused.message if refused else "",
        "key": measured.slot.key, "outputs": products.said(rows), "explain": list(lines),
    }  # fmt: skip
    notes = [part for part in (*notes, *lines, cleaned, text) if part]
    return Outcome(command="run", notes=tuple(notes), data=data, findings=findings, status=status)


def _told(state: Hit | Due, performed: Performed | None) -> Refused | None:
    """Return what is to be told as a finding."""
    if isinstance(state, Hit):
        if not state.foreign:
            return None
        return Refused(reason="foreign-files", message=f"no run made {foreign.some(state.foreign)}, and it stays")
    if performed is None or performed.status:
        return None
    if performed.refused is not None:
        refused = performed.refused
        return Refused(reason=refused.reason, message=f"nothing was kept: {refused.message}")
    return Refused(reason="diverged", message=performed.diverged) if performed.diverged else None
