"""Components measured: source trees, builds, facts, foreign targets, markers; and what cannot be measured."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envid.app import measuring
from envid.app.keys import identify_for
from envid.app.selecting import nearest, select_for
from envid.app.sources import tree_digest
from envid.errors import (
    BackendNotFound,
    ConfigError,
    EnvidError,
    IdentityUnknown,
    TargetNotCovered,
    UnsafePath,
    UsageError,
)
from envid.installed.interpreter import measure
from envid.values.target import host_target, parse_target
from keyed import ORDINARY, TARGET, Keyed, Package, keyed

LOCAL = Package(name="mine", version=None, directory="../mine")
SDIST = Package(name="odfpy", version="1.4.1", sdist=("odfpy-1.4.1.tar.gz", 5))
FOREIGN = "cp312-win_amd64"


@pytest.fixture
def project(tmp_path: Path) -> Keyed:
    """A project with a lock."""
    return keyed(tmp_path).given()


def _component(project: Keyed, name: str, layer: str = "env", target: str | None = TARGET) -> Any:
    return project.identified(layer, target).identity.components[name]


def test_the_host_is_measured_and_named(project: Keyed) -> None:
    """`host`, and no target at all, are the running interpreter; a declared target that it fits has the same key."""
    host = host_target(measure())
    found = project.identified("env", None)
    assert found.target == host
    assert project.key("env", "host") == found.key == project.key("env", host.name)
    assert project.key("env", host.short.name) == found.key


def test_a_foreign_interpreter_build_is_not_guessed(project: Keyed) -> None:
    """The layer of one machine's environment has no key for a target that is elsewhere, and the error says what has."""
    with pytest.raises(IdentityUnknown, match="python-build") as caught:
        project.key("venv", FOREIGN)
    assert "--layer env" in caught.value.hint
    assert project.key("env", FOREIGN).startswith("envid1-env-")


def test_a_source_tree_enters_by_content(project: Keyed) -> None:
    """Editing a file of a path dependency changes the portable key, and where nothing changed it stays."""
    mine = project.root / "mine"
    mine.mkdir()
    (mine / "a.py").write_text("x = 1\n", encoding="utf-8")
    project.given(*ORDINARY, LOCAL)
    before, wheels = project.key("env", None), project.key("wheels", None)
    assert project.key("env", None) == before
    (mine / "__pycache__").mkdir()
    (mine / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert project.key("env", None) == before
    (mine / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert project.key("env", None) != before
    assert project.key("wheels", None) == wheels
    assert _component(project, "local", target=None) == [["mine", "directory", tree_digest(str(mine), package="x"), ""]]


def test_a_source_tree_that_is_not_there(project: Keyed) -> None:
    """A missing path dependency is an error that names the distribution and the component."""
    project.given(*ORDINARY, LOCAL)
    with pytest.raises(IdentityUnknown, match=r"`(platform|local|build)`.*mine|mine"):
        project.key("env", None)


def test_a_past_source_tree_is_not_the_present_one(project: Keyed) -> None:
    """For an earlier revision, source trees on disk are not measured in its name."""
    (project.root / "mine").mkdir()
    project.given(*ORDINARY, LOCAL)
    with pytest.raises(IdentityUnknown, match="as it is now"):
        identify_for(project.workspace, layer="env", past=True)
    assert identify_for(project.workspace, layer="wheels", past=True).key == project.key("wheels", None)


def test_what_is_built_here_runs_on_the_libc_of_here(project: Keyed) -> None:
    """With a source archive selected, the platform is the host's exact version and the compiler is told."""
    project.given(*ORDINARY, SDIST)
    platform, build = (_component(project, name, target=None) for name in ("platform", "build"))
    assert "floor" not in platform
    assert platform["exact"] == ".".join(measure().platform.split("_")[1:3])
    assert build["sources"] == [["odfpy", "sdist", f"{5:064x}"]]
    assert build["compiler"] is None or shutil.which("cc") or shutil.which("gcc")
    with pytest.raises(IdentityUnknown, match=r"odfpy|libc"):
        project.key("env", FOREIGN)
    assert project.key("wheels", FOREIGN)


def test_a_host_without_compiler_says_so(project: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no compiler is installed, the component says null, which is measured and not assumed."""
    monkeypatch.setenv("PATH", "/nonexistent")
    project.given(*ORDINARY, SDIST)
    assert _component(project, "build", target=None)["compiler"] is None


MARKED = Package(name="tomli", wheels=(("tomli-1.0-py3-none-any.whl", 6),))


def _with_marker(marker: str) -> tuple[Package, ...]:
    return (*ORDINARY, Package(name="tomli", marker=marker, wheels=MARKED.wheels))


@pytest.mark.parametrize(
    ("marker", "recorded"),
    [
        ("python_full_version >= '3.9'", {}),
        ("python_version >= '3.9'", {"python_version": "3.12"}),
        ("os_name == 'posix' and python_full_version < '4'", {"os_name": "posix"}),
        ("python_full_version >= '3.12.4'", {"python_full_version": "3.12.7"}),
        ("implementation_version >= '3.12.4'", {"implementation_version": "3.12.7"}),
        ("sys_platform == 'win32' or python_full_version > '3'", {}),
    ],
)
def test_markers_that_were_consulted(project: Keyed, marker: str, recorded: dict[str, str]) -> None:
    """Variables that the lock mentions are recorded; the patch release only where a marker turns on it."""
    project.given(*_with_marker(marker))
    found = _component(project, "markers", target="cp3.12.7-manylinux_2_28_x86_64")
    assert found == {"sys_platform": "linux", **recorded}


def test_a_patch_release_that_matters_is_asked_for(project: Keyed) -> None:
    """A short target has no key where a marker turns within its patch releases; two sides of the turn have two."""
    project.given(*_with_marker("python_full_version >= '3.12.4'"))
    with pytest.raises(IdentityUnknown):
        project.key()
    keys = [project.key("env", f"cp3.12.{patch}-manylinux_2_28_x86_64") for patch in (3, 4)]
    assert len({*keys}) == 2


FACTS = '[tool.envid.layers.mine]\ncomponents = ["facts", "salt"]\n[tool.envid.layers.mine.facts]\n'


def _fact(project: Keyed, fact: str) -> Any:
    project.given(envid=FACTS + f"x = {fact}")
    return _component(project, "facts", "mine")["x"]


def test_facts(project: Keyed) -> None:
    """A fact is text, the digest of a file of the project, or what a command prints, trimmed or digested when long."""
    assert _fact(project, '"text"') == {"value": "text"}
    assert _fact(project, '{ value = "text" }') == {"value": "text"}
    assert _fact(project, '{ command = ["echo", " 26.2 "] }') == {"command": "26.2"}
    assert _fact(project, f'{{ command = ["echo", "{"x" * 300}"] }}')["command"].startswith("blake3:")
    (project.root / "file").write_bytes(b"1")
    one = _fact(project, '{ file = "file" }')
    (project.root / "file").write_bytes(b"2")
    assert _fact(project, '{ file = "file" }') != one


WRONG_FACTS: dict[str, tuple[str, type[EnvidError]]] = {
    "a number": ("1", ConfigError),
    "two sources": ('{ value = "x", file = "y" }', ConfigError),
    "an unknown source": ('{ url = "x" }', ConfigError),
    "an empty command": ("{ command = [] }", ConfigError),
    "a command that is text": ('{ command = "echo x" }', ConfigError),
    "no such file": ('{ file = "nothing" }', IdentityUnknown),
    "a file outside": ('{ file = "../outside" }', UnsafePath),
    "an absolute file": ('{ file = "/etc/hostname" }', UnsafePath),
    "a link that leads outside": ('{ file = "link" }', UnsafePath),
    "a command that fails": ('{ command = ["false"] }', IdentityUnknown),
    "a command that is not there": ('{ command = ["no-such-program-here"] }', IdentityUnknown),
}


@pytest.mark.parametrize("what", WRONG_FACTS)
def test_facts_that_cannot_be_told(project: Keyed, what: str) -> None:
    """A fact that is malformed, missing, outside the project or fails is an error, never a placeholder."""
    (project.root.parent / "outside").write_bytes(b"x")
    (project.root / "link").symlink_to(project.root.parent / "outside")
    fact, error = WRONG_FACTS[what]
    with pytest.raises(error):
        _fact(project, fact)


def test_adapters_need_a_backend(project: Keyed) -> None:
    """Without a configured backend the layer of adapters has no key; with one that is not installed neither."""
    with pytest.raises(ConfigError, match="backend"):
        project.key("adapters")
    project.given(envid='[tool.envid.adapters]\nbackend = "nobody"')
    with pytest.raises(BackendNotFound, match="nobody"):
        project.key("adapters")


def test_a_backend_enters_by_its_code(project: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a backend is of its package directory, found without importing it; options are part of it."""
    site = tmp_path / "site"
    code = site / "toy_backend" / "inner"
    code.mkdir(parents=True)
    (site / "toy_backend" / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    (code / "__init__.py").write_text("", encoding="utf-8")
    (code / "gen.py").write_text("x = 1\n", encoding="utf-8")
    info = site / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[envid.backends]\ntoy = toy_backend.inner.gen:Backend\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    project.given(envid='[tool.envid.adapters]\nbackend = "toy"\n[tool.envid.adapters.options]\ndeep = true')
    assert _component(project, "generator", "adapters") == {
        "backend": "toy", "code": tree_digest(str(code), package="x"), "options": {"deep": True}, "protocol": 1,
    }  # fmt: skip
    before = project.key("adapters")
    (code / "gen.py").write_text("x = 2\n", encoding="utf-8")
    assert project.key("adapters") != before


def _pipe(top: Path) -> None:
    os.mkfifo(top / "pipe")


def _socket(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        # The path of a socket is short on some systems.
        here = Path.cwd()
        os.chdir(top)
        try:
            opened.bind("s")
        finally:
            os.chdir(here)


def _undecodable(top: Path) -> None:
    (Path(os.fsdecode(os.fsencode(top) + b"/\xff"))).write_bytes(b"")


def _alike(top: Path) -> None:
    (top / "\u00e9").write_bytes(b"")
    (top / "e\u0301").write_bytes(b"")


TREES: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe,
    "a socket": _socket,
    "a name that is not UTF-8": _undecodable,
    "two names that are equal in normal form": _alike,
    "nothing": lambda top: top.rmdir(),
}


@pytest.mark.parametrize("what", TREES)
def test_trees_that_have_no_digest(tmp_path: Path, what: str) -> None:
    """A tree with something that is no file, or a name that other hosts cannot have, is an error; nothing hangs."""
    top = tmp_path / "tree"
    top.mkdir()
    TREES[what](top)
    with pytest.raises(IdentityUnknown):
        tree_digest(str(top), package="x")


def test_a_tree_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limits of files and bytes the error says what to do instead."""
    for number in range(4):
        (tmp_path / str(number)).write_bytes(b"x" * 10)
    monkeypatch.setattr("envid.app.sources.MAX_FILES", 3)
    with pytest.raises(IdentityUnknown, match="more than"):
        tree_digest(str(tmp_path), package="x")
    monkeypatch.setattr("envid.app.sources.MAX_FILES", 30)
    monkeypatch.setattr("envid.app.sources.MAX_BYTES", 35)
    with pytest.raises(IdentityUnknown, match="more than"):
        tree_digest(str(tmp_path), package="x")
    monkeypatch.setattr("envid.app.sources.MAX_BYTES", 5)
    with pytest.raises(IdentityUnknown, match="too large"):
        tree_digest(str(tmp_path), package="x")


def test_an_uncovered_target_names_the_nearest(project: Keyed) -> None:
    """A target outside the lock's environments is refused with the declared targets that are most like it."""
    head = "environments = [\"python_version == '3.12' and sys_platform == 'linux' and platform_machine == 'x86_64'\"]"
    project.given(envid=f'targets = ["{TARGET}", "cp313-win_amd64"]', head=head)
    with pytest.raises(TargetNotCovered) as caught:
        project.key("wheels", "cp311-manylinux_2_28_x86_64")
    named = f"the nearest declared targets are {TARGET}, cp313-win_amd64"
    assert caught.value.hint == f"{named}: name one with --target, or an environment with --venv"
    assert select_for(project.workspace, "default", TARGET)[1].name == TARGET


def test_nearest_prefers_what_differs_least() -> None:
    """The same OS and architecture come before the same Python on another system."""
    declared = tuple(
        map(parse_target, ("cp312-win_amd64", "cp313-manylinux_2_28_x86_64", "cp312-manylinux_2_28_aarch64"))
    )
    assert nearest(parse_target(TARGET), declared) == (
        "cp313-manylinux_2_28_x86_64", "cp312-manylinux_2_28_aarch64", "cp312-win_amd64",
    )  # fmt: skip


def test_an_unknown_layer_names_the_nearest(project: Keyed) -> None:
    """`--layer` with an unknown name is a usage error with a suggestion."""
    with pytest.raises(UsageError) as caught:
        project.key("wheel")
    assert "`wheels`" in caught.value.hint


def test_measuring_names_its_component(project: Keyed) -> None:
    """Every component of the layer is measured, and no other: `wheels` asks neither compiler nor interpreter."""
    found = project.identified("wheels", FOREIGN)
    assert set(found.identity.components) == {"markers", "selection", "distributions", "salt"}
    assert set(measuring.MEASURES) > measuring.REPEATABLE
