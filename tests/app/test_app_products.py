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
from envid.errors import OutputRefused
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
        assert isinstance(restore(place, str(seen.root), ["gen"], rows, known={}, clean=True), Restored)
        assert seen.tree("gen") == before
        assert restore(place, str(seen.root), ["gen"], rows, known={}, clean=True) == Restored(laid=0, removed=0)
        assert os.listdir(seen.root) == ["gen"]
        dispose(f"{seen.root}/gen")


def _files(root: Path) -> dict[str, int]:
    """Return path and inode of all below ``root`` that is no directory."""
    found: dict[str, int] = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *names)):
            if path.is_symlink() or not path.is_dir():
                found[path.relative_to(root).as_posix()] = path.lstat().st_ino
    return found


@settings(max_examples=60, deadline=None)
@given(MADE, OTHER)
@example({"a": ("file", b"", 0o644)}, {"a/b": ("file", b"mine", 0o644)})
def test_a_restored_tree_leaves_what_no_run_made(
    first: dict[str, tuple[str, bytes, int]], other: dict[str, tuple[str, bytes, int]]
) -> None:
    """Every file of another name is there afterwards, and is told; where one is in the way nothing changes at all."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.realpath(folder)
        project = Path(root, "project")
        (project / "gen").parent.mkdir()
        place = open_place(f"{root}/cache", Policy(min_free=0))
        build(project / "gen", first)
        made = keep(place, str(project), ["gen"])
        assert isinstance(made, tuple)
        rows = rows_of(decode(encode(made)), ["gen"])
        assert rows is not None
        dispose(f"{project}/gen")
        build(project / "gen", other)
        before = _files(project)
        mine = {path: inode for path, inode in before.items() if path not in rows}
        try:
            restored = restore(place, str(project), ["gen"], rows, known={}, clean=False)
        except OutputRefused:
            assert _files(project) == before
        else:
            assert isinstance(restored, Restored) and set(mine) <= set(restored.foreign)
            assert mine.items() <= _files(project).items()
            assert {path for path, row in rows.items() if row[0] != "directory"} <= _files(project).keys()
        dispose(f"{project}/gen")
