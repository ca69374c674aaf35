"""Python interpreters and virtual environments: what they are, measured."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from envid import atomic, process
from envid.errors import (
    EngineFailed,
    EnvironmentNotFound,
    IdentityUnknown,
    InterpreterNotFound,
    InvalidEnvironment,
    WriteFailed,
)
from envid.installed import measuring
from envid.values.digest import NotCanonical, blake3_hex, canonical, parse_canonical
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter, interpreter_of
from envid.whole import open_regular

PROBE_TIMEOUT: Final = 30.0
"""Seconds."""
MAX_CFG: Final = 64 * 1024
"""Bytes of a pyvenv.cfg."""


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


# --- the running interpreter, or another one ------------------------------------------------


def measure() -> Interpreter:
    """Return the facts of the running interpreter; raise IdentityUnknown for one that cannot be measured."""
    return interpreter_of(measuring.facts(), IdentityUnknown)


def probe(python: Path, *, cache: Path | None = None) -> Interpreter:
    """Return the facts of another interpreter, by running it isolated (``-I -S``).

    With ``cache`` (envid's cache directory), an answer is kept for the same real path, size,
    modification time and inode. Raises InterpreterNotFound.
    """
    try:
        real = os.path.realpath(python, strict=True)
        status = os.stat(real)
    except OSError as error:
        raise InterpreterNotFound(f"there is no interpreter {python}: {error.strerror}", path=str(python)) from None
    kept: Path | None = None
    identity = f"{real}\n{status.st_size}\n{status.st_mtime_ns}\n{status.st_ino}\n{status.st_dev}"
    if cache is not None:
        kept = cache / "interpreters-v1" / blake3_hex(os.fsencode(identity))
        if (known := _recall(kept, identity)) is not None:
            return known
    found = _run_probe(python)
    # A shim (pyenv's, a wrapper script) answers for whatever it is set to today: only a real interpreter is kept.
    if kept is not None and found.executable == real:
        body = canonical({"identity": identity, "facts": _facts_of(found)})
        with contextlib.suppress(WriteFailed):  # a cache that cannot be written costs time, not the answer
            atomic.write(kept, body + b"\n" + blake3_hex(body).encode() + b"\n", durable=False)
    return found


def _run_probe(python: Path) -> Interpreter:
    import json

    script = Path(__file__).with_name("measuring.py")
    try:
        done = process.run(
            [str(python), "-I", "-S", "-X", "utf8", str(script)], env=process.environment(), timeout=PROBE_TIMEOUT
        )
    except EngineFailed as error:
        raise InterpreterNotFound(f"{python} does not answer: {error.message}", path=str(python)) from error
    if done.status != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # Python says last what is wrong; a shim that has no Python to start says it first.
        said = lines[0 if done.status == 127 else -1][:200]
        raise InterpreterNotFound(f"{python} is not a usable Python: {said}", path=str(python))
    try:
        if len(done.stdout) > 65536:
            raise ValueError("too long an answer")
        facts = json.loads(done.stdout)
        if not isinstance(facts, dict):
            raise ValueError("not an object")
        return interpreter_of(facts, InterpreterNotFound)
    except (ValueError, RecursionError) as error:
        raise InterpreterNotFound(f"{python} does not answer as a Python does: {error}", path=str(python)) from None


def _recall(path: Path, identity: str) -> Interpreter | None:
    try:
        with open_regular(path) as stream:
            data = stream.read(65536)
        body, _, trailer = data.partition(b"\n")
        if trailer != blake3_hex(body).encode() + b"\n" or os.stat(path).st_uid != os.getuid():
            return None
        document = parse_canonical(body)
        if not isinstance(document, Mapping) or document.get("identity") != identity:
            return None
        facts = document.get("facts")
        return interpreter_of(facts, InterpreterNotFound) if isinstance(facts, Mapping) else None
    except (OSError, NotCanonical, InterpreterNotFound):
        return None


def _facts_of(found: Interpreter) -> dict[str, str | int | bool | dict[str, str]]:
    from dataclasses import fields

    facts = {field.name: getattr(found, field.name) for field in fields(Interpreter)}
    return {**facts, "markers": dict(found.markers)}


# --- virtual environments -------------------------------------------------------------------


def environment_of(venv: Path) -> Environment:
    """Return the layout of a virtual environment without starting a process.

    Raises EnvironmentNotFound when there is none, InvalidEnvironment when it is broken.
    """
    root = Path(os.path.abspath(venv))
    config = _read_config(root)
    home = config.get("home", "")
    if not home or not os.path.isabs(home):
        raise InvalidEnvironment(f"{root}/pyvenv.cfg does not say where its Python is (home)", path=str(root))
    version = config.get("version_info") or config.get("version") or ""
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        raise InvalidEnvironment(f"{root}/pyvenv.cfg does not say its Python's version", path=str(root))
    if not (root / "bin").is_dir():
        windows = (root / "Scripts").is_dir()
        known = "has the layout of Windows, which this system does not use" if windows else "has no bin"
        raise InvalidEnvironment(f"{root} {known}", path=str(root))
    directory, purelib = _site_packages(root, root / "lib", f"{parts[0]}.{parts[1]}")
    lib64 = root / "lib64" / directory / "site-packages"
    platlib = lib64 if not (root / "lib64").is_symlink() and lib64.is_dir() else purelib
    python = root / "bin" / "python"
    return Environment(
        root=root,
        purelib=purelib,
        platlib=platlib,
        scripts=root / "bin",
        headers=root / "include" / "site" / directory,
        python=python,
        base_executable=_base_executable(root, python),
        implementation="pypy" if directory.startswith("pypy") else "cpython",
        version=".".join(parts[:3]) if len(parts) < 3 or parts[2] else ".".join(parts[:2]),
        free_threaded=directory.endswith("t"),
        system_site_packages=config.get("include-system-site-packages", "false").lower() == "true",
    )


def _read_config(root: Path) -> dict[str, str]:
    try:
        with open_regular(root / "pyvenv.cfg") as stream:
            data = stream.read(MAX_CFG + 1)
    except (FileNotFoundError, NotADirectoryError):
        there = "is not a virtual environment: it has no pyvenv.cfg" if root.exists() else "is not there"
        raise EnvironmentNotFound(f"{root} {there}", path=str(root)) from None
    except OSError as error:
        raise InvalidEnvironment(f"cannot read {root}/pyvenv.cfg: {error.strerror}", path=str(root)) from None
    if len(data) > MAX_CFG or b"\0" in data:
        raise InvalidEnvironment(f"{root}/pyvenv.cfg is not a text of this size", path=str(root))
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidEnvironment(f"{root}/pyvenv.cfg is not UTF-8", path=str(root)) from None
    found: dict[str, str] = {}
    for key, equals, value in (line.partition("=") for line in lines):
        name = key.strip().lower()
        if equals and name in found:
            # Of two lines the interpreter takes the first (`home`) and `site` the last: whoever reads one is fooled.
            raise InvalidEnvironment(f"{root}/pyvenv.cfg says `{name}` twice", path=str(root))
        if equals:
            found[name] = value.strip()
    return found


def _site_packages(root: Path, lib: Path, short: str) -> tuple[str, Path]:
    wanted = [f"python{short}", f"python{short}t", f"pypy{short}"]
    found = [name for name in wanted if os.path.isdir(os.path.join(lib, name, "site-packages"))]
    if len(found) == 1:
        return found[0], lib / found[0] / "site-packages"
    try:
        names = sorted(name for name in os.listdir(lib) if name.startswith(("python", "pypy")))
    except OSError:
        names = []
    if found:
        raise InvalidEnvironment(f"{root} has several site-packages: {', '.join(found)}", path=str(root))
    has = f" but {', '.join(names)}" if names else ""
    raise InvalidEnvironment(f"{root} has no lib/python{short}/site-packages{has}", path=str(root))


def _base_executable(root: Path, python: Path) -> Path:
    try:
        real = os.path.realpath(python, strict=True)
    except FileNotFoundError:
        gone = f": it points at {os.readlink(python)}" if python.is_symlink() else ""
        raise InvalidEnvironment(f"the interpreter {python} is gone{gone}", path=str(root)) from None
    except OSError as error:
        raise InvalidEnvironment(f"the interpreter {python} is unusable: {error.strerror}", path=str(root)) from None
    if not os.access(real, os.X_OK) or not os.path.isfile(real):
        raise InvalidEnvironment(f"the interpreter {real} cannot be run", path=str(root))
    return Path(real)


def running() -> str:
    """Return the real path of the base interpreter that runs this process."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))
