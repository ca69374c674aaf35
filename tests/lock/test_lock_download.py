"""Downloads: parallel, resumed, held to their digests; every failure says which file and host, and no secret."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from envid.errors import DigestMismatch, EnvidError, InvalidIndexPage, Offline, Unreachable, WriteFailed
from envid.lock.download import Request, download
from envid.lock.fetch import Access, origin_of
from envid.lock.indexes import Credential, Index
from envid.values.artifact import NormalizedName, Sha256
from index_server import Behaviour, IndexServer, index_server
from wheels import make_wheel

BIG = "big-1.0-py3-none-any.whl"
SMALL = "small-1.0-py3-none-any.whl"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[IndexServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    noise = random.Random(1).randbytes(900_000)
    make_wheel(folder, "big", "1.0", files={"big/__init__.py": b"", "big/data.bin": noise})
    make_wheel(folder, "small", "1.0")
    with index_server(folder) as server:
        yield server


def no_wait(seconds: float) -> None:
    """Let no time pass."""
    del seconds


def access(**options: object) -> Access:
    return Access(wait=no_wait, timeout=5.0, **options)  # type: ignore[arg-type]


def request(server: IndexServer, name: str, into: Path, *, url: bool = True, size: bool = True) -> Request:
    data = (server.folder / name).read_bytes()
    return Request(
        filename=name, sha256=Sha256(hashlib.sha256(data).hexdigest()), project=NormalizedName(name.split("-")[0]),
        destination=into / name, url=server.file_url(name) if url else None, size=len(data) if size else None,
    )  # fmt: skip


def bring(*requests: Request, how: Access | None = None, indexes: tuple[Index, ...] = ()) -> int:
    return download(requests, access=how or access(), indexes=lambda: indexes)


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_files_arrive_whole_with_one_request_each(served: IndexServer, tmp_path: Path) -> None:
    """An artifact whose URL is known costs one request, and its bytes are the server's."""
    into = tmp_path / "into"
    came = bring(request(served, BIG, into), request(served, SMALL, into))
    assert left(into) == [BIG, SMALL]
    assert (into / BIG).read_bytes() == (served.folder / BIG).read_bytes()
    assert came == sum((served.folder / name).stat().st_size for name in (BIG, SMALL))
    assert sorted(served.paths()) == [f"/files/{BIG}", f"/files/{SMALL}"]


def test_an_interrupted_transfer_is_resumed_where_it_stopped(served: IndexServer, tmp_path: Path) -> None:
    """After a truncated answer the next request asks only for the rest."""
    served.behaviour.truncate = {BIG: 400_000}
    bring(request(served, BIG, tmp_path / "into"))
    assert [r.range for r in served.requests] == [None, "bytes=400000-"]
    assert left(tmp_path / "into") == [BIG]


def test_a_first_part_of_an_earlier_run_is_resumed(served: IndexServer, tmp_path: Path) -> None:
    """A transfer that failed for good keeps its first part, and a later command fetches only the rest."""
    served.behaviour.truncate = {BIG: 300_000}
    served.behaviour.ranges = True
    one_try = Access(wait=no_wait, timeout=5.0, attempts=1)
    with pytest.raises(Unreachable, match=BIG):
        bring(request(served, BIG, tmp_path / "into"), how=one_try)
    assert left(tmp_path / "into") == [f".{BIG}.part"]
    assert bring(request(served, BIG, tmp_path / "into")) == (served.folder / BIG).stat().st_size - 300_000
    assert left(tmp_path / "into") == [BIG]


def test_a_server_without_ranges_is_asked_for_the_whole_again(served: IndexServer, tmp_path: Path) -> None:
    """Where ranges are not honoured, the first part is dropped and the file still comes out right."""
    into = tmp_path / "into"
    into.mkdir()
    (into / f".{BIG}.part").write_bytes((served.folder / BIG).read_bytes()[:1000])
    served.behaviour.ranges = False
    bring(request(served, BIG, into))
    assert (into / BIG).read_bytes() == (served.folder / BIG).read_bytes()


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
@pytest.mark.parametrize("length", [1000, 10_000_000], ids=["shorter", "longer than the file"])
def test_a_wrong_first_part_is_thrown_away(served: IndexServer, tmp_path: Path, length: int, size: bool) -> None:
    """A resumed file with a wrong digest is fetched once more from zero."""
    into = tmp_path / "into"
    into.mkdir()
    (into / f".{BIG}.part").write_bytes(b"\0" * length)
    bring(request(served, BIG, into, size=size))
    assert (into / BIG).read_bytes() == (served.folder / BIG).read_bytes()


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
@pytest.mark.parametrize("change", ["same length", "longer", "shorter"])
def test_wrong_bytes_are_refused_and_nothing_is_left(
    served: IndexServer, tmp_path: Path, change: str, size: bool
) -> None:
    """Other bytes than the lock's are a DigestMismatch (exit 5), whatever their length, and no file stays."""
    right = (served.folder / BIG).read_bytes()
    wrong = {"same length": b"\1" + right[1:], "longer": right + b"\0", "shorter": right[:-1]}[change]
    served.behaviour.replaced = {BIG: wrong}
    with pytest.raises(DigestMismatch, match="is not the file in the lock") as raised:
        bring(request(served, BIG, tmp_path / "into", size=size))
    assert raised.value.exit_code == 5
    assert left(tmp_path / "into") == []


def test_a_passing_failure_is_tried_again(served: IndexServer, tmp_path: Path) -> None:
    """Two answers 503 cost two waits and no error."""
    served.behaviour.failures = {SMALL: 2}
    waits: list[float] = []
    bring(request(served, SMALL, tmp_path / "into"), how=Access(wait=waits.append))
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_a_refusal_names_the_file_and_the_host_and_no_secret(served: IndexServer, tmp_path: Path, status: int) -> None:
    """Every refusing status ends as Unreachable (exit 9) with file and host, without credential or query."""
    served.behaviour.statuses = {SMALL: status}
    wanted = request(served, SMALL, tmp_path / "into")
    secret = Request(
        filename=wanted.filename, sha256=wanted.sha256, project=wanted.project, destination=wanted.destination,
        url=f"http://user:sesame@{served.host}/files/{SMALL}?sig=sesame",
    )  # fmt: skip
    with pytest.raises(Unreachable) as raised:
        bring(secret)
    told = f"{raised.value.message} {raised.value.hint} {raised.value.context}"
    assert SMALL in told
    assert served.host in told
    assert "sesame" not in told
    assert raised.value.exit_code == 9
    assert left(tmp_path / "into") == []


def test_a_host_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """A closed port is Unreachable after the tries, not a hang and not a traceback."""
    wanted = Request(
        filename=SMALL, sha256=Sha256("0" * 64), project=NormalizedName("small"), destination=tmp_path / SMALL,
        url=f"http://127.0.0.1:1/{SMALL}",
    )  # fmt: skip
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        bring(wanted)


def test_a_hung_server_is_given_up_after_the_timeout(served: IndexServer, tmp_path: Path) -> None:
    """A server that accepts and stays silent ends as Unreachable."""
    import threading

    served.behaviour.gate = threading.Event()
    how = Access(wait=no_wait, timeout=0.2, attempts=2)
    with pytest.raises(Unreachable, match="in time"):
        bring(request(served, SMALL, tmp_path / "into"), how=how)
    served.behaviour.gate.set()


def test_a_credential_is_not_taken_to_another_host(served: IndexServer, tmp_path: Path) -> None:
    """A redirect to another host arrives there without the credential of the first."""
    with index_server(served.folder) as other:
        served.behaviour.redirects = {SMALL: other.file_url(SMALL)}
        how = access(credentials={origin_of(served.url): Credential(username="user", password="sesame")})
        bring(request(served, SMALL, tmp_path / "into"), how=how)
        assert [r.credential is not None for r in served.requests] == [True]
        assert [r.credential for r in other.requests] == [None]


def test_a_redirect_loop_ends(served: IndexServer, tmp_path: Path) -> None:
    """A server that redirects to itself for ever is Unreachable."""
    served.behaviour.redirects = {SMALL: served.file_url(SMALL)}
    with pytest.raises(Unreachable, match="redirects more than"):
        bring(request(served, SMALL, tmp_path / "into"))


@pytest.mark.parametrize("json", [True, False], ids=["json", "html"])
@pytest.mark.parametrize("hashes", [True, False], ids=["hashes", "no hashes"])
def test_an_artifact_without_url_is_found_by_hash_or_name(
    served: IndexServer, tmp_path: Path, json: bool, hashes: bool
) -> None:
    """A neutral artifact is found on the configured index, with one page request for its project."""
    served.behaviour.json, served.behaviour.hashes = json, hashes
    bring(request(served, SMALL, tmp_path / "into", url=False), indexes=(Index(url=served.url.rstrip("/")),))
    assert left(tmp_path / "into") == [SMALL]
    assert served.paths() == ["/simple/small/", f"/files/{SMALL}"]


def test_the_first_index_with_the_right_bytes_is_used(served: IndexServer, tmp_path: Path) -> None:
    """An index that has the name with another hash is passed over for one that has the bytes."""
    other = tmp_path / "other"
    other.mkdir()
    make_wheel(other, "small", "1.0", files={"small/__init__.py": b"evil = 1\n"})
    with index_server(other) as wrong:
        indexes = tuple(Index(url=s.url.rstrip("/")) for s in (wrong, served))
        bring(request(served, SMALL, tmp_path / "into", url=False), indexes=indexes)
        assert wrong.paths("/files/") == []
        wrong.behaviour.hashes = False
        bring(request(served, SMALL, tmp_path / "again", url=False), indexes=indexes)
        assert (tmp_path / "again" / SMALL).read_bytes() == (served.folder / SMALL).read_bytes()
        with pytest.raises(DigestMismatch):
            bring(request(served, SMALL, tmp_path / "third", url=False), indexes=indexes[:1])


def test_an_artifact_that_no_index_has_is_named(served: IndexServer, tmp_path: Path) -> None:
    """Unreachable names the file and the indexes that were asked."""
    wanted = request(served, SMALL, tmp_path / "into", url=False)
    (served.folder / SMALL).rename(tmp_path / "gone")
    with pytest.raises(Unreachable, match=f"{SMALL} is not offered by {served.host}"):
        bring(wanted, indexes=(Index(url=served.url.rstrip("/")),))


@pytest.mark.parametrize("kind", ["folder of files", "file:// simple index"])
def test_local_places_are_searched_even_offline(served: IndexServer, tmp_path: Path, kind: str) -> None:
    """A find-links folder and a file:// index serve artifacts without the network."""
    index = Index(url=served.folder.as_uri(), flat=True)
    if kind != "folder of files":
        page = tmp_path / "simple" / "small"
        page.mkdir(parents=True)
        (page / "index.html").write_text(f'<a href="../../served/{SMALL}">{SMALL}</a>')
        index = Index(url=(tmp_path / "simple").as_uri())
    wanted = request(served, SMALL, tmp_path / "into", url=False)
    bring(wanted, how=access(offline=True), indexes=(index, Index(url=served.url)))
    assert left(tmp_path / "into") == [SMALL]
    assert served.requests == []


def test_offline_names_everything_that_is_missing(served: IndexServer, tmp_path: Path) -> None:
    """Offline (exit 9) lists the missing files, and no request is made."""
    wanted = [request(served, BIG, tmp_path), request(served, SMALL, tmp_path)]
    with pytest.raises(Offline, match=f"2 artifact.*{BIG}, {SMALL}") as raised:
        bring(*wanted, how=access(offline=True))
    assert raised.value.exit_code == 9
    with pytest.raises(Offline, match=SMALL):
        bring(request(served, SMALL, tmp_path, url=False), how=access(offline=True), indexes=(Index(url=served.url),))
    assert served.requests == []


@pytest.mark.parametrize("link", ["link_userinfo", "link_query", "absolute_links"])
def test_links_with_secrets_are_followed_and_not_shown(served: IndexServer, tmp_path: Path, link: str) -> None:
    """Userinfo and signed queries in links are used as given; the failure text holds neither."""
    setattr(served.behaviour, link, {"link_userinfo": "user:sesame", "link_query": "sig=sesame"}.get(link, True))
    index = Index(url=served.url.rstrip("/"))
    bring(request(served, SMALL, tmp_path / "into", url=False), indexes=(index,))
    served.behaviour.statuses = {"/files/": 404}
    with pytest.raises(EnvidError) as raised:
        bring(request(served, SMALL, tmp_path / "again", url=False), indexes=(index,))
    assert "sesame" not in f"{raised.value.message}{raised.value.context}"


def test_a_page_that_is_no_page_is_refused(served: IndexServer, tmp_path: Path) -> None:
    """An index that answers with an artifact where a page belongs is InvalidIndexPage."""
    with pytest.raises(InvalidIndexPage):
        bring(
            request(served, SMALL, tmp_path / "into", url=False),
            indexes=(Index(url=f"http://{served.host}/files/{SMALL}?", flat=True),),
        )


def test_the_first_failure_stops_the_others(served: IndexServer, tmp_path: Path) -> None:
    """One refused file ends the whole download at once, though another one hangs."""
    import threading

    served.behaviour.gate = threading.Event()
    missing = Request(
        filename="gone.whl", sha256=Sha256("0" * 64), project=NormalizedName("gone"), destination=tmp_path / "gone.whl",
        url=f"http://{served.host}/nowhere/gone.whl",
    )  # fmt: skip
    with pytest.raises(Unreachable, match="no such file"):
        bring(missing, request(served, BIG, tmp_path / "into"))
    served.behaviour.gate.set()
    assert BIG not in left(tmp_path / "into")


def test_an_unwritable_destination_is_a_store_error(served: IndexServer, tmp_path: Path) -> None:
    """A destination below a file is WriteFailed (exit 7), not a traceback."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteFailed):
        bring(request(served, SMALL, tmp_path / "file" / "into"))


def test_the_observer_hears_of_every_byte(served: IndexServer, tmp_path: Path) -> None:
    """The amounts told to the observer add up to the total announced."""

    class Watcher:
        total: int | None = None
        seen = 0
        ended = 0

        def begin(self, label: str, total: int | None, unit: str) -> None:
            assert (label, unit) == ("Downloading", "bytes")
            self.total = total

        def advance(self, amount: int) -> None:
            self.seen += amount

        def end(self) -> None:
            self.ended += 1

    watcher = Watcher()
    wanted = [request(served, name, tmp_path / "into") for name in (BIG, SMALL)]
    download(wanted, access=access(), indexes=lambda: (), progress=watcher)
    assert watcher.seen == watcher.total == sum(r.size or 0 for r in wanted)
    assert watcher.ended == 1


def test_a_behaviour_of_two_users_at_once(served: IndexServer, tmp_path: Path) -> None:
    """Two downloads of the same file at the same time both end with the right bytes and leave no part behind."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: bring(request(served, BIG, tmp_path / "into")), range(2)))
    assert (tmp_path / "into" / BIG).read_bytes() == (served.folder / BIG).read_bytes()
    assert left(tmp_path / "into") == [BIG]
    assert isinstance(served.behaviour, Behaviour)
