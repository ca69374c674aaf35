"""`init`: a commented ``[tool.envid]`` at the end of pyproject.toml, and not one byte changed before it."""

from __future__ import annotations

from pathlib import Path

from envid import atomic
from envid.app.outcome import Outcome
from envid.app.workspace import find_root, read_limited
from envid.errors import ConfigError, ProjectNotFound
from envid.installed.interpreter import measure
from envid.values.intent import MAX_BYTES, parse_intent
from envid.values.target import Target, host_target, parse_target

_PROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">={python}"
dependencies = []

"""

_TABLE = """\
[tool.envid]
# The interpreters and platforms that the lock must serve; each has its own identity and key.
targets = [
{targets}]

[tool.envid.lock]
# Source archives run their build when they are installed; allow them by name.
allow-sdist = []
# Let new releases cool down before they are locked: a duration, or a date.
# exclude-newer = "7 days"
# true: no index address in the lock; files are found on whichever index is configured, by their hashes.
# neutral = false
"""

_BACKEND = """
[tool.envid.adapters]
backend = "{backend}"
"""


def init(directory: str | None, *, targets: tuple[str, ...] = (), backend: str | None = None) -> Outcome:
    """Write the table, or a whole pyproject.toml where there is none; never change what is there.

    Raises ConfigError when there is a ``[tool.envid]`` already, InvalidTarget, WriteFailed.
    """
    root = _root(directory)
    path = root / "pyproject.toml"
    chosen = tuple(sorted({parse_target(text).name for text in targets})) or (_portable(host_target(measure())).name,)
    missing = ProjectNotFound("no file")
    try:
        before = read_limited(path, MAX_BYTES, missing=missing)
    except ProjectNotFound:
        before = b""
    if before:
        parse_intent(before, path=str(path))
        _refuse_existing(before, path)
    after = _appended(before, root.name, chosen, backend)
    parse_intent(after, path=str(path))
    atomic.write(path, after)
    return Outcome(
        command="init",
        answer=f"wrote [tool.envid] to {path}",
        notes=("next: envid lock",),
        data={"path": str(path), "created": not before, "targets": list(chosen)},
    )


def _root(directory: str | None) -> Path:
    try:
        return find_root(directory)
    except ProjectNotFound:
        return Path.cwd()


def _refuse_existing(data: bytes, path: Path) -> None:
    import tomllib

    if "envid" in tomllib.loads(data.decode()).get("tool", {}):
        raise ConfigError(
            f"{path} has a [tool.envid] already", path=str(path), hint="edit it; docs/configuration.md has every key"
        )


def _portable(host: Target) -> Target:
    """Return the target to suggest for ``host``: without its patch release, and for glibc hosts one that others fit."""
    platform = host.platform
    if platform.startswith("manylinux_2_"):
        minor, _, machine = platform.removeprefix("manylinux_2_").partition("_")
        platform = f"manylinux_2_{min(int(minor), 28)}_{machine}"
    return parse_target(f"{host.abi}-{platform}")


def _appended(before: bytes, name: str, targets: tuple[str, ...], backend: str | None) -> bytes:
    listed = "".join(f'    "{target}",\n' for target in targets)
    text = _TABLE.format(targets=listed) + (_BACKEND.format(backend=backend) if backend else "")
    if not before:
        python = targets[0].removeprefix("cp3").removeprefix("pp3").partition("-")[0].rstrip("td")
        return (_PROJECT.format(name=_project_name(name), python=f"3.{python}") + text).encode()
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    gap = (b"" if before.endswith(b"\n") else newline) + newline
    return before + gap + text.encode().replace(b"\n", newline)


def _project_name(directory: str) -> str:
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in directory.lower())
    return kept.strip("-") or "project"
