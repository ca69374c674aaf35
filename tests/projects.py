"""A real project for the real command: `.given()`, `.run()`, look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished command."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The envelope on stdout."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def codes(self) -> set[str]:
        """Codes of the findings in the envelope that are errors."""
        return {item["code"] for item in self.json["findings"] if item["severity"] == "error"}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project directory of its own, with a cache of its own."""

    root: Path
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)

    def given(self, pyproject: str) -> Project:
        """Write pyproject.toml."""
        (self.root / "pyproject.toml").write_text(pyproject, encoding="utf-8")
        return self

    def run(self, *arguments: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Done:
        """Run ``envid`` with ``arguments`` in the project."""
        variables = {**os.environ, "ENVID_CACHE_DIR": str(self.cache), "NO_COLOR": "1", **self.variables, **(env or {})}
        done = subprocess.run(
            [*prefix, str(BIN / "envid"), *arguments],
            cwd=self.root, env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def ok(self, *arguments: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Done:
        """Run ``envid`` and require exit 0."""
        done = self.run(*arguments, env=env, prefix=prefix)
        assert done.status == 0, f"{arguments}: {done.status}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def lock(self) -> Path:
        """The default lock."""
        return self.root / "lockfiles" / "pylock.toml"

    @property
    def site(self) -> Path:
        """site-packages of .venv."""
        return next((self.root / ".venv" / "lib").glob("python3*")) / "site-packages"


def host_targets() -> str:
    """TOML strings of targets that this host fits, and one that it does not."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f'"{tag}-manylinux_2_28_{os.uname().machine}", "cp312-macosx_14_0_arm64"'
