"""HTTP and local files, one door: the only user of the network.

Credentials go to the host they were given for and to no other; they are in no message.
"""

from __future__ import annotations

import contextlib
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ssl import CERT_NONE, SSLContext, SSLError, create_default_context
from typing import BinaryIO, Final
from urllib.parse import unquote, urljoin, urlsplit

from envid.errors import Offline, Unreachable
from envid.lock.indexes import Credential
from envid.whole import open_regular

REDIRECTS: Final = 10
CHUNK: Final = 256 * 1024
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one later."""
_REASONS: Final = {
    401: "it demands a credential",
    403: "it refuses access",
    404: "it has no such file",
    410: "the file was removed",
    429: "it asks to be asked less often",
}


class Interrupted(Exception):
    """The connection failed, or the server cannot answer now; another try may succeed."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        """Seconds that the server asked us to wait."""


class Declined(Exception):
    """The server answered, and the answer is no."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status
        self.reason = _REASONS.get(status, f"it answered with status {status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the network may be used, and with which credentials."""

    offline: bool = False
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    """``scheme://host[:port]`` or a bare host name (netrc), to the credential for it."""
    names: Mapping[str, str] = field(default_factory=dict)
    """``scheme://host[:port]``, to the name of the index there: for messages."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """``http``, ``https``, ``all``, ``no``, as the variables of these names have them."""
    insecure_hosts: tuple[str, ...] = ()
    ca_bundle: str | None = None
    """PEM file trusted besides what OpenSSL trusts (which honours SSL_CERT_FILE and SSL_CERT_DIR)."""
    timeout: float = 30.0
    """Seconds without a byte."""
    attempts: int = 5
    """Tries without progress."""
    wait: Callable[[float], object] | None = None
    """What waits between tries, given seconds; the stopping event of the transport by default."""
    user_agent: str = "envid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose body is still to be read."""

    status: int
    length: int | None
    """Bytes of the body, if told."""
    start: int
    """Offset of the body in the whole file."""
    content_type: str
    url: str
    """After redirects; for relative links only, never to be shown."""
    stream: HTTPResponse | BinaryIO

    def read(self, amount: int = CHUNK) -> bytes:
        """Return up to ``amount`` bytes, none at the end; raise Interrupted."""
        try:
            return self.stream.read(amount)
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # The last two: another thread closed the connection under us to stop the transfer.
            raise Interrupted(_reason(error)) from error


class Transport:
    """Connections of one command, kept open for each thread; ``stop`` ends all transfers from any thread."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.stopped = threading.Event()
        self._local = threading.local()
        self._open: list[HTTPConnection] = []
        self._guard = threading.Lock()
        self._context: SSLContext | None = None

    def stop(self) -> None:
        """Make every transfer fail soon."""
        self.stopped.set()
        self.close()

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            connections, self._open = self._open, []
        for connection in connections:
            # A thread that reads from it is woken by the shutdown, not by the close.
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(2)
            connection.close()

    def wait(self, seconds: float) -> None:
        """Wait between two tries."""
        (self.access.wait or self.stopped.wait)(seconds)

    @contextlib.contextmanager
    def get(self, url: str, *, start: int = 0, accept: str = "*/*") -> Iterator[Answer]:
        """Yield the answer to GET ``url``, from byte ``start`` on if the server can.

        Raises Offline, Interrupted, Declined, Unreachable.
        """
        if urlsplit(url).scheme == "file":
            with _local(url, start) as answer:
                yield answer
            return
        if self.access.offline:
            raise Offline(f"{host_of(url)} would have to be asked")
        answer = self._follow(url, start, accept)
        try:
            yield answer
        finally:
            response = answer.stream
            if isinstance(response, HTTPResponse) and not response.isclosed():
                # Half read: the rest is in the pipe, the connection cannot serve another request.
                self._forget(answer.url)
                response.close()

    def _follow(self, url: str, start: int, accept: str) -> Answer:
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": self.access.user_agent}
        if start:
            headers["Range"] = f"bytes={start}-"
        for _ in range(REDIRECTS):
            response = self._ask(url, headers)
            location = response.getheader("Location")
            if response.status in (301, 302, 303, 307, 308) and location:
                self._drain(url, response)
                url = _redirected(url, location)
                continue
            if response.status not in (200, 206):
                after = response.getheader("Retry-After") or ""
                self._drain(url, response)
                if response.status in TRANSIENT:
                    reason = _REASONS.get(response.status, f"it answered with status {response.status}")
                    raise Interrupted(reason, after=min(float(after), 60.0) if after.isdigit() else None)
                raise Declined(response.status)
            return Answer(
                status=response.status,
                length=response.length,
                start=_range_start(response) if response.status == 206 else 0,
                content_type=response.getheader("Content-Type") or "",
                url=url,
                stream=response,
            )
        raise Unreachable(f"{host_of(url)} redirects more than {REDIRECTS} times")

    def _ask(self, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Send one request; once more when a connection kept open turns out to be dead."""
        parts = urlsplit(url)
        origin, target = _origin(url), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = dict(headers)
        proxy = self._proxy(url)
        if credential := self._credential(url):
            sent["Authorization"] = _basic(credential)
        if proxy and parts.scheme == "http":
            target = f"{origin}{target}"
            if authorisation := _proxy_authorisation(proxy):
                sent["Proxy-Authorization"] = authorisation
        while True:
            if self.stopped.is_set():
                raise Interrupted("the transfer was stopped")
            connection, fresh = self._connection(url, proxy)
            try:
                connection.request("GET", target, headers=sent)
                return connection.getresponse()
            except SSLError as error:
                self._forget(url)
                if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                    raise Interrupted(_reason(error)) from error
                raise Unreachable(
                    f"the certificate of {host_of(url)} cannot be verified",
                    hint="set SSL_CERT_FILE to the certificate bundle of your network",
                ) from error
            except (OSError, HTTPException, AttributeError) as error:
                self._forget(url)
                if fresh:
                    raise Interrupted(_reason(error)) from error
            except ValueError as error:  # a URL with control characters or an impossible host
                self._forget(url)
                raise Unreachable(f"{host_of(url)} cannot be asked: the URL is not valid") from error

    def _connection(self, url: str, proxy: str | None) -> tuple[HTTPConnection, bool]:
        kept: dict[str, HTTPConnection] = self._local.__dict__.setdefault("kept", {})
        origin = _origin(url)
        if origin in kept:
            return kept[origin], False
        parts = urlsplit(url)
        place = urlsplit(proxy) if proxy else parts
        host = place.hostname or ""
        port = place.port
        connection: HTTPConnection
        if parts.scheme == "https":
            connection = HTTPSConnection(host, port, timeout=self.access.timeout, context=self._tls(parts.netloc))
            if proxy:
                authorisation = _proxy_authorisation(proxy)
                tunnel = {"Proxy-Authorization": authorisation} if authorisation else {}
                connection.set_tunnel(parts.hostname or "", parts.port or 443, tunnel)
        else:
            connection = HTTPConnection(host, port, timeout=self.access.timeout)
        kept[origin] = connection
        with self._guard:
            self._open.append(connection)
        return connection, True

    def _forget(self, url: str) -> None:
        kept: dict[str, HTTPConnection] = self._local.__dict__.setdefault("kept", {})
        connection = kept.pop(_origin(url), None)
        if connection is not None:
            connection.close()
            with self._guard:
                self._open = [other for other in self._open if other is not connection]

    def _drain(self, url: str, response: HTTPResponse) -> None:
        try:
            response.read(64 * 1024)
        except (OSError, HTTPException):
            self._forget(url)
        if not response.isclosed():
            self._forget(url)

    def _tls(self, netloc: str) -> SSLContext:
        place = netloc.rpartition("@")[2]
        if {place, place.partition(":")[0]} & set(self.access.insecure_hosts):
            context = create_default_context()
            context.check_hostname = False
            context.verify_mode = CERT_NONE
            return context
        with self._guard:
            if self._context is None:
                self._context = create_default_context()
                if self.access.ca_bundle:
                    with contextlib.suppress(OSError):
                        self._context.load_verify_locations(self.access.ca_bundle)
            return self._context

    def _credential(self, url: str) -> Credential | None:
        parts = urlsplit(url)
        if parts.username is not None:
            return Credential(username=unquote(parts.username), password=unquote(parts.password or ""))
        known = self.access.credentials
        return known.get(_origin(url)) or known.get(parts.hostname or "")

    def _proxy(self, url: str) -> str | None:
        parts, proxies = urlsplit(url), self.access.proxies
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if not proxy or _bypasses(proxies.get("no", ""), parts.hostname or ""):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if urlsplit(proxy).scheme != "http":
            raise Unreachable(f"the proxy for {host_of(url)} is not an HTTP proxy", hint="envid knows no other kind")
        return proxy


def host_of(url: str) -> str:
    """Return the host, with port if given: all of a URL that a message may show."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return parts.netloc.rpartition("@")[2] or "this machine"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def origin_of(url: str) -> str:
    """Return ``scheme://host[:port]``, the place that a credential is for."""
    return _origin(url)


def _redirected(url: str, location: str) -> str:
    there = urljoin(url, location)
    new, old = urlsplit(there), urlsplit(url)
    if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
        raise Unreachable(f"{host_of(url)} redirects to {new.scheme[:10]}://, which envid does not follow")
    if old.username is not None and new.username is None and _origin(url) == _origin(there):
        # The credential of the URL stays good for its own host only.
        return f"{new.scheme}://{old.netloc}{new.path}" + (f"?{new.query}" if new.query else "")
    return there


def _bypasses(rule: str, host: str) -> bool:
    """Return whether ``NO_PROXY`` names the host, a parent domain of it, or everything."""
    for entry in (part.strip().lower() for part in rule.split(",")):
        bare = entry.rpartition(":")[0] if entry.rpartition(":")[2].isdigit() else entry
        bare = bare.lstrip("*").lstrip(".")
        if entry == "*" or (bare and (host == bare or host.endswith(f".{bare}"))):
            return True
    return False


def _range_start(response: HTTPResponse) -> int:
    unit, _, rest = (response.getheader("Content-Range") or "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def _basic(credential: Credential) -> str:
    return "Basic " + b64encode(f"{credential.username}:{credential.password}".encode()).decode("ascii")


def _proxy_authorisation(proxy: str) -> str | None:
    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    return _basic(Credential(username=unquote(parts.username), password=unquote(parts.password or "")))


@contextlib.contextmanager
def _local(url: str, start: int) -> Iterator[Answer]:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Declined(404)
    path = unquote(parts.path)
    try:
        stream = open_regular(path)
    except (OSError, ValueError) as error:
        raise Declined(404) from error
    with stream:
        size = stream.seek(0, 2)
        kind = "application/json" if path.endswith(".json") else "text/html"
        first = stream.seek(min(start, size))
        yield Answer(status=200, length=size - first, start=first, content_type=kind, url=url, stream=stream)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    text = getattr(error, "strerror", None)
    return str(text) if text else f"the connection failed ({type(error).__name__})"
