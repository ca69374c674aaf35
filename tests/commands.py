"""A project for commands behind the gate: its lock names made-up wheels, nothing is ever downloaded."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envid.app.outcome import Outcome
from envid.app.running.run import run
from envid.app.running.task import Order
from envid.app.verify import verify
from envid.app.workspace import Workspace, open_workspace

PYPROJECT = (
    '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["idna"]\n[tool.envid]\n'
    '[tool.envid.layers.plain]\ncomponents = ["salt"]\n'
)
ENTRY = """
[[packages]]
name = "idna"
version = "{version}"
[[packages.wheels]]
url = "https://index.example/simple/idna-{version}-py3-none-any.whl"
size = 100
hashes = {{ sha256 = "{sha}" }}
"""


@dataclass(frozen=True, kw_only=True)
class Commands:
    """``root`` is the project, ``cache`` envid's directory."""

    root: Path
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)

    def given(self, *, version: str = "3.10", more: str = "") -> Commands:
        """Write pyproject.toml, the lock, and two inputs."""
        (self.root / "lockfiles").mkdir(parents=True, exist_ok=True)
        (self.root / "src").mkdir(exist_ok=True)
        self.write("pyproject.toml", PYPROJECT + more)
        self.lock(version)
        self.write("src/a.txt", "alpha\n")
        self.write("src/b.txt", "beta\n")
        return self

    def lock(self, version: str) -> None:
        """Write the lock with this version of its one distribution."""
        entry = ENTRY.format(version=version, sha=f"{sum(map(ord, version)):064x}")
        self.write("lockfiles/pylock.toml", f'lock-version = "1.0"\ncreated-by = "envid"\n{entry}')

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
        return full

    @property
    def workspace(self) -> Workspace:
        """The project opened."""
        opened = open_workspace(str(self.root))
        return replace(opened, variables={**os.environ, **self.variables}, cache=self.cache)

    def run(
        self, script: str, *, outputs: tuple[str, ...] = ("out.txt",), inputs: tuple[str, ...] = ("src/*.txt",),
        argv: tuple[str, ...] = (), explain: bool = False, strict: bool = False, **more: Any,
    ) -> Outcome:  # fmt: skip
        """Run the shell script (or ``argv``) behind the gate; there is no environment, unless a layer is named."""
        more.setdefault("layer", "plain")
        order = Order(argv=argv or ("sh", "-c", script), inputs=inputs, outputs=outputs, **more)
        return run(self.workspace, order, verify=verify, explain=explain, strict=strict)

    def outcome(self, script: str, **more: Any) -> tuple[str, str]:
        """Run and return ``outcome`` and ``reason``."""
        data = self.run(script, **more).data
        return str(data["outcome"]), str(data["reason"])

    def copy(self, name: str) -> Commands:
        """Return a copy of the project in a directory beside it, with the same cache."""
        other = self.root.parent / name
        shutil.copytree(self.root, other, symlinks=True)
        return replace(self, root=other)

    def tree(self, *paths: str) -> dict[str, tuple[str, int, bytes]]:
        """Return kind, permission bits and bytes (of a link: its target) of all that is at and below ``paths``."""
        found: dict[str, tuple[str, int, bytes]] = {}
        for path in paths:
            top = self.root / path
            if not os.path.lexists(top):
                continue
            for one in [top, *sorted(top.rglob("*"))]:
                mode = one.lstat().st_mode
                name = one.relative_to(self.root).as_posix()
                if stat.S_ISLNK(mode):
                    found[name] = ("link", 0, os.readlink(one).encode())
                elif stat.S_ISDIR(mode):
                    found[name] = ("directory", stat.S_IMODE(mode), b"")
                elif stat.S_ISREG(mode):
                    found[name] = ("file", stat.S_IMODE(mode), one.read_bytes())
                else:
                    found[name] = ("odd", stat.S_IMODE(mode), b"")
        return found

    def leftovers(self) -> list[str]:
        """Return what envid left of its own in the project."""
        return [path.name for path in self.root.rglob(".*") if "envid-" in path.name or path.name.endswith(".part")]
