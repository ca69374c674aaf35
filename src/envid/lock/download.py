"""Download artifacts: in parallel, resumed where an earlier try stopped, every byte held to its sha256."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from envid import atomic
from envid.errors import DigestMismatch, InvalidIndexPage, Offline, Unreachable
from envid.lock.fetch import CHUNK, Access, Declined, Interrupted, Transport, host_of, origin_of
from envid.lock.index import ACCEPT, IndexFile, parse_page
from envid.lock.indexes import Index, credential_hint
from envid.values.artifact import NormalizedName, Sha256
from envid.values.progress import SILENT, Progress

T = TypeVar("T")

WORKERS: Final = 8
BACK_OFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the second, third, ... try."""
LAST: Final = 2.0
"""Seconds for the transfers to end in when the command is interrupted."""
MAX_PAGE: Final = 128 * 1024 * 1024
MAX_TRIES: Final = 50
"""However much progress each try makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One artifact to bring."""

    filename: str
    sha256: Sha256
    project: NormalizedName
    """What to look it up by where ``url`` is not known."""
    destination: Path
    url: str | None = None
    size: int | None = None
    """Bytes."""


def download(
    requests: Iterable[Request],
    *,
    access: Access,
    indexes: Callable[[], Sequence[Index]],
    progress: Progress = SILENT,
    workers: int = WORKERS,
) -> int:
    """Put each artifact at its destination; return the number of bytes that came over the network or from files.

    ``indexes`` is called at most once, when an artifact without a URL has to be looked up. On a
    failure the other transfers are stopped; finished files stay, and so does the first part of an
    unfinished one, for the next time. Raises Offline naming everything that is missing,
    Unreachable, InvalidIndexPage, DigestMismatch, WriteFailed.
    """
    wanted = sorted({request.destination: request for request in requests}.values(), key=lambda r: r.filename)
    if not wanted:
        return 0
    if access.offline:
        wanted_online = [r.filename for r in wanted if r.url is not None and urlsplit(r.url).scheme != "file"]
        if wanted_online:
            raise _offline(wanted_online)
    with _job(access, workers=min(workers, len(wanted)), progress=progress) as job:
        return job.transfer(wanted, job.look_up(wanted, indexes))


def offered(
    projects: Iterable[NormalizedName], *, access: Access, indexes: Sequence[Index], progress: Progress = SILENT
) -> Mapping[NormalizedName, tuple[IndexFile, ...]]:
    """Return the files that the indexes list for each project, in the order of the indexes.

    Without the network only local indexes are asked. Raises Offline when there is none, Unreachable,
    InvalidIndexPage.
    """
    names = sorted(set(projects))
    searched = [index for index in indexes if not access.offline or index.url.startswith("file:")]
    if access.offline and names and not searched:
        raise Offline(f"the files of {len(names)} project(s) have to be looked up in an index", count=len(names))
    with _job(access, workers=min(WORKERS, len(names)), progress=progress) as job:
        asked = [job.pool.submit(job.pages, name, searched) for name in names]
        job.await_all(asked, label="Looking up", total=len(asked), unit="files")
        return {name: tuple(future.result()) for name, future in zip(names, asked, strict=True)}


@contextmanager
def _job(access: Access, *, workers: int, progress: Progress) -> Iterator[_Job]:
    """Yield a job whose transfers are stopped, and awaited, when the block fails."""
    transport = Transport(access)
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    job = _Job(transport=transport, pool=pool, progress=progress)
    patient = True
    try:
        yield job
    except BaseException as error:
        transport.stop()
        if isinstance(error, KeyboardInterrupt):
            # Time to put away first parts; a disk that does not answer must not keep the command from ending.
            pool.shutdown(wait=False, cancel_futures=True)
            wait(job.asked, timeout=LAST)
            patient = False
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)
        transport.close()


def _offline(filenames: Sequence[str]) -> Offline:
    shown = ", ".join(filenames[:5]) + (f" and {len(filenames) - 5} more" if len(filenames) > 5 else "")
    return Offline(
        f"{len(filenames)} artifact(s) are not on this machine: {shown}",
        hint="run again without --offline, or put them into the wheelhouse that the lock names",
        count=len(filenames),
    )


class _Job:
    """One ``download``: the counters that its threads share."""

    def __init__(self, *, transport: Transport, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.transport = transport
        self.pool = pool
        self.progress = progress
        self.received: deque[int] = deque()
        """The size of each chunk; appending needs no guard among threads."""
        self.total = 0
        self.asked: list[Future[Any]] = []

    # --- where -----------------------------------------------------------------------------

    def look_up(
        self, wanted: Sequence[Request], indexes: Callable[[], Sequence[Index]]
    ) -> Mapping[Path, tuple[str, ...]]:
        """Return where each artifact may be had, best place first."""
        places: dict[Path, tuple[str, ...]] = {r.destination: (r.url,) for r in wanted if r.url is not None}
        unknown = [request for request in wanted if request.url is None]
        if not unknown:
            return places
        searched = sorted(indexes(), key=lambda index: index.explicit)
        if self.transport.access.offline:
            searched = [index for index in searched if index.url.startswith("file:")]
        projects = sorted({request.project for request in unknown})
        asked = [self.pool.submit(self.pages, project, searched) for project in projects]
        self.await_all(asked, label="Looking up", total=len(asked), unit="files")
        pages = dict(zip(projects, (future.result() for future in asked), strict=True))
        for request in unknown:
            places[request.destination] = _matching(request, pages[request.project])
        missing = [request for request in unknown if not places[request.destination]]
        if missing and self.transport.access.offline:
            raise _offline([request.filename for request in missing])
        if missing:
            raise _not_offered(missing[0], pages[missing[0].project], searched)
        return places

    def pages(self, project: NormalizedName, indexes: Sequence[Index]) -> list[IndexFile]:
        """Return what all indexes say about a project, in their order."""
        return [file for index in indexes for file in self.page(index, project)]

    def page(self, index: Index, project: NormalizedName) -> tuple[IndexFile, ...]:
        """Return what one index says; nothing when it does not know the project."""
        url = index.url if index.flat else f"{index.url}/{quote(project)}/"
        if index.url.startswith("file:"):
            folder = Path(unquote(urlsplit(url).path))
            if index.flat and folder.is_dir():
                files = sorted(path for path in folder.iterdir() if path.is_file())
                return tuple(IndexFile(filename=path.name, url=path.as_uri()) for path in files)
            if not index.flat:
                url = f"{url}index.html"
        try:
            return self.tried(lambda: _read_page(self.transport, url), what=f"the page of {project}", url=url)
        except Declined as answer:
            if answer.status in (404, 410):
                return ()
            raise Unreachable(
                f"cannot read the page of {project} on {host_of(url)}: {answer.reason}", status=answer.status,
                hint=credential_hint(index.name) if answer.status in (401, 403) else "check the URL of the index",
            ) from answer  # fmt: skip

    # --- bytes -----------------------------------------------------------------------------

    def transfer(self, wanted: Sequence[Request], places: Mapping[Path, tuple[str, ...]]) -> int:
        """Bring all files; return how many bytes came."""
        sizes = [request.size for request in wanted]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        # The largest first: a large file that begins last would leave all other threads idle.
        order = sorted(wanted, key=lambda request: -(request.size or 0))
        futures = [self.pool.submit(self.bring, request, places[request.destination]) for request in order]
        self.await_all(futures, label="Downloading", total=total, unit="bytes")
        return self.total

    def await_all(self, futures: Iterable[Future[Any]], *, label: str, total: int | None, unit: str) -> None:
        """Wait for all; raise the first failure at once. Tells the observer from this thread alone."""
        waiting = set(futures)
        self.asked += waiting
        self.progress.begin(label, total, unit)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                amount = len(done) if unit == "files" else self.counted()
                if amount:
                    self.progress.advance(amount)
                for future in done:
                    future.result()
        finally:
            self.progress.end()

    def counted(self) -> int:
        """Return how many bytes came since the last call."""
        amount = 0
        while self.received:
            amount += self.received.popleft()
        self.total += amount
        return amount

    def bring(self, request: Request, urls: Sequence[str]) -> None:
        """Bring one file from the first place that has the right bytes."""
        for number, url in enumerate(urls):
            try:
                # Not durable: whoever uses the file holds it to its digest again.
                with atomic.resumable(request.destination, durable=False) as stream:
                    self.fill(request, url, _Partial(stream))
            except (DigestMismatch, Unreachable):
                if number == len(urls) - 1:
                    raise
            else:
                return

    def fill(self, request: Request, url: str, partial: _Partial) -> None:
        """Complete ``partial``, which may hold a first part, and hold it to size and digest."""
        resumed = partial.size > 0
        try:
            self.tried(
                lambda: self.receive(request, url, partial), what=request.filename, url=url, place=lambda: partial.size
            )
            if partial.digest.hexdigest() != request.sha256:
                raise _mismatch(request, host_of(url), f"sha256 {partial.digest.hexdigest()}, not {request.sha256}")
        except DigestMismatch:
            partial.restart()
            if not resumed:
                raise
            # The first part may be of another time or another server: once more, from nothing.
            self.fill(request, url, partial)
        except Declined as answer:
            partial.restart()
            raise _declined(request, url, answer, self.transport.access) from answer

    def receive(self, request: Request, url: str, partial: _Partial) -> None:
        """Append what is missing; raise Interrupted with all that came kept."""
        start, size = partial.size, request.size
        if start and start == size:
            return
        try:
            with self.transport.get(url, start=start) as answer:
                if answer.start != start:
                    if answer.start != 0:
                        raise Declined(416)
                    partial.restart()
                end = partial.size + answer.length if answer.length is not None else None
                if size is not None and (end or 0) > size:
                    raise _mismatch(request, host_of(url), f"{end} bytes, not {size}")
                while chunk := answer.read():
                    partial.append(chunk)
                    self.received.append(len(chunk))
                    if size is not None and partial.size > size:
                        raise _mismatch(request, host_of(url), f"more than {size} bytes")
                if end is not None and partial.size < end:
                    raise Interrupted("the connection ended early")
        except Declined as answer:
            if answer.status != 416 or start == 0:
                raise
            partial.restart()
            raise Interrupted("it cannot resume the file") from answer

    def tried(self, action: Callable[[], T], *, what: str, url: str, place: Callable[[], int] | None = None) -> T:
        """Try until it works, or five times without progress (``place`` tells how far it is)."""
        failures = tries = 0
        before = place() if place else 0
        while True:
            try:
                return action()
            except Interrupted as interruption:
                now = place() if place else 0
                failures, tries, before = 1 if now > before else failures + 1, tries + 1, now
                gone = self.transport.stopped.is_set() or tries >= MAX_TRIES
                if gone or failures >= self.transport.access.attempts:
                    raise Unreachable(
                        f"cannot fetch {what} from {host_of(url)}: {interruption.reason}", file=what
                    ) from interruption
                pause = BACK_OFF[min(failures, len(BACK_OFF)) - 1]
                self.transport.wait(pause if interruption.after is None else interruption.after)


class _Partial:
    """A file that grows, hashed as it does; begins with what is there already."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.size = 0
        self.digest = hashlib.sha256()
        stream.seek(0)
        while chunk := stream.read(CHUNK):
            self.digest.update(chunk)
            self.size += len(chunk)

    def append(self, chunk: bytes) -> None:
        self.stream.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        self.stream.seek(0)
        self.stream.truncate(0)
        self.size = 0
        self.digest = hashlib.sha256()


def _read_page(transport: Transport, url: str) -> tuple[IndexFile, ...]:
    with transport.get(url, accept=ACCEPT) as answer:
        data = bytearray()
        while chunk := answer.read():
            data += chunk
            if len(data) > MAX_PAGE:
                raise InvalidIndexPage(f"a page of {host_of(url)} is larger than {MAX_PAGE} bytes")
        if answer.length is not None and len(data) < answer.length:
            raise Interrupted("the connection ended early")
        return parse_page(bytes(data), content_type=answer.content_type, url=answer.url)


def _matching(request: Request, files: Iterable[IndexFile]) -> tuple[str, ...]:
    """Return the URLs of the same bytes first, then those of the same name whose bytes the page does not tell."""
    listed = list(files)
    same = [file.url for file in listed if file.sha256 == request.sha256]
    told = [file.url for file in listed if file.sha256 is None and file.filename == request.filename]
    return tuple(dict.fromkeys([*same, *told]))


def _not_offered(
    request: Request, files: Sequence[IndexFile], indexes: Sequence[Index]
) -> Unreachable | DigestMismatch:
    hosts = ", ".join(dict.fromkeys(host_of(index.url) for index in indexes)) or "any index (none is configured)"
    others = sorted({file.sha256 for file in files if file.filename == request.filename and file.sha256})
    if others:
        return _mismatch(request, hosts, f"sha256 {others[0]}, not {request.sha256}")
    return Unreachable(
        f"{request.filename} is not offered by {hosts}", file=request.filename,
        hint="configure an index that has it (UV_INDEX, UV_DEFAULT_INDEX, [[tool.uv.index]])",
    )  # fmt: skip


def _mismatch(request: Request, host: str, difference: str) -> DigestMismatch:
    return DigestMismatch(
        f"{request.filename} from {host} is not the file in the lock: {difference}",
        file=request.filename, expected=request.sha256,
    )  # fmt: skip


def _declined(request: Request, url: str, answer: Declined, access: Access) -> Unreachable:
    hint = "configure an index that has the file, or lock again"
    if answer.status in (401, 403):
        hint = credential_hint(access.names.get(origin_of(url)))
    return Unreachable(
        f"cannot fetch {request.filename} from {host_of(url)}: {answer.reason}",
        file=request.filename, status=answer.status, hint=hint,
    )  # fmt: skip
