"""May a cache directory be believed that a project names? Only when envid made it, for this user, on this machine.

A repository can bring a directory along, with entries in it that say what its author wants. So envid writes a random
name into ``DIR/owner`` when it makes the directory, and a file of that name, which tells the path, into ``trusted-v1``
of the user's own cache; a directory without such a pair is not used.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Final

from envid.app.tracked import tracks
from envid.errors import WriteFailed
from envid.whole import is_sole, make_directory, open_regular, write

OWNER: Final = "owner"
TRUSTED: Final = "trusted-v1"
_TOKEN: Final = re.compile(rb"[0-9a-f]{64}\n")


def is_believed(directory: str, own: str) -> bool:
    """Return whether ``directory``, which a project names, may be used; ``own`` is the user's own cache directory.

    One that is not there, or that is this user's and empty, is made now. Where that is not possible (a filesystem that
    is read-only) there is nothing to believe. Never raises.
    """
    directory = os.path.abspath(directory)
    if os.path.realpath(directory) == os.path.realpath(own):
        return True
    try:
        found = os.lstat(directory)
    except OSError:
        found = None
    if found is None or (stat.S_ISDIR(found.st_mode) and _is_own(found) and _is_empty(directory)):
        return _make(directory, own)
    # What a repository tracks arrives with every pull, also in a directory that was made here.
    return stat.S_ISDIR(found.st_mode) and _has_pair(directory, own) and not tracks(directory)


def is_there(directory: str) -> bool:
    """Return whether something stands at ``directory`` that was brought along, or may have been."""
    return os.path.lexists(directory) and not _is_empty(directory)


def _make(directory: str, own: str) -> bool:
    token = os.urandom(32).hex()
    try:
        # The user's first: of two that make the directory at the same time, the last one's name stands, and is known.
        # Private, as the user's cache is, which this may be the first to make.
        make_directory(own, mode=0o700)
        make_directory(os.path.join(own, TRUSTED), mode=0o700)
        write(os.path.join(own, TRUSTED, token), os.fsencode(os.path.realpath(directory)) + b"\n", mode=0o600)
        make_directory(directory, mode=0o700)
        write(os.path.join(directory, OWNER), token.encode() + b"\n", mode=0o600)
    except (WriteFailed, OSError):
        return False
    return True


def _has_pair(directory: str, own: str) -> bool:
    token = _read(os.path.join(directory, OWNER), 65)
    if token is None or not _TOKEN.fullmatch(token):
        return False
    said = _read(os.path.join(own, TRUSTED, token.decode().strip()), 8192)
    return said == os.fsencode(os.path.realpath(directory)) + b"\n"


def _read(path: str, limit: int) -> bytes | None:
    try:
        with open_regular(path, follow=False) as stream:
            if not is_sole(os.fstat(stream.fileno())):
                return None
            data = stream.read(limit + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= limit else None


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & stat.S_IWOTH)


def _is_empty(directory: str) -> bool:
    try:
        return not os.listdir(directory)
    except OSError:
        return False
