"""`envid diff` between files, named locks and git revisions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from envid.app.diff import diff
from envid.app.workspace import Workspace, open_workspace
from envid.errors import EngineFailed, EnvidError, GitNotFound, InvalidLock, LockNotFound, UsageError

HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]


def package(name: str, version: str, digit: str = "a", tag: str = "py3-none-any") -> str:
    filename = f"{name}-{version}-{tag}.whl"
    artifact = f'{{ url = "https://index.example/{filename}", hashes = {{ sha256 = "{digit * 64}" }} }}'
    return f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{artifact}]\n'


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with two locks."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "demo"\n[tool.envid.locks.test]\n')
    (tmp_path / "lockfiles").mkdir()
    (tmp_path / "lockfiles" / "pylock.toml").write_text(HEAD + package("alpha", "1") + package("beta", "1"))
    (tmp_path / "lockfiles" / "pylock.test.toml").write_text(HEAD + package("alpha", "2") + package("gamma", "1"))
    monkeypatch.chdir(tmp_path)
    return open_workspace(str(tmp_path), offline=True)


def git(ws: Workspace, *arguments: str) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    subprocess.run([*GIT, *arguments], cwd=ws.root, check=True, capture_output=True)


def test_named_locks_are_compared_as_a_table(ws: Workspace) -> None:
    """Rows come by name, with class, old and new; a difference without alarm is exit 0."""
    outcome = diff(ws, "default", "test")
    assert outcome.answer.splitlines() == [
        "alpha  version  1  2",
        "beta   removed  1  -",
        "gamma  added    -  1",
    ]
    assert outcome.exit_code == 0
    assert outcome.data == {
        "old": "lockfiles/pylock.toml",
        "new": "lockfiles/pylock.test.toml",
        "changes": [
            {"name": "alpha", "class": "version", "old": "1", "new": "2"},
            {"name": "beta", "class": "removed", "old": "1", "new": ""},
            {"name": "gamma", "class": "added", "old": "", "new": "1"},
        ],
    }


def test_the_same_file_with_another_hash_is_exit_one(ws: Workspace) -> None:
    """The alarm is an error finding; the table shortens the digests, the finding does not."""
    (ws.root / "pylock.other.toml").write_text(HEAD + package("alpha", "1", "b") + package("beta", "1"))
    outcome = diff(ws, "default", "pylock.other.toml")
    assert outcome.exit_code == 1
    assert [item.code for item in outcome.findings] == ["diff.rehashed"]
    assert "b" * 64 in outcome.findings[0].message
    assert "b" * 64 not in outcome.answer


def test_long_cells_are_cut_and_files_are_counted(ws: Workspace) -> None:
    """A table stays a table: file lists are counted, long texts cut."""
    long = package("alpha", "1").replace('version = "1"', f'version = "1"\nmarker = "sys_platform == \'{"x" * 90}\'"')
    (ws.root / "pylock.other.toml").write_text(HEAD + long + package("beta", "1", tag="cp312-none-any"))
    lines = diff(ws, "default", "pylock.other.toml").answer.splitlines()
    assert lines[0].endswith("...")
    assert lines[1].split() == ["beta", "artifact", "-1", "file", "+1", "file"]


def test_equal_locks_say_so(ws: Workspace) -> None:
    """No difference is a sentence and exit 0; what is said about the lock itself is a note."""
    name = "lockfiles/pylock.test.toml"
    assert diff(ws, "test", "test").answer == f"no difference between {name} and {name}"
    guard = 'requires-python = ">=3.12"\nenvironments = ["os_name == \'nt\'"]\n'
    (ws.root / "pylock.other.toml").write_text(HEAD + guard + package("alpha", "2") + package("gamma", "1"))
    outcome = diff(ws, "test", "pylock.other.toml")
    assert outcome.notes == (
        "requires-python changed from none to >=3.12", "environments changed from none to os_name == 'nt'",
    )  # fmt: skip


def test_git_revisions_are_compared_with_files(ws: Workspace) -> None:
    """`rev:` reads the lock as a revision had it, by default the default lock."""
    git(ws, "init", "-q")
    git(ws, "add", "-A")
    git(ws, "commit", "-q", "-m", "one")
    (ws.root / "lockfiles" / "pylock.toml").write_text(HEAD + package("alpha", "3"))
    outcome = diff(ws, "rev:HEAD", "default")
    assert [row["class"] for row in outcome.data["changes"]] == ["version", "removed"]  # type: ignore[union-attr,index,call-overload]
    assert outcome.data["old"] == "lockfiles/pylock.toml at HEAD"
    assert diff(ws, "rev:HEAD:lockfiles/pylock.test.toml", "test").data["changes"] == []
    for text in ("rev:nope", "rev:HEAD:gone.toml", "rev:HEAD:lockfiles"):
        with pytest.raises(LockNotFound):
            diff(ws, text, "default")


@pytest.mark.parametrize("text", ["rev:", "rev:-h", "rev:--help", "rev:a b", "rev:\x1b[1m", "rev:HEAD:\x00"])
def test_text_that_is_no_revision_never_reaches_git(ws: Workspace, text: str) -> None:
    """Options and control characters are refused before git is started."""
    with pytest.raises(UsageError) as caught:
        diff(ws, text, "default")
    assert caught.value.message.isprintable()


def test_outside_a_repository_git_says_why(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, and no git at all, are toolchain errors."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    with pytest.raises(EngineFailed, match="not a git repository") as caught:
        diff(ws, "rev:HEAD", "default")
    assert caught.value.exit_code == 8
    monkeypatch.setenv("PATH", str(ws.root))
    with pytest.raises(GitNotFound) as missing:
        diff(ws, "rev:HEAD", "default")
    assert missing.value.exit_code == 8


@pytest.mark.parametrize(
    ("text", "kind"), [("gone.toml", LockNotFound), ("pyproject.toml", InvalidLock), ("lockfiles", EnvidError)]
)
def test_what_is_no_lock_is_an_error(ws: Workspace, text: str, kind: type[EnvidError]) -> None:
    """A missing file, another file and a directory are clear errors; another file with the kinds that are known."""
    with pytest.raises(kind) as caught:
        diff(ws, text, "default")
    if kind is InvalidLock:
        assert "is not a lock of a kind" in caught.value.message
        assert "pylock.toml" in caught.value.hint
