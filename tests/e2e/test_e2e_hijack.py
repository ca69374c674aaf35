"""Ways to put another interpreter or another place under an environment, each seen at every depth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import Project

pytestmark = pytest.mark.online


@pytest.mark.parametrize("depth", [("--quick",), (), ("--full",)], ids=["quick", "default", "full"])
def test_a_second_home_and_a_moved_library_are_found(
    project: Project, small: Callable[..., str], tmp_path: Path, depth: tuple[str, ...]
) -> None:
    """A `home` put before the right one (the interpreter takes the first), and directories that lead elsewhere."""
    project.given(small('"six"')).ok("lock")
    project.ok("sync")
    project.ok("verify", *depth)
    venv = project.root / ".venv"
    config = venv / "pyvenv.cfg"
    before = config.read_text()
    for text in (f"home = {tmp_path}\n{before}", f"{before}home = {tmp_path}\n"):
        config.write_text(text)
        found = project.run("verify", *depth, "--json")
        assert found.status == 1
        assert "env.config" in found.codes
    config.write_text(before)
    project.ok("verify", *depth)
    for name in ("lib", "bin"):
        shutil.move(venv / name, tmp_path / name)
        (venv / name).symlink_to(tmp_path / name)
        assert project.run("verify", *depth).status == 1
        (venv / name).unlink()
        shutil.move(tmp_path / name, venv / name)
    project.ok("verify", *depth)
