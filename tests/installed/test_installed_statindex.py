"""The stat index believes what it proved, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from envid.installed import statindex
from envid.installed.listing import unpack
from envid.installed.walk import walk

LATER = 10**18 * 4
"""A start so late that nothing is racy."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with three files, one below."""
    directory = tmp_path / "env" / "site"
    (directory / "p").mkdir(parents=True)
    for name in ("a.py", "b.py", "p/c.py"):
        (directory / name).write_text(name)
    return directory


def walked(site: Path) -> bytes:
    return walk(str(site.parent), ["site"], [])


def kept(packed: bytes, *, unproven: Collection[str], started_ns: int) -> bytes:
    """Return what is kept of a packed walk."""
    return statindex.keep(packed, unpack(packed), unproven=unproven, started_ns=started_ns)


def suspects(site: Path, known: bytes | None) -> set[str]:
    found = statindex.changed(known, walked(site))
    return {f"{directory}/{name}" for directory, names in found.items() for name in names or {"*"}}


def test_nothing_changed_nothing_suspected(site: Path) -> None:
    """An index of the same walk leaves nothing to read."""
    assert suspects(site, kept(walked(site), unproven=(), started_ns=LATER)) == set()


def test_without_an_index_everything_is_suspected(site: Path) -> None:
    """No index: all names of every directory."""
    assert suspects(site, None) == {"site/*", "site/p/*"}


def edit(path: Path) -> None:
    path.write_text("edit")


def quiet_edit(path: Path) -> None:
    before = path.stat()
    path.write_text("A.py")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    before = path.stat()
    other = path.with_name("tmp")
    other.write_text("A.py")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def link(path: Path) -> None:
    """Change nothing but ctime, as any other environment on the same cache does."""
    os.link(path, path.parent.parent.parent / "elsewhere")


@pytest.mark.parametrize("how", [edit, quiet_edit, replace, link, lambda path: path.chmod(0o600)])
def test_every_change_of_metadata_is_suspected(site: Path, how: object) -> None:
    """Size, time, inode, mode, and a ctime alone: the file is read again, and no other."""
    known = kept(walked(site), unproven=(), started_ns=LATER)
    how(site / "a.py")  # type: ignore[operator]
    assert suspects(site, known) == {"site/a.py"}


def test_new_files_are_suspected_and_caches_do_not_disturb(site: Path) -> None:
    """A new __pycache__ is suspected itself; the directory that got it is not."""
    known = kept(walked(site), unproven=(), started_ns=LATER)
    (site / "p" / "__pycache__").mkdir()
    (site / "p" / "__pycache__" / "c.pyc").write_text("x")
    assert suspects(site, known) == {"site/p/__pycache__/c.pyc"}


def test_what_was_not_proven_is_read_again(site: Path) -> None:
    """An entry found wrong is suspected the next time though nothing changed."""
    known = kept(walked(site), unproven={"site/p/c.py"}, started_ns=LATER)
    assert suspects(site, known) == {"site/p/c.py"}


def test_racy_entries_are_read_again(site: Path) -> None:
    """A file touched less than two seconds before the walk began is not believed: it may be written once more."""
    moment = (site / "a.py").stat().st_mtime_ns
    for path in ("a.py", "b.py", "p/c.py"):
        os.utime(site / path, ns=(moment, moment))
    assert suspects(site, kept(walked(site), unproven=(), started_ns=moment + 10**9)) == {
        "site/a.py", "site/b.py", "site/p/c.py"
    }  # fmt: skip
    old = moment - 10**12
    os.utime(site / "a.py", ns=(old, old))
    # The mtime is old and the ctime is not: somebody put the time back a moment ago.
    assert "site/a.py" in suspects(site, kept(walked(site), unproven=(), started_ns=moment))


def test_an_index_is_read_back_only_under_its_binding(site: Path, tmp_path: Path) -> None:
    """Another environment, resolution or epoch has no index; nor has a damaged one, at any byte."""
    path = statindex.index_path(tmp_path / "cache", str(site.parent))
    bound = statindex.binding(str(site.parent), "r1")
    data = walked(site)
    statindex.save(path, bound, data)
    assert statindex.load(path, bound) == data
    assert statindex.load(path, statindex.binding(str(site.parent), "r2")) is None
    assert statindex.load(path, statindex.binding("/elsewhere", "r1")) is None
    raw = path.read_bytes()
    for at in range(0, len(raw), 7):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert statindex.load(path, bound) is None
    for length in range(0, len(raw), 11):
        path.write_bytes(raw[:length])
        assert statindex.load(path, bound) is None


def test_an_index_is_no_link_and_private(site: Path, tmp_path: Path) -> None:
    """A link in the place of the index is not followed; the file is the user's alone."""
    path = statindex.index_path(tmp_path / "cache", str(site.parent))
    bound = statindex.binding(str(site.parent), "r1")
    statindex.save(path, bound, walked(site))
    assert path.stat().st_mode & 0o077 == 0
    path.rename(tmp_path / "kept")
    path.symlink_to(tmp_path / "kept")
    assert statindex.load(path, bound) is None


def test_the_epoch_is_part_of_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising the epoch makes every index foreign."""
    before = statindex.binding("/env", "r")
    monkeypatch.setattr(statindex, "EPOCH", statindex.EPOCH + 1)
    assert statindex.binding("/env", "r") != before
