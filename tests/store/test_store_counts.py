"""Every command's counts arrive once, whatever is torn or killed; and no failure to count is a failure."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import GuardTimeout
from envid.guard import hold
from envid.store import counts
from envid.store.place import Place, Policy, open_place
from envid.values.reason import BYPASSES, KEPT, MISSES
from filled import place_of


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty store."""
    return place_of(tmp_path / "cache")


def count(place: Place, layer: str, event: str, number: int = 1) -> None:
    """Do what one command does."""
    place.tally.add(layer, event, number)
    counts.flush(place)


def log(place: Place) -> Path:
    """The log."""
    return Path(place.area("stats-v1"), counts.LOG)


def test_counts_add_up(place: Place) -> None:
    """Events of several commands are summed by layer and name; a tally counts once."""
    count(place, "venv", "hit", 3)
    counts.flush(place)
    count(place, "venv", "hit")
    count(place, "blob", "absent")
    found = counts.read(place)
    assert found.rows == {("venv", "hit"): 4, ("blob", "absent"): 1} and found.torn == 0
    assert found.since_ns is not None
    assert log(place).stat().st_mode & 0o777 == 0o600


def test_nothing_counted_writes_nothing(place: Place) -> None:
    """A command that did nothing with the store makes no directory."""
    counts.flush(place)
    assert not os.path.exists(place.root)
    assert counts.read(place).rows == {}


def test_every_reason_can_be_counted(place: Place) -> None:
    """Each name of values.reason is one that a line can carry."""
    names = [*MISSES, *BYPASSES, *KEPT]
    for name in names:
        place.tally.add("own_layer-1", name)
    counts.flush(place)
    assert counts.read(place).rows == {("own_layer-1", name): 1 for name in names}


def test_a_large_log_is_folded_and_loses_nothing(place: Place) -> None:
    """Past its size the log becomes part of the total; sums stay, files do not pile up."""
    for _ in range(3):
        with log_at_limit(place):
            count(place, "venv", "hit")
    names = sorted(os.listdir(place.area("stats-v1")))
    assert names == ["since", "total"]
    found = counts.read(place)
    assert found.rows["venv", "hit"] == 3 and found.rows["pad", "hit"] == 3 * PADS


PADS = 9000


class log_at_limit:  # noqa: N801 - reads as what it gives
    """A log that the next line makes too large."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __enter__(self) -> None:
        log(self.place).parent.mkdir(parents=True, exist_ok=True)
        Path(self.place.area("stats-v1"), counts.SINCE).touch()
        log(self.place).write_text("\npad:hit=1\n" * PADS)

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("stage", ["renamed", "totalled"])
def test_a_fold_that_was_killed_counts_nothing_twice(place: Place, stage: str) -> None:
    """Killed after the rename, or after the total was written: each line counts exactly once, then and later."""
    count(place, "venv", "hit", 5)
    if stage == "renamed":
        log(place).rename(log(place).with_name("log." + "ab" * 8))
    else:
        data = log(place).read_bytes()
        counts.fold(place)
        total = Path(place.area("stats-v1"), counts.TOTAL)
        name = total.read_text().split("folded ")[1].split("\n")[0]
        log(place).with_name(name).write_bytes(data)
    assert counts.read(place).rows == {("venv", "hit"): 5}
    count(place, "venv", "hit", 2)
    counts.fold(place)
    assert counts.read(place).rows == {("venv", "hit"): 7}
    assert sorted(os.listdir(place.area("stats-v1"))) == ["since", "total"]


@given(noise=st.binary(max_size=60), at=st.integers(0, 40))
def test_torn_lines_spoil_themselves_alone(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    """Whatever stands in the log, reading raises nothing, and a whole line after it counts."""
    place = place_of(tmp_path_factory.mktemp("c"))
    log(place).parent.mkdir(parents=True)
    log(place).write_bytes(b"\nvenv:hit=3 venv:absent=1\n"[:at] + noise)
    count(place, "blob", "stored", 2)
    assert counts.read(place).rows["blob", "stored"] >= 2


def test_counts_of_commands_at_the_same_time_all_arrive(place: Place) -> None:
    """Eight writers, each with a tally of its own, lose no count while the log is folded under them."""
    count(place, "venv", "hit")

    def work() -> None:
        own = open_place(place.root, place.policy)
        for _ in range(50):
            count(own, "venv", "hit")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts.read(place).rows == {("venv", "hit"): 401}


def test_beginning_anew(place: Place) -> None:
    """After zero, nothing is counted, and counting began then; it waits for nobody for ever."""
    count(place, "venv", "hit")
    counts.fold(place)
    count(place, "venv", "hit")
    counts.zero(place)
    found = counts.read(place)
    assert found.rows == {} and found.since_ns is not None
    with hold(Path(place.area("guards-v1"), "stats")), pytest.raises(GuardTimeout):
        counts.fold(place)


@pytest.mark.parametrize("trouble", ["file", "open", "full", "link", "directory"])
def test_counting_never_fails_a_command(tmp_path: Path, trouble: str) -> None:
    """No place, no trust, no space, a link or a directory where the log belongs: nothing is raised or followed."""
    root, policy = tmp_path / "cache", Policy(min_free=0)
    victim = tmp_path / "victim"
    if trouble == "file":
        root.write_text("in the way")
    elif trouble == "open":
        root.mkdir()
        root.chmod(0o777)
    elif trouble == "full":
        policy = Policy(min_free=1 << 60)
    else:
        (root / "stats-v1").mkdir(parents=True)
        if trouble == "link":
            (root / "stats-v1" / "log").symlink_to(victim)
        else:
            (root / "stats-v1" / "log").mkdir()
    place = open_place(root, policy)
    count(place, "venv", "hit")
    assert not victim.exists()
    cleared = trouble in ("link", "directory")
    assert counts.read(place).rows == ({("venv", "hit"): 1} if cleared else {})


def test_a_shared_store_counts_for_all_of_its_group(tmp_path: Path) -> None:
    """Whatever the umask of whoever comes first, the others of the group can write what they did."""
    before = os.umask(0o077)
    try:
        place = place_of(tmp_path / "cache", shared=True)
        count(place, "venv", "hit")
        counts.fold(place)
        count(place, "venv", "hit")
    finally:
        os.umask(before)
    directory = Path(place.area("stats-v1"))
    assert directory.stat().st_mode & 0o7777 == 0o2770
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o660}
    assert Path(place.area("guards-v1")).stat().st_mode & 0o7777 == 0o2770


def test_a_flush_is_quick(place: Place) -> None:
    """It takes less than a millisecond, also on a busy machine: the best of many, here some ten microseconds."""
    count(place, "venv", "hit")
    best = 1.0
    for _ in range(50):
        place.tally.add("venv", "hit")
        start = time.perf_counter()
        counts.flush(place)
        best = min(best, time.perf_counter() - start)
    assert best < 0.001


@pytest.mark.parametrize("kind", ["pipe", "link", "hard link", "directory"])
def test_what_is_planted_as_the_log_is_replaced(place: Place, tmp_path: Path, kind: str) -> None:
    """A log that is a pipe, a link or a second name of a file gets no byte; it is cleared, and counting goes on."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    log(place).parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(log(place))
    elif kind == "directory":
        log(place).mkdir()
    elif kind == "link":
        log(place).symlink_to(mine)
    else:
        log(place).hardlink_to(mine)
    count(place, "run", "hit")
    counts.flush(place)
    assert counts.read(place).rows == {("run", "hit"): 1}
    assert mine.read_bytes() == b"mine"
