"""What an installed RECORD proves, once its content digest is one that can be trusted, and what it only claims."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from envid.errors import InvalidRecord, InvalidWheel, TooLarge, UnsafePath
from envid.installed.agreement import agrees
from envid.installed.entry_points import parse_entry_points
from envid.installed.expected import Layout, Owner
from envid.installed.files import read_small
from envid.installed.launcher import launchers_of, script_tail_digest
from envid.installed.record import (
    MAX_RECORD,
    RecordRow,
    content_digest_from_record,
    is_installers,
    is_launcher,
    is_left_out,
    parse_record,
)
from envid.values.contents import EntryPoint
from envid.values.finding import Finding
from envid.values.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one distribution's metadata is."""

    root: str
    """Of the environment, absolute."""
    layout: Layout
    site: str
    """The site-packages directory, relative to the environment."""
    directory: str
    """The ``.dist-info`` directory, below ``site``."""
    name: str
    """In the normal form of PEP 503."""
    pythons: tuple[str, ...]
    """Spellings of the environment's interpreter in scripts."""

    @property
    def info(self) -> str:
        """The ``.dist-info`` directory relative to the environment."""
        return f"{self.site}/{self.directory}"

    def read(self, name: str, limit: int = MAX_RECORD) -> bytes | None:
        """Return the bytes of a file in the ``.dist-info`` directory."""
        return read_small(f"{self.root}/{self.info}/{name}", limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """The files of a wheel, from an installed RECORD whose content digest is the locked one."""

    files: tuple[tuple[str, str, int], ...]
    """``(path relative to the environment, sha256, size)``."""
    tails: dict[str, str]
    entry_points: tuple[EntryPoint, ...]


def rows_of(place: Place, data: bytes | None) -> tuple[RecordRow, ...] | Finding:
    """Return the rows of an installed RECORD, or the finding when it has none that can be read."""
    if data is None:
        return _broken(place, "env.missing-file", "RECORD is not there (or cannot be read)")
    try:
        return parse_record(data)
    except (InvalidRecord, UnsafePath, TooLarge) as error:
        return _broken(place, "env.tampered", error.message)


def digest_of(
    place: Place, rows: Sequence[RecordRow], entry_points: Sequence[EntryPoint],
    corrections: Mapping[str, str] | None = None,
) -> str | None:  # fmt: skip
    """Return the content digest that ``rows`` imply, given the wheel's entry points; ``None`` when they imply none."""
    launchers = frozenset(entry.script for entry in entry_points)
    try:
        return content_digest_from_record(
            rows, site_packages=place.site, name=place.name, launchers=launchers, script_tail=_tails(place),
            corrections=corrections,
        )  # fmt: skip
    except UnsafePath:
        return None


def _tails(place: Place) -> Callable[[str], str | None]:
    scripts = f"{place.root}/{place.layout.scripts}"
    return lambda script: script_tail_digest(f"{scripts}/{script}", place.pythons)


def check_record(place: Place, owner: Owner, entry_points: Sequence[EntryPoint]) -> Finding | None:
    """Return the finding when the installed RECORD is not that of the wheel that ``owner`` has.

    Where the wheel's own RECORD is beyond comparison, the installed one only has to be there: its files are
    held to the wheel, as all are.
    """
    data = place.read("RECORD")
    if data is not None and owner.corrections is None:
        return None
    if data is not None and owner.contents is not None and not owner.corrections:
        launchers = frozenset(entry.script for entry in entry_points)
        if agrees(
            data, owner.contents, site_packages=place.site, launchers=launchers, script_tail=_tails(place)
        ):  # fmt: skip
            return None
    rows = rows_of(place, data)
    if isinstance(rows, Finding):
        return rows
    if digest_of(place, rows, entry_points, owner.corrections) == owner.digest:
        return None
    return _broken(place, "env.tampered", "RECORD does not describe the locked wheel")


def prove(place: Place, digest: str) -> Proven | None:
    """Return what the installed RECORD proves when its content digest is ``digest``, else ``None``.

    The entry points are taken from the installed file, which is not trusted: when it was altered,
    either the digest differs, or the file is not the one that the RECORD, then proven, promises.
    """
    data = place.read("RECORD")
    if data is None:
        return None
    entry_data = place.read("entry_points.txt", 1024 * 1024)
    try:
        rows = parse_record(data)
        entry_points = parse_entry_points(entry_data, label=place.directory) if entry_data is not None else ()
    except (InvalidRecord, InvalidWheel, UnsafePath, TooLarge):
        return None
    if digest_of(place, rows, entry_points) != digest:
        return None
    files: list[tuple[str, str, int]] = []
    tails = {}
    launchers = frozenset(entry.script for entry in entry_points)
    tail_of = _tails(place)
    scripts = f"{place.layout.scripts}/"
    for row in rows:
        name = row.path
        if name[:3] != "../" and ".dist-info/" not in name and ".data/" not in name and name[-4:] != ".pyc":
            files.append((f"{place.site}/{name}", row.sha256, -1 if row.size is None else row.size))
            continue
        path = absolute(name, place.site)
        if is_installers(row.path) or is_left_out(row.path, launchers, name=place.name):
            continue
        if path.startswith(scripts):
            script = path[len(scripts) :]
            if is_launcher(script, launchers, name=place.name):
                continue
            if (tail := tail_of(script)) is not None:
                tails[path] = tail
        files.append((path, row.sha256, -1 if row.size is None else row.size))
    return Proven(files=tuple(files), tails=tails, entry_points=launchers_of(place.name, entry_points))


def absolute(path: str, site: str) -> str:
    """Return the path of a RECORD row relative to the environment."""
    return os.path.normpath(f"{site}/{path}") if path.startswith("..") else f"{site}/{path}"


def claims(place: Place) -> dict[str, RecordRow]:
    """Return the rows of a RECORD that nothing vouches for, by path relative to the environment."""
    rows = rows_of(place, place.read("RECORD"))
    if isinstance(rows, Finding):
        return {}
    return {absolute(row.path, place.site): row for row in rows}


def _broken(place: Place, code: str, message: str) -> Finding:
    return Finding(
        code=code, severity="error", subject=place.name, path=f"{place.info}/RECORD", message=message,
        hint="run `envid sync`, which installs it again from the verified wheel",
    )  # fmt: skip
