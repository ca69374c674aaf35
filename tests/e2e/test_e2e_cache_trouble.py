"""Every command gives the right answer whatever is wrong with the cache: it is a convenience, never a condition."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from projects import Done, Project
from wheels import make_wheel

COMMANDS = (
    ("sync",), ("verify",), ("verify",), ("verify", "--full"), ("key",), ("key", "--layer", "venv"), ("identity",),
    ("lock", "--check"), ("cache", "verify"),
)  # fmt: skip
"""What is asked, in this order; some twice, because the second answer may be remembered."""

MOUNTS = ("unshare", "-r", "-m")
NOBODY = ("unshare", "--map-user=12345")
"""A user without an entry in the list of users."""

PYPROJECT = '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha", "beta"]\n'

Setting = Callable[[Project], Project]


@dataclass(frozen=True, kw_only=True)
class Right:
    """A lock, and the answers that a project with it gets."""

    lock: bytes
    answers: list[tuple[tuple[str, ...], int, str]]


def made(root: Path) -> Project:
    """A project with two wheels beside its lock, made by the real resolver from a folder."""
    house = root / "lockfiles" / "wheelhouse"
    house.mkdir(parents=True)
    for name in ("alpha", "beta"):
        make_wheel(house, name, "1.0")
    home = root.parent / "home"
    home.mkdir()
    variables = {
        "HOME": str(home), "XDG_CACHE_HOME": "", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(house),
        "UV_CACHE_DIR": str(root.parent / "uv"),
    }  # fmt: skip
    return Project(root=root, cache=root.parent / "cache", variables=variables).given(PYPROJECT)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every project of this module is, one after the other: answers tell paths, and their lengths."""
    return tmp_path_factory.mktemp("trouble")


@pytest.fixture
def project(ground: Path, right: Right) -> Project:
    """A project with its lock; neither environment nor cache."""
    project = made(cleared(ground) / "project")
    project.lock.write_bytes(right.lock)
    return project


def cleared(ground: Path) -> Path:
    """The same directory with nothing in it."""
    for path in ground.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return ground


def answers(project: Project, *, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], int, str]]:
    """Run everything; return commands, statuses and what stood on standard output, the same for every project."""
    found: list[tuple[tuple[str, ...], int, str]] = []
    for command in COMMANDS:
        done = project.run(*command, prefix=prefix)
        assert "Traceback" not in done.stderr
        found.append((command, done.status, neutral(project, done)))
    return found


def neutral(project: Project, done: Done) -> str:
    """Return an answer without the place of the project, and without what is only about the cache."""
    text = done.stdout.replace(str(project.root), "ROOT")
    return text.partition(";")[0] if text.startswith("yes: all is as it was written") else text


@pytest.fixture(scope="module")
def right(ground: Path) -> Right:
    """The answers of a project whose cache is in order."""
    project = made(cleared(ground) / "project")
    project.ok("lock")
    found = answers(project)
    assert [status for _, status, _ in found] == [0] * len(COMMANDS)
    return Right(lock=project.lock.read_bytes(), answers=found)


def _file(project: Project) -> Project:
    project.cache.write_text("in the way")
    return project


def _nowhere(project: Project) -> Project:
    return replace(project, cache=Path("/proc/envid-cache"))


def _dangling(project: Project) -> Project:
    project.cache.symlink_to(project.cache.with_name("nowhere"))
    return project


def _areas_are_files(project: Project) -> Project:
    project.cache.mkdir(mode=0o700)
    for area in ("entries-v1", "tmp-v1", "answers-v1", "stat-v1", "identities-v1", "roots-v1", "stats-v1", "guards-v1"):
        (project.cache / area).write_text("in the way")
    return project


@pytest.mark.parametrize("setting", [_file, _nowhere, _dangling])
def test_a_cache_that_cannot_be_made_costs_no_answer(project: Project, right: Right, setting: Setting) -> None:
    """With anything but a directory in the cache's place, every answer is the right one, and nothing is made there."""
    project = setting(project)
    assert answers(project) == right.answers
    _finds_an_edit(project)
    assert not (project.root.parent / "nowhere").exists()
    assert strangers(project) == set()


def _finds_an_edit(project: Project, *, prefix: tuple[str, ...] = ()) -> None:
    """What is altered is found without a cache as well."""
    edited = next((project.root / ".venv" / "lib").glob("python3*")) / "site-packages" / "alpha" / "__init__.py"
    edited.write_text("x = 2\n")
    done = project.run("verify", "--json", prefix=prefix)
    assert (done.status, done.codes) == (1, {"env.tampered"})


def strangers(project: Project) -> set[str]:
    """What a command left in the project that does not belong there."""
    return {path.name for path in project.root.iterdir()} - {".venv", "lockfiles", "pyproject.toml"}


def mounted(project: Project, how: str) -> tuple[str, ...]:
    """Return the prefix that mounts something at the cache, for one command and what it starts; or skip."""
    if not shutil.which("unshare") or subprocess.run([*MOUNTS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    return (*MOUNTS, "sh", "-ec", f'{how}; exec "$@"', "sh")


@pytest.mark.parametrize("warm", [False, True], ids=["empty", "warm"])
def test_a_read_only_cache_costs_no_answer(project: Project, right: Right, warm: bool) -> None:
    """On a filesystem that takes no bytes, every answer is the right one; the cache is as it was."""
    project.cache.mkdir(mode=0o700)
    if warm:
        answers(project)
        shutil.rmtree(project.root / ".venv")
    where = f"'{project.cache}'"
    prefix = mounted(project, f"mount --bind {where} {where}; mount -o remount,ro,bind {where}")
    before = sorted(str(path) for path in project.cache.rglob("*"))
    assert answers(project, prefix=prefix) == right.answers
    assert sorted(str(path) for path in project.cache.rglob("*")) == before
    assert project.ok("cache", "stats", "--json", prefix=prefix).json["data"]["trouble"]["reason"] == "read-only"
    _finds_an_edit(project, prefix=prefix)


def _told(project: Project, reason: str, *, prefix: tuple[str, ...] = ()) -> None:
    """stats says why the cache is not used, in words and as data; gc and repair refuse with a way out."""
    assert "why the cache is not used" in project.ok("cache", "stats", prefix=prefix).stdout
    trouble = project.ok("cache", "stats", "--json", prefix=prefix).json["data"]["trouble"]
    assert (trouble["reason"], "ENVID_CACHE_DIR" in trouble["hint"]) == (reason, True)
    for verb in ("gc", "repair"):
        done = project.run("cache", verb, prefix=prefix)
        assert (done.status, "the cache is not used" in done.stderr, "ENVID_CACHE_DIR" in done.stderr) == (
            7,
            True,
            True,
        )


@pytest.mark.parametrize("setting", [_file, _nowhere, _dangling])
def test_an_impossible_cache_is_told_by_those_who_look_at_it(project: Project, setting: Setting) -> None:
    """Where no cache can be, stats, gc and repair say so and what to do."""
    _told(setting(project), "no-directory")


@pytest.mark.parametrize("warm", [False, True], ids=["empty", "warm"])
def test_a_read_only_cache_is_told_by_those_who_look_at_it(project: Project, warm: bool) -> None:
    """On a filesystem that takes no bytes, stats, gc and repair say so and what to do."""
    project.cache.mkdir(mode=0o700)
    if warm:
        project.ok("sync")
    where = f"'{project.cache}'"
    _told(
        project, "read-only", prefix=mounted(project, f"mount --bind {where} {where}; mount -o remount,ro,bind {where}")
    )


@pytest.mark.parametrize("size", ["4k", "48k"])
def test_a_full_disk_costs_no_answer(project: Project, right: Right, size: str) -> None:
    """On a disk that fills up under the cache, with nothing kept free, every answer is the right one."""
    full = project.root.parent / "full"
    full.mkdir()
    with (project.root / "pyproject.toml").open("a") as stream:
        stream.write(f'[tool.envid.cache]\ndir = "{full}/cache"\nmin-free = 0\n')
    project = replace(project, variables={**project.variables, "ENVID_CACHE_DIR": ""})
    mount = f"mount -t tmpfs -o mode=700,size={size} x '{full}'; head -c 1M /dev/zero > '{full}/x' 2>/dev/null || true"
    prefix = mounted(project, mount)
    if size != "4k":
        # Room for a few files, and not for all.
        prefix = mounted(project, f"{mount}; head -c 24k /dev/zero > '{full}/x'")
    assert answers(project, prefix=prefix) == right.answers
    _finds_an_edit(project, prefix=prefix)
    assert strangers(project) == set()


def test_below_the_floor_envid_goes_on_without_writing(project: Project, right: Right) -> None:
    """With less than min-free beside the cache, answers are right, nothing is stored, and stats say so."""
    with (project.root / "pyproject.toml").open("a") as stream:
        stream.write('[tool.envid.cache]\nmin-free = "1000 TiB"\n')
    assert answers(project) == right.answers
    written = [path for area in ("entries-v1", "blobs-v1", "roots-v1", "stats-v1")
               for path in (project.cache / area).rglob("*") if path.is_file()]  # fmt: skip
    assert written == []
    assert "too little free space beside the cache; nothing is kept" in project.ok("cache", "stats").stdout


def test_without_a_home_there_is_still_an_answer(project: Project, right: Right) -> None:
    """With HOME unset and no entry in the list of users, every answer is the right one, and no `~` is made."""
    if not shutil.which("unshare") or subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    bare = ("env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "ENVID_CACHE_DIR")
    assert answers(project, prefix=(*NOBODY, *bare)) == right.answers
    assert (
        "there is no place for a cache: no home directory"
        in project.ok("cache", "stats", prefix=(*NOBODY, *bare)).stdout
    )
    _finds_an_edit(project, prefix=(*NOBODY, *bare))
    assert strangers(project) == set()


def test_files_where_the_areas_belong_cost_no_answer(project: Project, right: Right) -> None:
    """A cache directory whose areas are files gives right answers; what is wrong with it is told when asked."""
    project = _areas_are_files(project)
    commands = {row[0]: row for row in answers(project)}
    for row in right.answers:
        if row[0][0] in ("key", "identity", "lock"):
            assert commands[row[0]] == row
    # `verify` believes what is in the entries: a file in their place is somebody's doing.
    assert commands["verify",][1] in (0, 7)
    assert project.run("cache", "verify").status == 1


def test_a_cache_of_somebody_else_is_an_error_with_a_way_out(project: Project, right: Right) -> None:
    """Where others can write the cache, keys are told all the same, and what relies on it says what to do."""
    project.cache.mkdir()
    os.chmod(project.cache, 0o777)
    assert project.ok("key").stdout.startswith("envid1-env-")
    for command in (("sync",), ("cache", "gc"), ("cache", "repair")):
        done = project.run(*command)
        assert (done.status, "chmod o-w" in done.stderr) == (7, True), command
    assert project.run("cache", "verify").status == 1
    assert "others can write the cache" in project.ok("cache", "stats").stdout
