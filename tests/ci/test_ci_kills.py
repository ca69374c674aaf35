"""`envid restore` is killed at every call that changes a file: no half of a tree is ever taken for a whole one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envid.app.restore import check, seal
from envid.store.seal import NAME
from faults.tracing import Call, calls, trial, unfit
from keyed import Keyed, Package, keyed

pytestmark = pytest.mark.skipif(bool(unfit()), reason=unfit() or "strace is there")
IDNA = Package(name="idna", version="3.10", wheels=(("idna-3.10-py3-none-any.whl", 1),))
FILES = {"a": b"a\n", "deep/b": bytes(5000), "deep/deeper/c": b"c"}


@pytest.fixture
def project(tmp_path: Path) -> Keyed:
    """A project with a layer of its own."""
    return keyed(tmp_path).given(IDNA, envid='[tool.envid.layers.gen]\ncomponents = ["distributions"]')


def lay(project: Keyed, *, sealed: bool) -> str:
    """Make the tree and nothing else that `restore` knows; return its path."""
    for path in project.root.glob("gen*"):
        shutil.rmtree(path)
    tree = project.root / "gen"
    for name, body in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(body)
    if sealed:
        seal(project.workspace, layer="gen", paths=[str(tree)])
    return str(tree)


def killed(project: Keyed, directory: Path, prepare: Callable[[], None], work: Callable[[], str]) -> Iterator[Call]:
    """Yield after each trial in which the work was killed at one of the calls that change something."""
    directory.mkdir(exist_ok=True)
    prepare()
    # Once untraced, so that what is imported late is no part of what is counted.
    work()
    prepare()
    seen = trial(work, str(directory), trace=True)
    assert seen.answer is not None, seen.output
    found = [call for call in calls(seen.log, below=str(project.root)) if call.changes]
    assert found
    for call in found:
        prepare()
        ended = trial(work, str(directory), inject=f"{call.name}:signal=SIGKILL:when={call.nth}")
        assert ended.signal == signal.SIGKILL, (call, ended.answer, ended.output)
        yield call


def whole(tree: str) -> bool:
    """Return whether every file is there as it was laid."""
    return all(Path(tree, name).is_file() and Path(tree, name).read_bytes() == body for name, body in FILES.items())


def test_a_seal_is_there_and_right_or_not_there(project: Keyed, tmp_path: Path) -> None:
    """Killed while it seals an altered tree anew, `seal` leaves no seal that vouches for what is not there."""
    tree = str(project.root / "gen")

    def prepare() -> None:
        lay(project, sealed=True)
        Path(tree, "a").write_bytes(b"altered since\n")

    def work() -> str:
        return str(seal(project.workspace, layer="gen", paths=[tree]).data["key"])

    trials = 0
    for call in killed(project, tmp_path / "trials", prepare, work):
        trials += 1
        key = str(check(project.workspace, layer="gen", paths=[str(project.root / "none")]).data["key"])
        restored = check(project.workspace, layer="gen", matched=key, paths=[tree]).data["restored"]
        # Either the old seal, which the altered tree refutes, or none, or the new one.
        assert restored is False or Path(tree, "a").read_bytes() == b"altered since\n", call.text
        assert restored is os.path.lexists(os.path.join(tree, NAME)), call.text
    assert trials >= 3


def test_what_is_refused_is_there_whole_or_gone(project: Keyed, tmp_path: Path) -> None:
    """Killed while it removes, `check` leaves the tree untouched or nothing under its name; the next one ends it."""
    tree = str(project.root / "gen")

    def prepare() -> None:
        lay(project, sealed=True)

    def work() -> str:
        return str(check(project.workspace, layer="gen", matched="envid1-other", paths=[tree]).data["restored"])

    trials = 0
    for call in killed(project, tmp_path / "trials", prepare, work):
        trials += 1
        assert not os.path.lexists(tree) or whole(tree), call.text
        assert work() == "False"
        assert [path.name for path in project.root.glob("gen*")] == [], call.text
    assert trials >= 5
