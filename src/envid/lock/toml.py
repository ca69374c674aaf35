"""Write TOML: what a lock needs, and whatever another tool left in one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from math import isinf, isnan
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES: Final = str.maketrans(
    {
        **{chr(n): f"\\u{n:04X}" for n in (*range(0x20), 0x7F)},
        '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r",
    }
)  # fmt: skip


MAX_DEPTH: Final = 64
"""Tables within tables beyond this are nobody's data."""


def too_deep(item: object) -> bool:
    """Return whether tables and arrays are nested deeper than ``MAX_DEPTH``, without recursion."""
    level = [item]
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]  # fmt: skip
        if not level:
            return False
    return True


def string(text: str) -> str:
    """Return ``text`` as a basic string."""
    return f'"{text.translate(_ESCAPES)}"'


def key(text: str) -> str:
    """Return ``text`` as a key: bare where TOML allows it."""
    return text if _BARE.fullmatch(text) else string(text)


def value(item: object) -> str:
    """Return ``item`` as a value on one line; mappings become inline tables with sorted keys.

    ``item`` is anything that tomllib returns. Raises TypeError for anything else.
    """
    if isinstance(item, str):
        return string(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        return _float(item)
    if isinstance(item, (datetime, date, time)):
        return item.isoformat()
    if isinstance(item, Mapping):
        inside = ", ".join(f"{key(name)} = {value(item[name])}" for name in sorted(item))
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, Sequence) and not isinstance(item, (bytes, bytearray)):
        return f"[{', '.join(map(value, item))}]"
    raise TypeError(f"{type(item).__name__} has no form in TOML")


def _float(number: float) -> str:
    if isnan(number):
        return "nan"
    if isinf(number):
        return "inf" if number > 0 else "-inf"
    # Every finite repr has a fraction or an exponent, so it is never read back as an integer.
    return repr(number)


def strings(name: str, items: Sequence[str]) -> str:
    """Return the line or lines of an array of strings: one element per line, none at all for no elements."""
    if not items:
        return ""
    return "".join([f"{key(name)} = [\n", *(f"    {string(item)},\n" for item in items), "]\n"])


def table(path: tuple[str, ...], content: Mapping[str, object]) -> str:
    """Return ``content`` as ``[path]`` and tables below it, keys sorted, a blank line before each header.

    Plain values come first, then sub-tables; arrays of strings take one line per element.
    """
    plain = {name: item for name, item in content.items() if not isinstance(item, Mapping)}
    below = {name: item for name, item in content.items() if isinstance(item, Mapping)}
    parts = []
    if plain or not below:
        parts.append(f"\n[{'.'.join(map(key, path))}]\n")
    for name in sorted(plain):
        item = plain[name]
        if isinstance(item, (list, tuple)) and len(item) > 1 and all(isinstance(element, str) for element in item):
            parts.append(strings(name, item))
        else:
            parts.append(f"{key(name)} = {value(item)}\n")
    parts += [table((*path, name), below[name]) for name in sorted(below)]
    return "".join(parts)
