"""What a project's environments are made of survives the collection for as long as somebody cares for the project."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.cache_gc import cache_gc
from envid.app.sync import sync
from envid.app.verify import verify
from envid.app.workspace import Workspace
from envid.store.place import open_place
from envid.store.roots import read_roots
from locked import LockedProject
from projects import Project

DAY = 86400


@pytest.fixture
def synced(tmp_path: Path) -> tuple[LockedProject, Workspace]:
    """A project with an environment."""
    (tmp_path / "project").mkdir()
    project = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    project.served.mkdir()
    alpha, beta = project.wheel("alpha"), project.wheel("beta")
    project.lock(alpha, beta, link=lambda file: f'url = "file://{file}"')
    ws = project.workspace()
    sync(ws)
    return project, ws


def aged(cache: Path, days: float) -> None:
    """Let so many days pass for every file of the cache."""
    then = time.time() - days * DAY
    for path in cache.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def wheels(cache: Path) -> set[str]:
    """The artifacts that the cache has."""
    return {path.name.partition("-")[0] for path in (cache / "wheels-v1").rglob("*.whl")}


def test_an_environment_in_use_keeps_its_wheels_and_what_is_known_of_them(
    synced: tuple[LockedProject, Workspace],
) -> None:
    """After months in which the project was only verified, all it is made of is there, and it is still verified."""
    project, ws = synced
    assert wheels(ws.cache) == {"alpha", "beta"}
    roots, _ = read_roots(open_place(ws.cache))
    assert [(root.project, {len(used) for used in root.wheels.values()}) for root in roots] == [(str(ws.root), {2})]
    aged(ws.cache, 400)
    before = verify(ws).data["verified"]
    shutil.rmtree(project.served)
    done = cache_gc(ws, max_size=0)
    assert wheels(ws.cache) == {"alpha", "beta"} and done.data["projects"] == 1
    assert verify(ws, depth="full").data["verified"] == before


def test_the_wheels_of_a_project_that_is_gone_go(synced: tuple[LockedProject, Workspace]) -> None:
    """Once the directory of the project is removed, the next collection takes what only it used."""
    _, ws = synced
    aged(ws.cache, 40)
    shutil.rmtree(ws.root)
    cache_gc(ws)
    assert wheels(ws.cache) == set()
    assert read_roots(open_place(ws.cache)) == ((), ())


def test_a_lock_that_changed_lets_its_old_wheels_go(synced: tuple[LockedProject, Workspace]) -> None:
    """What the lock does not name any more is protected no longer, and the new lock's are."""
    project, ws = synced
    project.lock(project.served / "alpha-1.0-py3-none-any.whl", link=lambda file: f'url = "file://{file}"')
    now = replace(ws, pyproject=project.workspace().pyproject, intent=project.workspace().intent)
    sync(now)
    aged(ws.cache, 40)
    verify(now)
    cache_gc(now)
    assert wheels(ws.cache) == {"alpha"}


def test_an_answer_that_is_only_remembered_is_use_as_well(tmp_path: Path) -> None:
    """A verify that is answered hot has the root of the project be of now."""
    root, house = tmp_path / "project", tmp_path / "served"
    root.mkdir()
    house.mkdir()
    locked = LockedProject(root=root, served=house, cache=tmp_path / "cache")
    locked.wheel("alpha")
    variables = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(house), "UV_CACHE_DIR": str(tmp_path / "uv")}
    project = Project(root=root, cache=tmp_path / "cache", variables=variables).given(
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'
    )
    project.ok("lock")
    project.ok("sync")
    project.ok("verify", "--quick")
    answer = project.ok("verify", "--quick").stdout
    aged(project.cache, 29)
    kept = next((project.cache / "roots-v1").iterdir())
    assert project.ok("verify", "--quick").stdout == answer
    assert time.time() - kept.stat().st_mtime < 600
    # A cold one reads contents, and counts that.
    assert all(time.time() - path.stat().st_mtime > DAY for path in (project.cache / "stats-v1").iterdir())
