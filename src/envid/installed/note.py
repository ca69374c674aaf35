"""The note that ``sync`` leaves in an environment: which lock it installed, and which state of each source.

No verdict "yes" rests on it alone: it is damaged, lost or outdated to the effect that something is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from envid import atomic
from envid.values.digest import JSONValue, NotCanonical, blake3_hex, canonical, parse_canonical
from envid.values.frozen import dataclass, field
from envid.whole import open_regular

NAME: Final = ".envid.json"
SCHEMA: Final = "envid-note/1"
_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What one distribution was built from."""

    state: str
    """Text that differs when the source does (``app.sourced.state_of``)."""
    record: str
    """BLAKE3 of the RECORD that the installation left: an installation by others has another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """All that is noted down."""

    lock: str
    """Name of the lock that was installed last."""
    sources: Mapping[str, Origin] = field(default_factory=dict)
    """By normalised name."""
    frame: Mapping[str, str] = field(default_factory=dict)
    """BLAKE3 of the scripts for shells when envid made the environment, by name in the scripts directory."""


def read(root: Path) -> Note | None:
    """Return the note in the environment ``root``; ``None`` when there is none that is whole."""
    try:
        with open_regular(root / NAME) as stream:
            body, _, rest = stream.read(_MAX).partition(b"\n")
        if rest != _trailer(body):
            return None
        document = parse_canonical(body)
    except (OSError, NotCanonical):
        return None
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        return None
    lock, sources = document.get("lock"), document.get("sources")
    if not isinstance(lock, str) or not isinstance(sources, Mapping):
        return None
    found = {}
    for name, row in sources.items():
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], str):
            found[name] = Origin(state=row[0], record=row[1])
    frame = document.get("frame")
    made = frame.items() if isinstance(frame, Mapping) else ()
    return Note(lock=lock, sources=found, frame={name: digest for name, digest in made if isinstance(digest, str)})


def write(root: Path, note: Note) -> None:
    """Write ``note`` into the environment, touching nothing when it says so already; raise WriteFailed."""
    rows: dict[str, JSONValue] = {name: [one.state, one.record] for name, one in note.sources.items()}
    frame: dict[str, JSONValue] = {"frame": dict(note.frame)} if note.frame else {}
    body = canonical({"schema": SCHEMA, "lock": note.lock, "sources": rows, **frame})
    atomic.write(root / NAME, body + b"\n" + _trailer(body))


def _trailer(body: bytes) -> bytes:
    return blake3_hex(body).encode() + b"\n"
