"""Programs run in a chosen environment and never outlive our interest in them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envid import process
from envid.errors import EngineFailed, GuardTimeout, InterpreterNotFound
from envid.guard import hold

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


KILLED = """
import os, signal, sys
from pathlib import Path
from envid import process
from envid.guard import hold
guard, pid, gate = sys.argv[1:]
# The child says who it is, and ends when somebody opens the other end of the gate.
child = f"echo $$ > {pid}.part; mv {pid}.part {pid}; kill -KILL $PPID; read line < {gate}"
with hold(Path(guard), purpose="test") as held:
    process.run(["sh", "-c", child], env=process.environment(), held=held.descriptor)
"""


def test_a_guard_stays_held_while_the_child_of_a_killed_process_lives(tmp_path: Path) -> None:
    """Who waits for the guard waits for the orphan too, is told so when time is up, and has it when the orphan ends."""
    guard, gate = tmp_path / "guard", tmp_path / "gate"
    os.mkfifo(gate)
    done = subprocess.run([PYTHON, "-c", KILLED, guard, tmp_path / "pid", gate], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    orphan = int((tmp_path / "pid").read_text())
    try:
        with pytest.raises(GuardTimeout, match="a child of process"), hold(guard, timeout=0.0):
            pytest.fail("the guard was free while the orphan lived")
        gate.write_text("end\n")
        with hold(guard, timeout=30.0):
            pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(orphan, signal.SIGKILL)


def test_what_a_child_leaves_running_does_not_keep_the_guard(tmp_path: Path) -> None:
    """A guard is free when its block has ended, though a child left a process behind that has the descriptor."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with hold(tmp_path / "guard") as held:
        line = f"(read line < {gate}) >/dev/null 2>&1 & echo $!"
        done = process.run(["sh", "-c", line], env=process.environment(), held=held.descriptor)
    left = int(done.stdout)
    try:
        os.kill(left, 0)
        with hold(tmp_path / "guard", timeout=0.0):
            pass
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    """Under ``nohup`` a SIGHUP neither interrupts nor ends anything."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.interruptible(), process.uninterrupted():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
