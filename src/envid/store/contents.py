"""What is known of wheels' contents, one self-verifying file for each wheel.

A file is UTF-8 text (docs/contents.md, "The store of contents"): a header of ``KEY VALUE`` lines,
then columns, last the BLAKE3 of all before. Columns, because building one object for each of 40,000
files costs more than reading and checking the bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, cast, get_args

from envid import atomic
from envid.errors import StoreError, WriteFailed
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, EntryPoint, Scheme, WheelContents
from envid.values.digest import derive_hex

DIRECTORY: Final = "contents-v1"
CONTEXT: Final = "envid-contents-file/1"
"""BLAKE3 ``derive_key`` context of the trailer."""
MAX_FILE: Final = 128 * 1024 * 1024
"""Bytes; a wheel of 200,000 files takes about 50 MiB."""

_MAGIC: Final = "envid-contents 1"
_TRAILER: Final = 64 + 1
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


def save(cache: Path, contents: WheelContents) -> None:
    """Keep ``contents`` below ``cache`` (envid's cache directory); raise StoreError, WriteFailed."""
    path = _path(cache, contents.sha256)
    try:
        atomic.make_directory(path.parent)
        _check_directories(cache, path.parent)
        atomic.write(path, encode(contents), durable=False)
    except WriteFailed as error:
        raise WriteFailed(error.message, hint="free some space, or set ENVID_CACHE_DIR", path=str(path)) from error


def load(cache: Path, sha256: Sha256) -> WheelContents | None:
    """Return what is known of the wheel, or ``None``; a damaged file is set aside. Raises StoreError."""
    rows = load_rows(cache, sha256)
    return None if rows is None else as_contents(rows)


def load_rows(cache: Path, sha256: Sha256) -> ContentRows | None:
    """Return the same as ``load`` as columns, at a fraction of the time."""
    path = os.fspath(cache / DIRECTORY) + f"/{sha256[:2]}/{sha256}"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    with open(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        _check_owner(status, path)
        data = stream.read(MAX_FILE + 1)
    _check_directories(cache, Path(path).parent)
    try:
        return decode(data, sha256)
    except ValueError:
        _set_aside(Path(path))
        return None


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
    """Return the file for ``contents``, whose entries are sorted by (scheme, path)."""
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
    body = "\n".join(lines).encode()
    return body + derive_hex(CONTEXT, body).encode() + b"\n"


def decode(data: bytes, sha256: Sha256) -> ContentRows:
    """Return the rows in ``data``, which must be those of the wheel ``sha256``; raise ValueError."""
    if len(data) > MAX_FILE or len(data) < _TRAILER:
        raise ValueError("not of the size of a contents file")
    body = data[:-_TRAILER]
    if data[-_TRAILER:] != derive_hex(CONTEXT, body).encode() + b"\n":
        raise ValueError("damaged")
    # Whoever can write a right trailer is trusted with what is inside, but not to be of this version.
    lines = body.decode("utf-8").split("\n")
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


# --- whom to believe ----------------------------------------------------------------------


def _path(cache: Path, sha256: Sha256) -> Path:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise StoreError(f"{sha256[:80]!r} is not a sha256")
    return cache / DIRECTORY / sha256[:2] / sha256


def _check_directories(cache: Path, leaf: Path) -> None:
    for directory in (cache, cache / DIRECTORY, leaf):
        try:
            status = os.stat(directory)
        except OSError:
            continue
        _check_owner(status, str(directory))


def _check_owner(status: os.stat_result, path: str) -> None:
    # `verify` takes these files for the truth: whoever can write them can make it say ok.
    if not hasattr(os, "getuid"):
        return
    if status.st_uid not in (os.getuid(), 0):
        raise StoreError(
            f"{path} belongs to another user (uid {status.st_uid})", path=path,
            hint="set ENVID_CACHE_DIR to a directory of your own",
        )  # fmt: skip
    if status.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        raise StoreError(
            f"{path} can be written by every user", path=path,
            hint=f"run `chmod o-w {path}`, or set ENVID_CACHE_DIR to a directory of your own",
        )  # fmt: skip


def _set_aside(path: Path) -> None:
    try:
        atomic.rename(path, path.with_name(path.name + ".damaged"))
    except WriteFailed:
        return  # a read-only cache: the file is as unusable as before, and passed over each time
