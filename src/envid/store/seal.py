"""The seal of a tree that a CI cache keeps: a file in the tree that says what it was made as, and what is in it.

It proves that a tree is whole and is the one that was sealed under this key. It does not say who sealed it: whoever
can write the cache can write a seal (docs/ci.md).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from envid.atomic import remove_file, write
from envid.errors import IdentityError, SealBroken
from envid.store.tree import Tree, measure
from envid.values.digest import JSONValue, canonical, parse_canonical
from envid.values.frozen import dataclass

NAME: Final = ".envid-seal.json"
SCHEMA: Final = "envid-seal/1"
_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the tree was made as."""

    key: str
    """Of the CI cache: ``envid1-LAYER-OS-ARCH-PYTAG-DIGEST``."""
    document: bytes
    """The identity document behind the key, canonical JSON."""
    place: str
    """The tree, relative to the project, POSIX."""
    tree: Tree
    """What is in it beside the seal."""


def encode(seal: Seal) -> bytes:
    """Return the file; raise NotCanonical for a place that is not text in normal form C."""
    body: dict[str, JSONValue] = {
        "schema": SCHEMA, "key": seal.key, "identity": parse_canonical(seal.document), "place": seal.place,
        "tree": {"digest": seal.tree.digest, "entries": seal.tree.entries, "size": seal.tree.size},
    }  # fmt: skip
    return canonical(body) + b"\n"


def decode(data: bytes) -> Seal:
    """Return the seal in ``data``; raise SealBroken for anything that ``encode`` would not have written."""
    try:
        value = parse_canonical(data.removesuffix(b"\n"))
    except IdentityError as error:
        raise SealBroken(f"the seal cannot be read: {error.message}") from error
    tree = value.get("tree") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(tree, Mapping) or value.get("schema") != SCHEMA:
        raise SealBroken(f"the seal is none of {SCHEMA}")
    key, place, digest = value.get("key"), value.get("place"), tree.get("digest")
    entries, size = tree.get("entries"), tree.get("size")
    if not isinstance(key, str) or not isinstance(place, str) or not isinstance(digest, str):
        raise SealBroken("the seal lacks a part")
    if not isinstance(entries, int) or not isinstance(size, int):
        raise SealBroken("the seal lacks a part")
    return Seal(
        key=key, document=canonical(value.get("identity")), place=place,
        tree=Tree(digest=digest, entries=entries, size=size),
    )  # fmt: skip


def read(tree: str) -> Seal | None:
    """Return the seal in the directory ``tree``, None where there is none; raise SealBroken. No link is followed."""
    path = os.path.join(tree, NAME)
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise SealBroken("the seal is not a file")
            data = stream.read(_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SealBroken(f"the seal cannot be read: {error.strerror}") from error
    if len(data) > _MAX:
        raise SealBroken(f"the seal is larger than {_MAX} bytes")
    return decode(data)


def measured(tree: str) -> Tree:
    """Return what a seal of the directory ``tree`` says of its content; raise UnsafePath."""
    return measure(tree, without=NAME)


def put(tree: str, seal: Seal) -> None:
    """Write ``seal`` into the directory ``tree`` in the place of an earlier one; raise WriteFailed, NotCanonical."""
    data = encode(seal)
    # What is there may be anything: a pipe, or a link that leads elsewhere.
    take_off(tree)
    write(os.path.join(tree, NAME), data)


def take_off(tree: str) -> None:
    """Remove the seal of the directory ``tree`` where there is one: it is about to change; raise WriteFailed."""
    from pathlib import Path

    remove_file(Path(tree, NAME))
