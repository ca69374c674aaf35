"""The store of contents: what it gives back, and whom it does not believe."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import StoreError
from envid.slot import narrow
from envid.store.cache import Bypass, Diverged, Stored, keep
from envid.store.contents import EPOCH, as_contents, decode, encode, load, load_rows, rows_of, save, slot_of
from envid.store.place import open_place
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, EntryPoint, WheelContents

SHA = Sha256("ab" * 32)

texts = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=9)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
entries = st.builds(
    ContentEntry,
    scheme=st.sampled_from(["purelib", "platlib", "scripts", "data", "headers"]),
    path=st.lists(texts, min_size=1, max_size=3).map("/".join),
    sha256=digests.map(Sha256),
    blake3=digests,
    size=st.integers(0, 2**53),
    executable=st.booleans(),
)
scripts = st.builds(
    ContentEntry, scheme=st.just("scripts"), path=texts, sha256=digests.map(Sha256), blake3=digests,
    size=st.integers(0, 10), python_script=st.just(True), tail_blake3=digests,
)  # fmt: skip
wheels = st.builds(
    WheelContents,
    sha256=st.just(SHA), name=texts.map(NormalizedName), version=texts, dist_info=texts, digest=digests,
    entries=st.lists(st.one_of(entries, scripts), max_size=12, unique_by=lambda e: (e.scheme, e.path)).map(
        lambda found: tuple(sorted(found, key=lambda e: (e.scheme, e.path)))
    ),
    entry_points=st.lists(
        st.builds(EntryPoint, script=texts, module=st.just("a.b"), attribute=st.just("c.d"), gui=st.booleans()),
        max_size=2,
    ).map(tuple),
    notes=st.lists(texts, max_size=2).map(tuple),
)  # fmt: skip

EXAMPLE = WheelContents(
    sha256=SHA, name=NormalizedName("demo"), version="1.0", dist_info="demo-1.0.dist-info", digest="0" * 64,
    entries=(
        ContentEntry(scheme="purelib", path="demo/a b.py", sha256=Sha256("1" * 64), blake3="2" * 64, size=3),
        ContentEntry(scheme="scripts", path="s", sha256=Sha256("4" * 64), blake3="5" * 64, size=6, executable=True,
                     python_script=True, tail_blake3="7" * 64),
    ),
    entry_points=(EntryPoint(script="my tool", module="m", attribute="f"),),
    notes=("case: x",),
)  # fmt: skip


@given(wheels)
def test_contents_survive(contents: WheelContents) -> None:
    """What is encoded is decoded to the same value, byte-identically encoded again."""
    data = encode(contents)
    again = as_contents(decode(data, SHA))
    assert again == contents
    assert encode(again) == data


def test_saved_is_loaded(tmp_path: Path) -> None:
    """What is saved for a wheel is loaded for it, as an object and as columns, and nothing for another."""
    save(tmp_path, EXAMPLE)
    assert load(tmp_path, SHA) == EXAMPLE
    rows = load_rows(tmp_path, SHA)
    assert rows is not None
    assert rows.schemes == (("purelib", 0, 1), ("scripts", 1, 2))
    assert rows.paths == ("demo/a b.py", "s")
    assert rows.sizes == (3, 6)
    assert rows.blake3 == ("2" * 64, "5" * 64)
    assert rows.executable == {1}
    assert rows.tails == {1: "7" * 64}
    assert load(tmp_path, Sha256("cd" * 32)) is None


def test_saving_twice_changes_nothing(tmp_path: Path) -> None:
    """Equal contents are not written again."""
    save(tmp_path, EXAMPLE)
    path = stored(tmp_path)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    save(tmp_path, EXAMPLE)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def stored(cache: Path) -> Path:
    return Path(open_place(cache).entry_path(slot_of(SHA)))


@given(digests.map(Sha256))
def test_the_slot_is_that_of_the_wheel_and_the_epoch(sha256: Sha256) -> None:
    """The document that is written out here is the one that a narrow slot of wheel and epoch has."""
    assert slot_of(sha256) == narrow("contents", {"wheel": sha256, "epoch": EPOCH})


def test_a_store_that_is_open_and_its_directory_are_one(tmp_path: Path) -> None:
    """What is saved through an open store is loaded from the directory, and what nobody keeps has the same columns."""
    assert save(open_place(tmp_path), EXAMPLE) == Stored(new=True)
    assert load_rows(tmp_path, SHA) == load_rows(open_place(tmp_path), SHA) == rows_of(EXAMPLE)


def test_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """A damaged file is a miss, is kept for inspection in the quarantine, and can be saved anew."""
    save(tmp_path, EXAMPLE)
    path = stored(tmp_path)
    damage(path, path.read_bytes()[:-1])
    assert load(tmp_path, SHA) is None
    assert not path.exists()
    assert [one.name.split(".")[0] for one in (tmp_path / "quarantine-v1").iterdir()] == [path.name]
    assert save(tmp_path, EXAMPLE) == Stored(new=True)
    assert load(tmp_path, SHA) == EXAMPLE


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def test_file_under_another_name_is_a_miss(tmp_path: Path) -> None:
    """The contents of one wheel, put in place of another's, are not believed."""
    save(tmp_path, EXAMPLE)
    other = Sha256("0" * 64)
    path = Path(open_place(tmp_path).entry_path(slot_of(other)))
    path.parent.mkdir(parents=True)
    os.replace(stored(tmp_path), path)
    assert load(tmp_path, other) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("sizes 3 6", "sizes 3"), ("paths 2", "paths 1"), ("purelib=1", "purelib=2"), ("purelib=1", "evil=1"),
     ("envid-contents 1", "envid-contents 2"), ("sizes 3", "sizes x"), ("notes 1", "notes 0"), ("name demo\n", "")],
)  # fmt: skip
def test_columns_that_do_not_fit_are_a_miss(old: str, new: str) -> None:
    """A sound entry with wrong insides, as another version might write, is a miss, and makes way for a right one."""
    text = encode(EXAMPLE).replace(old.encode(), new.encode())
    with pytest.raises(ValueError):
        decode(text, SHA)
    with TemporaryDirectory() as made:
        keep(open_place(made), slot_of(SHA), text)
        assert load(Path(made), SHA) is None
        assert save(Path(made), EXAMPLE) == Stored(new=True)
        assert load(Path(made), SHA) == EXAMPLE


def test_what_differs_from_what_is_there_is_told(tmp_path: Path) -> None:
    """Other contents of the same wheel, from an indexer whose epoch was forgotten, do not replace the first."""
    save(tmp_path, EXAMPLE)
    assert isinstance(save(tmp_path, replace(EXAMPLE, notes=())), Diverged)
    assert load(tmp_path, SHA) == EXAMPLE


@pytest.mark.parametrize("part", ["", "entries-v1", "blobs-v1"])
def test_what_everybody_can_write_is_refused(tmp_path: Path, part: str) -> None:
    """A directory that every user can write is StoreError with a hint, on loading and on saving."""
    cache = tmp_path / "cache"
    save(cache, EXAMPLE)
    (cache / part).chmod(0o777)
    with pytest.raises(StoreError, match="every user") as caught:
        load(cache, SHA)
    assert "chmod" in caught.value.hint
    with pytest.raises(StoreError):
        save(cache, EXAMPLE)


def test_a_file_that_everybody_can_write_is_a_miss(tmp_path: Path) -> None:
    """An entry that another user could have written is passed over, and left for its owner to see."""
    save(tmp_path, EXAMPLE)
    stored(tmp_path).chmod(0o666)
    assert load(tmp_path, SHA) is None
    assert isinstance(save(tmp_path, EXAMPLE), Bypass)
    assert stored(tmp_path).exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_what_another_user_owns_is_refused(tmp_path: Path) -> None:
    """An entry of another user is a miss; a directory of another user is StoreError with a hint."""
    save(tmp_path, EXAMPLE)
    os.chown(stored(tmp_path), 12345, 12345)
    assert load(tmp_path, SHA) is None
    os.chown(tmp_path / "entries-v1", 12345, 12345)
    with pytest.raises(StoreError, match="another user"):
        load(tmp_path, SHA)


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link in place of a file is a miss."""
    save(tmp_path, EXAMPLE)
    path = stored(tmp_path)
    os.replace(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert load(tmp_path, SHA) is None


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    """A digest that is none, entries out of order, or a line break in a value never reach the disk."""
    with pytest.raises(StoreError):
        save(tmp_path, replace(EXAMPLE, sha256=Sha256("../x")))
    with pytest.raises(StoreError, match="sorted"):
        encode(replace(EXAMPLE, entries=EXAMPLE.entries[::-1]))
    with pytest.raises(StoreError, match="line break"):
        encode(replace(EXAMPLE, version="1\n2"))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_one_fails_nothing(tmp_path: Path) -> None:
    """Below a file, nothing can be made: what is known goes unkept, with a reason, and nothing is found."""
    (tmp_path / "file").write_text("")
    assert load(tmp_path / "file" / "cache", SHA) is None
    kept = save(tmp_path / "file" / "cache", EXAMPLE)
    assert isinstance(kept, Bypass)
    assert kept.reason == "no-directory"
    assert load(tmp_path / "gone", SHA) is None
