"""Where the store is, whose it is, and what happens where there cannot be one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from envid.errors import StoreError
from envid.slot import narrow
from envid.store import blobs, flight
from envid.store.cache import Bypass, Miss, Stored, get, keep
from envid.store.place import Policy, lacks_space, open_place, prepare, try_out

ROOT = hasattr(os, "getuid") and os.getuid() == 0
SLOT = narrow("run", {"command": "make"})
NO_FLOOR = Policy(min_free=0)

only_root = pytest.mark.skipif(not ROOT, reason="only root can give files away, and mount")


def can_mount() -> bool:
    if not ROOT or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


namespaces = pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own: root and unshare")


def test_opening_makes_nothing(tmp_path: Path) -> None:
    """A place that does not exist is sound, is empty, and is not made by looking."""
    place = open_place(tmp_path / "cache")
    assert place.trouble is None
    assert get(place, SLOT) == Miss(reason="absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
@pytest.mark.parametrize("shared", [False, True])
def test_modes_are_those_of_the_policy(tmp_path: Path, umask: int, shared: bool) -> None:
    """Whatever the umask, a private store is its user's alone, and a shared one is its group's, with setgid."""
    before = os.umask(umask)
    try:
        place = open_place(tmp_path / "cache", Policy(shared=shared, min_free=0))
        assert keep(place, SLOT, b"x" * 2000) == Stored(new=True)
        assert isinstance(blobs.keep_bytes(place, b"y" * 2000), blobs.Kept)
        with flight.single(place, SLOT, wait=1.0, purpose="test") as one:
            assert one.alone
            guard = Path(flight.guard_path(place, SLOT)).stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(guard) == (0o660 if shared else 0o600)
    for directory, _, names in os.walk(tmp_path / "cache"):
        assert stat.S_IMODE(os.stat(directory).st_mode) == (0o2770 if shared else 0o700), directory
        for name in names:
            if name != "CACHEDIR.TAG":
                mode = stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode)
                assert mode == (0o440 if shared else 0o400), name


@pytest.mark.parametrize("part", ["", "entries-v1", "blobs-v1", "tmp-v1"])
def test_a_directory_that_everybody_can_write_is_not_used(tmp_path: Path, part: str) -> None:
    """A world-writable cache, or part of it, is neither read (but for temporaries) nor written, and says what to do."""
    cache = tmp_path / "cache"
    keep(open_place(cache, NO_FLOOR), SLOT, b"x")
    (cache / part).chmod(0o777)
    place = open_place(cache, NO_FLOOR)
    outcome = keep(place, narrow("run", {"command": "other"}), b"x")
    assert isinstance(outcome, Bypass)
    assert outcome.reason == "untrusted"
    assert "every user" in outcome.message
    if part == "tmp-v1":
        assert get(place, SLOT) == b"x"
    else:
        assert get(place, SLOT) == Miss(reason="foreign")
        with pytest.raises(StoreError, match="every user") as caught:
            place.sound()
        assert "chmod o-w" in caught.value.hint


def test_a_sticky_directory_above_is_no_trouble(tmp_path: Path) -> None:
    """A sticky bit does for the cache directory itself, not for those that are read from: only the owner is there."""
    cache = tmp_path / "cache"
    keep(open_place(cache, NO_FLOOR), SLOT, b"x")
    cache.chmod(0o1777)
    assert get(open_place(cache, NO_FLOOR), SLOT) == b"x"
    (cache / "entries-v1").chmod(0o1777)
    assert get(open_place(cache, NO_FLOOR), SLOT) == Miss(reason="foreign")


@only_root
@pytest.mark.parametrize("part", ["", "entries-v1", "blobs-v1"])
def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path, part: str) -> None:
    """A cache of another user is not read, and the message names the owner."""
    cache = tmp_path / "cache"
    keep(open_place(cache, NO_FLOOR), SLOT, b"x")
    os.chown(cache / part, 12345, 12345)
    place = open_place(cache, NO_FLOOR)
    assert get(place, SLOT) == Miss(reason="foreign")
    assert place.trouble is not None
    assert "uid 12345" in place.trouble.message


@only_root
def test_a_shared_store_is_that_of_its_group(tmp_path: Path) -> None:
    """With `shared`, another member's directories and entries are used; those of another group are not."""
    cache, group = tmp_path / "cache", os.getgid()
    policy = Policy(shared=True, min_free=0)
    keep(open_place(cache, policy), SLOT, b"x")
    for owner, wanted in ((group, b"x"), (54321, Miss(reason="foreign"))):
        for directory, names, files in os.walk(cache):
            for name in (".", *names, *files):
                os.chown(os.path.join(directory, name), 12345, owner)
                if name not in files:
                    os.chmod(os.path.join(directory, name), 0o2770)
        assert get(open_place(cache, policy), SLOT) == wanted
    assert get(open_place(cache, NO_FLOOR), SLOT) == Miss(reason="foreign")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_directory_without_permission_is_read_only(tmp_path: Path) -> None:
    """Where the user may not write, what is there is read, and what is not is not kept."""
    cache = tmp_path / "cache"
    keep(open_place(cache, NO_FLOOR), SLOT, b"x")
    for directory, _, _ in os.walk(cache):
        os.chmod(directory, 0o500)
    try:
        place = open_place(cache, NO_FLOOR)
        assert get(place, SLOT) == b"x"
        outcome = keep(place, narrow("run", {"command": "other"}), b"x")
        assert isinstance(outcome, Bypass)
        assert outcome.reason == "read-only"
        assert try_out(place) is not None
    finally:
        for directory, _, _ in os.walk(cache):
            os.chmod(directory, 0o700)


def test_nowhere_to_be(tmp_path: Path) -> None:
    """Where no directory can be made, nothing is kept, with its reason."""
    (tmp_path / "file").write_bytes(b"")
    place = open_place(tmp_path / "file" / "cache", NO_FLOOR)
    for outcome in (keep(place, SLOT, b"x"), blobs.keep_bytes(place, b"x")):
        assert isinstance(outcome, Bypass)
        assert outcome.reason == "no-directory"
    assert get(place, SLOT) == Miss(reason="absent")
    trouble = try_out(place)
    assert trouble is not None
    assert "ENVID_CACHE_DIR" in trouble.hint


def test_below_the_floor_nothing_is_written(tmp_path: Path) -> None:
    """Where a write would leave less free space than the policy's floor, it is not begun, and says so."""
    place = open_place(tmp_path / "cache", Policy(min_free=1 << 62))
    outcome = keep(place, SLOT, b"x")
    assert isinstance(outcome, Bypass)
    assert outcome.reason == "space"
    assert "gc" in (lacks_space(place, 0) or pytest.fail("there is space")).hint
    assert not (tmp_path / "cache" / "entries-v1" / "run").exists()


def test_a_cache_tags_itself(tmp_path: Path) -> None:
    """Backups know by its tag that the directory is a cache; making it twice is no trouble."""
    place = open_place(tmp_path / "cache", NO_FLOOR)
    assert prepare(place) is None
    assert prepare(place) is None
    assert (
        (tmp_path / "cache" / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    )


def inside(script: str, code: str, *arguments: str) -> str:
    """Run ``script`` and then ``code`` in a mount namespace of their own; return what the code prints."""
    whole = f'set -e; mount --make-rprivate /; {script}; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", whole, "-", sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


PROBE = """
import sys
from envid.slot import narrow
from envid.store import blobs
from envid.store.cache import get, keep
from envid.store.place import Policy, open_place, try_out
place = open_place(sys.argv[1], Policy(min_free=0))
print(get(place, narrow("run", {"command": "make"})))
kept = keep(place, narrow("run", {"command": "other"}), b"y" * int(sys.argv[2]), squeeze=False)
print(getattr(kept, "reason", kept))
trouble = try_out(place)
print(trouble.reason if trouble else None)
print(list(place.tally))
"""


@namespaces
def test_a_read_only_filesystem_is_read(tmp_path: Path) -> None:
    """On a filesystem that is mounted read-only, what is there is read, and writing is bypassed as `read-only`."""
    cache = tmp_path / "cache"
    keep(open_place(cache, NO_FLOOR), SLOT, b"x")
    said = inside(f"mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}", PROBE, str(cache), "10")
    assert said.split("\n")[:3] == ["b'x'", "read-only", "read-only"]


@namespaces
def test_a_full_filesystem_is_no_failure(tmp_path: Path) -> None:
    """On a filesystem without space for an entry, writing is bypassed as `space`, and nothing half-written is left."""
    cache = tmp_path / "cache"
    cache.mkdir()
    code = PROBE + "import os; print([names for _, _, names in os.walk(sys.argv[1])])"
    said = inside(f"mount -t tmpfs -o size=1M tmpfs {cache}; chmod 700 {cache}", code, str(cache), "2000000")
    lines = said.split("\n")
    assert lines[:3] == ["Miss(reason='absent')", "space", "None"]
    assert "part" not in lines[4]


@namespaces
def test_a_cache_on_another_filesystem_than_what_is_laid(tmp_path: Path) -> None:
    """Files go between a cache on a tmpfs and a project on disk: each is written beside its own end."""
    cache, out = tmp_path / "cache", tmp_path / "out"
    cache.mkdir()
    code = """
import os, sys
from envid.store import blobs
from envid.store.place import Policy, open_place
place = open_place(sys.argv[1], Policy(min_free=0))
program = os.path.realpath(sys.executable)
kept = blobs.keep_file(place, program)
assert os.stat(sys.argv[1]).st_dev != os.stat(os.path.dirname(sys.argv[2])).st_dev
print(blobs.lay(place, kept.digest, sys.argv[2], mode=0o751), oct(os.stat(sys.argv[2]).st_mode & 0o7777))
print(open(sys.argv[2], "rb").read() == open(program, "rb").read())
"""
    said = inside(f"mount -t tmpfs tmpfs {cache}; chmod 700 {cache}", code, str(cache), str(out))
    assert said == "None 0o751\nTrue\n"
