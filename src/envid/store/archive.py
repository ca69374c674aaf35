"""An archive of the store: what goes into one, and what of one that comes from anywhere is taken.

A member is named as the file below the cache directory, and is that file. Whatever an archive holds, nothing is
unpacked by its name: a name that is not that of a file of the store, and bytes that do not prove themselves, are
passed over, and counted (docs/cache.md, "Export and import").
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO, Final

from envid.atomic import remove_file
from envid.errors import WriteFailed
from envid.identity import PREFIX
from envid.store import ustar
from envid.store.cache import Bypass, Miss, open_file, set_aside, write_parts
from envid.store.entry import Damage
from envid.store.inventory import WHEELS, take
from envid.store.place import BLOBS, ENTRIES, Place, Trouble, prepare
from envid.store.proving import BLOB, EntryProof, wheel_parts
from envid.values.frozen import dataclass
from envid.values.progress import SILENT, Progress
from envid.whole import open_regular, shut

WHEEL: Final = "wheels"
"""What counts call wheels and source archives; entries are called by their layer, and blobs ``blob``."""
CUT: Final = 77
"""Bytes after which a file name is cut that is too long for a member: as many as its prefix can hold."""
MAX_TOLD: Final = 100
"""Divergent keys that are named; the rest is counted."""

_DIGEST: Final = r"(?P<two>[0-9a-f]{2})/(?P<digest>(?P=two)[0-9a-f]{62})"
_FILE: Final = r"[0-9A-Za-z](?:[0-9A-Za-z._+!-]*[0-9A-Za-z])?"
_NAME: Final = re.compile(
    rf"(?:(?P<entries>{ENTRIES}/(?P<layer>[a-z0-9](?:[a-z0-9_-]{{0,30}}[a-z0-9])?))|{BLOBS}|(?P<wheels>{WHEELS}))"
    rf"/{_DIGEST}(?(wheels)/(?P<file>[^/]+)(?:/(?P<rest>[^/]+))?)"
)
_PIECE: Final = 256 * 1024

Prover = Callable[[str, bytes], str | None]
"""From the key and the document of an entry to the BLAKE3 of the only payload that can belong there, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of the store that an archive may hold."""

    layer: str
    """``wheels``, ``blob``, or the layer of an entry."""
    digest: str
    """64 hexadecimal digits: the sha256 of a wheel, the digest in the key of an entry or a blob."""
    file: str = ""
    """The file name of a wheel."""

    @property
    def key(self) -> str:
        """The key that the entry must hold; a wheel has none."""
        return f"{PREFIX}-{self.layer}-{self.digest}"

    @property
    def relative(self) -> str:
        """Its path below the cache directory."""
        area = {WHEEL: WHEELS, BLOB: BLOBS}.get(self.layer) or f"{ENTRIES}/{self.layer}"
        return f"{area}/{self.digest[:2]}/{self.digest}" + (f"/{self.file}" if self.file else "")

    @property
    def name(self) -> str:
        """What its member is called: the same, but for a long file name, which is cut in two by one slash more."""
        if len(self.file) <= ustar.MAX_NAME:
            return self.relative
        at = len(self.relative) - len(self.file) + CUT
        return f"{self.relative[:at]}/{self.relative[at:]}"

    def path(self, place: Place) -> str:
        """Return where it is or would be."""
        return f"{place.root}/{self.relative}"


def item_of(name: str) -> Item | None:
    """Return the file that a member of this name would be, or None."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if not found["wheels"]:
        # `wheels` and `blob` mean something else here than a layer.
        layer = found["layer"] if found["entries"] else BLOB
        special = found["entries"] and layer in (WHEEL, BLOB)
        return None if special else Item(layer=layer, digest=found["digest"])
    file = found["file"] + (found["rest"] or "")
    item = Item(layer=WHEEL, digest=found["digest"], file=file)
    # One file, one name: cut where it must be, and only then.
    fits = len(file) <= CUT + ustar.MAX_NAME and re.fullmatch(_FILE, file)
    return item if fits and item.name == name else None


def is_ours(path: str) -> bool:
    """Tell whether the file ``path`` begins as an archive of a store does; raise OSError.

    An archive of nothing is one record of zeros.
    """
    with open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size == ustar.RECORD and stream.read() == bytes(ustar.RECORD):
            return True
        stream.seek(0)
        try:
            member = ustar.Reader(stream).next()
        except (ustar.CutShort, ustar.NoArchive):
            return False
    return member is not None and member.kind == "file" and item_of(member.name) is not None


# --- writing ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an archive got."""

    files: Mapping[str, int]
    """By layer."""
    skipped: Mapping[str, int]
    """Files of the store that were left out, by reason (``values.reason``)."""
    size: int
    """Bytes of the archive."""


def everything(place: Place) -> Iterator[Item]:
    """Go through all files of the store that an archive may hold, in the order in which one has them.

    What others name comes before them, so that who reads in order, or not to the end, has no entry without its blobs.
    """
    for thing in take(place, (WHEELS, BLOBS, ENTRIES)):
        item = _item_at(thing.path)
        if item is not None:
            yield item


def _item_at(path: str) -> Item | None:
    """Return the file of the store at ``path`` below the cache directory, or None for what stands there besides."""
    item = item_of(path)
    if item is None and path.startswith(f"{WHEELS}/") and path.count("/") == 3:
        digest, file = path.split("/")[2:]
        # Too long a name is told by `write`, any other one that archives do not have is none of ours.
        item = Item(layer=WHEEL, digest=digest, file=file)
        if len(file) <= ustar.MAX_NAME or not re.fullmatch(f"{WHEELS}/{_DIGEST}/{_FILE}", path):
            return None
    return item


def write(place: Place, items: Iterable[Item], stream: IO[bytes], *, progress: Progress = SILENT) -> Written:
    """Write an archive of ``items`` to a new seekable file, each only if it proves itself now.

    Equal files give equal bytes. A damaged entry is set aside, as it is when it is read. Raises OSError of ``stream``.
    """
    files: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    progress.begin("Exporting", None, "files")
    try:
        for item in items:
            start = stream.tell()
            try:
                _append(place, item, stream)
                files[item.layer] += 1
            except Damage as damage:
                skipped[damage.reason] += 1
                stream.seek(start)
                stream.truncate()
            progress.advance(1)
        stream.write(ustar.ending(stream.tell()))
    finally:
        progress.end()
    return Written(files=files, skipped=skipped, size=stream.tell())


def _append(place: Place, item: Item, stream: IO[bytes]) -> None:
    path = item.path(place)
    opened = open_file(path, place, renew=False)
    if isinstance(opened, Miss):
        raise Damage(opened.reason)
    handle, found = opened
    try:
        try:
            stream.write(ustar.header(item.name, found.st_size))
        except ValueError:
            raise Damage("oversized" if found.st_size > ustar.MAX_SIZE else "name") from None
        left = found.st_size
        for part in _proven(item, _pieces(handle), found.st_size):
            stream.write(part)
            left -= len(part)
        # Another length than the header has would be taken for a part of the next member.
        if left:
            raise Damage("unreadable")
        stream.write(ustar.padding(found.st_size))
    except Damage as damage:
        if item.layer != WHEEL:
            set_aside(place, path, damage.reason)
        raise
    finally:
        shut(handle)


def _proven(item: Item, pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    if item.layer == WHEEL:
        return wheel_parts(pieces, item.digest)
    return EntryProof(pieces, size, item.key).parts()


def _pieces(handle: int) -> Iterator[bytes]:
    """Go through an open file of the store; raise Damage."""
    try:
        while piece := os.read(handle, _PIECE):
            yield piece
    except OSError:
        raise Damage("unreadable") from None


# --- reading ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of the members of an archive."""

    new: Mapping[str, int]
    """Files that the store did not have, by layer."""
    kept: Mapping[str, int]
    """Files that it had, with the same content, by layer."""
    skipped: Mapping[str, int]
    """Members that were passed over, by reason (``values.reason``)."""
    diverged: tuple[str, ...]
    """Keys under which the store has other content than the archive; the first ``MAX_TOLD``."""
    size: int
    """Bytes of the files that are new."""
    fault: str
    """Why the archive was not read to its end, or empty."""
    trouble: Trouble | None = None
    """Why the store takes nothing; then nothing was read."""


def read(
    place: Place, stream: BinaryIO, *, provers: Mapping[str, Prover], trust: bool = False, progress: Progress = SILENT
) -> Taken:
    """Take what proves itself of the archive ``stream``; what the store has stays as it is. Never raises.

    A blob and a wheel are the bytes that their names say. What belongs under the key of an entry cannot be told from
    the entry: it is taken when the prover of its layer says the same. A layer without one is taken on ``trust`` in
    whoever wrote the archive, or not at all.
    """
    reading = _Reading(place, ustar.Reader(stream), provers, trust)
    trouble = prepare(place)
    fault = "" if trouble else reading.all(progress)
    return Taken(
        new=reading.new, kept=reading.kept, skipped=reading.skipped, diverged=tuple(reading.diverged),
        size=reading.size, fault=fault, trouble=trouble,
    )  # fmt: skip


class _Passed(Exception):
    """A member is passed over; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Reading:
    """One reading of one archive."""

    def __init__(self, place: Place, reader: ustar.Reader, provers: Mapping[str, Prover], trust: bool) -> None:
        self.place = place
        self.reader = reader
        self.provers = provers
        self.trust = trust
        self.new: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.diverged: list[str] = []
        self.size = 0

    def all(self, progress: Progress) -> str:
        """Take every member; return why not, or an empty text."""
        progress.begin("Importing", self.reader.length, "bytes")
        fault = ""
        try:
            while (member := self.reader.next()) is not None:
                self.member(member)
                progress.advance(ustar.BLOCK + member.size)
        except (ustar.CutShort, ustar.NoArchive) as error:
            fault = str(error)
        finally:
            progress.end()
        if self.reader.flaws:
            self.skipped["no-header"] += self.reader.flaws
        return fault

    def member(self, member: ustar.Member) -> None:
        """Take one member, or count why not; raise CutShort."""
        item = item_of(member.name) if member.kind == "file" else None
        try:
            if item is None:
                raise _Passed({"file": "name", "other": "kind"}.get(member.kind, member.kind))
            if not self.reader.whole:
                raise ustar.CutShort("the archive ends within a member")
            if self.take(item, member.size):
                self.new[item.layer] += 1
                self.size += member.size
            else:
                self.kept[item.layer] += 1
        except (_Passed, Damage) as passed:
            self.skipped[passed.reason] += 1

    def take(self, item: Item, size: int) -> bool:
        """Return whether the member is new in the store; raise _Passed, Damage, CutShort."""
        path = item.path(self.place)
        parts, digest = self.open(item, size)
        there = _size(path)
        if there is None:
            return self.publish(item, path, parts, size)
        if there == size and item.layer in (WHEEL, BLOB):
            # What its name says, it holds: then the member does, too, or is a lie.
            if _there(self.place, item, path) is not None:
                return False
            return self.publish(item, path, parts, size)
        # The member first, so that a small lie does not have a large file read, again and again.
        for _ in parts:
            continue
        kept = _there(self.place, item, path)
        if kept is None:
            if not self.reader.again():
                raise _Passed("unwritable")
            return self.publish(item, path, self.open(item, size)[0], size)
        if kept == digest:
            return False
        if len(self.diverged) < MAX_TOLD:
            self.diverged.append(item.key)
        raise _Passed("diverged")

    def open(self, item: Item, size: int) -> tuple[Iterator[bytes], str]:
        """Return the bytes of a member that may be taken, and the digest of what it says to hold; raise as ``take``."""
        if item.layer == WHEEL:
            return wheel_parts(self.reader.chunks(), item.digest), item.digest
        prover = self.provers.get(item.layer)
        if prover is None and not self.trust and item.layer != BLOB:
            raise _Passed("unproven")
        proof = EntryProof(self.reader.chunks(), size, item.key)
        if prover is not None:
            # On trust, too: what `verify` believes is never taken on anybody's word.
            promised = prover(item.key, proof.document)
            if promised != proof.header.digest:
                raise _Passed("unproven" if promised is None else "refuted")
        return proof.parts(), proof.header.digest

    def publish(self, item: Item, path: str, parts: Iterator[bytes], size: int) -> bool:
        """Write ``parts`` at ``path``; a file that another process put there meanwhile stays."""
        written = write_parts(self.place, path, parts, size)
        if isinstance(written, Bypass):
            raise _Passed(written.reason)
        if not written and _there(self.place, item, path) is None:
            raise _Passed("unwritable")
        return written


def _size(path: str) -> int | None:
    """Return the size of whatever is at ``path``; None where nothing is."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return None


def _there(place: Place, item: Item, path: str) -> str | None:
    """Return the BLAKE3 of the payload that the store has in the place of ``item`` (its sha256 for a wheel), or None.

    A damaged file is put out of the way. Raises _Passed for something that is to stay, and cannot be used.
    """
    opened = open_file(path, place)
    if isinstance(opened, Miss):
        if opened.reason == "absent":
            return None
        raise _Passed(opened.reason)
    handle, found = opened
    try:
        if item.layer == WHEEL:
            for _ in wheel_parts(_pieces(handle), item.digest):
                continue
            return item.digest
        proof = EntryProof(_pieces(handle), found.st_size, item.key)
        for _ in proof.parts():
            continue
        return proof.header.digest
    except Damage as damage:
        _clear(place, item, path, damage.reason)
        return None
    finally:
        shut(handle)


def _clear(place: Place, item: Item, path: str, reason: str) -> None:
    if item.layer != WHEEL:
        if not set_aside(place, path, reason):
            raise _Passed(reason)
        return
    try:
        remove_file(Path(path))
    except WriteFailed:
        raise _Passed("unwritable") from None
