"""What has to change in an environment, decided from what ``verify`` finds in it, and where its files are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envid.errors import InvalidRecord, TooLarge, UnsafePath
from envid.installed import journal, note
from envid.installed.check import layout_of, sites
from envid.installed.distributions import Installed, installed
from envid.installed.interpreter import Environment
from envid.installed.record import MAX_RECORD, RecordRow, parse_record
from envid.store.contents import ContentRows
from envid.values.artifact import Resolution, Selected
from envid.values.finding import Finding
from envid.whole import open_regular

ABSENT: Final = frozenset({"env.missing"})
WRONG: Final = frozenset({"env.version", "env.tampered", "env.missing-file", "env.source", "env.mode", "env.poisoned"})
"""What a fresh installation of the distribution heals."""
STRAY: Final = frozenset({"env.extra-file", "env.bytecode"})
"""What taking the file out heals."""
HEALED: Final = ABSENT | WRONG | STRAY | {"env.extra"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What has to change; nothing of it done yet."""

    install: tuple[Selected, ...] = ()
    """Not installed, or in another version."""
    reinstall: tuple[Selected, ...] = ()
    """Installed, and not as the wheel has it."""
    remove: tuple[tuple[str, Installed], ...] = ()
    """Site-packages directory (relative to the environment) and distribution, each to go."""
    strays: tuple[str, ...] = ()
    """Files that no wheel brought, relative to the environment."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.install or self.reinstall or self.remove or self.strays)


def plan(environment: Environment, resolution: Resolution, findings: Sequence[Finding]) -> Plan:
    """Return what heals the errors among ``findings`` (of ``verify``, for ``resolution``, with whole paths)."""
    layout = layout_of(environment)
    errors = [finding for finding in findings if finding.severity == "error" and finding.code in HEALED]
    selected = {str(item.name): item for item in resolution.selected}
    found = [(site, one) for site in sites(layout) for one in installed(os.listdir(environment.root / site))]
    absent = {finding.subject for finding in errors if finding.code in ABSENT}
    changed = {finding.subject for finding in errors if finding.code == "env.version"}
    bytecode = {finding.path for finding in errors if finding.path is not None and finding.path.endswith(".pyc")}
    # Nothing says from which state of its source tree it was built: it is built once more, and noted.
    unknown = {f.subject for f in findings if f.code == "env.unverified" and f.path == note.NAME}
    wrong = {f.subject for f in errors if f.code in WRONG and f.path not in bytecode} | unknown
    wrong &= selected.keys()
    wrong -= absent | changed
    extra = {(finding.subject, finding.path) for finding in errors if finding.code == "env.extra"}
    gone = [
        (site, one) for site, one in found
        if one.name in changed | wrong or (one.name, one.directory) in extra
    ]  # fmt: skip
    strays = {f.path for f in errors if f.code in STRAY and f.path is not None} | bytecode
    return Plan(
        install=tuple(selected[name] for name in sorted((absent | changed) & selected.keys())),
        reinstall=tuple(selected[name] for name in sorted(wrong)),
        remove=tuple(gone),
        strays=tuple(sorted(path for path in strays if os.path.lexists(environment.root / path))),
    )


def change(
    environment: Environment, planned: Plan, known: Mapping[str, ContentRows], *, built: Sequence[str] = ()
) -> journal.Change:
    """Return the files that ``planned`` touches; ``known`` are the contents of what is installed, by name.

    ``built`` names distributions whose files nobody can foretell.
    """
    root = environment.root
    layout = layout_of(environment)
    taken = set(planned.strays)
    for site, one in planned.remove:
        taken.update(journal.files_of(root, site, one.directory, (row.path for row in _rows(root / site, one))))
    created: set[str] = set()
    trees: set[str] = set()
    watched = {layout.purelib, layout.platlib, layout.scripts} if built else set()
    for name, rows in known.items():
        for scheme, start, end in rows.schemes:
            directory = layout.directory(scheme, name)
            created.update(directory + path for path in rows.paths[start:end])
            if scheme == "headers":
                # Installers do not agree on how the distribution's name is spelled there.
                watched.add(layout.headers)
        created.update(f"{layout.scripts}/{entry.script}" for entry in rows.entry_points)
        site = next((layout.purelib if scheme == "purelib" else layout.platlib) for scheme, _, _ in rows.schemes)
        trees.add(f"{site}/{rows.dist_info}")
    created.add(note.NAME)
    dropped = {path.rstrip("/") for path in taken}
    fresh = {path for path in created if path in dropped or not os.path.lexists(root / path)}
    inside = tuple(f"{path}/" for path in dropped if path.endswith((".dist-info", ".egg-info")))
    under = {path for path in created - fresh if path.startswith(inside)} if inside else set()
    new = {tree for tree in trees if tree in dropped or not os.path.lexists(root / tree)}
    return journal.Change(
        taken=tuple(sorted(taken)),
        overwritten=tuple(sorted(path for path in created - fresh - under if not (root / path).is_dir())),
        # What is new with its whole metadata directory need not be named file by file.
        created=tuple(sorted(path for path in fresh if path.rpartition("/")[0] not in new)),
        created_trees=tuple(sorted(new)),
        watched=tuple(sorted(watched)),
    )


def _rows(site: Path, one: Installed) -> Sequence[RecordRow]:
    """Return the RECORD of an installed distribution; nothing where it has none that can be read.

    What an unreadable RECORD would have named is found by the check that follows, as files that no wheel brought.
    """
    if one.kind != "dist-info":
        return _egg_rows(site, one)
    try:
        with open_regular(site / one.directory / "RECORD") as stream:
            return parse_record(stream.read(MAX_RECORD + 1))
    except (OSError, InvalidRecord, UnsafePath, TooLarge):
        return ()


def _egg_rows(site: Path, one: Installed) -> Sequence[RecordRow]:
    try:
        with open_regular(site / one.directory / "installed-files.txt") as stream:
            lines = stream.read(MAX_RECORD).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    paths = (os.path.normpath(f"{one.directory}/{line}") for line in lines if line and not line.startswith("/"))
    return [RecordRow(path, "", None) for path in paths]
