"""A project as text: what a key needs to know of it, and how it is found and read.

The only module, beside ``app.recall``, that reads the caller's environment variables for a use case.

``app.workspace`` has the same for every other command, with ``pathlib``, whose import a key does without.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final, Protocol

from envid.app import recall
from envid.app.trust import is_believed
from envid.errors import ConfigError, IdentityUnknown, LockNotFound, ProjectNotFound, TooLarge, UnreadableLock
from envid.installed.measuring import facts
from envid.values.frozen import dataclass
from envid.values.intent import Intent, parse_intent
from envid.values.interpreter import Interpreter, interpreter_of

MAX_LOCK_BYTES: Final = 64 * 1024 * 1024
"""A lock beyond this is refused unread; 400 distributions with every artifact take about 2 MB."""

NO_PLACE: Final = os.path.join(os.devnull, "envid")
"""The cache directory of a user who has no home."""


class Site(Protocol):
    """What the way of a key asks of a project; ``Project`` and ``app.workspace.Workspace`` have it."""

    @property
    def place(self) -> str:
        """Absolute path of the directory that holds pyproject.toml."""

    @property
    def kept(self) -> str:
        """Absolute path of envid's own directory; everything in it may be deleted."""

    @property
    def pyproject(self) -> bytes:
        """The bytes of pyproject.toml."""

    @property
    def intent(self) -> Intent:
        """What they ask."""

    @property
    def variables(self) -> Mapping[str, str]:
        """The caller's environment variables."""

    def read_lock(self, name: str = "default") -> bytes:
        """Return the bytes of the lock ``name``; raise as ``lock_bytes``, and ConfigError for an undeclared name."""

    def interpreter(self, venv: str | None) -> Interpreter:
        """Return the facts of the running interpreter, or of that of the environment ``venv``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project as ``envid key`` sees it."""

    place: str
    kept: str
    pyproject: bytes
    intent: Intent
    offline: bool
    variables: Mapping[str, str]

    def read_lock(self, name: str = "default") -> bytes:
        """Return the bytes of the lock ``name``; raise as ``lock_bytes``, and ConfigError for an undeclared name."""
        self.intent.lock_settings(name)
        return lock_bytes(self.place, name)

    def interpreter(self, venv: str | None) -> Interpreter:
        """Return the facts of the running interpreter; an environment takes a Workspace to look at."""
        if venv is not None:
            raise IdentityUnknown(f"the interpreter of {venv} was not measured")
        return running()


def running() -> Interpreter:
    """Return the facts of the running interpreter; raise IdentityUnknown for one that cannot be measured."""
    return interpreter_of(facts(), IdentityUnknown)


def lock_file(place: str, name: str = "default") -> str:
    """Return where the lock ``name`` is or would be: ``lockfiles/pylock[.NAME].toml`` in ``place``."""
    return os.path.join(place, *lock_shown(name).split("/"))


def lock_shown(name: str = "default") -> str:
    """Return how the lock ``name`` is called in messages and findings: its path below the project, POSIX."""
    return "lockfiles/pylock.toml" if name == "default" else f"lockfiles/pylock.{name}.toml"


def lock_bytes(place: str, name: str = "default") -> bytes:
    """Return the bytes of the lock ``name`` of the project in ``place``.

    Raises LockNotFound, UnreadableLock for what is no file or cannot be opened, TooLarge.
    """
    shown = lock_shown(name)
    missing = LockNotFound(f"there is no {shown} in {place}", path=shown)
    try:
        return read_limited(lock_file(place, name), MAX_LOCK_BYTES, missing=missing, shown=shown)
    except ConfigError as error:
        raise UnreadableLock(error.message, path=shown) from error


def environment_place(place: str, given: str | None = None) -> str:
    """Return the virtual environment meant: as given, else ``.venv`` of the project in ``place``; absolute."""
    return os.path.abspath(given) if given else os.path.join(place, ".venv")


def open_project(directory: str | None = None, *, offline: bool = False, anywhere: bool = False) -> Project:
    """Read the project in ``directory``, or in the nearest parent of the current one.

    With ``anywhere``, being in no project is being in one that says nothing. Raises ProjectNotFound, ConfigError.
    """
    try:
        place = find(directory)
        path = os.path.join(place, "pyproject.toml")
        missing = ProjectNotFound(f"there is no pyproject.toml in {place}")
        pyproject = read_limited(path, 8 * 1024 * 1024, missing=missing)
    except ProjectNotFound:
        if not anywhere or directory is not None:
            raise
        place, pyproject = os.getcwd(), b""
        path = os.path.join(place, "pyproject.toml")
    intent = parse_intent(pyproject, path=path)
    variables = dict(os.environ)
    return Project(
        place=place,
        kept=_kept(variables, intent, place),
        pyproject=pyproject,
        intent=intent,
        offline=offline or variables.get("ENVID_OFFLINE", "") not in ("", "0"),
        variables=variables,
    )


def _kept(variables: Mapping[str, str], intent: Intent, place: str) -> str:
    """Return the cache directory; ``NO_PLACE`` for one that the project names and nobody can believe."""
    kept = cache_directory(variables, configured=intent.settings.cache_dir, place=place)
    if not intent.settings.cache_dir or variables.get("ENVID_CACHE_DIR"):
        return kept
    return kept if is_believed(kept, cache_directory(variables)) else NO_PLACE


def find(directory: str | None) -> str:
    """Return the absolute project directory; raise ProjectNotFound."""
    if directory is not None:
        return os.path.abspath(directory)
    start = os.getcwd()
    current = start
    while not os.path.isfile(os.path.join(current, "pyproject.toml")):
        parent = os.path.dirname(current)
        if parent == current:
            raise ProjectNotFound(f"there is no pyproject.toml in {start} or above")
        current = parent
    return current


def cache_directory(variables: Mapping[str, str], *, configured: str | None = None, place: str | None = None) -> str:
    """Return envid's cache directory: ``ENVID_CACHE_DIR``, ``[tool.envid.cache] dir``, else the platform's.

    A relative one is relative to the project ``place``, wherever envid is called from.
    """
    if given := variables.get("ENVID_CACHE_DIR"):
        return os.path.abspath(os.path.join(place or os.getcwd(), given))
    if configured:
        return os.path.join(place or os.getcwd(), configured)
    # What platformdirs says, without its import; a test holds them equal.
    if os.name == "posix" and (quick := recall.cache_directory(dict(variables))) is not None:
        return quick
    from platformdirs import user_cache_dir

    try:
        found = user_cache_dir("envid", appauthor=False)
    except RuntimeError:
        found = ""
    # No home in the environment, and no user in the list of users. A place where nothing can be, so that every read
    # misses and every write is passed over; never a relative one, which would be made wherever envid is called.
    return found if os.path.isabs(found) else NO_PLACE


def read_limited(path: str | os.PathLike[str], limit: int, *, missing: Exception, shown: str | None = None) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes, called ``shown`` in errors.

    Raises ``missing`` when there is none, ConfigError for what cannot be read as a file, TooLarge.
    """
    shown = shown or str(path)
    try:
        # Not blocking: a pipe in the file's place would hold us up for ever.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError(f"{shown} is not a file", path=shown, hint="something else stands in its place")
            data = stream.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}", path=shown) from error
    if len(data) > limit:
        raise TooLarge(f"{shown} is larger than {limit} bytes", path=shown)
    return data
