"""What makes a directory a virtual environment: pyvenv.cfg, and the links to the interpreter behind it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from envid.installed import note
from envid.installed.files import read_small
from envid.installed.hashing import SAME, Job, compare
from envid.installed.interpreter import Environment
from envid.installed.strays import INTERPRETER, VENV_SCRIPTS
from envid.values.digest import blake3_hex
from envid.values.finding import Finding
from envid.whole import open_regular

_MAX_ACTIVATE: Final = 256 * 1024
_HINT: Final = "recreate the environment: remove it, then run `envid sync`"


def check_prefix(environment: Environment, config: bytes, scripts: Iterable[str]) -> list[Finding]:
    """Return what is wrong with the frame of ``environment``.

    ``config`` is the bytes of pyvenv.cfg, ``scripts`` the names in the scripts directory.
    """
    findings = []
    if (former := moved_from(environment, config)) is not None:
        message = f"it was made as {former} and then moved or copied: its activate and scripts enter that one"
        moved = _finding("pyvenv.cfg", message, expected=str(environment.root), actual=former)
        # `sync` alone would refuse: what the scripts enter is not here.
        findings.append(replace(moved, hint=f"remove {environment.root}, then run `envid sync`"))
    if environment.system_site_packages:
        findings.append(_finding(
            "pyvenv.cfg", "the environment also imports packages from outside of it (include-system-site-packages)",
            expected="false", actual="true",
        ))  # fmt: skip
    for place in (environment.purelib, environment.scripts):
        inside = os.path.join(os.path.realpath(environment.root), os.path.relpath(place, environment.root))
        if os.path.realpath(place) != inside:
            shown = os.path.relpath(place, environment.root)
            message = "a link leads out of its place: what is installed is not in this environment"
            findings.append(_finding(shown, message, expected=inside, actual=os.path.realpath(place)))
    home = _home(config)
    real_home = os.path.realpath(home) if home else ""
    base = str(environment.base_executable)
    if real_home and not _in_home(base, home):
        findings.append(_finding(
            "pyvenv.cfg", "the interpreter is not the one that pyvenv.cfg names", expected=home, actual=base
        ))  # fmt: skip
    for name in sorted(scripts):
        if INTERPRETER.fullmatch(name):
            findings += _interpreter(environment, home, name)
    return findings


def frame_of(environment: Environment) -> dict[str, str]:
    """Return the BLAKE3 of each file beside the interpreter that is for shells, by name in the scripts directory.

    What is no file, or too large for one, has the digest "".
    """
    found = {}
    for name in sorted(VENV_SCRIPTS.intersection(os.listdir(environment.scripts))):
        path = environment.scripts / name
        data = read_small(str(path), _MAX_ACTIVATE) if not path.is_symlink() else None
        found[name] = "" if data is None else blake3_hex(data)
    return found


def check_frame(environment: Environment) -> list[Finding]:
    """Return what differs from what envid noted down when it made the environment; nothing where others made it.

    These scripts come from the program that makes an environment, in its release of that day: only the note tells
    what they were. A script that is gone runs nowhere.
    """
    kept = note.read(environment.root)
    if kept is None or not kept.frame:
        return []
    findings = []
    for name, digest in frame_of(environment).items():
        if digest != kept.frame.get(name, "none"):
            shown = f"{environment.scripts.name}/{name}"
            made = "is not as it was made with the environment" if name in kept.frame else "came after the environment"
            findings.append(_finding(shown, f"the script {made}; who enters the environment runs it"))
    return findings


def moved_from(environment: Environment, config: bytes) -> str | None:
    """Return the path that an environment was made as, when it is another one than where it is.

    As ``activate`` says it; where there is none, as the ``command`` that ``python -m venv`` writes into pyvenv.cfg.
    ``None`` also for a relocatable environment, and for one that does not say.
    """
    try:
        with open_regular(environment.scripts / "activate") as stream:
            lines = stream.read(_MAX_ACTIVATE).splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, equals, value = line.strip().partition(b"=")
        if equals and name in (b"VIRTUAL_ENV", b"export VIRTUAL_ENV"):
            former = _unquoted(value.strip())
            # What is no path is for another shell (`$(cygpath ...)`), or finds itself.
            if os.path.isabs(former):
                return _other(environment, former)
    for line in config.splitlines():
        name, equals, value = line.partition(b"=")
        if equals and name.strip() == b"command" and b" -m venv " in value:
            said = os.fsdecode(value.strip())
            if said.endswith(tuple(f" {path}" for path in (environment.root, os.path.realpath(environment.root)))):
                return None
            former = said[said.rfind(" /") + 1 :]
            return _other(environment, former) if os.path.isabs(former) else None
    return None


def _unquoted(value: bytes) -> str:
    """Return the text of a word of the shell as venv, virtualenv and uv quote it."""
    import shlex

    text = os.fsdecode(value)
    try:
        return "".join(shlex.split(text)[:1])
    except ValueError:
        return text


def _other(environment: Environment, former: str) -> str | None:
    return None if os.path.realpath(former) == os.path.realpath(environment.root) else former


def _home(config: bytes) -> str:
    pairs = [line.partition(b"=") for line in config.splitlines()]
    values = [value.strip() for key, _, value in pairs if key.strip().lower() == b"home"]
    return os.fsdecode(values[0]) if values else ""


def _in_home(executable: str, home: str) -> bool:
    """Tell whether some interpreter in ``home`` is ``executable``: the links there may lead anywhere."""
    try:
        names = [name for name in os.listdir(home) if INTERPRETER.fullmatch(name)]
    except OSError:
        return False
    return any(os.path.realpath(os.path.join(home, name)) == executable for name in names)


def _interpreter(environment: Environment, home: str, name: str) -> list[Finding]:
    path = os.path.join(environment.scripts, name)
    shown = f"{environment.scripts.name}/{name}"
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return []
    if stat.S_ISLNK(mode):
        real = os.path.realpath(path)
        if real == str(environment.base_executable) and os.path.exists(real):
            return []
        message = "the link leads to another interpreter than the environment's"
        return [_finding(shown, message, expected=str(environment.base_executable), actual=real)]
    if not stat.S_ISREG(mode):
        return [_finding(shown, "the interpreter is not a file", actual=stat.filemode(mode))]
    # `python -m venv --copies`: the same bytes as some interpreter in home, or nobody knows what it is.
    for candidate in _candidates(home, name):
        if _equal(path, candidate):
            return []
    message = "the interpreter is a file of its own, and not a copy of the one pyvenv.cfg names"
    return [_finding(shown, message, expected=home)]


def _candidates(home: str, name: str) -> list[str]:
    try:
        names = os.listdir(home)
    except OSError:
        return []
    found = [name, *(each for each in names if INTERPRETER.fullmatch(each))]
    return list(dict.fromkeys(os.path.realpath(os.path.join(home, each)) for each in found))


def _equal(path: str, other: str) -> bool:
    from hashlib import file_digest

    try:
        with open_regular(other) as stream:
            digest = file_digest(stream, "sha256").hexdigest()
            size = os.fstat(stream.fileno()).st_size
    except OSError:
        return False
    return compare([Job(path, size, digest, True)]) == bytes([SAME])


def _finding(path: str, message: str, *, expected: str | None = None, actual: str | None = None) -> Finding:
    return Finding(
        code="env.config", severity="error", subject=path, path=path, message=message, expected=expected, actual=actual,
        hint=_HINT,
    )  # fmt: skip
