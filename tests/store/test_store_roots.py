"""A root says what a project uses, is written only when that changed, and is believed only as it was written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.store.place import Place, Policy, open_place
from envid.store.roots import Root, decode, encode, read_roots, remember, root_path
from filled import entry, place_of, slot_of

KEY = slot_of(1).key
SHA = "ab" * 32


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty store."""
    return place_of(tmp_path / "cache")


def only(place: Place) -> Root:
    """The one root that is there."""
    roots, broken = read_roots(place)
    assert len(roots) == 1 and broken == ()
    return roots[0]


def test_what_is_remembered_is_read(place: Place) -> None:
    """Project, keys and artifacts come back; groups are replaced, keys added, and repetition writes nothing."""
    entry(place, 1)
    assert remember(place, "/srv/project", keys=[KEY], wheels={"default/t": [SHA]})
    path = Path(root_path(place, "/srv/project"))
    before = path.stat()
    assert not remember(place, "/srv/project", keys=[KEY], wheels={"default/t": [SHA]})
    assert not remember(place, "/srv/project", keys=[KEY])
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns
    assert remember(place, "/srv/project", keys=[slot_of(2).key], wheels={"dev/t": ["cd" * 32], "default/t": []})
    root = only(place)
    assert (root.project, root.keys) == ("/srv/project", (KEY, slot_of(2).key))
    assert root.wheels == {"dev/t": frozenset({"cd" * 32})}
    assert path.stat().st_mode & 0o777 == 0o600


def test_use_renews_the_time_once_a_day(place: Place) -> None:
    """A root that says nothing new gets the present time when its own is over a day away, in either direction."""
    remember(place, "/srv/project", wheels={"default/t": [SHA]})
    path = root_path(place, "/srv/project")
    now = os.stat(path).st_mtime_ns
    for other in (now - 2 * 86400 * 10**9, now + 10**18):
        os.utime(path, ns=(other, other))
        assert not remember(place, "/srv/project", wheels={"default/t": [SHA]})
        assert abs(os.stat(path).st_mtime_ns - now) < 600 * 10**9
    hour = now - 3600 * 10**9
    os.utime(path, ns=(hour, hour))
    remember(place, "/srv/project")
    assert os.stat(path).st_mtime_ns == hour


def test_keys_whose_entries_are_gone_are_forgotten(place: Place) -> None:
    """When a root is written, it keeps no key that the store does not have."""
    entry(place, 1)
    remember(place, "/srv/project", keys=[KEY, slot_of(2).key])
    remember(place, "/srv/project", keys=[slot_of(3).key])
    assert only(place).keys == (KEY, slot_of(3).key)


def test_projects_have_roots_of_their_own(place: Place) -> None:
    """Two projects, one of them with a name that is no text, do not share a root."""
    odd = os.fsdecode(b"/srv/\xff project\n")
    remember(place, "/srv/project", wheels={"a": [SHA]})
    remember(place, odd, wheels={"a": [SHA]})
    roots, _ = read_roots(place)
    assert {root.project for root in roots} == {"/srv/project", odd}


def test_commands_that_add_at_the_same_time_lose_nothing(place: Place) -> None:
    """Eight writers, each with keys of its own, all find them in the project's root afterwards."""

    def work(first: int) -> None:
        own = open_place(place.root, place.policy)
        for number in range(first, first + 5):
            remember(own, "/srv/project", keys=[slot_of(number).key], wheels={f"lock/{first}": [SHA]})

    for number in range(40):
        entry(place, number)
    threads = [threading.Thread(target=work, args=(5 * at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    root = only(place)
    assert set(root.keys) == {slot_of(number).key for number in range(40)}
    assert len(root.wheels) == 8


def test_nothing_to_remember_writes_nothing(place: Place) -> None:
    """A command that used neither entry nor artifact leaves no root."""
    assert not remember(place, "/srv/project", wheels={"default/t": []})
    assert read_roots(place) == ((), ())


@pytest.mark.parametrize("damage", ["cut", "flipped", "renamed", "linked", "pipe"])
def test_a_root_that_is_not_what_was_written_is_none(place: Place, damage: str) -> None:
    """A torn, altered, misnamed or replaced file protects nothing, and the next command writes a sound one."""
    remember(place, "/srv/project", wheels={"a": [SHA]})
    path = Path(root_path(place, "/srv/project"))
    data = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "flipped":
        path.write_bytes(data.replace(b"ab", b"ac", 1))
    elif damage == "renamed":
        path = path.with_name("0" * 64)
        path.write_bytes(data)
    elif damage == "linked":
        other = Path(place.root, "other")
        other.write_bytes(data)
        path.symlink_to(other)
    else:
        os.mkfifo(path)
    roots, broken = read_roots(place)
    assert (roots, broken) == ((), (path.name,))
    if damage in ("cut", "flipped"):
        assert remember(place, "/srv/project", wheels={"a": [SHA]})
        only(place)


def test_a_store_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    """No directory, no trust, no space: remembering says no, and nothing else."""
    (tmp_path / "file").write_text("in the way")
    assert not remember(open_place(tmp_path / "file" / "cache"), "/srv/p", wheels={"a": [SHA]})
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert not remember(open_place(tmp_path / "open"), "/srv/p", wheels={"a": [SHA]})
    full = open_place(tmp_path / "full", Policy(min_free=1 << 60))
    assert not remember(full, "/srv/p", wheels={"a": [SHA]})


@given(
    project=st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b),
    keys=st.lists(st.builds(lambda n: slot_of(n).key, st.integers(0, 50)), unique=True, max_size=5),
    wheels=st.dictionaries(
        st.from_regex(r"\A[a-z0-9/_.-]{1,20}\Z"),
        st.frozensets(st.from_regex(r"\A[0-9a-f]{64}\Z"), min_size=1, max_size=4),
        max_size=3,
    ),
)
def test_encoding_is_exact(project: bytes, keys: list[str], wheels: dict[str, frozenset[str]]) -> None:
    """Whatever a root holds comes back, and nothing that differs in a byte is a root."""
    root = Root(project=os.fsdecode(project), keys=tuple(keys), wheels=wheels, used_ns=5)
    data = encode(root)
    assert decode(data, used_ns=5) == root
    for at in range(0, len(data), 7):
        assert decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], used_ns=5) is None


@given(data=st.binary(max_size=300))
def test_other_bytes_are_no_root(data: bytes) -> None:
    """Arbitrary bytes are refused without an error."""
    assert decode(data, used_ns=0) is None
