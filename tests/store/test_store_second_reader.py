"""What docs/cache.md says of an entry is enough to read one: a second reader, made from the page, agrees."""

from __future__ import annotations

import ast
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import second_entry
from envid.slot import narrow
from envid.store import blobs, entry
from envid.store.cache import Stored, keep
from envid.store.entry import Damage
from envid.store.place import Policy, open_place
from second_entry import Refused

NO_FLOOR = Policy(min_free=0)


def agree(path: Path, key: str) -> bool:
    """Hold both readers to the same answer on a file; return whether they read it."""
    data = path.read_bytes()
    try:
        found = entry.decode(data, key)
        ours = found.document, entry.payload(found, limit=1 << 30)
    except Damage:
        with pytest.raises(Refused):
            second_entry.read(path, key)
        return False
    assert second_entry.read(path, key) == ours
    return True


def test_it_imports_nothing_of_envid() -> None:
    """The second reader stands on its own: what it knows, it knows from the page."""
    tree = ast.parse(Path(second_entry.__file__).read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(name.partition(".")[0] == "envid" for name in imported)


@pytest.mark.parametrize("payload", [b"", b"x", os.urandom(5000), b"text " * 400_000], ids=["none", "x", "raw", "zstd"])
def test_it_finds_and_reads_what_envid_keeps(tmp_path: Path, payload: bytes) -> None:
    """From key or document to the file, and from the file to the payload: an entry and a blob of any kind."""
    place = open_place(tmp_path / "cache", NO_FLOOR)
    slot = narrow("run", {"command": ["make", "é"], "number": len(payload)})
    assert keep(place, slot, payload) == Stored(new=True)
    assert second_entry.key_of(slot.document) == slot.key
    path = second_entry.path_of(tmp_path / "cache", slot.key)
    assert second_entry.read(path, slot.key) == (slot.document, payload)
    blob = blobs.keep_bytes(place, payload)
    assert isinstance(blob, blobs.Kept)
    key = blobs.blob_key(blob.digest)
    assert second_entry.read(second_entry.path_of(tmp_path / "cache", key), key) == (b"", payload)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_both_refuse_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """An entry that was changed anywhere is refused by both readers, or by neither."""
    slot = narrow("run", {"command": "make"})
    payload = data.draw(st.sampled_from([b"", b"payload" * 20, b"zip " * 900]))
    whole = entry.encode(slot.key, slot.document, payload)
    path = tmp_path_factory.getbasetemp() / f"second-{random.random()}"
    at = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(at, min(len(whole), at + 3)))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + whole[end:])
    assert agree(path, slot.key) is (path.read_bytes() == whole)
    path.unlink()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"codec":"raw"', b'"codec":"zip"'), (b'"document":', b'"document": '), (b'"size":140', b'"size":0140'),
     (b'"size":140', b'"size":140.0'), (b'"size":140', b'"size":141'), (b'"size":140', b'"size":true'),
     (b'"made-by"', b'"made-By"'), (b"}", b',"x":1}'), (b"run-", b"ruN-")],
)  # fmt: skip
def test_both_refuse_another_header(tmp_path: Path, old: bytes, new: bytes) -> None:
    """A header in another form, under a right trailer, is refused by both."""
    slot, payload = narrow("run", {"command": "make"}), b"payload" * 20
    header, start = entry.decode_header(entry.encode(slot.key, slot.document, payload))
    text = entry.encode_header(header)
    assert old in text
    edited = text.replace(old, new, 1)
    head = entry.MAGIC + b"\1" + len(edited).to_bytes(4, "big") + edited + slot.document
    proof = bytes.fromhex(header.digest)
    (tmp_path / "entry").write_bytes(head + payload + entry.trailer(head, proof))
    assert start == len(entry.MAGIC) + 5 + len(text)
    assert not agree(tmp_path / "entry", slot.key)
