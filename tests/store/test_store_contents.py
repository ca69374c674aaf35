"""The store of contents: what it gives back, and whom it does not believe."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envid.errors import StoreError, WriteFailed
from envid.store.contents import CONTEXT, as_contents, decode, encode, load, load_rows, save
from envid.values.artifact import NormalizedName, Sha256
from envid.values.contents import ContentEntry, EntryPoint, WheelContents
from envid.values.digest import derive_hex

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
    return cache / "contents-v1" / SHA[:2] / SHA


@settings(max_examples=60)
@given(st.data())
def test_every_damage_is_a_miss(data: st.DataObject) -> None:
    """Any byte changed, cut or added makes the file worth nothing, never something else."""
    whole = encode(EXAMPLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    flipped = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
    for damaged in (flipped, whole[:at], whole + b"x", whole + whole, b""):
        with pytest.raises(ValueError):
            decode(damaged, SHA)


def test_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """A damaged file is a miss, is kept for inspection under another name, and can be saved anew."""
    save(tmp_path, EXAMPLE)
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert load(tmp_path, SHA) is None
    assert not path.exists()
    assert path.with_name(SHA + ".damaged").exists()
    save(tmp_path, EXAMPLE)
    assert load(tmp_path, SHA) == EXAMPLE


def test_file_under_another_name_is_a_miss(tmp_path: Path) -> None:
    """The contents of one wheel, put in place of another's, are not believed."""
    save(tmp_path, EXAMPLE)
    other = Sha256(SHA[:2] + "0" * 62)
    os.replace(stored(tmp_path), stored(tmp_path).with_name(other))
    assert load(tmp_path, other) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("sizes 3 6", "sizes 3"), ("paths 2", "paths 1"), ("purelib=1", "purelib=2"), ("purelib=1", "evil=1"),
     ("envid-contents 1", "envid-contents 2"), ("sizes 3", "sizes x"), ("notes 1", "notes 0"), ("name demo\n", "")],
)  # fmt: skip
def test_columns_that_do_not_fit_are_a_miss(old: str, new: str) -> None:
    """A file with a right trailer and wrong insides, as another version might write, is refused too."""
    body = encode(EXAMPLE)[:-65].replace(old.encode(), new.encode())
    with pytest.raises(ValueError):
        decode(body + derive_hex(CONTEXT, body).encode() + b"\n", SHA)


@pytest.mark.parametrize("part", ["", "contents-v1", f"contents-v1/{SHA[:2]}", f"contents-v1/{SHA[:2]}/{SHA}"])
def test_what_everybody_can_write_is_refused(tmp_path: Path, part: str) -> None:
    """A directory or file that every user can write is StoreError with a hint, on loading and on saving."""
    cache = tmp_path / "cache"
    save(cache, EXAMPLE)
    (cache / part).chmod(0o777)
    with pytest.raises(StoreError, match="every user") as caught:
        load(cache, SHA)
    assert "chmod" in caught.value.hint
    if not part.endswith(SHA):
        with pytest.raises(StoreError):
            save(cache, EXAMPLE)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("part", ["contents-v1", f"contents-v1/{SHA[:2]}/{SHA}"])
def test_what_another_user_owns_is_refused(tmp_path: Path, part: str) -> None:
    """A directory or file of another user is StoreError with a hint."""
    save(tmp_path, EXAMPLE)
    os.chown(tmp_path / part, 12345, 12345)
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


def test_cache_that_is_a_file(tmp_path: Path) -> None:
    """A cache that cannot be written is WriteFailed with a hint; one that is not there is a miss."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed) as caught:
        save(tmp_path / "file", EXAMPLE)
    assert caught.value.hint
    assert load(tmp_path / "file", SHA) is None
    assert load(tmp_path / "gone", SHA) is None
