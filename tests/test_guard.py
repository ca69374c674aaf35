"""Who works on a thing holds its guard; waits are bounded and name the holder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from envid.errors import GuardTimeout, WriteFailed
from envid.guard import hold


def test_the_guard_is_exclusive_and_names_its_holder(tmp_path: Path) -> None:
    """A second holder waits no longer than its bound and is told which process holds the guard."""
    path = tmp_path / "guard"
    held, done = threading.Event(), threading.Event()

    def work() -> None:
        with hold(path):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=work)
    holder.start()
    try:
        assert held.wait(30)
        with pytest.raises(GuardTimeout, match=str(os.getpid())), hold(path, timeout=0.0):
            pytest.fail("the guard was not exclusive")
    finally:
        done.set()
        holder.join()
    with hold(path, timeout=0.0):
        assert path.exists()


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_a_new_guard_has_its_mode(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, others who may hold the guard can open its file."""
    before = os.umask(umask)
    try:
        with hold(tmp_path / "guard", mode=0o660):
            assert (tmp_path / "guard").stat().st_mode & 0o777 == 0o660
    finally:
        os.umask(before)


def test_who_holds_it_alone_may_unlink_it(tmp_path: Path) -> None:
    """A waiter whose file lost its name meanwhile takes the one that has it, so that two never hold it at once."""
    path = tmp_path / "guard"
    order: list[str] = []
    with hold(path):
        waiter = threading.Thread(target=lambda: _enter(path, order))
        waiter.start()
        path.unlink()
        with hold(path, timeout=30.0):
            order.append("second file")
    waiter.join(30)
    assert sorted(order) == ["second file", "waiter"]


def _enter(path: Path, order: list[str]) -> None:
    with hold(path, timeout=30.0):
        order.append("waiter")


def test_a_guard_that_is_a_second_name_is_held_and_not_written(tmp_path: Path) -> None:
    """A guard file that is linked to somebody's file works as a guard and leaves its bytes."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    (tmp_path / "guard").hardlink_to(mine)
    with hold(tmp_path / "guard", purpose="test"), pytest.raises(GuardTimeout), hold(tmp_path / "guard", timeout=0.0):
        pass
    assert mine.read_bytes() == b"mine"


def test_a_pipe_as_a_guard_is_held_and_not_waited_for(tmp_path: Path) -> None:
    """A named pipe in the place of a guard hangs nobody: it is held, and who waits for it gets a timeout."""
    os.mkfifo(tmp_path / "guard")
    with hold(tmp_path / "guard", purpose="test"), pytest.raises(GuardTimeout), hold(tmp_path / "guard", timeout=0.0):
        pass


def test_an_empty_directory_in_the_place_of_a_guard_goes(tmp_path: Path) -> None:
    """It is removed; one with anything in it stays, and is an error that names it."""
    (tmp_path / "guard").mkdir()
    with hold(tmp_path / "guard", purpose="test"):
        assert (tmp_path / "guard").is_file()
    (tmp_path / "full" / "inside").mkdir(parents=True)
    with pytest.raises(WriteFailed, match="full"), hold(tmp_path / "full"):
        pass
