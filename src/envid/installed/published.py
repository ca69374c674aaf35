"""What a wheel's own RECORD has wrong: installers carry it over, so the installed RECORD has it wrong as well."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol, get_args

from envid.installed.record import is_bytecode, place_in_prefix
from envid.values.contents import Scheme

DROPPED: Final = ""
"""The form of a row for a file that the wheel does not bring."""


class Noted(Protocol):
    """The contents of a wheel, with what was odd about it (``store.contents.ContentRows``)."""

    @property
    def name(self) -> str: ...
    @property
    def dist_info(self) -> str: ...
    @property
    def schemes(self) -> tuple[tuple[Scheme, int, int], ...]: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def tails(self) -> Mapping[int, str]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def sha256s(self) -> str: ...


def corrections(rows: Noted) -> Mapping[str, str] | None:
    """Return the right form by place (docs/contents.md) wherever the wheel's RECORD is known to be wrong.

    ``DROPPED`` stands for a row that should not be there. ``None`` when more is wrong than was noted:
    nothing can then be said about the installed RECORD.
    """
    noted = [note for note in rows.notes if note.startswith("record")]
    if not noted:
        return {}
    right_forms = dict(forms(rows, get_args(Scheme)))
    stem = rows.dist_info.removesuffix(".dist-info")
    right: dict[str, str] = {}
    for note in noted:
        kind, _, path = note.partition(": ")
        place = _place(path, stem, rows.name)
        if kind == "record" or (path.startswith("and ") and path.endswith(" more")):
            return None
        if kind == "record-extra":
            right[place] = DROPPED
        elif place in right_forms:
            right[place] = right_forms[place]
    return right


def forms(rows: Noted, schemes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (place, form) of the content digest for the files of ``schemes``."""
    for scheme, start, end in rows.schemes:
        if scheme not in schemes:
            continue
        for row in range(start, end):
            place = _in(scheme, rows.paths[row], rows.name)
            tail = rows.tails.get(row)
            form = f"script:{tail}" if tail is not None else f"sha256:{rows.sha256s[64 * row : 64 * row + 64]}"
            if not is_bytecode(place):
                yield place, form


def _place(path: str, stem: str, name: str) -> str:
    data = f"{stem}.data/"
    if not path.startswith(data):
        return f"lib/{path}"
    scheme, _, rest = path[len(data) :].partition("/")
    return _in(scheme, rest, name)


def _in(scheme: str, path: str, name: str) -> str:
    start = {"purelib": "lib/", "platlib": "lib/", "scripts": "bin/", "headers": "include/"}.get(scheme)
    return f"{start}{path}" if start is not None else place_in_prefix(path, name=name)
