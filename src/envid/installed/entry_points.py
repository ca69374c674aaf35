"""``entry_points.txt``: the launchers that an installer will generate."""

from __future__ import annotations

import re
from typing import Final

from envid.errors import InvalidWheel, UnsafePath
from envid.values.contents import EntryPoint

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\:=]{1,200}")
_VALUE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\[[\w\s,.-]*\])?")
_GROUPS: Final = {"console_scripts": False, "gui_scripts": True}


def parse_entry_points(data: bytes, *, label: str) -> tuple[EntryPoint, ...]:
    """Return the console and GUI scripts, sorted by name; groups of other programs are not looked at.

    Raises UnsafePath for a name that is a path, InvalidWheel for a value that is not
    ``module:attribute`` (entry points specification): its text would become code of the launcher.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidWheel(f"{label} has an entry_points.txt that is not UTF-8", wheel=label) from None
    found: dict[str, EntryPoint] = {}
    group: str | None = None
    for raw in re.split(r"\r\n|\n|\r", text):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
            continue
        if group not in _GROUPS:
            continue
        entry = _entry(line, gui=_GROUPS[group], label=label)
        if found.setdefault(entry.script, entry) != entry:
            raise InvalidWheel(f"{label} has two entry points named {entry.script!r}", wheel=label)
    return tuple(sorted(found.values(), key=lambda entry: entry.script))


def _entry(line: str, *, gui: bool, label: str) -> EntryPoint:
    name, equals, value = line.partition("=")
    name, value = name.strip(), value.strip()
    if not equals:
        raise InvalidWheel(f"{label} has an entry point without a value, {line[:80]!r}", wheel=label)
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UnsafePath(f"{label} has an entry point whose name is not a file name, {name[:80]!r}", wheel=label)
    match = _VALUE.fullmatch(value)
    if match is None:
        raise InvalidWheel(f"{label} has an entry point that is not module:attribute, {line[:80]!r}", wheel=label)
    return EntryPoint(script=name, module=match[1], attribute=match[2], gui=gui)
