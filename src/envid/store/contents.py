"""What is known of wheels' contents: one entry of the store for each wheel, in a slot of its own.

The payload is UTF-8 text (docs/contents.md, "The store of contents"): a header of ``KEY VALUE`` lines, then
columns. Columns, because building one object for each of 40,000 files costs more than reading and
checking the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, cast, get_args

from envid.errors import StoreError
from envid.identity import PREFIX
from envid.slot import NARROW, Slot
from envid.store.cache import Bypass, Diverged, Miss, Stored, get, keep, set_aside
from envid.store.place import Place, open_place
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, EntryPoint, Scheme, WheelContents
from envid.values.digest import derive_hex

LAYER: Final = "contents"
EPOCH: Final = 1
"""Part of the slot: another one when the same wheel gives other contents than an earlier envid found."""
MAX_FILE: Final = 128 * 1024 * 1024
"""Bytes; a wheel of 200,000 files takes about 50 MiB."""

Cache = Path | Place
"""A cache directory with the policy of nobody in particular, or a store that a command has open."""

_CONTEXT: Final = f"{NARROW} {LAYER}"
_MAGIC: Final = "envid-contents 1"
_SCHEMES: Final[tuple[str, ...]] = get_args(Scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRows:
    """The contents of one wheel as parallel columns, sorted by (scheme, path); quick to read."""

    sha256: Sha256
    name: NormalizedName
    version: str
    dist_info: str
    digest: str
    schemes: tuple[tuple[Scheme, int, int], ...]
    """``(scheme, start, end)``: rows ``start:end`` are of that scheme."""
    paths: tuple[str, ...]
    """POSIX, relative to the directory of the scheme."""
    blake3: tuple[str, ...]
    """64 hexadecimal digits each."""
    sizes: tuple[int, ...]
    """Bytes."""
    executable: frozenset[int]
    """Rows with an executable bit in the wheel."""
    tails: dict[int, str]
    """Row of each ``#!python`` script, with the BLAKE3 of all after its first line."""
    entry_points: tuple[EntryPoint, ...]
    notes: tuple[str, ...]
    sha256s: str
    """The sha256 of every row, 64 hexadecimal digits each, one after the other."""


def slot_of(sha256: Sha256) -> Slot:
    """Return the slot of the wheel's contents, which depend on its bytes and on nothing else; raise StoreError."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise StoreError(f"{sha256[:80]!r} is not a sha256")
    # What `slot.narrow` gives for wheel and epoch, written out: a `verify` asks for hundreds.
    document = f'{{"components":{{"epoch":{EPOCH},"wheel":"{sha256}"}},"layer":"{LAYER}","schema":"{NARROW}"}}'.encode()
    return Slot(layer=LAYER, key=f"{PREFIX}-{LAYER}-{derive_hex(_CONTEXT, document)}", document=document)


def save(cache: Cache, contents: WheelContents) -> Stored | Diverged | Bypass:
    """Keep ``contents`` where that is possible; raise StoreError for a store that others can write."""
    place = _sound(cache)
    # As it is: it is read by every `verify`, and hexadecimal digits shrink to half at best.
    return keep(place, slot_of(contents.sha256), encode(contents), squeeze=False)


def load(cache: Cache, sha256: Sha256) -> WheelContents | None:
    """Return what is known of the wheel, or ``None``; a damaged entry is set aside. Raises StoreError."""
    rows = load_rows(cache, sha256)
    return None if rows is None else as_contents(rows)


def load_rows(cache: Cache, sha256: Sha256) -> ContentRows | None:
    """Return the same as ``load`` as columns, at a fraction of the time."""
    place = _sound(cache)
    slot = slot_of(sha256)
    data = get(place, slot, limit=MAX_FILE)
    if isinstance(data, Miss):
        return None
    try:
        return decode(data, sha256)
    except ValueError:
        # Sound, and not of this form: left where it is, it would be in the way of one that is.
        set_aside(place, place.entry_path(slot), "damaged")
        return None


def rows_of(contents: WheelContents) -> ContentRows:
    """Return the columns of ``contents``, for who has no store to load them from; raise StoreError."""
    return decode(encode(contents), contents.sha256)


def _sound(cache: Cache) -> Place:
    # `verify` takes these entries for the truth: whoever can write them can make it say ok.
    place = open_place(cache) if isinstance(cache, Path) else cache
    place.sound()
    return place


def as_contents(rows: ContentRows) -> WheelContents:
    """Return the contents that ``rows`` are the columns of."""
    return WheelContents(
        sha256=rows.sha256, name=rows.name, version=rows.version, dist_info=rows.dist_info,
        entries=tuple(_entries(rows)), entry_points=rows.entry_points, digest=rows.digest, notes=rows.notes,
    )  # fmt: skip


def _entries(rows: ContentRows) -> Iterator[ContentEntry]:
    for scheme, start, end in rows.schemes:
        for row in range(start, end):
            yield ContentEntry(
                scheme=scheme,
                path=rows.paths[row],
                sha256=Sha256(rows.sha256s[64 * row : 64 * row + 64]),
                blake3=rows.blake3[row],
                size=rows.sizes[row],
                executable=row in rows.executable,
                python_script=row in rows.tails,
                tail_blake3=rows.tails.get(row, ""),
            )


# --- the form -----------------------------------------------------------------------------


def encode(contents: WheelContents) -> bytes:
    """Return the text of ``contents``, whose entries are sorted by (scheme, path)."""
    entries = contents.entries
    if any((a.scheme, a.path) >= (b.scheme, b.path) for a, b in pairwise(entries)):
        raise StoreError(f"the contents of {contents.name} {contents.version} are not sorted")
    counts = {scheme: sum(entry.scheme == scheme for entry in entries) for scheme in sorted(_SCHEMES)}
    lines = [
        _MAGIC,
        f"wheel {contents.sha256}",
        f"name {contents.name}",
        f"version {contents.version}",
        f"dist-info {contents.dist_info}",
        f"digest {contents.digest}",
        "schemes " + " ".join(f"{scheme}={count}" for scheme, count in counts.items()),
        "executable " + " ".join(str(row) for row, entry in enumerate(entries) if entry.executable),
        "tails " + " ".join(f"{row}={entry.tail_blake3}" for row, entry in enumerate(entries) if entry.python_script),
        f"entry-points {len(contents.entry_points)}",
        *(f"{'gui' if e.gui else 'console'} {e.module}:{e.attribute} {e.script}" for e in contents.entry_points),
        f"notes {len(contents.notes)}",
        *contents.notes,
        "sizes " + " ".join(str(entry.size) for entry in entries),
        "blake3 " + "".join(entry.blake3 for entry in entries),
        "sha256 " + "".join(entry.sha256 for entry in entries),
        f"paths {len(entries)}",
        *(entry.path for entry in entries),
        "",
    ]
    if sum(line.count("\n") for line in lines):
        raise StoreError(f"the contents of {contents.name} {contents.version} hold a line break")
    return "\n".join(lines).encode()


def decode(data: bytes, sha256: Sha256) -> ContentRows:
    """Return the rows in ``data``, which must be those of the wheel ``sha256``; raise ValueError."""
    # Whoever can write a sound entry is trusted with what is inside, but not to be of this version.
    lines = data.decode("utf-8").split("\n")
    take = iter(lines).__next__
    try:
        if take() != _MAGIC or _value(take(), "wheel") != sha256:
            raise ValueError("the contents of another wheel")
        name, version = _value(take(), "name"), _value(take(), "version")
        dist_info, digest = _value(take(), "dist-info"), _value(take(), "digest")
        schemes = _ranges(_value(take(), "schemes"))
        executable = frozenset(map(int, _value(take(), "executable").split()))
        tails = {int(row): tail for row, _, tail in (t.partition("=") for t in _value(take(), "tails").split())}
        entry_points = tuple(_entry_point(take()) for _ in range(int(_value(take(), "entry-points"))))
        notes = tuple(take() for _ in range(int(_value(take(), "notes"))))
        sizes = tuple(map(int, _value(take(), "sizes").split()))
        blake3s, sha256s = _value(take(), "blake3"), _value(take(), "sha256")
        count = int(_value(take(), "paths"))
    except StopIteration:
        raise ValueError("cut short") from None
    paths = tuple(lines[-count - 1 : -1]) if count else ()
    rows = (len(paths), len(sizes), len(blake3s) / 64, len(sha256s) / 64, schemes[-1][2] if schemes else 0)
    if set(rows) != {count} or lines[-1] or len(lines) != count + 16 + len(entry_points) + len(notes):
        raise ValueError("columns of different length")
    return ContentRows(
        sha256=sha256,
        name=NormalizedName(name),
        version=version,
        dist_info=dist_info,
        digest=digest,
        schemes=schemes,
        paths=paths,
        blake3=tuple([blake3s[at : at + 64] for at in range(0, 64 * count, 64)]),
        sizes=sizes,
        executable=executable,
        tails=tails,
        entry_points=entry_points,
        notes=notes,
        sha256s=sha256s,
    )


def _value(line: str, key: str) -> str:
    found, _, value = line.partition(" ")
    if found != key:
        raise ValueError(f"{found[:40]!r} where {key!r} belongs")
    return value


def _ranges(text: str) -> tuple[tuple[Scheme, int, int], ...]:
    result: list[tuple[Scheme, int, int]] = []
    start = 0
    for item in text.split():
        scheme, _, count = item.partition("=")
        if scheme not in _SCHEMES:
            raise ValueError(f"no scheme {scheme[:40]!r}")
        end = start + int(count)
        if end > start:
            result.append((cast(Scheme, scheme), start, end))
        start = end
    return tuple(result)


def _entry_point(line: str) -> EntryPoint:
    kind, value, script = line.split(" ", 2)
    module, _, attribute = value.partition(":")
    return EntryPoint(script=script, module=module, attribute=attribute, gui=kind == "gui")
