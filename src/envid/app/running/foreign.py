"""Files in an output that no run made: somebody's own, which stay where they are unless ``--clean`` says otherwise.

A file is a run's when the ledger has it with these bytes; an edit makes it somebody's own. Directories count for what
is in them, and bytecode for nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Final

from envid.app.running.aside import open_up
from envid.app.running.inputs import escaped
from envid.app.running.outputs import KEPT_MODE, Row, beside, has_real_parents, is_as, listed
from envid.atomic import name_again
from envid.errors import OutputRefused, WriteFailed
from envid.values.frozen import dataclass
from envid.whole import make_directory, set_mode

NAMED: Final = 5
"""Files that a message names before it counts the rest."""
HINT: Final = (
    "name the files that the command makes as outputs, or pass --clean to have an output directory hold only what the "
    "command makes"
)
_OWN: Final = {".git": "a repository", "lockfiles": "a project of envid", "pyproject.toml": "a project"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What became of the files of before."""

    foreign: tuple[str, ...] = ()
    """Put back where they were."""
    whole: tuple[str, ...] = ()
    """Outputs that have to be put back as they were: what the command made there leaves no place for such files."""
    removed: int = 0
    """Files that go because of ``--clean``."""


def refuse(root: str, outputs: Sequence[tuple[str, bool]], known: Mapping[str, Row]) -> None:
    """Raise OutputRefused for an output in whose place something stands that no command should replace."""
    for path, directory in outputs:
        full, said = f"{root}/{path}", f"--out {escaped(path)}"
        if {".git", ".envid"} & set(path.split("/")):
            raise OutputRefused(f"{said} lies in a directory that is no command's", hint="name another place")
        try:
            found = os.lstat(full)
        except OSError:
            continue
        row = known.get(path)
        if stat.S_ISLNK(found.st_mode):
            if directory or row is None or not is_as(root, path, found, row):
                raise OutputRefused(
                    f"{said} is a symbolic link, which is not replaced",
                    hint="name what it leads to, or remove the link",
                )
        elif os.path.ismount(full):
            raise mounted(path)
        elif not stat.S_ISDIR(found.st_mode):
            if directory and (row is None or row[0] != "file"):
                raise OutputRefused(
                    f"{said}/ is no directory, and is not replaced by one", hint="move it, or name another"
                )
        elif os.path.lexists(f"{full}/pyvenv.cfg"):
            raise OutputRefused(f"{said} is a virtual environment", hint="name a directory for what is generated")
        else:
            _refuse_depth(root, path)
            for name, what in _OWN.items():
                if os.path.lexists(f"{full}/{name}") and f"{path}/{name}" not in known:
                    raise OutputRefused(
                        f"{said} is {what}: it has a {name}", hint="name a directory for what is generated"
                    )


def _refuse_depth(root: str, path: str) -> None:
    try:
        listed(root, path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputRefused(
                f"--out {escaped(path)} holds directories deeper than a path can say, which cannot be looked at",
                hint="remove it, and have the command make none that are so deep",
            ) from None


def mounted(path: str) -> OutputRefused:
    """Return the error for an output that cannot be renamed because something is mounted there."""
    return OutputRefused(
        f"--out {escaped(path)} is a mount point, which cannot be put aside while the command runs",
        hint=f"name what is below it: --out {escaped(path)}/NAME",
    )


def give_back(root: str, outputs: Sequence[str], known: Mapping[str, Row], *, clean: bool) -> Returned:
    """Put files of before that the command did not make again, and no run is known to have made, where they were.

    Each gets a second name there, and keeps the one beside the output: a run that is killed meanwhile loses none.
    """
    foreign: list[str] = []
    whole: list[str] = []
    removed = 0
    for output in outputs:
        folder = beside(output, "envid-aside")
        if not os.path.isdir(f"{root}/{folder}") or os.path.islink(f"{root}/{folder}"):
            continue
        lost = _lost(root, output, folder)
        if clean:
            removed += len(lost)
            continue
        kept = [(name, path) for name, path, found in lost if not _is_known(root, path, found, known.get(name))]
        try:
            for name, path in kept:
                _return(root, output, folder, name, path)
        except WriteFailed:
            whole.append(output)
        foreign += [name for name, _ in kept]
    return Returned(foreign=tuple(foreign), whole=tuple(whole), removed=removed)


def parted(
    root: str, extra: Sequence[str], rows: Mapping[str, Row], known: Mapping[str, Row], *, clean: bool
) -> tuple[list[str], list[str]]:
    """Return (what of ``extra`` goes, which files of it stay) when the outputs become ``rows``; raise OutputRefused."""
    if clean:
        return list(extra), []
    stays: list[str] = []
    folders: list[str] = []
    goes: list[str] = []
    for path in extra:
        try:
            found = os.lstat(f"{root}/{path}")
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            folders.append(path)
        elif _is_known(root, path, found, known.get(path)):
            goes.append(path)
        else:
            stays.append(path)
    goes += [folder for folder in folders if not any(path.startswith(f"{folder}/") for path in stays)]
    for path in stays:
        above = path.rpartition("/")[0]
        while above:
            if rows.get(above, ("directory",))[0] != "directory":
                raise OutputRefused(
                    f"{escaped(above)} is to be a file, and {escaped(path)}, which no run made, is in the way"
                )
            above = above.rpartition("/")[0]
    return sorted(goes), stays


def some(paths: Sequence[str]) -> str:
    """Return ``paths`` in words, the first of them by name."""
    named = ", ".join(escaped(path) for path in paths[:NAMED])
    return f"{named} and {len(paths) - NAMED} more" if len(paths) > NAMED else named


def _lost(root: str, output: str, folder: str) -> list[tuple[str, str, os.stat_result]]:
    """Return (path of before, path now, status) of each file of before that is not there any more."""
    try:
        before = listed(root, folder)
    except PermissionError:
        open_up(f"{root}/{folder}")
        before = listed(root, folder)
    lost = []
    for path, found in before:
        name = output + path[len(folder) :]
        if stat.S_ISDIR(found.st_mode):
            continue
        if not os.path.lexists(f"{root}/{name}") or not has_real_parents(root, name):
            lost.append((name, path, found))
    return lost


def _is_known(root: str, path: str, found: os.stat_result, row: Row | None) -> bool:
    try:
        return row is not None and is_as(root, path, found, row)
    except OSError:
        return False


def _return(root: str, output: str, folder: str, name: str, path: str) -> None:
    at = output
    for part in ["", *name[len(output) + 1 :].split("/")[:-1]]:
        at = f"{at}/{part}" if part else at
        full = f"{root}/{at}"
        if not os.path.lexists(full):
            make_directory(full)
            set_mode(full, os.lstat(f"{root}/{folder}{at[len(output) :]}").st_mode & KEPT_MODE | 0o700)
        elif os.path.islink(full) or not os.path.isdir(full):
            raise WriteFailed(f"{full} is no directory any more", path=full)
    name_again(f"{root}/{path}", f"{root}/{name}")
