"""Who works on a thing holds its guard; waits are bounded and name the holder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from envid.errors import GuardTimeout
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
