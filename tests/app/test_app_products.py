"""Outputs into the store and back: whatever was done to them, they are what was made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from commands import Commands
from envid.app.running.aside import dispose
from envid.app.running.products import Restored, keep, restore, rows_of
from envid.manifest import decode, encode
from envid.store.place import Policy, open_place

NAMES = st.sampled_from(["a", "b", "c d", "ä"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
READABLE = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o400])
ANY = st.sampled_from([0o644, 0o000, 0o111])
LINKS = st.tuples(st.just("link"), st.sampled_from([b"a", b"b/c d", b"nowhere", "ä".encode()]), st.just(0))
MADE = st.dictionaries(
    PATHS,
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=20), READABLE),
        st.tuples(st.just("folder"), st.just(b""), st.sampled_from([0o755, 0o700, 0o500])),
        LINKS,
    ),
    max_size=6,
)
"""What a command may have made: all of it can be read."""
OTHER = st.dictionaries(
    PATHS,
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=20), ANY),
        st.tuples(st.just("folder"), st.just(b""), st.sampled_from([0o755, 0o311, 0o000])),
        LINKS,
    ),
    max_size=6,
)
"""What may stand in its place."""


def build(top: Path, tree: dict[str, tuple[str, bytes, int]]) -> None:
    """Make a tree at ``top``; where two paths want the same place, the first has it."""
    top.mkdir()
    made: list[tuple[Path, int]] = []
    for name, (kind, data, mode) in tree.items():
        path = top / name
        if any(parent.is_symlink() or parent.is_file() for parent in path.parents) or os.path.lexists(path):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_bytes(data)
            made.append((path, mode))
        elif kind == "link":
            path.symlink_to(os.fsdecode(data))
        else:
            path.mkdir()
            made.append((path, mode))
    for path, mode in reversed(made):
        path.chmod(mode)


@settings(max_examples=60, deadline=None)
@given(MADE, OTHER)
@example({"a": ("folder", b"", 0o755), "a/a": ("folder", b"", 0o755)}, {"a": ("link", b"a", 0)})
def test_a_restored_tree_is_the_one_that_was_made(
    first: dict[str, tuple[str, bytes, int]], other: dict[str, tuple[str, bytes, int]]
) -> None:
    """Over any other tree in its place, the store puts back exactly the kinds, modes, bytes and links made."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.realpath(folder)
        seen = Commands(root=Path(root, "project"), cache=Path(root, "cache"))
        seen.root.mkdir()
        place = open_place(f"{root}/cache", Policy(min_free=0))
        build(seen.root / "gen", first)
        made = keep(place, str(seen.root), ["gen"])
        assert isinstance(made, tuple)
        before = seen.tree("gen")
        dispose(f"{seen.root}/gen")
        build(seen.root / "gen", other)
        rows = rows_of(decode(encode(made)), ["gen"])
        assert rows is not None
        assert isinstance(restore(place, str(seen.root), ["gen"], rows), Restored)
        assert seen.tree("gen") == before
        assert restore(place, str(seen.root), ["gen"], rows) == Restored(laid=0, removed=0)
        assert os.listdir(seen.root) == ["gen"]
        dispose(f"{seen.root}/gen")
