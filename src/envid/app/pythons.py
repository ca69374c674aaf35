"""The Pythons of this machine: one that fits a target, or why none does."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envid.app.workspace import Workspace
from envid.errors import InterpreterNotFound
from envid.installed.interpreter import measure, probe
from envid.lock import install
from envid.values.interpreter import Interpreter
from envid.values.target import Target, fits

_SHOWN: Final = 8
"""Interpreters whose rejection a message tells."""
_VERSION: Final = re.compile(r"\d+\.\d+(\.\d+)?t?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The interpreter found, if any, and one sentence for each that was looked at before and is not it."""

    interpreter: Interpreter | None
    rejected: tuple[str, ...]


def search(ws: Workspace, target: Target) -> Searched:
    """Return the first interpreter of this machine that fits ``target``.

    Asked in this order: the running one, the one that uv finds (its own, then PATH), every one of that
    version on PATH, those of pyenv.
    """
    here = measure()
    reasons = fits(target, here)
    if not reasons:
        return Searched(interpreter=here, rejected=())
    rejected = [f"the running one ({here.executable}): {'; '.join(reasons)}"]
    path, why = install.find_python(_request(target))
    if path is None:
        rejected.append(f"uv: {why}")
    seen = {os.path.realpath(here.executable)}
    for candidate in ([Path(path)] if path is not None else []) + list(_candidates(ws, target)):
        real = os.path.realpath(candidate)
        if real in seen:
            continue
        seen.add(real)
        try:
            interpreter = probe(candidate, cache=ws.cache)
        except InterpreterNotFound as error:
            rejected.append(error.message)
            continue
        reasons = fits(target, interpreter)
        if not reasons:
            return Searched(interpreter=interpreter, rejected=tuple(rejected))
        rejected.append(f"{candidate}: {'; '.join(reasons)}")
    return Searched(interpreter=None, rejected=tuple(rejected))


def found(ws: Workspace, target: Target) -> Interpreter:
    """Return the first interpreter of this machine that fits ``target``; raise InterpreterNotFound saying why none."""
    searched = search(ws, target)
    if searched.interpreter is not None:
        return searched.interpreter
    raise not_found(target, searched.rejected)


def not_found(target: Target, rejected: Sequence[str]) -> InterpreterNotFound:
    """Return the error that there is no Python for ``target``."""
    more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
    said = "; ".join(rejected[:_SHOWN]) + more
    wanted = _request(target)
    return InterpreterNotFound(
        f"there is no Python {wanted} on this machine that fits {target.name}. Looked at: {said}",
        hint=f"install it (`uv python install {wanted}`), or name one with --python", target=target.name,
    )  # fmt: skip


def named(ws: Workspace, text: str) -> Interpreter:
    """Return the interpreter that ``--python`` names: a path, a program on PATH, or a version.

    Raises InterpreterNotFound.
    """
    if _VERSION.fullmatch(text):
        path, why = install.find_python(text)
        if path is not None:
            return probe(Path(path), cache=ws.cache)
        for candidate in _of_pyenv(ws, text):
            return probe(candidate, cache=ws.cache)
        raise InterpreterNotFound(f"there is no Python {text} on this machine: {why}", hint="name it by its path")
    if os.sep not in text:
        on_path = shutil.which(text, path=ws.variables.get("PATH"))
        if on_path is not None:
            return probe(Path(on_path), cache=ws.cache)
    return probe(Path(os.path.abspath(text)), cache=ws.cache)


def suitable(ws: Workspace, targets: Sequence[Target]) -> tuple[Interpreter, Target] | None:
    """Return an interpreter for one of ``targets``, the newest release for which there is one.

    ``None`` when no interpreter can help: the host itself fits none of them. Raises InterpreterNotFound
    when one could and there is none.
    """
    here = measure()
    able = [one for one in targets if all(reason.startswith("the interpreter") for reason in fits(one, here))]
    able.sort(key=lambda one: (one.python, one.patch is None, one.implementation == "cpython"), reverse=True)
    rejected: list[str] = []
    for target in able:
        searched = search(ws, target)
        if searched.interpreter is not None:
            return searched.interpreter, target
        rejected += [reason for reason in searched.rejected if reason not in rejected]
    if able:
        raise not_found(able[0], rejected)
    return None


def _request(target: Target) -> str:
    version = target.patch or f"{target.python[0]}.{target.python[1]}"
    version += "t" if target.free_threaded else ""
    return version if target.implementation == "cpython" else f"{target.implementation}{version}"


def _candidates(ws: Workspace, target: Target) -> Iterator[Path]:
    short = f"{target.python[0]}.{target.python[1]}"
    stem = "python" if target.implementation == "cpython" else target.implementation
    name = f"{stem}{short}{target.abi_flags}"
    for directory in ws.variables.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(directory) and os.access(os.path.join(directory, name), os.X_OK):
            yield Path(directory, name)
    yield from _of_pyenv(ws, short)


def _of_pyenv(ws: Workspace, version: str) -> Iterator[Path]:
    """Return the interpreters of pyenv whose version starts with ``version``, the newest first."""
    home = ws.variables.get("HOME")
    root = ws.variables.get("PYENV_ROOT") or (os.path.join(home, ".pyenv") if home else "")
    try:
        names = os.listdir(os.path.join(root, "versions")) if root else []
    except OSError:
        return
    alike = [name for name in names if re.fullmatch(rf"(?:\D+-)?{re.escape(version)}(?:\..*|t|$)", name)]
    for name in sorted(alike, key=lambda one: [int(part) for part in re.findall(r"\d+", one)], reverse=True):
        path = Path(root, "versions", name, "bin", "python")
        if os.access(path, os.X_OK):
            yield path
