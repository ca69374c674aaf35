"""`envid run` beside, after and inside of other runs of the project: one at a time writes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from commands import Commands
from projects import BIN

ENVID = str(BIN / "envid")
HELD = 'touch "$LOG.begun"; until test -e "$LOG.go"; do :; done'


class Runs:
    """A project, and the real command in it."""

    def __init__(self, commands: Commands, log: Path) -> None:
        self.commands = commands
        self.log = log
        self.root = commands.root

    def start(
        self, script: str, *options: str, out: str, reads: str = "src", **variables: str
    ) -> subprocess.Popen[str]:
        """Start ``envid run`` of a shell script and do not wait."""
        env = {
            **os.environ,
            "ENVID_CACHE_DIR": str(self.commands.cache),
            "LOG": str(self.log),
            "ENVID": ENVID,
            **variables,
        }
        line = [ENVID, "run", "--json", "--layer", "plain", *options]
        line += [
            "--env-pass",
            "LOG",
            "--env-pass",
            "ENVID",
            "--env-pass",
            "ENVID_CACHE_DIR",
            "--in",
            reads,
            "--out",
            out,
        ]
        return subprocess.Popen(
            [*line, "--", "sh", "-c", script], cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script: str, *options: str, out: str, reads: str = "src", **variables: str) -> tuple[str, str]:
        """Run it to its end; return outcome and reason."""
        return self.end(self.start(script, *options, out=out, reads=reads, **variables))

    def end(self, child: subprocess.Popen[str]) -> tuple[str, str]:
        """Wait for the end of a run; return outcome and reason."""
        out, err = child.communicate(timeout=60)
        assert "Traceback" not in err, err
        data = json.loads(out)["data"]
        return data["outcome"], data["reason"]

    def begun(self, child: subprocess.Popen[str]) -> None:
        """Wait until the command of ``child`` says that it has begun."""
        while not Path(f"{self.log}.begun").exists():
            assert child.poll() is None
            time.sleep(0.01)

    def go(self) -> None:
        """Let it end."""
        Path(f"{self.log}.go").touch()


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A project with two inputs, a cache of its own, and a file outside in which commands log."""
    return Runs(Commands(root=tmp_path / "project", cache=tmp_path / "cache").given(), tmp_path / "log")


def test_runs_with_different_caches_do_not_overlap(runs: Runs, tmp_path: Path) -> None:
    """Two runs that make one output with caches of their own go one after the other, and each keeps its own bytes."""
    first = runs.start(f"{HELD}; echo first > out", "--env", "KIND", out="out", KIND="first")
    runs.begun(first)
    other = {"KIND": "second", "ENVID_CACHE_DIR": str(tmp_path / "other")}
    late = runs.start("echo second > out", "--env", "KIND", "--wait", "0.2", out="out", **other)
    out, err = late.communicate(timeout=60)
    said = out + err
    assert late.returncode == 7 and f"is held by process {first.pid}" in said and "making out: envid run sh" in said
    second = runs.start("echo second > out", "--env", "KIND", out="out", **other)
    runs.go()
    assert runs.end(first) == ("ran", "absent")
    assert runs.end(second) == ("ran", "absent")
    assert (runs.root / "out").read_text() == "second\n"
    assert runs.run(f"{HELD}; echo first > out", "--env", "KIND", out="out", KIND="first") == ("hit", "hit")
    assert (runs.root / "out").read_text() == "first\n"


def test_a_run_that_needs_nothing_laid_does_not_wait(runs: Runs) -> None:
    """While another run has the turn, one whose outputs are in place is a hit at once; one that must lay waits."""
    assert runs.run("echo x > done", out="done") == ("ran", "absent")
    held = runs.start(f"{HELD}; echo y > out", out="out")
    runs.begun(held)
    assert runs.run("echo x > done", "--explain", "--wait", "0", out="done") == ("hit", "hit")
    runs.go()
    assert runs.end(held) == ("ran", "absent")


def test_a_run_inside_of_a_command_ends(runs: Runs) -> None:
    """A command that calls `envid run` for a part of its own output does not wait for itself, and both are kept."""
    inner = '"$ENVID" run --layer plain --in src --out gen/part -- sh -c "cat src/a.txt > gen/part"'
    assert runs.run(f"{inner} && echo y > gen/rest", "--wait", "20", out="gen/") == ("ran", "absent")
    assert (runs.root / "gen/part").read_text() == "alpha\n"
    assert not list(runs.root.rglob(".*envid-*"))


def test_what_a_run_inside_of_a_command_makes_elsewhere_is_the_outers(runs: Runs) -> None:
    """Outputs of an inner run that are not the outer's count as written outside: the outer is not kept."""
    inner = '"$ENVID" run --layer plain --in src --out elsewhere -- sh -c "cat src/a.txt > elsewhere"'
    assert runs.run(f"{inner} && echo y > out", "--wait", "20", out="out") == ("unkept", "wrote-outside")
    assert (runs.root / "elsewhere").read_text() == "alpha\n"


def test_an_input_that_was_another_while_waiting_is_measured_again(runs: Runs) -> None:
    """An input that another run changes while this one waits for its turn is read as it is when the command starts."""
    held = runs.start(f"{HELD}; echo changed > made", out="made", reads="src")
    runs.begun(held)
    waiting = runs.start("cat src/* > out", out="out")
    # It comes to the guard in less than that; a waiter shows nothing that could be waited for.
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=3)
    runs.commands.write("src/a.txt", "gamma\n")
    runs.go()
    assert runs.end(held)[0] == "unkept"
    assert runs.end(waiting) == ("ran", "absent")
    runs.commands.write("src/a.txt", "alpha\n")
    assert runs.run("cat src/* > out", out="out") == ("ran", "absent")
    assert (runs.root / "out").read_text() == "alpha\nbeta\n"
