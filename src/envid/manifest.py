"""A manifest: which files were made, with which bytes and modes, under one identity.

Canonical text, one fact a line, so that two of them merge and compare well::

    envid-manifest 1
    directory 0755 docs
    file 0644 12 <64 hexadecimal digits> docs/a page.txt
    link docs/latest TAB a page.txt

Paths have no control characters, so that a line is a line and a tab is the end of a link's path; a file of such
a name is refused, not escaped. Names that differ in case only are two names here, for there are filesystems on
which they are two files; but no link may stand, under any spelling that some filesystem takes for the same,
where another thing's path leads through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final, Literal, cast, get_args

from envid.errors import BadManifest
from envid.values.frozen import dataclass

__all__ = ["MAGIC", "MAX_FILES", "BadManifest", "Kind", "Made", "decode", "encode"]

MAGIC: Final = "envid-manifest 1"
MAX_FILES: Final = 1_000_000
MAX_PATH: Final = 4095
"""UTF-8 bytes of a path or of a link's target."""
MAX_NAME: Final = 255
"""UTF-8 bytes of one part of a path."""
MAX_SIZE: Final = 1 << 53

Kind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One thing that was made."""

    path: str
    """POSIX, relative to the project; no ``..``, no empty part."""
    kind: Kind
    mode: int
    """Permission bits of a file or directory; 0 for a link."""
    size: int
    """Bytes of a file; 0 otherwise."""
    digest: str
    """BLAKE3 of a file's bytes; empty for a directory."""
    target: str = ""
    """Where a symbolic link leads: relative, and not out of the tree."""


def encode(made: Iterable[Made]) -> bytes:
    """Return the manifest of ``made``, sorted by the bytes of the path; of a mode, the nine permission bits count.

    Raises BadManifest for a path that is not one, or is twice, or leads through a file or link; for a link that may
    lead out of the tree; for more than ``MAX_FILES``.
    """
    rows = sorted(((one.path, one) for one in made), key=lambda row: row[0].encode("utf-8", "surrogatepass"))
    _check(tuple(one for _, one in rows))
    return "\n".join([MAGIC, *(_line(one) for _, one in rows), ""]).encode("utf-8")


def decode(data: bytes) -> tuple[Made, ...]:
    """Return what ``encode`` wrote, byte for byte the same when encoded again; raise BadManifest."""
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise BadManifest("a manifest is UTF-8 text") from None
    if lines[0] != MAGIC or lines[-1] or len(lines) < 2:
        raise BadManifest(f"a manifest begins with `{MAGIC}` and ends with a line feed")
    if len(lines) - 2 > MAX_FILES:
        raise _too_many()
    made = tuple(_made(line) for line in lines[1:-1])
    before = b""
    for one in made:
        path = one.path.encode("utf-8")
        if path <= before:
            raise _bad(one.path, "is not in order, or twice")
        before = path
    _check(made)
    return made


def _line(one: Made) -> str:
    if one.kind == "link":
        return f"link {one.path}\t{one.target}"
    if one.kind == "directory":
        return f"directory {one.mode & 0o777:04o} {one.path}"
    return f"file {one.mode & 0o777:04o} {one.size} {one.digest} {one.path}"


@cache
def _form() -> re.Pattern[str]:
    return re.compile(
        r"link ([^\t]+)\t([^\t]+)|(directory) (0[0-7]{3}) (.+)"
        r"|(file) (0[0-7]{3}) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64}) (.+)"
    )


def _made(line: str) -> Made:
    found = _form().fullmatch(line)
    if found is None:
        raise BadManifest(f"`{ascii(line[:80])[1:-1]}` is no line of a manifest")
    link, target, directory, mode, path, _, file_mode, size, digest, file = found.groups()
    if link is not None:
        return Made(path=link, kind="link", mode=0, size=0, digest="", target=target)
    if directory is not None:
        return Made(path=path, kind="directory", mode=int(mode, 8), size=0, digest="")
    return Made(path=file, kind="file", mode=int(file_mode, 8), size=int(size), digest=digest)


# --- what is refused ----------------------------------------------------------------------


def _check(made: tuple[Made, ...]) -> None:
    """Look at every path, and at how they stand to one another; ``made`` is sorted."""
    if len(made) > MAX_FILES:
        raise _too_many()
    kinds: dict[str, Kind] = {}
    folded: dict[str, Kind] = {}
    for one in made:
        _check_one(one)
        if one.path in kinds:
            raise _bad(one.path, "is there twice")
        kinds[one.path] = one.kind
        alike = folded.setdefault(_folded(one.path), one.kind)
        if alike != one.kind:
            raise _bad(one.path, "is, but for its spelling, the path of a thing of another kind")
    for one in made:
        above = _folded(one.path).rpartition("/")[0]
        while above:
            if folded.get(above, "directory") != "directory":
                raise _bad(one.path, f"leads through a {folded[above]}")
            above = above.rpartition("/")[0]


def _check_one(one: Made) -> None:
    _check_path(one.path)
    if one.kind not in cast(tuple[str, ...], get_args(Kind)):
        raise _bad(one.path, "is of no kind that a manifest has")
    file, link = one.kind == "file", one.kind == "link"
    if file is not bool(re.fullmatch("[0-9a-f]{64}", one.digest)) or (not file and (one.digest or one.size)):
        raise _bad(one.path, "must have a BLAKE3 and a size when it is a file, and not otherwise")
    if not 0 <= one.size <= MAX_SIZE:
        raise _bad(one.path, "has a size that no file has")
    if link is not bool(one.target):
        raise _bad(one.path, "must have a target when it is a link, and not otherwise")
    if link:
        _check_target(one)


def _check_path(path: str) -> None:
    _check_text(path, path)
    if re.match("[A-Za-z]:", path) or "\\" in path:
        raise _bad(path, "means another place on another system")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise _bad(path, "is not a relative path of plain names")
        if len(part.encode("utf-8")) > MAX_NAME:
            raise _bad(path, f"has a part of more than {MAX_NAME} bytes")


def _check_target(one: Made) -> None:
    target = one.target
    _check_text(one.path, target)
    if target.startswith("/") or re.match("[A-Za-z]:", target) or "\\" in target:
        raise _bad(one.path, "is a link to an absolute path, or to one that means another place on another system")
    parts = target.split("/")
    up = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    # Upward first, and then down only: `a/..` is elsewhere than here when `a` is a link itself.
    if up > one.path.count("/") or ".." in parts[up:]:
        raise _bad(one.path, "is a link that may lead out of the tree")


def _check_text(path: str, text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise _bad(path, "is not UTF-8") from None
    if size > MAX_PATH:
        raise _bad(path, f"is longer than {MAX_PATH} bytes")
    if re.search("[\0-\x1f\x7f-\x9f]", text):
        raise _bad(path, "has a control character")


def _folded(path: str) -> str:
    """Return what is equal for two paths that some filesystem takes for one."""
    if path.isascii():
        return path.lower()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFD", path).casefold())


def _bad(path: str, why: str) -> BadManifest:
    return BadManifest(f"`{ascii(path[:200])[1:-1]}` {why}", file=path[:200].encode("utf-8", "replace").decode())


def _too_many() -> BadManifest:
    return BadManifest(f"a manifest has at most {MAX_FILES} lines")
