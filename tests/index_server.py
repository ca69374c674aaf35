"""A package index on the loopback interface, serving a folder of wheels and sdists.

A real ``http.server``: PEP 503 pages and PEP 691 JSON by content negotiation, byte ranges, PEP 658
metadata files, and the misbehaviour that tests ask for (`Behaviour`). Every request is recorded.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
SUFFIXES = (".whl", ".tar.gz", ".zip")


@dataclass(kw_only=True)
class Behaviour:
    """How the index behaves; tests may change it while the server runs."""

    hashes: bool = True
    """Whether the pages give sha256."""
    sizes: bool = True
    """Whether the JSON pages give sizes."""
    json: bool = True
    """Whether PEP 691 JSON is offered; HTML always is."""
    metadata: bool = False
    """Whether PEP 658 metadata files are offered."""
    auth: tuple[str, str] | None = None
    """User and password demanded of every request."""
    absolute_links: bool = False
    """Whether file links carry scheme and host."""
    link_userinfo: str | None = None
    """``user:token`` put into file links (which are absolute then)."""
    link_query: str | None = None
    """``sig=...`` put behind file links."""
    upload_times: Mapping[str, str] = field(default_factory=dict)
    """File name to RFC 3339 time."""
    ranges: bool = True
    """Whether byte ranges are honoured."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Regular expression over the path, to the status it is answered with."""
    failures: dict[str, int] = field(default_factory=dict)
    """Regular expression over the path, to how many more times it is answered with 503."""
    truncate: Mapping[str, int] = field(default_factory=dict)
    """File name to the number of bytes after which the connection is dropped; the length promised stays whole."""
    replaced: Mapping[str, bytes] = field(default_factory=dict)
    """File name to other bytes than those whose hash the pages give."""
    max_age: int | None = None
    """Seconds for which a page may be kept, as it says itself."""
    redirects: Mapping[str, str] = field(default_factory=dict)
    """Regular expression over the path, to the URL it is redirected to."""
    gate: threading.Event | None = None
    """When set, file downloads wait for this event (at most 30 seconds)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    """Without query."""
    range: str | None
    accept: str
    authorised: bool
    credential: str | None = None
    """The Authorization header as sent."""


class IndexServer:
    """A running index; ``url`` is its Simple API root, with a slash at the end."""

    def __init__(self, folder: Path, behaviour: Behaviour) -> None:
        self.folder = folder
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.host = f"127.0.0.1:{self._http.server_port}"
        self.url = f"http://{self.host}/simple/"
        self._digests: dict[tuple[str, int, int], str] = {}

    def url_for(self, user: str, password: str) -> str:
        """Return the index URL with a credential in it."""
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}/simple/"

    def file_url(self, filename: str) -> str:
        """Return the plain absolute URL of a served file."""
        return f"http://{self.host}/files/{quote(filename)}"

    def names(self) -> dict[str, list[Path]]:
        """Return normalised project name to its files, sorted by file name."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            if path.name.endswith(SUFFIXES):
                found.setdefault(project_of(path.name), []).append(path)
        return found

    def sha256(self, path: Path) -> str:
        """Return the digest of a served file, cached by size and time."""
        status = path.stat()
        key = (path.name, status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[key]

    def link(self, filename: str) -> str:
        """Return the link that the pages give for a file, without fragment."""
        how = self.behaviour
        path = f"/files/{quote(filename)}"
        query = f"?{how.link_query}" if how.link_query else ""
        if how.link_userinfo:
            return f"http://{how.link_userinfo}@{self.host}{path}{query}"
        return f"http://{self.host}{path}{query}" if how.absolute_links else f"../..{path}{query}"

    def paths(self, prefix: str = "/") -> list[str]:
        """Return the paths asked for so far that begin with ``prefix``."""
        return [request.path for request in self.requests if request.path.startswith(prefix)]

    def serve(self) -> None:
        """Answer requests until ``stop``."""
        self._http.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Stop answering and close the socket."""
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away: some tests make them."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def index_server(folder: Path, behaviour: Behaviour | None = None) -> Iterator[IndexServer]:
    """Yield a running index over ``folder``; files may be added while it runs."""
    server = IndexServer(folder, behaviour or Behaviour())
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def project_of(filename: str) -> str:
    """Return the normalised project name of a wheel or sdist file name."""
    if filename.endswith(".whl"):
        name = filename.split("-", 1)[0]
    else:
        name = re.sub(r"\.(tar\.gz|zip)$", "", filename).rpartition("-")[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_of(path: Path) -> bytes:
    """Return the METADATA of a wheel."""
    with zipfile.ZipFile(path) as archive:
        (member,) = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
        return archive.read(member)


def _requires_python(path: Path) -> str | None:
    if path.suffix != ".whl":
        return None
    found = re.search(rb"^Requires-Python: *(.+?)\r?$", metadata_of(path), re.MULTILINE)
    return found.group(1).decode() if found else None


def _handler(server: IndexServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep the test output clean."""

        def do_GET(self) -> None:
            self.answer("GET")

        def do_HEAD(self) -> None:
            self.answer("HEAD")

        def answer(self, method: Literal["GET", "HEAD"]) -> None:
            path = unquote(urlsplit(self.path).path)
            how = server.behaviour
            authorised = how.auth is None or self.headers.get("Authorization") == _basic(how.auth)
            server.requests.append(
                Request(
                    method=method, path=path, range=self.headers.get("Range"),
                    accept=self.headers.get("Accept", ""), authorised=authorised,
                    credential=self.headers.get("Authorization"),
                )
            )  # fmt: skip
            if not authorised:
                return self.send(401, b"", "text/plain", {"WWW-Authenticate": 'Basic realm="index"'})
            for pattern, left in how.failures.items():
                if left > 0 and re.search(pattern, path):
                    how.failures[pattern] = left - 1
                    return self.send(503, b"later", "text/plain", {})
            for pattern, status in how.statuses.items():
                if re.search(pattern, path):
                    return self.send(status, b"no", "text/plain", {})
            for pattern, there in how.redirects.items():
                if re.search(pattern, path):
                    return self.send(302, b"", "text/plain", {"Location": there})
            if path.startswith("/simple/"):
                return self.page(path)
            if path.startswith("/files/"):
                return self.file(path.removeprefix("/files/"))
            return self.send(404, b"", "text/plain", {})

        def page(self, path: str) -> None:
            names = server.names()
            name = path.removeprefix("/simple/").strip("/")
            wants_json = server.behaviour.json and JSON_TYPE in self.headers.get("Accept", "")
            if not name:
                listing = "".join(f'<a href="{n}/">{n}</a>\n' for n in names)
                return self.send(200, f"<!DOCTYPE html>{listing}".encode(), "text/html", {})
            if name not in names:
                return self.send(404, b"", "text/plain", {})
            if wants_json:
                files = [self.entry(file) for file in names[name]]
                body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": files})
                return self.send(200, body.encode(), JSON_TYPE, self.caching())
            anchors = "".join(self.anchor(file) for file in names[name])
            body = f"<!DOCTYPE html><html><body>\n{anchors}</body></html>"
            return self.send(200, body.encode(), "text/html; charset=utf-8", self.caching())

        def caching(self) -> dict[str, str]:
            age = server.behaviour.max_age
            return {} if age is None else {"Cache-Control": f"max-age={age}"}

        def entry(self, file: Path) -> dict[str, object]:
            how = server.behaviour
            entry: dict[str, object] = {"filename": file.name, "url": server.link(file.name)}
            entry["hashes"] = {"sha256": server.sha256(file)} if how.hashes else {}
            if how.sizes:
                entry["size"] = file.stat().st_size
            if file.name in how.upload_times:
                entry["upload-time"] = how.upload_times[file.name]
            if python := _requires_python(file):
                entry["requires-python"] = python
            if how.metadata and file.suffix == ".whl":
                entry["core-metadata"] = {"sha256": hashlib.sha256(metadata_of(file)).hexdigest()}
            return entry

        def anchor(self, file: Path) -> str:
            fragment = f"#sha256={server.sha256(file)}" if server.behaviour.hashes else ""
            python = _requires_python(file)
            attribute = f' data-requires-python="{html.escape(python)}"' if python else ""
            return f'<a href="{html.escape(server.link(file.name))}{fragment}"{attribute}>{file.name}</a><br>\n'

        def file(self, name: str) -> None:
            how = server.behaviour
            known = {path.name: path for paths in server.names().values() for path in paths}
            if name.endswith(".metadata") and how.metadata and name.removesuffix(".metadata") in known:
                return self.send(200, metadata_of(known[name.removesuffix(".metadata")]), "text/plain", {})
            if name not in known:
                return self.send(404, b"", "text/plain", {})
            if how.gate is not None:
                how.gate.wait(30)
            body = how.replaced.get(name) or known[name].read_bytes()
            headers = {"Accept-Ranges": "bytes"} if how.ranges else {"Accept-Ranges": "none"}
            given = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            if how.ranges and given:
                first, last = _span(given.group(1), given.group(2), len(body))
                if first > last:
                    return self.send(416, b"", "text/plain", {"Content-Range": f"bytes */{len(body)}"})
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                return self.send(206, body[first : last + 1], "application/octet-stream", headers)
            return self.send(200, body, "application/octet-stream", headers, cut=how.truncate.get(name))

        def send(
            self, status: int, body: bytes, kind: str, headers: Mapping[str, str], *, cut: int | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.close_connection = True

    return Handler


def _basic(auth: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(auth).encode()).decode()


def _span(first: str, last: str, length: int) -> tuple[int, int]:
    if not first:
        return max(0, length - int(last or 0)), length - 1
    return int(first), min(int(last) if last else length - 1, length - 1)
