"""Read a hashed requirements.txt, strictly: every line is a pinned and hashed distribution, or is named as lost.

The grammar is pip's requirements file format as pip-compile and uv write it. Anything that would
make the set larger or smaller than what stands in the file (``-r``, ``-e``, a range) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, canonicalize_version

from envid.errors import ConflictMarkers, DependencyRefused, InvalidLock, UnhashedArtifact
from envid.lock.redact import redact
from envid.values.artifact import NormalizedName, Sha256
from envid.values.requirement import refuse_credentials

MAX_LINE: Final = 1024 * 1024
"""A joined line beyond this is refused; 500 hashes take about 40 kB."""

MEND: Final = "mend the line, or compile the file again"

_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_CONFLICT: Final = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")
_OPTION: Final = re.compile(r"\s+--?(?P<name>[A-Za-z][A-Za-z-]*)(?:[=\s]+(?P<value>[^\s-]\S*))?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LOST: Final = frozenset((
    "-i", "--index-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--trusted-host", "--pre",
    "--prefer-binary", "--no-binary", "--only-binary", "--require-hashes", "--use-feature", "-c", "--constraint",
))  # fmt: skip
"""Options for a whole file that say how to look, not what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One requirement of the file: an exact version, or a file behind a URL."""

    name: NormalizedName
    version: str
    """PEP 440 normal form; empty for a URL."""
    hashes: tuple[Sha256, ...]
    line: int
    marker: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsFile:
    """A whole file."""

    pinned: tuple[Pinned, ...]
    lost: tuple[str, ...]
    """What the file says and a lock does not: one sentence each."""


def parse_requirements(data: bytes, *, path: str) -> RequirementsFile:
    """Return the pinned distributions of a hashed requirements file; ``path`` only names it in errors.

    Raises UnhashedArtifact naming every line without a sha256, DependencyRefused for what is not pinned
    (ranges, editable, other files), InvalidLock for anything malformed, ConflictMarkers.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidLock(f"{path} is not UTF-8 (byte {error.start})", path=path, hint="save it as UTF-8") from error
    reader = _Reader(path)
    for number, line in _joined(text, path):
        reader.line(number, line)
    if reader.unhashed:
        raise UnhashedArtifact(
            f"{path} has no sha256 for {', '.join(reader.unhashed)}", path=path,
            hint="write it again with `pip-compile --generate-hashes` or `uv pip compile --generate-hashes`",
        )  # fmt: skip
    reader.comments += len(re.findall(r"^\s*#", text, re.MULTILINE))
    return RequirementsFile(pinned=tuple(reader.pinned), lost=tuple(reader.sentences()))


def _joined(text: str, path: str) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, logical line) without comments, as pip joins them."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if _CONFLICT.match(line):
            problem = f"{path}:{number} holds a conflict marker"
            raise ConflictMarkers(problem, path=path, line=number, hint="take either side and compile the file again")
        if not parts:
            first = number
        comment = re.match(r"\s*#", line) is not None
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            if sum(map(len, parts)) > MAX_LINE:
                problem = f"{path}:{first} goes on for more than {MAX_LINE} bytes"
                raise InvalidLock(problem, path=path, line=first, hint=MEND)
            continue
        # A comment ends a continued line, and has to be parted from what stands before it.
        parts.append(f" {line}" if comment else line)
        whole = _COMMENT.sub("", "".join(parts)).strip()
        parts = []
        if whole:
            yield first, whole
    if parts and (whole := _COMMENT.sub("", "".join(parts)).strip()):
        yield first, whole


class _Reader:
    """Takes one logical line after the other."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pinned: list[Pinned] = []
        self.unhashed: list[str] = []
        self.options: dict[str, int] = {}
        """Option to how often it stands there."""
        self.extras: set[str] = set()
        self.comments = 0
        self.weak = 0
        """Hashes of other algorithms."""

    def line(self, number: int, line: str) -> None:
        if line.startswith("-"):
            self.option(number, line)
            return
        # Everything from the first option on belongs to the requirement; a URL holds no white space.
        cut = re.search(r"\s--?[A-Za-z]", line)
        head, tail = (line[: cut.start()], line[cut.start() :]) if cut else (line, "")
        where = f"{self.path}:{number}"
        try:
            parsed = Requirement(head.strip())
        except (InvalidRequirement, RecursionError) as error:
            problem = f"{where}: `{redact(head.strip()[:80])}` is not a requirement"
            hint = "every line must be `NAME==VERSION --hash=sha256:...`"
            raise InvalidLock(problem, path=self.path, line=number, hint=hint) from error
        name = NormalizedName(canonicalize_name(parsed.name))
        version = self.version(parsed, name, where)
        hashes = self.hashes(tail, name, where)
        if parsed.extras:
            self.extras.add(name)
        if not hashes:
            self.unhashed.append(name)
            return
        marker = str(parsed.marker) if parsed.marker is not None else None
        if any(other.name == name and other.marker == marker for other in self.pinned):
            problem = f"{where}: {name} stands in the file twice"
            raise InvalidLock(problem, path=self.path, line=number, hint="remove one")
        self.pinned.append(
            Pinned(name=name, version=version, hashes=hashes, line=number, marker=marker, url=parsed.url)
        )

    def option(self, number: int, line: str) -> None:
        name = re.split(r"[=\s]", line, maxsplit=1)[0]
        # The short options take their value without a space, too.
        name = name[:2] if name[:2] in ("-i", "-f", "-c", "-r", "-e") and not name.startswith("--") else name
        if name in ("-r", "--requirement", "-e", "--editable"):
            what = "includes another file" if "r" in name.lstrip("-")[:1] else "has an editable source"
            hint = "adopt one file that lists everything with versions and hashes"
            raise DependencyRefused(f"{self.path}:{number} {what} ({name})", hint=hint, path=self.path, line=number)
        if name not in _LOST:
            problem = f"{self.path}:{number}: {ascii(name[:40])[1:-1]} is no option envid knows"
            raise InvalidLock(problem, path=self.path, line=number, hint="remove the line")
        self.options[name] = self.options.get(name, 0) + 1

    def version(self, parsed: Requirement, name: str, where: str) -> str:
        if parsed.url is not None:
            refuse_credentials(parsed.url, where=f"{where}: the URL of {name}")
            return ""
        specifiers = list(parsed.specifier)
        one = specifiers[0] if len(specifiers) == 1 else None
        if one is None or one.operator not in ("==", "===") or one.version.endswith(".*"):
            problem = f"{where}: {name} is not pinned to one version (`{parsed.specifier or 'any'}`)"
            raise DependencyRefused(problem, hint="compile the file first: `uv pip compile --generate-hashes`")
        return canonicalize_version(one.version, strip_trailing_zero=False)

    def hashes(self, tail: str, name: str, where: str) -> tuple[Sha256, ...]:
        found: set[str] = set()
        position = 0
        while position < len(tail.rstrip()):
            match = _OPTION.match(tail, position)
            if match is None:
                problem = f"{where}: `{redact(tail[position:].strip()[:40])}` after {name} is not an option"
                raise InvalidLock(problem, hint=MEND, path=self.path)
            position = match.end()
            if match["name"] != "hash":
                self.options[f"--{match['name']}"] = self.options.get(f"--{match['name']}", 0) + 1
                continue
            algorithm, _, digest = (match["value"] or "").partition(":")
            if algorithm != "sha256":
                self.weak += 1
            elif _SHA256.fullmatch(digest.lower()):
                found.add(digest.lower())
            else:
                problem = f"{where}: a sha256 of {name} is not 64 hexadecimal digits"
                raise InvalidLock(problem, hint=MEND, path=self.path)
        return tuple(Sha256(digest) for digest in sorted(found))

    def sentences(self) -> Iterator[str]:
        if self.comments:
            yield f"{self.comments} comment(s)"
        for name in sorted(self.options):
            yield f"the option {name}" + (f" ({self.options[name]} times)" if self.options[name] > 1 else "")
        if self.extras:
            yield f"the extras named at {', '.join(sorted(self.extras))}: what they bring is listed by itself"
        if self.weak:
            yield f"{self.weak} hash(es) of algorithms other than sha256"
