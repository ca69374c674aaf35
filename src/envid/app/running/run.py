"""``envid run``: a command behind the gate. It runs when something that it depends on is new, and only then."""

from __future__ import annotations

from typing import Final

from envid.app.outcome import Outcome, count
from envid.app.remember import remember_run
from envid.app.running import aside, products
from envid.app.running.outputs import Row
from envid.app.running.performing import Performed, Verify, drifted, perform
from envid.app.running.rerun import Words, request_of
from envid.app.running.task import Measured, Order, Task, measure, purpose, task_of
from envid.app.running.turns import turn
from envid.app.running.why import reasons, record
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.errors import BadManifest
from envid.gate import Absent, Fresh, Stale, decide
from envid.manifest import decode
from envid.store import roots
from envid.store.cache import Candidate, Miss, find, set_aside
from envid.store.flight import single
from envid.store.place import Place
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
    "run.drifted": "run `envid sync`, then this again",
    "run.inputs-changed": "run it again; a command must not change what it reads",
    "run.wrote-outside": "name it with --out, or have the command write elsewhere ($TMPDIR is private)",
    "run.no-output": "look at what --out names and at what the command writes",
    "run.odd-output": "outputs are files, directories and relative links",
}
"""What to do about each reason why nothing was kept, by the code of the finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """The outputs are what was made before under the same key."""

    rows: dict[str, Row]
    laid: int
    """How many of them had to be put in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The command has to run."""

    missed: str
    """Why the cache had nothing: one of ``values.reason.MISSES``."""
    decision: Stale | Absent


def run(
    ws: Workspace, order: Order, *, verify: Verify, explain: bool = False, strict: bool = False,
    stdout: int | None = None, progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Have the outputs of ``order`` in place: as they are, out of the store, or made by the command.

    ``verify``: ``app.verify.verify``. ``stdout``: descriptor for the command's standard output instead of ours.
    ``data``: ``{"status", "outcome", "reason", "message", "key", "outputs", "explain"}``; ``outcome`` is ``hit``,
    ``ran`` (and kept), ``unkept`` or ``failed``. The exit status is the command's; a reason why nothing was kept is a
    note, and with ``strict`` a finding ``run.REASON``. Raises UsageError, CommandNotStarted, GuardTimeout, WriteFailed,
    and what ``identify_for`` raises.
    """
    words = Words(
        argv=list(order.argv), inputs=list(order.inputs), outputs=list(order.outputs), named=list(order.named),
        layer=order.layer, name=order.name, venv=order.venv, project=ws.place,
    )  # fmt: skip
    task = task_of(ws, order)
    bound = request_of(words)
    said = purpose(task)
    with opened(ws) as place, turn(place, task.root, task.paths, wait=order.wait, purpose=said) as mine:
        recovered = aside.recover(task.root, task.paths)
        measured = measure(task)
        state = _look(place, task, measured)
        performed: Performed | None = None
        lines: tuple[str, ...] = ()
        notes = [f"put right what an interrupted run left of {', '.join(recovered)}"] if recovered else []
        if isinstance(state, Due):
            with single(place, measured.slot, wait=order.wait, purpose=said) as flight:
                notes += [flight.note] if flight.note else []
                state = _look(place, task, measured) if flight.waited else state
                lines = _explained(task, place, measured, state) if explain else ()
                if isinstance(state, Due):
                    performed = perform(
                        task, measured, state.decision, place, mine, stdout=stdout,
                        drift=lambda: drifted(task, mine, verify, progress),
                    )  # fmt: skip
        elif explain:
            lines = _explained(task, place, measured, state)
        record(task, measured.slot)
        rows = state.rows if isinstance(state, Hit) else _made(performed, task)
        outcome = _outcome(measured, state, performed, lines, notes, rows or {}, subject=order.argv[0], strict=strict)
        if rows is not None and measured.repeatable:
            remember_run(words, bound, rows, said=_up_to_date(measured))
        return outcome


def _look(place: Place, task: Task, measured: Measured) -> Hit | Due:
    """Ask the store, by way of the gate; what it has is put in place."""
    slot = measured.slot
    found = find(place, slot)
    decision = decide(found.document if isinstance(found, Candidate) else None, slot)
    if not isinstance(decision, Fresh) or not isinstance(found, Candidate):
        assert not isinstance(decision, Fresh)
        return Due(missed=found.reason if isinstance(found, Miss) else "stale", decision=decision)
    with using(place, purpose="envid run"):
        payload = found.payload(decision.read)
        rows = None if isinstance(payload, Miss) else _rows(payload, task)
        if rows is not None:
            restored = products.restore(place, task.root, task.paths, rows)
            if isinstance(restored, products.Restored):
                roots.remember(place, task.root, keys=[slot.key])
                return Hit(rows=rows, laid=restored.laid + restored.removed)
            reason = "unreadable" if restored.reason == "unreadable" else "incomplete"
        else:
            reason = payload.reason if isinstance(payload, Miss) else "damaged"
    if not isinstance(payload, Miss):
        # An entry of no use stands in the way of a good one.
        set_aside(place, place.entry_path(slot), reason)
        place.tally.add(slot.layer, reason)
    again = decide(None, slot)
    assert isinstance(again, Absent)
    return Due(missed=reason, decision=again)


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
    findings: tuple[Finding, ...] = ()
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
        done, reason, text = "unkept", refused.reason, ""
        code = f"run.{reason}"
        hint = ADVICE[code]
        if strict:
            findings = (
                Finding(code=code, severity="error", subject=subject, message=refused.message,
                        hint=hint),
            )  # fmt: skip
        else:
            text = f"warning: nothing was kept: {refused.message} [{code}]\nhint: {hint}"
    data: dict[str, JSONValue] = {
        "status": status, "outcome": done, "reason": reason, "message": refused.message if refused else "",
        "key": measured.slot.key, "outputs": products.said(rows), "explain": list(lines),
    }  # fmt: skip
    told = tuple(part for part in (*notes, *lines, text) if part)
    return Outcome(command="run", notes=told, data=data, findings=findings, status=status)
