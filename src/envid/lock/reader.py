"""The quick way into a lock that ``lock.write`` made.

A cold ``envid key`` may take half the time in which tomllib reads the lock, so this reads the one
layout that the writer has, by regular expressions, and nothing else: for any bytes it declines
or gives what the full reader would have given (a test mutates real locks to hold it to that).
"""

from __future__ import annotations

import re
from typing import Any, Final

from envid.errors import InvalidLock
from envid.lock.toml import too_deep
from envid.values.artifact import Artifact, ArtifactKind, LockedDistribution, NormalizedName, Sha256
from envid.values.frozen import dataclass
from envid.values.marker import check_specifiers, parse_marker
from envid.values.target import Target
from envid.values.wheel_tags import best_wheel, rank_of_set, sdist_belongs, set_ranks, wheel_belongs

_TEXT: Final = r'[^"\\\x00-\x1f\x7f]+'
_LOCAL: Final = r"(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?"
_VERSION: Final = rf"(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?{_LOCAL}"
_HEAD: Final = re.compile(
    r'lock-version = "1\.0"\n'
    rf'(?:environments = \[\n((?:    "{_TEXT}",\n)+)\]\n)?'
    rf'(?:requires-python = "({_TEXT})"\n)?'
    r'created-by = "envid"\n'
)
_ENTRY: Final = re.compile(
    r'\n\[\[packages\]\]\nname = "([a-z0-9]+(?:-[a-z0-9]+)*)"\n'
    rf'(?:version = "(?=.{{1,128}}")({_VERSION})"\n)?'
    rf'(?:marker = "({_TEXT})"\n)?'
    rf'(?:requires-python = "({_TEXT})"\n)?'
    rf'(?:index = "({_TEXT})"\n)?'
    r"(?:sdist = (\{[^\n]*)\n)?"
    r"(?:wheels = \[\n((?:    \{[^\n]*\n)+)\]\n)?"
)
_SEGMENT: Final = r"[A-Za-z0-9_+!~-][A-Za-z0-9._+!~-]*"
_URL: Final = r"https?://[A-Za-z0-9.:-]+/(?:[A-Za-z0-9._~%+!/-]*/)?"
_END: Final = r'(?:size = (?:0|[1-9][0-9]{0,14}), )?hashes = \{ sha256 = "[0-9a-f]{64}" \} \}'
# The first group of a line is the file name. What a line captures beside it would cost more than finding it does.
_WHEEL: Final = re.compile(
    rf'^    \{{ (?:url = "{_URL}|path = "(?:{_SEGMENT}/)*)([A-Za-z0-9._+!-]{{1,251}}\.whl)", {_END},\n', re.MULTILINE
)
# Text: one lock in ten has any of these.
_NAMED_WHEEL: Final = rf'    \{{ name = "({_SEGMENT})", url = "{_URL}[A-Za-z0-9._~%+!-]+", {_END},\n'
_SDIST: Final = rf'\{{ (?:url = "{_URL}|path = "(?:{_SEGMENT}/)*)({_SEGMENT}\.(?:tar\.gz|zip))", {_END}'
_INDEX: Final = rf"{_URL}[A-Za-z0-9._~%+!-]*"
_SET: Final = r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+){0,9}"
_PYTHONS: Final = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){0,9}"
_TAIL: Final = re.compile(rf"(?:[0-9][A-Za-z0-9._]*-)?{_PYTHONS}-{_SET}-{_SET}\.whl")
_CONTENTS: Final = "\n[tool.envid.contents]\n"
_CONTENT: Final = r'(?m)^([0-9a-f]{64}) = "([0-9a-f]{64})"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry, with its wheels still in lines: a target takes one wheel in ten, and building the rest costs most."""

    name: NormalizedName
    version: str | None
    marker: str | None
    requires_python: str | None
    index_url: str | None
    sdist: Artifact | None
    lines: str
    """Of the wheels."""
    tails: list[str]
    """What follows name and version in the file name of each: ``cp312-cp312-win_amd64.whl``."""

    def distribution(self) -> LockedDistribution:
        """Return the whole entry."""
        return LockedDistribution(
            name=self.name, version=self.version, marker=self.marker, requires_python=self.requires_python,
            index=self.index_url, wheels=tuple(map(_artifact, self.lines.split("\n")[:-1])), sdist=self.sdist,
        )  # fmt: skip

    def best(self, target: Target) -> Artifact | None:
        """Return the wheel that ``best_wheel`` gives."""
        # The memory is used directly: hashing the target for each of thousands of wheels would cost more than the rest.
        known, ranks = set_ranks(target)
        positions = []
        for tail in self.tails:
            if tail not in known:
                tags = tail[:-4] if tail.count("-") == 2 else tail[:-4].partition("-")[2]
                known[tail] = rank_of_set(tags, ranks)
            positions.append(known[tail])
        first = min((position for position in positions if position is not None), default=None)
        if first is None:
            return None
        equal = [_artifact(self.lines.split("\n", at + 1)[at]) for at, one in enumerate(positions) if one == first]
        if len(equal) == 1:
            return equal[0]
        best = best_wheel([wheel.filename for wheel in equal], target)
        return next(wheel for wheel in equal if wheel.filename == best)


def _artifact(line: str, kind: ArtifactKind = "wheel") -> Artifact:
    """Return the file that a line describes, which one of the patterns has matched: no value holds a quotation mark."""
    *before, size, digest, _ = line.split('"')
    address = before[-1]
    filename = before[1] if len(before) == 4 else address.rpartition("/")[2]
    remote = not before[0].endswith("path = ")
    number = size.partition("size = ")[2].partition(",")[0]
    return Artifact(
        kind=kind, filename=filename, sha256=Sha256(digest), size=int(number) if number else None,
        url=address if remote else None, path=None if remote else address,
    )  # fmt: skip


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
        document["environments"] = [line[5:-2] for line in head[1].split("\n")[:-1]]
    if head[2] is not None:
        document["requires-python"] = head[2]
    return document, rows


def _rows(text: str, position: int) -> tuple[list[Row], int] | None:
    rows = []
    sound: set[str] = set()
    while (match := _ENTRY.match(text, position)) is not None:
        row = _row(match, sound)
        if row is None:
            return None
        rows.append(row)
        position = match.end()
    if not rows or len({(row.name, row.version, row.marker) for row in rows}) != len(rows):
        return None
    return rows, position


def _row(match: re.Match[str], sound: set[str]) -> Row | None:
    name, version, marker, requires_python, index, source, lines = match.groups()
    try:
        if marker is not None:
            parse_marker(marker)
        if requires_python is not None:
            check_specifiers(requires_python)
    except InvalidLock:
        # It is refused, but by the slow reader, which knows how to say where.
        return None
    if index is not None and not re.fullmatch(_INDEX, index):
        return None
    sdist = None
    if source is not None:
        found = re.fullmatch(_SDIST, source)
        if found is None or not sdist_belongs(found[1], name, version):
            return None
        sdist = _artifact(source, "sdist")
    tails = [] if lines is None else _tails(lines, name, version, sound)
    if tails is None or (not tails and sdist is None):
        return None
    return Row(
        name=NormalizedName(name), version=version, marker=marker, requires_python=requires_python, index_url=index,
        sdist=sdist, lines=lines or "", tails=tails,
    )  # fmt: skip


def _tails(lines: str, name: str, version: str | None, sound: set[str]) -> list[str] | None:
    """Return the tail of each line; None unless all are wheels of that distribution. ``sound``: tails seen to be some.

    Nearly every wheel has the name and version of its entry, spelled just so; splitting each name would cost
    more than all the rest.
    """
    filenames: list[str] = _WHEEL.findall(lines)
    count = lines.count("\n")
    if len(filenames) != count:
        # Not `splitlines`, which ends a line where TOML does not.
        split = [f"{line}\n" for line in lines.split("\n")[:-1]]
        found = [_WHEEL.fullmatch(line) or re.fullmatch(_NAMED_WHEEL, line) for line in split]
        filenames = [line[1] for line in found if line is not None]
    head = f"{name.replace('-', '_')}-{version}-"
    tails = [filename[len(head) :] for filename in filenames if filename.startswith(head)]
    if len(tails) != count:
        if len(filenames) != count or not all(wheel_belongs(filename, name, version) for filename in filenames):
            return None
        tails = [filename.split("-", 2)[2] for filename in filenames]
    # No two of them the same file.
    if len({*filenames}) != count:
        return None
    for tail in {*tails} - sound:
        if not _TAIL.fullmatch(tail):
            return None
        sound.add(tail)
    return tails


def _tail(text: str) -> dict[str, Any] | None:
    """Return the ``tool`` table that the rest of the file holds, None when the rest is anything else as well."""
    import tomllib

    at = text.rfind(_CONTENTS)
    contents: dict[str, str] | None = None
    if at >= 0:
        block = text[at + len(_CONTENTS) :]
        pairs = re.findall(_CONTENT, block)
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
    if not isinstance(tool, dict) or document.keys() - {"tool"} or too_deep(document):
        return None
    if contents is not None:
        envid = tool.get("envid")
        if not isinstance(envid, dict) or "contents" in envid or "\n[tool.envid]\n" not in text:
            return None
        envid["contents"] = contents
    return tool
