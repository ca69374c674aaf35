"""The composition root: where the project is, where envid keeps things, what it may do.

Everything as paths; ``app.project`` finds and reads it. The clock is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envid.app.project import (
    MAX_LOCK_BYTES,
    cache_directory,
    environment_place,
    find,
    lock_bytes,
    lock_file,
    open_project,
    read_limited,
    running,
)
from envid.installed.interpreter import environment_of, probe
from envid.values.frozen import dataclass
from envid.values.intent import Intent
from envid.values.interpreter import Interpreter

__all__ = ["MAX_LOCK_BYTES", "Workspace", "cache_directory", "find_root", "now_ns", "open_workspace", "read_limited"]


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
    former: Path | None = None
    """A cache that can only be read, where ``cache`` stands in for it."""

    @property
    def place(self) -> str:
        """``root`` as text."""
        return str(self.root)

    @property
    def kept(self) -> str:
        """``cache`` as text."""
        return str(self.cache)

    def interpreter(self, venv: str | None) -> Interpreter:
        """Return the facts of the running interpreter, or of that of the environment ``venv``.

        Raises IdentityUnknown, EnvironmentNotFound, InvalidEnvironment, InterpreterNotFound.
        """
        return running() if venv is None else probe(environment_of(Path(venv)).python, cache=self.cache)

    def lock_path(self, name: str = "default") -> Path:
        """Return where the lock ``name`` is or would be: ``lockfiles/pylock[.NAME].toml``."""
        return Path(lock_file(self.place, name))

    def read_lock(self, name: str = "default") -> bytes:
        """Return the bytes of the lock ``name``; raise as ``lock_bytes``, and ConfigError for an undeclared name."""
        self.intent.lock_settings(name)
        return lock_bytes(self.place, name)

    def environment_path(self, given: str | None = None) -> Path:
        """Return the virtual environment meant: as given, else ``.venv`` of the project."""
        return Path(environment_place(self.place, given))


def open_workspace(directory: str | None = None, *, offline: bool = False, anywhere: bool = False) -> Workspace:
    """Read the project in ``directory``, or in the nearest parent of the current one.

    With ``anywhere``, being in no project is being in one that says nothing. Raises ProjectNotFound, ConfigError.
    """
    found = open_project(directory, offline=offline, anywhere=anywhere)
    return Workspace(
        root=Path(found.place),
        pyproject=found.pyproject,
        intent=found.intent,
        variables=found.variables,
        cache=Path(found.kept),
        offline=found.offline,
    )


def find_root(directory: str | None) -> Path:
    """Return the absolute project directory; raise ProjectNotFound."""
    return Path(find(directory))


def now_ns() -> int:
    """Return the time in nanoseconds since the epoch, on the clock that stamps files."""
    import time

    return time.time_ns()
