"""What a CI cache is told: key, ladder, path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envid.app.ci import export
from envid.app.keys import identify_for
from envid.app.workspace import Workspace
from envid.errors import ConfigError, NotExportable
from github_cache import check
from keyed import Keyed, Package, keyed

IDNA = Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),))


@pytest.fixture
def project(tmp_path: Path) -> Keyed:
    """A project with one wheel."""
    return keyed(tmp_path).given(IDNA)


def told(project: Keyed, **asked: str) -> dict[str, str]:
    return dict(export(project.workspace, **asked)[1])


def test_the_layers_say_what_they_keep(project: Keyed) -> None:
    """Each layer has its path, those that are held to hashes a ladder of one rung, and all of it suits GitHub."""
    found = {layer: told(project, layer=layer) for layer in ("venv", "wheels", "store", "env")}
    assert {layer: values["path"] for layer, values in found.items()} == {
        "venv": ".venv", "wheels": str(project.cache / "wheels-v1"), "store": ".envid/store.tar", "env": "",
    }  # fmt: skip
    for layer, values in found.items():
        rungs = values["restore-keys"].split("\n") if values["restore-keys"] else []
        assert len(rungs) == (layer in ("wheels", "store"))
        check([values["key"], *rungs])
        assert values["key"].startswith(f"envid1-{layer}-")
        assert all(values["key"].startswith(rung) and rung.endswith("-") for rung in rungs)


def test_the_digest_is_that_of_the_portable_key(project: Keyed) -> None:
    """The key of CI ends with the digest of `envid key`, and the identity told is the document behind both."""
    outcome, values = export(project.workspace, layer="env")
    found = identify_for(project.workspace, layer="env")
    assert values["key"][-64:] == found.key[-64:]
    assert values["identity"].encode() == found.document
    assert outcome.answer == values["key"]
    assert outcome.data["keys"] == {"env": {found.target.name: found.key}}


def test_the_layer_of_ci_is_the_environment(project: Keyed) -> None:
    """Without --layer, CI is told the key of the virtual environment."""
    assert told(project) == told(project, layer="venv")


def test_another_environment_is_no_change(project: Keyed) -> None:
    """What is named with --venv has a record of its own: asking for another one is no change."""
    for venv in (None, "elsewhere", None, ".venv", "elsewhere"):
        place = None if venv is None else str(project.root / venv)
        assert export(project.workspace, venv=place)[0].notes == (), venv
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(f'{pyproject.read_text()}salt = "x"\n')
    assert "changed since" in export(project.workspace)[0].notes[0]


def test_paths_are_relative_to_what_the_system_names(project: Keyed, tmp_path: Path) -> None:
    """Below the directory that a CI system names the path is relative to it, through links too; elsewhere absolute."""
    inside = project.root.name
    (tmp_path / "link").symlink_to(tmp_path)
    for base in (str(tmp_path), f"{tmp_path}/", str(tmp_path / "link")):
        assert told(project, base=base)["path"] == f"{inside}/.venv"
        assert told(project, base=base, layer="wheels")["path"] == "cache/wheels-v1"
    assert told(project, base="/nowhere")["path"] == str(project.root / ".venv")
    assert told(project, base=str(tmp_path / "proj"))["path"] == str(project.root / ".venv")
    assert told(project, venv=str(tmp_path / "elsewhere"))["path"] == str(tmp_path / "elsewhere")


def test_a_base_may_begin_at_home(project: Keyed, tmp_path: Path) -> None:
    """CircleCI names its directory from `~`."""
    opened = project.workspace
    ws = Workspace(
        root=opened.root, pyproject=opened.pyproject, intent=opened.intent, cache=opened.cache,
        variables={"HOME": str(tmp_path)},
    )  # fmt: skip
    assert export(ws, base="~/project")[1]["path"] == ".venv"


@pytest.mark.parametrize("name", ["a*", "b?", "c[d]", "e\nf", "!g", "#h", "~i", " j", "k "])
def test_a_path_that_is_a_pattern_is_refused(name: str, project: Keyed) -> None:
    """What a cache would take for a pattern, a negation, a comment, a home or two paths is no path to keep."""
    with pytest.raises(NotExportable):
        told(project, venv=str(project.root / name))


def test_an_environment_that_is_not_there_yet_has_the_running_python(project: Keyed) -> None:
    """`--venv` of a place that is empty means the environment that will be made there."""
    place = str(project.root / "build" / "venv")
    values = told(project, venv=place)
    assert values["path"] == "build/venv"
    assert f'"environment":"{place}"' in values["identity"]
    assert os.path.realpath(project.workspace.interpreter(None).executable) in values["identity"]


def test_the_layer_store_is_envids_own(tmp_path: Path) -> None:
    """A project cannot declare a layer of that name."""
    project = keyed(tmp_path).given(IDNA, envid='[tool.envid.layers.store]\ncomponents = ["salt"]')
    with pytest.raises(ConfigError, match="envid's own"):
        told(project, layer="store")
