"""Slots on disk: the exact bytes or a miss with its reason, whoever writes beside us and whatever stands there."""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from envid.gate import Absent, Stale, WritePass, confirm, decide
from envid.slot import Slot, narrow
from envid.store import entry
from envid.store.cache import Bypass, Candidate, Diverged, Miss, Stored, find, get, keep, make, put, read_file
from envid.store.place import Place, Policy, open_place
from envid.values.digest import blake3_hex
from envid.values.reason import BYPASSES, KEPT, MISSES

ROOT = hasattr(os, "getuid") and os.getuid() == 0
SLOT = narrow("run", {"command": "make"})
OTHER = narrow("run", {"command": "test"})
NO_FLOOR = Policy(min_free=0)
DAY = 24 * 3600


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path / "cache", NO_FLOOR)


def leave(slot: Slot) -> WritePass:
    decision = decide(None, slot)
    assert isinstance(decision, Absent)
    made = confirm(decision.work, slot)
    assert isinstance(made, WritePass)
    return made


def path_of(place: Place, slot: Slot = SLOT) -> Path:
    return Path(place.entry_path(slot))


def spoil(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(0o400)


def quarantined(place: Place) -> list[str]:
    area = Path(place.area("quarantine-v1"))
    return sorted(one.name for one in area.iterdir()) if area.is_dir() else []


def counted(place: Place) -> dict[tuple[str, str], int]:
    return {(layer, event): number for layer, event, number in place.tally}


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 65_536, 3_000_000])
def test_what_is_put_is_got(place: Place, size: int) -> None:
    """What is written under a key is read under it, byte for byte, and nothing under another."""
    for data in (os.urandom(size), b"\0" * size):
        slot = narrow("run", {"bytes": blake3_hex(data), "random": any(data)})
        assert size == 0 or get(place, slot) == Miss(reason="absent")
        assert isinstance(put(place, leave(slot), data), Stored)
        assert get(place, slot) == data
    assert get(place, OTHER) == Miss(reason="absent")


def test_the_first_stays(place: Place) -> None:
    """The same bytes again are nothing new; other bytes under the same key are a divergence, and change nothing."""
    assert put(place, leave(SLOT), b"first") == Stored(new=True)
    before = path_of(place).stat()
    assert put(place, leave(SLOT), b"first") == Stored(new=False)
    assert put(place, leave(SLOT), b"second") == Diverged(first=blake3_hex(b"first"), second=blake3_hex(b"second"))
    after = path_of(place).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert get(place, SLOT) == b"first"
    assert counted(place) == {
        ("run", "stored"): 1, ("run", "kept"): 1, ("run", "diverged"): 1, ("run", "hit"): 1
    }  # fmt: skip


def test_making_is_done_once(place: Place) -> None:
    """What is there is not made again; what is damaged is."""
    made: list[int] = []

    def work() -> bytes:
        made.append(1)
        return b"made" * 1000

    assert make(place, SLOT, work) == make(place, SLOT, work) == b"made" * 1000
    assert len(made) == 1
    spoil(path_of(place), b"nonsense")
    assert make(place, SLOT, work) == b"made" * 1000
    assert make(place, SLOT, work) == b"made" * 1000
    assert len(made) == 2


def test_damage_is_set_aside_and_healed(place: Place) -> None:
    """A damaged entry is a miss, goes into quarantine under its reason, is counted, and can be written again."""
    put(place, leave(SLOT), b"x" * 3000)
    whole = path_of(place).read_bytes()
    for data, reason in ((whole[:-1], "truncated"), (whole[:-1] + b"?", "damaged"), (b"?" * 300, "header")):
        spoil(path_of(place), data)
        assert get(place, SLOT) == Miss(reason=reason)
        assert not path_of(place).exists()
        assert any(name.startswith(f"{SLOT.digest}.{reason}.") for name in quarantined(place))
        assert put(place, leave(SLOT), b"x" * 3000) == Stored(new=True)
        assert get(place, SLOT) == b"x" * 3000
    assert counted(place)["store", "quarantined"] == 3


def test_a_put_heals_what_nobody_read(place: Place) -> None:
    """Where a damaged entry stands, a put sets it aside and writes."""
    put(place, leave(SLOT), b"right")
    spoil(path_of(place), b"wrong")
    assert put(place, leave(SLOT), b"right") == Stored(new=True)
    assert get(place, SLOT) == b"right"


@pytest.mark.parametrize(("number", "reason"), [(0, "older-format"), (2, "newer-format")])
def test_another_format_is_left_in_place(place: Place, number: int, reason: str) -> None:
    """An entry of a newer or older envid is a miss for this one, stays for that one, and is not written over."""
    put(place, leave(SLOT), b"x")
    whole = path_of(place).read_bytes()
    theirs = entry.MAGIC + bytes([number]) + whole[len(entry.MAGIC) + 1 :]
    spoil(path_of(place), theirs)
    assert get(place, SLOT) == Miss(reason=reason)
    assert isinstance(put(place, leave(SLOT), b"x"), Bypass)
    assert path_of(place).read_bytes() == theirs
    assert quarantined(place) == []


def test_swapped_entries_are_misses(place: Place) -> None:
    """Two sound entries that were exchanged, of one layer or two, are both missed, and never taken for one another."""
    third = narrow("contents", {"command": "make"})
    for slot in (SLOT, OTHER, third):
        put(place, leave(slot), slot.key.encode())
    for one, two in itertools.permutations((SLOT, OTHER, third), 2):
        whole = path_of(place, one).read_bytes()
        spoil(path_of(place, two), whole)
        assert get(place, two) == Miss(reason="misnamed")
        put(place, leave(two), two.key.encode())
        assert get(place, two) == two.key.encode()


def test_a_document_that_lies_is_not_fresh(place: Place) -> None:
    """An entry under the right key whose document is another's is stale for the gate, and is neither read nor kept."""
    data = entry.encode(SLOT.key, OTHER.document, b"x")
    spoil(path_of(place), data)
    found = find(open_place(place.root, NO_FLOOR), SLOT)
    assert isinstance(found, Candidate)
    assert isinstance(decide(found.document, SLOT), Stale)
    assert get(open_place(place.root, NO_FLOOR), SLOT) == Miss(reason="misnamed")
    assert isinstance(put(place, leave(SLOT), b"x"), Bypass)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory", "socket", "hard"])
def test_what_is_planted_at_an_entrys_name_is_not_used(place: Place, tmp_path: Path, kind: str) -> None:
    """A link, pipe, socket or directory in an entry's place is a miss, never written, and moved out of the way."""
    put(place, leave(SLOT), b"x")
    path, elsewhere = path_of(place), tmp_path / "elsewhere"
    os.replace(path, elsewhere)
    planted: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(elsewhere), "dangling": lambda: path.symlink_to(tmp_path / "gone"),
        "pipe": lambda: os.mkfifo(path), "directory": path.mkdir,
        "socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o600), "hard": lambda: os.link(elsewhere, path),
    }  # fmt: skip
    planted[kind]()
    before = elsewhere.read_bytes()
    if kind == "hard":
        # A name more for the same bytes: they prove themselves.
        assert get(place, SLOT) == b"x"
        return
    assert get(place, SLOT) == Miss(reason="foreign")
    assert [name.partition(".")[2][:7] for name in os.listdir(place.area("quarantine-v1"))] == ["foreign"]
    assert put(place, leave(SLOT), b"other") == Stored(new=True)
    assert elsewhere.read_bytes() == before
    assert not (tmp_path / "gone").exists()
    assert get(place, SLOT) == b"other"


@pytest.mark.parametrize("area", ["entries-v1", "blobs-v1", "tmp-v1"])
@pytest.mark.parametrize("kind", ["link", "file", "pipe"])
def test_what_is_planted_at_an_areas_name_is_not_used(place: Place, tmp_path: Path, area: str, kind: str) -> None:
    """Where an area is a link or a file, nothing is written through it, and the reason is told."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(place.root).mkdir(mode=0o700)
    path = Path(place.area(area))
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
    opened = open_place(place.root, NO_FLOOR)
    outcome = put(opened, leave(SLOT), b"x")
    assert isinstance(outcome, Bypass)
    assert outcome.reason in {"untrusted", "read-only"}
    assert isinstance(get(opened, SLOT), Miss)
    assert list(elsewhere.iterdir()) == []


def test_a_planted_temporary_is_not_written(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link at the very name that the temporary file will have is not written through."""
    put(place, leave(OTHER), b"x")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(os, "urandom", lambda size: b"\0" * size)
    Path(place.area("tmp-v1"), f"{'00' * 8}.part").symlink_to(victim)
    assert isinstance(put(place, leave(SLOT), b"x" * 100), Bypass)
    assert victim.read_bytes() == b"precious"


def test_every_reason_has_a_meaning(place: Place, tmp_path: Path) -> None:
    """Whatever is counted is a name of the table of reasons."""
    put(place, leave(SLOT), b"x")
    get(place, SLOT)
    get(place, OTHER)
    spoil(path_of(place), b"")
    get(place, SLOT)
    put(open_place(tmp_path / "cache" / "CACHEDIR.TAG" / "x", NO_FLOOR), leave(SLOT), b"x")
    known = {*MISSES, *BYPASSES, *KEPT}
    assert {event for _, event in counted(place)} <= known


def test_too_large_is_a_miss_unread(place: Place) -> None:
    """A file beyond the limit is not read, an entry beyond it not expanded; both stay."""
    put(place, leave(SLOT), b"\0" * 100_000)
    assert get(place, SLOT, limit=99_999) == Miss(reason="oversized")
    assert get(place, SLOT, limit=100_000) == b"\0" * 100_000
    path = path_of(place, OTHER)
    path.parent.mkdir(parents=True)
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
    assert get(place, OTHER) == Miss(reason="oversized")
    assert path.exists()


def test_a_file_that_cannot_be_read_is_a_miss(place: Place) -> None:
    """A file without permission is unreadable for its owner, and foreign for whom it does not belong to."""
    put(place, leave(SLOT), b"x")
    path_of(place).chmod(0)
    expected: bytes | Miss = b"x" if ROOT else Miss(reason="unreadable")
    assert get(place, SLOT) == expected


def test_reading_a_file_that_is_none_never_raises(place: Place, tmp_path: Path) -> None:
    """A name that is too long, or below a file, is a miss."""
    (tmp_path / "file").write_bytes(b"")
    assert read_file(str(tmp_path / ("x" * 300)), place) == Miss(reason="unreadable")
    assert isinstance(read_file(str(tmp_path / "file" / "x"), place), Miss)


@pytest.mark.parametrize("when", [0, 2_208_988_800], ids=["1970", "2040"])
def test_a_clock_that_was_wrong_is_put_right_by_use(place: Place, when: int) -> None:
    """An entry written in 1970 or 2040 is read, and has the present time from then on; a fresh one keeps its own."""
    put(place, leave(SLOT), b"x")
    fresh = path_of(place).stat().st_mtime_ns
    assert get(place, SLOT) == b"x"
    assert path_of(place).stat().st_mtime_ns == fresh
    os.utime(path_of(place), (when, when))
    assert get(place, SLOT) == b"x"
    assert abs(path_of(place).stat().st_mtime_ns - fresh) < DAY * 10**9
    path = path_of(place)
    os.utime(path, ns=(0, fresh - 3600 * 10**9))
    get(place, SLOT)
    assert path.stat().st_mtime_ns == fresh - 3600 * 10**9


def _put_many(root: str, number: int) -> list[str]:
    place = open_place(root, NO_FLOOR)
    outcomes = []
    for round_ in range(20):
        slot = narrow("run", {"round": round_})
        outcome = keep(place, slot, f"{round_}".encode() * 5000)
        outcomes.append(type(outcome).__name__ + str(getattr(outcome, "new", "")))
        assert get(place, slot) == f"{round_}".encode() * 5000, number
    return outcomes


def test_many_processes_put_the_same_keys(tmp_path: Path) -> None:
    """Eight processes that make the same twenty things at once: each is written once, and everybody reads it."""
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        answers = [one for found in pool.map(_put_many, [str(tmp_path / "cache")] * 8, range(8)) for one in found]
    assert sorted(set(answers)) == ["StoredFalse", "StoredTrue"]
    assert answers.count("StoredTrue") == 20
    files = [one for one in (tmp_path / "cache" / "entries-v1").rglob("*") if one.is_file()]
    assert len(files) == 20
    assert all(one.stat().st_nlink == 1 for one in files)
    assert list((tmp_path / "cache" / "tmp-v1").iterdir()) == []


def test_many_threads_put_the_same_key(place: Place) -> None:
    """Sixteen threads with one key: one writes, the others find it, and of other bytes all but the first diverge."""
    gate, outcomes = threading.Barrier(16), []

    def work(number: int) -> None:
        gate.wait(30)
        outcomes.append(put(place, leave(SLOT), b"%d" % (number % 2)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    kinds = sorted(type(one).__name__ + str(getattr(one, "new", "")) for one in outcomes)
    assert kinds == ["Diverged"] * 8 + ["StoredFalse"] * 7 + ["StoredTrue"]
    assert get(place, SLOT) in (b"0", b"1")
