"""All of a project but what one command makes: whether anything in it changed while the command ran."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence

from envid.app.running.inputs import UNSEEN, is_below, unescaped
from envid.app.running.outputs import listed

Seen = tuple[int, ...]
"""Type and mode of a directory; of anything else also inode, size, and the times of its bytes and of its status."""


def look(root: str, *, without: Sequence[str]) -> Mapping[str, Seen]:
    """Return what is below ``root``, by relative path, without ``UNSEEN`` names and ``without``."""
    found: dict[str, Seen] = {}
    left = list(without)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            names = os.listdir(f"{root}/{folder}")
        except OSError:
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if name in UNSEEN or is_below(path, left):
                continue
            try:
                status = os.lstat(f"{root}/{path}")
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                # Not its times: they change with each name in it, and the names are looked at themselves.
                found[path] = (status.st_mode,)
                waiting.append(path)
            else:
                found[path] = (
                    status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                )  # fmt: skip
    return found


def differing(before: Mapping[str, Seen], after: Mapping[str, Seen]) -> tuple[str, ...]:
    """Return the paths that differ, sorted."""
    return tuple(sorted(path for path in {*before, *after} if before.get(path) != after.get(path)))


def stamps(root: str, paths: Iterable[str]) -> Mapping[str, Seen]:
    """Return what ``look`` returns for these ``escaped`` paths, wherever they lie, and for what links lead to."""
    found: dict[str, Seen] = {}
    for path in paths:
        full = f"{root}/{unescaped(path)}"
        for status in (os.lstat, os.stat):
            try:
                seen = status(full)
            except OSError:
                continue
            found[path] = (
                *found.get(path, ()), seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns,
            )  # fmt: skip
    return found


def twins(root: str, inputs: Iterable[str], outputs: Sequence[str]) -> Mapping[str, str]:
    """Return for each file of ``outputs`` that is, under another name, one of the (escaped) ``inputs``, which."""
    there: dict[tuple[int, int], str] = {}
    for path in inputs:
        with contextlib.suppress(OSError):
            found = os.stat(f"{root}/{unescaped(path)}")
            if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                there[found.st_dev, found.st_ino] = path
    if not there:
        return {}
    same: dict[str, str] = {}
    for output in outputs:
        with contextlib.suppress(OSError):
            for path, found in listed(root, output):
                if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) in there:
                    same[path] = there[found.st_dev, found.st_ino]
    return same


def touched(folder: str, since_ns: int) -> str | None:
    """Return a path below ``folder`` whose status changed at ``since_ns`` or later, ``__pycache__`` aside; else None.

    The time of a status, unlike that of bytes, cannot be set back.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            if os.lstat(place).st_ctime_ns >= since_ns:
                return place
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name == "__pycache__":
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.stat(follow_symlinks=False).st_ctime_ns >= since_ns:
                        return entry.path
        except OSError:
            return place
    return None
