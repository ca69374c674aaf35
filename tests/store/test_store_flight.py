"""Single flight: one makes it, the others wait for a bounded time and are told for whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from envid.slot import narrow
from envid.store import filesystem
from envid.store.cache import get, keep
from envid.store.filesystem import Filesystem
from envid.store.flight import Flight, guard_path, single
from envid.store.place import Place, Policy, open_place

SLOT = narrow("run", {"command": "make"})
NO_FLOOR = Policy(min_free=0)

HOLDER = """
import sys
from envid.slot import narrow
from envid.store.flight import single
from envid.store.place import Policy, open_place
place = open_place(sys.argv[1], Policy(min_free=0))
with single(place, narrow("run", {"command": "make"}), wait=10.0, purpose="make the thing") as flight:
    print(flight.alone, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path / "cache", NO_FLOOR)


def holder(place: Place) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDER, place.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "True\n"
    return started


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_alone_at_once(place: Place) -> None:
    """Who comes first need not wait, and leaves no guard file behind."""
    with single(place, SLOT, wait=0.0, purpose="test") as flight:
        assert flight == Flight(alone=True, waited=False)
        assert Path(guard_path(place, SLOT)).exists()
    assert not Path(guard_path(place, SLOT)).exists()


def test_another_slot_is_not_waited_for(place: Place) -> None:
    """Two slots are two flights."""
    other = narrow("run", {"command": "other"})
    with single(place, SLOT, wait=0.0, purpose="one"), single(place, other, wait=0.0, purpose="two") as flight:
        assert flight.alone


def test_a_wait_ends_and_names_the_holder(place: Place) -> None:
    """Who waits longer than the bound goes on, not alone, and is told which process does what."""
    process = holder(place)
    try:
        before = time.monotonic()
        with single(place, SLOT, wait=0.3, purpose="test") as flight:
            assert 0.2 < time.monotonic() - before < 20
            assert not flight.alone
            assert flight.waited
            assert str(process.pid) in flight.note
            assert "make the thing" in flight.note
    finally:
        end(process)
    assert ("run", "wait-expired", 1) in list(place.tally)


def test_a_stopped_holder_is_called_stopped(place: Place) -> None:
    """A holder that was stopped is waited for no longer than any, and is said to be stopped."""
    process = holder(place)
    try:
        process.send_signal(signal.SIGSTOP)
        for _ in range(500):
            if Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                break
            time.sleep(0.01)
        with single(place, SLOT, wait=0.05, purpose="test") as flight:
            assert "stopped" in flight.note
    finally:
        process.send_signal(signal.SIGCONT)
        end(process)


def test_a_dead_holder_holds_nothing(place: Place) -> None:
    """Killed in the middle, a holder leaves a file that is nobody's: the next is alone at once."""
    process = holder(place)
    end(process)
    assert Path(guard_path(place, SLOT)).exists()
    with single(place, SLOT, wait=0.0, purpose="test") as flight:
        assert flight.alone


def test_a_recycled_number_is_not_the_holder(place: Place) -> None:
    """A guard file that names a living process of the same number is nobody's when nobody holds it."""
    path = Path(guard_path(place, SLOT))
    path.parent.mkdir(parents=True)
    path.write_text(f"{os.getpid()} 1 {os.uname().nodename} an older one\n")
    with single(place, SLOT, wait=0.0, purpose="test") as flight:
        assert flight.alone


def test_of_many_one_makes_it(place: Place) -> None:
    """Thirty-two callers who look again after waiting make the thing once."""
    made, gate = [], threading.Barrier(32)

    def work() -> None:
        gate.wait(30)
        with single(place, SLOT, wait=30.0, purpose="test") as flight:
            assert flight.alone
            if not isinstance(get(place, SLOT), bytes):
                made.append(1)
                time.sleep(0.02)
                keep(place, SLOT, b"made")

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1


def test_an_error_inside_passes_through(place: Place) -> None:
    """What the block raises is raised, and the guard is let go."""
    with pytest.raises(ZeroDivisionError), single(place, SLOT, wait=0.0, purpose="test"):
        raise ZeroDivisionError
    with single(place, SLOT, wait=0.0, purpose="test") as flight:
        assert flight.alone


def test_a_network_filesystem_is_not_relied_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other hosts write, too, there is no waiting, and the note says why."""
    monkeypatch.setattr(filesystem, "of", lambda _: Filesystem(kind="nfs4", network=True))
    with single(place, SLOT, wait=60.0, purpose="test") as flight:
        assert not flight.alone
        assert not flight.waited
        assert "nfs4" in flight.note
    assert not Path(place.area("guards-v1")).exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "unwritable", "untrusted"])
def test_without_a_guard_it_goes_on(place: Place, tmp_path: Path, kind: str) -> None:
    """Whatever stands in the guard's place, the block runs, and nothing is written through it."""
    path, victim = Path(guard_path(place, SLOT)), tmp_path / "victim"
    victim.write_text("precious")
    opened = place
    if kind == "unwritable":
        Path(place.root).write_bytes(b"")
    else:
        path.parent.mkdir(parents=True)
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "untrusted":
        Path(place.root).chmod(0o777)
        opened = open_place(place.root, NO_FLOOR)
    with single(opened, SLOT, wait=0.2, purpose="test") as flight:
        # A pipe can be locked as well as a file, and an empty directory is cleared away.
        works = kind in ("pipe", "directory")
        assert (flight.alone, not flight.note) == (works, works)
    assert victim.read_text() == "precious"
