"""The real command, ended from outside when it shows where it is: what is left, and what the next one makes of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from locked import LockedProject
from projects import BIN, Project

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at processes through /proc")

FILES = 1000
"""Of the largest wheel: enough for uv to be at work for some tenths of a second."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A locked project whose wheels are in a folder, with caches and a directory for temporary files of its own."""
    for name in ("project", "served", "temporary"):
        (tmp_path / name).mkdir()
    made = LockedProject(root=tmp_path / "project", served=tmp_path / "served", cache=tmp_path / "cache")
    many = {f"large/part_{number}.py": b"value = 1\n" * (number % 50) for number in range(FILES)}
    made.lock(
        made.wheel("alpha", entry_points="[console_scripts]\nalpha = alpha:main\n"), made.wheel("large", files=many)
    )
    variables = {
        "UV_FIND_LINKS": str(made.served), "UV_NO_INDEX": "1", "UV_CACHE_DIR": str(tmp_path / "uv"),
        "TMPDIR": str(tmp_path / "temporary"),
    }  # fmt: skip
    return Project(root=made.root, cache=made.cache, variables=variables)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started and that are there now."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def installer(pid: int) -> int | None:
    """The uv that installs for ``pid``, if there is one."""
    for child in children(pid):
        with contextlib.suppress(OSError):
            if b"\0pip\0install\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def open_files(pid: int) -> set[str]:
    """The files that a process has open now."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry.path))
    return found


def holds_anything(path: Path) -> bool:
    """Whether ``path`` is a directory with something in it."""
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        return any(True for _ in entries)
    return False


MOMENTS: dict[str, Callable[[Path, int], object]] = {
    "the journal is there": lambda venv, _pid: (venv / ".envid-sync.json").exists(),
    "a child is there": lambda _venv, pid: children(pid),
    "uv installs": lambda _venv, pid: installer(pid),
    "uv unpacks": lambda venv, _pid: holds_anything(venv / ".envid-sync" / "unpacked"),
    "a file is in its place": lambda venv, _pid: any(venv.glob("lib/python*/site-packages/large/part_7.py")),
    "the note is written": lambda venv, _pid: (venv / ".envid.json").exists(),
}


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``envid`` beside the test; it is gone behind the block."""
    variables = {**os.environ, "ENVID_CACHE_DIR": str(project.cache), **project.variables}
    child = subprocess.Popen(
        [str(BIN / "envid"), *arguments], cwd=project.root, env=variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def until(event: Callable[[], object], child: subprocess.Popen[str]) -> bool:
    """Wait for ``event``, or for the end of ``child``; return whether it was the event."""
    while child.poll() is None:
        if event():
            return True
        os.sched_yield()
    return False


def is_whole(project: Project) -> None:
    """The next sync does its work, verify finds nothing, and nothing of a journal or a temporary file is left."""
    project.ok("sync")
    assert "2 distributions verified" in project.ok("verify", "--full").stdout
    assert [name for name in os.listdir(project.root / ".venv") if name.startswith(".envid-sync")] == []


@pytest.mark.slow
@pytest.mark.parametrize("state", ["new", "existing"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_sync_is_refused_and_the_next_one_mends_it(project: Project, moment: str, state: str) -> None:
    """SIGKILL at each moment, with uv going on alone: verify refuses what is left, and the next sync ends well."""
    venv = project.root / ".venv"
    project.ok("lock")
    if state == "existing":
        project.ok("sync")
        (project.site / "large" / "part_7.py").unlink()
        (project.site / "alpha" / "__init__.py").write_bytes(b"tampered")
        (venv / ".envid.json").unlink()
    with started(project, "sync") as child:
        seen = until(lambda: MOMENTS[moment](venv, child.pid), child)
        child.kill()
        child.wait()
        assert seen or moment == "the note is written"
    if (venv / ".envid-sync.json").exists():
        assert project.run("verify").status != 0
    is_whole(project)


def test_the_next_sync_waits_for_what_a_killed_one_left_running(project: Project) -> None:
    """A uv whose envid was killed holds the guard of the environment; the next sync begins when it has ended."""
    project.ok("lock")
    project.ok("sync")
    (project.site / "large" / "part_7.py").unlink()
    with started(project, "sync") as child:
        found: list[int] = []

        def stopped() -> bool:
            pid = installer(child.pid)
            if pid is not None:
                os.kill(pid, signal.SIGSTOP)
                found.append(pid)
            return pid is not None

        assert until(stopped, child)
        child.kill()
        child.wait()
    [orphan] = found
    try:
        guards = {str(path) for path in (project.cache / "guards-v1").iterdir()}
        assert guards & open_files(orphan)
        with started(project, "sync") as second:
            # It has come to the guard, and touches nothing.
            assert until(lambda: guards & open_files(second.pid), second)
            assert (project.root / ".venv" / ".envid-sync.json").exists()
            os.kill(orphan, signal.SIGCONT)
            stdout, stderr = second.communicate(timeout=120)
            assert second.returncode == 0, stderr
            assert "waited for another sync" in stdout + stderr
            assert "undid a sync" in stdout + stderr
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(orphan, signal.SIGKILL)
    is_whole(project)


EARLY = """
import os, sys
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("pyproject.toml"):
        os.kill(os.getpid(), {number})
sys.addaudithook(watch)
from envid.surface.cli import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["sync", "lock", "key", "verify"])
def test_a_signal_at_the_very_start_is_an_interruption(project: Project, command: str, number: signal.Signals) -> None:
    """SIGINT, SIGTERM and SIGHUP while the first file is opened: exit 130, one line on stderr, nothing made."""
    code = EARLY.format(number=int(number), arguments=[command])
    variables = {**os.environ, "ENVID_CACHE_DIR": str(project.cache), **project.variables}
    before = sorted(project.root.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "envid: interrupted\n")
    assert sorted(project.root.rglob("*")) == before


@pytest.mark.parametrize("moment", ["a child is there", "uv unpacks"])
def test_a_terminated_sync_leaves_nothing(project: Project, moment: str, tmp_path: Path) -> None:
    """SIGTERM while uv works: exit 130, no environment, no temporary file, and no uv that lives on."""
    venv = project.root / ".venv"
    with started(project, "sync") as child:
        assert until(lambda: MOMENTS[moment](venv, child.pid), child)
        engines = children(child.pid)
        child.terminate()
        _, stderr = child.communicate(timeout=60)
        assert child.returncode == 130, stderr
    assert stderr.endswith("envid: interrupted\n")
    assert not venv.exists()
    assert os.listdir(tmp_path / "temporary") == []
    assert [pid for pid in engines if Path(f"/proc/{pid}").exists()] == []
