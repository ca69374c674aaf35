"""Files are changed whole or not at all."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from envid import atomic
from envid.errors import WriteFailed


def test_write_says_whether_it_changed_anything(tmp_path: Path) -> None:
    """Equal bytes are not written again, and the file keeps its inode and time."""
    path = tmp_path / "deep" / "file"
    assert atomic.write(path, b"one")
    before = path.stat()
    assert not atomic.write(path, b"one")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert atomic.write(path, b"two")
    assert path.read_bytes() == b"two"


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    """Replacing a file does not change who may read it; a new one has the mode asked for."""
    path = tmp_path / "file"
    atomic.write(path, b"one", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    atomic.write(path, b"two", mode=0o644)
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_exception_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """When the writer fails, Ctrl-C too, the old bytes stay and no temporary file does."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """When the bytes do not fit, the error names the file, the old bytes stay and no temporary file does."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    child = subprocess.run(
        [sys.executable, "-c", _TOO_LARGE, str(path)], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert child.stdout.strip() == "store.write", child.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


_TOO_LARGE = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from envid import atomic
from envid.errors import WriteFailed
try:
    atomic.write(Path(sys.argv[1]), b"x" * 1_000_000)
except WriteFailed as error:
    print(error.slug)
"""


def test_a_directory_that_is_a_file_is_a_named_error(tmp_path: Path) -> None:
    """An impossible place is a WriteFailed that names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteFailed, match="file"):
        atomic.write(tmp_path / "file" / "below", b"x")
    with pytest.raises(WriteFailed):
        atomic.make_directory(tmp_path / "file" / "below")


def test_a_planted_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    """Writing over a symbolic link replaces the link; what it pointed to is untouched."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    link = tmp_path / "link"
    link.symlink_to(victim)
    atomic.write(link, b"new")
    assert victim.read_bytes() == b"safe"
    assert not link.is_symlink()


def test_remove_tree_does_not_follow_links(tmp_path: Path) -> None:
    """Removing a tree removes links in it, not what they point to; a missing tree is no error."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_bytes(b"")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    atomic.remove_tree(tree)
    atomic.remove_tree(tree)
    atomic.remove_file(tree / "nothing")
    assert (outside / "keep").exists()


def test_append_adds_at_the_end(tmp_path: Path) -> None:
    """What others wrote before stays in front."""
    path = tmp_path / "output"
    path.write_text("a=1\n")
    atomic.append(path, b"b=2\n")
    assert path.read_text() == "a=1\nb=2\n"
    with pytest.raises(WriteFailed):
        atomic.append(tmp_path, b"x")


def test_a_temporary_directory_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    """Only its owner may enter it, and nothing of it is left, whatever happened inside."""
    with pytest.raises(ValueError, match="inside"), atomic.temporary_directory(beside=tmp_path) as made:
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "file").write_bytes(b"")
        raise ValueError("inside")
    assert os.listdir(tmp_path) == []
