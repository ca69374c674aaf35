"""One ``[[packages]]`` table of a lock, checked field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from envid.errors import InvalidLock, UnhashedArtifact, UnsafePath
from envid.values.artifact import Artifact, ArtifactKind, LocalSource, LockedDistribution, NormalizedName, Sha256
from envid.values.marker import check_specifiers, parse_marker
from envid.values.wheel_tags import normalize_name, sdist_belongs, wheel_belongs

Table = Mapping[str, Any]

# All text: `re` compiles them when a lock is first read this way, and a key, which is read another way, need not wait.
_NAME: Final = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_VERSION: Final = r"[0-9A-Za-z.!+_-]{1,128}"
_HEX: Final = r"[0-9a-fA-F]+"
_SHA256: Final = r"[0-9a-fA-F]{64}"
_COMMIT: Final = r"[0-9a-f]{40}|[0-9a-f]{64}"
_UNPRINTED: Final = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
_DRIVE: Final = r"[A-Za-z]:"
_URL: Final = r"(?P<scheme>https?|file)://(?P<authority>[^/?#\s]*)(?P<path>/[^?#\s]*)(?P<rest>[?#]\S*)?"
_REPOSITORY: Final = r"(?:https?|ssh|git|file)://(?P<authority>[^/?#\s]*)/\S*"
_SIGNED: Final = r"(?i)token|secret|passw|signature|credential|api[-_]?key|access[-_]?key|auth|^(?:sig|key|se|sv|st)$"
_SOURCES: Final = ("vcs", "directory", "archive")


def shown(value: object) -> str:
    """Return ``value`` short and safe to print in an error."""
    return ascii(str(value)[:120])[1:-1]


def distribution(table: Table, *, where: str, path: str, drop_credentials: bool = False) -> LockedDistribution:
    """Return the entry that ``table`` describes; ``where`` names it (``packages[3]``), ``path`` the file, in errors.

    Raises InvalidLock, UnhashedArtifact, UnsafePath.
    """
    return _Entry(table, where, path, drop_credentials).read()


class _Entry:
    def __init__(self, table: Table, where: str, path: str, drop_credentials: bool) -> None:
        self.table, self.where, self.path, self.drop = table, where, path, drop_credentials
        self.name = NormalizedName("")
        self.version: str | None = None

    def fail(self, problem: str) -> InvalidLock:
        subject = self.name or self.where
        return InvalidLock(f"{self.path}: {subject} {problem}", path=self.path, package=self.name or None)

    def read(self) -> LockedDistribution:
        name = self.text("name")
        if name is None or not re.fullmatch(_NAME, name):
            normal = f"; the normal form is `{shown(normalize_name(name))}`" if name else ""
            raise self.fail(f"has no name in normal form (`{shown(name)}`{normal})")
        self.name = NormalizedName(name)
        self.where = name
        self.version = self.text("version")
        if self.version is not None and not re.fullmatch(_VERSION, self.version):
            raise self.fail(f"has the version `{shown(self.version)}`, which is none")
        wheels = self.tables("wheels")
        sdist = self.subtable("sdist")
        sources = [kind for kind in _SOURCES if self.subtable(kind) is not None]
        if len(sources) + (bool(wheels) or sdist is not None) != 1:
            raise self.fail("must have either wheels and sdist, or exactly one of vcs, directory and archive")
        archive = self.subtable("archive")
        return LockedDistribution(
            name=self.name,
            version=self.version,
            marker=self.marker(),
            requires_python=self.requires_python(),
            index=self.index(),
            wheels=self.wheels(wheels),
            sdist=None if sdist is None else self.artifact("sdist", sdist),
            archive=None if archive is None else self.artifact("archive", archive),
            source=self.source(),
        )

    # --- fields ---------------------------------------------------------------------------

    def marker(self) -> str | None:
        text = self.text("marker")
        if text is not None:
            try:
                parse_marker(text)
            except InvalidLock as error:
                raise self.fail(f"has a bad marker: {error.message}") from error
        return text

    def requires_python(self) -> str | None:
        text = self.text("requires-python")
        if text is not None:
            try:
                check_specifiers(text)
            except InvalidLock as error:
                raise self.fail(f"has a bad requires-python: {error.message}") from error
        return text

    def index(self) -> str | None:
        text = self.text("index")
        if text is None:
            return None
        return self.clean(text, "index")

    def wheels(self, tables: list[Table]) -> tuple[Artifact, ...]:
        found = tuple(self.artifact("wheel", table) for table in tables)
        if len({wheel.filename for wheel in found}) != len(found):
            raise self.fail("lists one wheel twice")
        return found

    def artifact(self, kind: ArtifactKind, table: Table) -> Artifact:
        url, path = self.text("url", table, kind), self.text("path", table, kind)
        if url is None and path is None:
            raise self.fail(f"has a {kind} with neither url nor path")
        if url is not None:
            url = self.clean(url, kind)
        if path is not None:
            # A wheel that the project asks for by path lies beside `lockfiles/`, as a directory does.
            path = self.safe(path, kind, outward=kind == "archive")
        filename = self.filename(table, kind, url, path)
        hashes = self.hashes(table, filename)
        size = table.get("size")
        if size is not None and (type(size) is not int or not 0 <= size < 2**53):
            raise self.fail(f"has a bad size for {shown(filename)}")
        subdirectory = self.text("subdirectory", table, kind)
        return Artifact(
            kind=kind,
            filename=filename,
            sha256=Sha256(hashes.pop("sha256").lower()),
            size=size,
            url=url,
            path=path,
            subdirectory=None if subdirectory is None else self.safe(subdirectory, "subdirectory"),
            other_hashes=tuple(sorted((algorithm, value.lower()) for algorithm, value in hashes.items())),
        )

    def hashes(self, table: Table, filename: str) -> dict[str, str]:
        hashes = table.get("hashes", {})
        digests = hashes.values() if isinstance(hashes, dict) else [None]
        if not all(isinstance(digest, str) and re.fullmatch(_HEX, digest) for digest in digests):
            raise self.fail(f"has bad hashes for {shown(filename)}")
        if not all(re.fullmatch(r"[a-z0-9_-]{1,32}", algorithm) for algorithm in hashes):
            raise self.fail(f"has a hash of no known kind for {shown(filename)}")
        if not re.fullmatch(_SHA256, hashes.get("sha256", "")):
            name = shown(filename)
            problem = f"{self.path}: {self.name}: {name} has no sha256"
            raise UnhashedArtifact(problem, path=self.path, package=self.name, file=name)
        return dict(hashes)

    def filename(self, table: Table, kind: ArtifactKind, url: str | None, path: str | None) -> str:
        filename = self.text("name", table, kind)
        if filename is None:
            plain = (url or "").partition("#")[0].partition("?")[0]
            filename = path.rpartition("/")[2] if path is not None else _unquote(plain)
        if filename in ("", ".", "..") or re.search(_UNPRINTED, filename) or "/" in filename or "\\" in filename:
            raise self.unsafe(f"a {kind} named `{shown(filename)}`")
        if kind == "archive" and not filename.endswith(".whl"):
            return filename
        belongs = sdist_belongs if kind == "sdist" else wheel_belongs
        if not belongs(filename, self.name, self.version):
            raise self.fail(f"lists {shown(filename)}, which is no {kind} of {self.name} {self.version or ''}".rstrip())
        return filename

    def source(self) -> LocalSource | None:
        if (table := self.subtable("directory")) is not None:
            path = self.text("path", table, "directory")
            editable = table.get("editable", False)
            if path is None or not isinstance(editable, bool):
                raise self.fail("has a directory without path")
            path = self.safe(path, "directory", outward=True)
            return LocalSource(kind="directory", path=path, editable=editable, subdirectory=self.sub(table))
        if (table := self.subtable("vcs")) is None:
            return None
        commit, system = self.text("commit-id", table, "vcs"), self.text("type", table, "vcs")
        if commit is None or not re.fullmatch(_COMMIT, commit):
            raise self.fail("comes from version control without a full commit-id")
        url, path = self.text("url", table, "vcs"), self.text("path", table, "vcs")
        if system is None or (url is None and path is None):
            raise self.fail("comes from version control without type, or without url and path")
        if url is not None:
            url = self.clean_repository(url)
        return LocalSource(
            kind="vcs", url=url, path=None if path is None else self.safe(path, "vcs", outward=True), vcs=system,
            commit=commit, subdirectory=self.sub(table),
        )  # fmt: skip

    def sub(self, table: Table) -> str | None:
        text = self.text("subdirectory", table, "source")
        return None if text is None else self.safe(text, "subdirectory")

    # --- strings --------------------------------------------------------------------------

    def clean(self, url: str, what: str) -> str:
        found = re.fullmatch(_URL, url)
        if found is None or re.search(_UNPRINTED, url):
            raise self.fail(f"has for its {what} a URL that is not http, https or file")
        rest = found["rest"] or ""
        if "@" not in found["authority"] and not _signed(rest):
            return url
        if not self.drop:
            raise self.fail(f"has for its {what} a URL with a credential in it")
        return f"{found['scheme']}://{found['authority'].rpartition('@')[2]}{found['path']}"

    def clean_repository(self, url: str) -> str:
        found = re.fullmatch(_REPOSITORY, url)
        if found is None or re.search(_UNPRINTED, url) or _signed(url):
            raise self.fail("has for its vcs a URL that is not http, https, ssh, git or file")
        user, at, host = found["authority"].rpartition("@")
        # `git@` is how an ssh repository is addressed, not a secret; anything with a password is.
        if at and (":" in user or url.startswith("http")):
            if not self.drop:
                raise self.fail("has for its vcs a URL with a credential in it")
            return url.replace(f"{user}@{host}", host, 1)
        return url

    def safe(self, path: str, what: str, *, outward: bool = False) -> str:
        """Return ``path`` without ``./``; ``outward``: it may begin with ``..`` (a directory beside ``lockfiles/``)."""
        if re.search(_UNPRINTED, path) or "\\" in path or path.startswith("/") or re.match(_DRIVE, path):
            raise self.unsafe(f"the {what} path `{shown(path)}`")
        parts = [part for part in path.split("/") if part != "."]
        inner = parts
        while outward and inner and inner[0] == "..":
            inner = inner[1:]
        if ".." in inner or "" in parts:
            raise self.unsafe(f"the {what} path `{shown(path)}`")
        if not parts and not outward:
            raise self.unsafe(f"the {what} path `{shown(path)}`")
        return "/".join(parts) or "."

    def unsafe(self, what: str) -> UnsafePath:
        problem = f"{self.path}: {self.name} has {what}, which is not a safe relative path"
        return UnsafePath(problem, path=self.path, package=self.name)

    # --- types ----------------------------------------------------------------------------

    def text(self, key: str, table: Table | None = None, what: str = "") -> str | None:
        value = (self.table if table is None else table).get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise self.fail(f"has a {what or 'field'} whose `{key}` is not text")
        return value

    def subtable(self, key: str) -> Table | None:
        value = self.table.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.fail(f"has a `{key}` that is not a table")
        return value

    def tables(self, key: str) -> list[Table]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fail(f"has `{key}` that are not an array of tables")
        return value


def _signed(text: str) -> bool:
    """Return whether a URL has a parameter whose name says that its value is a secret."""
    # Split, not one expression: `token` a hundred thousand times over would keep that busy for a day.
    parameters = re.split(r"[?&#;]", text)[1:]
    return any("=" in one and re.search(_SIGNED, one.partition("=")[0]) for one in parameters)


def _unquote(url: str) -> str:
    last = url.rpartition("/")[2]
    if "%" not in last:
        return last
    from urllib.parse import unquote

    return unquote(last, errors="strict") if re.fullmatch(r"(?:[^%]|%[0-9A-Fa-f]{2})*", last) else ""
