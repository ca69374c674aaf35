"""Surroundings: what in a project changed."""

from __future__ import annotations

import os
from pathlib import Path

from envid.app.running.surroundings import differing, look, touched


def wrote(path: Path, text: str = "x") -> Path:
    """Write a file and what is above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_change_is_seen_whatever_its_times(tmp_path: Path) -> None:
    """New, gone, edited in place with its old times, replaced, another mode or target differ; reading does not."""
    for name in ("same", "gone", "edited", "replaced", "mode", "sub/deep", ".git/x", "a/__pycache__/x", "left/x"):
        wrote(tmp_path / name)
    (tmp_path / "link").symlink_to("same")
    before = look(str(tmp_path), without=["left"])
    (tmp_path / "same").read_text()
    (tmp_path / "gone").unlink()
    found = (tmp_path / "edited").stat()
    (tmp_path / "edited").write_text("y")
    os.utime(tmp_path / "edited", ns=(found.st_atime_ns, found.st_mtime_ns))
    wrote(tmp_path / "other").rename(tmp_path / "replaced")
    (tmp_path / "mode").chmod(0o600)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "new").mkdir()
    (tmp_path / "sub").chmod(0o700)
    for name in (".git/y", "a/__pycache__/y", "left/y", "left/x"):
        wrote(tmp_path / name, "more")
    after = look(str(tmp_path), without=["left"])
    assert differing(before, after) == ("edited", "gone", "link", "mode", "new", "replaced", "sub")


def test_what_was_touched_since(tmp_path: Path) -> None:
    """A file whose status changed is found whatever its times say; bytecode caches are passed over."""
    folder = tmp_path / "env"
    inside = wrote(folder / "lib/module.py")
    wrote(folder / "lib/__pycache__/module.pyc")
    since = wrote(tmp_path / "stamp").stat().st_ctime_ns
    newest = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    assert touched(str(folder), max(since, newest + 1)) is None
    os.utime(inside, ns=(0, 0))
    assert touched(str(folder), inside.stat().st_ctime_ns) == str(inside)
