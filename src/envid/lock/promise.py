"""What was promised of bytes before a resolution: by the lock that is there, and by the requirements themselves.

An engine takes what an index offers today. Whether that is what was offered yesterday is for us to ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from envid.errors import DependencyRefused, DigestMismatch, Rehashed
from envid.lock.difference import REHASHED_HINT, Change, difference, sentence
from envid.lock.redact import clean_url
from envid.values.artifact import Artifact, Lock
from envid.values.finding import Finding

_ALGORITHM: Final = re.compile(r"md5|sha\d+|sha3_\d+|blake2[bs]|shake_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A digest that the project itself gives: ``name @ URL#sha256=HEX``."""

    name: str
    """Normalised."""
    url: str
    """Without fragment and credential."""
    sha256: str
    """As written, in lower case; perhaps no digest at all."""


def stated(references: Iterable[tuple[str, str]]) -> tuple[Stated, ...]:
    """Return the digests in the fragments of ``references`` (normalised name, URL).

    Raises DependencyRefused for a digest of another algorithm: locked is sha256, and a promise that
    nobody checks is none.
    """
    found = []
    for name, url in references:
        place, _, fragment = url.partition("#")
        parts = dict(part.partition("=")[::2] for part in fragment.split("&"))
        digests = {key: text for key, text in parts.items() if _ALGORITHM.fullmatch(key)}
        if "sha256" in digests:
            found.append(Stated(name=name, url=clean_url(place), sha256=digests["sha256"].strip().lower()))
        elif digests:
            named = min(digests)
            raise DependencyRefused(
                f"{name}: its URL promises a digest by {named}, which is not what a lock holds",
                package=name, hint="give the digest as `#sha256=HEX`",
            )  # fmt: skip
    return tuple(found)


def unstated(url: str) -> str:
    """Return ``url`` without a digest in its fragment; other parts of that (``subdirectory``) stay.

    uv takes such a digest for the file's own and never computes one.
    """
    place, _, fragment = url.partition("#")
    kept = "&".join(part for part in fragment.split("&") if not _ALGORITHM.fullmatch(part.partition("=")[0]))
    return f"{place}#{kept}" if kept else place


def keep(promises: Iterable[Stated], lock: Lock) -> None:
    """Raise DigestMismatch for a file in ``lock`` that is not what the project said it is."""
    for promise in promises:
        for archive in _archives(promise, lock):
            if archive.sha256 != promise.sha256:
                raise DigestMismatch(
                    f"{promise.name}: {archive.filename} is not what its requirement promises: "
                    f"sha256 {archive.sha256}, not {promise.sha256}",
                    package=promise.name, file=archive.filename, expected=promise.sha256, actual=archive.sha256,
                    hint="the file was replaced, or the digest is a slip: find out which before you write another one",
                )  # fmt: skip


def _archives(promise: Stated, lock: Lock) -> list[Artifact]:
    """Return what the lock has for one direct reference, by its URL; a local file by its name."""
    mine = [entry.archive for entry in lock.distributions if entry.name == promise.name and entry.archive is not None]
    exact = [archive for archive in mine if archive.url == promise.url]
    return exact or [archive for archive in mine if archive.filename == unquote(promise.url.rpartition("/")[2])]


def held(
    old: Lock,
    new: Lock,
    *,
    accepted: Callable[[str], bool],
    promises: Sequence[Stated] = (),
    edited: bool = False,
    command: str = "envid lock",
) -> tuple[Finding, ...]:
    """Raise Rehashed when ``new`` has a file of ``old`` with other bytes; return a warning per accepted one.

    ``accepted`` tells whether the files of a distribution may be others. The project's own files
    (``archive`` with a path) may change as its source does, and so may what a digest in the
    requirement vouches for. ``edited``: ``old`` is not as envid wrote it. ``command`` goes into the hint.
    """
    own = {entry.name for entry in new.distributions if entry.archive is not None and entry.archive.url is None}
    vouched = {(promise.name, promise.sha256) for promise in promises}
    alarms = [
        item for item in difference(old, new)
        if item.change == "rehashed" and item.name not in own and (item.name, _digest(item.new)) not in vouched
    ]  # fmt: skip
    refused = [item for item in alarms if not accepted(item.name)]
    if refused:
        raise _refusal(refused, edited, command)
    return tuple(_warnings(alarms))


def _refusal(changes: Sequence[Change], edited: bool, command: str) -> Rehashed:
    first = changes[0]
    more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    why = "; the lock was edited after envid wrote it, so it may be the old digest that is wrong" if edited else ""
    names = " ".join(f"--upgrade-package {name}" for name in dict.fromkeys(item.name for item in changes))
    return Rehashed(
        f"{sentence(first)}{more}{why}",
        hint=f"an honest index never replaces a file: find out why; to accept it: `{command} {names}`",
        package=first.name, file=first.old.partition(" ")[0], expected=_digest(first.old), actual=_digest(first.new),
    )  # fmt: skip


def _warnings(changes: Iterable[Change]) -> Iterator[Finding]:
    for item in changes:
        yield Finding(
            code="diff.rehashed", severity="warning", subject=item.name, path=item.old.partition(" ")[0],
            message=f"accepted: {sentence(item)}", expected=_digest(item.old), actual=_digest(item.new),
            hint=REHASHED_HINT,
        )  # fmt: skip


def _digest(text: str) -> str:
    """Return the digest in ``FILE ALGORITHM:HEX``."""
    return text.rpartition(":")[2]
