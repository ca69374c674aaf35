"""The packed walk: complete, link-free, equal for equal trees, and readable back."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envid.installed.listing import Listing, unpack
from envid.installed.walk import FIELDS, pack, walk

NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=8)


def tree(root: Path, *, packages: int = 3) -> None:
    """Make a small tree with a link, a pipe and a directory link."""
    for number in range(packages):
        (root / "site" / f"p{number}" / "sub").mkdir(parents=True)
        (root / "site" / f"p{number}" / "a.py").write_text("a")
        (root / "site" / f"p{number}" / "sub" / "b.py").write_text("b" * number)
    (root / "site" / "link").symlink_to("p0")
    os.mkfifo(root / "site" / "pipe")
    (root / "bin").mkdir()
    (root / "bin" / "run").write_text("#!")


def paths(packed: bytes) -> dict[str, tuple[int, ...]]:
    """Return path to numbers of every name in a packed walk."""
    found = {}
    for listing in unpack(packed):
        numbers = listing.numbers()
        for index, name in enumerate(listing.files()):
            path = f"{listing.path}/{name}" if listing.path else name
            found[path] = tuple(numbers[index * FIELDS : (index + 1) * FIELDS])
    return found


def test_every_file_is_there_with_its_numbers(tmp_path: Path) -> None:
    """Mode, size, mtime, inode and ctime are those of lstat; links are not followed; pipes are not opened."""
    tree(tmp_path)
    found = paths(walk(str(tmp_path), ["site", "bin"], []))
    expected = {
        os.path.relpath(os.path.join(directory, name), tmp_path)
        for directory, _, names in os.walk(tmp_path) for name in names
    } | {"site/link"}  # fmt: skip
    assert set(found) == expected
    for path, numbers in found.items():
        status = os.lstat(tmp_path / path)
        assert numbers == (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    assert stat.S_ISLNK(found["site/link"][0])


def test_two_processes_see_what_one_sees(tmp_path: Path) -> None:
    """The walk shared with a forked child has the same entries, and is byte-identical each time."""
    tree(tmp_path, packages=60)
    alone = walk(str(tmp_path), ["site", "bin"], [], parallel=False)
    shared = walk(str(tmp_path), ["site", "bin"], [])
    assert paths(alone) == paths(shared)
    assert shared == walk(str(tmp_path), ["site", "bin"], [])


def test_single_files_are_told_even_when_absent(tmp_path: Path) -> None:
    """A single that is not there has zeros, others their numbers; an absolute one is looked up as it is."""
    tree(tmp_path)
    outside = tmp_path / "bin" / "run"
    found = paths(walk(str(tmp_path), [], ["site/p1/a.py", "gone/x", "pyvenv.cfg", str(outside)]))
    assert found["gone/x"] == found["pyvenv.cfg"] == (0,) * FIELDS
    assert found["site/p1/a.py"][1] == 1
    assert found[str(outside)][1] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_directory_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """It has mode 0."""
    tree(tmp_path)
    (tmp_path / "site" / "p1").chmod(0)
    listing = next(one for one in unpack(walk(str(tmp_path), ["site"], [])) if one.path == "site/p1")
    (tmp_path / "site" / "p1").chmod(0o755)
    assert listing.mode == 0


def test_a_top_directory_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    """Replacing site-packages by a link shows as a directory that cannot be read."""
    tree(tmp_path)
    (tmp_path / "other").symlink_to("site")
    (listing,) = unpack(walk(str(tmp_path), ["other"], []))
    assert (listing.mode, listing.names) == (0, b"")


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    """A name of arbitrary bytes comes back as the filesystem's encoding of it."""
    name = b"caf\xe9.py"
    (tmp_path / "site").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/site/" + name)).write_bytes(b"x")
    (listing,) = unpack(walk(str(tmp_path), ["site"], []))
    assert [os.fsencode(one) for one in listing.files()] == [name]


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=4, unique=True), st.booleans()), max_size=5))
def test_packing_is_read_back(directories: list[tuple[str, list[str], bool]]) -> None:
    """Unpacking what was packed gives the same listings."""
    listings = [
        Listing(path, 0o40755, os.fsencode("\0".join(names)), bytes(8 * FIELDS * len(names)), whole)
        for path, names, whole in directories
    ]
    packed = b"".join(pack(one.path, one.mode, one.names, one.stats, whole=one.whole) for one in listings)
    assert unpack(packed) == listings
    assert b"".join(one.packed() for one in listings) == packed


@given(st.binary(max_size=60))
def test_damage_is_refused_or_read_never_worse(data: bytes) -> None:
    """Arbitrary bytes are a ValueError or listings, and nothing else happens."""
    with contextlib.suppress(ValueError):
        assert isinstance(unpack(data), list)
