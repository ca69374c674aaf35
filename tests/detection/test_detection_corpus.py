"""Every kind of tampering that we could think of is found, on real wheels installed by real uv; nothing else is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envid.app.contents import content_digests
from envid.app.locking import lock
from envid.app.selecting import select_for
from envid.app.verify import verify
from envid.app.workspace import Workspace, open_workspace
from envid.installed import statindex
from envid.installed.check import Depth

sys.path.insert(0, str(Path(__file__).parent))
from tampering import CASES, WHEELS, Case, Env

DEPTHS: tuple[Depth, ...] = ("quick", "default", "full")
pytestmark = [pytest.mark.online, pytest.mark.slow]


Status = tuple[int, int, int, int, int]
"""Mode, size, mtime, ctime and inode: nobody changes a file and keeps its ctime."""


def entries(root: Path) -> dict[str, Status]:
    """Return the metadata of everything below ``root``; of directories the mode and inode alone."""
    found: dict[str, Status] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            one = os.lstat(path)
            whole = (one.st_mode, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino)
            plain = not stat.S_ISDIR(one.st_mode)
            found[os.path.relpath(path, root)] = whole if plain else (one.st_mode, 0, 0, 0, one.st_ino)
    return found


def restore(root: Path, pristine: Path, want: dict[str, Status]) -> dict[str, Status]:
    """Make ``root`` again what ``pristine`` is, touching only what differs; return what it then is."""
    have = entries(root)
    for path in sorted(have, reverse=True):
        # A changed file is taken away first: a hard link that was made to it must not be written through.
        kept = path in want and stat.S_ISDIR(want[path][0]) and stat.S_ISDIR(have[path][0])
        if kept or have[path] == want.get(path):
            continue
        target = root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    for path, (mode, *_) in sorted(want.items()):
        target, source = root / path, pristine / path
        if stat.S_ISDIR(mode):
            target.mkdir(exist_ok=True)
            target.chmod(stat.S_IMODE(mode))
        elif os.path.lexists(target):
            continue
        elif stat.S_ISLNK(mode):
            target.symlink_to(os.readlink(source))
        else:
            shutil.copy2(source, target)
    return entries(root)


class Range:
    """One environment that is tampered with, checked and put back, again and again."""

    def __init__(self, ws: Workspace, env: Env, pristine: Path) -> None:
        self.ws, self.env, self.pristine = ws, env, pristine
        self.want = entries(env.root)

    def codes(self, depth: Depth) -> set[str]:
        """Return the codes of the errors found at ``depth``."""
        outcome = verify(self.ws, venv=str(self.env.root), depth=depth)
        return {finding.code for finding in outcome.findings if finding.severity == "error"}

    def reset(self) -> None:
        """Put everything back."""
        shutil.rmtree(self.env.outside)
        self.env.outside.mkdir()
        self.want = restore(self.env.root, self.pristine, self.want)


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    """Return the environment: locked by envid, installed by uv, imported once."""
    base = tmp_path_factory.mktemp("detection")
    project = base / "project"
    project.mkdir()
    wanted = ", ".join(f'"{wheel}"' for wheel in WHEELS)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{wanted}]\n[tool.envid]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVID_CACHE_DIR", str(base / "cache"))
        # Files of this test are seconds old: without this the index would believe none of them, and prove nothing.
        patch.setattr(statindex, "RACY_NS", 0)
        ws = open_workspace(str(project))
        lock(ws)
        _, _, resolution = select_for(ws, "default", None)
        content_digests(ws, [item.artifact for item in resolution.selected if item.artifact is not None])
        env = base / "env"
        run = [sys.executable, "-m", "uv"]
        subprocess.run([*run, "venv", "-q", "--python", sys.executable, str(env)], check=True)
        subprocess.run(
            [*run, "pip", "sync", "-q", "--link-mode", "copy", "--python", str(env / "bin/python"),
             "--preview-features", "pylock", str(project / "lockfiles/pylock.toml")],
            check=True,
        )  # fmt: skip
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        imports = "import six, click, markupsafe, jmespath, tabulate, greenlet"
        subprocess.run([str(env / "bin/python"), "-c", imports], check=True, env=variables)
        assert any((env / "lib").rglob("six.*.pyc"))
        outside = base / "outside"
        outside.mkdir()
        pristine = base / "pristine"
        shutil.copytree(env, pristine, symlinks=True)
        yield Range(ws, Env(root=env, outside=outside), pristine)


def test_nothing_is_found_where_nothing_was_changed(ranged: Range) -> None:
    """At every depth a fresh install with compiled files from real imports has no finding."""
    depths: tuple[Depth, ...] = ("full", "default", "default", "quick")
    for depth in depths:
        assert verify(ranged.ws, venv=str(ranged.env.root), depth=depth).findings == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tampering_is_found(ranged: Range, case: Case) -> None:
    """The depths that the table names find it, --full always; put back, nothing is found."""
    assert ranged.codes("default") == set()
    case.how(ranged.env)
    try:
        found = {depth: ranged.codes(depth) for depth in DEPTHS}
    finally:
        ranged.reset()
    assert case.code in found["full"], found
    assert (case.code in found["default"]) is case.default, found
    assert (case.code in found["quick"]) is case.quick, found


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.code in ("env.missing", "env.version")], ids=lambda case: case.name
)
def test_uv_agrees_on_names_and_versions(ranged: Range, case: Case) -> None:
    """`uv pip sync --check` says no to the same drift of names and versions, and yes before and after."""
    command = [
        sys.executable, "-m", "uv", "pip", "sync", "-q", "--check", "--preview-features", "pylock",
        "--python", str(ranged.env.bin / "python"), str(ranged.ws.lock_path()),
    ]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == 0
    case.how(ranged.env)
    try:
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    finally:
        ranged.reset()
    assert subprocess.run(command, check=False).returncode == 0


def test_the_corpus_is_as_large_as_promised() -> None:
    """There are at least sixty kinds, each with a name of its own."""
    kinds = {case.name.rpartition(" (")[0] or case.name for case in CASES}
    assert len(kinds) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
