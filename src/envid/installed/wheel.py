"""A wheel's files and where they are installed, from the bytes of the archive alone."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast, get_args
from unicodedata import normalize

from blake3 import blake3

from envid.errors import DigestMismatch, InvalidRecord, InvalidWheel, TooLarge, UnsafePath
from envid.installed.archive import CHUNK, Archive, Member, check_no_file_is_directory
from envid.installed.entry_points import parse_entry_points
from envid.installed.record import (
    digest_places,
    is_bytecode,
    is_installers,
    normalized,
    parse_record,
    place_in_prefix,
    shadowed,
)
from envid.installed.strays import INTERPRETER
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, EntryPoint, Scheme, WheelContents
from envid.whole import open_regular

MAX_WHEEL: Final = 8 * 1024**3
IN_MEMORY: Final = 256 * 1024 * 1024
"""Bytes; a wheel up to this size is read once, hashed and taken apart from memory."""
LIMITS: Final = {
    "METADATA": 32 * 1024 * 1024, "WHEEL": 1024 * 1024, "RECORD": 64 * 1024 * 1024, "entry_points.txt": 1024 * 1024,
}  # fmt: skip
"""Bytes, of the files that are read whole."""
MAX_NOTES: Final = 10
"""Of each kind; one more says how many were left out."""
_SCRIPT_HEAD: Final = 4096
"""Bytes in which the first line of a ``#!python`` script must end."""
_METADATA_HEAD: Final = 64 * 1024
"""Bytes in which METADATA must tell name and version."""
_FILENAME: Final = re.compile(r"([^-\s/]+)-([^-\s/]+)(?:-\d[^-\s/]*)?-[^-\s/]+-[^-\s/]+-[^-\s/]+\.whl")


def read_contents(path: Path | BinaryIO, *, filename: str, sha256: Sha256 | None) -> WheelContents:
    """Return what the wheel installs; ``filename`` is its published name, ``sha256`` what the lock promises.

    Every digest is taken from the bytes; the wheel's RECORD is not believed. Raises DigestMismatch
    when the file does not have ``sha256``, UnsafePath, InvalidWheel, TooLarge.
    """
    if isinstance(path, Path):
        try:
            with open_regular(path) as stream:
                return _read(stream, filename, sha256)
        except OSError as error:
            raise InvalidWheel(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    return _read(path, filename, sha256)


def _read(stream: BinaryIO, filename: str, sha256: Sha256 | None) -> WheelContents:
    stream, actual = _hash(stream, filename)
    if sha256 is not None and actual != sha256:
        raise DigestMismatch(f"{filename} has sha256 {actual}, not {sha256}", wheel=filename)
    return _Reader(stream, filename, Sha256(actual)).read()


def _hash(stream: BinaryIO, filename: str) -> tuple[BinaryIO, str]:
    """Return a stream of the same bytes and their sha256; up to ``IN_MEMORY`` one that nobody else can change."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size > MAX_WHEEL:
        raise TooLarge(f"{filename} is larger than {MAX_WHEEL} bytes", wheel=filename)
    if size <= IN_MEMORY:
        data = stream.read(IN_MEMORY + 1)
        return io.BytesIO(data), hashlib.sha256(data).hexdigest()
    hasher = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        hasher.update(chunk)
    return stream, hasher.hexdigest()


class _Reader:
    """One reading of one wheel."""

    def __init__(self, stream: BinaryIO, filename: str, sha256: Sha256) -> None:
        self.filename = filename
        self.sha256 = sha256
        self.archive = Archive(stream, label=filename)
        self.kept: dict[str, bytes] = {}
        self.notes: dict[str, list[str]] = {}

    def read(self) -> WheelContents:
        name, version = self.named()
        self.dist_info = self.find_dist_info(name, version)
        files = [member for member in self.archive.members if not member.is_directory]
        self.read_dist_info(files)
        self.check_metadata(name, version)
        self.root = self.root_scheme()
        entry_points = self.entry_points()
        for point in entry_points:
            self.spare_the_interpreter("scripts", point.script)
        entries = self.entries(files, {entry.script for entry in entry_points})
        places = self.places(entries, name)
        self.compare_record(entries)
        return WheelContents(
            sha256=self.sha256,
            name=NormalizedName(name),
            version=version,
            dist_info=self.dist_info,
            entries=tuple(sorted(entries.values(), key=lambda entry: (entry.scheme, entry.path))),
            entry_points=entry_points,
            digest=digest_places(places),
            notes=self.all_notes(),
        )

    # --- which wheel ----------------------------------------------------------------------

    def named(self) -> tuple[str, str]:
        """Return the normalised name and version that the file name gives."""
        found = _FILENAME.fullmatch(self.filename)
        if found is None:
            raise self.bad("does not have the file name of a wheel")
        return normalized(found[1]), _version(found[2])

    def find_dist_info(self, name: str, version: str) -> str:
        tops = {member.path.partition("/")[0] for member in self.archive.members if "/" in member.path}
        infos = sorted(top for top in tops if top.lower().endswith(".dist-info"))
        if len(infos) != 1 or not infos[0].endswith(".dist-info"):
            raise self.bad(f"has {len(infos)} .dist-info directories: {', '.join(infos[:4]) or 'none'}")
        stem = infos[0].removesuffix(".dist-info")
        inner_name, dash, inner_version = stem.rpartition("-")
        if not dash or normalized(inner_name) != name or _version(inner_version) != version:
            raise self.bad(f"holds {infos[0]}, which its file name does not promise")
        for top in tops:
            if top.endswith(".data") and top != f"{stem}.data":
                raise self.bad(f"holds {top}, which some installers take for data and others do not")
        return infos[0]

    def read_dist_info(self, files: list[Member]) -> None:
        by_path = {member.path: member for member in files}
        for base, limit in LIMITS.items():
            member = by_path.get(f"{self.dist_info}/{base}")
            if member is None:
                if base == "entry_points.txt":
                    continue
                raise self.bad(f"has no {self.dist_info}/{base}")
            if member.size > limit:
                raise TooLarge(f"{self.filename}: {member.path} is larger than {limit} bytes", wheel=self.filename)
            self.kept[base] = b"".join(self.archive.chunks(member))

    def check_metadata(self, name: str, version: str) -> None:
        fields = _headers(self.kept["METADATA"][:_METADATA_HEAD])
        if normalized(fields.get("name", "")) != name or _version(fields.get("version", "")) != version:
            raise self.bad("has a METADATA of another name or version than its file name")

    def root_scheme(self) -> Literal["purelib", "platlib"]:
        fields = _headers(self.kept["WHEEL"])
        if not fields.get("wheel-version", "").startswith("1."):
            raise self.bad("is of a Wheel-Version that installers do not know")
        pure = fields.get("root-is-purelib", "").lower()
        if pure not in ("true", "false"):
            raise self.bad("does not say whether its root is pure (Root-Is-Purelib)")
        return "purelib" if pure == "true" else "platlib"

    def entry_points(self) -> tuple[EntryPoint, ...]:
        data = self.kept.get("entry_points.txt")
        return () if data is None else parse_entry_points(data, label=self.filename)

    # --- files ----------------------------------------------------------------------------

    def entries(self, files: list[Member], launchers: set[str]) -> dict[str, ContentEntry]:
        """Return the entries by their path in the archive."""
        result: dict[str, ContentEntry] = {}
        for member in files:
            scheme, path = self.where(member.path)
            self.spare_the_interpreter(scheme, path)
            if scheme in ("purelib", "platlib"):
                if is_installers(path) and not is_bytecode(path):
                    continue
                top = path.partition("/")[0]
                if top.lower().endswith(".dist-info") and top != self.dist_info:
                    raise self.bad(f"would install a second distribution, {top}")
            if scheme == "scripts" and shadowed(path) in launchers:
                continue  # the generated launcher takes its place, in pip and in uv
            result[member.path] = self.entry(member, scheme, path)
        return result

    def spare_the_interpreter(self, scheme: Scheme, path: str) -> None:
        """Raise UnsafePath for a file that would take the place of the environment's interpreter or pyvenv.cfg."""
        directory, _, name = path.casefold().rpartition("/")
        scripts = (scheme == "scripts" and not directory) or (scheme == "data" and directory in ("bin", "scripts"))
        is_config = scheme == "data" and path.casefold() == "pyvenv.cfg"
        if is_config or (scripts and INTERPRETER.fullmatch(name)):
            raise UnsafePath(
                f"{self.filename} would replace the environment's own {path}", wheel=self.filename,
                hint="do not install this wheel; report it to the index that serves it",
            )  # fmt: skip

    def where(self, path: str) -> tuple[Scheme, str]:
        """Return the scheme and the place in it of a path in the archive."""
        data = self.dist_info.removesuffix(".dist-info") + ".data/"
        if not path.startswith(data):
            return self.root, path
        scheme, slash, rest = path[len(data) :].partition("/")
        if scheme not in get_args(Scheme) or not slash or not rest:
            raise self.bad(f"holds {path!r}, of no installation scheme")
        return cast(Scheme, scheme), rest

    def entry(self, member: Member, scheme: Scheme, path: str) -> ContentEntry:
        sha256, whole, tail = hashlib.sha256(), blake3(), None
        head = b""
        for chunk in self.archive.chunks(member):
            sha256.update(chunk)
            whole.update(chunk)
            if tail is not None:
                tail.update(chunk)
            elif scheme == "scripts" and len(head) < _SCRIPT_HEAD:
                head += chunk
                if head.startswith(b"#!python") and (b"\n" in head or len(head) == member.size):
                    tail = blake3(head.partition(b"\n")[2])
        if tail is None and head.startswith(b"#!python"):
            raise self.bad(f"holds a script without a second line, {member.path!r}")
        return ContentEntry(
            scheme=scheme,
            path=path,
            sha256=Sha256(sha256.hexdigest()),
            blake3=whole.hexdigest(),
            size=member.size,
            executable=bool(member.mode & 0o111),
            python_script=tail is not None,
            tail_blake3=tail.hexdigest() if tail is not None else "",
        )

    def places(self, entries: Mapping[str, ContentEntry], name: str) -> list[tuple[str, str]]:
        """Return the canonical places and forms, and raise UnsafePath where two files meet in one place."""
        forms: dict[str, str] = {}
        spelled: dict[str, str] = {}
        folded: dict[str, str] = {}
        for source, entry in entries.items():
            place = canonical_place(entry, name=name)
            form = f"script:{entry.tail_blake3}" if entry.python_script else f"sha256:{entry.sha256}"
            same = place if place.isascii() else normalize("NFC", place)
            before = spelled.setdefault(same, place)
            if before != place or forms.get(place, form) != form:
                raise UnsafePath(f"{self.filename}: two files become one, {place!r}", wheel=self.filename)
            if place in forms:
                self.note("twice", source)
            forms[place] = form
            if folded.setdefault(same.casefold(), place) != place:
                self.note("case", place)
        check_no_file_is_directory(set(forms), label=self.filename)
        return [(place, form) for place, form in forms.items() if not is_bytecode(place)]

    # --- what the RECORD says -------------------------------------------------------------

    def compare_record(self, entries: Mapping[str, ContentEntry]) -> None:
        """Note where RECORD is wrong: some published wheels are, and installers let it pass."""
        try:
            rows = {row.path: row for row in parse_record(self.kept["RECORD"])}
        except (InvalidRecord, UnsafePath) as error:
            self.note("record", error.message)
            return
        for source, entry in entries.items():
            row = rows.get(source)
            if row is None:
                self.note("record-missing", source)
            elif row.sha256 != entry.sha256:
                self.note("record-hash", source)
        for extra in rows.keys() - {member.path for member in self.archive.members}:
            self.note("record-extra", extra)

    def note(self, kind: str, text: str) -> None:
        self.notes.setdefault(kind, []).append(text)

    def all_notes(self) -> tuple[str, ...]:
        lines: list[str] = []
        for kind, texts in self.notes.items():
            texts.sort()
            lines += (f"{kind}: {text}" for text in texts[:MAX_NOTES])
            if len(texts) > MAX_NOTES:
                lines.append(f"{kind}: and {len(texts) - MAX_NOTES} more")
        return tuple(sorted(lines))

    def bad(self, problem: str) -> InvalidWheel:
        return InvalidWheel(f"{self.filename} {problem}", wheel=self.filename)


def canonical_place(entry: ContentEntry, *, name: str) -> str:
    """Return the place of ``entry`` in the content digest; ``name`` in the normal form of PEP 503."""
    if entry.scheme in ("purelib", "platlib"):
        return "lib/" + entry.path
    if entry.scheme == "scripts":
        return "bin/" + entry.path
    if entry.scheme == "headers":
        return "include/" + entry.path
    return place_in_prefix(entry.path, name=name)


def _version(text: str) -> str:
    """Return ``text`` in PEP 440 normal form; a version that is none, as wheels before PEP 440 have, as it is."""
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(text.replace("_", "-")))
    except InvalidVersion:
        return text.replace("_", "-").lower()


def _headers(data: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    return fields
