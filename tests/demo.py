"""A project that locks from the loopback index with real uv."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from envid.app.locking import lock
from envid.app.outcome import Outcome
from envid.app.workspace import Workspace, open_workspace

TARGETS = '["cp312-manylinux_2_28_x86_64", "cp311-win_amd64", "cp313-macosx_14_0_arm64"]'


@dataclass
class Demo:
    """A project that locks from the loopback index."""

    root: Path
    url: str
    variables: dict[str, str]

    def write(
        self, dependencies: str = '["alpha"]', *, project: str = "", envid: str = "", lock: str = "", rest: str = ""
    ) -> Demo:
        """Write pyproject.toml."""
        self.root.mkdir(exist_ok=True)
        text = f"""
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.9"
dependencies = {dependencies}
{project}
[tool.envid]
targets = {TARGETS}
{envid}
[tool.envid.lock]
indexes = ["{self.url}"]
{lock}
{rest}
"""
        (self.root / "pyproject.toml").write_text(text)
        return self

    def open(self, *, offline: bool = False) -> Workspace:
        """Open it with the test's own variables and cache."""
        found = open_workspace(str(self.root), offline=offline)
        return replace(found, variables={**found.variables, **self.variables}, cache=self.root.parent / "envid-cache")

    def lock(self, **options: object) -> Outcome:
        """Run the use case."""
        return lock(self.open(), **options)  # type: ignore[arg-type]

    @property
    def path(self) -> Path:
        return self.root / "lockfiles" / "pylock.toml"
