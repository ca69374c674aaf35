"""All of a project but what one command makes: whether anything in it changed while the command ran."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence

from envid.app.running.inputs import OWN, UNSEEN, is_below, is_own

Seen = tuple[int, ...]
"""Type and mode of a directory; of anything else also inode, size, and the times of its bytes and of its status."""


def look(root: str, *, without: Sequence[str]) -> Mapping[str, Seen]:
    """Return what is below ``root``, by relative path, without ``.git``, ``.venv``, ``__pycache__`` and ``without``."""
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


def own(paths: Sequence[str], before: Mapping[str, Seen], is_others: Callable[[str], bool]) -> tuple[str, ...]:
    """Return those of the differing ``paths`` of which ``is_others`` does not say that another run was making them."""
    mine: list[str] = []
    others: list[str] = []
    for path in paths:
        (others if is_others(output_at(path)) else mine).append(path)
    # A new directory that holds nothing but another run's output was made for that.
    return tuple(
        path
        for path in mine
        if not (
            path not in before
            and any(other.startswith(f"{path}/") for other in others)
            and not any(one.startswith(f"{path}/") for one in mine)
        )
    )


def output_at(path: str) -> str:
    """Return the output for which envid made the file ``path`` beside it; ``path`` itself where it did not."""
    parts = path.split("/")
    for at, name in enumerate(parts):
        if is_own(name):
            for ending in OWN:
                name = name.removesuffix(f".{ending}")
            return "/".join((*parts[:at], name[1:]))
    return path


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
