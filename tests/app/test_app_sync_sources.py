"""``sync`` of what has to be built: source archives allowed by name, source trees, editable ones."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from envid.app.sync import sync
from envid.app.verify import verify
from envid.errors import InstallFailed
from envid.installed import note
from locked import LockedProject, picture

BACKEND = """
import base64, hashlib, os, tomllib, zipfile
NAME = "{name}"
with open("pyproject.toml", "rb") as stream:
    VERSION = tomllib.load(stream)["project"]["version"]
def wheel(directory, files):
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    files[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    files[f"{{info}}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    rows = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows += f"{{path}},sha256={{digest}},{{len(text.encode())}}\\n"
    files[f"{{info}}/RECORD"] = rows + f"{{info}}/RECORD,,\\n"
    name = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
def build_wheel(directory, config_settings=None, metadata_directory=None):
    {fault}
    return wheel(directory, {{f"{{NAME}}.py": open(f"{{NAME}}.py").read()}})
def build_editable(directory, config_settings=None, metadata_directory=None):
    return wheel(directory, {{f"{{NAME}}.pth": os.getcwd() + "\\n"}})
"""
PYPROJECT = """
[project]
name = "{name}"
version = "1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def tree(name: str, *, fault: str = "") -> dict[str, str]:
    """Return the files of a source tree whose backend is in it and needs nothing."""
    return {
        "pyproject.toml": PYPROJECT.format(name=name), "backend.py": BACKEND.format(name=name, fault=fault),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", f"{name}.py": "x = 1\n",
    }  # fmt: skip


def archive(folder: Path, name: str, *, fault: str = "") -> Path:
    """Write a source archive."""
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file, text in tree(name, fault=fault).items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedProject:
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    made.settings = '[tool.envid.lock]\nallow-sdist = ["Alpha"]'
    return made


def site(project: LockedProject) -> Path:
    return next((project.root / ".venv" / "lib").glob("python*")) / "site-packages"


def test_an_allowed_source_archive_is_built_and_installed(project: LockedProject) -> None:
    """An sdist that is allowed by name is built offline by uv, and what cannot be proven is said to be so."""
    project.lock(archive(project.served, "alpha"), project.wheel("beta"))
    outcome = sync(project.workspace())
    assert (site(project) / "alpha.py").read_text() == "x = 1\n"
    assert not list(site(project).glob("*/direct_url.json"))
    assert [f.subject for f in outcome.findings if f.code == "env.unverified"] == ["alpha"]
    assert sync(project.workspace()).data["unchanged"] == 2


def test_a_build_that_fails_leaves_the_environment_as_it_was(project: LockedProject) -> None:
    """A failing build is InstallFailed (exit 8) before anything in the environment is touched."""
    project.lock(project.wheel("beta"))
    sync(project.workspace())
    before = picture(project.root / ".venv")
    broken = archive(project.served, "alpha", fault="raise SystemExit('no compiler')")
    project.lock(broken, project.wheel("beta", "2.0"))
    with pytest.raises(InstallFailed, match=r"alpha-1\.0\.tar\.gz"):
        sync(project.workspace())
    assert picture(project.root / ".venv") == before


@pytest.mark.parametrize("editable", [True, False], ids=["editable", "copied"])
def test_a_source_tree_is_installed_as_the_lock_says(project: LockedProject, editable: bool) -> None:
    """A directory of the project is built by uv; a second sync leaves it alone."""
    folder = project.root / "local"
    folder.mkdir()
    for name, text in tree("local").items():
        (folder / name).write_text(text)
    flag = ", editable = true" if editable else ""
    project.lock(
        project.wheel("beta"), extra=f'\n[[packages]]\nname = "local"\ndirectory = {{ path = "../local"{flag} }}\n'
    )
    outcome = sync(project.workspace())
    assert (site(project) / ("local.pth" if editable else "local.py")).exists(), os.listdir(site(project))
    assert [f.code for f in outcome.findings if f.subject == "local"] == ["env.unverified"]
    assert sync(project.workspace()).data["unchanged"] == 2


def findings(project: LockedProject, depth: str = "default") -> dict[str, str]:
    """Return code to message of what verify says of the distribution `local`, warnings included."""
    found = verify(project.workspace(offline=True), depth=depth).findings  # type: ignore[arg-type]
    return {f.code: f.message for f in found if f.subject == "local"}


def planted(project: LockedProject, *, editable: bool = False) -> Path:
    """Lock a source tree `local` of the project, and sync it."""
    folder = project.root / "local"
    folder.mkdir()
    for name, text in tree("local").items():
        (folder / name).write_text(text)
    flag = ", editable = true" if editable else ""
    project.lock(
        project.wheel("beta"), extra=f'\n[[packages]]\nname = "local"\ndirectory = {{ path = "../local"{flag} }}\n'
    )
    assert sync(project.workspace()).exit_code == 0
    return folder


@pytest.mark.parametrize("depth", ["quick", "default", "full"])
def test_a_source_tree_that_changed_is_seen_and_installed_again(project: LockedProject, depth: str) -> None:
    """Code that changed after it was installed is env.source at every depth; sync builds it anew, from the new code."""
    folder = planted(project)
    assert findings(project, depth).keys() == {"env.unverified"}
    (folder / "local.py").write_text("x = 2\n")
    assert "has changed since" in findings(project, depth)["env.source"]
    outcome = sync(project.workspace())
    assert outcome.exit_code == 0
    assert [row["name"] for row in outcome.data["reinstalled"]] == ["local"]  # type: ignore[union-attr,index,call-overload]
    assert (site(project) / "local.py").read_text() == "x = 2\n"
    assert findings(project, depth).keys() == {"env.unverified"}


def test_a_new_environment_gets_the_code_as_it_is_now(project: LockedProject) -> None:
    """An environment made after the code changed holds the new code, whatever the installer kept of the old."""
    folder = planted(project)
    (folder / "local.py").write_text("x = 2\n")
    sync(project.workspace(), venv=str(project.root / "other"))
    assert next((project.root / "other").rglob("local.py")).read_text() == "x = 2\n"


def test_a_source_tree_with_another_version_is_installed_again(project: LockedProject) -> None:
    """A version that was bumped in the source tree is env.version, and sync installs it."""
    folder = planted(project)
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('"1.0"', '"1.1"'))
    assert "1.1" in findings(project)["env.version"]
    assert sync(project.workspace()).exit_code == 0
    assert (site(project) / "local-1.1.dist-info").is_dir()
    assert not (site(project) / "local-1.0.dist-info").exists()


@pytest.mark.parametrize("how", ["lost", "damaged", "forged", "installed by others"])
def test_a_note_that_does_not_hold_weakens_the_answer_only(project: LockedProject, how: str) -> None:
    """Without a note of this very installation the tree cannot be compared: a warning says so, sync installs anew."""
    planted(project)
    written = project.root / ".venv" / note.NAME
    if how == "lost":
        written.unlink()
    elif how == "damaged":
        written.write_bytes(written.read_bytes()[:-3])
    elif how == "forged":
        written.write_bytes(written.read_bytes().replace(b"tree ", b"tref "))
    else:
        record = site(project) / "local-1.0.dist-info" / "RECORD"
        record.write_text(record.read_text() + "\n")
    assert "cannot be compared" in findings(project)["env.unverified"]
    outcome = sync(project.workspace())
    assert (outcome.exit_code, len(outcome.data["reinstalled"])) == (0, 1)  # type: ignore[arg-type]
    assert "cannot be compared" not in findings(project)["env.unverified"]
    assert sync(project.workspace()).data["unchanged"] == 2


def test_of_an_editable_tree_only_the_metadata_matter(project: LockedProject) -> None:
    """The code of an editable source may change, its [project] table may not without being installed again."""
    folder = planted(project, editable=True)
    (folder / "local.py").write_text("x = 2\n")
    assert findings(project).keys() == {"env.unverified"}
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace("[build", '[project.scripts]\nrun = "local:x"\n[build'))
    assert "metadata" in findings(project)["env.source"]
    assert sync(project.workspace()).exit_code == 0
    assert findings(project).keys() == {"env.unverified"}


def test_an_answer_about_a_source_tree_is_not_remembered(project: LockedProject) -> None:
    """A pass that rests on a source tree is never given again unasked: no witness looks at the tree."""
    planted(project)
    assert verify(project.workspace(offline=True)).memory is None


def test_another_source_archive_of_the_same_version_is_built_anew(project: LockedProject) -> None:
    """A source archive whose bytes changed under one version is env.source, and sync builds the new one."""
    project.lock(archive(project.served, "alpha"))
    sync(project.workspace())
    project.lock(archive(project.served, "alpha", fault="pass"))
    found = verify(project.workspace(offline=True)).findings
    assert [f.subject for f in found if f.code == "env.source"] == ["alpha"]
    assert sync(project.workspace()).exit_code == 0


def git(folder: Path, *words: str) -> str:
    """Run git."""
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words], cwd=folder, env={**os.environ, **identity}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_a_repository_at_another_commit_is_installed_again(project: LockedProject, tmp_path: Path) -> None:
    """A lock that moves on to another commit makes what is installed env.source, and sync installs that commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, text in tree("local").items():
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    commits = []
    for number in (1, 2):
        (folder / "local.py").write_text(f"x = {number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "x")
        commits.append(git(folder, "rev-parse", "HEAD"))
        project.lock(project.wheel("beta"), extra=(
            f'\n[[packages]]\nname = "local"\nversion = "1.0"\n'
            f'vcs = {{ type = "git", url = "file://{folder}", commit-id = "{commits[-1]}" }}\n'
        ))  # fmt: skip
        if number == 2:
            found = [f for f in verify(project.workspace(offline=True)).findings if f.code == "env.source"]
            assert [(f.expected, f.actual) for f in found] == [(commits[1], commits[0])]
        assert sync(project.workspace()).exit_code == 0
        assert (site(project) / "local.py").read_text() == f"x = {number}\n"
        assert findings(project).keys() == {"env.unverified"}
