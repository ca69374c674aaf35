"""The last identity of each layer, target and lock of each project, and the one before it."""

from __future__ import annotations

import os

from envid.values.digest import canonical, derive_hex
from envid.values.frozen import dataclass
from envid.whole import Name, open_regular, write

CONTEXT = "envid-recorded/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Identity documents; the bytes are the caller's to check."""

    last: bytes | None = None
    before: bytes | None = None
    """What ``last`` was before it changed."""


def slot(*, project: str, layer: str, target: str, lock: str) -> str:
    """Return the name under which the documents of these four are kept."""
    named = [project.encode("utf-8", "surrogateescape").hex(), layer, target, lock]
    return derive_hex(CONTEXT, canonical(named))


def read(cache: Name, name: str) -> Recorded:
    """Return what is kept in slot ``name``."""
    return Recorded(last=_read(_path(cache, name, "last")), before=_read(_path(cache, name, "before")))


def keep(cache: Name, name: str, document: bytes) -> bool:
    """Keep ``document`` as the last one; return whether it differs from the one that was. Raises WriteFailed."""
    last = _read(_path(cache, name, "last"))
    if last == document:
        return False
    if last is not None:
        write(_path(cache, name, "before"), last, durable=False)
    write(_path(cache, name, "last"), document, durable=False)
    return last is not None


def _path(cache: Name, name: str, which: str) -> str:
    return os.path.join(cache, "identities-v1", name[:2], f"{name}.{which}.json")


def _read(path: str) -> bytes | None:
    try:
        with open_regular(path) as stream:
            return stream.read()
    except OSError:
        return None
