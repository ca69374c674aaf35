"""``envid cache export`` and ``envid cache import``: the store in one file, for another machine or a CI cache.

What an import takes proves itself, or is what somebody else is trusted to have made (docs/cache.md). It fails for no
archive and for no store: whatever is wrong with them costs misses, not the job that asked.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from envid.app.ci import ARCHIVE
from envid.app.outcome import Outcome, count
from envid.app.storing import opened
from envid.app.workspace import Workspace
from envid.atomic import replacing, temporary_directory
from envid.errors import ArchiveUnreadable, EnvidError, UsageError
from envid.identity import LAYERS
from envid.installed.wheel import read_contents
from envid.lock.pylock import read as read_lock
from envid.store import archive, contents
from envid.store.archive import WHEEL, Item
from envid.store.inventory import WHEELS, Thing
from envid.store.place import ENTRIES, Place
from envid.store.protection import names_in
from envid.store.proving import BLOB
from envid.store.roots import read_root, root_path
from envid.store.usage import using
from envid.values.amount import show_size
from envid.values.artifact import Sha256
from envid.values.digest import NotCanonical, blake3_hex, parse_canonical
from envid.values.finding import Finding, Severity
from envid.values.frozen import dataclass
from envid.values.nearest import nearest, quoted
from envid.values.progress import SILENT, Progress
from envid.values.reason import BYPASSES, MISSES, PASSED
from envid.whole import open_regular

_MEANINGS: Final = {**BYPASSES, **MISSES, **PASSED}
_FAILURES: Final = frozenset({"space", "unwritable", "read-only", "no-directory", "untrusted", "refuted"})
"""Reasons that are a finding of their own: the store is at fault, or somebody lies."""
_MAX_WHEELS: Final = 10_000
"""Wheels whose contents one import computes; those of the others are unproven."""
_PIECE: Final = 1024 * 1024
_MAX_DOCUMENT: Final = 4096
"""Bytes of the document of a slot of contents; it has one digest and one number."""


# --- export -------------------------------------------------------------------------------


def cache_export(
    ws: Workspace,
    file: str,
    *,
    layers: Sequence[str] = (),
    roots_only: bool = True,
    progress: Progress = SILENT,
) -> Outcome:
    """Write an archive of the store at ``file`` (``-``: standard output), whole or not at all; equal files give equal
    bytes.

    An existing file is replaced when it is empty or such an archive itself.

    ``layers``: entries of these layers, ``wheels``, and the blobs that the entries name; all if none is given.
    ``roots_only``: what this project uses, else everything. ``data``: ``{"file", "size", "files": {layer: number},
    "skipped": {reason: number}}``, the size in bytes. Raises StoreError for a store that others can write, WriteFailed,
    and UsageError for a place where no archive belongs, or a layer that nothing has.
    """
    path = file if file == "-" else os.path.abspath(file)
    with contextlib.ExitStack() as work:
        out = _stdout() if file == "-" else None
        # By way of a file: what proves to be damaged while it is copied is taken back from the end of it.
        made = path if out is None else str(work.enter_context(temporary_directory()) / "store.tar")
        if out is None:
            _insist_on_place(ws, path)
        place = work.enter_context(opened(ws))
        work.enter_context(using(place, purpose="envid cache export"))
        place.sound()
        _insist_on_layers(ws, place, layers)
        items = _chosen(place, _used(ws, place) if roots_only else None, frozenset(layers))
        # What a store holds is its owner's; an archive of it is, too.
        with replacing(made, mode=0o600, durable=out is None) as stream:
            written = archive.write(place, items, stream, progress=progress)
        if out is not None:
            with open(made, "rb") as source:
                while piece := source.read(_PIECE):
                    out.write(piece)
            out.flush()
    total = sum(written.files.values())
    lines = [f"{path}: {count(total, 'file')}{_listed(written.files)}, {show_size(written.size)}"]
    lines += _reasons(written.skipped, "left out")
    notes = () if total else (_nothing(layers, roots_only=roots_only),)
    return Outcome(
        command="cache-export",
        answer="" if out is not None else "\n".join(lines),
        notes=notes if out is None else (*lines, *notes),
        data={
            "file": path, "size": written.size, "files": dict(written.files), "skipped": dict(written.skipped),
        },
    )  # fmt: skip


def _insist_on_place(ws: Workspace, path: str) -> None:
    """Raise UsageError unless an archive may be written at ``path``, which nobody who mistyped wants to lose."""
    if os.path.lexists(path) and not os.path.isfile(path):
        # A rename would put the archive in the place of /dev/null, too.
        raise UsageError(f"{path} is there, and is not a file", hint="name the file to write", path=path)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory) and directory != os.path.join(ws.place, os.path.dirname(ARCHIVE)):
        raise UsageError(f"there is no directory {directory}", hint="make it first, or name another file", path=path)
    try:
        ours = not os.path.lexists(path) or os.path.getsize(path) == 0 or archive.is_ours(path)
    except OSError as error:
        raise UsageError(f"{path} is there, and cannot be read: {error.strerror}", path=path) from error
    if not ours:
        raise UsageError(
            f"{path} is there, and is no archive of a cache: it is not overwritten",
            hint="name another file, or remove this one first", path=path,
        )  # fmt: skip


def _insist_on_layers(ws: Workspace, place: Place, layers: Sequence[str]) -> None:
    if not layers:
        return
    there = {item.layer for item in archive.everything(place)}
    known = {*there, *LAYERS, *ws.intent.settings.layers, WHEEL, BLOB, contents.LAYER, "run"}
    for layer in layers:
        if layer not in known:
            near = nearest(layer, known)
            raise UsageError(
                f"--layer {quoted(layer)}: the cache has no such layer",
                hint=f"the nearest is `{near}`; known are: {', '.join(sorted(known))}",
            )


def _stdout() -> BinaryIO:
    """Return standard output, for bytes; raise UsageError for a terminal, and where there is none."""
    stream: BinaryIO | None = getattr(sys.stdout, "buffer", None)
    if stream is None:
        raise UsageError("there is no standard output to write the archive to", hint="name the file to write")
    if sys.stdout.isatty():
        raise UsageError(
            "an archive is not written to a terminal", hint="redirect it, `envid cache export - > FILE`, or name a file"
        )
    return stream


def _nothing(layers: Sequence[str], *, roots_only: bool) -> str:
    what = f" of {', '.join(layers)}" if layers else ""
    if roots_only:
        return f"nothing{what} in the cache is known to be used by this project; --all takes what others use"
    return f"there is nothing{what} in the cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """What one project uses."""

    wheels: frozenset[str]
    keys: frozenset[str]


def _used(ws: Workspace, place: Place) -> _Used:
    """Return what the locks of the project name, and what its root has besides."""
    wheels: set[str] = set()
    keys: set[str] = set()
    root = read_root(place, os.path.basename(root_path(place, ws.place)))
    if root is not None:
        keys.update(root.keys)
        wheels.update(*root.wheels.values())
    for name in ws.intent.settings.locks:
        # A lock that is not there, or cannot be read, uses nothing; other commands say so.
        with contextlib.suppress(EnvidError):
            lock = read_lock(ws.read_lock(name), path=str(ws.lock_path(name)))
            wheels.update(
                artifact.sha256
                for item in lock.distributions
                for artifact in (*item.wheels, item.sdist, item.archive)
                if artifact is not None
            )
    keys.update(contents.slot_of(Sha256(sha256)).key for sha256 in wheels)
    return _Used(wheels=frozenset(wheels), keys=frozenset(keys))


def _chosen(place: Place, used: _Used | None, layers: frozenset[str]) -> Iterator[Item]:
    """Go through what belongs into the archive, in order."""
    whole = used is None and not layers
    named = None if whole else _named(place, used, layers)
    for item in archive.everything(place):
        if item.layer != BLOB:
            if _is_chosen(item, used, layers):
                yield item
        elif named is None or item.digest in named or (used is None and BLOB in layers):
            yield item


def _is_chosen(item: Item, used: _Used | None, layers: frozenset[str]) -> bool:
    if layers and item.layer not in layers:
        return False
    return used is None or (item.digest in used.wheels if item.layer == WHEEL else item.key in used.keys)


def _named(place: Place, used: _Used | None, layers: frozenset[str]) -> set[str]:
    """Return the digests of the blobs that the chosen entries name."""
    digests: set[str] = set()
    for item in archive.everything(place):
        if item.layer not in (WHEEL, BLOB, contents.LAYER) and _is_chosen(item, used, layers):
            name = item.relative.removeprefix(f"{ENTRIES}/")
            digests |= names_in(place, Thing(area=ENTRIES, name=name, size=0, time_ns=0, kind="kept")).digests
    return digests


# --- import -------------------------------------------------------------------------------


def cache_import(
    ws: Workspace, file: str, *, trust: bool = False, strict: bool = False, progress: Progress = SILENT
) -> Outcome:
    """Take what proves itself of the archive ``file`` (``-``: standard input); what the store has stays.

    ``trust``: whoever wrote the archive may say what belongs under a key, but for the contents of wheels, which are
    compared with the wheels in any case. An archive that is damaged, cut short or
    none is a warning, and so is a store that cannot be written; with ``strict`` an error. ``data``: ``{"file", "size",
    "trusted", "whole", "new": {layer: number}, "kept": {layer: number}, "skipped": {reason: number}}``, the size of
    what is new in bytes. Raises ArchiveUnreadable for a file that is not there.
    """
    path = file if file == "-" else os.path.abspath(file)
    with opened(ws) as place, using(place, purpose="envid cache import"), _stream(path) as stream:
        provers = {contents.LAYER: _Contents(place).digest}
        taken = archive.read(place, stream, provers=provers, trust=trust, progress=progress)
    new, kept, skipped = (sum(counts.values()) for counts in (taken.new, taken.kept, taken.skipped))
    lines = [f"{path}: {count(new, 'file')} new{_listed(taken.new)}, {kept} there before, {skipped} passed over"]
    lines += _reasons(taken.skipped, "passed over")
    return Outcome(
        command="cache-import",
        answer="\n".join(lines),
        data={
            "file": path, "size": taken.size, "trusted": trust, "whole": not taken.fault and taken.trouble is None,
            "new": dict(taken.new), "kept": dict(taken.kept), "skipped": dict(taken.skipped),
        },
        findings=tuple(_findings(path, taken, "error" if strict else "warning")),
    )  # fmt: skip


def _findings(path: str, taken: archive.Taken, severity: Severity) -> Iterator[Finding]:
    if taken.trouble is not None:
        yield Finding(
            code="cache.unusable", severity=severity, subject=path,
            message=f"nothing was imported: {taken.trouble.message}", hint=taken.trouble.hint or None,
        )  # fmt: skip
        return
    if taken.fault or taken.skipped.get("no-header"):
        fault, _, way = taken.fault.partition(": expand it first, ")
        yield Finding(
            code="cache.archive", severity=severity, subject=path,
            message=fault or "parts of the archive are damaged",
            hint=f"expand it first: {way}" if way
            else "what proves itself was imported; the rest is only missing, and is fetched or made again",
        )  # fmt: skip
    for reason, number in sorted(taken.skipped.items()):
        if reason in _FAILURES:
            yield Finding(
                code="cache.archive" if reason == "refuted" else "cache.unusable", severity=severity, subject=path,
                message=f"{count(number, 'member')} not imported, {reason}: {_MEANINGS[reason]}",
            )  # fmt: skip
    for key in taken.diverged:
        yield Finding(
            code="cache.diverged", severity=severity, subject=key,
            message="the archive has other content under this key than the store, which stays",
            hint="what made it does not make the same twice, or one of the two was tampered with",
        )  # fmt: skip


@contextlib.contextmanager
def _stream(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        # Python has no stream at all for `<&-`.
        if sys.stdin is None:
            raise ArchiveUnreadable("there is no standard input", path=path)
        yield sys.stdin.buffer
        return
    try:
        stream = open_regular(path)
    except OSError as error:
        hint = "read a pipe as standard input, with `-`" if os.path.exists(path) and not os.path.isfile(path) else None
        raise ArchiveUnreadable(f"cannot read {path}: {error.strerror}", path=path, hint=hint) from error
    with stream:
        yield stream


class _Contents:
    """What the wheels in the store put on disk, computed from their bytes: once each, however often it is asked."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._found: dict[str, str | None] = {}

    def digest(self, key: str, document: bytes) -> str | None:
        """Return the BLAKE3 of the only payload that belongs under ``key``; None where its wheel is not to be had."""
        if key in self._found:
            return self._found[key]
        sha256 = _wheel_of(document)
        if sha256 is None or contents.slot_of(sha256).key != key:
            return None
        wheels = _wheels_in(Path(self._place.root, WHEELS, sha256[:2], sha256))
        # A wheel that comes later in the archive may still be looked at.
        if not wheels or len(self._found) >= _MAX_WHEELS:
            return None
        self._found[key] = _digest(wheels, sha256)
        return self._found[key]


def _digest(wheels: Sequence[Path], sha256: Sha256) -> str | None:
    for path in wheels:
        # Broken, or not a wheel: what it would install nobody can say.
        with contextlib.suppress(EnvidError, OSError):
            return blake3_hex(contents.encode(read_contents(path, filename=path.name, sha256=sha256)))
    return None


def _wheel_of(document: bytes) -> Sha256 | None:
    """Return the wheel that a slot of contents is about, or None."""
    if len(document) > _MAX_DOCUMENT:
        return None
    try:
        value = parse_canonical(document)
    except NotCanonical:
        return None
    components = value.get("components") if isinstance(value, Mapping) else None
    wheel = components.get("wheel") if isinstance(components, Mapping) else None
    is_digest = isinstance(wheel, str) and len(wheel) == 64 and set(wheel) <= set("0123456789abcdef")
    return Sha256(str(wheel)) if is_digest else None


def _wheels_in(directory: Path) -> list[Path]:
    try:
        return sorted(directory / name for name in os.listdir(directory) if name.endswith(".whl"))
    except OSError:
        return []


# --- words --------------------------------------------------------------------------------


def _listed(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{number} {layer}' for layer, number in sorted(counts.items()))})" if counts else ""


def _reasons(skipped: Mapping[str, int], what: str) -> list[str]:
    return [f"  {number} {what}, {reason}: {_MEANINGS[reason]}" for reason, number in sorted(skipped.items())]
