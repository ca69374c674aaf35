"""The content of a source tree, as one digest that every host computes alike (docs/identity.md, "Tree digest")."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from envid.errors import IdentityUnknown
from envid.values.digest import JSONValue, blake3_hex, canonical, derive_hex
from envid.whole import open_regular

CONTEXT: Final = "envid-tree/1"
MAX_FILES: Final = 100_000
MAX_BYTES: Final = 1 << 30

LEFT_OUT: Final = frozenset(
    {
        ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "_darcs",
        "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".tox", ".nox", ".eggs", ".envid",
        ".venv", "node_modules", ".DS_Store", ".coverage",
    }
)  # fmt: skip
"""Names that are left out wherever they stand: version control, caches, environments."""
LEFT_OUT_AT_TOP: Final = frozenset({"build", "dist"})
"""Build outputs; further down these are ordinary names of packages."""
LEFT_OUT_ENDINGS: Final = (".pyc", ".pyo", ".egg-info")


def tree_digest(directory: str, *, package: str) -> str:
    """Return the digest of the files below ``directory``, 64 hexadecimal digits; ``package`` names it in errors.

    Raises IdentityUnknown when there is no such directory, for what is neither file, directory nor
    symbolic link, for a tree that is too large, and for a file that changes while it is read.
    """
    if not os.path.isdir(directory):
        raise IdentityUnknown(f"the source of {package} is not at {directory}", package=package, path=directory)
    rows: dict[str, JSONValue] = {}
    total = 0
    for path, entry in _entries(directory, package):
        name = _name(path, package)
        if name in rows:
            raise IdentityUnknown(f"{package} has two files named {name} in normal form C", package=package)
        if entry.is_symlink():
            rows[name] = [name, "link", _name(os.readlink(entry.path), package)]
            continue
        data, executable = _read(entry.path, package)
        total += len(data)
        if len(rows) >= MAX_FILES or total > MAX_BYTES:
            raise IdentityUnknown(
                f"the source of {package} has more than {MAX_FILES} files or {MAX_BYTES} bytes", package=package,
                hint="depend on a built wheel of it instead",
            )  # fmt: skip
        rows[name] = [name, "executable" if executable else "file", blake3_hex(data)]
    return derive_hex(CONTEXT, canonical([rows[name] for name in sorted(rows, key=str.encode)]))


def _entries(top: str, package: str, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(os.path.join(top, below)) as found:
            entries = list(found)
    except OSError as error:
        raise IdentityUnknown(f"cannot read the source of {package}: {error}", package=package) from error
    if below and any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name in LEFT_OUT or entry.name.endswith(LEFT_OUT_ENDINGS):
            continue
        if not below and entry.name in LEFT_OUT_AT_TOP:
            continue
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(top, package, path)
        else:
            yield path, entry


def _read(path: str, package: str) -> tuple[bytes, bool]:
    try:
        # Looked at before it is opened: opening a named pipe would wait for ever.
        before = os.lstat(path)
        if not stat.S_ISREG(before.st_mode):
            raise IdentityUnknown(f"{path} in the source of {package} is no ordinary file", package=package, path=path)
        if before.st_size > MAX_BYTES:
            raise IdentityUnknown(f"{path} in the source of {package} is too large", package=package, path=path)
        with open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise IdentityUnknown(f"cannot read the source of {package}: {error}", package=package, path=path) from error
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise IdentityUnknown(f"{path} in the source of {package} changed while being read", package=package, path=path)
    return data, bool(before.st_mode & 0o100)


def _name(path: str, package: str) -> str:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise IdentityUnknown(f"the source of {package} has a name that is not UTF-8: {path!a}") from None
    if path.isascii():
        return path
    from unicodedata import normalize

    # macOS gives names decomposed, as other hosts wrote them or not.
    return normalize("NFC", path)
