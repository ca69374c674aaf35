"""Counts over all commands: every tally is one line in ``stats-v1``, folded into a total when there are many.

A line is ``LAYER:EVENT=NUMBER`` words between two line feeds, so that what a full disk cuts short spoils itself
alone. Counts are told, never relied on: no failure here is a failure of a command.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Final

from envid.atomic import clear, rename, write
from envid.errors import StoreError
from envid.guard import hold
from envid.store.place import GUARDS, STATS, Place, lacks_space, make_below, prepare
from envid.values.frozen import dataclass
from envid.whole import append, discard, set_mode, shut

LOG: Final = "log"
TOTAL: Final = "total"
SINCE: Final = "since"
"""An empty file: its time is when counting began."""
LARGE: Final = 64 * 1024
"""Bytes of the log from which on it is folded."""
MAX_READ: Final = 64 * 1024 * 1024
_WORD: Final = r"([a-z0-9][a-z0-9_-]{0,31}):([a-z][a-z-]{0,31})=([1-9][0-9]{0,14})"
_HEAD: Final = "envid-counts 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What all commands did with the store since ``since_ns``."""

    rows: Mapping[tuple[str, str], int]
    """(layer, event) to number."""
    torn: int
    """Lines that cannot be read."""
    since_ns: int | None
    """Nanoseconds since the epoch; None where nobody began to count."""


def flush(place: Place) -> None:
    """Write down what this command did with the store; nothing where nothing was counted. Never raises.

    Call it once, when the command is done: the tally is empty afterwards.
    """
    counted = place.tally.take()
    if not counted or place.trouble is not None or lacks_space(place, 4096) is not None:
        return
    line = " ".join(f"{layer}:{event}={number}" for layer, event, number in counted)
    path = f"{place.area(STATS)}/{LOG}"
    with contextlib.suppress(StoreError, OSError):
        try:
            _append(place, path, line)
        except StoreError:
            with contextlib.suppress(FileNotFoundError):
                clear(path, os.lstat(path))
            if os.path.lexists(path) or prepare(place) is not None or lacks_space(place, 4096) is not None:
                return
            make_below(place, place.area(STATS))
            write(f"{place.area(STATS)}/{SINCE}", b"", mode=place.changing_mode, durable=False)
            _append(place, path, line)
        if os.stat(path).st_size > LARGE:
            fold(place)


def _append(place: Place, path: str, line: str) -> None:
    append(path, f"\n{line}\n".encode("ascii"), mode=place.changing_mode, follow=False)
    # The umask of whoever made the file must not keep the others of the group out.
    if place.policy.shared and (found := os.stat(path)).st_uid == os.getuid() and found.st_mode & 0o777 != 0o660:
        set_mode(path, 0o660)


def fold(place: Place) -> None:
    """Add the log to the total. Killed anywhere, nothing is counted twice. Raises StoreError, OSError."""
    directory = place.area(STATS)
    make_below(place, place.area(GUARDS))
    with hold(f"{place.area(GUARDS)}/stats", timeout=0.0, purpose="cache stats", mode=place.changing_mode):
        rename(f"{directory}/{LOG}", f"{directory}/{LOG}.{os.urandom(8).hex()}")
        rows, torn, folded = _total(directory)
        names = _logs(directory)
        for name in names:
            if name not in folded:
                torn += _add(rows, _read(f"{directory}/{name}"))
        # The total names the logs that are in it before they are gone.
        words = (f"{layer}:{event}={number}" for (layer, event), number in sorted(rows.items()))
        text = "\n".join([_HEAD, f"folded {' '.join(names)}", f"torn {torn}", *words, ""])
        write(f"{directory}/{TOTAL}", text.encode("ascii"), mode=place.changing_mode, durable=False)
        for name in names:
            discard(f"{directory}/{name}")


def read(place: Place) -> Counts:
    """Return the counts so far. Never raises."""
    directory = place.area(STATS)
    rows, torn, folded = _total(directory)
    for name in [LOG, *_logs(directory)]:
        if name not in folded:
            torn += _add(rows, _read(f"{directory}/{name}"))
    try:
        since: int | None = os.stat(f"{directory}/{SINCE}").st_mtime_ns
    except OSError:
        since = None
    return Counts(rows=rows, torn=torn, since_ns=since)


def zero(place: Place) -> None:
    """Begin to count anew; raise GuardTimeout, WriteFailed."""
    directory = place.area(STATS)
    make_below(place, directory)
    make_below(place, place.area(GUARDS))
    with hold(f"{place.area(GUARDS)}/stats", purpose="cache stats --zero", mode=place.changing_mode):
        # The total last: without it, what it holds of a log that is still there would count again.
        for name in [LOG, *_logs(directory), TOTAL, SINCE]:
            discard(f"{directory}/{name}")
        write(f"{directory}/{SINCE}", b"", mode=place.changing_mode, durable=False)


def _logs(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if re.fullmatch(rf"{LOG}\.[0-9a-f]{{16}}", name))
    except OSError:
        return []


def _read(path: str) -> str:
    handle = -1
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        # A directory in its place is opened all the same, and only then refused.
        with open(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_READ).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        if handle >= 0:
            shut(handle)


def _total(directory: str) -> tuple[dict[tuple[str, str], int], int, frozenset[str]]:
    """Return rows, unreadable lines, and the names of the logs that are in it."""
    rows: dict[tuple[str, str], int] = {}
    text = _read(f"{directory}/{TOTAL}")
    head = re.match(rf"{_HEAD}\nfolded ([a-z0-9. ]*)\ntorn ([0-9]{{1,15}})\n", text)
    if head is None:
        return rows, 1 if text else 0, frozenset()
    torn = int(head[2]) + _add(rows, text[head.end() :])
    return rows, torn, frozenset(head[1].split())


def _add(rows: dict[tuple[str, str], int], text: str) -> int:
    """Add the lines of ``text`` to ``rows``; return how many cannot be read."""
    torn = 0
    word = re.compile(_WORD)
    for line in text.split("\n"):
        found = [word.fullmatch(part) for part in line.split(" ")] if line else []
        if None in found:
            torn += 1
            continue
        for one in found:
            assert one is not None
            rows[one[1], one[2]] = rows.get((one[1], one[2]), 0) + int(one[3])
    return torn
