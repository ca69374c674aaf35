"""A small runner of composite actions: expressions, conditions, outputs, a real bash, and a modelled cache service.

What it takes of GitHub's rules: a step's ``env`` and ``with`` are expanded, its script is not read for anything but the
shell; scripts run as ``bash --noprofile --norc -eo pipefail FILE`` in the workspace with an environment of the runner's
own; outputs come from a file; directories told in another are on the PATH of later steps; a failed step ends the job.
Archives are real: paths below the workspace, packed and unpacked by ``tar``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from github_cache import Service, is_hit, version

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w.-]*)|(?P<mark>==|!=|&&|\|\||!|\(|\)))")

Outputs = dict[str, str]


class StepFailed(Exception):
    """A step exited with another status than 0."""


def load(path: Path) -> dict[str, Any]:
    """Return a YAML file."""
    loaded: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return loaded


def evaluate(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression of GitHub's language as text, ``true`` and ``false`` for what is compared."""
    tokens = []
    at = 0
    while at < len(expression.rstrip()):
        found = TOKEN.match(expression, at)
        assert found, expression[at:]
        tokens.append(found)
        at = found.end()
    value, rest = _either(tokens, values)
    assert not rest, expression
    return value


def _either(tokens: list[re.Match[str]], values: Mapping[str, str]) -> tuple[str, list[re.Match[str]]]:
    value, tokens = _both(tokens, values)
    while tokens and tokens[0]["mark"] == "||":
        other, tokens = _both(tokens[1:], values)
        value = value if _true(value) else other
    return value, tokens


def _both(tokens: list[re.Match[str]], values: Mapping[str, str]) -> tuple[str, list[re.Match[str]]]:
    value, tokens = _compared(tokens, values)
    while tokens and tokens[0]["mark"] == "&&":
        other, tokens = _compared(tokens[1:], values)
        value = other if _true(value) else value
    return value, tokens


def _compared(tokens: list[re.Match[str]], values: Mapping[str, str]) -> tuple[str, list[re.Match[str]]]:
    value, tokens = _one(tokens, values)
    while tokens and tokens[0]["mark"] in ("==", "!="):
        wanted = tokens[0]["mark"] == "=="
        other, tokens = _one(tokens[1:], values)
        # GitHub compares text without regard to case.
        value = str((value.lower() == other.lower()) is wanted).lower()
    return value, tokens


def _one(tokens: list[re.Match[str]], values: Mapping[str, str]) -> tuple[str, list[re.Match[str]]]:
    first, rest = tokens[0], tokens[1:]
    if first["mark"] == "!":
        value, rest = _one(rest, values)
        return str(not _true(value)).lower(), rest
    if first["mark"] == "(":
        value, rest = _either(rest, values)
        assert rest[0]["mark"] == ")"
        return value, rest[1:]
    if first["text"] is not None:
        return first["text"][1:-1].replace("''", "'"), rest
    name = first["name"]
    assert name in values or name.startswith("steps."), f"{name} is not known"
    return values.get(name, ""), rest


def _true(value: str) -> bool:
    return value not in ("", "false", "0")


def expand(text: object, values: Mapping[str, str]) -> str:
    """Return ``text`` with every expression in it replaced by its value."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: evaluate(found[1].strip(), values), str(text), flags=re.DOTALL)


@dataclass(kw_only=True)
class Runner:
    """One machine after another with the same paths, and the cache of one repository."""

    workspace: Path
    temp: Path
    home: Path
    path: str
    variables: dict[str, str] = field(default_factory=dict)
    service: Service[bytes] = field(default_factory=Service)
    scope: str = "refs/heads/main"
    now: float = 0.0
    unpacked: Callable[[Path], None] = lambda _: None
    """What happens to an archive on its way to the disk."""
    told: dict[str, str] = field(default_factory=dict)
    """Instead of what the cache says it matched."""
    replaced: dict[str, Callable[[Runner], None]] = field(default_factory=dict)
    """Steps that are done by something else than their script."""
    log: list[str] = field(default_factory=list)
    """The steps that ran, in order, with the cache's answers."""
    said: str = ""
    """What the scripts printed."""

    def fresh(self) -> None:
        """Give the next job a machine on which nothing was done: an empty home and temporary directory."""
        for place in (self.temp, self.home):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        self.log = []
        self.said = ""

    def run(self, action: Path, inputs: Mapping[str, str]) -> Outputs:
        """Run the composite action in the directory ``action`` and return its outputs; raise StepFailed."""
        self.now += 60.0
        manifest = load(action / "action.yml")
        assert inputs.keys() <= manifest["inputs"].keys()
        values = {f"inputs.{name}": str(given.get("default", "")) for name, given in manifest["inputs"].items()}
        values |= {f"inputs.{name}": value for name, value in inputs.items()}
        values["github.action_path"] = str(action)
        path = self.path
        for step in manifest["runs"]["steps"]:
            if "if" in step and not _true(evaluate(step["if"], values)):
                continue
            self.log.append(step["id"])
            outputs, more = self._step(step, values, path)
            path = os.pathsep.join([*more, path])
            values |= {f"steps.{step['id']}.outputs.{name}": value for name, value in outputs.items()}
        return {name: expand(given["value"], values) for name, given in manifest["outputs"].items()}

    def _step(self, step: Mapping[str, Any], values: Mapping[str, str], path: str) -> tuple[Outputs, list[str]]:
        if "uses" in step:
            given = {name: expand(text, values) for name, text in step["with"].items()}
            uses = step["uses"].partition("@")[0]
            return (self._restore(given) if uses == "actions/cache/restore" else self._save(given, uses)), []
        if step["id"] in self.replaced:
            self.replaced[step["id"]](self)
            return {}, []
        assert step["shell"] == "bash"
        files = {name: self.temp / f"{step['id']}-{name}" for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_ENV")}
        for file in files.values():
            file.write_text("")
        script = self.temp / f"{step['id']}.sh"
        script.write_text(step["run"], encoding="utf-8")
        variables = {
            "PATH": path, "HOME": str(self.home), "RUNNER_TEMP": str(self.temp), "RUNNER_OS": "Linux", "CI": "true",
            "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.workspace), **self.variables,
            **{name: str(file) for name, file in files.items()},
            **{name: expand(text, values) for name, text in step.get("env", {}).items()},
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self.workspace, env=variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False,
        )  # fmt: skip
        self.said += done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        if done.returncode:
            raise StepFailed(f"{step['id']}: {done.returncode}\n{done.stdout}")
        assert files["GITHUB_ENV"].read_text() == ""
        return read_outputs(files["GITHUB_OUTPUT"].read_text()), files["GITHUB_PATH"].read_text().split("\n")[:-1]

    def _restore(self, given: Mapping[str, str]) -> Outputs:
        keys = [given["key"], *given["restore-keys"].split("\n")]
        paths = given["path"].split("\n")
        asked = [key for key in keys if key]
        found = self.service.restore(asked, version(paths), scope=self.scope, now=self.now)
        if found is None:
            return {"cache-hit": "", "cache-matched-key": "", **self.told}
        subprocess.run(["tar", "-xPf", "-", "-C", str(self.workspace)], input=found.payload, check=True)
        self.unpacked(self.workspace)
        self.log.append(f"restored {found.key}")
        hit = str(is_hit(given["key"], found.key)).lower()
        return {"cache-hit": hit, "cache-matched-key": found.key, **self.told}

    def _save(self, given: Mapping[str, str], uses: str) -> Outputs:
        assert uses == "actions/cache/save"
        paths = [path for path in given["path"].split("\n") if path]
        done = subprocess.run(
            ["tar", "-cPf", "-", "-C", str(self.workspace), "--", *paths], capture_output=True, check=True
        )
        kept = self.service.save(
            given["key"], version(given["path"].split("\n")), done.stdout, scope=self.scope, size=len(done.stdout),
            now=self.now,
        )  # fmt: skip
        self.log.append(f"saved {given['key']}" if kept else "not saved")
        return {}


def read_outputs(text: str) -> Outputs:
    """Return what a step told: ``name=value`` lines and blocks with a delimiter."""
    found = {}
    lines = iter(text.split("\n"))
    for line in lines:
        name, mark, value = re.split(r"(<<|=)", line, maxsplit=1) if line else ("", "", "")
        if mark == "=":
            found[name] = value
        elif mark:
            block: list[str] = []
            for inner in lines:
                if inner == value:
                    break
                block.append(inner)
            found[name] = "\n".join(block)
    return found
