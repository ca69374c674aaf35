"""``envid matrix`` on a real lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.keys import key
from envid.app.matrix import matrix
from envid.app.workspace import Workspace, open_workspace
from envid.errors import LockNotFound
from envid.lock.pylock import parse
from envid.lock.write import write

VALID = Path(__file__).parents[2] / "fixtures" / "pylock" / "valid"
DECLARED = ["cp312-manylinux_2_28_x86_64", "cp312-macosx_13_0_arm64", "cp312-win_amd64"]


def project(directory: Path, targets: list[str], lock: str | None) -> Workspace:
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.11"\n\n[tool.envid]\ntargets = {targets}\n'
    )
    if lock is not None:
        # What is built from source has no identity elsewhere; the matrix of wheels is what is meant here.
        source = parse((VALID / lock).read_bytes(), path=lock)
        wheels = replace(source, distributions=tuple(entry for entry in source.distributions if entry.wheels))
        (directory / "lockfiles").mkdir()
        (directory / "lockfiles" / "pylock.toml").write_bytes(write(wheels, targets=()))
    return open_workspace(str(directory))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what envid remembers below the test's own directory."""
    monkeypatch.setenv("ENVID_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("layer", ["wheels", "env"])
def test_every_declared_target_has_its_key_and_coverage(tmp_path: Path, layer: str) -> None:
    """I2: the matrix covers the declared targets and nothing else; its keys are those of `envid key --target`."""
    ws = project(tmp_path, DECLARED, "pylock.targets.toml")
    outcome = matrix(ws, layer=layer)
    assert outcome.exit_code == 0
    assert outcome.data["layer"] == layer
    keys, coverage = outcome.data["keys"], outcome.data["coverage"]
    assert isinstance(keys, dict)
    assert isinstance(coverage, dict)
    assert sorted(keys) == sorted(coverage) == sorted(DECLARED)
    for target in DECLARED:
        assert key(ws, layer=layer, target=target).answer == keys[target]
        assert keys[target] in outcome.answer
        assert coverage[target]["missing"] == []
        assert set(coverage[target]) == {"packages", "floor", "missing"}
    assert coverage["cp312-win_amd64"]["packages"]["pywin32"] == "wheel"
    assert "pywin32" not in coverage["cp312-macosx_13_0_arm64"]["packages"]
    assert coverage["cp312-win_amd64"]["floor"] == {"family": "windows", "version": None}


def test_a_target_the_lock_cannot_serve_is_a_finding(tmp_path: Path) -> None:
    """An uncovered target has the key null and makes the answer no; the others are still answered."""
    outcome = matrix(project(tmp_path, [*DECLARED, "cp310-win32"], "pylock.targets.toml"))
    keys = outcome.data["keys"]
    assert isinstance(keys, dict)
    assert outcome.exit_code == 1
    assert [finding.code for finding in outcome.findings] == ["lock.uncovered-target"]
    assert outcome.findings[0].subject == "cp310-win32"
    assert keys["cp310-win32"] is None
    assert all(keys[target] for target in DECLARED)


def test_a_package_without_artifact_is_a_finding_by_name(tmp_path: Path) -> None:
    """A planted gap is named with its target, and the coverage shows it."""
    ws = project(tmp_path, ["cp312-manylinux_2_28_x86_64", "cp313-manylinux_2_28_x86_64"], None)
    (tmp_path / "lockfiles").mkdir()
    (tmp_path / "lockfiles" / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "foo"\nversion = "1"\n'
        f'wheels = [{{ path = "foo-1-cp312-cp312-manylinux_2_17_x86_64.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]\n'
    )
    outcome = matrix(ws)
    assert outcome.exit_code == 1
    assert "foo" in outcome.findings[0].message
    assert outcome.findings[0].subject == "cp313-manylinux_2_28_x86_64"
    coverage = outcome.data["coverage"]
    assert isinstance(coverage, dict)
    assert coverage["cp313-manylinux_2_28_x86_64"]["missing"] == ["foo"]
    assert "nothing" in outcome.answer


def test_without_declared_targets_the_matrix_is_of_the_host(tmp_path: Path) -> None:
    """One row, the running interpreter's, with the key that `envid key` gives."""
    ws = project(tmp_path, [], "pylock.everywhere.toml")
    outcome = matrix(ws)
    keys = outcome.data["keys"]
    assert isinstance(keys, dict)
    assert list(keys.values()) == [key(ws, layer="wheels").answer]


def test_without_a_lock_there_is_no_matrix(tmp_path: Path) -> None:
    """A missing lock is the error that says how to make one."""
    with pytest.raises(LockNotFound):
        matrix(project(tmp_path, DECLARED, None))
