"""A cache directory that a project names is believed only when envid made it here, for this user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.project import NO_PLACE, open_project
from envid.app.storing import place_of
from envid.app.sync import sync
from envid.app.tracked import tracks
from envid.app.trust import OWNER, TRUSTED, is_believed
from envid.app.verify import verify
from envid.app.workspace import open_workspace
from envid.errors import ConfigError, StoreError
from envid.store import contents
from envid.values.artifact import Sha256
from envid.values.digest import blake3_hex
from envid.values.finding import Finding
from locked import LockedProject
from wheels import sha256_of

GIT = shutil.which("git")


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The user's own cache, which is not there yet."""
    return str(tmp_path / "home" / "envid")


def test_a_directory_that_envid_makes_is_believed_from_then_on(tmp_path: Path, own: str) -> None:
    """It is made private with a name that the user's cache knows; an empty one that is there is taken as well."""
    (tmp_path / "two").mkdir()
    for name in ("one", "two"):
        directory = tmp_path / "deep" / name if name == "one" else tmp_path / name
        assert is_believed(str(directory), own) and is_believed(str(directory), own)
        token = (directory / OWNER).read_text().strip()
        assert (Path(own) / TRUSTED / token).is_file()
        assert (directory / OWNER).stat().st_mode & 0o777 == 0o600
        (directory / "wheels-v1").mkdir()
        assert is_believed(str(directory), own)
    assert is_believed(own, own)


def test_what_a_repository_brings_is_not_believed(tmp_path: Path, own: str) -> None:
    """A directory with anything in it, with a name of its own making, or of another place: none is believed."""
    there = tmp_path / "brought"
    (there / "entries-v1").mkdir(parents=True)
    assert not is_believed(str(there), own)
    (there / OWNER).write_text("ab" * 32 + "\n")
    assert not is_believed(str(there), own)
    made = tmp_path / "made"
    assert is_believed(str(made), own)
    shutil.copytree(made, tmp_path / "copied")
    assert not is_believed(str(tmp_path / "copied"), own)
    (there / OWNER).unlink()
    (there / OWNER).hardlink_to(made / OWNER)
    assert not is_believed(str(there), own) and not is_believed(str(made), own)
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert not is_believed(str(tmp_path / "link"), own)
    (tmp_path / "file").write_text("")
    assert not is_believed(str(tmp_path / "file"), own)
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / OWNER)
    assert not is_believed(str(tmp_path / "piped"), own)


def test_nowhere_to_remember_is_nothing_to_believe(tmp_path: Path) -> None:
    """Without a cache of the user's own there is no directory made, and none believed."""
    assert not is_believed(str(tmp_path / "one"), NO_PLACE)
    assert not (tmp_path / "one").exists()


def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str = '"cache"') -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text(f"[tool.envid.cache]\ndir = {said}\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "ENVID_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return root


def test_nothing_is_read_from_a_brought_directory_unless_the_user_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trouble says what to do; ENVID_CACHE_DIR is the user's word, and then it is used as it is."""
    root = _project(tmp_path, monkeypatch)
    (root / "cache" / "entries-v1").mkdir(parents=True)
    found = open_project(str(root))
    assert found.kept == NO_PLACE
    trouble = place_of(found).trouble
    assert trouble is not None and trouble.reason == "untrusted" and "ENVID_CACHE_DIR" in trouble.hint
    assert os.listdir(root / "cache") == ["entries-v1"]
    monkeypatch.setenv("ENVID_CACHE_DIR", str(root / "cache"))
    assert place_of(open_project(str(root))).trouble is None
    monkeypatch.delenv("ENVID_CACHE_DIR")
    shutil.rmtree(root / "cache")
    assert open_project(str(root)).kept == str(root / "cache")
    assert place_of(open_project(str(root))).trouble is None


def test_a_path_with_a_nul_is_a_mistake_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No system has such a path; the message names the key."""
    with pytest.raises(ConfigError, match=r"tool\.envid\.cache\.dir"):
        open_project(str(_project(tmp_path, monkeypatch, r'"a\u0000b"')))


def _git(root: Path, *words: str) -> None:
    subprocess.run(
        [str(GIT), "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True, capture_output=True
    )


@pytest.mark.skipif(GIT is None, reason="there is no git")
@pytest.mark.parametrize("form", ["2", "3", "4", "split", "sha256"])
def test_what_git_tracks_is_known_from_every_form_of_its_index(tmp_path: Path, form: str) -> None:
    """A tracked file, a directory with one, and nothing else; of an index in two files, everything may be tracked."""
    root = tmp_path / "repository"
    root.mkdir()
    _git(root, "init", "-q", *(["--object-format=sha256"] if form == "sha256" else []))
    assert not tracks(str(root / "src"))
    for name in ("src/a.py", "src/b/c.py", ".cache-x/entry", ".cache-y/z", "zz"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    _git(root, "add", "-A")
    if form in "234":
        _git(root, "update-index", "--index-version", form)
    if form == "3":
        (root / "meant").write_text("")
        _git(root, "add", "-N", "meant")
    if form == "split":
        _git(root, "update-index", "--split-index")
    for name in ("src", "src/a.py", "src/b", ".cache-x", ".cache-y", "zz"):
        assert tracks(str(root / name)), name
    (root / "sub").mkdir()
    for name in ("sr", "src/a", ".cache", ".cache-", "z", "sub", "sub/x"):
        assert tracks(str(root / name)) is (form == "split"), name


@pytest.mark.parametrize("data", [b"", b"DIRC", b"DIRC\0\0\0\4\0\0\0\1" + b"x" * 90, b"DIRC\0\0\0\x09\0\0\0\0"])
def test_what_is_no_index_tracks_perhaps_everything(tmp_path: Path, data: bytes) -> None:
    """An index that cannot be read says nothing against being tracked."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index").write_bytes(data)
    assert tracks(str(tmp_path / "one"))


@pytest.mark.skipif(GIT is None, reason="there is no git")
def test_what_a_pull_brings_into_a_believed_directory_ends_the_belief(tmp_path: Path, own: str) -> None:
    """A directory that envid made is not believed any more when git tracks a file in it."""
    root = tmp_path / "repository"
    root.mkdir()
    _git(root, "init", "-q")
    assert is_believed(str(root / "cache"), own)
    (root / "cache" / "planted").write_text("x")
    assert is_believed(str(root / "cache"), own)
    _git(root, "add", "-f", "cache/planted")
    assert not is_believed(str(root / "cache"), own)


def test_forged_contents_of_a_repository_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``verify --full`` stops at entries that a repository brought, and finds the change without them."""
    for name in ("project", "served"):
        (tmp_path / name).mkdir()
    said = '[tool.envid.cache]\ndir = "cache"'
    made = LockedProject(
        root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "own", settings=said
    )  # fmt: skip
    wheel = made.wheel("alpha")
    made.lock(wheel)
    variables = {"HOME": str(tmp_path / "home"), "UV_FIND_LINKS": str(made.served), "ENVID_CACHE_DIR": str(made.cache)}
    for name in ("XDG_CACHE_HOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sync(open_workspace(str(made.root))).exit_code == 0
    sha256 = Sha256(sha256_of(wheel))
    known = contents.load(made.cache, sha256)
    assert known is not None
    entry = next(one for one in known.entries if one.path.endswith("__init__.py"))
    site = next((made.root / ".venv").glob("lib/*/site-packages"))
    evil = (site / entry.path).read_bytes() + b"print('evil')\n"
    (site / entry.path).write_bytes(evil)
    lie = replace(entry, blake3=blake3_hex(evil), size=len(evil), sha256=Sha256(hashlib.sha256(evil).hexdigest()))
    forged = replace(known, entries=tuple(lie if one is entry else one for one in known.entries))
    contents.save(made.root / "cache", forged)
    monkeypatch.delenv("ENVID_CACHE_DIR")
    with pytest.raises(StoreError, match="was not made by envid"):
        _wrong(made.root)
    shutil.move(made.root / "cache", tmp_path / "brought")
    assert any(str(one.path).endswith("__init__.py") for one in _wrong(made.root))
    shutil.rmtree(made.root / "cache")
    shutil.move(tmp_path / "brought", made.root / "cache")
    monkeypatch.setenv("ENVID_CACHE_DIR", str(made.root / "cache"))
    assert not any(str(one.path).endswith("__init__.py") for one in _wrong(made.root)), (
        "what the user trusts is believed"
    )


def _wrong(root: Path) -> list[Finding]:
    found = verify(open_workspace(str(root)), depth="full").findings
    return [one for one in found if one.severity == "error" and one.path]
