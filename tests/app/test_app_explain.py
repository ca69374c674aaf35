"""`explain`: documents, locks, revisions and the record, in words."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envid.app.ci import export
from envid.app.explain import explain
from envid.app.keys import identity, key
from envid.errors import IdentityUnknown, InvalidLock, LockNotFound, UnsupportedSchema
from envid.values.digest import NotCanonical
from keyed import ORDINARY, TARGET, Keyed, keyed

IDNA, NUMPY, COLORAMA = ORDINARY
NEWER = replace(IDNA, version="3.11", wheels=(("idna-3.11-py3-none-any.whl", 2),))
REPLACED = replace(IDNA, wheels=(("idna-3.10-py3-none-any.whl", 3),))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    """A project that is the current directory."""
    made = keyed(tmp_path).given()
    monkeypatch.chdir(made.root)
    return made


def _changes(project: Keyed, *sides: str, **more: str) -> list[tuple[str, str, str]]:
    data = explain(project.workspace, *sides, **{"target": TARGET, **more}).data["changes"]
    assert isinstance(data, list)
    return [(row["component"], row["what"], row["subject"]) for row in data if isinstance(row, dict)]


def test_recorded_against_current(project: Keyed) -> None:
    """After a key was computed, a changed lock is told against it, in words, as a finding and with exit status 1."""
    key(project.workspace, target=TARGET)
    outcome = explain(project.workspace, target=TARGET)
    assert (outcome.exit_code, outcome.data["changes"]) == (0, [])
    project.given(NEWER, NUMPY, COLORAMA)
    outcome = explain(project.workspace, target=TARGET)
    assert outcome.exit_code == 1
    assert outcome.answer == "distributions: idna went from 3.10 to 3.11"
    assert [finding.code for finding in outcome.findings] == ["identity.changed"]
    assert (outcome.findings[0].expected, outcome.findings[0].actual) == ("3.10", "3.11")


def test_the_change_before_is_still_told(project: Keyed) -> None:
    """When the key was computed again after a change, explain shows that change, without calling it a difference."""
    key(project.workspace, target=TARGET)
    project.given(NEWER, NUMPY, COLORAMA)
    assert key(project.workspace, target=TARGET).notes != ()
    assert key(project.workspace, target=TARGET).notes == ()
    outcome = explain(project.workspace, target=TARGET)
    assert outcome.exit_code == 0
    assert "idna went from 3.10 to 3.11" in outcome.answer


def test_nothing_recorded_is_an_error(project: Keyed) -> None:
    """Without a record there is nothing to compare with, and the error says what to do."""
    with pytest.raises(IdentityUnknown, match="nothing was recorded") as caught:
        explain(project.workspace, target=TARGET)
    assert "envid key" in caught.value.hint


def test_two_locks(project: Keyed) -> None:
    """Two lock files are compared for one target; the same file with other bytes is told from another file."""
    old = project.root / "old.toml"
    shutil.copy(project.lock_file(), old)
    project.given(REPLACED, NUMPY, COLORAMA)
    assert _changes(project, str(old), str(project.lock_file())) == [("distributions", "rehashed", "idna")]
    assert _changes(project, str(old), str(old)) == []
    renamed = replace(IDNA, wheels=(("idna-3.10-py2.py3-none-any.whl", 4),))
    project.given(renamed, NUMPY, COLORAMA)
    assert _changes(project, str(old)) == [("distributions", "artifact", "idna")]


def test_a_document_brings_its_layer(project: Keyed) -> None:
    """A document as `envid identity` printed it, with its final newline, is compared in its own layer."""
    file = project.root / "identity.json"
    for layer in ("wheels", "env"):
        file.write_text(identity(project.workspace, layer=layer, target=TARGET).answer + "\n", encoding="utf-8")
        outcome = explain(project.workspace, str(file), target=TARGET)
        assert outcome.data["layer"] == layer
        assert outcome.data["changes"] == []
        assert explain(project.workspace, str(file), str(file)).data["changes"] == []


def test_another_target_is_told(project: Keyed) -> None:
    """A document of another target differs in interpreter, platform and the files that were taken."""
    file = project.root / "identity.json"
    file.write_text(identity(project.workspace, target="cp313-manylinux_2_28_x86_64").answer, encoding="utf-8")
    changed = {(component, what) for component, what, _ in _changes(project, str(file))}
    assert changed == {("python", "changed"), ("distributions", "artifact")}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_a_revision(project: Keyed) -> None:
    """`rev:REV` is compared with what stands there now: its own lock, and its own pyproject.toml."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@host.example", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], cwd=project.root, check=True)
    project.given(NEWER, NUMPY, COLORAMA, envid='salt = "new"')
    assert _changes(project, "rev:HEAD") == [("distributions", "version", "idna"), ("salt", "changed", "salt")]
    assert _changes(project, "rev:HEAD", "rev:HEAD") == []


FORGED = {
    "neither document nor lock": (b"x", InvalidLock),
    "another schema": (b'{"schema":"other"}', UnsupportedSchema),
    "not canonical": (b'{ "schema": "envid-identity/1" }', NotCanonical),
}


@pytest.mark.parametrize("what", FORGED)
def test_other_files_are_refused(project: Keyed, what: str) -> None:
    """A file that is neither an identity document nor a lock is a clear error."""
    data, error = FORGED[what]
    file = project.root / "file"
    file.write_bytes(data)
    with pytest.raises(error):
        explain(project.workspace, str(file), target=TARGET)


def test_a_file_that_is_not_there(project: Keyed) -> None:
    """A name that is no file is an error that says so."""
    with pytest.raises(LockNotFound):
        explain(project.workspace, "nothing.json", target=TARGET)


def test_what_ci_needs(project: Keyed) -> None:
    """The CI key has no prefix rung but for wheels, and names the path that is cached."""
    _, venv = export(project.workspace)
    assert venv["key"].startswith("envid1-venv-linux-") or "-macos-" in venv["key"]
    assert (venv["restore-keys"], venv["path"]) == ("", ".venv")
    _, wheels = export(project.workspace, layer="wheels", target=TARGET)
    assert wheels["key"].startswith("envid1-wheels-linux-x86_64-cp312-")
    assert wheels["restore-keys"] == "envid1-wheels-linux-x86_64-cp312-"
    assert wheels["path"] == str(project.cache / "wheels-v1")
    assert wheels["identity"] == identity(project.workspace, layer="wheels", target=TARGET).answer
