"""The Python versions that a lock answers for: what the project says and what its targets need."""

from __future__ import annotations

import re
from typing import Final

from envid.errors import ConfigError
from envid.values.target import Target

DEFAULT: Final = "3.11"
"""Where neither ``requires-python`` nor a target says anything; not the running Python, which is the host's."""

_CLAUSE: Final = re.compile(r"(?P<operator>===|==|~=|!=|<=|>=|<|>)\s*(?P<version>[0-9][0-9A-Za-z.*+]*)")


def python_range(requires_python: str | None, targets: tuple[Target, ...]) -> tuple[str, str]:
    """Return the lowest Python that the lock must serve (``3.11`` or ``3.11.4``), and its ``requires-python``.

    The lowest is the higher one of the project's lower bound and the oldest target: a project may say
    ``>=3.9`` and lock for 3.12 alone. Raises ConfigError when the project excludes a target.
    """
    clauses = _clauses(requires_python or "")
    bounds = [version for operator, version in clauses if operator in (">=", "~=", "==", ">")]
    floor = max((_lower(version) for version in bounds), default=None)
    oldest = min((_of(target) for target in targets), default=None)
    for target in targets:
        _check(target, clauses, requires_python)
    if floor is None and oldest is None:
        lowest = _release(DEFAULT)
    elif floor is None or oldest is None:
        lowest = floor or oldest or ()
    else:
        lowest = max(floor, oldest)
    text = ".".join(str(part) for part in lowest)
    kept = [f"{operator}{version}" for operator, version in clauses if operator != ">=" or _lower(version) > lowest]
    return text, ",".join(sorted({f">={text}", *kept}, key=lambda clause: (not clause.startswith(">="), clause)))


def _clauses(text: str) -> list[tuple[str, str]]:
    found = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise ConfigError(f"project.requires-python: `{text}` is no version specifier", hint="write `>=3.11`")
        found.append((match["operator"], match["version"]))
    return found


def _check(target: Target, clauses: list[tuple[str, str]], said: str | None) -> None:
    """Refuse a target whose whole minor release the project excludes."""
    minor = _of(target)[:2]
    for operator, version in clauses:
        bound = _lower(version)
        below = operator in (">=", ">", "~=") and minor < bound[:2]
        above = operator == "<" and minor >= (*bound, 0)[:2] and not any(bound[2:])
        if below or above or (operator == "<=" and minor > (*bound, 0)[:2]):
            raise ConfigError(
                f'the target {target.name} is outside requires-python = "{said}"',
                hint="drop the target from [tool.envid] targets, or widen requires-python",
            )


def _lower(version: str) -> tuple[int, ...]:
    return _release(re.split(r"[^0-9.]", version.removesuffix(".*"), maxsplit=1)[0].strip("."))


def _release(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in text.split(".") if part]
    while len(parts) > 2 and parts[-1] == 0:
        parts.pop()
    return tuple(parts[:3])


def _of(target: Target) -> tuple[int, ...]:
    return target.python if target.patch is None else _lower(target.patch)
