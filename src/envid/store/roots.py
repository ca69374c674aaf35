"""Roots: what each project uses of the store, so that the collection leaves it there.

``roots-v1/<64 hex of the project's path>``: text, a fact a line, last the BLAKE3 of all before. Its time is that of
the last use, renewed once a day. ``protection`` says for how long it protects.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from envid.atomic import freshen, write
from envid.errors import GuardTimeout, StoreError
from envid.guard import hold
from envid.store.cache import Miss, read_file
from envid.store.place import ENTRIES, GUARDS, ROOTS, Place, lacks_space, make_below
from envid.values.digest import derive_hex
from envid.values.frozen import dataclass

CONTEXT: Final = "envid-root/1"
MAX_KEYS: Final = 10_000
"""Of a project that uses more, the oldest are forgotten."""
WAIT: Final = 5.0
"""Seconds to wait for another command that adds to a root."""
MAX_BYTES: Final = 64 * 1024 * 1024
_MAGIC: Final = "envid-root 1"
_KEY: Final = r"envid1-([a-z0-9][a-z0-9_-]{0,31})-([0-9a-f]{64})"
_GROUP: Final = r"[^\s]{1,200}"
_SHA256: Final = r"[0-9a-f]{64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What one project uses."""

    project: str
    """Absolute path of its directory."""
    keys: tuple[str, ...]
    """Keys of slots, in the order of their first use; what their manifests name is protected with them."""
    wheels: Mapping[str, frozenset[str]]
    """Group, such as lock and target, to the sha256 of the artifacts it uses."""
    used_ns: int = 0
    """When it was used last, nanoseconds since the epoch."""


def remember(
    place: Place, project: str, *, keys: Iterable[str] = (), wheels: Mapping[str, Iterable[str]] | None = None
) -> bool:
    """Add to what ``project`` (absolute path) uses; return whether something was written. Never raises.

    ``keys`` come on top of those it used before. ``wheels``: group (no white space) to the sha256 of all artifacts that
    the group uses from now on. Written to be on disk when this returns, and only when it says something new.
    """
    if place.trouble is not None:
        return False
    path = root_path(place, project)
    before = read_root(place, os.path.basename(path))
    after = _added(place, project, before, tuple(keys), wheels or {})
    if before is not None and after == before:
        freshen(path, before.used_ns / 1e9)
        return False
    if not after.keys and not after.wheels:
        return False
    try:
        make_below(place, place.area(ROOTS))
        make_below(place, place.area(GUARDS))
        if lacks_space(place, len(encode(after))) is not None:
            return False
        with contextlib.ExitStack() as held:
            # Others of the same project may add at this moment. Where guards do not work, the last one has its say.
            with contextlib.suppress(GuardTimeout):
                held.enter_context(
                    hold(f"{place.area(GUARDS)}/roots", timeout=WAIT, purpose="roots", mode=place.changing_mode)
                )
            before = read_root(place, os.path.basename(path))
            return write(
                path, encode(_added(place, project, before, tuple(keys), wheels or {})), mode=place.changing_mode
            )
    except (StoreError, OSError):
        # A store that cannot be written has no collection either.
        return False


def _added(
    place: Place, project: str, before: Root | None, keys: tuple[str, ...], wheels: Mapping[str, Iterable[str]]
) -> Root:  # fmt: skip
    """Return the root that says what ``before`` said, and this."""
    before = before or Root(project=project, keys=(), wheels={})
    known = frozenset(before.keys)
    new = [key for key in dict.fromkeys(keys) if key not in known]
    # What was collected in the meantime is of no use any more; that alone is no reason to write.
    kept = [key for key in before.keys if _is_there(place, key)] if new else before.keys
    groups = {**before.wheels, **{group: frozenset(used) for group, used in wheels.items()}}
    return Root(
        project=project, keys=tuple([*kept, *new][-MAX_KEYS:]), used_ns=before.used_ns,
        wheels={group: used for group, used in groups.items() if used},
    )  # fmt: skip


def read_roots(place: Place) -> tuple[tuple[Root, ...], tuple[str, ...]]:
    """Return every root that can be read, whether or not it still protects anything, and the names of the others."""
    try:
        names = sorted(os.listdir(place.area(ROOTS)))
    except OSError:
        return (), ()
    found = {name: read_root(place, name) for name in names if re.fullmatch(_SHA256, name)}
    return tuple(root for root in found.values() if root is not None), tuple(n for n, root in found.items() if not root)


def read_root(place: Place, name: str) -> Root | None:
    """Return the root of that name; None when there is none that can be believed."""
    path = f"{place.area(ROOTS)}/{name}"
    data = read_file(path, place, limit=MAX_BYTES, renew=False)
    if isinstance(data, Miss):
        return None
    try:
        used = os.lstat(path).st_mtime_ns
    except OSError:
        return None
    root = decode(data, used_ns=used)
    # A sound root under another's name would keep the project's own from being looked for.
    return root if root is not None and _name(root.project) == name else None


def root_path(place: Place, project: str) -> str:
    """Return where the root of ``project`` is or would be."""
    return f"{place.area(ROOTS)}/{_name(project)}"


def encode(root: Root) -> bytes:
    """Return the file of ``root``."""
    lines = [_MAGIC, f"project {os.fsencode(root.project).hex()}"]
    lines += [f"key {key}" for key in root.keys if re.fullmatch(_KEY, key)]
    for group, used in sorted(root.wheels.items()):
        if re.fullmatch(_GROUP, group) and used:
            lines += [f"wheels {group}", *(f"wheel {sha256}" for sha256 in sorted(used))]
    body = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
    return body + derive_hex(CONTEXT, body).encode() + b"\n"


def decode(data: bytes, *, used_ns: int) -> Root | None:
    """Return what ``encode`` wrote; None for anything else."""
    body, trailer = data[:-65], data[-65:]
    if trailer != derive_hex(CONTEXT, body).encode() + b"\n":
        return None
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    if lines[0] != _MAGIC or len(lines) < 3 or not re.fullmatch("project (?:[0-9a-f]{2})+", lines[1]):
        return None
    keys: list[str] = []
    wheels: dict[str, set[str]] = {}
    group: set[str] | None = None
    for line in lines[2:-1]:
        what, _, value = line.partition(" ")
        if what == "key" and re.fullmatch(_KEY, value):
            keys.append(value)
        elif what == "wheels" and re.fullmatch(_GROUP, value):
            group = wheels.setdefault(value, set())
        elif what == "wheel" and group is not None and re.fullmatch(_SHA256, value):
            group.add(value)
        else:
            return None
    return Root(
        project=os.fsdecode(bytes.fromhex(lines[1].partition(" ")[2])), keys=tuple(keys),
        wheels={name: frozenset(used) for name, used in wheels.items()}, used_ns=used_ns,
    )  # fmt: skip


def _name(project: str) -> str:
    return derive_hex(CONTEXT, os.fsencode(project))


def _is_there(place: Place, key: str) -> bool:
    found = re.fullmatch(_KEY, key)
    return found is not None and os.path.lexists(f"{place.area(ENTRIES)}/{found[1]}/{found[2][:2]}/{found[2]}")
