"""Projects with a lock that names made-up wheels, for tests of keys: nothing is ever downloaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envid.app.keys import Identified, identify_for
from envid.app.workspace import Workspace, open_workspace

TARGET = "cp312-manylinux_2_28_x86_64"


def sha(number: int) -> str:
    """Return a digest that is plainly made up."""
    return f"{number:064x}"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One entry of a lock, and how it is spelled."""

    name: str
    version: str | None = "1.0"
    marker: str | None = None
    wheels: tuple[tuple[str, int], ...] = ()
    """File name and number of the digest."""
    sdist: tuple[str, int] | None = None
    directory: str | None = None
    extra: str = ""
    base: str = "https://index.example/simple"
    size: int = 100

    @property
    def text(self) -> str:
        """The entry as TOML."""
        lines = ["[[packages]]", f'name = "{self.name}"']
        if self.version is not None:
            lines.append(f'version = "{self.version}"')
        if self.marker is not None:
            lines.append(f"marker = '''{self.marker}'''")
        if self.directory is not None:
            lines.append(f'directory = {{ path = "{self.directory}" }}')
        if self.sdist is not None:
            lines.append(f"sdist = {self._file(*self.sdist)}")
        if self.wheels:
            lines.append(f"wheels = [{', '.join(self._file(*wheel) for wheel in self.wheels)}]")
        return "\n".join([*lines, self.extra, ""])

    def _file(self, name: str, number: int) -> str:
        return f'{{ url = "{self.base}/{name}", size = {self.size}, hashes = {{ sha256 = "{sha(number)}" }} }}'


ORDINARY: tuple[Package, ...] = (
    Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),)),
    Package(
        name="numpy", version="2.1.0",
        wheels=(
            ("numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl", 10),
            ("numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl", 11),
            ("numpy-2.1.0-cp313-cp313-manylinux_2_17_x86_64.whl", 12),
            ("numpy-2.1.0-cp312-cp312-manylinux_2_17_aarch64.whl", 13),
            ("numpy-2.1.0-cp312-cp312-macosx_11_0_arm64.whl", 14),
            ("numpy-2.1.0-cp312-cp312-win_amd64.whl", 15),
        ),
    ),
    Package(
        name="colorama", version="0.4.6", marker="sys_platform == 'win32'",
        wheels=(("colorama-0.4.6-py2.py3-none-any.whl", 20),),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """A project directory with its cache."""

    root: Path
    cache: Path
    extra: dict[str, str] = field(default_factory=dict)

    def given(
        self,
        *packages: Package,
        envid: str = "",
        project: str = 'name = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["idna"]',
        head: str = "",
        tail: str = "",
        name: str = "default",
    ) -> Keyed:
        """Write pyproject.toml and the lock ``name`` of ``packages``."""
        self.root.mkdir(exist_ok=True)
        (self.root / "pyproject.toml").write_text(f"[project]\n{project}\n[tool.envid]\n{envid}\n", encoding="utf-8")
        entries = "\n".join(package.text for package in packages or ORDINARY)
        text = f'lock-version = "1.0"\ncreated-by = "envid"\n{head}\n{entries}\n{tail}'
        self.lock_file(name).parent.mkdir(exist_ok=True)
        self.lock_file(name).write_text(text, encoding="utf-8")
        return self

    def lock_file(self, name: str = "default") -> Path:
        """Return the path of the lock ``name``."""
        return self.root / "lockfiles" / ("pylock.toml" if name == "default" else f"pylock.{name}.toml")

    @property
    def workspace(self) -> Workspace:
        """The project opened, with a cache of its own and no variables of the caller."""
        opened = open_workspace(str(self.root))
        return Workspace(
            root=opened.root, pyproject=opened.pyproject, intent=opened.intent, variables={}, cache=self.cache
        )

    def identified(self, layer: str = "env", target: str | None = TARGET, **more: Any) -> Identified:
        """Return the identity of ``layer`` for ``target``."""
        return identify_for(self.workspace, layer=layer, target=target, **more)

    def key(self, layer: str = "env", target: str | None = TARGET, **more: Any) -> str:
        """Return the key of ``layer`` for ``target``."""
        return self.identified(layer, target, **more).key


def keyed(place: Path) -> Keyed:
    """Return an empty project below ``place``."""
    return Keyed(root=place / "project", cache=place / "cache")
