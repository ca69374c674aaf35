"""What all tests start from: signals as a terminal gives them, and an empty project."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import Project, host_targets

# Under `nohup`, and in the background of a script, signals are ignored, and every child inherits that: tests that
# send one would wait for what never comes.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    root = tmp_path / "project"
    root.mkdir()
    return Project(root=root, cache=tmp_path / "cache")


@pytest.fixture
def small() -> Callable[..., str]:
    """A pyproject of a few small real distributions; keyword arguments change its parts."""

    def make(dependencies: str = '"requests>=2.30", "attrs"', lock: str = "", extra: str = "") -> str:
        return (
            '[project]\nname = "demo"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
            f"dependencies = [{dependencies}]\n{extra}\n"
            f"[tool.envid]\ntargets = [{host_targets()}]\n[tool.envid.lock]\n{lock}\n"
        )

    return make
