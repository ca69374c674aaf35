"""``envid cache stats``: what the cache holds, and what came of every question to it, by named reason."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from envid.app.outcome import Outcome, count
from envid.app.storing import place_of, unheeded
from envid.app.workspace import Workspace
from envid.store import counts, filesystem
from envid.store.inventory import AREAS, take
from envid.store.place import Place, Trouble, free_bytes, hindrance, lacks_space, nearest
from envid.values.amount import show_age, show_limit, show_size
from envid.values.digest import JSONValue
from envid.values.reason import BYPASSES, KEPT, MISSES

KINDS: Final[Mapping[str, Mapping[str, str]]] = {"miss": MISSES, "bypass": BYPASSES, "event": KEPT}
"""What an event is, to the names of such events with their sentences."""


def cache_stats(ws: Workspace, *, zero: bool = False) -> Outcome:
    """Answer with sizes and counts; with ``zero``, begin to count anew.

    ``data``: ``{"directory", "filesystem": {"kind", "network"}, "free", "policy": {"shared", "min-free", "max-size",
    "max-age"}, "trouble": {"reason", "message", "hint"} | null, "size", "areas": {area: {"files", "bytes"}}, "since",
    "layers": {layer: {event: number}}, "totals": {"hits", "stored", "misses", "bypasses"}, "reasons": {event:
    sentence}, "torn"}``; sizes in bytes, ages in seconds, ``since`` in RFC 3339 or null. Raises GuardTimeout,
    WriteFailed with ``zero``.
    """
    place = place_of(ws)
    if zero:
        place.sound()
        counts.zero(place)
        return Outcome(command="cache-stats", answer="the counts begin anew", data={"zeroed": True})
    areas, trouble = _areas(place), _trouble(place)
    counted = counts.read(place)
    since = None if counted.since_ns is None else _moment(counted.since_ns)
    data: dict[str, JSONValue] = {
        **_place(place, trouble), "size": sum(size for _, size in areas.values()),
        "areas": {area: {"files": number, "bytes": size} for area, (number, size) in areas.items()},
        "since": since, "layers": _layers(counted), "totals": totals(counted),
        "reasons": {event: sentence for events in KINDS.values() for event, sentence in events.items()},
        "torn": counted.torn,
    }  # fmt: skip
    lines = [*_head(place, areas, trouble), "", *_sizes(areas), "", *_table(counted, since)]
    notes = unheeded(ws)
    return Outcome(command="cache-stats", answer="\n".join(lines), data=data, notes=notes)


def totals(counted: counts.Counts) -> dict[str, int]:
    """Return the sums of hits, stored entries, misses and bypasses over all layers."""
    sums = dict.fromkeys(("hits", "stored", "misses", "bypasses"), 0)
    names = {
        "hit": "hits",
        "stored": "stored",
        **dict.fromkeys(MISSES, "misses"),
        **dict.fromkeys(BYPASSES, "bypasses"),
    }
    for (_, event), number in counted.rows.items():
        if event in names:
            sums[names[event]] += number
    return sums


def _areas(place: Place) -> dict[str, tuple[int, int]]:
    found = dict.fromkeys(AREAS, (0, 0))
    for thing in take(place):
        number, size = found[thing.area]
        found[thing.area] = (number + 1, size + thing.size)
    return found


def _layers(counted: counts.Counts) -> dict[str, JSONValue]:
    layers: dict[str, dict[str, JSONValue]] = {}
    for (layer, event), number in sorted(counted.rows.items()):
        layers.setdefault(layer, {})[event] = number
    return {**layers}


def _trouble(place: Place) -> Trouble | None:
    """Return why nothing is written here, or None."""
    return hindrance(place) or lacks_space(place, 0)


def _place(place: Place, trouble: Trouble | None) -> dict[str, JSONValue]:
    kind, policy = filesystem.of(place.root), place.policy
    said: JSONValue = None
    if trouble is not None:
        said = {"reason": trouble.reason, "message": trouble.message, "hint": trouble.hint}
    return {
        "directory": place.root, "filesystem": {"kind": kind.kind, "network": kind.network},
        "free": free_bytes(nearest(place)), "trouble": said,
        "policy": {
            "shared": policy.shared, "min-free": policy.min_free, "max-size": policy.max_size,
            "max-age": policy.max_age,
        },
    }  # fmt: skip


def _head(place: Place, areas: Mapping[str, tuple[int, int]], trouble: Trouble | None) -> list[str]:
    kind, policy = filesystem.of(place.root), place.policy
    network = ", which other machines may write: guards are not relied on" if kind.network else ""
    free = free_bytes(nearest(place))
    files, size = sum(number for number, _ in areas.values()), sum(size for _, size in areas.values())
    lines = [
        f"cache   {place.root}{' (shared with its group)' if policy.shared else ''}",
        f"on      {kind.kind or 'a filesystem of unknown kind'}{network}",
        f"free    {'unknown' if free is None else show_size(free)}; {show_limit(policy.min_free)} are to stay so",
        f"holds   {show_size(size)} in {count(files, 'file')}",
        f"limits  gc leaves {show_limit(policy.max_size)} at most, and nothing {_unused(policy.max_age)}",
    ]
    if trouble is not None:
        lines.append(
            f"trouble why the cache is not used: {trouble.message}: {BYPASSES[trouble.reason]}; nothing is kept"
        )
        lines.append(f"        {trouble.hint}")
    return lines


def _unused(seconds: int) -> str:
    return f"unused for {show_age(seconds)}" if seconds else "that no project uses"


def _sizes(areas: Mapping[str, tuple[int, int]]) -> list[str]:
    rows = [(area, str(number), show_size(size)) for area, (number, size) in areas.items() if number]
    return aligned([("area", "files", "size"), *rows], right=(1, 2)) if rows else ["it is empty"]


def _table(counted: counts.Counts, since: str | None) -> list[str]:
    if not counted.rows:
        return ["nothing was counted yet"]
    order = {event: (kind, at) for kind, events in KINDS.items() for at, event in enumerate(events)}
    rows = []
    for (layer, event), number in sorted(
        counted.rows.items(), key=lambda row: (row[0][0], order.get(row[0][1], ("", 0)))
    ):
        kind = order.get(event, ("event", 0))[0]
        sentence = KINDS[kind].get(event, "")
        rows.append((layer, event, str(number), sentence if kind == "event" else f"{kind}: {sentence}"))
    sums = totals(counted)
    asked = sums["hits"] + sums["misses"]
    rate = f" ({100 * sums['hits'] // asked} % of {count(asked, 'read')})" if asked else ""
    written = f"{sums['stored']} stored, {sums['bypasses']} bypassed"
    return [
        f"since {since or 'the beginning'}: {count(sums['hits'], 'hit')}{rate}, {written}",
        *aligned([("layer", "event", "number", "meaning"), *rows], right=(2,)),
    ]


def aligned(rows: list[tuple[str, ...]], *, right: tuple[int, ...] = ()) -> list[str]:
    """Return rows as lines of columns; those in ``right`` end where the others begin."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (row[at].rjust(width) if at in right else row[at].ljust(width) for at, width in enumerate(widths))
        lines.append("  ".join(cells).rstrip())
    return lines


def _moment(time_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 10**9))
