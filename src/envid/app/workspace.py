"""The composition root: where the project is, where envid keeps things, what it may do.

The only module that reads the caller's environment variables and the clock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from envid.errors import ConfigError, LockNotFound, ProjectNotFound, TooLarge
from envid.values.frozen import dataclass
from envid.values.intent import Intent, parse_intent

MAX_LOCK_BYTES: Final = 64 * 1024 * 1024
"""A lock beyond this is refused unread; 400 distributions with every artifact take about 2 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One project as one command sees it."""

    root: Path
    """Absolute; holds pyproject.toml."""
    pyproject: bytes
    intent: Intent
    variables: Mapping[str, str]
    """The caller's environment variables."""
    cache: Path
    """envid's own directory below the user's cache directory; everything in it may be deleted."""
    offline: bool = False

    def lock_path(self, name: str = "default") -> Path:
        """Return where the lock ``name`` is or would be: ``lockfiles/pylock[.NAME].toml``."""
        return self.root / "lockfiles" / ("pylock.toml" if name == "default" else f"pylock.{name}.toml")

    def read_lock(self, name: str = "default") -> bytes:
        """Return the bytes of the lock ``name``; raise LockNotFound, ConfigError for an undeclared name."""
        self.intent.lock_settings(name)
        path = self.lock_path(name)
        return read_limited(path, MAX_LOCK_BYTES, missing=LockNotFound(f"there is no {path}", path=str(path)))

    def environment_path(self, given: str | None = None) -> Path:
        """Return the virtual environment meant: as given, else ``.venv`` of the project."""
        return Path(os.path.abspath(given)) if given else self.root / ".venv"


def open_workspace(directory: str | None = None, *, offline: bool = False) -> Workspace:
    """Read the project in ``directory``, or in the nearest parent of the current one.

    Raises ProjectNotFound, ConfigError.
    """
    root = find_root(directory)
    pyproject = read_limited(
        root / "pyproject.toml", 8 * 1024 * 1024, missing=ProjectNotFound(f"there is no pyproject.toml in {root}")
    )
    intent = parse_intent(pyproject, path=str(root / "pyproject.toml"))
    variables = dict(os.environ)
    return Workspace(
        root=root,
        pyproject=pyproject,
        intent=intent,
        variables=variables,
        cache=cache_directory(variables, configured=intent.settings.cache_dir, root=root),
        offline=offline or variables.get("ENVID_OFFLINE", "") not in ("", "0"),
    )


def find_root(directory: str | None) -> Path:
    """Return the absolute project directory; raise ProjectNotFound."""
    if directory is not None:
        return Path(os.path.abspath(directory))
    start = os.getcwd()
    current = start
    while not os.path.isfile(os.path.join(current, "pyproject.toml")):
        parent = os.path.dirname(current)
        if parent == current:
            raise ProjectNotFound(f"there is no pyproject.toml in {start} or above")
        current = parent
    return Path(current)


def cache_directory(variables: Mapping[str, str], *, configured: str | None = None, root: Path | None = None) -> Path:
    """Return envid's cache directory: ``ENVID_CACHE_DIR``, ``[tool.envid.cache] dir``, else the platform's."""
    if given := variables.get("ENVID_CACHE_DIR"):
        return Path(os.path.abspath(given))
    if configured:
        return (root or Path.cwd()) / configured
    from platformdirs import user_cache_path

    return user_cache_path("envid", appauthor=False)


def read_limited(path: Path, limit: int, *, missing: Exception) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes; raise ``missing`` when there is none."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    if len(data) > limit:
        raise TooLarge(f"{path} is larger than {limit} bytes", path=str(path))
    return data


def now_ns() -> int:
    """Return the time in nanoseconds since the epoch, on the clock that stamps files."""
    import time

    return time.time_ns()
