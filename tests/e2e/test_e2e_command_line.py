"""The command line itself: usage, help, JSON errors, broken pipes, Ctrl-C, no home, odd places."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from envid import __version__
from envid.surface.cli import COMMANDS
from envid.surface.options import build, children
from envid.surface.session import VERBS
from projects import BIN, Project

EMPTY = '[project]\nname = "demo"\nversion = "1.0"\nrequires-python = ">=3.11"\n'


def test_version_and_help(project: Project) -> None:
    """--version, --help and each command's --help print on stdout and exit 0."""
    assert project.ok("--version").stdout.strip() == f"envid {__version__}"
    overview = project.ok("--help").stdout
    for command in COMMANDS:
        assert command in overview
        assert f"envid {command}" in project.ok(command, "--help").stdout


def test_the_module_is_the_same_program(project: Project) -> None:
    """`python -m envid` answers as `envid` does."""
    done = subprocess.run([sys.executable, "-m", "envid", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == project.ok("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nope",),
        ("key", "--nope"),
        ("key", "--layer"),
        ("lock", "--check", "--upgrade"),
        ("verify", "--quick", "--full"),
    ],
    ids=lambda arguments: " ".join(arguments) or "none",
)
def test_a_wrong_command_line_is_exit_2_with_a_hint(project: Project, arguments: tuple[str, ...]) -> None:
    """Usage errors have exit status 2, the slug `usage`, and are a JSON document when that is asked for."""
    project.given(EMPTY)
    done = project.run(*arguments)
    assert done.status == 2
    assert "[usage]" in done.stderr
    assert done.stdout == ""
    assert project.run(*arguments, "--json").json["error"]["slug"] == "usage"


@pytest.mark.parametrize("command", ["lock", "sync", "verify", "key", "identity", "matrix", "doctor"])
def test_outside_a_project_is_a_named_error(project: Project, command: str) -> None:
    """Without a pyproject.toml in sight the error says so and what to do."""
    done = project.run(command)
    assert done.status == 3
    assert "[config.no-project]" in done.stderr
    assert "hint:" in done.stderr


def test_the_nearest_project_is_found_from_below(project: Project) -> None:
    """A command run in a subdirectory means the project above it; --project means the one named."""
    project.given(EMPTY)
    below = project.root / "a" / "b"
    below.mkdir(parents=True)
    variables = {**os.environ, "ENVID_CACHE_DIR": str(project.cache)}
    for arguments, cwd in ((("key",), below), (("key", "--project", str(project.root)), Path("/"))):
        done = subprocess.run(
            [str(BIN / "envid"), *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 4
        assert "lock.not-found" in done.stderr


def test_an_unknown_key_names_file_line_and_neighbour(project: Project) -> None:
    """A misspelled key in [tool.envid] is exit 3 with the line and the nearest key."""
    done = project.given(f"{EMPTY}[tool.envid]\ntarget = []\n").run("lock", "--check")
    assert done.status == 3
    assert "pyproject.toml:6" in done.stderr
    assert "`targets`" in done.stderr


def test_a_reader_that_goes_away_is_no_traceback(project: Project) -> None:
    """`envid --help | head -0` neither hangs nor complains."""
    project.given(EMPTY)
    child = subprocess.Popen(
        [str(BIN / "envid"), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project.root
    )
    assert child.stdout
    assert child.stderr
    child.stdout.close()
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()
    child.wait()


def test_the_schema_names_the_command_whatever_the_options_say(project: Project) -> None:
    """`--project DIR` before the verb does not become the command of the JSON document, whatever DIR is called."""
    assert project.run("--project", "/nowhere", "--json", "verify").json["schema"] == "envid/verify/1"
    assert project.run("--project", "lock", "--json", "key").json["schema"] == "envid/key/1"


def test_a_document_of_no_command_has_one_schema(project: Project) -> None:
    """What names no command, or no verb of it, is `envid/usage/1`; verbs, and --version, have their own."""
    for words in (("nope",), (), ("cache",), ("cache", "nope"), ("restore", "mend"), ("--nope",), ("nope", "key")):
        assert project.run(*words, "--json").json["schema"] == "envid/usage/1", words
    assert project.run("restore", "check", "--nope", "--json").json["schema"] == "envid/restore-check/1"
    for words in (("--json", "--version"), ("--version", "--json")):
        document = project.ok(*words).json
        assert (document["schema"], document["data"]) == ("envid/version/1", {"version": __version__})


def test_every_verb_has_a_schema() -> None:
    """The table of verbs is that of the commands."""
    parser = build(COMMANDS)
    commands = children(parser)
    found = {name: frozenset(children(one)) for name, one in commands.items()}
    assert {name: verbs for name, verbs in found.items() if verbs} == VERBS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kye",), "did you mean `key`? see `envid --help`"), (("cache", "stat"), "`stats`? see `envid cache --help`"),
        (("key", "--layr", "env"), "`--layer`? see `envid key --help`"), (("key", "--layer"), "see `envid key --help`"),
        (("cache", "gc", "--max-sise=1"), "`--max-size`? see `envid cache gc --help`"),
        (("cache", "gc", "--max-size", "x"), "see `envid cache gc --help`"), (("key", "zzz"), "see `envid key --help`"),
    ],
)  # fmt: skip
def test_a_mistake_names_what_was_meant_and_its_own_help(project: Project, words: tuple[str, ...], said: str) -> None:
    """The nearest command, verb or option is named, and the help is that of the command, not envid's."""
    done = project.given(EMPTY).run(*words)
    assert (done.status, said in done.stderr) == (2, True), done.stderr
    assert "choose from" not in done.stderr


def test_an_answer_that_nobody_can_read_is_no_success(project: Project) -> None:
    """With stdout closed, a command that answers there exits 7, and says why on stderr."""
    project.given(EMPTY)
    for words in ("cache stats", "--json cache stats"):
        line = f"{BIN / 'envid'} {words} >&-"
        done = subprocess.run(["sh", "-c", line], cwd=project.root, capture_output=True, check=False)
        assert (done.returncode, b"standard output is closed" in done.stderr) == (7, True)


def test_closed_streams_change_no_status(project: Project) -> None:
    """With stdout and stderr closed the exit status of a failure is what it would be, and there is no crash."""
    project.given(EMPTY)
    for redirected, status in ((">&-", 1), ("2>&-", 1), (">&- 2>&-", 1)):
        line = f"{BIN / 'envid'} lock --check {redirected}"
        done = subprocess.run(["sh", "-c", line], cwd=project.root, capture_output=True, check=False)
        assert done.returncode == status
        assert b"Traceback" not in done.stderr


def test_ctrl_c_is_130_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    """An interrupted lock exits 130 without a traceback, and no lock and no temporary file is left."""
    project.given(EMPTY.replace('">=3.11"', '">=3.11"\ndependencies = ["six"]'))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/simple"
    caches = {"ENVID_CACHE_DIR": str(project.cache), "UV_CACHE_DIR": str(tmp_path / "uv")}
    variables = {**os.environ, **caches, "UV_DEFAULT_INDEX": url}
    child = subprocess.Popen(
        [str(BIN / "envid"), "lock"], cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=variables,
    )  # fmt: skip
    # The engine has connected: it waits for an answer that never comes.
    connection, _ = listener.accept()
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    connection.close()
    listener.close()
    assert child.returncode == 130
    assert "Traceback" not in stderr
    assert not project.lock.exists()
    assert sorted(path.name for path in project.root.iterdir() if path.name != "lockfiles") == ["pyproject.toml"]


@pytest.mark.parametrize("cache", ["file", "missing-parent"])
def test_a_cache_that_cannot_be_used_costs_no_answer(project: Project, tmp_path: Path, cache: str) -> None:
    """With a file where the cache directory should be, or none possible, a verdict is still given."""
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    where = blocked if cache == "file" else blocked / "below"
    done = project.given(EMPTY).run("lock", "--check", env={"ENVID_CACHE_DIR": str(where)})
    assert done.status == 1
    assert "lock.missing" in done.stdout


def test_doctor_names_what_is_wrong(project: Project) -> None:
    """doctor reports a missing lock, a moved environment and a dangerous link mode, each with a fix."""
    project.given(EMPTY)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(project.root / "old")], check=True)
    (project.root / "old").rename(project.root / ".venv")
    done = project.run("doctor", "--json", env={"UV_LINK_MODE": "hardlink"})
    codes = {item["code"]: item for item in done.json["findings"]}
    assert {"doctor.locks", "doctor.environment", "doctor.links"} <= set(codes)
    assert all(item["hint"] for item in codes.values())
    assert done.status == 1


def test_doctor_is_content_with_a_good_project(project: Project) -> None:
    """Where nothing is wrong doctor exits 0 and says what it looked at."""
    project.given(EMPTY).ok("lock")
    done = project.ok("doctor")
    assert done.stdout.startswith("ok ")
    assert "error" not in done.stdout


@pytest.mark.parametrize("what", ["pipe", "directory"])
def test_what_is_no_file_in_the_locks_place_holds_nobody_up(project: Project, what: str) -> None:
    """A named pipe or a directory where the lock should be is an error of the lock at once, and stays."""
    project.given(EMPTY).root.joinpath("lockfiles").mkdir()
    os.mkfifo(project.lock) if what == "pipe" else project.lock.mkdir()
    shown = "lockfiles/pylock.toml"
    said = f"{shown} is not a file" if what == "pipe" else f"cannot read {shown}: Is a directory"
    for command in (("key",), ("lock",), ("lock", "--check"), ("verify",), ("sync",), ("matrix",), ("vendor", "out")):
        done = project.run(*command)
        assert done.status == 4, command
        assert done.stderr.startswith(f"error: {said} [lock.unreadable]\nhint: "), command
    assert project.lock.exists()
