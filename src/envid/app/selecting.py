"""From the name of a lock and the text of a target to what that target takes."""

from __future__ import annotations

from envid.app.project import Site, lock_shown, running
from envid.errors import TargetNotCovered
from envid.lock.pylock import read
from envid.lock.select import resolve_quick, select
from envid.values.artifact import Lock, Resolution
from envid.values.frozen import dataclass
from envid.values.interpreter import Interpreter
from envid.values.target import Target, fits, host_target, parse_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A target, and the interpreter of this host that it was measured from or that fits it."""

    target: Target
    interpreter: Interpreter | None = None
    """None: a foreign target; nothing of this host may enter its identity."""


def aim(ws: Site, target_text: str | None, *, venv: str | None = None) -> Aim:
    """Return the target meant: parsed, or for None and ``host`` that of the interpreter of ``venv`` or the running one.

    Raises InvalidTarget, IdentityUnknown, EnvironmentNotFound.
    """
    interpreter = ws.interpreter(venv)
    if target_text is None or target_text == "host":
        return Aim(target=host_target(interpreter), interpreter=interpreter)
    target = parse_target(target_text)
    return Aim(target=target, interpreter=None if fits(target, interpreter) else interpreter)


def target_for(target_text: str | None) -> Target:
    """Return the target meant: parsed, or that of the running interpreter; raise InvalidTarget, IdentityUnknown."""
    if target_text is None or target_text == "host":
        return host_target(running())
    return parse_target(target_text)


def select_for(ws: Site, name: str, target_text: str | None) -> tuple[Lock, Target, Resolution]:
    """Return the lock ``name``, the target, and what it takes.

    ``target_text``: None or ``host`` for the running interpreter. Raises LockNotFound, InvalidLock,
    InvalidTarget, TargetNotCovered (with the nearest declared targets), NoCompatibleArtifact, IdentityUnknown.
    """
    lock = read(ws.read_lock(name), path=lock_shown(name))
    target = target_for(target_text)
    return lock, target, resolve(ws, lock, target)


def resolve(ws: Site, lock: Lock | bytes, target: Target, *, path: str = "pylock.toml") -> Resolution:
    """Return what ``target`` takes from ``lock``, parsed or in bytes; raise as ``select_for``."""
    try:
        if isinstance(lock, bytes):
            return resolve_quick(lock, target, path=path)
        return select(lock, target)
    except TargetNotCovered as error:
        near = nearest(target, ws.intent.settings.targets)
        named = f"the nearest declared targets are {', '.join(near)}: name one with --target, "
        hint = f"{named}or an environment with --venv" if near else TargetNotCovered.hint
        raise TargetNotCovered(error.message, hint=hint, **error.context) from None


def nearest(target: Target, declared: tuple[Target, ...]) -> tuple[str, ...]:
    """Return the names of at most three declared targets, the most alike first."""

    def distance(other: Target) -> tuple[bool, bool, bool, bool, int, str]:
        return (
            other.os != target.os, other.implementation != target.implementation, other.arch != target.arch,
            other.libc != target.libc, abs(other.python[1] - target.python[1]), other.name,
        )  # fmt: skip

    return tuple(other.name for other in sorted(declared, key=distance)[:3])
