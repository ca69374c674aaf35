"""What CI systems are told reaches them unaltered, or is refused: read back by the systems' own parsers or models."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envid.errors import NotExportable
from envid.surface.commands.key import _HELP
from envid.surface.exporters import SYSTEMS, azure, buildkite, circleci, docker, dotenv, github, gitlab, variable

NAMES = ("key", "restore-keys", "path", "identity")
HOSTILE = (
    "", " ", "a b", "a\nb", "a\r\nENVID_KEY=x", "$(touch planted)", "`touch planted`", "$HOME", "${HOME}", "'", '"',
    "'; touch planted; '", "a'\"'\"'b", "\\", "\\n", "%0A", "%", "%AZP25", "##vso[task.setvariable variable=PATH]/evil",
    "x\n##vso[task.complete result=Succeeded;]", "::set-output name=key::evil", "x\nkey<<EOF\nevil\nEOF", "a;b", "a]b",
    "EOF", "ghadelimiter", "-e", "--build-arg", "~", "~root", "*", "#x", "!x", "a=b", "\x00", "\udcff", "\x1b[2J",
    "caf\u00e9", "\u2028", "\x85", "\t", "{a,b}", "&& touch planted", "| touch planted", "<(touch planted)",
)  # fmt: skip
VALUES = st.one_of(st.sampled_from(HOSTILE), st.text(), st.lists(st.sampled_from(HOSTILE)).map("".join))
OUTPUTS = st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1)


def told(values: Mapping[str, str]) -> dict[str, str]:
    """Return ``values`` under the names of their variables."""
    return {variable(name): value for name, value in values.items()}


def read_github(text: str) -> dict[str, str]:
    """Read GITHUB_OUTPUT the way the runner does: line by line, at LF or CRLF, a block ends at its own delimiter."""
    found = {}
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        if not line:
            continue
        name, _, delimiter = line.partition("<<")
        assert delimiter, line
        block: list[str] = []
        for inner in lines:
            if inner == delimiter:
                break
            block.append(inner)
        found[name] = "\n".join(block)
    return found


def read_gitlab(text: str) -> dict[str, str]:
    """Read a dotenv report as GitLab's parser does: each line up to the first ``=``, white space at the ends taken off.

    What it reads is expanded where it is used, so that a ``$`` is not allowed to arrive.
    """
    found = {}
    for line in text.split("\n")[:-1]:
        read = re.fullmatch(r"(.*?)=(.*)", line)
        assert read
        assert "$" not in line
        found[read[1].strip()] = read[2].strip()
    return found


def read_azure(text: str) -> dict[str, str]:
    """Read a log as the agent does: one command a line, properties up to ``]``, then data with its escapes undone."""
    found = {}
    for line in text.splitlines():
        command = re.search(r"##vso\[task\.setvariable variable=([^;\]]*)\](.*)", line)
        assert command, line
        data = command[2].replace("%0D", "\r").replace("%0A", "\n").replace("%AZP25", "%")
        found[command[1]] = data
    return found


def sourced(shell: str, text: str, place: Path) -> dict[str, str]:
    """Return the variables that a real shell exports after it read ``text``, in an empty directory."""
    place.mkdir(exist_ok=True)
    file = place / "variables"
    file.write_bytes(text.encode("utf-8"))
    done = subprocess.run(
        [shell, "-c", "set -a; . ./variables; exec env -0"], cwd=place, env={"PATH": "/usr/bin:/bin"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert [path.name for path in place.iterdir()] == ["variables"]
    assert done.stderr == b""
    pairs = [pair.partition(b"=") for pair in done.stdout.split(b"\0") if pair]
    return {name.decode(): value.decode() for name, _, value in pairs if name.startswith(b"ENVID_")}


def bad(value: str) -> bool:
    """Return whether no system can be told ``value``: a variable ends at NUL, and text is Unicode."""
    return "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)


@given(OUTPUTS)
@example({"key": "x\nkey<<EOF\nevil\nEOF"})
def test_github_reads_what_was_meant(values: dict[str, str]) -> None:
    """Whatever a value holds, the runner reads back exactly the outputs that were meant, or envid refuses."""
    if any(bad(value) or "\r" in value for value in values.values()):
        with pytest.raises(NotExportable):
            github(values)
    else:
        assert read_github(github(values)) == values


def test_no_delimiter_can_be_foreseen() -> None:
    """The delimiter of a block is random, so that no value can have been written to end it."""
    assert len({github({"key": "x"}) for _ in range(100)}) == 100


@given(OUTPUTS)
@example({"key": "envid1-venv-linux-x86_64-cp312-0", "path": "sub/.venv"})
def test_gitlab_reads_what_was_meant(values: dict[str, str]) -> None:
    """A dotenv report is read back as it was meant, or refused: more lines, spaces at the ends, and `$`."""
    try:
        text = gitlab(values)
    except NotExportable:
        assert any(bad(v) or v != v.strip() or "$" in v or not v.isprintable() for v in values.values())
    else:
        assert read_gitlab(text) == told(values)


@given(OUTPUTS)
def test_azure_reads_what_was_meant(values: dict[str, str]) -> None:
    """No value adds a command of its own to the log, or ends its own; line feeds and percent signs come back."""
    try:
        text = azure(values)
    except NotExportable:
        assert any(not re.sub(r"[\r\n\t]", "", v).isprintable() for v in values.values())
    else:
        assert text.count("\n") == len(values)
        assert read_azure(text) == told(values)


@given(OUTPUTS)
def test_buildkite_reads_what_was_meant(values: dict[str, str]) -> None:
    """The agent's JSON holds the values as they are, in one line of ASCII."""
    if any(bad(value) for value in values.values()):
        with pytest.raises(NotExportable):
            buildkite(values)
    else:
        assert json.loads(buildkite(values)) == told(values)
        assert buildkite(values).isascii()


@given(OUTPUTS)
def test_docker_reads_what_was_meant(values: dict[str, str]) -> None:
    """A shell splits the arguments into one option and one NAME=VALUE each, whatever the value holds."""
    if any(bad(value) for value in values.values()):
        with pytest.raises(NotExportable):
            docker(values)
    else:
        words = shlex.split(docker(values))
        assert words[0::2] == ["--build-arg"] * len(values)
        assert words[1::2] == [f"{name}={value}" for name, value in told(values).items()]


def test_a_key_needs_no_quotes_in_a_substitution(tmp_path: Path) -> None:
    """`docker build $(envid key --docker)` gives two words, because a substitution's quotes are not read."""
    text = docker({"key": "envid1-venv-linux-x86_64-cp312-00ff"})
    (tmp_path / "said").write_text(text)
    done = subprocess.run(
        ["bash", "-c", "printf '%s\\n' $(cat said)"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["--build-arg", "ENVID_KEY=envid1-venv-linux-x86_64-cp312-00ff"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(OUTPUTS)
@example({"key": "$(touch planted)", "path": "'; touch planted; '", "identity": "`touch planted`"})
def test_a_real_bash_reads_what_was_meant(tmp_path: Path, values: dict[str, str]) -> None:
    """Bash, given $BASH_ENV or a dotenv file, exports each value byte for byte and runs nothing."""
    for render in (circleci, dotenv):
        if any(bad(value) for value in values.values()):
            with pytest.raises(NotExportable):
                render(values)
        else:
            assert sourced("bash", render(values), tmp_path / "empty") == told(values)


@pytest.mark.parametrize("value", [value for value in HOSTILE if not bad(value)], ids=ascii)
def test_any_posix_shell_reads_what_was_meant(value: str, tmp_path: Path) -> None:
    """The form is that of POSIX, not of bash: `sh` reads the same."""
    assert sourced("sh", dotenv({"path": value}), tmp_path / "empty") == {"ENVID_PATH": value}


@example("\u017f")
@given(st.text(min_size=1).filter(lambda name: not re.fullmatch(r"[A-Za-z0-9_-]+", name)))
def test_no_name_can_inject(name: str) -> None:
    """A name that is none is refused by every system."""
    for system in SYSTEMS.values():
        with pytest.raises(NotExportable):
            system.render({name: "x"})


def test_every_system_has_an_option() -> None:
    """The options of the command are those of the table, each with its help."""
    assert list(_HELP) == list(SYSTEMS)


def test_no_system_is_told_more_than_it_can_hold() -> None:
    """The identity document goes only where no limit of some kilobytes stands in its way."""
    assert {name for name, system in SYSTEMS.items() if "identity" in system.takes} == {"github", "dotenv"}
