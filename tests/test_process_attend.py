"""A user's own command: its streams, its status, its group, and what it holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envid.atomic import lead
from envid.errors import CommandNotStarted, WriteFailed
from envid.guard import hold, is_held
from envid.process import attend

SHELL = "/bin/sh"


def shell(script: str, cwd: Path, **more: object) -> int:
    """Run a script and return its status."""
    return attend(["sh", "-c", script], program=SHELL, env={"PATH": "/usr/bin:/bin"}, cwd=str(cwd), **more)  # type: ignore[arg-type]


def is_there(pid: int) -> bool:
    """Return whether a process works under this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_status_is_as_a_shell_has_it(tmp_path: Path) -> None:
    """An exit status is itself, a signal 128 and its number."""
    assert shell("exit 0", tmp_path) == 0
    assert shell("exit 77", tmp_path) == 77
    assert shell("kill -KILL $$", tmp_path) == 137


def test_streams_and_surroundings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Output goes where ours does or to the descriptor given, input is empty, the umask usual, the group its own."""
    previous = os.umask(0o077)
    try:
        assert shell("echo out; echo err >&2; cat; touch made; ps -o pgid= -p $$ > group; echo $$ > pid", tmp_path) == 0
        assert capfd.readouterr() == ("out\n", "err\n")
        assert shell("echo out", tmp_path, stdout=2) == 0
        assert capfd.readouterr() == ("", "out\n")
    finally:
        os.umask(previous)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644
    assert int((tmp_path / "group").read_text()) == int((tmp_path / "pid").read_text())


@pytest.mark.parametrize(("trap", "said"), [("trap 'echo INT > said; exit 3' INT", "INT"),
                                            ("trap '' INT; trap 'echo TERM > said; exit 3' TERM", "TERM")])  # fmt: skip
def test_an_interrupt_reaches_it_as_one(tmp_path: Path, trap: str, said: str) -> None:
    """A command is interrupted, so that its own clean-up runs, and asked to end only where it ignores that."""
    code = (
        "import sys; from envid.process import attend\n"
        f"attend(['sh', '-c', {f'{trap}; touch begun; while :; do :; done'!r}], program='/bin/sh', env={{}}, cwd='.')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (tmp_path / "begun").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) != 0
    assert (tmp_path / "said").read_text() == f"{said}\n"


def test_what_it_leaves_running_is_ended(tmp_path: Path) -> None:
    """A process of its group that a command left behind is gone when it returns."""
    assert shell("sleep 1000 & echo $! > pid", tmp_path) == 0
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if not is_there(pid):
            return
        time.sleep(0.01)
    pytest.fail("it is there still")


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    """A file that is no program, and one that is gone, are errors that name the command."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    for program in (broken, tmp_path / "gone"):
        with pytest.raises(CommandNotStarted, match="cannot start tool"):
            attend(["tool"], program=str(program), env={}, cwd=str(tmp_path))


def test_a_guard_is_held_by_the_command_as_well(tmp_path: Path) -> None:
    """A command holds the guards that it is given, also while the process that started it is gone."""
    guard = tmp_path / "guard"
    assert not is_held(guard)
    code = (
        "import sys; from envid.guard import hold; from envid.process import attend\n"
        "with hold(sys.argv[1]) as held:\n"
        "    attend(['sh', '-c', 'touch begun; until test -e go; do :; done'], program='/bin/sh', env={'PATH': "
        "'/usr/bin:/bin'}, cwd=sys.argv[2], held=[held.descriptor])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(guard), str(tmp_path)], stdin=subprocess.DEVNULL)
    while not (tmp_path / "begun").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert is_held(guard)
    (tmp_path / "go").touch()
    with hold(guard, timeout=30):
        assert is_held(guard)
    assert not is_held(guard)
    with hold(guard, shared=True):
        assert not is_held(guard)


def test_a_link_leads_elsewhere_in_one_step(tmp_path: Path) -> None:
    """A link is made or led elsewhere, whatever file stood there; where it cannot be, nothing is left."""
    link = tmp_path / "link"
    for target in ("one", "two"):
        lead(str(link), target)
        assert os.readlink(link) == target
    link.unlink()
    link.write_text("file")
    lead(str(link), "three")
    assert os.readlink(link) == "three"
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteFailed):
        lead(str(tmp_path / "folder"), "x")
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
