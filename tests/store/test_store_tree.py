"""The digest of a tree changes with everything in it, and with nothing else."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envid.errors import UnsafePath
from envid.store.tree import measure


def planted(root: Path) -> Path:
    """Make a small tree with files, directories and links of every kind."""
    (root / "lib" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.py").write_bytes(b"x = 1\n")
    (root / "lib" / "b").write_bytes(b"")
    (root / "lib" / "deep" / "c\xe9").write_bytes(bytes(range(256)) * 100)
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("lib")
    (root / "dangling").symlink_to("../nowhere")
    return root


def put_link(path: Path, target: str) -> None:
    """Put a link in the place of what is at ``path``."""
    path.unlink()
    path.symlink_to(target)


def put_copy(path: Path, tree: Path) -> None:
    """Put a copy of ``tree`` in the place of what is at ``path``."""
    path.unlink()
    shutil.copytree(tree, path)


def swap(one: Path, two: Path) -> None:
    """Exchange two files."""
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda root: (root / "a.py").write_bytes(b"x = 2\n"),
    "an appended byte": lambda root: (root / "a.py").write_bytes(b"x = 1\n\n"),
    "a truncated file": lambda root: (root / "a.py").write_bytes(b""),
    "a missing file": lambda root: (root / "a.py").unlink(),
    "a surplus file": lambda root: (root / "z").write_bytes(b""),
    "a renamed file": lambda root: (root / "a.py").rename(root / "a.pyc"),
    "a moved file": lambda root: (root / "a.py").rename(root / "lib" / "a.py"),
    "a missing empty directory": lambda root: (root / "empty").rmdir(),
    "a surplus empty directory": lambda root: (root / "lib" / "new").mkdir(),
    "an execute bit": lambda root: (root / "a.py").chmod(0o744),
    "a lost execute bit": lambda root: (root / "run").chmod(0o655),
    "setuid": lambda root: (root / "run").chmod(0o4755),
    "a link that leads elsewhere": lambda root: put_link(root / "link", "empty"),
    "a link that became what it leads to": lambda root: put_copy(root / "link", root / "lib"),
    "a file that became a link": lambda root: put_link(root / "a.py", "run"),
    "a file that became a directory": lambda root: put_copy(root / "a.py", root / "empty"),
    "two files swapped": lambda root: swap(root / "a.py", root / "lib" / "b"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(change: Callable[[Path], object], tmp_path: Path) -> None:
    """Content, kind, execute bit, name, place, missing and surplus entries: each gives another digest."""
    before = measure(str(planted(tmp_path / "tree")))
    change(tmp_path / "tree")
    assert measure(str(tmp_path / "tree")).digest != before.digest


def test_times_place_owner_bits_of_others_and_hard_links_do_not_count(tmp_path: Path) -> None:
    """A copy elsewhere, with other times, under another umask, not linked as the original was, is the same tree."""
    one = planted(tmp_path / "one")
    (one / "twin").write_bytes(b"x")
    os.link(one / "twin", one / "twin2")
    shutil.copytree(one, tmp_path / "two", symlinks=True, copy_function=shutil.copyfile)
    two = tmp_path / "two"
    (two / "run").chmod(0o700)
    (two / "lib").chmod(0o775)
    assert measure(str(one)) == measure(str(two))


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_tree_survives_an_archive(umask: int, tmp_path: Path) -> None:
    """A tree that is archived and unpacked again has the same digest, whatever the umask of who unpacks it."""
    planted(tmp_path / "tree")
    before = measure(str(tmp_path / "tree"))
    with tarfile.open(tmp_path / "saved.tar", "w") as archive:
        archive.add(tmp_path / "tree", "tree")
    shutil.rmtree(tmp_path / "tree")
    old = os.umask(umask)
    try:
        with tarfile.open(tmp_path / "saved.tar") as archive:
            archive.extractall(tmp_path, filter="tar")
    finally:
        os.umask(old)
    assert measure(str(tmp_path / "tree")) == before


def test_counts_are_those_of_the_tree(tmp_path: Path) -> None:
    """Entries are files, links and directories; size is that of the files."""
    found = measure(str(planted(tmp_path / "tree")))
    assert (found.entries, found.size) == (9, 6 + 25600 + 10)
    assert measure(str(tmp_path / "tree"), without="a.py").entries == 8
    # Only directly in the tree is the name left out.
    assert measure(str(tmp_path / "tree"), without="b").entries == 9


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe has no bytes to hold anything to, and must not hang the reader."""
    os.mkfifo(planted(tmp_path / "tree") / "pipe")
    with pytest.raises(UnsafePath, match="pipe is neither"):
        measure(str(tmp_path / "tree"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """An unreadable file is no empty file."""
    (planted(tmp_path / "tree") / "a.py").chmod(0)
    with pytest.raises(UnsafePath, match="cannot read"):
        measure(str(tmp_path / "tree"))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)
TREES = st.dictionaries(st.tuples(NAMES) | st.tuples(NAMES, NAMES), st.binary(max_size=20), max_size=5)


def lay(root: Path, files: dict[tuple[str, ...], bytes]) -> dict[str, bytes]:
    """Write files where that is possible; return what is there."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    there = {}
    for parts, body in files.items():
        path = root.joinpath(*parts)
        if path.parent.is_dir() or not os.path.lexists(path.parent):
            path.parent.mkdir(exist_ok=True)
            if not path.is_dir():
                path.write_bytes(body)
                there["/".join(parts)] = body
    return there


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TREES, TREES)
def test_two_trees_have_one_digest_only_when_they_are_equal(
    tmp_path: Path, one: dict[tuple[str, ...], bytes], two: dict[tuple[str, ...], bytes]
) -> None:
    """No two different trees run into the same bytes: names, lengths and contents are framed."""
    first, second = lay(tmp_path / "one", one), lay(tmp_path / "two", two)
    same = measure(str(tmp_path / "one")).digest == measure(str(tmp_path / "two")).digest
    assert same is (first == second)


def test_a_tree_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Nothing to read is no empty tree."""
    with pytest.raises(UnsafePath, match="cannot read"):
        measure(str(tmp_path / "missing"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnsafePath, match="cannot read"):
        measure(str(tmp_path / "file"))


@pytest.mark.skipif(not os.path.isdir("/proc/sys/kernel/random"), reason="files that are longer than they say")
def test_a_file_that_is_not_as_long_as_it_said_is_refused() -> None:
    """A file that grew since it was listed has no digest: what was read may be neither the old nor the new one."""
    with pytest.raises(UnsafePath, match="changed while it was read"):
        measure("/proc/sys/kernel/random")
