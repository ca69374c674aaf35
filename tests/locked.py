"""A project whose lock is written by hand from small wheels, so that no resolver is needed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envid.app.workspace import Workspace, open_workspace
from wheels import make_wheel, sha256_of


@dataclass(kw_only=True)
class LockedProject:
    """``root`` is the project, ``served`` the folder its wheels come from, ``cache`` envid's cache."""

    root: Path
    served: Path
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    """More of ``[tool.envid]``, and tables behind it."""

    def wheel(self, name: str, version: str = "1.0", **parts: object) -> Path:
        """Make a wheel in ``served``; ``parts`` as for ``make_wheel``."""
        return make_wheel(self.served, name, version, **parts)  # type: ignore[arg-type]

    def lock(self, *files: Path, link: Callable[[Path], str] | None = None, extra: str = "") -> None:
        """Write pyproject.toml and a lock of ``files``; ``link`` gives the ``url = ...`` or ``path = ...`` of each."""
        names = [file.name.split("-")[0] for file in files]
        requirements = ", ".join(f'"{name}"' for name in names)
        (self.root / "pyproject.toml").write_text(
            f'[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{requirements}]\n'
            f"[tool.envid]\n{self.settings}\n"
        )
        text = 'lock-version = "1.0"\ncreated-by = "envid"\n'
        for file in sorted(files):
            name, version = file.name.split("-")[:2]
            where = link(file) if link is not None else f'path = "wheelhouse/{file.name}"'
            entry = f'{{ {where}, size = {file.stat().st_size}, hashes = {{ sha256 = "{sha256_of(file)}" }} }}'
            kind = f"wheels = [{entry}]" if file.suffix == ".whl" else f"sdist = {entry}"
            version = version.removesuffix(".tar.gz")
            text += f'\n[[packages]]\nname = "{name}"\nversion = "{version}"\n{kind}\n'
        path = self.root / "lockfiles" / "pylock.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + extra)

    def workspace(
        self, given: Mapping[str, str] | None = None, *, offline: bool = False, **variables: str
    ) -> Workspace:
        """Open the project, with only the variables given (and those of the project), as the caller's."""
        opened = open_workspace(str(self.root), offline=offline)
        basis = {"HOME": str(self.root / "home"), "UV_FIND_LINKS": str(self.served), **self.variables}
        return Workspace(
            root=opened.root, pyproject=opened.pyproject, intent=opened.intent, cache=self.cache, offline=offline,
            variables={**basis, **(given or {}), **variables},
        )  # fmt: skip


def picture(root: Path, *, without: Iterable[str] = ()) -> Mapping[str, tuple[int, str]]:
    """Return everything below ``root``: path to mode and digest (or link target); empty when there is nothing."""
    found: dict[str, tuple[int, str]] = {}
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(folder, name)
            shown = path.relative_to(root).as_posix()
            if shown in without:
                continue
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[shown] = (mode, os.readlink(path))
            elif stat.S_ISDIR(mode):
                found[shown] = (mode, "directory")
            else:
                found[shown] = (mode, hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest())
    return found
