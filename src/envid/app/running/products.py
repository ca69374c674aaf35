"""What a command made, on its way into the store and back: files with their modes, directories, links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from typing import cast

from envid.app.running.aside import dispose, open_up
from envid.app.running.foreign import parted
from envid.app.running.inputs import escaped, is_below
from envid.app.running.outputs import BYTECODE, KEPT_MODE, Row, beside, differing, has_real_parents, kind_of, listed
from envid.atomic import lead, rename
from envid.manifest import Kind, Made
from envid.process import uninterrupted
from envid.store.blobs import keep_file, lay
from envid.store.cache import Bypass, Miss
from envid.store.place import Place
from envid.values.frozen import dataclass
from envid.whole import make_directory, set_mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How much of the outputs was put in place; nothing when all was there."""

    laid: int
    removed: int
    files: int = 0
    """How many of those were no directories."""
    foreign: tuple[str, ...] = ()
    """Files that no run made: they stay."""


def check(root: str, outputs: Sequence[str]) -> None:
    """Raise OddOutput for a thing among the outputs that cannot be kept."""
    for output in outputs:
        for path, found in listed(root, output):
            kind_of(path, found)


def missing(root: str, outputs: Sequence[tuple[str, bool]]) -> tuple[str, ...]:
    """Return the outputs that are not there, or are no directory where one was asked for."""
    gone = []
    for path, directory in outputs:
        full = f"{root}/{path}"
        if not os.path.lexists(full) or (directory and (os.path.islink(full) or not os.path.isdir(full))):
            gone.append(path)
    return tuple(gone)


def keep(place: Place, root: str, outputs: Sequence[str]) -> tuple[Made, ...] | Bypass:
    """Put the bytes of every file into the store and return what there is; raise OddOutput, OSError."""
    made = []
    for output in outputs:
        for path, found in listed(root, output):
            kind = cast(Kind, kind_of(path, found))
            mode, size, digest, target = found.st_mode & KEPT_MODE, 0, "", ""
            if kind == "link":
                mode, target = 0, os.readlink(f"{root}/{path}")
            elif kind == "file":
                kept = keep_file(place, f"{root}/{path}")
                if isinstance(kept, Bypass):
                    return kept
                size, digest = kept.size, kept.digest
            made.append(Made(path=path, kind=kind, mode=mode, size=size, digest=digest, target=target))
    return tuple(made)


def rows_of(made: Sequence[Made], outputs: Sequence[str]) -> dict[str, Row] | None:
    """Return the rows of a manifest; None when it names anything but these outputs, or not all of them."""
    rows: dict[str, Row] = {one.path: (one.kind, one.mode, one.size, one.digest, one.target) for one in made}
    if not all(is_below(path, list(outputs)) for path in rows) or not all(output in rows for output in outputs):
        return None
    for path in rows:
        above = path.rpartition("/")[0]
        # Every directory below an output is named, so that none is ever found as a link on the way.
        if path not in outputs and rows.get(above, ("",))[0] != "directory":
            return None
    return rows


def restore(
    place: Place, root: str, outputs: Sequence[str], rows: dict[str, Row], *, known: Mapping[str, Row], clean: bool
) -> Restored | Miss:  # fmt: skip
    """Make the outputs what ``rows`` say: what is so already is not touched; files appear whole.

    Files that are in no row go when they are ``known`` to be what a run made, or with ``clean``; others stay.
    Until every byte that is needed has come out of the store, nothing changes. Raises WriteFailed, OutputRefused.
    """
    try:
        for output in outputs:
            listed(root, output)
    except PermissionError:
        # What cannot be listed is not what was made, for that could be; and may hide what does not belong there.
        for output in outputs:
            if os.path.lexists(f"{root}/{output}"):
                open_up(f"{root}/{output}")
    wrong, extra = differing(root, list(outputs), rows)
    extra, foreign = parted(root, _named(root, outputs, extra, rows), rows, known, clean=clean)
    number = sum(not stat.S_ISDIR(_mode(f"{root}/{path}") or 0) for path in extra)
    staged: dict[str, str] = {}
    try:
        for output in outputs:
            files = [path for path in wrong if is_below(path, [output]) and rows[path][0] != "directory"]
            missed = _stage(place, root, output, files, rows, staged)
            if missed is not None:
                return missed
        if wrong or extra:
            with uninterrupted():
                _put(root, rows, wrong, extra, staged)
    finally:
        for output in outputs:
            dispose(f"{root}/{beside(output, 'envid-new')}")
    return Restored(laid=len(wrong), removed=len(extra), files=number, foreign=tuple(foreign))


def standing(
    root: str, outputs: Sequence[str], rows: dict[str, Row], *, known: Mapping[str, Row], clean: bool
) -> tuple[str, ...] | None:  # fmt: skip
    """Return the files that no run made, where the outputs are what ``rows`` say; None where ``restore`` has work."""
    wrong, extra = differing(root, list(outputs), rows)
    if wrong or not all(has_real_parents(root, output) for output in outputs):
        return None
    goes, stays = parted(root, extra, rows, known, clean=clean)
    return None if goes else tuple(stays)


def _named(root: str, outputs: Sequence[str], extra: list[str], rows: dict[str, Row]) -> list[str]:
    """Return ``extra`` with the names below an output that could not be read in place of that."""
    named: list[str] = []
    for path in extra:
        if path in outputs and path in rows:
            named += [name for name, _ in listed(root, path) if name not in rows]
        else:
            named.append(path)
    return list(dict.fromkeys(named))


def _stage(
    place: Place, root: str, output: str, files: list[str], rows: dict[str, Row], staged: dict[str, str]
) -> Miss | None:
    folder = f"{root}/{beside(output, 'envid-new')}"
    dispose(folder)
    if not files:
        return None
    make_directory(os.path.dirname(f"{root}/{output}"))
    make_directory(folder, mode=0o700)
    for number, path in enumerate(files):
        staged[path] = f"{folder}/{number}"
        if rows[path][0] == "link":
            lead(staged[path], rows[path][4])
            continue
        missed = lay(place, rows[path][3], staged[path], mode=rows[path][1])
        if missed is not None:
            return missed
        if os.lstat(staged[path]).st_size != rows[path][2]:
            return Miss(reason="damaged")
    return None


def _put(root: str, rows: dict[str, Row], wrong: list[str], extra: list[str], staged: dict[str, str]) -> None:
    _open(root, rows)
    for path in extra:
        dispose(f"{root}/{path}")
    for folder in {os.path.dirname(path) for path in (*wrong, *extra)} & rows.keys():
        # Bytecode knows its source by size and whole seconds: what was compiled may be of the source of a moment ago.
        if stat.S_ISDIR(_mode(f"{root}/{folder}") or 0):
            dispose(f"{root}/{folder}/{BYTECODE}")
    for path in wrong:
        full = f"{root}/{path}"
        there = _mode(full)
        if rows[path][0] == "directory":
            if there is None or not stat.S_ISDIR(there):
                dispose(full)
                make_directory(full)
            continue
        if there is not None and stat.S_ISDIR(there):
            dispose(full)
        make_directory(os.path.dirname(full))
        rename(staged[path], full)
    for path in sorted(rows, reverse=True):
        full = f"{root}/{path}"
        if rows[path][0] == "directory" and (_mode(full) or 0) & KEPT_MODE != rows[path][1]:
            set_mode(full, rows[path][1])


def _open(root: str, rows: dict[str, Row]) -> None:
    """Let the owner write into every directory that is there; each gets its own mode again afterwards."""
    real: set[str] = set()
    for path in sorted(rows):
        above = path.rpartition("/")[0]
        # Not through a link that somebody put in the place of a directory: what it leads to is not ours.
        if above in rows and above not in real:
            continue
        mode = _mode(f"{root}/{path}")
        if mode is not None and stat.S_ISDIR(mode):
            real.add(path)
            if mode & 0o700 != 0o700:
                set_mode(f"{root}/{path}", stat.S_IMODE(mode) | 0o700)


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except OSError as error:
        # Below a link that leads to itself there is nothing, as below a file.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None


def said(rows: dict[str, Row]) -> list[str]:
    """Return the paths of ``rows`` in printable ASCII, directories with a slash."""
    return [escaped(f"{path}/" if rows[path][0] == "directory" else path) for path in sorted(rows)]
