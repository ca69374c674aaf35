"""Python interpreters and virtual environments: what they are, measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envid.values.interpreter import Interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a virtual environment keeps things; every path absolute."""

    root: Path
    """Also the ``data`` scheme."""
    purelib: Path
    platlib: Path
    """Differs from ``purelib`` only where ``lib64`` is a directory of its own."""
    scripts: Path
    headers: Path
    """Parent of the per-distribution header directories: ``include/site/pythonX.Y``."""
    python: Path
    """The environment's own interpreter, as scripts name it."""
    base_executable: Path
    """Real path of the interpreter behind it."""
    implementation: str
    """``sys.implementation.name``."""
    version: str
    """``X.Y.Z`` from pyvenv.cfg; ``X.Y`` when the file does not tell more."""
    free_threaded: bool = False
    system_site_packages: bool = False


def measure() -> Interpreter:
    """Return the facts of the running interpreter; raise IdentityUnknown for one that cannot be measured."""
    raise NotImplementedError


def probe(python: Path, *, cache: Path | None = None) -> Interpreter:
    """Return the facts of another interpreter, by running it isolated (``-I -S``).

    With ``cache`` (envid's cache directory), an answer is kept for the same real path, size,
    modification time and inode. Raises InterpreterNotFound.
    """
    raise NotImplementedError


def environment_of(venv: Path) -> Environment:
    """Return the layout of a virtual environment without starting a process.

    Raises EnvironmentNotFound when there is none, InvalidEnvironment when it is broken.
    """
    raise NotImplementedError
