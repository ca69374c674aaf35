"""The files for GitHub are what GitHub's published schemas allow, and docs/ci.md says what envid does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from action_runner import load
from envid.surface.cli import COMMANDS
from envid.surface.exporters import SYSTEMS
from envid.surface.options import parse
from envid.values.finding import CODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / "docs" / "examples").glob("*.yml"))


def holds(schema: str, path: Path) -> bool:
    """Return whether check-jsonschema, with the schemas that it carries, accepts the file."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or "error" in done.stdout.lower(), done.stderr
    return done.returncode == 0


def test_the_action_is_valid(tmp_path: Path) -> None:
    """action.yml holds to the published schema of actions, and the schema notices a step without a shell."""
    assert holds("vendor.github-actions", ROOT / "action.yml")
    broken = tmp_path / "action.yml"
    broken.write_text((ROOT / "action.yml").read_text().replace("shell: bash", "shall: bash"))
    assert not holds("vendor.github-actions", broken)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_are_valid(path: Path, tmp_path: Path) -> None:
    """The example workflows hold to the published schema, and the schema notices a job without a runner."""
    assert holds("vendor.github-workflows", path)
    broken = tmp_path / "workflow.yml"
    broken.write_text(path.read_text().replace("runs-on:", "run-on:"))
    assert not holds("vendor.github-workflows", broken)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_use_inputs_that_there_are(path: Path) -> None:
    """What the examples give the action, the action takes; they grant no more than reading the repository."""
    workflow = load(path)
    declared = load(ROOT / "action.yml")["inputs"]
    used = [step for job in workflow["jobs"].values() for step in job["steps"] if "OWNER/envid" in step.get("uses", "")]
    assert used
    for step in used:
        assert step.get("with", {}).keys() <= declared.keys()
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["on"]) == {"push", "pull_request"}


def test_every_system_has_its_section() -> None:
    """The page has a snippet for each system, and names the variable that names its file."""
    for name, system in SYSTEMS.items():
        assert f"envid key --{name}" in PAGE or f"--{name}" in PAGE, name
        if system.file:
            assert f"`${system.file}`" in PAGE


def test_the_inputs_and_outputs_of_the_action_are_described() -> None:
    """The table of inputs is that of action.yml, with its defaults; so is the list of outputs."""
    manifest = load(ROOT / "action.yml")
    section = PAGE.partition("### Inputs\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*?)\|", section, re.MULTILINE)
    wanted = [
        (name, f"`{given['default']}`" if given.get("default") else "") for name, given in manifest["inputs"].items()
    ]
    assert [(name, default.strip()) for name, default in rows] == wanted
    outputs = PAGE.partition("### Outputs\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", outputs, re.MULTILINE) == list(manifest["outputs"])


BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the words of every envid command in a script, its variables as they stand."""
    found = re.findall(r"(?:^|[\s(|&])(envid (?:[\w-]+)[^|&;>)\n]*)", text)
    return [shlex.split(line)[1:] for line in found]


def test_every_command_on_the_page_is_one() -> None:
    """Each envid command in a snippet, in the example workflows and in scripts/action has options that there are."""
    texts = [text for _, text in BLOCKS]
    texts += [path.read_text(encoding="utf-8") for path in (*WORKFLOWS, ROOT / "scripts" / "action")]
    found = []
    for line in (line for text in texts for line in commands(re.sub(r"(?m)^\s*#.*$", "", text))):
        # An array of a shell script stands for options that others give, or for none.
        words = [word for word in line if not word.startswith("${")]
        options = parse([*words, *(["true"] if words[0] == "run" and "--" not in words else [])], COMMANDS)
        found.append(options.command)
    assert {"key", "restore", "sync", "verify", "cache"} <= set(found)
    assert len(found) > 25


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_every_snippet_is_yaml(text: str) -> None:
    """The snippets are lists of steps, or whole jobs."""
    assert isinstance(YAML(typ="safe").load(text), (list, dict))


def test_every_finding_of_restore_is_described() -> None:
    """The page has a row for each finding of `envid restore check`."""
    rows = re.findall(r"^\| `(restore\.[a-z]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(code for code in CODES if code.startswith("restore."))
