"""What was there before: a command's outputs, put aside while it makes them anew, and put back unless all went well.

Each output has names of its own beside it (``outputs.beside``), so that the next run finds what a killed one left::

    envid-aside   the previous output, while the command works; it goes back when the next run finds it
    envid-absent  says that there was none: what stands in its place then is a part, and goes
    envid-old     one of those, once all went well: nothing goes back any more, and all of them go
    envid-torn    a part on its way out
    envid-new     where files are put together before they take their places

Anybody can make files of such names, and commit them. What goes back is what a journal in the project's own directory
names: it is written before the first output is put aside, says which belong together and which file each of them was,
and is bound to the directory that it lies in, so that none that came with the project is believed.

Whoever calls these functions has the turn.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from envid.app.running.inputs import escaped
from envid.app.running.outputs import beside, has_real_parents
from envid.atomic import remove_file, remove_tree, rename, settle
from envid.errors import OutputRefused, WriteFailed
from envid.whole import make_directory, open_regular, set_mode, write

HEAD: Final = "envid-run-journal/1"
_MOST: Final = 16 * 1024 * 1024
_NONE: Final = "-"


def recover(root: str, journals: Sequence[str]) -> tuple[str, ...]:
    """Put right what killed runs left, as ``journals`` have it; return those outputs where there was something.

    Raises WriteFailed, OutputRefused.
    """
    touched: list[str] = []
    for journal in journals:
        known = _read(root, journal)
        # Once one of them is old, the run had succeeded, and the others were about to follow.
        finished = any(os.path.lexists(f"{root}/{beside(output, 'envid-old')}") for output in known)
        for output, identity in known.items():
            _refuse_links(root, output)
            if _recovered(root, output, identity, finished):
                touched.append(output)
        for output in known:
            dispose(f"{root}/{beside(output, 'envid-old')}")
        close(root, journal)
    return tuple(touched)


def _recovered(root: str, output: str, identity: str, finished: bool) -> bool:
    place, aside, absent, old, torn, new = _names(root, output)
    for leftover in (torn, new):
        dispose(leftover)
    kept = absent if identity == _NONE else aside
    if not os.path.lexists(kept):
        return False
    if kept == aside and _identity(aside) != identity:
        raise _in_the_way(root, output, "envid-aside")
    if finished:
        dispose(old)
        rename(kept, old)
        return True
    if os.path.lexists(place):
        rename(place, torn)
    if kept == aside:
        rename(aside, place)
    else:
        dispose(absent)
    dispose(torn)
    return True


def is_left(root: str, outputs: Sequence[str]) -> bool:
    """Return whether something of envid's is left beside one of ``outputs``, by whomever."""
    return any(
        os.path.lexists(f"{root}/{beside(output, what)}")
        for output in outputs
        for what in ("envid-aside", "envid-absent", "envid-old", "envid-new")
    )


def begin(root: str, outputs: Sequence[tuple[str, bool]], journal: str) -> None:
    """Put the previous outputs aside; make parents, and the directories that outputs are to be.

    Raises WriteFailed, and OutputRefused for a file of envid's own beside an output that no run is known to have left.
    """
    for output, _ in outputs:
        _refuse_links(root, output)
        for what in ("envid-aside", "envid-absent", "envid-old"):
            if os.path.lexists(f"{root}/{beside(output, what)}"):
                raise _in_the_way(root, output, what)
    fields = [HEAD, root, _identity(os.path.dirname(journal))]
    for output, _ in outputs:
        fields += [output, _identity(f"{root}/{output}")]
    write(journal, "\0".join(fields).encode("utf-8", "surrogateescape"), mode=0o600)
    # Its directories may be as new as it is itself.
    for above in (os.path.dirname(os.path.dirname(journal)), root):
        settle(Path(above))
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


def undo(root: str, outputs: Sequence[str], journal: str) -> None:
    """Put back what ``begin`` put aside, whatever stands in its place. Raises WriteFailed."""
    known = _read(root, journal)
    for output in outputs:
        if output in known:
            _refuse_links(root, output)
            _recovered(root, output, known[output], False)


def finish(root: str, outputs: Sequence[str]) -> None:
    """Let go of what ``begin`` put aside. Raises WriteFailed."""
    for output in outputs:
        _refuse_links(root, output)
    for output in outputs:
        _, aside, absent, old, *_ = _names(root, output)
        for kept in (aside, absent):
            if os.path.lexists(kept):
                rename(kept, old)
    for output in outputs:
        dispose(f"{root}/{beside(output, 'envid-old')}")


def close(root: str, journal: str) -> None:
    """Say that nothing is put aside any more. Raises WriteFailed."""
    # In this order on the disk, too: without its journal, what is aside would be believed to be somebody's.
    for folder in sorted({os.path.dirname(f"{root}/{output}") for output in _read(root, journal)}):
        settle(Path(folder))
    remove_file(Path(journal))


def _read(root: str, journal: str) -> dict[str, str]:
    """Return which file each output was that ``begin`` put aside; nothing where no run wrote the journal here."""
    try:
        with open_regular(journal, follow=False) as stream:
            fields = stream.read(_MOST).decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return {}
    if fields[:3] != [HEAD, root, _identity(os.path.dirname(journal))] or len(fields) % 2 == 0:
        return {}
    known = dict(zip(fields[3::2], fields[4::2], strict=True))
    return {} if any(".." in path.split("/") or path.startswith("/") for path in known) else known


def _identity(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return _NONE
    return f"{found.st_dev}:{found.st_ino}"


def _refuse_links(root: str, output: str) -> None:
    """Raise WriteFailed where a directory on the way to ``output`` became a link: it leads to what is not ours."""
    if not has_real_parents(root, output):
        raise WriteFailed(
            f"a directory on the way to {escaped(output)} became a link or a file; what was put aside of it is where "
            "that directory went",
            hint="put the directory back, and run it again", path=f"{root}/{output}",
        )  # fmt: skip


def _in_the_way(root: str, output: str, what: str) -> OutputRefused:
    name = beside(output, what)
    return OutputRefused(
        f"{escaped(name)} is in the way of the output {escaped(output)}, and no run here is known to have left it",
        hint="look at what it is, then move or remove it", path=f"{root}/{name}",
    )  # fmt: skip


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
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            mode = os.lstat(folder).st_mode
            if not stat.S_ISDIR(mode):
                continue
            if mode & 0o700 != 0o700:
                set_mode(folder, stat.S_IMODE(mode) | 0o700)
            with os.scandir(folder) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            # Gone meanwhile, or too deep for a name: whoever removes it says what is wrong, if anything is.
            continue
