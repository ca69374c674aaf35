"""RECORD: the rows that installers write (PEP 376, PEP 627), and the content digest they imply."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from envid.errors import InvalidRecord, TooLarge
from envid.installed.archive import check_path
from envid.values.digest import derive_hex

INSTALLER_FILES: Final = frozenset(
    {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json", "provenance_url.json",
     "RECORD", "RECORD.jws", "RECORD.p7s"}
)  # fmt: skip
"""Names in a ``.dist-info`` directory that belong to the installer, whoever wrote them."""

CONTEXT: Final = "envid-contents/1"
"""BLAKE3 ``derive_key`` context of the content digest."""

MAX_RECORD: Final = 64 * 1024 * 1024
"""Bytes; a RECORD of 200,000 rows takes about 24 MiB."""

MAX_PARENTS: Final = 8
"""Leading ``..`` of a row; site-packages lies three directories below the environment."""

_PLAIN = re.compile(r'([^,"\\\x00-\x1f\x7f]+),((?:sha256=[A-Za-z0-9_-]{43})?),([0-9]{0,15})(\r?\n)')
_HASH = re.compile(r"[a-z0-9_]{1,20}=[A-Za-z0-9_-]{20,172}={0,2}")
_SHA256 = re.compile(r"sha256=[A-Za-z0-9_-]{43}=?")
_HEX_SHA256 = re.compile(r"sha256=[0-9a-fA-F]{64}")
_BYTECODE = re.compile(r"(?:^|/)__pycache__/[^/]+\.pyc$")
_SITE = re.compile(r"lib(?:64)?/(?:python|pypy)3\.\d{1,3}t?/site-packages/")
_HEADERS = re.compile(r"include/site/(?:python|pypy)3\.\d{1,3}t?/([^/]+)/")
_NOT_INSTALLED = re.compile(r"[^/]+\.data/scripts/([^/]+)")
_PIP_LAUNCHER = re.compile(r"pip\d+(?:\.\d+)?")


class RecordRow(NamedTuple):
    """One row: ``path`` as written (POSIX, relative to site-packages), the digest and the size claimed."""

    path: str
    sha256: str
    """64 hexadecimal digits; empty when the row has no sha256."""
    size: int | None
    """Bytes."""


def parse_record(data: bytes) -> tuple[RecordRow, ...]:
    """Return the rows of an installed RECORD, in its order; raise InvalidRecord, UnsafePath, TooLarge.

    Equal rows are one row. Of two different rows for one path the last is taken for files that
    installers overwrite (``INSTALLER_FILES``, bytecode); for any other file they are an error.
    """
    if len(data) > MAX_RECORD:
        raise TooLarge(f"a RECORD of more than {MAX_RECORD} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"RECORD is not UTF-8: {error.reason} at byte {error.start}") from None
    rows = _plain_rows(text)
    if rows is None:
        rows = list(_careful_rows(text))
    if len({row.path for row in rows}) == len(rows):
        return tuple(rows)
    kept: dict[str, RecordRow] = {}
    for row in rows:
        before = kept.get(row.path)
        if before is not None and before != row and not is_installers(row.path):
            raise InvalidRecord(f"RECORD has two different rows for {row.path!r}")
        kept[row.path] = row
    return tuple(kept.values())


def _plain_rows(text: str) -> list[RecordRow] | None:
    """Return the rows of a RECORD with no quotes and only sha256, a column at a time; else ``None``.

    All real ones are of this form, and an environment has 40,000 rows.
    """
    found = _PLAIN.findall(text)
    # What the pattern did not cover, another form of row or damage, is for the careful reader.
    length = sum([len(path) + len(digest) + len(size) + len(end) + 2 for path, digest, size, end in found])
    if not found or length != len(text):
        return None
    paths, digests, sizes, _ = zip(*found, strict=True)
    for path in paths:
        odd = "/." in path or "//" in path or path[0] in "./" or path[-1] == "/" or path[1:2] == ":"
        if odd or len(path) > 250 or not path.isascii():
            check_path(path, label="RECORD", parents=MAX_PARENTS)
    # 43 digits of base64 and an A are 33 bytes, of which the first 32 are the digest: one decoding for the column.
    column = "".join([digest[7:50] + "A" if digest else "A" * 44 for digest in digests])
    sha256 = urlsafe_b64decode(column).hex()
    hexes = [sha256[66 * row : 66 * row + 64] if digest else "" for row, digest in enumerate(digests)]
    return list(map(RecordRow, paths, hexes, [int(size) if size else None for size in sizes]))


def _careful_rows(text: str) -> Iterator[RecordRow]:
    for number, fields in enumerate(_fields(text), start=1):
        if not fields:
            continue
        if len(fields) != 3:
            raise InvalidRecord(f"RECORD line {number}: {len(fields)} fields instead of 3", line=number)
        path, digest, size = fields
        check_path(path, label=f"RECORD line {number}", parents=MAX_PARENTS)
        yield RecordRow(path, _sha256(digest, number), _size(size, number))


def _fields(text: str) -> Iterator[list[str]]:
    import csv
    import io

    try:
        # Not str.splitlines, which takes more characters for line ends than csv and installers do.
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise InvalidRecord(f"RECORD is not CSV: {error}") from None


def _sha256(digest: str, number: int) -> str:
    if not digest:
        return ""
    if _SHA256.fullmatch(digest):
        return urlsafe_b64decode(digest[7:50] + "=").hex()
    if _HEX_SHA256.fullmatch(digest):  # uv_build once wrote hexadecimal
        return digest[7:].lower()
    if not _HASH.fullmatch(digest) or digest.startswith("sha256="):
        raise InvalidRecord(f"RECORD line {number}: {digest[:80]!r} is not a digest", line=number)
    return ""


def _size(size: str, number: int) -> int | None:
    if not size:
        return None
    if not (size.isascii() and size.isdigit() and len(size) <= 15):
        raise InvalidRecord(f"RECORD line {number}: {size[:40]!r} is not a size", line=number)
    return int(size)


def is_bytecode(path: str) -> bool:
    """Tell whether ``path`` is one where installers and interpreters write bytecode of a source."""
    return path.endswith(".pyc") and _BYTECODE.search(path) is not None


def is_installers(path: str) -> bool:
    """Tell whether ``path``, relative to site-packages, is a file of the installer rather than of the wheel."""
    if is_bytecode(path):
        return True
    directory, _, name = path.rpartition("/")
    return name in INSTALLER_FILES and directory.endswith(".dist-info") and "/" not in directory


def is_launcher(script: str, launchers: Collection[str], *, name: str) -> bool:
    """Tell whether ``script`` is one that an installer generates for the distribution ``name``.

    pip's own ``pip3`` and ``pip3.12`` are in no entry point: every installer invents them.
    """
    return script in launchers or (name == "pip" and _PIP_LAUNCHER.fullmatch(script) is not None)


def shadowed(script: str) -> str:
    """Return the name of the launcher in whose favour installers leave out the wheel's file ``script``."""
    lower = script.lower()
    for suffix in (".exe", "-script.py", ".pya"):
        if lower.endswith(suffix):
            return script[: -len(suffix)]
    return script


def is_left_out(path: str, launchers: Collection[str], *, name: str) -> bool:
    """Tell whether ``path``, relative to site-packages, is a wheel's script that gave way to a launcher.

    uv and pip leave its row as the wheel had it, and the file out.
    """
    script = _NOT_INSTALLED.fullmatch(path)
    return script is not None and is_launcher(shadowed(script[1]), launchers, name=name)


def normalized(name: str) -> str:
    """Return ``name`` in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def place_in_prefix(path: str, *, name: str) -> str:
    """Return the canonical place of a file of the environment, ``path`` being POSIX, relative to its root.

    ``lib/...`` in site-packages of whichever Python, ``bin/...``, ``include/...`` of the
    distribution's own headers, ``data/...`` for the rest.
    """
    if path.startswith("lib") and (found := _SITE.match(path)):
        return "lib/" + path[found.end() :]
    if path.startswith("bin/"):
        return path
    if path.startswith("include/") and (found := _HEADERS.match(path)) and normalized(found[1]) == name:
        return "include/" + path[found.end() :]
    return "data/" + path


def digest_places(places: Iterable[tuple[str, str]]) -> str:
    """Return the content digest: of ``(place, form)``, sorted by the UTF-8 bytes of the place.

    A form is ``sha256:`` and 64 hexadecimal digits of the whole file, or ``script:`` and the BLAKE3
    of all after the first line of a ``#!python`` script. Each pair is one line ``PLACE NUL FORM LF``.
    """
    return digest_lines([f"{place}\0{form}\n" for place, form in places])


def digest_lines(lines: list[str]) -> str:
    """Return the content digest of lines in any order."""
    # Code points sort as their UTF-8 does, and NUL sorts before every character of a path.
    return derive_hex(CONTEXT, "".join(sorted(lines)).encode())


def content_digest_from_record(
    rows: Iterable[RecordRow],
    *,
    site_packages: str,
    name: str,
    launchers: Collection[str],
    script_tail: Callable[[str], str | None],
    corrections: Mapping[str, str] | None = None,
) -> str | None:
    """Return the content digest of the wheel that ``rows`` were installed from (docs/contents.md).

    ``site_packages`` is POSIX, relative to the environment (``lib/python3.12/site-packages``);
    ``name`` in the normal form of PEP 503; ``launchers`` the script names of the entry points;
    ``script_tail(name)`` answers for a file in the scripts directory with the BLAKE3 of all after
    its shebang when that is one an installer wrote, else ``None``. ``corrections`` are forms by place where
    the wheel's own RECORD is wrong (``published``). ``None`` when a row that counts has no sha256.
    Raises UnsafePath for a row outside the environment.
    """
    lines = lines_from_record(
        rows, site_packages=site_packages, name=name, launchers=launchers, script_tail=script_tail,
        corrections=corrections,
    )  # fmt: skip
    return None if lines is None else digest_lines(lines)


def lines_from_record(
    rows: Iterable[RecordRow],
    *,
    site_packages: str,
    name: str,
    launchers: Collection[str],
    script_tail: Callable[[str], str | None],
    corrections: Mapping[str, str] | None = None,
) -> list[str] | None:
    """Return the lines that ``content_digest_from_record`` digests, whose arguments these are."""
    lines: list[str] = []
    right = dict(corrections or {})
    base = site_packages.split("/")
    for path, sha256, _ in rows:
        place = place_in_prefix(_in_prefix(path, base), name=name) if path[:3] == "../" else "lib/" + path
        form = f"sha256:{sha256}"
        # pip compiles every .py it installs: those of scripts, data and headers too.
        if path[-4:] == ".pyc" and is_bytecode(path):
            continue
        if place.startswith("lib/"):
            if (".dist-info/" in path and is_installers(place[4:])) or (
                ".data/scripts/" in path and is_left_out(path, launchers, name=name)
            ):
                continue
        elif place.startswith("bin/"):
            if is_launcher(place[4:], launchers, name=name):
                continue
            tail = script_tail(place[4:])
            form = f"script:{tail}" if tail else form
        if right and place in right:
            form = right.pop(place)
            if not form:
                continue
        if form == "sha256:":
            return None
        lines.append(f"{place}\0{form}\n")
    lines += [f"{place}\0{form}\n" for place, form in right.items() if form and not is_bytecode(place)]
    return lines


def _in_prefix(path: str, base: list[str]) -> str:
    parts = path.split("/")
    ups = 0
    while parts[ups] == "..":
        ups += 1
    check_path("/".join(parts[ups:]), label="RECORD")
    check_path(path, label="RECORD", parents=len(base))
    return "/".join([*base[: len(base) - ups], *parts[ups:]])
