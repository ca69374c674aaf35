"""Amounts as people write them: ``10 GB``, ``512 MiB``, ``30 days``."""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {
    "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4,
}  # fmt: skip
"""Bytes of each unit of size, in lower case."""
SHOWN: Final = {name: UNITS[name.lower()] for name in ("kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")}
"""Units as they are printed; measured sizes are shown in decimal ones, limits as they were written."""
TIMES: Final = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800}
"""Seconds of each unit of time."""
SIZES_ARE: Final = 'a number of bytes, or a text such as "10 GB" or "512 MiB"'
AGES_ARE: Final = 'a text such as "30 days", "12 hours" or "2 weeks"'
_SIZE: Final = r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?([A-Za-z]{1,3})"
_AGE: Final = r"([0-9]{1,6}) (minute|hour|day|week)s?"
MOST: Final = 1 << 50
"""Bytes; beyond it, somebody mistook the unit."""


def parse_size(value: object) -> int:
    """Return bytes; raise ValueError, whose text says what a size is."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return value
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    factor = UNITS.get(found[3].lower()) if found else None
    if found is None or factor is None:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
            return parse_size(int(value))
        raise ValueError(f"must be {SIZES_ARE}, and at most 1024 TiB")
    part = found[2] or "0"
    size = int(found[1]) * factor + int(part) * factor // 10 ** len(part)
    return parse_size(size)


def parse_age(value: object) -> int:
    """Return seconds; raise ValueError, whose text says what an age is."""
    found = re.fullmatch(_AGE, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be {AGES_ARE}")
    return int(found[1]) * TIMES[found[2]]


def show_size(size: int) -> str:
    """Return ``size`` bytes for people, in units of 1000: ``1.5 GB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def show_limit(size: int) -> str:
    """Return a size that somebody chose as it is written: ``10 GiB``, ``5 GB``; else as ``show_size``."""
    whole = [(unit, size // factor) for unit, factor in SHOWN.items() if size >= factor and size % factor == 0]
    unit, number = min(whole, key=lambda one: one[1], default=("", 0))
    return f"{number} {unit}" if number and number < 10**6 else show_size(size)


def show_age(seconds: int) -> str:
    """Return a time span for people, in its largest whole unit: ``3 days``."""
    for unit, factor in reversed(TIMES.items()):
        if unit != "week" and seconds >= factor:
            number = seconds // factor
            return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
    return "less than a minute"
