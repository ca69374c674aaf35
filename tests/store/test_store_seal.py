"""The seal in a tree: read back as written, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.errors import SealBroken
from envid.store.seal import NAME, Seal, decode, encode, measured, put, read, take_off
from envid.store.tree import Tree
from envid.values.digest import canonical

DOCUMENT = canonical({"schema": "envid-identity/1", "layer": "venv", "components": {"salt": "caf\u00e9"}})
SEAL = Seal(
    key="envid1-venv-linux-x86_64-cp312-" + "0" * 64, document=DOCUMENT, place=".venv",
    tree=Tree(digest="1" * 64, entries=3, size=4096),
)  # fmt: skip


def test_a_seal_is_read_back_as_written(tmp_path: Path) -> None:
    """Key, document byte for byte, place and content come back."""
    put(str(tmp_path), SEAL)
    assert read(str(tmp_path)) == SEAL
    take_off(str(tmp_path))
    assert read(str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_the_seal_is_not_part_of_what_it_seals(tmp_path: Path) -> None:
    """Sealing leaves the digest of the tree alone."""
    (tmp_path / "x").write_text("x")
    before = measured(str(tmp_path))
    put(str(tmp_path), SEAL)
    assert measured(str(tmp_path)) == before


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_seen(bit: int) -> None:
    """A seal with any single bit flipped is unreadable, or another seal."""
    data = encode(SEAL)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << bit
        try:
            found = decode(bytes(flipped))
        except SealBroken:
            continue
        assert found != SEAL, at


def test_every_truncation_is_seen() -> None:
    """A seal cut anywhere is unreadable; without its last line feed it is whole."""
    data = encode(SEAL)
    assert decode(data[:-1]) == SEAL
    for length in range(len(data) - 1):
        with pytest.raises(SealBroken):
            decode(data[:length])


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: repr(v).encode()))
def test_anything_else_is_no_seal(data: bytes) -> None:
    """Whatever stands there, it is a seal or SealBroken, never another failure."""
    with pytest.raises(SealBroken):
        decode(data)


@pytest.mark.parametrize(
    "value",
    [
        [], {}, {"schema": "envid-seal/2"}, {"schema": "envid-seal/1"}, {"schema": "envid-seal/1", "tree": []},
        {"schema": "envid-seal/1", "key": "k", "identity": {}, "place": "p", "tree": {"digest": 1}},
        {"schema": "envid-seal/1", "key": "k", "place": "p", "tree": {"digest": "d", "entries": "1", "size": 2}},
        {"schema": "envid-seal/1", "key": ["k"], "place": "p", "tree": {"digest": "d", "entries": 1, "size": 2}},
    ],
    ids=str,
)  # fmt: skip
def test_a_seal_that_lacks_a_part_is_none(value: object) -> None:
    """Canonical JSON of another shape is refused."""
    with pytest.raises(SealBroken):
        decode(canonical(value))  # type: ignore[arg-type]


def test_what_stands_in_the_seals_place_is_not_followed(tmp_path: Path) -> None:
    """A link, a pipe, a directory and a file without end are refused, and do not hang the reader."""
    outside = tmp_path / "outside"
    outside.write_bytes(encode(SEAL))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / NAME).symlink_to(outside)
    with pytest.raises(SealBroken):
        read(str(tree))
    (tree / NAME).unlink()
    os.mkfifo(tree / NAME)
    with pytest.raises(SealBroken):
        read(str(tree))
    (tree / NAME).unlink()
    with open(tree / NAME, "wb") as stream:
        stream.truncate(17 * 1024 * 1024)
    with pytest.raises(SealBroken, match="larger"):
        read(str(tree))
    put(str(tree), SEAL)
    assert read(str(tree)) == SEAL
    (tree / NAME).unlink()
    (tree / NAME).mkdir()
    with pytest.raises(SealBroken):
        read(str(tree))


def test_a_new_seal_replaces_a_planted_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """Sealing writes into the tree, whatever stands in the seal's place."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / NAME).symlink_to(outside)
    put(str(tree), SEAL)
    assert outside.read_text() == "mine"
    assert not (tree / NAME).is_symlink()
    assert read(str(tree)) == SEAL
