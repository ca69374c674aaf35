"""``sync`` of what has to be built: source archives allowed by name, source trees, editable ones."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from envid.app.sync import sync
from envid.errors import InstallFailed
from locked import LockedProject, picture

BACKEND = '''
import base64, hashlib, os, zipfile
NAME, VERSION = "{name}", "1.0"
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
    return wheel(directory, {{f"{{NAME}}.py": "x = 1\\n"}})
def build_editable(directory, config_settings=None, metadata_directory=None):
    return wheel(directory, {{f"{{NAME}}.pth": os.getcwd() + "\\n"}})
'''
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
