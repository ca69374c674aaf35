"""``envid cache verify``, ``envid cache repair``: every byte of the cache read, and what is wrong put right."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from envid.app.outcome import Outcome, count
from envid.app.storing import opened, place_of
from envid.app.workspace import Workspace, now_ns
from envid.atomic import make_directory, remove_file, remove_tree, rename
from envid.errors import StoreError, WriteFailed
from envid.store.collection import GRACE
from envid.store.examination import SOUND, Examined, Fault, examine, unsafe_directories
from envid.store.place import QUARANTINE, Place, insist_on_writing, prepare
from envid.store.usage import alone
from envid.values.amount import show_size
from envid.values.digest import JSONValue
from envid.values.finding import Finding
from envid.values.progress import SILENT, Progress
from envid.values.reason import MISSES

ROUNDS: Final = 3
"""A damaged blob that was set aside leaves its entries incomplete."""
WAIT: Final = 60.0


def cache_verify(ws: Workspace, *, sample: float = 100.0, progress: Progress = SILENT) -> Outcome:
    """Answer with what is wrong, one finding each; ``sample`` per cent of the entries, blobs and artifacts are read.

    ``data``: ``{"directory", "sample", "read": {"entries", "blobs", "artifacts", "bytes"}, "faults": {code: number}}``.
    """
    place = place_of(ws)
    examined, faults = _examine(place, progress, sample=sample)
    findings = [*unsafe_directories(place), *(fault.finding for fault in faults)]
    wrong = sum(finding.severity == "error" for finding in findings)
    share = "" if sample >= 100 else f" ({sample:g} % of them read)"
    answer = f"no: {count(wrong, 'fault')}" if wrong else "yes: all is as it was written"
    return Outcome(
        command="cache-verify", answer=f"{answer}; {_read(examined)}{share}", findings=tuple(findings),
        data={"directory": place.root, "sample": int(sample) if sample == int(sample) else str(sample),
              **_numbers(examined), "faults": _by_code(findings)},
    )  # fmt: skip


def cache_repair(ws: Workspace, *, progress: Progress = SILENT) -> Outcome:
    """Set aside what is damaged or foreign, drop entries whose blobs are gone, remove leftovers.

    What is set aside lies in ``quarantine-v1`` until ``gc`` removes it; what cannot be read now is left as it is.
    ``data``: ``{"directory", "read": ..., "aside", "dropped", "removed", "left", "unread"}``: paths relative to the
    cache. Raises StoreError for a cache that cannot be written, GuardTimeout.
    """
    with opened(ws) as place:
        done: dict[str, list[str]] = {"aside": [], "dropped": [], "removed": [], "left": [], "unread": []}
        examined = Examined()
        insist_on_writing(place)
        if os.path.isdir(place.root):
            trouble = prepare(place)
            if trouble is not None:
                raise StoreError(trouble.message, hint=trouble.hint, path=place.root)
            with alone(place, purpose="envid cache repair", wait=WAIT):
                examined = _repair(place, done, progress)
    findings = (*unsafe_directories(place), *map(_left, done["left"]), *map(_unread, done["unread"]))
    words = [
        f"set {count(len(done['aside']), 'file')} aside" if done["aside"] else "",
        f"dropped {len(done['dropped'])} incomplete" if done["dropped"] else "",
        f"removed {count(len(done['removed']), 'leftover')}" if done["removed"] else "",
    ]
    said = ", ".join(word for word in words if word) or "nothing was to be repaired"
    notes = [f"{what}: {path}" for what, paths in done.items() if what not in ("left", "unread") for path in paths]
    data: dict[str, JSONValue] = {"directory": place.root, **_numbers(examined)}
    data |= {what: list(paths) for what, paths in done.items()}
    answer = f"{said}; {_read(examined)}"
    return Outcome(command="cache-repair", answer=answer, findings=findings, data=data, notes=tuple(notes))


def _examine(place: Place, progress: Progress, *, sample: float = 100.0) -> tuple[Examined, list[Fault]]:
    examined = Examined()
    progress.begin("Reading the cache", None, "bytes")
    try:
        faults = list(
            examine(
                place, examined, now_ns=now_ns(), grace=GRACE, chosen=_chosen(sample), tell=progress.advance
            )
        )  # fmt: skip
    finally:
        progress.end()
    return examined, faults


def _chosen(sample: float) -> Callable[[], bool]:
    bound = round(sample / 100 * 2**32)
    return lambda: bound >= 2**32 or int.from_bytes(os.urandom(4), "big") < bound


def _repair(place: Place, done: dict[str, list[str]], progress: Progress) -> Examined:
    first: Examined | None = None
    for _ in range(ROUNDS):
        examined, faults = _examine(place, progress)
        first = first or examined
        # What the system does not give now it may give later, and nobody has seen that it is damaged.
        done["unread"] = [fault.thing.path for fault in faults if fault.reason == "unreadable"]
        left = {*done["left"], *done["unread"]}
        todo = [fault for fault in faults if fault.reason not in SOUND and fault.thing.path not in left]
        if not todo:
            break
        for fault in todo:
            try:
                done[_put_right(place, fault)].append(fault.thing.path)
            except WriteFailed:
                done["left"].append(fault.thing.path)
    return first or Examined()


def _put_right(place: Place, fault: Fault) -> str:
    """Deal with one fault; return what was done, a name in the answer's data. Raises WriteFailed."""
    path = f"{place.root}/{fault.thing.path}"
    if fault.reason == "leftover":
        if os.path.isdir(path) and not os.path.islink(path):
            remove_tree(Path(path))
        else:
            remove_file(Path(path))
        return "removed"
    if fault.reason == "incomplete":
        remove_file(Path(path))
        return "dropped"
    aside = f"{place.area(QUARANTINE)}/{os.path.basename(path)[:180]}.{fault.reason}.{os.urandom(4).hex()}"
    make_directory(place.area(QUARANTINE), mode=place.directory_mode)
    with contextlib.suppress(FileNotFoundError):
        rename(path, aside)
        place.tally.add("store", "quarantined")
    return "aside"


def _left(path: str) -> Finding:
    return Finding(
        code="cache.foreign", severity="error", subject=path.partition("/")[0], path=path,
        message="it could not be taken out of the way", hint="remove it as the user that owns it",
    )  # fmt: skip


def _unread(path: str) -> Finding:
    return Finding(
        code="cache.unreadable", severity="error", subject=path.partition("/")[0], path=path,
        message=f"{MISSES['unreadable']}; nothing was done to it",
        hint="look at the disk and at who may read the file; remove it if that does not pass",
    )  # fmt: skip


def _by_code(findings: list[Finding]) -> JSONValue:
    codes = sorted({finding.code for finding in findings})
    return {code: sum(finding.code == code for finding in findings) for code in codes}


def _numbers(examined: Examined) -> dict[str, JSONValue]:
    read = dict(zip(("entries", "blobs", "artifacts"), examined.numbers.values(), strict=True))
    return {"read": {**read, "bytes": examined.size}}


def _read(examined: Examined) -> str:
    entries, blobs, artifacts = examined.numbers.values()
    shown = f"{entries} entries, {count(blobs, 'blob')}, {count(artifacts, 'artifact')}"
    return f"{shown}, {show_size(examined.size)} read"
