"""The quick way into a lock that ``lock.write`` made.

A cold ``envid key`` may take half the time in which tomllib reads the lock, so this reads the one
layout that the writer has, by regular expressions, and nothing else: for any bytes it declines
or gives what tomllib would have given (a test mutates real locks to hold it to that).
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from envid.errors import InvalidLock
from envid.values.artifact import Artifact, LockedDistribution, NormalizedName, Sha256
from envid.values.marker import parse_marker, satisfies
from envid.values.target import Target, parse_target
from envid.values.wheel_tags import best_wheel, rank, rank_of_set, sdist_belongs, set_ranks, wheel_belongs

_TEXT: Final = r'[^"\\\x00-\x1f\x7f]+'
_HEAD: Final = re.compile(
    r'lock-version = "1\.0"\n'
    rf'(?:environments = \[\n((?:    "{_TEXT}",\n)+)\]\n)?'
    rf'(?:requires-python = "({_TEXT})"\n)?'
    r'created-by = "envid"\n'
)
_SEGMENT: Final = r"[A-Za-z0-9_+!~-][A-Za-z0-9._+!~-]*"
_SET: Final = r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+){0,9}"
_WHEEL_NAME: Final = rf"([A-Za-z0-9._]+-[A-Za-z0-9._+!]+(?:-[0-9][A-Za-z0-9._]*)?)-({_SET}-{_SET}-{_SET})\.whl"
_URL: Final = r"https?://[A-Za-z0-9.:-]+/(?:[A-Za-z0-9._~%+!/-]*/)?"
_END: Final = r'(?:size = (0|[1-9][0-9]{0,14}), )?hashes = \{ sha256 = "([0-9a-f]{64})" \} \}'
_WHEEL: Final = re.compile(
    rf'^    \{{ (?:name = "({_SEGMENT})", url = "({_URL}[A-Za-z0-9._~%+!-]+)", '
    rf'|(url|path) = "({_URL}|(?:{_SEGMENT}/)*){_WHEEL_NAME}", )'
    rf"{_END},\n",
    re.MULTILINE,
)
_SDIST: Final = rf'sdist = \{{ (?:url = "({_URL}({_SEGMENT}))"|path = "((?:{_SEGMENT}/)*({_SEGMENT}))"), {_END}\n'
_ENTRY: Final = re.compile(
    r'\n\[\[packages\]\]\nname = "([a-z0-9]+(?:-[a-z0-9]+)*)"\n'
    r'(?:version = "([0-9A-Za-z.!+_-]{1,128})"\n)?'
    rf'(?:marker = "({_TEXT})"\n)?'
    rf'(?:requires-python = "({_TEXT})"\n)?'
    rf'(?:index = "({_URL}[A-Za-z0-9._~%+!-]*)"\n)?'
    rf"(?:{_SDIST})?"
    r"(?:wheels = \[\n((?:    \{[^\n]*\n)+)\]\n)?"
)
_CONTENTS: Final = "\n[tool.envid.contents]\n"
_CONTENT: Final = re.compile(r'^([0-9a-f]{64}) = "([0-9a-f]{64})"\n', re.MULTILINE)
_ANY_TARGET: Final = parse_target("cp312-win_amd64")

Pieces = tuple[str, str, str, str, str, str, str, str]
"""Of a wheel's line: name and URL if a name is given, else ``url`` or ``path``, directory, stem, tags; size, sha256."""


class Row(NamedTuple):
    """One entry, with its wheels still in pieces: a target takes one wheel in ten, and building the rest costs most."""

    name: NormalizedName
    version: str | None
    marker: str | None
    requires_python: str | None
    index_url: str | None
    sdist: Artifact | None
    pieces: list[Pieces]

    def filename(self, pieces: Pieces) -> str:
        return pieces[0] or f"{pieces[4]}-{pieces[5]}.whl"

    def wheel(self, pieces: Pieces) -> Artifact:
        """Return the wheel that one of ``pieces`` describes."""
        given, named_url, where, place, _, _, size, digest = pieces
        filename = self.filename(pieces)
        address = named_url if given else place + filename
        return Artifact(
            kind="wheel", filename=filename, sha256=Sha256(digest), size=int(size) if size else None,
            url=None if where == "path" else address, path=address if where == "path" else None,
        )  # fmt: skip

    def distribution(self) -> LockedDistribution:
        """Return the whole entry."""
        return LockedDistribution(
            name=self.name, version=self.version, marker=self.marker, requires_python=self.requires_python,
            index=self.index_url, wheels=tuple(map(self.wheel, self.pieces)), sdist=self.sdist,
        )  # fmt: skip

    def best(self, target: Target) -> Artifact | None:
        """Return the wheel that ``best_wheel`` gives."""
        if not self.pieces:
            return None
        # The memory is used directly: hashing the target for each of thousands of wheels would cost more than the rest.
        known, ranks = set_ranks(target)
        ranked = []
        for pieces in self.pieces:
            text = pieces[5]
            if pieces[0]:
                position = rank(pieces[0], target)
            elif text in known:
                position = known[text]
            else:
                position = known[text] = rank_of_set(text, ranks)
            if position is not None:
                ranked.append((position, pieces))
        if not ranked:
            return None
        first = min(position for position, _ in ranked)
        equal = {self.filename(pieces): pieces for position, pieces in ranked if position == first}
        if len(equal) == 1:
            return self.wheel(next(iter(equal.values())))
        best = best_wheel(list(equal), target)
        return None if best is None else self.wheel(equal[best])


def scan(data: bytes) -> tuple[dict[str, Any], list[Row]] | None:
    """Return the document without its packages, and the packages; None unless the layout is ``lock.write``'s own."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    head = _HEAD.match(text)
    if head is None:
        return None
    found = _rows(text, head.end())
    if found is None:
        return None
    rows, position = found
    tool = _tail(text[position:])
    if tool is None:
        return None
    document: dict[str, Any] = {"created-by": "envid", "tool": tool}
    if head[1] is not None:
        document["environments"] = [line[5:-2] for line in head[1].splitlines()]
    if head[2] is not None:
        document["requires-python"] = head[2]
    return document, rows


def _rows(text: str, position: int) -> tuple[list[Row], int] | None:
    rows = []
    while (match := _ENTRY.match(text, position)) is not None:
        row = _row(match)
        if row is None:
            return None
        rows.append(row)
        position = match.end()
    if not rows or len({row[:3] for row in rows}) != len(rows):
        return None
    return rows, position


def _row(match: re.Match[str]) -> Row | None:
    name, version, marker, requires_python, index, url, last_url, path, last_path, size, digest, block = match.groups()
    try:
        if marker is not None:
            parse_marker(marker)
        if requires_python is not None:
            satisfies(requires_python, _ANY_TARGET)
    except InvalidLock:
        # It is refused, but by the slow reader, which knows how to say where.
        return None
    sdist = None
    if digest is not None:
        filename = last_url or last_path
        if filename != f"{name.replace('-', '_')}-{version}.tar.gz" and not sdist_belongs(filename, name, version):
            return None
        bytes_ = None if size is None else int(size)
        sdist = Artifact(kind="sdist", filename=filename, sha256=Sha256(digest), size=bytes_, url=url, path=path)
    pieces = [] if block is None else _pieces(block, name, version)
    if pieces is None or (not pieces and sdist is None):
        return None
    return Row(NormalizedName(name), version, marker, requires_python, index, sdist, pieces)


def _pieces(block: str, name: str, version: str | None) -> list[Pieces] | None:
    found: list[Pieces] = _WHEEL.findall(block)
    names = set()
    # Nearly every wheel has this stem, spelled just so; looking at each name would cost more than all the rest.
    stems = {f"{name.replace('-', '_')}-{version}"}
    for given, _, where, place, stem, tags, _, _ in found:
        filename = given or f"{stem}-{tags}.whl"
        if given or stem not in stems:
            if not wheel_belongs(filename, name, version):
                return None
            stems.add(stem)
        # Only a URL has a colon: no `url = "http/..."`, no `path = "https://..."`.
        if not given and (where == "url") is not (":" in place):
            return None
        names.add(filename)
    # Every line must have matched, and no two of them the same file.
    return found if len(names) == len(found) == block.count("\n") else None


def _tail(text: str) -> dict[str, Any] | None:
    """Return the ``tool`` table that the rest of the file holds, None when the rest is anything else as well."""
    import tomllib

    at = text.rfind(_CONTENTS)
    contents: dict[str, str] | None = None
    if at >= 0:
        block = text[at + len(_CONTENTS) :]
        pairs = _CONTENT.findall(block)
        contents = dict(pairs)
        if len(contents) != block.count("\n") or len(pairs) * 134 != len(block):
            return None
        text = text[:at] + "\n"
    # In a multi-line string a line that looks like a header is none.
    if '"""' in text or "'''" in text:
        return None
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    tool = document.get("tool", {})
    if not isinstance(tool, dict) or document.keys() - {"tool"}:
        return None
    if contents is not None:
        envid = tool.get("envid")
        if not isinstance(envid, dict) or "contents" in envid or "\n[tool.envid]\n" not in text:
            return None
        envid["contents"] = contents
    return tool
