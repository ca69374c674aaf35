"""What a command makes: which paths it declares, and whether what is there is what was made.

Imports as little as ``app.recall``; what changes the disk is in ``app.aside`` and ``app.products``.
"""

import os
import stat

from blake3 import blake3

from envid.app.running.inputs import escaped, is_own
from envid.errors import OutputRefused

Row = tuple[str, int, int, str, str]
"""Kind (``file``, ``directory``, ``link``), mode, size, BLAKE3, target: what ``manifest.Made`` has beside the path."""

KEPT_MODE = 0o777
"""Bits of a mode that belong to an output."""
BYTECODE = "__pycache__"
_SPECIAL = 0o7000
_PIECE = 65536
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class OddOutput(Exception):
    """A command made something that cannot be kept."""


def declared(texts: list[str]) -> list[tuple[str, bool]]:
    """Return ``[(path, whether it is to be a directory)]`` sorted, POSIX and relative; raise OutputRefused."""
    found: dict[str, bool] = {}
    for text in texts:
        parts = [part for part in text.split("/") if part not in ("", ".")]
        said = f"--out {ascii(text)[1:-1]}"
        if not parts or text.startswith("/") or ".." in parts or "\0" in text:
            raise OutputRefused(f"{said}: not a path below the project")
        path = "/".join(parts)
        if path in found:
            raise OutputRefused(f"{said} is given twice")
        if is_own(parts[-1]):
            raise OutputRefused(f"{said}: such names are envid's own")
        found[path] = text.endswith("/")
    paths = sorted(found)
    for path in paths:
        for other in paths:
            if path.startswith(f"{other}/"):
                raise OutputRefused(f"--out {escaped(path)} lies inside of the output {escaped(other)}")
    return [(path, found[path]) for path in paths]


def refuse_protected(root: str, outputs: list[tuple[str, bool]], protected: list[str]) -> None:
    """Raise OutputRefused for an output at, above or below what ``protected`` names (relative), or behind a link."""
    for path, _ in outputs:
        for place in protected:
            if path == place or path.startswith(f"{place}/") or place.startswith(f"{path}/"):
                raise OutputRefused(
                    f"--out {escaped(path)} would replace {escaped(place)}", hint="name a place for what is generated"
                )
        if not has_real_parents(root, path):
            raise OutputRefused(f"--out {escaped(path)}: a directory on the way to it is a link or a file")


def has_real_parents(root: str, path: str) -> bool:
    """Return whether everything between ``root`` and ``path`` that exists is a directory and no link."""
    at = root
    for part in path.split("/")[:-1]:
        at = f"{at}/{part}"
        try:
            if not stat.S_ISDIR(os.lstat(at).st_mode):
                return False
        except FileNotFoundError:
            return True
        except OSError:
            return False
    return True


def beside(path: str, what: str) -> str:
    """Return the name of envid's file ``what`` (one of ``inputs.OWN``) beside the output ``path``."""
    folder, _, name = path.rpartition("/")
    if len(os.fsencode(name)) > 200:
        name = f"{blake3(os.fsencode(name)).hexdigest()[:32]}"
    own = f".{name}.{what}"
    return f"{folder}/{own}" if folder else own


def listed(root: str, path: str) -> list[tuple[str, os.stat_result]]:
    """Return ``path`` and all below it with their ``lstat``, parents first; empty when there is nothing.

    Without ``__pycache__``: whoever imports what was generated makes those, and they are nobody's output.
    """
    try:
        found = [(path, os.lstat(f"{root}/{path}"))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    waiting = [path] if stat.S_ISDIR(found[0][1].st_mode) else []
    while waiting:
        folder = waiting.pop()
        for name in sorted(os.listdir(f"{root}/{folder}")):
            if name == BYTECODE:
                continue
            inner = f"{folder}/{name}"
            status = os.lstat(f"{root}/{inner}")
            found.append((inner, status))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(inner)
    return found


def kind_of(path: str, found: os.stat_result) -> str:
    """Return the kind of an output; raise OddOutput for one that is none."""
    if stat.S_ISLNK(found.st_mode):
        return "link"
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    if not stat.S_ISREG(found.st_mode):
        raise OddOutput(f"{escaped(path)} is neither file, directory nor link")
    if found.st_mode & _SPECIAL:
        raise OddOutput(f"{escaped(path)} runs as its owner or group (mode {stat.S_IMODE(found.st_mode):o})")
    return "file"


def digest_of(path: str) -> str:
    """Return the BLAKE3 of a regular file; raise OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | _NOFOLLOW)
    digest = blake3()
    try:
        while piece := os.read(handle, _PIECE):
            digest.update(piece)
    finally:
        os.close(handle)
    return digest.hexdigest()


def differing(root: str, outputs: list[str], rows: dict[str, Row]) -> tuple[list[str], list[str]]:
    """Return (what of ``rows`` is not so on disk, what is there below ``outputs`` and in no row), parents first."""
    wrong, extra, right = [], [], set()
    for output in outputs:
        try:
            for path, found in listed(root, output):
                row = rows.get(path)
                if row is None:
                    extra.append(path)
                elif is_as(root, path, found, row):
                    right.add(path)
        except OSError:
            # Unreadable, or somebody works on it: none of it counts as made, and what is there is not known.
            right.difference_update([path for path in right if path == output or path.startswith(f"{output}/")])
            extra.append(output)
    wrong = [path for path in sorted(rows) if path not in right]
    return wrong, extra


def is_as(root: str, path: str, found: os.stat_result, row: Row) -> bool:
    """Return whether ``path``, whose ``lstat`` is ``found``, is what ``row`` says; raise OSError."""
    kind, mode, size, digest, target = row
    full = f"{root}/{path}"
    if stat.S_ISLNK(found.st_mode):
        return kind == "link" and os.readlink(full) == target
    if found.st_mode & KEPT_MODE != mode:
        return False
    if stat.S_ISDIR(found.st_mode):
        return kind == "directory"
    if kind != "file" or not stat.S_ISREG(found.st_mode) or found.st_mode & _SPECIAL or found.st_size != size:
        return False
    return digest_of(full) == digest
