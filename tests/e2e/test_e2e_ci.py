"""`envid key` for CI systems, and `envid restore`, from the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from action_runner import read_outputs
from envid.store.seal import NAME
from envid.surface.exporters import SYSTEMS
from keyed import Package, keyed
from projects import Project

IDNA = Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),))


@pytest.fixture
def locked(tmp_path: Path) -> Project:
    """A locked project with a layer of its own and a tree, and no file of any CI system."""
    made = keyed(tmp_path).given(IDNA, envid='[tool.envid.layers.gen]\ncomponents = ["distributions"]')
    (made.root / "gen").mkdir()
    (made.root / "gen" / "a").write_text("a")
    files = {system.file: "" for system in SYSTEMS.values() if system.file}
    return Project(root=made.root, cache=tmp_path / "cache", variables=files)


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_is_told_the_same_key(system: str, locked: Project, tmp_path: Path) -> None:
    """Every system gets the key; where it names a file, that is appended to and the key printed, else it is said."""
    plain = locked.ok("key", "--layer", "wheels", "--json")
    digest = next(iter(plain.json["data"]["keys"]["wheels"].values()))[-64:]
    printed = locked.ok("key", "--layer", "wheels", f"--{system}")
    assert digest in printed.stdout
    file = SYSTEMS[system].file
    assert ("is not set: printed instead" in printed.stderr) is (file is not None)
    if file is not None:
        place = tmp_path / "file"
        place.write_text("before\n")
        told = locked.ok("key", "--layer", "wheels", f"--{system}", env={file: str(place)})
        assert told.stdout.strip().endswith(digest)
        assert told.stdout.startswith("envid1-wheels-")
        assert place.read_text().startswith("before\n")
        assert digest in place.read_text()


def test_only_one_system_at_a_time(locked: Project) -> None:
    """Two systems are a usage error."""
    assert locked.run("key", "--github", "--gitlab").status == 2


def test_a_file_that_cannot_be_written_is_an_error(locked: Project, tmp_path: Path) -> None:
    """The next step would miss the key: exit 7, and nothing on stdout that looks like one."""
    done = locked.run("key", "--github", env={"GITHUB_OUTPUT": str(tmp_path)})
    assert (done.status, done.stdout) == (7, "")


def test_docker_takes_the_words(locked: Project) -> None:
    """The shell makes the option and the argument of it."""
    words = shlex.split(locked.ok("key", "--layer", "env", "--docker").stdout)
    assert words[0] == "--build-arg"
    assert words[1].startswith("ENVID_KEY=envid1-env-")
    assert len(words) == 2


def test_what_is_told_can_be_sourced(locked: Project) -> None:
    """A shell that sources $BASH_ENV, as CircleCI's do, has the key."""
    place = locked.root / "bash env"
    key = locked.ok("key", "--circleci", env={"BASH_ENV": str(place)}).stdout.strip()
    done = subprocess.run(
        ["bash", "-c", 'printf %s "$ENVID_KEY $ENVID_PATH"'], env={"BASH_ENV": str(place), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{key} .venv"


def test_seal_and_check_from_the_command_line(locked: Project, tmp_path: Path) -> None:
    """Options and trees in any order; the outputs reach GitHub; --json has findings; --strict is exit 1."""
    output = tmp_path / "output"
    sealed = locked.ok("restore", "seal", "--layer", "gen", "gen", env={"GITHUB_OUTPUT": str(output)})
    key = read_outputs(output.read_text())["key"]
    assert sealed.stdout.splitlines()[-1] == key
    assert (locked.root / "gen" / NAME).exists()
    good = locked.ok("restore", "check", "gen", "--layer=gen", f"--matched={key}", "--json")
    assert good.json["data"]["restored"] is True
    output.write_text("")
    bad = locked.ok(
        "restore",
        "check",
        "--json",
        "--layer",
        "gen",
        "--matched",
        key.upper(),
        "gen",
        env={"GITHUB_OUTPUT": str(output)},
    )
    assert read_outputs(output.read_text()) == {"restored": "false", "reason": "key"}
    assert [(one["code"], one["severity"]) for one in bad.json["findings"]] == [("restore.key", "warning")]
    assert not (locked.root / "gen").exists()
    strict = locked.run("restore", "check", "--layer", "gen", "--matched", "", "--strict", "gen")
    assert strict.status == 1
    assert "restore.miss" in strict.stdout


def test_a_torn_tree_and_a_mistyped_layer_are_told_in_words(locked: Project) -> None:
    """Equal counts with other contents are told as such; entries are counted in words; a layer that is none by name."""
    for path in (locked.root / "gen").iterdir():
        path.unlink() if path.name != "a" else path.write_text("one")
    assert "sealed gen: 1 entry, 3 B" in locked.ok("restore", "seal", "--layer", "gen", "gen").stdout
    (locked.root / "gen" / "a").write_text("two")
    assert "contents differ" in locked.ok("restore", "check", "--layer", "gen", "gen").stdout
    for words in (("check", "--layer", "gne"), ("seal", "--layer", "gne", "gen")):
        done = locked.run("restore", *words)
        assert (done.status, "the nearest is `gen`" in done.stderr) == (2, True)


MISTAKES = {
    "restore": 2, "restore mend": 2, "restore seal --matched x": 2, "restore check": 0, "restore check gen": 2,
    "restore check --layer gen": 2, "restore check --layer nope gen": 2, "restore check --layer gen /": 5,
    "restore check --layer gen a*": 2, "restore seal --layer gen gen/[a]": 2,
    "restore seal": 8, "restore seal --layer gen nowhere": 8, "restore check --layer gen --venv": 2,
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_have_their_exit_status(line: str, locked: Project) -> None:
    """A missing verb, unknown layers and paths that are not envid's to remove are told apart, without a traceback."""
    done = locked.run(*line.split())
    assert done.status == MISTAKES[line], done.stderr
    again = locked.run(*line.split(), "--json")
    assert json.loads(again.stdout)["exit_code"] == MISTAKES[line]
    assert (locked.root / "gen" / "a").exists()
