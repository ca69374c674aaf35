"""``envid cache gc``: what nobody uses any more goes, and the cache gets small enough."""

from __future__ import annotations

from envid.app.cache_stats import aligned
from envid.app.outcome import Outcome, count
from envid.app.storing import place_of, unheeded
from envid.app.workspace import Workspace, now_ns
from envid.errors import NetworkFilesystem
from envid.store import filesystem
from envid.store.collection import KEPT, Report, collect
from envid.store.place import insist_on_writing
from envid.values.amount import show_size
from envid.values.digest import JSONValue
from envid.values.progress import SILENT, Progress

WAIT = 60.0
"""Seconds to wait for commands that use the cache."""


def cache_gc(
    ws: Workspace, *, max_size: int | None = None, max_age: int | None = None, dry_run: bool = False,
    force: bool = False, progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Collect; ``max_size`` (bytes) and ``max_age`` (seconds) default to the policy's.

    ``data``: ``{"dry-run", "removed", "freed", "size", "over", "projects", "renewed", "clock", "areas": {area:
    {"removed", "freed", "kept": {reason: {"files", "bytes"}}}}, "reasons": {reason: sentence}}``, sizes in bytes.
    Raises NetworkFilesystem unless ``force``, GuardTimeout, StoreError.
    """
    place = place_of(ws)
    there = filesystem.of(place.root)
    if there.network and not force and not dry_run:
        raise NetworkFilesystem(
            f"{place.root} is on {there.kind}, where guards do not keep other machines out", path=place.root
        )
    if not dry_run:
        insist_on_writing(place)
    progress.begin("Collecting", None, "bytes")
    try:
        report = collect(
            place,
            max_size=place.policy.max_size if max_size is None else max_size,
            max_age=place.policy.max_age if max_age is None else max_age,
            now_ns=now_ns(), dry_run=dry_run, wait=WAIT, tell=progress.advance,
        )  # fmt: skip
    finally:
        progress.end()
    # What the command line says holds in any case.
    keys = {"max-size": max_size, "max-age": max_age}
    notes = [note for note in unheeded(ws) if keys.get(note.partition(" ")[0]) is None]
    return Outcome(
        command="cache-gc", answer="\n".join(_lines(report, dry_run)), data=_data(report, dry_run),
        notes=(*notes, *_notes(report)),
    )  # fmt: skip


def _data(report: Report, dry_run: bool) -> dict[str, JSONValue]:
    areas: dict[str, JSONValue] = {}
    for swept in report.areas:
        kept: JSONValue = {reason: {"files": n, "bytes": size} for reason, (n, size) in sorted(swept.kept.items())}
        areas[swept.area] = {"removed": swept.removed, "freed": swept.freed, "kept": kept}
    return {
        "dry-run": dry_run, "removed": sum(one.removed for one in report.areas),
        "freed": sum(one.freed for one in report.areas), "size": report.size, "over": report.over,
        "projects": report.projects, "renewed": report.renewed, "clock": report.clock, "areas": areas,
        "reasons": dict(KEPT),
    }  # fmt: skip


def _lines(report: Report, dry_run: bool) -> list[str]:
    number, freed = sum(one.removed for one in report.areas), sum(one.freed for one in report.areas)
    done = "would remove" if dry_run else "removed"
    lines = [f"{done} {count(number, 'file')}, {show_size(freed)}; {show_size(report.size)} are left"]
    rows = []
    for swept in report.areas:
        if swept.removed:
            rows.append((swept.area, done, str(swept.removed), show_size(swept.freed), ""))
        for reason, (files, size) in sorted(swept.kept.items()):
            rows.append((swept.area, "kept", str(files), show_size(size), KEPT[reason]))
    return lines + (aligned([("area", "", "files", "size", "why"), *rows], right=(2, 3)) if rows else [])


def _notes(report: Report) -> list[str]:
    notes = []
    if not report.clock:
        notes.append("this host's clock is wrong (it is before 2026): nothing was removed")
    elif report.over:
        why = f"what {count(report.projects, 'project')} and the last hour used is kept"
        notes.append(f"that is {show_size(report.over)} over the limit: {why}")
    if report.renewed:
        notes.append(f"{count(report.renewed, 'file')} had a time in the future: they age from now on")
    return notes
