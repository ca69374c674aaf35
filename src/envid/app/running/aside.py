"""What was there before: a command's outputs, put aside while it makes them anew, and put back unless all went well.

Each output has names of its own beside it (``outputs.beside``), so that the next run finds what a killed one left::

    envid-aside   the previous output, while the command works; it goes back when the next run finds it
    envid-absent  says that there was none: what stands in its place then is a part, and goes
    envid-old     one of those, once all went well: nothing goes back any more, and all of them go
    envid-torn    a part on its way out
    envid-new     where files are put together before they take their places

Whoever calls these functions holds the guards of the outputs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from envid.app.running.outputs import beside
from envid.atomic import remove_file, remove_tree, rename
from envid.whole import make_directory, set_mode


def recover(root: str, outputs: Sequence[str]) -> tuple[str, ...]:
    """Put right what a killed run left of ``outputs``; return those where there was something. Raises WriteFailed."""
    # Once one of them is old, the run had succeeded, and the others were about to follow.
    finished = any(os.path.lexists(f"{root}/{beside(output, 'envid-old')}") for output in outputs)
    touched = [output for output in outputs if _recovered(root, output, finished)]
    for output in outputs:
        dispose(f"{root}/{beside(output, 'envid-old')}")
    return tuple(touched)


def _recovered(root: str, output: str, finished: bool) -> bool:
    place, aside, absent, old, torn, new = _names(root, output)
    for leftover in (torn, new):
        dispose(leftover)
    for kept in (aside, absent):
        if not os.path.lexists(kept):
            continue
        if finished:
            dispose(old)
            rename(kept, old)
        else:
            if os.path.lexists(place):
                rename(place, torn)
            if kept == aside:
                rename(aside, place)
            else:
                dispose(absent)
            dispose(torn)
        return True
    return False


def begin(root: str, outputs: Sequence[tuple[str, bool]]) -> None:
    """Put the previous outputs aside; make parents, and the directories that outputs are to be. Raises WriteFailed."""
    for output, directory in outputs:
        place, aside, absent, *_ = _names(root, output)
        make_directory(os.path.dirname(place))
        empty = directory
        if os.path.lexists(place):
            empty = empty or (os.path.isdir(place) and not os.path.islink(place))
            rename(place, aside)
        else:
            # A directory is there in one call; a file that is written whole leaves a part when it is killed.
            make_directory(absent, mode=0o700)
        if empty:
            make_directory(place)
            set_mode(place, 0o755)


def undo(root: str, outputs: Sequence[str]) -> None:
    """Put back what ``begin`` put aside, whatever stands in its place. Raises WriteFailed."""
    for output in outputs:
        _recovered(root, output, False)


def finish(root: str, outputs: Sequence[str]) -> None:
    """Let go of what ``begin`` put aside. Raises WriteFailed."""
    for output in outputs:
        _, aside, absent, old, *_ = _names(root, output)
        for kept in (aside, absent):
            if os.path.lexists(kept):
                rename(kept, old)
    for output in outputs:
        dispose(f"{root}/{beside(output, 'envid-old')}")


def _names(root: str, output: str) -> tuple[str, str, str, str, str, str]:
    aside, absent, old, torn, new = (
        f"{root}/{beside(output, what)}"
        for what in ("envid-aside", "envid-absent", "envid-old", "envid-torn", "envid-new")
    )
    return f"{root}/{output}", aside, absent, old, torn, new


def dispose(path: str) -> None:
    """Remove a file, a link or a directory with all below, also where directories forbid it. Raises WriteFailed."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        remove_file(Path(path))
        return
    open_up(path)
    remove_tree(Path(path))


def open_up(path: str) -> None:
    """Let the owner list and change every directory at and below ``path``, following no link. Raises WriteFailed."""
    _open_up(path)
    for folder, names, _ in os.walk(path):
        for name in names:
            _open_up(f"{folder}/{name}")


def _open_up(path: str) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        set_mode(path, stat.S_IMODE(mode) | 0o700)
