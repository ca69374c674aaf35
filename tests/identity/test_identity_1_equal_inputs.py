"""What must be true, 1: equal inputs, equal key (docs/identity.md, "What does not change a key")."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keyed import ORDINARY, TARGET, Keyed, Package, keyed

IDNA, NUMPY, COLORAMA = ORDINARY
ENTRY = "import sys; from envid.surface.cli import main; sys.exit(main(sys.argv[1:]))"

SPELLINGS: dict[str, Callable[[Keyed], Keyed]] = {
    "order of the packages": lambda p: p.given(COLORAMA, NUMPY, IDNA),
    "order of the wheels": lambda p: p.given(IDNA, replace(NUMPY, wheels=tuple(reversed(NUMPY.wheels))), COLORAMA),
    "spelling of a version": lambda p: p.given(
        replace(IDNA, version="3.10.0"), replace(NUMPY, version="2.1"), COLORAMA
    ),
    "comments and layout": lambda p: p.given(*ORDINARY, head="# a comment\n\n", tail="\n# the end\n"),
    "mirror URL": lambda p: p.given(*(replace(package, base="https://mirror.example/x/y") for package in ORDINARY)),
    "sizes": lambda p: p.given(*(replace(package, size=7) for package in ORDINARY)),
    "index of a package": lambda p: p.given(replace(IDNA, extra='index = "https://mirror.example/simple"'), NUMPY,
    COLORAMA),
    "a wheel for another platform": lambda p: p.given(
        IDNA, replace(NUMPY, wheels=(*NUMPY.wheels, ("numpy-2.1.0-cp312-cp312-win_arm64.whl", 99))), COLORAMA
    ),
    "a source archive that is not taken": lambda p: p.given(
        IDNA, replace(NUMPY, sdist=("numpy-2.1.0.tar.gz", 98)), COLORAMA
    ),
    "a package for another platform": lambda p: p.given(
        *ORDINARY, Package(name="pywin32", marker="sys_platform == 'win32'", wheels=(("pywin32-1.0-py3-none-any.whl",
            97),))
    ),
    "created-by and tables of others": lambda p: p.given(*ORDINARY,
    tail='[tool.other]\nx = 1\n[tool.envid]\nformat = 1\n'),
    "order of what is asked for": lambda p: p.given(
        project='version = "1"\nname = "demo"\ndependencies = ["numpy", "idna"]\nrequires-python = ">=3.10"'
    ),
    "declared targets": lambda p: p.given(envid='targets = ["cp312-win_amd64", "cp312-manylinux_2_28_x86_64"]'),
}  # fmt: skip
"""One row each: a change that must not change a key."""


@pytest.mark.parametrize("layer", ["wheels", "env"])
@pytest.mark.parametrize("what", SPELLINGS)
def test_equal_inputs_have_equal_keys(tmp_path: Path, what: str, layer: str) -> None:
    """A lock and project that mean the same, written otherwise, have the same key."""
    project = keyed(tmp_path)
    before = project.given().key(layer)
    assert SPELLINGS[what](project).key(layer) == before


def test_upload_times_do_not_change_a_key(tmp_path: Path) -> None:
    """An upload time in the lock, as other tools write it, leaves the key as it is."""
    project = keyed(tmp_path).given()
    before = project.key()
    text = project.lock_file().read_text(encoding="utf-8")
    project.lock_file().write_text(text.replace("size = 100,", "upload-time = 2024-01-01T00:00:00Z, size = 100,"))
    assert project.key() == before


def test_names_are_compared_in_normal_form(tmp_path: Path) -> None:
    """Extras and groups are the same selection however their names are spelled and ordered."""
    project = keyed(tmp_path)
    pyproject = (
        'name = "demo"\nversion = "1"\ndependencies = []\n[project.optional-dependencies]\n"Fast_IO" = []\nb = []\n'
    )
    other = pyproject.replace("Fast_IO", "fast-io")
    one = project.given(project=pyproject, envid='[tool.envid.lock]\nextras = ["Fast_IO", "b"]').key()
    two = project.given(project=other, envid='[tool.envid.lock]\nextras = ["b", "fast-io", "b"]').key()
    assert one == two
    assert one != project.given().key()


HOSTS: dict[str, dict[str, str]] = {
    "locale": {"LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "hash seed": {"PYTHONHASHSEED": "4711"},
    "-O": {"PYTHONOPTIMIZE": "2"},
    "user": {"USER": "somebody", "LOGNAME": "somebody", "HOME": "/nonexistent"},
    "an index of the caller's": {
        "UV_INDEX_URL": "https://index.example/simple",
        "PIP_INDEX_URL": "https://index.example",
    },
    "UTF-8 mode": {"PYTHONUTF8": "1"},
}


@pytest.mark.parametrize("what", [*HOSTS, "working directory"])
def test_the_host_does_not_change_a_key(tmp_path: Path, what: str) -> None:
    """The environment and the directory in which envid runs leave the portable key as it is."""
    project = keyed(tmp_path).given()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "key", "--target", TARGET, "--project", str(project.root)],
        capture_output=True, text=True, check=True, cwd=elsewhere if what == "working directory" else project.root,
        env={"PATH": os.environ["PATH"], "ENVID_CACHE_DIR": str(project.cache), **HOSTS.get(what, {})},
    )  # fmt: skip
    assert done.stdout.strip() == project.key()


def test_the_place_of_the_project_changes_the_venv_layer_only(tmp_path: Path) -> None:
    """Moving a project changes the key of its virtual environment, which holds absolute paths, and no other."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = keyed(tmp_path / "a").given(), keyed(tmp_path / "b").given()
    assert one.key("venv", None) != two.key("venv", None)
    assert one.key("env", None) == two.key("env", None)
    assert one.key("wheels", None) == two.key("wheels", None)
