"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from projects import Project, host_targets


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
