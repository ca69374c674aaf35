"""The collection removes what nobody uses, and nothing else; whatever it is given."""

from __future__ import annotations

import os
import shutil
import stat
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envid.errors import GuardTimeout, StoreError
from envid.guard import hold
from envid.store import cache, roots
from envid.store.collection import GRACE, Report, collect
from envid.store.contents import slot_of as contents_slot
from envid.store.place import Place
from envid.store.usage import using
from envid.values.artifact import Sha256
from filled import DAY, HOUR, NOW, aged, blob, entry, file, place_of, run, slot_of, wheel

MONTH = 30 * DAY
LARGE = 1 << 50


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty store."""
    return place_of(tmp_path / "cache")


def gc(place: Place, *, size: int = LARGE, age: int = MONTH, now: int = NOW, dry: bool = False) -> Report:
    """Collect in the present of these tests."""
    return collect(place, max_size=size, max_age=age, now_ns=now, dry_run=dry, wait=0.2)


def removed(report: Report) -> dict[str, int]:
    """The number of things removed in each area that lost any."""
    return {swept.area: swept.removed for swept in report.areas if swept.removed}


def kept(report: Report, area: str) -> dict[str, int]:
    """The number of things kept in an area, by reason."""
    return {reason: n for swept in report.areas if swept.area == area for reason, (n, _) in swept.kept.items()}


def test_an_empty_place_is_collected_and_not_made(tmp_path: Path) -> None:
    """Where there is no cache there is nothing to do, and none is made."""
    report = gc(place_of(tmp_path / "none"))
    assert (removed(report), report.size) == ({}, 0)
    assert not (tmp_path / "none").exists()


def test_age_decides_in_every_area(place: Place) -> None:
    """What was used within max-age stays, what was not goes, in each area that holds what may be made again."""
    names = {
        "answers-v1": "a" * 64, "identities-v1": f"ab/{'a' * 64}.last.json", "stat-v1": f"{'a' * 32}.index",
        "interpreters-v1": "b" * 64, "bytecode-v1": "cpython-3.12.1",
    }  # fmt: skip
    old = [file(place, f"{area}/{name}", b"old", age=31 * DAY) for area, name in names.items()]
    old += [entry(place, 1, age=31 * DAY), wheel(place, b"old", age=31 * DAY)]
    new = [file(place, f"{area}/{name.replace('a', 'c').replace('b', 'd')}", b"new", age=29 * DAY)
           for area, name in names.items() if area != "bytecode-v1"]  # fmt: skip
    new += [entry(place, 2, age=29 * DAY), wheel(place, b"new", age=29 * DAY)]
    report = gc(place)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)
    assert removed(report) == dict.fromkeys([*names, "entries-v1", "wheels-v1"], 1)
    assert not (old[-1].parent).exists(), "the directory of an artifact goes with it"


def test_nothing_of_the_last_hour_is_ever_removed(place: Place) -> None:
    """With no size and no age left at all, what was made or used within the grace stays, leftovers too."""
    things = [
        entry(place, 1, age=GRACE - 60), blob(place, b"young", age=GRACE - 60), wheel(place, b"w", age=GRACE - 60),
        file(place, "tmp-v1/x.part", age=GRACE - 60), file(place, "quarantine-v1/x", age=GRACE - 60),
        file(place, f"roots-v1/{'a' * 64}", b"broken", age=GRACE - 60), file(place, "guards-v1/sync-x", age=GRACE - 60),
    ]  # fmt: skip
    assert removed(gc(place, size=0, age=0)) == {}
    assert all(path.exists() for path in things)
    aged(things[0], GRACE + 60)
    assert removed(gc(place, size=0, age=0)) == {"entries-v1": 1}


def test_size_removes_the_oldest_first_and_no_more_than_needed(place: Place) -> None:
    """Over the limit, entries and artifacts go by the time of their last use until the rest fits."""
    payload = bytes(1000)
    paths = [entry(place, number, payload, age=(10 - number) * DAY) for number in range(8)]
    whole = sum(path.stat().st_size for path in paths)
    report = gc(place, size=whole - 3000)
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 5
    assert (report.size, report.over) == (sum(path.stat().st_size for path in paths[3:]), 0)
    assert kept(report, "entries-v1") == {"recent": 5}


def test_a_blob_goes_with_the_last_entry_that_names_it(place: Place) -> None:
    """A blob that two entries share stays as long as one of them; one that nothing names goes after the grace."""
    shared, only = b"shared" * 100, b"only" * 100
    first = run(place, 1, {"a": shared, "b": only}, age=40 * DAY)
    second = run(place, 2, {"c": shared}, age=2 * DAY)
    stray, young = blob(place, b"stray", age=2 * HOUR), blob(place, b"young", age=HOUR / 2)
    report = gc(place)
    assert not first.exists() and second.exists() and not stray.exists() and young.exists()
    assert removed(report) == {"entries-v1": 1, "blobs-v1": 2}
    assert kept(report, "blobs-v1") == {"named": 1, "young": 1}


def test_blobs_of_an_entry_that_cannot_be_read_here_stay(place: Place) -> None:
    """An entry of a newer format may name any blob: those that nothing else names go by age alone."""
    newer = entry(place, 1, age=2 * DAY)
    newer.chmod(0o600)
    newer.write_bytes(newer.read_bytes()[:8] + b"\x02" + newer.read_bytes()[9:])
    aged(newer, 2 * DAY)
    maybe, old = blob(place, b"maybe", age=2 * DAY), blob(place, b"old", age=40 * DAY)
    report = gc(place)
    assert newer.exists() and maybe.exists() and not old.exists()
    assert kept(report, "blobs-v1") == {"unreadable": 1}


def test_what_projects_use_stays_beyond_size_and_age(place: Place, tmp_path: Path) -> None:
    """Entries of living roots stay when there is no room; their artifacts, and what is known of them, at any age."""
    project = tmp_path / "project"
    project.mkdir()
    used, other = run(place, 1, {"a": b"x"}, age=2 * DAY), run(place, 2, {"b": b"y"}, age=DAY)
    artifact, stray = wheel(place, b"used", age=400 * DAY), wheel(place, b"stray", age=400 * DAY)
    sha256 = artifact.parent.name
    known = contents_slot(Sha256(sha256))
    cache.keep(place, known, b"contents", squeeze=False)
    contents = aged(Path(place.entry_path(known)), 400 * DAY)
    roots.remember(place, str(project), keys=[slot_of(1).key], wheels={"default/t": [sha256]})
    aged(Path(roots.root_path(place, str(project))), 3 * DAY)
    report = gc(place, size=0)
    assert used.exists() and artifact.exists() and contents.exists()
    assert not other.exists() and not stray.exists()
    assert kept(report, "entries-v1") == {"root": 2} and kept(report, "wheels-v1") == {"root": 1}
    assert kept(report, "blobs-v1") == {"named": 1}
    assert (report.projects, report.over) == (1, report.size)


@pytest.mark.parametrize("end", ["gone", "unused", "broken"])
def test_a_dead_root_protects_nothing_and_goes(place: Place, tmp_path: Path, end: str) -> None:
    """The root of a project that is gone, or was not used for max-age, or cannot be read, is none."""
    project = tmp_path / "project"
    project.mkdir()
    artifact = wheel(place, b"used", age=400 * DAY)
    roots.remember(place, str(project), wheels={"default/t": [artifact.parent.name]})
    root = Path(roots.root_path(place, str(project)))
    aged(root, 31 * DAY if end == "unused" else 2 * HOUR)
    if end == "gone":
        project.rmdir()
    elif end == "broken":
        root.write_bytes(root.read_bytes()[:-3])
        aged(root, 2 * HOUR)
    report = gc(place)
    assert not artifact.exists() and not root.exists()
    assert report.projects == 0


def test_a_small_max_age_shortens_no_roots_life(place: Place, tmp_path: Path) -> None:
    """Whatever limits are asked for, a project that was used within a month keeps what it is made of."""
    artifact = wheel(place, b"used", age=300 * DAY)
    roots.remember(place, str(tmp_path), wheels={"default/t": [artifact.parent.name]})
    aged(Path(roots.root_path(place, str(tmp_path))), 29 * DAY)
    assert gc(place, size=0, age=0).projects == 1
    assert artifact.exists()


def test_a_project_out_of_reach_is_not_gone(place: Place, tmp_path: Path) -> None:
    """A project behind a directory that cannot be entered still protects what it uses."""
    project = tmp_path / ("x" * 300)
    artifact = wheel(place, b"used", age=40 * DAY)
    roots.remember(place, str(project), wheels={"default/t": [artifact.parent.name]})
    aged(Path(roots.root_path(place, str(project))), DAY)
    gc(place)
    assert artifact.exists()


def test_a_time_in_the_future_becomes_the_present(place: Place) -> None:
    """A file from 2040 is not fresh for ever: it is of now, once, and ages from then on."""
    path = entry(place, 1, age=-14 * 365 * DAY)
    now = time.time_ns()
    report = gc(place, size=0, age=0, now=now)
    assert path.exists() and report.renewed == 1
    assert abs(path.stat().st_mtime_ns - now) < 60 * 10**9
    later = gc(place, size=0, age=0, now=now + 2 * HOUR * 10**9)
    assert not path.exists() and later.renewed == 0


def test_a_leftover_from_the_future_ages_as_a_whole(place: Place) -> None:
    """A directory in tmp-v1 is as old as the newest in it: each file's time becomes the present."""
    inner = file(place, "tmp-v1/tree/deep/file", age=-(10**8))
    now = time.time_ns()
    gc(place, now=now)
    assert inner.exists()
    gc(place, now=now + 2 * HOUR * 10**9)
    assert not (Path(place.root) / "tmp-v1" / "tree").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_the_future_of_another_member_is_not_fresh_for_ever(tmp_path: Path) -> None:
    """In a shared store, a time that is not ours to set is that of an unknown age; what is ours is renewed."""
    place = place_of(tmp_path / "cache", shared=True)
    theirs, ours = entry(place, 1, age=-(10**8)), entry(place, 2, age=-(10**8))
    members = os.getgid()
    for path in (tmp_path, *Path(place.root).rglob("*"), Path(place.root)):
        os.chown(path, 12345, members)
    os.chown(theirs, 12346, members)
    tmp_path.chmod(0o770)
    with warnings.catch_warnings():
        # The threads of the test's runner are none that the child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            # From within: the directories above are root's alone.
            os.chdir(tmp_path)
            os.setgroups([members])
            os.setresuid(12345, 12345, 12345)
            status = 0 if gc(place_of(Path("cache"), shared=True), now=time.time_ns()).renewed == 2 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert ours.exists() and not theirs.exists()


@pytest.mark.parametrize("now", [0, 10**18 // 2, 1_700_000_000 * 10**9])
def test_a_clock_that_is_wrong_removes_nothing(place: Place, now: int) -> None:
    """With the clock at 1970, or before envid was, no age is believed: nothing goes, and no time is touched."""
    paths = [entry(place, 1, age=400 * DAY), file(place, "tmp-v1/x.part", age=400 * DAY), blob(place, b"b", age=DAY)]
    times = [path.stat().st_mtime_ns for path in paths]
    report = gc(place, size=0, age=0, now=now)
    assert not report.clock and removed(report) == {}
    assert [path.stat().st_mtime_ns for path in paths] == times


def test_links_and_strangers_are_not_touched_and_not_followed(place: Place, tmp_path: Path) -> None:
    """Links anywhere in an area, pipes and names that envid does not give stay, and so does what they lead to."""
    entry(place, 1, age=DAY)
    victim = tmp_path / "victim"
    (victim / "ab").mkdir(parents=True)
    precious = aged_file(victim / "ab" / ("a" * 64))
    for area in ("answers-v1", "interpreters-v1", "contents-v1", "wheels-v1"):
        (Path(place.root) / area).symlink_to(victim / "ab" if area == "answers-v1" else victim)
    (Path(place.root) / "entries-v1" / "run" / "ab").unlink(missing_ok=True)
    os.symlink(victim, Path(place.root) / "entries-v1" / "evil")
    os.symlink(precious, Path(place.root) / "blobs-v1" / ("a" * 64))
    os.mkfifo(Path(place.root) / "blobs-v1" / "pipe")
    note = file(place, "entries-v1/notes.txt", b"mine", age=400 * DAY)
    beside = file(place, "my-own/file", b"mine", age=400 * DAY)
    report = gc(place, size=0, age=0)
    assert precious.read_bytes() == b"precious" and note.exists() and beside.exists()
    assert kept(report, "blobs-v1") == {"foreign": 2} and kept(report, "entries-v1") == {"foreign": 2}


def aged_file(path: Path) -> Path:
    """A file somebody wants to keep."""
    path.write_bytes(b"precious")
    return aged(path, 400 * DAY)


def test_a_directory_that_became_a_link_is_not_followed(place: Place, tmp_path: Path) -> None:
    """Between the look and the removal, a directory replaced by a link leads nowhere."""
    path = entry(place, 1, age=40 * DAY)
    moved = tmp_path / "moved"

    def swap(_: int) -> None:
        if not moved.exists():
            path.parent.rename(moved)
            path.parent.symlink_to(moved)

    blob(place, b"so that entries are read", age=DAY)
    collect(place, max_size=LARGE, max_age=MONTH, now_ns=NOW, wait=0.2, tell=swap)
    assert (moved / path.name).exists()


def test_leftovers_go_and_directories_among_them(place: Place) -> None:
    """What ended commands left in tmp-v1, what was set aside, unfinished downloads and older layouts go."""
    entry(place, 1, age=DAY)
    paths = [
        file(place, "tmp-v1/0.part", age=2 * HOUR), file(place, "tmp-v1/tree/deep/file", age=2 * HOUR),
        file(place, "quarantine-v1/x.damaged", age=2 * HOUR), file(place, f"contents-v1/ab/{'a' * 64}", age=2 * HOUR),
        file(place, f"wheels-v1/ab/{'a' * 64}/.a.whl.part", age=2 * HOUR),
    ]  # fmt: skip
    aged(paths[1].parent, 2 * HOUR)
    aged(paths[1].parent.parent, 2 * HOUR)
    report = gc(place)
    assert not any(path.exists() for path in paths) and not paths[1].parent.exists()
    assert removed(report) == {"tmp-v1": 2, "quarantine-v1": 1, "contents-v1": 1, "wheels-v1": 1}


def test_guard_files_go_only_when_nobody_holds_them(place: Place) -> None:
    """A guard file that is held stays, however old; one that is not goes; the collection's own stays."""
    entry(place, 1, age=DAY)
    free, path = file(place, "guards-v1/lock-free", age=DAY), Path(place.root, "guards-v1/sync-held")
    with hold(path, purpose="test"):
        aged(path, DAY)
        report = gc(place)
        assert path.exists() and not free.exists()
    assert kept(report, "guards-v1")["held"] == 1
    aged(Path(place.root, "guards-v1/gc"), DAY)
    gc(place)
    assert Path(place.root, "guards-v1/gc").exists()


def test_whoever_uses_the_store_keeps_the_collection_away_and_is_named(place: Place) -> None:
    """While a command reads in several steps, the collection waits, then says which process it waited for."""
    path = entry(place, 1, age=40 * DAY)
    with using(place, purpose="test") as away:
        assert away
        with pytest.raises(GuardTimeout, match=f"is held by process {os.getpid()}"):
            gc(place)
        assert path.exists()
        assert removed(gc(place, dry=True)) == {"entries-v1": 1}, "a look needs nobody's leave"
    gc(place)
    assert not path.exists()


def test_a_dry_run_says_the_same_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    """Its report is that of the real run after it; not a byte, name or time is different."""
    run(place, 1, {"a": b"x", "b": b"y"}, age=40 * DAY)
    run(place, 2, {"a": b"x"}, age=5 * DAY)
    wheel(place, bytes(5000), age=6 * DAY)
    file(place, "tmp-v1/0.part", age=2 * HOUR)
    entry(place, 3, age=-400 * DAY)
    before = picture(Path(place.root))
    dry = gc(place, size=1500, dry=True)
    assert picture(Path(place.root)) == before
    wet = gc(place, size=1500)
    assert dry == wet and removed(wet)


def picture(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every name below ``root`` with its mode, size and time."""
    found = {str(path): path.lstat() for path in root.rglob("*")}
    return {name: (s.st_mode, s.st_size, 0 if stat.S_ISDIR(s.st_mode) else s.st_mtime_ns) for name, s in found.items()}


def test_it_is_refused_where_others_can_write(tmp_path: Path) -> None:
    """A cache directory that everybody can write is not collected: what would be told of it may be anybody's."""
    root = tmp_path / "cache"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(StoreError, match="every user"):
        gc(place_of(root))


def test_what_the_system_does_not_let_go_stays_and_is_told(place: Place) -> None:
    """A directory without leave to write keeps its files, and the rest is done."""
    if os.geteuid() == 0:
        pytest.skip("root may do anything")
    stuck, other = entry(place, 1, age=40 * DAY), wheel(place, b"w", age=40 * DAY)
    stuck.parent.chmod(0o500)
    try:
        report = gc(place)
    finally:
        stuck.parent.chmod(0o700)
    assert stuck.exists() and not other.exists()
    assert kept(report, "entries-v1") == {"failed": 1}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(st.integers(0, 60), min_size=1, max_size=8), size=st.integers(0, 6000), limit=st.integers(0, 60),
    rooted=st.sets(st.integers(0, 7)),
)  # fmt: skip
def test_the_rules_hold_for_any_store(
    tmp_path: Path, ages: list[int], size: int, limit: int, rooted: set[int]
) -> None:  # fmt: skip
    """Nothing young or rooted goes; nothing older than max-age stays; what is over the limit is all protected."""
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    place = place_of(tmp_path / "cache")
    paths = [run(place, n, {"f": bytes(n * 100)}, age=days * DAY) for n, days in enumerate(ages)]
    roots.remember(place, str(tmp_path), keys=[slot_of(n).key for n in rooted if n < len(ages)])
    if (root := Path(roots.root_path(place, str(tmp_path)))).exists():
        aged(root, 0)
    report = gc(place, size=size, age=limit * DAY)
    for number, (path, days) in enumerate(zip(paths, ages, strict=True)):
        if days == 0 or (number in rooted and days <= limit):
            assert path.exists()
        elif days > limit:
            assert not path.exists()
    left = [days for path, days in zip(paths, ages, strict=True) if path.exists()]
    gone = [days for path, days in zip(paths, ages, strict=True) if not path.exists() and days <= limit]
    free = [d for n, d in enumerate(ages) if paths[n].exists() and n not in rooted and d > 0]
    assert not gone or not free or max(free) <= min(gone), "the oldest go first"
    assert report.over == 0 or free == []
    assert sum(p.stat().st_size for p in Path(place.root).rglob("*") if p.is_file()) >= report.size
    assert len(left) == sum(n for reason, n in kept(report, "entries-v1").items())
