"""Change an environment wholly or not at all: what is taken out is kept until the change is proven.

Layout below the environment: ``.envid-sync/N`` holds what was taken out or may be overwritten,
``.envid-sync.json`` says where each belongs. The second file exists exactly while a change is
unfinished, also after a crash; ``roll_back`` needs nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envid import atomic
from envid.errors import InvalidEnvironment, UnsafePath
from envid.whole import open_regular

MARKER: Final = ".envid-sync.json"
SNAPSHOT: Final = ".envid-sync"
SCRATCH: Final = f"{SNAPSHOT}/unpacked"
"""Where wheels may be unpacked on the file system of the environment; gone with the journal at the latest."""
SCHEMA: Final = "envid-sync/1"
_ASIDE: Final = re.compile(re.escape(SNAPSHOT) + r"\.[0-9a-f]{12}")
"""The name that ``atomic.remove_tree`` gives to what it cannot remove at once."""
_MAX_MARKER: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a change does to an environment; every path POSIX, relative to its root, sorted."""

    taken: tuple[str, ...] = ()
    """Files, links and whole metadata directories that are taken out."""
    overwritten: tuple[str, ...] = ()
    """Files that stay and may be written over."""
    created: tuple[str, ...] = ()
    """Files that will be new at their place once ``taken`` is out."""
    created_trees: tuple[str, ...] = ()
    """Directories that are new with all that is in them."""
    watched: tuple[str, ...] = ()
    """Directories in which an installer may make entries that nobody can foretell (editable installs)."""


def pending(root: Path) -> bool:
    """Tell whether a change of the environment was begun and neither finished nor undone."""
    return os.path.lexists(root / MARKER)


def begin_fresh(root: Path) -> None:
    """Mark a new, empty environment directory: undoing removes all of it. Raises WriteFailed."""
    import json

    atomic.make_directory(root)
    atomic.write(root / MARKER, json.dumps({"schema": SCHEMA, "fresh": True}).encode())


def begin(root: Path, change: Change) -> None:
    """Note ``change`` down, durably, and take out what it takes out.

    Raises WriteFailed, UnsafePath for a path that leaves the environment. On any exception here the
    caller still has to call ``roll_back``.
    """
    import json

    real = os.path.realpath(root)
    for path in (*change.taken, *change.overwritten, *change.created, *change.created_trees):
        _inside(real, path)
    atomic.remove_tree(root / SNAPSHOT)
    atomic.make_directory(root / SNAPSHOT, mode=0o700)
    copies = [[path, f"c{number}"] for number, path in enumerate(change.overwritten)]
    for path, number in copies:
        atomic.copy(root / path, root / SNAPSHOT / number)
    moves = [[path, f"m{number}"] for number, path in enumerate(change.taken)]
    document = {
        "schema": SCHEMA,
        "fresh": False,
        "moved": moves,
        "copied": copies,
        "created": list(change.created),
        "trees": list(change.created_trees),
        "directories": _absent_directories(root, (*change.created, *change.created_trees)),
        "watched": {path: sorted(os.listdir(root / path)) for path in change.watched if (root / path).is_dir()},
    }
    atomic.write(root / MARKER, json.dumps(document).encode("ascii"))
    for path, number in moves:
        if os.path.lexists(root / path):
            atomic.rename(root / path, root / SNAPSHOT / number)
    _prune(root, change.taken)


def finish(root: Path) -> None:
    """Declare the change good: from here on there is no way back. Raises WriteFailed."""
    atomic.remove_file(root / MARKER)
    atomic.settle(root)
    atomic.remove_tree(root / SNAPSHOT)


def roll_back(root: Path) -> None:
    """Undo an unfinished change, also one of a process that died; nothing to undo is no error.

    Each step may be repeated, so a crash in here is mended by the next call. Raises
    InvalidEnvironment for a marker that envid did not write, WriteFailed.
    """
    for entry in _listdir(root):
        # What a crash left of writing the marker itself, and of removing a tree in which somebody wrote.
        if (entry.startswith(f".{MARKER}.") and entry.endswith(".part")) or _ASIDE.fullmatch(entry):
            discard(root / entry)
    if not pending(root):
        atomic.remove_tree(root / SNAPSHOT)
        return
    document = _read(root)
    if document.get("fresh") is True:
        # The marker goes last: until then the directory still says what it is.
        for entry in sorted(os.listdir(root)):
            if entry != MARKER:
                discard(root / entry)
        atomic.remove_file(root / MARKER)
        atomic.remove_if_empty(root)
        return
    moved, copied = _pairs(document, "moved"), _pairs(document, "copied")
    created, trees, directories = (_paths(document, key) for key in ("created", "trees", "directories"))
    real = os.path.realpath(root)
    for path in (*created, *trees, *directories, *(path for path, _ in (*moved, *copied))):
        _inside(real, path)
    still_there = {path for path, number in moved if not os.path.lexists(root / SNAPSHOT / number)}
    for path in created:
        if not _within(path, still_there):
            atomic.remove_file(root / path)
    for path in trees:
        if path not in still_there:
            discard(root / path)
    _remove_unforeseen(root, document, still_there)
    for path in sorted(directories, key=len, reverse=True):
        discard(root / path / "__pycache__")
        atomic.remove_if_empty(root / path)
    for path, number in (*moved, *copied):
        kept = root / SNAPSHOT / number
        if os.path.lexists(kept):
            if kept.is_dir() and not kept.is_symlink():
                discard(root / path)
            atomic.make_directory((root / path).parent)
            atomic.rename(kept, root / path)
    finish(root)


def files_of(root: Path, site: str, directory: str, rows: Iterable[str]) -> tuple[str, ...]:
    """Return what belongs to an installed distribution: its metadata directory and its files, as ``Change.taken``.

    ``site`` is the site-packages directory, ``directory`` the metadata directory in it, ``rows`` the
    paths of its RECORD. Rows that leave the environment, or name what is not there, are left out:
    a RECORD may be of anybody's writing. Bytecode of a source counts as its file.
    """
    real = os.path.realpath(root)
    metadata = f"{site}/{directory}"
    found = {metadata}
    caches: dict[str, list[str]] = {}
    for row in rows:
        path = os.path.normpath(f"{site}/{row}").replace(os.sep, "/")
        if path.startswith(("../", "/", f"{metadata}/")) or path in ("..", metadata):
            continue
        if _is_file(root / path) and _contained(real, path):
            found.add(path)
        if path.endswith(".py"):
            folder, _, name = path.rpartition("/")
            cache = f"{folder}/__pycache__"
            names = caches.setdefault(cache, _listdir(root / cache))
            stem = f"{name[:-3]}."
            found.update(f"{cache}/{entry}" for entry in names if entry.startswith(stem) and entry.endswith(".pyc"))
    return tuple(sorted(path for path in found if _contained(real, path)))


def _within(path: str, places: set[str]) -> bool:
    """Tell whether ``path`` is one of ``places``, or in a directory that is."""
    while path:
        if path in places:
            return True
        path = path.rpartition("/")[0]
    return False


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _listdir(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _contained(real: str, path: str) -> bool:
    parent = os.path.realpath(os.path.join(real, os.path.dirname(path)))
    return parent == real or parent.startswith(real + os.sep)


def _inside(real: str, path: str) -> None:
    parts = path.split("/")
    if not path or path.startswith("/") or "\0" in path or ".." in parts or parts[0] in (MARKER, SNAPSHOT):
        raise UnsafePath(f"{path[:200]!r} is not a place in the environment", path=path[:200])
    if not _contained(real, path):
        raise UnsafePath(f"{path[:200]!r} leads out of the environment", path=path[:200])


def _absent_directories(root: Path, paths: Iterable[str]) -> list[str]:
    absent: set[str] = set()
    known: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in known:
            known.add(directory)
            if not os.path.lexists(root / directory):
                absent.add(directory)
            directory = directory.rpartition("/")[0]
    return sorted(absent)


def _prune(root: Path, taken: Sequence[str]) -> None:
    """Remove the directories that are empty now, as an installer does."""
    directories = {path.rpartition("/")[0] for path in taken}
    for directory in sorted(directories, key=lambda path: -path.count("/")):
        current = directory
        while current.count("/") >= 1 and not current.endswith("/site-packages"):
            if not atomic.remove_if_empty(root / current):
                break
            current = current.rpartition("/")[0]


def discard(path: Path) -> None:
    """Remove a file, a link or a directory with all that is in it; raise WriteFailed."""
    if path.is_dir() and not path.is_symlink():
        atomic.remove_tree(path)
    else:
        atomic.remove_file(path)


def _remove_unforeseen(root: Path, document: dict[str, object], still_there: set[str]) -> None:
    watched = document.get("watched")
    for directory, names in watched.items() if isinstance(watched, dict) else ():
        before = set(names) if isinstance(names, list) else set()
        for entry in _listdir(root / directory):
            if entry not in before and f"{directory}/{entry}" not in still_there and entry != "__pycache__":
                discard(root / directory / entry)


def _read(root: Path) -> dict[str, object]:
    import json

    path = root / MARKER
    try:
        with open_regular(path) as stream:
            document = json.loads(stream.read(_MAX_MARKER).decode("ascii"))
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise _broken(path)
    return document


def _pairs(document: dict[str, object], key: str) -> list[tuple[str, str]]:
    value = document.get(key)
    pairs = value if isinstance(value, list) else []
    return [(str(path), str(number)) for path, number in pairs if str(number)[1:].isdigit()]


def _paths(document: dict[str, object], key: str) -> list[str]:
    value = document.get(key)
    return [path for path in value if isinstance(path, str)] if isinstance(value, list) else []


def _broken(path: Path) -> InvalidEnvironment:
    return InvalidEnvironment(
        f"{path} is not a journal of envid", path=str(path), hint="remove the environment and run `envid sync`"
    )
