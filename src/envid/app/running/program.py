"""Which file a command's first word means, and what a command may see of the caller's environment.

Imports as little as ``app.recall``.
"""

import os
import stat


def environment_of(place: str, given: str | None) -> str | None:
    """Return the absolute path of the environment ``given``, else of ``.venv`` in ``place`` if it is one, else None."""
    if given:
        return os.path.abspath(given)
    default = os.path.join(place, ".venv")
    return default if os.path.isfile(os.path.join(default, "pyvenv.cfg")) else None


def search_path(environment: str | None, variables: "dict[str, str] | os._Environ[str]") -> str:
    """Return the PATH of a command: the environment's programs, then the caller's PATH, absolute directories only."""
    own = [os.path.join(environment, "bin")] if environment else []
    given = [part for part in variables.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(part)]
    return os.pathsep.join(dict.fromkeys([*own, *given]))


def find(word: str, root: str, path: str) -> str | None:
    """Return the file that ``word`` means: below ``root`` when it has a slash, else the first in ``path``."""
    if "/" in word:
        found = os.path.join(root, word)
        return found if _runs(found) else None
    for part in path.split(os.pathsep):
        found = os.path.join(part, word)
        if word and _runs(found):
            return found
    return None


def _runs(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def is_within(path: str, environment: str | None) -> bool:
    """Return whether the file ``path`` is one of the environment's, whose identity covers it: no link leads out of it.

    But for its interpreter, which is a link, and covered as well.
    """
    if environment is None:
        return False
    real = os.path.realpath(environment)
    place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if not place.startswith(f"{real}/"):
        return False
    file = os.path.realpath(path)
    return file.startswith(f"{real}/") or file == os.path.realpath(f"{real}/bin/python")


class Volatile(Exception):
    """A program that leads where nobody can see."""


def chain(path: str, root: str, search: str) -> "list[str]":
    """Return real paths of the program, and of the interpreters that ``#!`` lines name one after the other.

    ``search``: PATH of the command. Raises OSError, and Volatile for what chooses another program by rules of its own.
    """
    found: list[str] = []
    at = path
    for _ in range(_STEPS):
        if os.path.basename(os.path.dirname(at)) == "shims":
            raise Volatile(at)
        real = os.path.realpath(at)
        if os.path.basename(os.path.dirname(real)) == "shims":
            raise Volatile(at)
        found.append(real)
        head = _head(real)
        if not head.startswith(b"#!"):
            return found
        if _chooses(head):
            raise Volatile(at)
        words = os.fsdecode(head[2:].partition(b"\n")[0]).split()
        if not words:
            return found
        following = words[0]
        if os.path.basename(following) == "env":
            found.append(os.path.realpath(os.path.join(root, following)))
            named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            following = (find(named[0], root, search) or "") if named else ""
        if not following:
            raise Volatile(at)
        at = os.path.join(root, following)
    raise Volatile(path)


def _head(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(handle, _HEAD)
    finally:
        os.close(handle)


def _chooses(script: bytes) -> bool:
    """Return whether a script hands over to a manager of versions: ``exec ".../pyenv" exec "$program"``."""
    for line in script.splitlines():
        words = line.replace(b'"', b" ").replace(b"'", b" ").split()
        if words[:1] != [b"exec"]:
            continue
        for at, word in enumerate(words[1:], 1):
            name = word.rpartition(b"/")[2]
            if (name in _MANAGERS and words[at + 1 : at + 2] in ([b"exec"], [b"x"])) or b"/shims/" in word:
                return True
    return False


_STEPS = 4
_HEAD = 65536
_MANAGERS = (b"pyenv", b"asdf", b"mise", b"rtx", b"rbenv", b"nodenv", b"goenv", b"jenv")


def stamp(path: str) -> str:
    """Return what tells a file from another of its name, and from itself before it changed; raise OSError."""
    found = os.stat(path)
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
