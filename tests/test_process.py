"""Programs run in a chosen environment and never outlive our interest in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from envid import process
from envid.errors import EngineFailed, InterpreterNotFound

PYTHON = sys.executable


def test_a_child_sees_only_what_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the caller is not in the child's environment unless it is named, by name or prefix."""
    monkeypatch.setenv("SECRET_TOKEN", "s")
    monkeypatch.setenv("UV_INDEX_A_PASSWORD", "p")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    assert "SECRET_TOKEN" not in process.environment()
    assert process.environment(passed=["SECRET_TOKEN"])["SECRET_TOKEN"] == "s"
    assert process.environment(passed=["UV_INDEX_*"])["UV_INDEX_A_PASSWORD"] == "p"
    assert process.environment()["LC_ALL"] == "C.UTF-8"
    assert process.environment(extra={"A": "1"})["A"] == "1"


def test_streams_status_and_input_come_through() -> None:
    """The status is returned, not judged; output that is not UTF-8 is replaced, not raised."""
    code = "from sys import *; stdout.buffer.write(stdin.buffer.read() + b'\\xff'); stderr.write('e'); exit(3)"
    done = process.run([PYTHON, "-c", code], env=process.environment(), stdin="in")
    assert (done.status, done.stdout, done.stderr) == (3, "in\ufffd", "e")


def test_a_program_that_is_not_there_is_named() -> None:
    """Starting nothing is an error that names it."""
    with pytest.raises(InterpreterNotFound, match="no-such-program"):
        process.run(["/no-such-program"], env={})


def test_a_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    """When time is up the child's own children are gone as well."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(pid)!r}, 'w').write(str(c.pid)); c.wait()"
    )
    with pytest.raises(EngineFailed, match="did not finish"):
        process.run([PYTHON, "-c", code], env=process.environment(), timeout=2.0)
    grandchild = int(pid.read_text())
    status = Path(f"/proc/{grandchild}/stat")
    if not status.parent.parent.joinpath("self").exists():
        pytest.skip("no /proc here")
    state = status.read_text().rpartition(")")[2].split()[0] if status.exists() else "gone"
    assert state in {"gone", "Z", "X"}, os.strerror(0)
