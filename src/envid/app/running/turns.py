"""Whose turn it is: of all runs that write in one project, one at a time does.

Whoever is to put outputs in place, by a command or out of the store, holds ``.envid/guards/run`` of the project alone.
It lies in the project, because runs with different caches meet in nothing else.

A command that calls ``envid run`` itself would wait for its own end. It is told in a variable which guards its
ancestors hold; a run below them holds the next of ``run.1``, ``run.2``, ..., so that its own neighbours wait for it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from envid.app.running.inputs import escaped
from envid.errors import EnvidError, GuardTimeout, WriteFailed
from envid.guard import hold, is_held
from envid.values.frozen import dataclass
from envid.whole import make_directory, write

FOLDER: Final = ".envid"
"""The directory of a project that is envid's own, and in no version control."""
VARIABLE: Final = "ENVID_RUN_TURN"
"""The guards that a command's ancestors hold, one in a line: no input, and trusted for nothing else."""
DEEPEST: Final = 16
"""Runs inside of runs of one project."""
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a run holds while it makes its outputs."""

    root: str
    guard: str
    """Path of the guard file."""
    descriptor: int
    """For the command: what it holds stays held when envid is killed and the command works on."""
    since_ns: int
    """When it was taken, by the clock of the project's filesystem."""
    told: str
    """Value of ``VARIABLE`` for the command."""
    left: tuple[str, ...] = ()
    """Journals of runs that were killed, the innermost first."""

    @property
    def journal(self) -> str:
        """Path of the file that says what is put aside in this turn."""
        return f"{self.guard}.journal"


@contextlib.contextmanager
def turn(
    root: str, outputs: Sequence[str], *, wait: float, purpose: str, variables: Mapping[str, str]
) -> Iterator[Turn]:  # fmt: skip
    """Have the project ``root`` to oneself; wait at most ``wait`` seconds, then raise GuardTimeout, naming the holder.

    ``variables``: those of the caller. Raises WriteFailed where no guard can be had, which is where no output can be.
    """
    prepare(root)
    held_above = [guard for guard in variables.get(VARIABLE, "").split("\n") if guard]
    level = 0
    while _guard(root, level) in held_above and is_held(_guard(root, level)):
        level += 1
        if level > DEEPEST:
            raise WriteFailed(
                f"more than {DEEPEST} `envid run` of one project are inside of one another", path=_guard(root, 0)
            )
    guard = _guard(root, level)
    said = f"making {_some(outputs)}: {purpose}"
    try:
        with hold(guard, timeout=wait, purpose=said, mode=0o600) as held, contextlib.ExitStack() as stack:
            # A killed run may have left one inside of it at work, or its outputs put aside.
            journals = [other for other in _left(root) if other in (guard, *_below(root, level))]
            for other in reversed(journals):
                if other != guard:
                    stack.enter_context(hold(other, timeout=wait, purpose=said, mode=0o600))
            # Signed with what was there before already leaves its time as it was.
            with contextlib.suppress(OSError):
                os.utime(held.descriptor)
            yield Turn(
                root=root, guard=guard, descriptor=held.descriptor, since_ns=os.fstat(held.descriptor).st_mtime_ns,
                told="\n".join(dict.fromkeys([*held_above, guard])),
                left=tuple(f"{other}.journal" for other in journals),
            )  # fmt: skip
    except GuardTimeout as error:
        if error.context.get("path") != guard:
            raise
        # Nobody knows the guard's file, and removing it would help nobody.
        raise GuardTimeout(
            error.message.replace(guard, f"the turn to make {_some(outputs)} in {escaped(root)}"), hint=error.hint,
            path=f"{root}/{outputs[0]}",
        ) from None  # fmt: skip


def _left(root: str) -> list[str]:
    """Return the guards of this project whose journals say that something is put aside, the deepest first."""
    guards = [_guard(root, level) for level in range(DEEPEST + 1, -1, -1)]
    return [guard for guard in guards if os.path.lexists(f"{guard}.journal")]


def prepare(root: str) -> None:
    """Make the project's own directory, which version control ignores; raise WriteFailed where that cannot be."""
    folder = f"{root}/{FOLDER}"
    try:
        for path in (folder, f"{folder}/guards"):
            make_directory(path)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise WriteFailed(f"{path} is a link or no directory", path=path)
        if not os.path.lexists(f"{folder}/.gitignore"):
            write(f"{folder}/.gitignore", b"*\n", durable=False)
    except (EnvidError, OSError) as error:
        said = error.message if isinstance(error, EnvidError) else f"{folder}: {error.strerror}"
        raise WriteFailed(
            f"runs of this project cannot take turns, and so make no outputs in it: {said}",
            hint=f"make {FOLDER} in the project a directory that you can write", path=folder,
        ) from None  # fmt: skip


def _below(root: str, level: int) -> list[str]:
    return [_guard(root, deeper) for deeper in range(level + 1, DEEPEST + 2)]


def _guard(root: str, level: int) -> str:
    return f"{root}/{FOLDER}/guards/run{f'.{level}' if level else ''}"


def _some(outputs: Sequence[str]) -> str:
    named = ", ".join(escaped(path) for path in outputs[:_NAMED])
    return f"{named} and {len(outputs) - _NAMED} more" if len(outputs) > _NAMED else named
