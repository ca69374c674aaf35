"""Drive uv to change an environment: offline, from local files, in a scrubbed environment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envid import atomic, process
from envid.errors import InstallFailed, UvNotFound
from envid.lock.indexes import Index, builtin
from envid.lock.redact import redact
from envid.values.artifact import Artifact, LocalSource, NormalizedName

LINK_MODES: Final = ("clone", "copy", "hardlink")
"""What `UV_LINK_MODE` may say; a `symlink` would point into a cache that anybody may empty or change."""
_PASSED: Final = ("UV_CACHE_DIR",)
_DISCOVERY: Final = (*_PASSED, "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_PREFERENCE", "PYENV_ROOT", "PYENV_VERSION")
_TIMEOUT: Final = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installable:
    """One distribution, ready on this machine: a verified ``file``, or a ``source`` that uv builds."""

    name: NormalizedName
    version: str | None
    file: Path | None = None
    artifact: Artifact | None = None
    source: LocalSource | None = None
    base: Path | None = None
    """What a relative ``source.path`` starts from."""


def uv_binary() -> str:
    """Return the path of the uv that the `uv` package brings; raise UvNotFound."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise UvNotFound("the uv binary is not installed") from error


def builtin_index() -> Index:
    """Return the index that uv asks when none is configured, as uv itself tells it; raise ConfigError, UvNotFound."""
    argv = [
        uv_binary(), "pip", "compile", "--offline", "--no-config", "--no-python-downloads", "--emit-index-url",
        "--no-header", "--quiet", "-",
    ]  # fmt: skip
    done = process.run(argv, env=process.environment(passed=_PASSED), stdin="", timeout=60.0)
    return builtin(done.stdout)


def create(venv: Path, python: str, *, held: int | None = None) -> None:
    """Make a virtual environment in ``venv`` (which may exist, empty) for the interpreter ``python``.

    ``held`` as for ``process.run``. Raises InstallFailed.
    """
    argv = [
        uv_binary(), "venv", "--no-config", "--no-project", "--offline", "--no-python-downloads", "--allow-existing",
        "--quiet", "--python", python, str(venv),
    ]  # fmt: skip
    done = process.run(argv, env=process.environment(passed=_PASSED), timeout=_TIMEOUT, held=held)
    if done.status != 0:
        raise InstallFailed(f"uv cannot make {venv}: {_said(done)}", path=str(venv))


def find_python(version: str) -> tuple[str | None, str]:
    """Return the path of the interpreter that uv finds for ``X.Y[.Z]`` on this machine, else ``None`` and why."""
    argv = [
        uv_binary(), "python", "find", "--no-config", "--no-project", "--offline", "--no-python-downloads",
        version,
    ]  # fmt: skip
    done = process.run(argv, env=process.environment(passed=_DISCOVERY), timeout=60.0)
    found = done.stdout.strip() if done.status == 0 else ""
    return (found, "") if found else (None, redact(done.stderr).strip().partition("\n")[0].removeprefix("error: "))


def install(
    python: Path,
    items: Sequence[Installable],
    *,
    reinstall: Iterable[NormalizedName] = (),
    link_mode: str = "copy",
    cache: Path | None = None,
    transport: Mapping[str, str] | None = None,
    held: int | None = None,
) -> None:
    """Install exactly ``items`` into the environment of ``python``, leaving all else alone.

    Wheels only, but for a ``source``, which uv builds: with ``transport``, the variables by which it may
    reach the indexes, or offline without. ``reinstall`` names distributions that are replaced even if
    the version is there. ``cache`` is used in place of uv's cache of unpacked wheels; ``held`` as for
    ``process.run``. Raises InstallFailed.
    """
    if not items:
        return
    sources = [item.name for item in items if item.source is not None]
    with atomic.temporary_directory() as scratch:
        lock = scratch / "pylock.toml"
        atomic.write(lock, pylock_of(items), durable=False)
        argv = [
            uv_binary(), "pip", "install", "--no-config", "--preview-features", "pylock", "--no-deps",
            "--no-python-downloads", "--quiet", "--link-mode", link_mode, "--python", str(python), "-r", str(lock),
        ]  # fmt: skip
        if not sources:
            argv += ["--no-build", "--no-index"]
        if not sources or transport is None:
            argv.append("--offline")
        elif transport.get("UV_NO_INDEX"):
            argv.append("--no-index")
        if cache is not None:
            argv += ["--cache-dir", str(cache)]
        # What uv built of a directory it keeps by the times of its pyproject.toml alone, and would install again though
        # the code has changed since.
        directories = {item.name for item in items if item.source is not None and item.source.kind == "directory"}
        for name in sorted({*reinstall, *directories}):
            argv += ["--reinstall-package", name]
        extra = transport if sources else None
        env = process.environment(passed=_PASSED, extra=extra)
        done = process.run(argv, env=env, cwd=scratch, timeout=_TIMEOUT, held=held)
    if done.status != 0:
        raise InstallFailed(f"uv could not install: {_said(done)}")


def build(sdist: Path, out: Path, *, python: str, transport: Mapping[str, str] | None) -> Path:
    """Build a wheel from a source archive, isolated, and return it; raise InstallFailed.

    The build requirements come from the indexes that ``transport`` names (``lock.indexes.variables_of``), or
    from uv's cache without.
    """
    argv = [
        uv_binary(), "build", "--no-config", "--no-python-downloads", "--quiet", "--wheel", "--python", python,
        "--out-dir", str(out), str(sdist),
    ]  # fmt: skip
    if transport is None:
        argv.append("--offline")
    elif transport.get("UV_NO_INDEX"):
        # uv has the option and no variable for it.
        argv.append("--no-index")
    env = process.environment(passed=_PASSED, extra=transport)
    done = process.run(argv, env=env, cwd=out, timeout=_TIMEOUT)
    wheels = sorted(out.glob("*.whl"))
    if done.status != 0 or len(wheels) != 1:
        hint = "its build requirements may have to be fetched: run without --offline" if transport is None else None
        raise InstallFailed(f"uv could not build {sdist.name}: {_said(done)}", hint=hint)
    return wheels[0]


def pylock_of(items: Iterable[Installable]) -> bytes:
    """Return a temporary lock that names ``items`` by absolute paths."""
    lines = ['lock-version = "1.0"', 'created-by = "envid"']
    for item in sorted(items, key=lambda item: item.name):
        lines += ["", "[[packages]]", f"name = {_text(item.name)}"]
        if item.version is not None and (item.source is None or not item.source.editable):
            lines.append(f"version = {_text(item.version)}")
        if item.file is not None and item.artifact is not None:
            table: Mapping[str, str] = {"path": str(item.file)}
            inner = ", ".join(f"{key} = {_text(value)}" for key, value in table.items())
            lines.append(f'wheels = [{{ {inner}, hashes = {{ sha256 = "{item.artifact.sha256}" }} }}]')
        elif item.source is not None:
            lines.append(_source(item.source, item.base))
    return ("\n".join(lines) + "\n").encode()


def _source(source: LocalSource, base: Path | None) -> str:
    keys: dict[str, str] = {}
    if source.path is not None:
        keys["path"] = _text(str((base or Path("/")) / source.path))
    if source.kind == "vcs":
        keys |= {"type": _text(source.vcs or "git"), "commit-id": _text(source.commit or "")}
        if source.url is not None:
            keys["url"] = _text(source.url)
    elif source.editable:
        keys["editable"] = "true"
    if source.subdirectory is not None:
        keys["subdirectory"] = _text(source.subdirectory)
    inner = ", ".join(f"{key} = {value}" for key, value in keys.items())
    return f"{'vcs' if source.kind == 'vcs' else 'directory'} = {{ {inner} }}"


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _said(done: process.Completed) -> str:
    lines = [line.strip() for line in redact(done.stderr or done.stdout).splitlines() if line.strip()]
    return " / ".join(lines[-6:])[:1500] or f"exit status {done.status}"
