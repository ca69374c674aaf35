"""`lock --check` over a whole project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.asking import question
from envid.app.checking import check
from envid.app.workspace import Workspace, open_workspace
from envid.errors import ConfigError, DependencyRefused, InvalidLock, LockNotFound
from envid.lock.pylock import parse
from envid.lock.write import environments_for, write
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName, Sha256

PROJECT = """\
[project]
name = "demo"
requires-python = ">=3.11"
dependencies = ["alpha>=1"]
[tool.envid]
targets = ["cp312-manylinux_2_28_x86_64"]
[tool.envid.locks.test]
"""


def write_lock(root: Path, name: str = "default") -> Path:
    """Write the lock that answers the project as it is now."""
    ws = open_workspace(str(root))
    wheel = Artifact(
        kind="wheel", filename="alpha-1.5-py3-none-any.whl", sha256=Sha256("a" * 64),
        url="https://index.example/alpha-1.5-py3-none-any.whl",
    )  # fmt: skip
    entry = LockedDistribution(name=NormalizedName("alpha"), version="1.5", wheels=(wheel,))
    targets = ws.intent.settings.targets
    lock = Lock(
        created_by="envid", distributions=(entry,), environments=environments_for(targets) if targets else (),
        inputs=question(ws, name).inputs,
    )  # fmt: skip
    path = ws.lock_path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(write(lock, targets=targets))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a fresh default lock."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    write_lock(tmp_path)
    return tmp_path


def at(root: Path) -> Workspace:
    return open_workspace(str(root), offline=True)


def change(root: Path, old: str, new: str) -> None:
    text = (root / "pyproject.toml").read_text()
    assert old in text
    (root / "pyproject.toml").write_text(text.replace(old, new))


def test_a_fresh_lock_is_one_line_and_exit_zero(root: Path) -> None:
    """The answer says what was compared and how much it holds."""
    outcome = check(at(root))
    assert outcome.answer == "fresh: lockfiles/pylock.toml answers pyproject.toml (1 distribution, 1 target)"
    assert outcome.exit_code == 0
    assert outcome.data == {"locks": {"default": {"verdict": "fresh", "changes": []}}}
    assert outcome.memory is not None


def test_a_stale_lock_says_what_changed_from_what_to_what(root: Path) -> None:
    """Each changed input is in the data with old and new, and the exit code says no."""
    change(root, "alpha>=1", "alpha>=2")
    outcome = check(at(root))
    assert outcome.exit_code == 1
    assert outcome.answer == "stale: lockfiles/pylock.toml does not answer pyproject.toml"
    told = outcome.data["locks"]
    assert isinstance(told, dict)
    assert told["default"]["verdict"] == "stale"
    (entry,) = told["default"]["changes"]
    assert (entry["input"], entry["old"], entry["new"]) == ("alpha", "alpha>=1", "alpha>=2")


def test_every_declared_lock_that_exists_is_checked(root: Path) -> None:
    """Named locks are looked at too; with several, each sentence says which one it is about."""
    assert list(check(at(root)).data["locks"]) == ["default"]  # type: ignore[arg-type]
    write_lock(root, "test")
    change(root, '"alpha>=1"', '"alpha>=1", "beta"')
    outcome = check(at(root))
    assert list(outcome.data["locks"]) == ["default", "test"]  # type: ignore[arg-type]
    assert [item.message.partition(":")[0] for item in outcome.findings] == [
        "lockfiles/pylock.toml", "lockfiles/pylock.test.toml",
    ]  # fmt: skip
    assert list(check(at(root), name="test").data["locks"]) == ["test"]  # type: ignore[arg-type]


def test_a_missing_lock_is_a_finding(root: Path) -> None:
    """The default lock has to be there, and any lock that is asked for by name."""
    (root / "lockfiles" / "pylock.toml").unlink()
    for name in (None, "test"):
        outcome = check(at(root), name=name)
        assert [item.code for item in outcome.findings] == ["lock.missing"]
        assert outcome.exit_code == 1


def test_an_undeclared_lock_is_a_configuration_error(root: Path) -> None:
    """A name that pyproject.toml does not declare is an error, not a missing lock."""
    with pytest.raises(ConfigError, match="no lock named"):
        check(at(root), name="nope")


def test_metadata_that_only_a_build_would_tell_is_undecidable(root: Path) -> None:
    """Dynamic dependencies are neither fresh nor stale offline."""
    change(root, 'name = "demo"', 'name = "demo"\ndynamic = ["optional-dependencies"]')
    assert check(at(root)).exit_code == 0
    change(root, "optional-dependencies", "requires-python")
    outcome = check(at(root))
    assert outcome.answer.startswith("undecidable: ")
    assert [item.code for item in outcome.findings] == ["lock.undecidable"]


def test_a_lock_of_another_tool_is_judged_weakly(root: Path) -> None:
    """Without envid's table the direct requirements are compared, and the verdict says that it is no more."""
    path = root / "lockfiles" / "pylock.toml"
    path.write_bytes(path.read_bytes().partition(b"\n[tool.envid]")[0])
    outcome = check(at(root))
    assert outcome.answer.startswith("undecidable: whether lockfiles/pylock.toml")
    change(root, "alpha>=1", "alpha>=2")
    assert check(at(root)).answer.startswith("stale")


def test_a_broken_lock_is_an_error_and_a_valid_edit_a_finding(root: Path) -> None:
    """What cannot be read is exit 4; what can be read and was changed is exit 1."""
    path = root / "lockfiles" / "pylock.toml"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"alpha>=1", b"alpha>=0"))
    outcome = check(at(root))
    assert [item.code for item in outcome.findings] == ["lock.edited", "lock.compatible"]
    assert outcome.exit_code == 1
    path.write_bytes(good + b"\nnonsense")
    with pytest.raises(InvalidLock):
        check(at(root))


def test_a_workspace_member_is_an_input(tmp_path: Path) -> None:
    """A dependency that a sibling gains makes the lock stale, by the name of the sibling."""
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*"]\n')
    for name in ("app", "lib"):
        (tmp_path / name).mkdir()
    root = tmp_path / "app"
    (root / "pyproject.toml").write_text(PROJECT + "[tool.uv.sources]\nlib = { workspace = true }\n")
    (tmp_path / "lib" / "pyproject.toml").write_text('[project]\nname = "lib"\nversion = "1"\ndependencies = []\n')
    write_lock(root)
    outcome = check(at(root))
    assert outcome.exit_code == 0
    assert outcome.memory is None
    (tmp_path / "lib" / "pyproject.toml").write_text('[project]\nname = "lib"\nversion = "2"\ndependencies = ["x"]\n')
    outcome = check(at(root))
    assert [item.subject for item in outcome.findings] == ["lib"]
    assert "local source lib changed" in outcome.findings[0].message


def test_a_lock_is_compared_by_meaning_not_by_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory has no say in the verdict."""
    monkeypatch.chdir("/")
    assert check(at(root)).exit_code == 0
    assert parse((root / "lockfiles" / "pylock.toml").read_bytes(), path="x").inputs is not None
    with pytest.raises(LockNotFound):
        at(root).read_lock("test")


def test_the_command_that_mends_a_named_lock_names_it(root: Path) -> None:
    """The hint of a stale or missing named lock is the command for that lock, and of the default one as it was."""
    write_lock(root, "test")
    change(root, "alpha>=1", "alpha>=9")
    hints = {finding.message.partition(": ")[0]: finding.hint or "" for finding in check(at(root)).findings}
    assert "`envid lock --name test`" in hints["lockfiles/pylock.test.toml"]
    assert "`envid lock`" in hints["lockfiles/pylock.toml"]
    (root / "lockfiles" / "pylock.test.toml").unlink()
    (missing,) = check(at(root), name="test").findings
    assert missing.hint == "run `envid lock --name test`"


@pytest.mark.parametrize(
    ("dependencies", "rest"),
    [
        ('["other-lib"]', '[tool.uv.sources]\nother_lib = { path = "../gone", editable = true }\n'),
        ('["other-lib @ file:../gone"]', ""),
    ],
)
def test_a_missing_source_directory_is_told_with_its_line(root: Path, dependencies: str, rest: str) -> None:
    """A source directory that is not there is said to be so, on the line that asks for it."""
    text = PROJECT.replace('["alpha>=1"]', dependencies) + rest
    (root / "pyproject.toml").write_text(text)
    line = next(number for number, found in enumerate(text.splitlines(), 1) if "../gone" in found)
    (finding,) = check(at(root)).findings
    assert finding.code == "lock.undecidable"
    assert f"pyproject.toml:{line}: the directory ../gone is not there, where other-lib is" in finding.message
    assert "static" not in f"{finding.message} {finding.hint}"
    with pytest.raises(DependencyRefused, match="is not there"):
        question(at(root), "default")


def test_distributions_are_counted_once(root: Path) -> None:
    """Two entries of one name (forks) are one distribution, as `envid lock` counts them."""
    path = root / "lockfiles" / "pylock.toml"
    lock = parse(path.read_bytes(), path="x")
    (entry,) = lock.distributions
    fork = replace(entry, marker="sys_platform == 'win32'")
    path.write_bytes(write(replace(lock, distributions=(entry, fork)), targets=()))
    assert "(1 distribution, 1 target)" in check(at(root)).answer
