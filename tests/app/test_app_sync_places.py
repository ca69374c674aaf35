"""``sync``: which environment, made with which Python, from files in which places, and how it is told."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from envid.app.doctor import doctor
from envid.app.recorded import recorded
from envid.app.sync import sync
from envid.app.verify import verify
from envid.errors import DigestMismatch, InterpreterNotFound, InvalidEnvironment, Offline, TargetNotCovered, TargetUnfit
from envid.installed import note
from envid.values.finding import Finding
from envid.values.target import parse_target
from interpreters import interpreters
from locked import LockedProject, picture

HERE = "{}.{}".format(*sys.version_info[:2])
OTHER = next((minor for minor in sorted(interpreters(), reverse=True) if minor != HERE), "")
needs_other = pytest.mark.skipif(not OTHER, reason="there is only one Python here")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    """A project without network, whose uv has a cache of its own."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")


def told(project: LockedProject, code: str, *, name: str = "default") -> list[Finding]:
    return [f for f in verify(project.workspace(offline=True), name=name).findings if f.code == code]


def platform(project: LockedProject) -> str:
    """The platform of this host, as targets spell it."""
    return str(sync(project.workspace(), venv=str(project.root / "first")).data["target"]).partition("-")[2]


# --- environments that moved, and what is none -------------------------------------------------


@pytest.mark.parametrize("maker", ["uv", "venv", "venv without activate"])
def test_an_environment_that_was_copied_is_reported_and_not_mended(project: LockedProject, maker: str) -> None:
    """A copied environment is env.config for verify and doctor, and an error for sync, which leaves it as it is."""
    project.lock(project.wheel("alpha", entry_points="[console_scripts]\nalpha = alpha:main\n"))
    first = project.root / "first"
    if maker != "uv":
        os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-m", "venv", "--without-pip", str(first))
    assert sync(project.workspace(), venv=str(first)).exit_code == 0
    shutil.copytree(first, project.root / ".venv", symlinks=True)
    if maker.endswith("activate"):
        (project.root / ".venv" / "bin" / "activate").unlink()
    found = [f for f in told(project, "env.config") if f.actual == str(first)]
    assert len(found) == 1 and "moved or copied" in found[0].message
    examined = doctor(project.workspace()).findings
    assert any(f.subject == "environment" and "moved or copied" in f.message for f in examined)
    before = picture(project.root / ".venv")
    with pytest.raises(InvalidEnvironment, match="moved or copied"):
        sync(project.workspace())
    assert picture(project.root / ".venv") == before


def test_an_environment_reached_through_a_link_has_not_moved(project: LockedProject, tmp_path: Path) -> None:
    """A symbolic link on the way to an environment is no move."""
    project.lock(project.wheel("alpha"))
    sync(project.workspace(), venv=str(tmp_path / "real"))
    (project.root / ".venv").symlink_to(tmp_path / "real")
    assert told(project, "env.config") == []
    assert sync(project.workspace()).exit_code == 0


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_what_is_no_directory_is_refused_by_name(project: LockedProject, kind: str) -> None:
    """A file or a broken link where the environment should be is InvalidEnvironment and stays."""
    project.lock(project.wheel("alpha"))
    place = project.root / ".venv"
    place.write_text("x") if kind == "file" else place.symlink_to("nowhere")
    with pytest.raises(InvalidEnvironment, match="not a directory" if kind == "file" else "leads nowhere"):
        sync(project.workspace())
    assert os.path.lexists(place)


# --- which Python ------------------------------------------------------------------------------


@needs_other
def test_an_environment_of_another_python_is_told_as_such(project: LockedProject) -> None:
    """Where the environment has a Python that the lock or the caller does not want, the error says which it has."""
    project.lock(project.wheel("alpha"))
    host = platform(project)
    assert sync(project.workspace(), python=str(interpreters()[OTHER])).exit_code == 0
    with pytest.raises(TargetUnfit, match=f"made with Python {OTHER}"):
        sync(project.workspace(), python=sys.executable)
    with pytest.raises(TargetUnfit, match=f"made with Python {OTHER}"):
        sync(project.workspace(), target=f"cp{HERE.replace('.', '')}-{host}")
    lock = project.root / "lockfiles" / "pylock.toml"
    guard = f"environments = [\"python_version == '{HERE}'\"]\n"
    lock.write_text(lock.read_text().replace('created-by = "envid"\n', f'{guard}created-by = "envid"\n'))
    with pytest.raises(TargetNotCovered, match=f"made with Python {OTHER}"):
        sync(project.workspace())


def pyenv_of(project: LockedProject, minor: str) -> dict[str, str]:
    """Lay out an installation of pyenv with that Python, whose shim on PATH fails; return the variables."""
    root = project.root / "pyenv"
    real = interpreters()[minor]
    (root / "versions" / f"{minor}.99").mkdir(parents=True)
    (root / "versions" / f"{minor}.99" / "bin").symlink_to(real.parent)
    (root / "shims").mkdir()
    for name in (f"python{minor}", "python3"):
        shim = root / "shims" / name
        shim.write_text(f"#!/bin/sh\necho 'pyenv: python{minor}: command not found' >&2\nexit 127\n")
        shim.chmod(0o755)
    return {"PYENV_ROOT": str(root), "PATH": f"{root / 'shims'}:/usr/bin:/bin", "HOME": str(project.root)}


@needs_other
@pytest.mark.parametrize("how", ["target", "declared"])
def test_a_python_behind_a_shim_that_fails_is_found(
    project: LockedProject, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With --target, or where the running Python fits no declared target, another Python of the machine is used."""
    project.lock(project.wheel("alpha"))
    target = f"cp{OTHER.replace('.', '')}-{platform(project)}"
    variables = pyenv_of(project, OTHER)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if how == "declared":
        project.settings = f'targets = ["{target}", "cp310-win_amd64"]'
        project.lock(project.wheel("alpha"))
    outcome = sync(project.workspace(variables), target=target if how == "target" else None)
    assert outcome.exit_code == 0
    assert (project.root / ".venv" / "lib" / f"python{OTHER}").is_dir()
    assert any("fits no declared target" in said for said in outcome.notes) is (how == "declared")


def test_where_no_python_fits_each_candidate_is_told(project: LockedProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a Python that is not there names what was looked at, the failing shim with its own words."""
    project.lock(project.wheel("alpha"))
    host = platform(project)
    shims = project.root / "shims"
    shims.mkdir()
    (shims / "python3.99").write_text("#!/bin/sh\necho 'shim: no such version' >&2\nexit 127\n")
    (shims / "python3.99").chmod(0o755)
    variables = {"PATH": f"{shims}:/usr/bin:/bin", "HOME": str(project.root)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InterpreterNotFound, match=r"no Python 3\.99 .*the running one.*shim: no such version"):
        sync(project.workspace(variables), target=f"cp399-{host}")
    assert not (project.root / ".venv").exists()


def test_a_python_that_is_not_there_is_refused(project: LockedProject) -> None:
    """--python with a path that leads nowhere is InterpreterNotFound, and nothing is made."""
    project.lock(project.wheel("alpha"))
    with pytest.raises(InterpreterNotFound):
        sync(project.workspace(), python=str(project.root / "nowhere"))
    assert not (project.root / ".venv").exists()


# --- files on this machine ---------------------------------------------------------------------


def test_a_find_links_folder_serves_offline_what_the_lock_has_by_url(project: LockedProject) -> None:
    """Offline, a file in a UV_FIND_LINKS folder serves an artifact that the lock names by URL, if its bytes fit."""
    project.lock(project.wheel("alpha"), link=lambda file: f'url = "https://index.example/{file.name}"')
    assert sync(project.workspace(offline=True)).exit_code == 0
    shutil.rmtree(project.root / ".venv")
    shutil.rmtree(project.cache)
    project.wheel("alpha", files={"alpha/__init__.py": b"other"})
    with pytest.raises((Offline, DigestMismatch)):
        sync(project.workspace(offline=True))


def test_what_is_missing_offline_names_the_places(project: LockedProject) -> None:
    """The error for files that are not here names wheelhouse, find-links folder and store."""
    project.lock(project.wheel("alpha"))
    for file in project.served.iterdir():
        file.unlink()
    with pytest.raises(Offline) as raised:
        sync(project.workspace(offline=True))
    for place in (project.root / "lockfiles" / "wheelhouse", project.served, project.cache / "wheels-v1"):
        assert str(place) in raised.value.message


def test_an_unproven_environment_offline_says_what_would_help(project: LockedProject) -> None:
    """Offline, the hint for an unproven distribution is not `envid sync` alone; with its wheel it is proven."""
    wheel = project.wheel("alpha")
    project.lock(wheel)
    sync(project.workspace())
    shutil.rmtree(project.cache)
    aside = wheel.rename(wheel.with_suffix(".away"))
    outcome = sync(project.workspace(offline=True))
    (found,) = [f for f in outcome.findings if f.severity == "error"]
    assert (found.code, outcome.exit_code) == ("env.unverified", 1)
    assert "without --offline" in (found.hint or "")
    assert "without the network" in outcome.notes[-1]
    aside.rename(wheel)
    assert [f.code for f in sync(project.workspace(offline=True)).findings if f.severity == "error"] == []


# --- how it is told ----------------------------------------------------------------------------


def test_the_lock_that_was_synced_is_hinted_at(project: LockedProject) -> None:
    """After `sync --name dev`, env.extra against the default lock hints at --name dev; the verdict stays."""
    project.settings = "[tool.envid.locks.dev]"
    alpha, beta = project.wheel("alpha"), project.wheel("beta")
    folder = project.root / "lockfiles"
    project.lock(alpha, beta)
    (folder / "pylock.toml").rename(folder / "pylock.dev.toml")
    project.lock(alpha)
    sync(project.workspace(), name="dev")
    (found,) = told(project, "env.extra")
    assert (found.subject, found.severity) == ("beta", "error")
    assert "--name dev" in (found.hint or "")
    assert told(project, "env.extra", name="dev") == []
    known = note.read(project.root / ".venv")
    assert known is not None and known.lock == "dev"


def test_other_locks_are_not_the_business_of_sync(project: LockedProject) -> None:
    """A stale lock is told by the sync that installs it, and by no other."""
    project.settings = "[tool.envid.locks.dev]"
    alpha = project.wheel("alpha")
    project.lock(alpha)
    folder = project.root / "lockfiles"
    empty = 'lock-version = "1.0"\ncreated-by = "envid"\npackages = []\n'
    (folder / "pylock.dev.toml").write_text(empty)
    assert [f for f in sync(project.workspace()).findings if "pylock.dev" in f.message] == []
    assert [f for f in sync(project.workspace(), name="dev").findings if "pylock.dev" in f.message] != []


def test_stray_files_alone_have_a_summary(project: LockedProject) -> None:
    """A sync that only removed files says so in its last line."""
    project.lock(project.wheel("alpha"))
    sync(project.workspace())
    next((project.root / ".venv").rglob("site-packages")).joinpath("stray.py").write_text("x")
    assert sync(project.workspace()).notes[-1].endswith(": 1 stray file removed")


def test_a_sync_records_the_identity(project: LockedProject) -> None:
    """After sync, `explain` has the identity of the target to compare with."""
    project.lock(project.wheel("alpha"))
    outcome = sync(project.workspace())
    target = parse_target(str(outcome.data["target"]))
    assert recorded(project.workspace(), layer="env", target=target, name="default").last is not None


# --- doctor ------------------------------------------------------------------------------------


def test_doctor_does_not_praise_targets_that_are_not_there(project: LockedProject) -> None:
    """Without declared targets, doctor says that there are none instead of that the host fits one."""
    project.lock(project.wheel("alpha"))
    answer = doctor(project.workspace()).answer
    assert "no targets are declared" in answer
    assert "fits a declared target" not in answer


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no file system that takes no files")
def test_doctor_says_why_the_cache_does_not_work(project: LockedProject) -> None:
    """A cache on a file system that takes no files is told as unwritable, not as full."""
    project.lock(project.wheel("alpha"))
    project.cache = Path("/proc/envid")
    said = [f.message for f in doctor(project.workspace()).findings if f.subject == "cache"]
    assert len(said) == 1 and "cannot be written" in said[0]


@pytest.mark.parametrize("name", ["a\nb", "a\udcff", "a\x1b[2J"])
def test_a_path_that_no_script_can_name_is_refused_first(tmp_path: Path, name: str) -> None:
    """A project path with a line feed or bytes that are no UTF-8 is told as the cause, and nothing is made."""
    (tmp_path / name).mkdir()
    (tmp_path / "served").mkdir()
    project = LockedProject(root=tmp_path / name, served=tmp_path / "served", cache=tmp_path / "cache")
    project.lock(project.wheel("alpha"))
    with pytest.raises(InvalidEnvironment, match="line feed") as refused:
        sync(project.workspace())
    assert refused.value.message.isprintable() and "plain path" in refused.value.hint
    assert not (tmp_path / name / ".venv").exists()
