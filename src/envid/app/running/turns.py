"""Whose turn it is: of all runs in one project, one at a time makes an output.

An output has a guard file, ``guards-v1/out/<2 hex>/<64 hex>``, named by its absolute path. A run holds those of its
outputs alone, and shares those of the directories above them, so that no other run makes such a directory as a whole.
All are taken in the order of their paths, so that no two runs wait for one another.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from envid.errors import WriteFailed
from envid.guard import hold, is_held
from envid.store import filesystem
from envid.store.place import GUARDS, Place, make_below
from envid.values.digest import derive_hex
from envid.values.frozen import dataclass
from envid.whole import make_directory

CONTEXT: Final = "envid-output/1"
"""BLAKE3 ``derive_key`` context of an output's absolute path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a run holds while it makes its outputs."""

    place: Place
    root: str
    outputs: tuple[str, ...]
    folder: str = ""
    """Where the guards are."""
    descriptors: tuple[int, ...] = ()
    """For the command: what it holds stays held when envid is killed and the command works on."""
    since_ns: int | None = None
    """When the first guard was taken, by the clock of the guards' filesystem."""

    def is_others(self, path: str) -> bool:
        """Return whether another run held the guard of ``path``, or of a directory above it, at any time in this turn.

        Who holds a guard stamps its file when it begins and when it ends: a stamp from before this turn belongs to a
        run that had ended, or that holds it still. A run that was killed meanwhile counts as none.
        """
        if self.since_ns is None:
            return False
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            above = "/".join(parts[:length])
            if above in self.outputs:
                return False
            guard = guard_path(self.folder, f"{self.root}/{above}")
            try:
                found = os.stat(guard)
            except OSError:
                continue
            # Who shares a guard signs nothing: an empty file was made for that, and its time says nothing.
            if found.st_size and (found.st_mtime_ns >= self.since_ns or is_held(guard)):
                return True
        return False


def guard_path(folder: str, path: str) -> str:
    """Return the guard file in ``folder`` of the output at the absolute ``path``."""
    digest = derive_hex(CONTEXT, path.encode("utf-8", "surrogateescape"))
    return f"{folder}/out/{digest[:2]}/{digest}"


@contextlib.contextmanager
def turn(place: Place, root: str, outputs: Sequence[str], *, wait: float, purpose: str) -> Iterator[Turn]:
    """Have the outputs to oneself; wait at most ``wait`` seconds for each, then raise GuardTimeout, naming the holder.

    Raises WriteFailed where no guard can be had.
    """
    with contextlib.ExitStack() as stack:
        yield _first(Turn(place=place, root=root, outputs=tuple(outputs)), stack, wait, purpose)


def _first(alone: Turn, stack: contextlib.ExitStack, wait: float, purpose: str) -> Turn:
    """Take the guards in the first of the places that will have them."""
    place = alone.place
    if place.trouble is None and not filesystem.of(place.root).network:
        try:
            return _taken(alone, place.area(GUARDS), stack, wait, purpose)
        except WriteFailed:
            stack.close()
    return _taken(alone, _private(), stack, wait, purpose)


def _private() -> str:
    """Return a directory of this user's own for guards, where the cache cannot have them; raise WriteFailed."""
    from tempfile import gettempdir

    path = os.path.join(gettempdir(), f"envid-guards-{os.getuid()}")
    make_directory(path, mode=0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise WriteFailed(f"{path} is not a private directory of this user's", path=path)
    return path


def _taken(alone: Turn, folder: str, stack: contextlib.ExitStack, wait: float, purpose: str) -> Turn:
    place = alone.place
    wanted = {path: False for output in alone.outputs for path in _above(output)} | dict.fromkeys(alone.outputs, True)
    descriptors: list[int] = []
    since: int | None = None
    for path in sorted(wanted):
        guard = guard_path(folder, f"{alone.root}/{path}")
        if folder == place.area(GUARDS):
            make_below(place, os.path.dirname(guard))
        held = stack.enter_context(
            hold(guard, timeout=wait, shared=not wanted[path], purpose=purpose,
                 mode=0o660 if place.policy.shared else 0o600)
        )  # fmt: skip
        if wanted[path]:
            stack.callback(_stamp, held.descriptor)
            _stamp(held.descriptor)
            stamped = os.fstat(held.descriptor).st_mtime_ns
            since = stamped if since is None else min(since, stamped)
        descriptors.append(held.descriptor)
    return Turn(
        place=place, root=alone.root, outputs=alone.outputs, folder=folder, descriptors=tuple(descriptors),
        since_ns=since,
    )  # fmt: skip


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _stamp(descriptor: int) -> None:
    # On a read-only filesystem nobody holds a guard.
    with contextlib.suppress(OSError):
        os.utime(descriptor)
