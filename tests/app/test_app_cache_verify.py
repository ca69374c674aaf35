"""`envid cache verify` finds what is wrong in the cache, `envid cache repair` puts it right, once and for good."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envid.app.cache_verify import cache_repair, cache_verify
from envid.app.storing import place_of
from envid.app.workspace import Workspace
from envid.errors import StoreError
from envid.slot import narrow
from envid.store import cache, entry
from envid.store.cache import Miss
from envid.store.place import Place
from filled import blob, run, slot_of, wheel
from filled import entry as put_entry
from locked import LockedProject, picture


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A project with a cache of its own."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "1"\n')
    return LockedProject(root=root, served=tmp_path, cache=tmp_path / "cache").workspace()


def fill(place: Place) -> dict[str, Path]:
    """Two entries, a run with two blobs, and an artifact, all made now."""
    now = time.time()
    things = {
        "first": put_entry(place, 1, bytes(5000)), "second": put_entry(place, 2, bytes(5000)),
        "run": run(place, 3, {"a": b"left" * 500, "b": b"right" * 500}), "wheel": wheel(place, b"wheel" * 100),
        "blob": blob(place, b"left" * 500),
    }  # fmt: skip
    for path in Path(place.root).rglob("*"):
        os.utime(path, (now, now))
    return things


def rewritten(path: Path, data: bytes) -> None:
    """Give a file that is read-only other bytes."""
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(0o400)


def codes(ws: Workspace) -> dict[str, int]:
    """What `verify` finds: the number of findings by code."""
    found = cache_verify(ws).data["faults"]
    assert isinstance(found, dict)
    return found


def test_a_sound_cache_is_said_to_be_so(ws: Workspace) -> None:
    """Everything is read, nothing is found, nothing is changed, no time renewed."""
    things = fill(place_of(ws))
    old = time.time() - 5 * 86400
    os.utime(things["first"], (old, old))
    before = {path: path.stat().st_mtime_ns for path in ws.cache.rglob("*") if path.is_file()}
    done = cache_verify(ws)
    assert (done.exit_code, done.findings) == (0, ())
    size = sum(path.stat().st_size for path in before if path.name != "CACHEDIR.TAG")
    assert done.data["read"] == {"entries": 3, "blobs": 2, "artifacts": 1, "bytes": size}
    assert {path: path.stat().st_mtime_ns for path in ws.cache.rglob("*") if path.is_file()} == before


def _flip(things: dict[str, Path], which: str) -> None:
    data = bytearray(things[which].read_bytes())
    data[len(data) // 2] ^= 4
    rewritten(things[which], bytes(data))


def _swap(things: dict[str, Path], _: str) -> None:
    first, second = things["first"].read_bytes(), things["second"].read_bytes()
    rewritten(things["first"], second)
    rewritten(things["second"], first)


def _cut(things: dict[str, Path], which: str) -> None:
    rewritten(things[which], things[which].read_bytes()[:-10])


def _drop(things: dict[str, Path], which: str) -> None:
    things[which].unlink()


def _link(things: dict[str, Path], which: str) -> None:
    other = things[which].with_name("f" * 64)
    things[which].rename(other)
    things[which].symlink_to(other.name)
    shutil.move(other, other.parents[3] / "elsewhere")


def _lie(things: dict[str, Path], which: str) -> None:
    """A sound entry whose document gives another key than its own."""
    slot, other = slot_of(1), narrow("run", {"number": "other"})
    rewritten(things[which], entry.encode(slot.key, other.document, b"poison", squeeze=False))


def _stranger(things: dict[str, Path], which: str) -> None:
    (things[which].parent / "notes.txt").write_text("mine")


def _opened(things: dict[str, Path], which: str) -> None:
    things[which].chmod(0o666)


def _misplaced(things: dict[str, Path], which: str) -> None:
    other = things[which].parent.with_name("zz" if things[which].parent.name == "00" else "00")
    other.mkdir()
    things[which].rename(other / things[which].name)


def _leftover(things: dict[str, Path], which: str) -> None:
    path = things[which].parents[3] / "tmp-v1" / "x.part"
    path.write_bytes(b"part")
    os.utime(path, (1, 1))


def _in_the_way(things: dict[str, Path], which: str) -> None:
    things[which].unlink()
    things[which].mkdir()
    (things[which] / "inside").write_text("something")


def _piped(things: dict[str, Path], which: str) -> None:
    things[which].unlink()
    os.mkfifo(things[which])


@pytest.mark.parametrize(
    ("damage", "which", "code", "number"),
    [
        (_flip, "first", "cache.damaged", 1), (_flip, "blob", "cache.damaged", 1), (_flip, "wheel", "cache.damaged", 1),
        (_cut, "first", "cache.damaged", 1), (_cut, "blob", "cache.damaged", 1), (_swap, "", "cache.misnamed", 2),
        (_lie, "first", "cache.misnamed", 1), (_drop, "blob", "cache.missing-blob", 1),
        (_link, "first", "cache.foreign", 1), (_stranger, "first", "cache.foreign", 1),
        (_opened, "first", "cache.foreign", 1), (_misplaced, "first", "cache.foreign", 1),
        (_leftover, "first", "cache.leftover", 1), (_in_the_way, "first", "cache.foreign", 1),
        (_in_the_way, "wheel", "cache.foreign", 1), (_piped, "first", "cache.foreign", 1),
        (_piped, "wheel", "cache.foreign", 1),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_put_right(
    ws: Workspace, damage: Callable[[dict[str, Path], str], None], which: str, code: str, number: int
) -> None:
    """It has its code; a leftover alone is no fault; after a repair nothing is found, and a second changes nothing."""
    things = fill(place_of(ws))
    damage(things, which)
    done = cache_verify(ws)
    assert done.data["faults"] == {code: number}
    assert done.exit_code == (0 if code == "cache.leftover" else 1)
    assert all(finding.path and not finding.path.startswith("/") for finding in done.findings)
    repaired = cache_repair(ws)
    assert repaired.exit_code == 0 and repaired.notes
    assert codes(ws) == {}
    before = picture(ws.cache)
    assert cache_repair(ws).answer.startswith("nothing was to be repaired")
    assert picture(ws.cache).keys() == before.keys()


def test_what_is_set_aside_can_be_looked_at_and_is_a_miss(ws: Workspace) -> None:
    """A damaged entry lies in the quarantine with its reason in its name; its key misses, the others hit."""
    place = place_of(ws)
    things = fill(place)
    _flip(things, "first")
    cache_repair(ws)
    assert [path.name.split(".")[1] for path in (ws.cache / "quarantine-v1").iterdir()] == ["damaged"]
    assert cache.get(place, slot_of(1)) == Miss(reason="absent")
    assert cache.get(place, slot_of(2)) == bytes(5000)


def test_a_damaged_blob_takes_its_entry_with_it(ws: Workspace) -> None:
    """One repair sets the blob aside and drops the entry that is incomplete then; the other blob stays."""
    things = fill(place_of(ws))
    _cut(things, "blob")
    done = cache_repair(ws)
    assert len(done.data["aside"]) == 1 and len(done.data["dropped"]) == 1  # type: ignore[arg-type]
    assert not things["run"].exists()
    assert codes(ws) == {}


def test_a_sample_reads_a_share(ws: Workspace) -> None:
    """A small sample reads fewer, and names and owners are looked at all the same."""
    place = place_of(ws)
    for number in range(40):
        put_entry(place, number)
    _stranger({"first": Path(place.entry_path(slot_of(1)))}, "first")
    done = cache_verify(ws, sample=0.000001)
    assert done.data["read"] == {"entries": 0, "blobs": 0, "artifacts": 0, "bytes": 0}
    assert done.data["faults"] == {"cache.foreign": 1}
    assert "% of them read" in done.answer


def test_entries_of_other_versions_are_no_fault_and_stay(ws: Workspace) -> None:
    """An entry of a newer format is told and left: it is of use to the envid that made it."""
    things = fill(place_of(ws))
    data = things["first"].read_bytes()
    rewritten(things["first"], data[:8] + b"\x09" + data[9:])
    done = cache_verify(ws)
    assert (done.exit_code, done.data["faults"]) == (0, {"cache.format": 1})
    cache_repair(ws)
    assert things["first"].exists()


def test_a_directory_that_others_can_write_is_told_and_not_mended(ws: Workspace) -> None:
    """What lies in it may be anybody's: that is for the user to decide; the cache as a whole is not repaired then."""
    things = fill(place_of(ws))
    things["first"].parent.chmod(0o777)
    assert codes(ws) == {"cache.untrusted": 1}
    assert cache_repair(ws).exit_code == 1
    things["first"].parent.chmod(0o700)
    ws.cache.chmod(0o777)
    assert codes(ws)["cache.untrusted"] == 1
    with pytest.raises(StoreError, match="every user"):
        cache_repair(ws)


def test_a_link_in_place_of_an_area_is_told_and_not_followed(ws: Workspace, tmp_path: Path) -> None:
    """Nothing beyond it is read or moved."""
    fill(place_of(ws))
    victim = tmp_path / "victim"
    (victim / "ab").mkdir(parents=True)
    (victim / "ab" / ("ab" * 32)).write_bytes(b"precious")
    (ws.cache / "answers-v1").symlink_to(victim)
    assert codes(ws) == {"cache.untrusted": 1}
    cache_repair(ws)
    assert (victim / "ab" / ("ab" * 32)).read_bytes() == b"precious"


def test_a_file_in_place_of_an_area_is_told(ws: Workspace) -> None:
    """Where a directory of the cache should be, anything else is named."""
    fill(place_of(ws))
    (ws.cache / "answers-v1").write_text("")
    assert codes(ws) == {"cache.untrusted": 1}


def test_a_cache_that_is_not_there_is_sound(ws: Workspace) -> None:
    """Nothing to read is no fault, nothing to repair no error; neither makes a cache."""
    assert cache_verify(ws).exit_code == 0
    assert cache_repair(ws).exit_code == 0
    assert not ws.cache.exists()
