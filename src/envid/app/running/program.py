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
    """Return whether the file ``path`` is one of the environment's, whose identity covers it."""
    return environment is not None and path.startswith(f"{environment}/")


def stamp(path: str) -> str:
    """Return what tells a file from another of its name, and from itself before it changed; raise OSError."""
    found = os.stat(path)
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
