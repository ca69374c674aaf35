"""A walk that reads: the same walk, the digest of every file, whoever does the work and whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from envid.installed import reading
from envid.installed import walk as walking
from envid.installed.expected import Expected, Layout
from envid.installed.files import Sorted, examine
from envid.installed.listing import Listing, Seen, unpack
from envid.installed.reading import DIGEST, UNREAD, Reading
from envid.installed.walk import walk

SITE = "lib/python3.12/site-packages"
LAYOUT = Layout(purelib=SITE, platlib=SITE, scripts="bin", headers="include/site/python3.12")
SIZES = (0, 1, 1000, 65535, 65536, 65537, (1 << 19) - 1, 1 << 19, (1 << 19) + 1, (1 << 20) + 7)


def tree(root: Path, *, packages: int = 40) -> None:
    """Make packages of two levels, with files of many sizes, a link and a pipe."""
    for number in range(packages):
        for place in (f"p{number}", f"p{number}/a", f"p{number}/b", f"p{number}/b/c"):
            (root / SITE / place).mkdir(parents=True)
            size = SIZES[number] if number < len(SIZES) else number
            (root / SITE / place / "file.py").write_bytes(os.urandom(size))
    (root / SITE / "link").symlink_to("p0")
    (root / SITE / "p1" / "linked.py").symlink_to("file.py")
    os.mkfifo(root / SITE / "pipe")
    (root / "bin").mkdir()
    (root / "bin" / "run").write_text("#!")


def taken(root: Path, *, sha256: bool = False, workers: int | None = None) -> tuple[bytes, dict[str, bytes]]:
    """Return the walk that a reading made, and path to digest."""
    with Reading(str(root), [SITE, "bin"], sha256=sha256, workers=workers) as found:
        seen = Seen(reading=found)
        listings = [listing for run in seen.take(b"", lambda _: None) for listing in run]
    assert sorted(listings) == sorted(seen.listings)
    return seen.walked, digests(seen.listings)


def digests(listings: Sequence[Listing]) -> dict[str, bytes]:
    """Return path to digest."""
    found = {}
    for listing in listings:
        for index, name in enumerate(listing.files()):
            found[f"{listing.path}/{name}"] = listing.digests[DIGEST * index : DIGEST * (index + 1)]
    return found


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("sha256", [False, True])
def test_everything_is_read_once_and_in_the_order_of_a_walk(tmp_path: Path, workers: int, sha256: bool) -> None:
    """The walk is byte for byte that of ``walk``; files have their digest, links and pipes none."""
    tree(tmp_path)
    walked, found = taken(tmp_path, sha256=sha256, workers=workers)
    assert walked == walk(str(tmp_path), [SITE, "bin"], [])
    hashed = hashlib.sha256 if sha256 else blake3
    for path, digest in found.items():
        full = tmp_path / path
        plain = full.is_file() and not full.is_symlink()
        assert digest == (hashed(full.read_bytes()).digest() if plain else UNREAD), path
    assert sum(digest == UNREAD for digest in found.values()) == 3


def test_who_listens_hears_of_all_bytes(tmp_path: Path) -> None:
    """Progress adds up to the bytes of all files."""
    tree(tmp_path)
    heard: list[int] = []
    with Reading(str(tmp_path), [SITE, "bin"], workers=2) as found:
        seen = Seen(reading=found)
        listings = [listing for run in seen.take(b"", heard.append) for listing in run]
    assert sum(heard) == sum(sum(listing.numbers()[1::5]) for listing in listings)


def test_a_child_that_dies_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed child left undone, or half told, is done here."""
    tree(tmp_path)
    whole = taken(tmp_path, workers=1)
    parent = os.getpid()
    real = reading._write

    def fragile(writing: int, data: bytes) -> None:
        assert os.getpid() != parent
        real(writing, data[: len(data) // 2])
        os._exit(9)

    monkeypatch.setattr(reading, "_write", fragile)
    assert taken(tmp_path, workers=3) == whole


def test_where_no_process_can_be_made_it_is_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of processes the work is done alone, and no pipe is left open."""
    tree(tmp_path)
    whole = taken(tmp_path, workers=1)

    def refused() -> int:
        raise BlockingIOError(11, "resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    before = len(os.listdir("/dev/fd"))
    assert taken(tmp_path, workers=3) == whole
    assert len(os.listdir("/dev/fd")) == before


def test_an_unfinished_reading_leaves_no_process(tmp_path: Path) -> None:
    """Closing ends the children, also those that wait for somebody to listen."""
    tree(tmp_path)
    found = Reading(str(tmp_path), [SITE], workers=3)
    children = [child for _, child in found._children]
    assert len(children) == 2
    found.close()
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_directories_made_meanwhile_are_read(tmp_path: Path) -> None:
    """What was not there when the work was shared out is read with the directory that it is in."""
    tree(tmp_path, packages=3)
    with Reading(str(tmp_path), [SITE], workers=1) as found:
        for place in ("new", "p1/new/deeper", "p2/b/c/new"):
            (tmp_path / SITE / place).mkdir(parents=True)
            (tmp_path / SITE / place / "late.py").write_text("late")
        seen = Seen(reading=found)
        listings = [listing for run in seen.take(b"", lambda _: None) for listing in run]
    late = [path for path, digest in digests(listings).items() if digest == blake3(b"late").digest()]
    assert sorted(late) == [f"{SITE}/{place}/late.py" for place in ("new", "p1/new/deeper", "p2/b/c/new")]
    assert len({listing.path for listing in listings}) == len(listings)


def test_a_directory_that_fails_half_way_does_not_shift_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digests of a directory whose listing broke off are dropped with its names."""
    tree(tmp_path, packages=3)
    (tmp_path / SITE / "p1" / "zz.py").write_text("zz")
    real = walking.status_of

    def failing(entry: os.DirEntry[str], handle: int) -> os.stat_result:
        if entry.name == "linked.py":
            raise OSError(5, "input/output error")
        return real(entry, handle)

    monkeypatch.setattr(reading, "status_of", failing)
    walked, found = taken(tmp_path, workers=1)
    assert next(one for one in unpack(walked) if one.path == f"{SITE}/p1").mode == 0
    for path, digest in found.items():
        if digest != UNREAD:
            assert digest == blake3((tmp_path / path).read_bytes()).digest()


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A sparse file of terabytes costs nobody hours: above a limit only what expects a file of that size reads it."""
    tree(tmp_path, packages=2)
    with (tmp_path / SITE / "huge").open("wb") as stream:
        stream.truncate(reading.MAX_FILE + 1)
    assert taken(tmp_path)[1][f"{SITE}/huge"] == UNREAD


def _examined(root: Path, expected: Expected, seen: Seen, *, sha256: bool) -> Sorted:
    runs = seen.take(b"", lambda _: None)
    return examine(str(root), runs, None, expected, pythons=(), sha256=sha256, meanwhile=lambda _: None)


def test_the_verdict_is_the_same_however_the_bytes_were_read(tmp_path: Path) -> None:
    """Digests of the right kind, of the other kind, or none at all: each altered file is found, and no other."""
    tree(tmp_path, packages=12)
    files = sorted((tmp_path / SITE).rglob("file.py"))
    expected = Expected(LAYOUT)
    expected.add_proven(
        name="six", version="1.0", dist_info="six-1.0.dist-info", digest="d", tails={}, entry_points=(),
        files=[
            (path.relative_to(tmp_path).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
            for path in files
        ],
    )  # fmt: skip
    for path in files[5:9]:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    files[10].unlink()
    files[11].unlink()
    files[11].symlink_to(files[12])
    walked = walk(str(tmp_path), [SITE, "bin"], [])
    answers = [_examined(tmp_path, expected, Seen(walked), sha256=False)]
    for sha256 in (False, True):
        with Reading(str(tmp_path), [SITE, "bin"], sha256=sha256) as found:
            answers.append(_examined(tmp_path, expected, Seen(reading=found), sha256=sha256))
    told = [{(one.code, one.path, one.message) for one in answer.findings} for answer in answers]
    assert told[0] == told[1] == told[2]
    assert {one[1] for one in told[0]} == {files[at].relative_to(tmp_path).as_posix() for at in (5, 6, 7, 8, 10, 11)}
    assert len({(answer.files, answer.size, frozenset(answer.unproven)) for answer in answers}) == 1
    assert [len(answer.jobs) for answer in answers] == [len(files) - 2, len(files) - 2, 0]
