"""The Simple repository API: what an index page says about the files of a project. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from envid.errors import InvalidIndexPage
from envid.values.artifact import Sha256

JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
HTML_TYPE: Final = "application/vnd.pypi.simple.v1+html"
ACCEPT: Final = f"{JSON_TYPE}, {HTML_TYPE};q=0.2, text/html;q=0.1"
"""What to ask for (PEP 691, "Content negotiation")."""

MAX_FILES: Final = 200_000
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SCHEMES: Final = ("http", "https", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file that an index offers."""

    filename: str
    url: str
    """Absolute, without fragment; may hold a credential or a signature: never to be shown or stored."""
    sha256: Sha256 | None = None
    size: int | None = None
    """Bytes."""
    requires_python: str | None = None
    yanked: bool = False


def parse_page(data: bytes, *, content_type: str, url: str) -> tuple[IndexFile, ...]:
    """Return the files on one project page, or in one find-links listing, in the order of the page.

    HTML as in PEP 503, 592 and 629; JSON as in PEP 691 and 700 when ``content_type`` says so.
    ``url`` is where the page was read, for relative links; its host is all that an error shows.
    A link that is not to a file over http, https or file is left out. Raises InvalidIndexPage.
    """
    host = urlsplit(url).hostname or "a local index"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidIndexPage(f"the page of {host} is not UTF-8 (byte {error.start})") from error
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith("json"):
        return _json(text, url, host)
    if kind in ("text/html", HTML_TYPE, "application/vnd.pypi.simple.latest+html", "application/xhtml+xml", ""):
        return _html(text, url, host)
    raise InvalidIndexPage(f"{host} answered with {kind}, which is not a project page")


def _json(text: str, url: str, host: str) -> tuple[IndexFile, ...]:
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidIndexPage(f"the page of {host} is not JSON") from error
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise InvalidIndexPage(f"the page of {host} has no list of files")
    meta = document.get("meta")
    _version(str(meta.get("api-version", "1.0")) if isinstance(meta, dict) else "1.0", host)
    found = (_json_file(entry, url) for entry in files if isinstance(entry, dict))
    return tuple(file for file in found if file is not None)


def _json_file(entry: Mapping[str, Any], base: str) -> IndexFile | None:
    href, filename, hashes, size = entry.get("url"), entry.get("filename"), entry.get("hashes"), entry.get("size")
    if not isinstance(href, str) or not isinstance(filename, str):
        return None
    requires = entry.get("requires-python")
    return _file(
        base,
        href,
        filename=filename,
        sha256=hashes.get("sha256") if isinstance(hashes, dict) else None,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        requires_python=requires if isinstance(requires, str) else None,
        yanked=bool(entry.get("yanked")),
    )


def _html(text: str, url: str, host: str) -> tuple[IndexFile, ...]:
    found = _Anchors(url)
    parser = HTMLParser(convert_charrefs=True)
    # A method of this one parser, instead of a class that inherits.
    vars(parser).update(handle_starttag=found.start)
    try:
        parser.feed(text)
        parser.close()
    except (ValueError, AssertionError, RecursionError) as error:
        # html.parser asserts on some malformed declarations.
        raise InvalidIndexPage(f"the page of {host} is not HTML") from error
    if found.version is not None:
        _version(found.version, host)
    if len(found.files) > MAX_FILES:
        raise InvalidIndexPage(f"the page of {host} names more than {MAX_FILES} files")
    return tuple(found.files)


class _Anchors:
    """Collects what the tags of a page say."""

    def __init__(self, url: str) -> None:
        self.base = url
        self.version: str | None = None
        self.files: list[IndexFile] = []

    def start(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in one start tag."""
        given = dict(attrs)
        if tag == "base" and given.get("href"):
            self.base = _join(self.base, given["href"] or "") or self.base
        elif tag == "meta" and given.get("name") == "pypi:repository-version":
            self.version = given.get("content")
        elif tag == "a" and given.get("href"):
            file = _file(
                self.base,
                given["href"] or "",
                requires_python=given.get("data-requires-python"),
                yanked="data-yanked" in given,
            )
            if file is not None:
                self.files.append(file)


def _file(
    base: str,
    href: str,
    *,
    filename: str | None = None,
    sha256: object = None,
    size: int | None = None,
    requires_python: str | None = None,
    yanked: bool = False,
) -> IndexFile | None:
    absolute = _join(base, href)
    if absolute is None:
        return None
    location, _, fragment = absolute.partition("#")
    name = filename or unquote(urlsplit(location).path).rpartition("/")[2]
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        return None
    if sha256 is None:
        sha256 = dict(part.split("=", 1) for part in fragment.split("&") if "=" in part).get("sha256")
    digest = sha256.lower() if isinstance(sha256, str) else ""
    return IndexFile(
        filename=name,
        url=location,
        sha256=Sha256(digest) if _SHA256.fullmatch(digest) else None,
        size=size,
        requires_python=requires_python,
        yanked=yanked,
    )


def _join(base: str, href: str) -> str | None:
    try:
        absolute = urljoin(base, href.strip())
        parts = urlsplit(absolute)
        # A page over the network must not make us read local files.
        local = parts.scheme == "file" and urlsplit(base).scheme != "file"
        return None if parts.scheme not in _SCHEMES or local else absolute
    except ValueError:
        return None


def _version(text: str, host: str) -> None:
    if text.partition(".")[0] != "1":
        raise InvalidIndexPage(f"{host} speaks version {text[:20]} of the index API; envid knows 1.x")
